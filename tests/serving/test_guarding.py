"""What guards the server and what it counts, part by part: rates, refusals, variants and masks by hand."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from served import World

from recsys.core.errors import ConfigError, DataError
from recsys.serving.catalogue import Catalogue
from recsys.serving.fresh import FreshItem, FreshItems
from recsys.serving.http import guard as room
from recsys.serving.http.documentation import documentation
from recsys.serving.http.guard import Bucket, Guard, Limits
from recsys.serving.http.metrics import Metrics
from recsys.serving.models import Models
from recsys.serving.offered import Offered
from recsys.serving.state import make_state


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_a_bucket_fills_at_its_rate_up_to_its_size_and_says_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(room, "time", clock)
    now = 0.0
    bucket = Bucket(rate=2.0, size=3.0, then=0.0)
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.5]
    now = 0.25
    assert bucket.take() == 0.25
    now = 0.5
    assert [bucket.take(), bucket.take()] == [0, 0.5]
    now = 100.0
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.5]  # no more than its size


class Asked:
    """A guard around an application that reads the body and says ok, and what came of each request."""

    def __init__(self, **limits: Any) -> None:
        self.lines: list[dict] = []
        self.seen: list[int] = []
        self.guard = Guard(self.app, Limits(**limits), Metrics(), log=lambda line: self.lines.append(json.loads(line)))

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(self.guard.open)
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    def status(self, method: str = "POST", path: str = "/v1/users", client: tuple = ("10.0.0.1", 1), body: bytes = b"",
               **headers: str) -> int:  # fmt: skip
        sent: list[dict] = []
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "client": client,
                 "headers": [(b"host", b"localhost"), *pairs]}  # fmt: skip

        async def receive() -> dict:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        self.head = dict(sent[0]["headers"])
        return sent[0]["status"]


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the requests of a test take, none is allowed anew."""
    monkeypatch.setattr(room, "Bucket", lambda rate, size: Bucket(rate / 1e6, size))


def test_one_address_is_one_client_whatever_its_port(slowly: None) -> None:
    asked = Asked(rate=0.5)  # a burst of one
    assert asked.status(client=("10.0.0.1", 1)) == 200
    assert asked.status(client=("10.0.0.1", 2)) == 429
    assert asked.status(client=("10.0.0.2", 2)) == 200


def test_each_key_has_a_rate_of_its_own(slowly: None) -> None:
    asked = Asked(rate=0.5, keys=("a" * 32, "b" * 32))
    assert [asked.status(x_api_key=key) for key in ("a" * 32, "b" * 32, "a" * 32)] == [200, 200, 429]
    assert asked.status(authorization=f"Bearer {'b' * 32}") == 429
    assert asked.status() == 401
    assert asked.head[b"www-authenticate"] == b"Bearer"
    assert asked.status("GET", "/v1/about") == 200
    assert b"www-authenticate" not in asked.head
    assert asked.status(authorization=f"Bearer {'b' * 32}") == 429
    assert b"www-authenticate" not in asked.head


def test_what_is_asked_and_held_is_counted_down_again() -> None:
    asked = Asked(plain=10)
    assert [asked.status("GET", body=b"x" * 5) for _ in range(3)] == [200] * 3
    assert asked.seen == [1, 1, 1]
    assert (asked.guard.open, asked.guard.held) == (0, 0)
    assert [line["status"] for line in asked.lines] == [200] * 3
    assert all(0 <= line["ms"] < 300_000 for line in asked.lines)


def test_a_body_may_be_as_large_as_allowed_and_a_length_that_is_no_number_tells_nothing() -> None:
    asked = Asked(plain=10, body=20)
    assert asked.status("GET", content_length="10") == 200
    assert asked.status("GET", content_length="11") == 413
    assert asked.status("GET", content_length="many") == 200


@pytest.mark.parametrize(
    ("host", "status"), [("localhost", 200), ("LOCALHOST:8000", 200), ("evil.example", 421), ("[::1]", 200), ("", 421)]
)
def test_only_names_of_this_machine_are_answered(host: str, status: int) -> None:
    asked = Asked()
    assert asked.status("GET", host=host) == status
    assert Asked(hosts=()).status("GET", host=host) == 200  # any


def test_too_many_at_once_are_refused_but_for_questions_of_health() -> None:
    asked = Asked(at_once=2)
    asked.guard.open = 2
    assert asked.status("GET", "/v1/about") == 503
    assert asked.status("GET", "/health/live") == 200
    asked.guard.open = 1
    assert asked.status("GET", "/v1/about") == 200


@pytest.mark.parametrize(("wait", "seconds"), [(0.2, "1"), (1.5, "2"), (3.6, "4"), (100.2, "101")])
def test_who_is_refused_hears_how_long_to_wait(monkeypatch: pytest.MonkeyPatch, wait: float, seconds: str) -> None:
    """In whole seconds, never too few."""
    monkeypatch.setattr(room, "Bucket", lambda rate, size: SimpleNamespace(take=lambda: wait))
    asked = Asked()
    assert asked.status() == 429
    assert asked.head[b"retry-after"].decode() == seconds


def test_a_server_that_is_full_asks_for_a_second() -> None:
    asked = Asked(at_once=0)
    assert asked.status("GET", "/v1/about") == 503
    assert asked.head[b"retry-after"] == b"1"
    assert asked.status("GET", "/health/live") == 200
    assert b"retry-after" not in asked.head


def test_a_line_says_when_what_and_how_long() -> None:
    asked = Asked()
    asked.status("GET", "/v1/about")
    (line,) = asked.lines
    assert set(line) == {"time", "request", "method", "route", "status", "ms"}
    assert line["time"] == round(line["time"], 3)
    assert (line["method"], line["route"], line["status"]) == ("GET", "none", 200)
    assert asked.head[b"x-request-id"].decode() == line["request"]


def test_overlaps_are_counted_in_tenths() -> None:
    metrics = Metrics()
    for share in (None, 0.0, 0.55, 1.0):
        metrics.listed("ease", share)
    page = metrics.page().decode()
    assert 'recsys_lists_total{model="ease"} 4.0' in page
    found = {line.partition('le="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
             for line in page.splitlines() if line.startswith("recsys_shadow_overlap_bucket")}  # fmt: skip
    assert list(found) == [*(f"{place / 10:.1f}" for place in range(11)), "+Inf"]
    assert (found["0.0"], found["0.5"], found["0.6"], found["1.0"]) == (1, 1, 2, 3)


def test_the_documentation_says_of_what_kind_everything_is() -> None:
    kinds = {
        "one": {"type": "string"}, "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "many": {"type": "array", "items": {"type": "number"}}, "word": {"enum": ["taste", "text"]}, "free": {},
    }  # fmt: skip
    parameters = [{"name": name, "schema": schema, "description": f"({name})"} for name, schema in kinds.items()]
    parameters[0]["required"] = True
    paths = {"/v1/x": {"get": {"summary": "X", "parameters": parameters}}}
    page = documentation({"info": {"title": "T", "version": "1"}, "paths": paths, "components": {"schemas": {}}})
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for words in ("one string", "either integer or null", "many list of number", "word taste | text", "free any"):
        assert words in text
    assert text.count("required") == 1
    assert all(f"({name})" in text for name in kinds)


def test_the_documentation_says_what_a_body_needs() -> None:
    fields = {"user_id": {"type": "string", "description": "Whose."}, "k": {"type": "integer"}}
    schemas = {"Body": {"properties": fields, "required": ["user_id"]}, "Free": {"properties": {"note": {}}}}
    body = lambda name: {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}  # noqa: E731
    methods = {
        "post": {"summary": "Say", "description": "At length.", "requestBody": body("Body")},
        "put": {"summary": "Note", "requestBody": body("Free")},
        "get": {"parameters": [{"name": "q", "required": True, "schema": {"type": "string"}}, {"name": "by"}]},
    }
    about = {"info": {"title": "T", "version": "7.1"}, "paths": {"/v1/x": methods}, "components": {"schemas": schemas}}
    text = " ".join(re.sub(r"<[^>]+>", " ", documentation(about)).split())
    for words in ("POST /v1/x At length.", "user_id string, required Whose.", "k integer", "PUT /v1/x Note", "note any",
                  "GET /v1/x", "q string, required", "by any", "7.1"):  # fmt: skip
        assert words in text
    assert text.count("required") == 2


# -- variants -------------------------------------------------------------------------------------------------------


@pytest.fixture
def models(world: World, tmp_path):
    state = make_state(tmp_path / "state.sqlite")
    made = Models(world.engine, state)
    made.start("ease", "ease")
    made.add("floor", "popularity")
    yield made
    state.close()


def test_what_is_not_there_cannot_be_made_current_shadow_or_part_of_a_split(models: Models) -> None:
    for change in (models.activate, models.set_shadow, models.remove):
        with pytest.raises(ConfigError, match="there is none"):
            change("nobody")
    with pytest.raises(ConfigError, match="there is none"):
        models.divide({"ease": 0.5, "nobody": 0.5})
    with pytest.raises(ConfigError, match="there is one of that name"):
        models.add("floor", "ease")
    assert models.now.current == "ease"
    assert list(models.now.engines) == ["ease", "floor"]


def test_going_back_leaves_out_what_was_removed(models: Models) -> None:
    models.add("third", "popularity")
    for name in ("floor", "third", "ease"):
        models.activate(name)
    models.activate("ease")  # it is already: no step to go back
    assert models.now.before == ("ease", "floor", "third")
    models.remove("third")
    assert (list(models.now.engines), models.now.before) == (["ease", "floor"], ("ease", "floor"))
    assert [models.roll_back(), models.roll_back()] == ["floor", "ease"]
    with pytest.raises(ConfigError, match="nothing to go back to"):
        models.roll_back()


def test_two_names_of_one_ranker_are_both_there_after_a_restart(models: Models, world: World) -> None:
    models.add("twin", "ease")
    again = Models(world.engine, models.state)
    again.start("ease", "ease")
    assert {name: (one.name, one.key) for name, one in again.now.engines.items()} == {
        "ease": ("ease", "ease"), "floor": ("floor", "popularity"), "twin": ("twin", "ease"),
    }  # fmt: skip


@pytest.mark.parametrize("shares", [{"ease": 1.2, "floor": -0.2}, {"ease": 0.5, "floor": 0.4}, {"ease": 0.9999}])
def test_shares_are_from_0_to_1_and_sum_to_1(models: Models, shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        models.divide(shares)


def test_a_share_of_nothing_answers_nobody_and_somebody_unknown_gets_the_current_one(models: Models) -> None:
    models.divide({"floor": 0.0, "ease": 1.0})
    assert {models.of(f"u{number}").name for number in range(200)} == {"ease"}
    models.divide({"floor": 1.0})
    assert {models.of(f"u{number}").name for number in range(200)} == {"floor"}
    assert models.of(None).name == "ease"


def test_twenty_steps_can_be_taken_back(models: Models) -> None:
    for step in range(25):
        models.activate("floor" if step % 2 == 0 else "ease")
    assert len(models.now.before) == 20
    assert [models.roll_back() for _ in range(20)] == ["ease", "floor"] * 10


def test_what_answers_cannot_be_taken_out(models: Models) -> None:
    with pytest.raises(ConfigError, match="it answers"):
        models.remove("ease")
    models.set_shadow("floor")
    with pytest.raises(ConfigError, match="it answers"):
        models.remove("floor")
    models.set_shadow("")
    models.divide({"floor": 0.0, "ease": 1.0})
    with pytest.raises(ConfigError, match="it answers"):
        models.remove("floor")
    models.divide({})
    models.remove("floor")
    assert list(models.now.engines) == ["ease"]


def test_users_are_divided_by_their_shares(models: Models) -> None:
    models.add("third", "popularity")
    models.divide({"floor": 0.2, "ease": 0.5, "third": 0.3})
    given = Counter(models.of(f"u{number}").name for number in range(4000))
    assert {name: given[name] / 4000 for name in given} == pytest.approx(
        {"floor": 0.2, "ease": 0.5, "third": 0.3}, abs=0.03
    )


# -- what is offered ------------------------------------------------------------------------------------------------


def offered(world: World, *fresh: FreshItem) -> Offered:
    return Offered(Catalogue(world.split.dataset), FreshItems(world.split.train.n_items, fresh))


def test_masks_are_of_trained_and_new_items_together(world: World) -> None:
    n = world.split.train.n_items
    kind, values = next(iter(Catalogue(world.split.dataset).facets.items()))
    value = next(iter(values))
    new = FreshItem("new", "New", ("mood:dark", "length:90"))
    other = FreshItem("other", "Other", ("mood:light",))
    shop = offered(world, new, other)
    assert shop.n == n + 2
    assert shop.mask((), (), ()) is None
    dark = shop.mask(("mood:dark",), (), ())
    assert np.flatnonzero(dark).tolist() == [n]
    assert np.flatnonzero(shop.mask(("length>=90",), (), ())).tolist() == [n]
    assert np.flatnonzero(shop.mask((), (0, n + 1), (0,))).tolist() == [n + 1]
    assert np.flatnonzero(shop.mask(("mood:dark",), (0, n + 1), ())).tolist() == []
    assert not shop.mask((f"{kind}:{value}",), (), ())[n:].any()  # no new item has it
    assert shop.mask((f"!{kind}:{value}",), (), ())[n:].all()  # each is content that it is forbidden
    both = offered(world, FreshItem("new", "New", (f"{kind}:fresh",)), other)
    assert both.mask((f"{kind}:{value}", f"{kind}:fresh"), (), ())[n:].tolist() == [True, False]  # either of a kind
    assert not both.mask((f"{kind}:{value}", "!mood:light"), (), ())[n:].any()
    there = both.mask((f"{kind}:{value}",), (), ())[:n]
    assert 0 < there.sum() < n
    for conditions in ((f"{kind}:{value}", f"{kind}:fresh"), (f"{kind}:{value}", "!mood:light")):
        np.testing.assert_array_equal(both.mask(conditions, (), ())[:n], there)  # no trained item is fresh, or light
    assert both.mask(("!mood:light",), (), ()).tolist() == [True] * (n + 1) + [False]
    assert not both.mask(("mood:light", f"{kind}:{value}"), (), ()).any()
    lengths = offered(world, FreshItem("a", "A", ("length:1995",)), FreshItem("b", "B", ("length:1999",)))
    assert lengths.mask(("length>=1996",), (), ())[n:].tolist() == [False, True]
    assert not lengths.mask(("length>=1996",), (), ())[:n].any()
    assert lengths.mask(("!length>=1996",), (), ()).tolist() == [True] * (n + 1) + [False]
    with pytest.raises(DataError, match="length:1990"):
        lengths.mask(("length:1990", "length>=1996"), (), ())
    with pytest.raises(DataError):
        shop.mask(("mood:absent",), (), ())
    with pytest.raises(DataError):
        offered(world).mask(("mood:dark",), (), ())


def test_numbers_are_offered_as_a_range_and_words_by_how_many_have_them(world: World) -> None:
    rows = [("mood:dark", "length:90"), ("mood:dark", "length:12.5"), ("mood:light",)]
    shop = offered(world, *(FreshItem(f"n{place}", "", row) for place, row in enumerate(rows)))
    told = {one["kind"]: one for one in shop.facets(1)}
    assert told["length"] == {"kind": "length", "values": [], "least": 12.5, "most": 90}
    assert told["mood"]["values"] == [{"value": "dark", "items": 2}]
    both = {one["kind"]: one for one in shop.facets(2)}
    assert [one["value"] for one in both["mood"]["values"]] == ["dark", "light"]


@pytest.mark.parametrize(("conditions", "new"), [
    (("genre:G1", "genre:Newest"), [0]),  # one of the two
    (("genre:Newest", "mood:dark"), [0]),
    (("genre:G1", "!genre:Newest"), []),  # what is forbidden is not what is asked for
    (("genre:G1",), []),
    (("!genre:G1", "mood:dark"), [0, 1]),
    (("!genre:Newest",), [1]),
    (("year>=1900", "mood:dark"), []),
    (("!year>=1900", "mood:dark"), [0, 1]),
])  # fmt: skip
def test_a_condition_may_be_about_new_items_alone_or_about_none_of_them(
    world: World, conditions: tuple, new: list
) -> None:
    shop = offered(world, FreshItem("a", "A", ("genre:Newest", "mood:dark")), FreshItem("b", "B", ("mood:dark",)))
    mask = shop.mask(conditions, (), ())
    assert (np.flatnonzero(mask[-2:]).tolist(), len(mask)) == (new, world.split.train.n_items + 2)
    asked = [one for one in conditions if not one.endswith(("Newest", "dark"))]
    old = Catalogue(world.split.dataset).allowed(asked)
    only_new = "mood:dark" in conditions or conditions == ("genre:Newest",)
    assert mask[:-2].tolist() == (old & (not only_new)).tolist(), "of trained items as if there were no new ones"


# -- what is said of refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "said"), [(0.0, None), (0.02, b"1"), (1.0, b"1"), (1.01, b"2"), (2.0, b"2"), (2.6, b"3")]
)
def test_whole_seconds_to_wait_are_enough_and_no_more(wait: float, said: bytes | None) -> None:
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(room._refuse(send, 429, "rate", "cause", "remedy", wait))
    head = dict(sent[0]["headers"])
    assert head.get(b"retry-after") == said
    assert int(head[b"content-length"]) == len(sent[1]["body"])
    assert b"www-authenticate" not in head


def test_a_line_of_the_log_has_milliseconds_in_hundredths(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([5.0, 5.0123456])
    times = SimpleNamespace(perf_counter=lambda: next(clock), time=lambda: 1234567.89123)
    monkeypatch.setattr(room, "time", times)
    asked = Asked()
    assert asked.status("GET", "/v1/about") == 200
    (line,) = asked.lines
    assert (line["time"], line["ms"], line["method"], line["route"]) == (1234567.891, 12.35, "GET", "none")
    assert len(bytes.fromhex(line["request"])) == 8


def test_rates_of_ten_thousand_are_kept(slowly: None) -> None:
    asked = Asked(rate=0.5)
    asked.status(client=("first", 1))
    asked.guard._buckets |= {str(number): Bucket(1, 1) for number in range(9_999)}
    asked.status(client=("one more", 1))
    assert asked.status(client=("first", 1)) == 429
    assert asked.status(client=("too many", 1)) == 200
    assert list(asked.guard._buckets) == ["too many"], "nobody can fill the memory"
