"""The API as its clients see it: lists, feedback, new items, people who leave, models, and odd requests."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from served import World

from recsys.core.errors import ArtifactError, EncoderError
from recsys.core.values import Vocabulary
from recsys.serving.catalogue import Catalogue
from recsys.serving.http.app import create_app
from recsys.serving.http.context import WAITING, Offers, context
from recsys.serving.http.guard import Bucket, Limits
from recsys.serving.people import UnknownItemError
from recsys.serving.service import Wanted
from recsys.serving.state.store import NewItem

from waiting import LONG, wait_until

JSON = {"content-type": "application/json"}
KEY = "a-key-of-thirty-two-characters--"


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def client(world, tmp_path, lines):
    app = create_app(world.service(tmp_path / "state.sqlite"), name="blocks", log=lines.append)
    with TestClient(app, base_url="http://localhost") as made:
        yield made


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["item_id"] for one in answer.json()["items"]]


def fault(answer, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"thing", "cause", "remedy"}
    assert all(error.values())
    return error


def listed(client, user: str = "u1", **more) -> list[str]:
    return ids(client.get("/v1/recommendations", params={"user_id": user, **more}))


class TestFilters:
    def test_what_there_is_to_filter_by_is_told_new_items_included(self, client, world) -> None:
        known = Catalogue(world.split.dataset)
        before = {one["kind"]: one["values"] for one in client.get("/v1/filters").json()}
        assert before
        for kind, values in before.items():
            for one in values:
                assert known.allowed(f"{kind}:{one['value']}").sum() == one["items"] > 0
        body = {"item_id": "new", "title": "New", "text": "like 9", "attributes": ["year:1950", "genre:Brandnew"]}
        assert client.post("/v1/items", json=body).status_code == 201
        told = {one["kind"]: one for one in client.get("/v1/filters").json()}
        assert {"value": "Brandnew", "items": 1} in told["genre"]["values"]
        assert (told["year"]["least"], told["year"]["most"], told["year"]["values"]) == (1950.0, 2009.0, [])
        assert all(len(one["values"]) <= 1 for one in client.get("/v1/filters", params={"k": 1}).json())


class TestLists:
    def test_a_user_gets_the_own_block_with_reasons_and_who_answered(self, client, world) -> None:
        answer = client.get("/v1/recommendations", params={"user_id": "u1", "k": 2}).json()
        assert sorted(one["item_id"] for one in answer["items"]) == world.unseen(1)
        assert answer["items"][0]["reasons"][0]["text"].startswith("because of Title")
        assert (answer["model"], answer["key"]) == ("ease", "ease")

    def test_a_session(self, client, world) -> None:
        found = ids(client.post("/v1/recommendations", json={"history": ["i2", "i6", "i10"], "k": 5}))
        assert set(found) <= world.block(2) - {"i2", "i6", "i10"}

    def test_a_query_and_a_body_ask_alike(self, client) -> None:
        schema = client.get("/openapi.json").json()
        asked = {one["name"]: one["schema"] for one in schema["paths"]["/v1/recommendations"]["get"]["parameters"]}
        body = schema["components"]["schemas"]["SessionBody"]["properties"]
        assert set(asked) - {"user_id"} == set(body) - {"history"}
        assert all(asked[name]["description"] == body[name]["description"] for name in set(body) - {"history"})
        found = client.get("/v1/recommendations", params={"user_id": "u1", "k": 3, "unheard-of": 1})
        assert len(ids(found)) == 3

    def test_garbage_is_not_looked_for_in_what_was_loaded(self, world, tmp_path) -> None:
        with TestClient(create_app(world.service(tmp_path / "state.sqlite"), log=lambda line: None)):
            assert gc.get_freeze_count() > 100_000
        assert not gc.get_freeze_count()

    def test_no_thread_is_waited_for_to_find_what_routes_work_with(self) -> None:
        assert inspect.iscoroutinefunction(context)

    def test_filters_lists_and_what_is_not_understood(self, client, world) -> None:
        assert set(listed(client, k=5, only=["i2", "i3"])) == {"i2", "i3"}
        first = listed(client, k=1)[0]
        assert first not in listed(client, k=40, never=[first])
        fault(client.get("/v1/recommendations", params={"user_id": "u1", "filter": "colour"}), 422)
        fault(client.get("/v1/recommendations", params={"user_id": "u1", "k": 501}), 422)
        assert "nobody" in fault(client.get("/v1/recommendations", params={"user_id": "nope"}), 404)["cause"]
        fault(client.post("/v1/recommendations", json={"history": ["nope"]}), 404)
        fault(client.post("/v1/recommendations", json={"history": [], "k": 3, "colour": 1}), 422)
        fault(client.get("/v1/recommendations", params={"user_id": "u1", "model": "nope"}), 422)

    def test_why_says_where_it_would_stand_without(self, client, world) -> None:
        item = world.unseen(1)[0]
        why = client.get("/v1/why", params={"user_id": "u1", "item_id": item}).json()
        assert why["place"] <= 2
        assert why["exact"]
        assert len(why["without"]) == 5
        assert why["without_edits"] is None
        assert [one["kind"] for one in why["reasons"]] == ["history"] * 3
        asked = {"user_id": "u1", "item_id": item}
        assert client.get("/v1/why", params={**asked, "only": item}).json()["place"] == 1
        taken = next(iter(world.block(1) - set(world.unseen(1))))
        known = fault(client.get("/v1/why", params={"user_id": "u1", "item_id": taken}), 422)
        assert known["cause"] == "was taken by the user, and so in no list"
        fault(client.get("/v1/why", params={**asked, "model": "nope"}), 422)

    @pytest.mark.parametrize(
        ("asked", "cause"),
        [
            ({"filter": "genre:G3"}, "for genre:G3"),
            ({"filter": ["genre:G3", "year>=1900", "genre:G2"]}, "for genre:G3 or genre:G2"),
            ({"filter": ["genre:G3", "genre:G1", "!genre:G1"]}, "for !genre:G1"),
            ({"only": ["i2", "i3"]}, "for other items alone"),
            ({"never": ["i2", "ITEM"], "only": "ITEM"}, "not to show it"),
            ({"never": "ITEM", "filter": "year<1900"}, "for year<1900 and not to show it"),
        ],
    )
    def test_why_says_what_of_the_list_leaves_an_item_out(self, client, world, asked, cause) -> None:
        item = world.unseen(1)[0]  # of genre G1
        asked = {key: np.char.replace(np.atleast_1d(one), "ITEM", item).tolist() for key, one in asked.items()}
        why = client.get("/v1/why", params={"user_id": "u1", "item_id": item, **asked}).json()
        assert why["place"] is None
        assert [(one["text"], one["kind"]) for one in why["reasons"]] == [(f"left out: you asked {cause}", "closed")]

    @pytest.mark.parametrize(
        ("events", "known"),
        [
            ([{"kind": "hide"}], "was hidden by the user"),
            ([{"kind": "dislike"}], "is disliked by the user"),
            ([{"kind": "hide"}, {"kind": "like"}, {"kind": "click"}], "is liked by the user"),
            ([{"kind": "rating", "value": 3}], "was rated by the user"),
            ([{"kind": "rating", "value": 1}], "is disliked by the user"),
        ],
    )
    def test_why_says_how_an_item_is_known(self, client, world, events, known) -> None:
        item = world.unseen(1)[0]
        for event in events:
            assert client.post("/v1/feedback", json={"user_id": "u1", "item_id": item, **event}).status_code == 201
        asked = {"user_id": "u1", "item_id": item}
        assert fault(client.get("/v1/why", params=asked), 422)["cause"] == f"{known}, and so in no list"

    def test_ids_are_read_as_in_tables_without_blanks_around_them(self, client, world) -> None:
        item = world.unseen(1)[0]
        said = {"user_id": "\u200b u1\u00a0", "item_id": f" {item}\ufeff", "kind": "dislike"}
        assert client.post("/v1/feedback", json=said).status_code == 201
        (event,) = client.get("/v1/user", params={"user_id": " u1"}).json()["events"]
        assert (event["user_id"], event["item_id"]) == ("u1", item)
        assert client.post("/v1/users", json={"user_id": " new "}).json() == {"user_id": "new"}
        assert "blank" in fault(client.post("/v1/users", json={"user_id": " \u200b"}), 422)["cause"]

    def test_a_new_id_is_no_other_spelling_of_a_whole_number(self, tmp_path) -> None:
        world = World()
        data = world.split.dataset
        users, items = (Vocabulary(one.ids.str.slice(1)) for one in (data.users, data.items))
        world.split = replace(world.split, dataset=replace(data, users=users, items=items))
        app = create_app(world.service(tmp_path / "state.sqlite"), name="numbers", log=lambda line: None)
        with TestClient(app, base_url="http://localhost") as client:
            for number in ("1.0", "999."):
                refused = fault(client.post("/v1/users", json={"user_id": number}), 422)
                assert refused["remedy"] == f"Write {number.partition('.')[0]}."
                new = {"item_id": number, "title": "New", "text": "like 9"}
                assert "whole numbers here" in fault(client.post("/v1/items", json=new), 422)["cause"]
            assert client.post("/v1/users", json={"user_id": "999"}).status_code == 201
            assert "valid string" in fault(client.post("/v1/users", json={"user_id": 7}), 422)["cause"]

    def test_similar_items(self, client, world) -> None:
        found = client.get("/v1/similar", params={"item_id": "i3", "k": 4}).json()
        assert {one["item_id"] for one in found} <= world.block(3) - {"i3"}
        fault(client.get("/v1/similar", params={"item_id": "i3", "by": "text"}), 501)


class TestFeedback:
    def test_what_is_said_counts_in_the_very_next_list(self, client, world) -> None:
        client.post("/v1/users", json={"user_id": "new"})
        popular = listed(client, "new", k=5)
        for item in ("i2", "i6", "i10"):
            said = client.post(
                "/v1/feedback", json={"user_id": "new", "item_id": item, "kind": "like", "model": "ease"}
            )
            assert said.status_code == 201
            assert item not in listed(client, "new", k=48)
        assert set(listed(client, "new", k=5)) <= world.block(2)
        assert set(popular) - world.block(2)

    def test_dislike_hide_rating_click_and_taking_back(self, client) -> None:
        first, second, third, fourth = listed(client, k=4)
        say = lambda item, kind, **more: client.post(  # noqa: E731
            "/v1/feedback", json={"user_id": "u1", "item_id": item, "kind": kind, **more}
        )
        say(first, "hide"), say(second, "rating", value=1), say(third, "click")
        number = say(fourth, "dislike").json()["number"]
        found = listed(client, k=48)
        assert not {first, second, fourth} & set(found)
        assert third in found
        state = client.get("/v1/user", params={"user_id": "u1"}).json()
        assert [one["item_id"] for one in state["disliked"]] == [fourth, second]
        assert client.delete("/v1/feedback", params={"user_id": "u1", "number": number}).status_code == 200
        assert fourth in listed(client, k=48)
        fault(client.delete("/v1/feedback", params={"user_id": "u1", "number": number}), 404)

    def test_feedback_is_counted_by_model_and_kind_and_models_there_are_not_as_none(self, client) -> None:
        for item, model, kind in (("i2", "ease", "like"), ("i3", "ease", "like"), ("i6", "made up", "click")):
            body = {"user_id": "u1", "item_id": item, "kind": kind, "model": model}
            assert client.post("/v1/feedback", json=body).status_code == 201
        page = client.get("/metrics").text
        assert 'recsys_feedback_total{kind="like",model="ease"} 2.0' in page
        assert 'recsys_feedback_total{kind="click",model=""} 1.0' in page
        assert "made up" not in page

    def test_the_same_key_counts_once_and_must_mean_the_same(self, client) -> None:
        body = {"user_id": "u1", "item_id": "i2", "kind": "like", "key": "k1"}
        one, two = client.post("/v1/feedback", json=body).json(), client.post("/v1/feedback", json=body).json()
        assert one == two
        fault(client.post("/v1/feedback", json={**body, "kind": "dislike"}), 409)
        assert client.get("/v1/models").json()["feedback"] == {"": {"like": 1}}

    @pytest.mark.parametrize(
        ("change", "status"),
        [({"kind": "love"}, 422), ({"kind": "rating"}, 422), ({"value": 3}, 422), ({"item_id": "no"}, 404),
         ({"user_id": "no"}, 404), ({"user_id": ""}, 422), ({"user_id": "x" * 257}, 422), ({"user_id": "a\x00b"}, 422),
         ({"user_id": "a\ud800"}, 422), ({"kind": "rating", "value": "NaN"}, 422), ({"more": 1}, 422)],
    )  # fmt: skip
    def test_odd_feedback_is_refused_and_nothing_is_kept(self, client, change, status) -> None:
        body = {"user_id": "u1", "item_id": "i2", "kind": "like", **change}
        fault(client.post("/v1/feedback", content=json.dumps(body), headers=JSON), status)
        assert client.get("/v1/models").json()["feedback"] == {}


class Shop:
    """Offers of every kind that answer what they were asked; ``words`` waits, and counts who is in it at once."""

    def __init__(self) -> None:
        self.inside, self.most, self.gate = 0, 0, threading.Event()

    def words(self, text: str, by: str | None, k: int) -> list[dict]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.gate.wait(LONG)
        self.inside -= 1
        return [{"item_id": text, "title": str(by), "attributes": [], "fresh": k == 3}]

    def picture(self, content: bytes, k: int) -> list[dict]:
        return [{"item_id": content.decode(), "title": str(k), "attributes": [], "fresh": False}]

    def of(self, item_id: str, width: int) -> tuple[bytes, str]:
        return f"{item_id} {width}".encode(), "image/png"

    def export(self, user_id: str) -> dict:
        return {"of": user_id}

    def erase(self, user_id: str) -> int:
        return 3

    def edit(self, user_id: str, edits: list[str], made_from: int | None) -> dict:
        return {"user_id": user_id, "edits": edits}

    def undo(self, user_id: str, again: bool) -> dict:
        return {"user_id": user_id, "again": again}


class TestOffers:
    @pytest.fixture
    def shop(self) -> Shop:
        return Shop()

    @pytest.fixture
    def client(self, world, tmp_path, shop):
        offers = Offers(finder=shop, pictures=shop, profiles=shop)
        app = create_app(world.service(tmp_path / "state.sqlite"), offers=offers, log=lambda line: None)
        with TestClient(app, base_url="http://localhost") as made:
            yield made

    def test_what_is_offered_is_said_asked_and_passed_on(self, client, shop) -> None:
        told = client.get("/v1/about").json()["offers"]
        assert told == {"profiles": True, "finder": True, "drawer": False, "pictures": True}
        shop.gate.set()
        found = client.get("/v1/search", params={"q": "a film", "by": "text", "k": 3})
        assert found.json() == [{"item_id": "a film", "title": "text", "attributes": [], "fresh": True}]
        (found,) = client.post("/v1/search/picture", content=b"png", params={"k": 7}).json()
        assert (found["item_id"], found["title"]) == ("png", "7")
        fault(client.post("/v1/search/picture", content=b""), 422)
        picture = client.get("/v1/picture", params={"item_id": "i1", "width": 64})
        assert (picture.content, picture.headers["content-type"]) == (b"i1 64", "image/png")
        fault(client.post("/v1/visuals", json={"user_id": "u1", "item_id": "i1"}), 501)
        assert client.get("/v1/export", params={"user_id": "u1"}).json()["profile"] == {"of": "u1"}
        erased = client.delete("/v1/users", params={"user_id": "u1"}).json()["erased"]
        assert erased == {"profile_versions": 3, "events": 0}

    @pytest.mark.parametrize(("path", "more"), [("profile", {"edits": ["raise genre:G1"]}), ("profile/undo", {})])
    def test_who_edits_a_profile_is_looked_up_anew(self, client, path, more) -> None:
        people = client.app.app.state.recsys.service.people
        listed(client)
        assert people.kept("u1") is not None
        assert client.post(f"/v1/{path}", json={"user_id": "u1", **more}).json()["user_id"] == "u1"
        assert people.kept("u1") is None

    def test_what_computes_takes_turns_and_too_many_are_refused(self, client, shop) -> None:
        ask = lambda _: client.get("/v1/search", params={"q": "x"})  # noqa: E731
        turns = client.app.app.state.recsys._turns
        with ThreadPoolExecutor(WAITING + 2) as pool:
            asked = [pool.submit(ask, None) for _ in range(WAITING + 1)]
            wait_until(lambda: turns.statistics().tasks_waiting == WAITING)
            refused = ask(None)
            shop.gate.set()
            assert [one.result().status_code for one in asked] == [200] * (WAITING + 1)
        assert "wait already" in fault(refused, 503)["cause"]
        assert refused.headers["retry-after"] == "5"
        assert shop.most == 1


class TestPeople:
    def test_a_user_leaves_and_nothing_is_left(self, client, world, tmp_path) -> None:
        client.post("/v1/feedback", json={"user_id": "u1", "item_id": "i2", "kind": "like"})
        assert len(client.get("/v1/export", params={"user_id": "u1"}).json()["taken"]) > 5
        assert client.delete("/v1/users", params={"user_id": "u1"}).json() == {
            "erased": {"profile_versions": 0, "events": 1}
        }
        fault(client.get("/v1/recommendations", params={"user_id": "u1"}), 404)
        assert "u1" not in client.get("/v1/users", params={"prefix": "u1"}).json()
        for file in tmp_path.iterdir():
            assert b"u1\x00" not in file.read_bytes()
        again = world.service(tmp_path / "state.sqlite")  # a later start
        assert not again.people.exists("u1")
        again.close()

    @pytest.mark.parametrize(
        ("method", "path", "more"),
        [
            ("GET", "user", {}), ("GET", "export", {}), ("GET", "profile", {}), ("DELETE", "users", {}),
            ("DELETE", "feedback", {"number": 1}),
            ("POST", "profile", {"edits": ["more genre:G1"]}), ("POST", "profile/undo", {}),
            ("POST", "visuals", {"item_id": "i1"}), ("POST", "feedback", {"item_id": "i1", "kind": "like"}),
        ],
    )  # fmt: skip
    def test_of_nobody_nothing_is_told_or_kept(self, client, method, path, more) -> None:
        body = {"json": {"user_id": "nope", **more}} if method == "POST" else {"params": {"user_id": "nope", **more}}
        assert "nobody of that id" in fault(client.request(method, f"/v1/{path}", **body), 404)["cause"]

    def test_users_are_created_once(self, client) -> None:
        assert client.post("/v1/users", json={"user_id": "me/ü ../x"}).status_code == 201
        fault(client.post("/v1/users", json={"user_id": "me/ü ../x"}), 409)
        fault(client.post("/v1/users", json={"user_id": "u1"}), 409)
        assert client.get("/v1/users", params={"prefix": "me/"}).json() == ["me/ü ../x"]
        assert len(listed(client, "me/ü ../x")) == 20

    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "user"), ("DELETE", "users"), ("GET", "export"), ("GET", "profile"), ("POST", "profile"),
         ("POST", "profile/undo"), ("POST", "visuals")],
    )  # fmt: skip
    def test_of_somebody_who_is_not_there_nothing_is_shown_or_changed(self, client, method, path) -> None:
        asked = {"user_id": "nope", **{"profile": {"edits": ["add x"]}, "visuals": {"item_id": "i1"}}.get(path, {})}
        sent = {"json": asked} if method == "POST" else {"params": {"user_id": "nope"}}
        error = fault(client.request(method, f"/v1/{path}", **sent), 404)
        assert (error["thing"], error["cause"]) == ("user 'nope'", "there is nobody of that id")

    def test_visuals_are_of_items_there_are(self, client) -> None:
        error = fault(client.post("/v1/visuals", json={"user_id": "u1", "item_id": "nope"}), 404)
        assert error["thing"] == "item 'nope'"

    def test_what_is_offered_is_what_was_handed_in(self, world, tmp_path) -> None:
        class Finding:
            def words(self, text, by, k):
                return [{"item_id": "i7", "title": f"{text} {by} {k}", "attributes": [], "fresh": False}]

        app = create_app(world.service(tmp_path / "s.sqlite"), Offers(finder=Finding()), log=lambda line: None)
        with TestClient(app, base_url="http://localhost") as client:
            found = client.get("/v1/search", params={"q": "red", "by": "text", "k": 3}).json()
            assert [(one["item_id"], one["title"]) for one in found] == [("i7", "red text 3")]
            assert fault(client.get("/v1/picture", params={"item_id": "i1"}), 501)["cause"].endswith("no pictures")

    @pytest.mark.parametrize(
        ("letter", "status"),
        [(0x1F, 422), (0x20, 201), (0x7E, 201), (0x7F, 422), (0x80, 201), (0xD7FF, 201), (0xD800, 422), (0xDFFF, 422),
         (0xE000, 201), (0x1F600, 201)],
    )  # fmt: skip
    def test_ids_are_of_whole_letters_and_none_that_controls(self, client, letter, status) -> None:
        answer = client.post("/v1/users", content=json.dumps({"user_id": f"a{chr(letter)}b"}), headers=JSON)
        assert answer.status_code == status, answer.text


class TestItems:
    def test_a_new_item_is_recommended_at_once_and_goes_again(self, client) -> None:
        body = {"item_id": "new", "title": "A new one", "text": "like 9", "attributes": ["genre:Brandnew"]}
        made = client.post("/v1/items", json=body)
        assert made.status_code == 201, made.text
        assert "new" in listed(client, "u1", k=10)
        assert "new" not in listed(client, "u2", k=10)
        assert listed(client, "u2", filter="genre:Brandnew") == ["new"]
        fault(client.post("/v1/items", json=body), 422)
        client.post("/v1/feedback", json={"user_id": "u1", "item_id": "new", "kind": "like"})
        assert "new" not in listed(client, "u1", k=48)
        assert client.delete("/v1/items", params={"item_id": "new"}).status_code == 200
        fault(client.get("/v1/item", params={"item_id": "new"}), 404)
        fault(client.delete("/v1/items", params={"item_id": "i1"}), 404)
        assert len(listed(client, "u1", k=48)) > 20

    @pytest.mark.parametrize(
        "change", [{"text": "a\x00b"}, {"title": "a\nb"}, {"item_id": " "}, {"text": "x" * 20_001}]
    )
    def test_what_no_store_can_hold_is_refused(self, client, change) -> None:
        item = {"item_id": "new", "title": "New", "text": "like 9\nand\tmore", **change}
        fault(client.post("/v1/items", json=item), 422)

    def test_without_encoders_no_item_is_taken(self, world, tmp_path) -> None:
        for left_out in ("neighbourhood", "vectors"):
            service = world.service(tmp_path / "state.sqlite")
            setattr(service.items, left_out, None)
            with pytest.raises(EncoderError, match="no item encoders"):
                service.items.add(NewItem("new", "New", "like 9", (), None, {}))
            service.close()

    def test_new_items_are_there_after_a_restart(self, client, world, tmp_path) -> None:
        client.post("/v1/items", json={"item_id": "kept", "title": "Kept", "text": "like 9"})
        again = world.service(tmp_path / "state.sqlite")
        assert again.items.item("kept")["fresh"]
        assert len(again.people.fresh.items[0].neighbours)
        again.close()

    def test_of_an_item_that_is_not_there_nothing_is_shown(self, client) -> None:
        for path, more in (("picture", {}), ("similar", {}), ("why", {"user_id": "u1"})):
            assert (
                "none of that id" in fault(client.get(f"/v1/{path}", params={"item_id": "nope", **more}), 404)["cause"]
            )

    def test_what_is_no_picture(self, client) -> None:
        fault(client.post("/v1/items", json={"item_id": "a", "title": "A", "picture": "§"}), 422)


class TestModels:
    def test_side_by_side_swapped_and_taken_back(self, client) -> None:
        before = listed(client)
        assert client.post("/v1/models", json={"name": "floor", "artifact": "popularity"}).status_code == 201
        assert listed(client) == before
        client.post("/v1/models/activate", json={"name": "floor"})
        answer = client.get("/v1/recommendations", params={"user_id": "u1"}).json()
        assert (answer["model"], answer["key"]) == ("floor", "popularity")
        client.post("/v1/models/rollback")
        assert listed(client) == before
        assert listed(client, model="floor") != before
        fault(client.post("/v1/models/rollback"), 422)

    def test_what_cannot_answer_is_refused_while_the_others_go_on(self, client) -> None:
        before = listed(client)
        fault(client.post("/v1/models", json={"name": "bad", "artifact": "broken"}), 422)
        fault(client.post("/v1/models", json={"name": "bad", "artifact": "nowhere"}), 422)
        fault(client.post("/v1/models/activate", json={"name": "bad"}), 422)
        assert listed(client) == before

    def test_a_split_gives_a_user_always_the_same_one(self, client) -> None:
        client.post("/v1/models", json={"name": "floor", "artifact": "popularity"})
        fault(client.put("/v1/models/split", json={"split": {"floor": 0.5}}), 422)
        client.put("/v1/models/split", json={"split": {"ease": 0.75, "floor": 0.25}})
        who = {}
        for _ in range(2):
            for user in range(96):
                model = client.get("/v1/recommendations", params={"user_id": f"u{user}", "k": 1}).json()["model"]
                assert who.setdefault(user, model) == model
        assert 10 <= list(who.values()).count("floor") <= 40
        fault(client.delete("/v1/models/floor"), 422)
        client.put("/v1/models/split", json={"split": {}})
        assert client.delete("/v1/models/floor").status_code == 200

    def test_a_shadow_is_only_counted(self, client) -> None:
        client.post("/v1/models", json={"name": "floor", "artifact": "popularity"})
        before = listed(client)
        client.put("/v1/models/shadow", json={"name": "floor"})
        assert listed(client) == before
        shadow = listed(client, model="floor")
        page = client.get("/metrics").text
        assert "recsys_shadow_overlap_count 1.0" in page
        share = float(page.partition("recsys_shadow_overlap_sum ")[2].split()[0])
        assert share == pytest.approx(len({*before} & {*shadow}) / len(before))
        assert 0 < share < 1

    def test_the_arrangement_outlives_a_restart(self, client, world, tmp_path) -> None:
        client.post("/v1/models", json={"name": "floor", "artifact": "popularity"})
        client.post("/v1/models/activate", json={"name": "floor"})
        again = world.service(tmp_path / "state.sqlite")
        assert again.models.now.current == "floor"
        assert again.models.roll_back() == "ease"
        again.close()


class TestGuard:
    def make(self, world, tmp_path, **limits):
        return TestClient(
            create_app(world.service(tmp_path / "s.sqlite"), limits=Limits(**limits), log=lambda line: None),
            base_url="http://localhost",
        )

    def test_whatever_changes_or_tells_of_a_person_needs_a_key(self, world, tmp_path) -> None:
        with self.make(world, tmp_path, keys=(KEY,)) as client:
            doors = [
                (method.upper(), path)
                for path, methods in client.get("/openapi.json").json()["paths"].items()
                for method in methods
                if method != "get" or path in ("/v1/export", "/v1/user", "/v1/users", "/v1/profile")
            ]
            reads = {("POST", "/v1/recommendations"), ("POST", "/v1/search/picture")}
            assert len(doors) >= 15
            for method, path in doors:
                answer = client.request(method, path.replace("{name}", "x"), params={"user_id": "u1"})
                assert (answer.status_code == 401) == ((method, path) not in reads), (method, path, answer.status_code)
            assert listed(client)
            wrong = {"x-api-key": KEY[:-1] + "x"}
            fault(client.post("/v1/users", json={"user_id": "a"}, headers=wrong), 401)
            for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
                assert client.get("/v1/export", params={"user_id": "u1"}, headers=headers).status_code == 200

    def test_another_sites_page_and_another_name_are_refused(self, client) -> None:
        body = {"user_id": "a"}
        fault(client.post("/v1/users", json=body, headers={"origin": "http://evil.example"}), 403)
        fault(client.get("/v1/about", headers={"host": "evil.example"}), 421)
        assert client.post("/v1/users", json=body, headers={"origin": "http://localhost"}).status_code == 201

    def test_too_often_and_too_large(self, world, tmp_path, monkeypatch) -> None:
        slowly = "recsys.serving.http.guard.Bucket"  # however long these requests take, none is allowed anew
        monkeypatch.setattr(slowly, lambda rate, size: Bucket(rate / 1e6, size))
        with self.make(world, tmp_path, rate=1.0, body=2000) as client:
            codes = [client.post("/v1/users", json={"user_id": f"n{number}"}).status_code for number in range(4)]
            assert codes == [201, 201, 429, 429]
            refused = client.post("/v1/users", json={"user_id": "late"})
            assert int(refused.headers["retry-after"]) >= 1
            fault(client.post("/v1/recommendations", content=b"x" * 3000), 413)
            chunks = (b"x" * 500 for _ in range(8))  # no length is told
            fault(client.post("/v1/recommendations", content=chunks), 413)

    def test_deep_and_broken_bodies(self, client) -> None:
        deep = b'{"history":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        assert client.post("/v1/recommendations", content=deep, headers=JSON).status_code in (400, 422)
        assert client.post("/v1/recommendations", content=b"\xff\xfe{", headers=JSON).status_code in (400, 422)
        fault(client.post("/v1/recommendations", content=b"[1,2", headers=JSON), 422)

    def test_headers_keep_scripts_of_others_out(self, client) -> None:
        headers = client.get("/").headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"

    def test_no_person_is_in_logs_and_metrics(self, client, lines) -> None:
        client.post("/v1/users", json={"user_id": "secretperson"})
        client.post("/v1/feedback", json={"user_id": "secretperson", "item_id": "i3", "kind": "like"})
        listed(client, "secretperson")
        assert len(lines) == 3
        assert json.loads(lines[-1])["route"] == "/v1/recommendations"
        assert "secretperson" not in "".join(lines) + client.get("/metrics").text

    def test_health_and_what_stops(self, client) -> None:
        assert client.get("/health/live").json() == {"live": True}
        assert client.get("/health/ready").json()["ready"]
        client.app.app.state.recsys.service.stopping = True
        assert client.get("/health/ready").status_code == 503

    def test_the_documentation_names_every_route(self, client) -> None:
        page, schema = client.get("/docs").text, client.get("/openapi.json").json()
        asked = [
            one for about in schema["paths"].values() for each in about.values() for one in each.get("parameters", ())
        ]
        assert not [one["name"] for one in asked if one["in"] == "query" and not one.get("description")]
        assert len(schema["paths"]) > 20
        assert all(path in page for path in schema["paths"])
        assert "<script" not in page


def test_what_a_server_is_and_who_answers_is_told_whole(world, tmp_path) -> None:
    service = world.service(tmp_path / "s.sqlite")
    app = create_app(service, Offers(finder=object()), name="blocks", log=lambda line: None)
    with TestClient(app, base_url="http://localhost") as client:
        client.post("/v1/items", json={"item_id": "new", "title": "New", "text": "like 9"})
        assert client.post("/v1/models", json={"name": "floor", "artifact": "popularity"}).status_code == 201
        client.post("/v1/models/activate", json={"name": "floor"})
        client.put("/v1/models/split", json={"split": {"ease": 0.25, "floor": 0.75}})
        arranged = client.put("/v1/models/shadow", json={"name": "ease"}).json()
        assert arranged == client.get("/v1/models").json() == {
            "variants": {"ease": "ease", "floor": "popularity"}, "current": "floor", "before": ["ease"],
            "split": {"ease": 0.25, "floor": 0.75}, "shadow": "ease", "feedback": {},
        }  # fmt: skip
        assert client.get("/v1/about").json() == {
            "name": "blocks", "users": len(world.split.dataset.users), "items": 48, "new_items": 1, "model": "floor",
            "key": "popularity", "keyed": False,
            "offers": {"profiles": False, "finder": True, "drawer": False, "pictures": False},
        }  # fmt: skip
        client.delete("/v1/items", params={"item_id": "new"})
        assert client.get("/v1/about").json()["new_items"] == 0


def test_a_server_whose_state_cannot_be_reached_is_not_ready(client, monkeypatch) -> None:
    def check() -> None:
        raise ArtifactError("state", "cannot be reached", "Start it.")

    monkeypatch.setattr(client.app.app.state.recsys.service.state, "check", check)
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "cause": "cannot be reached"})
    assert client.get("/health/live").status_code == 200


def test_lists_of_the_shadow_are_compared_item_by_item(world, tmp_path) -> None:
    service = world.service(tmp_path / "s.sqlite")
    service.models.add("floor", "popularity")
    lists = {name: asyncio.run(service.recommend(Wanted("u1", k=8, model=name))) for name in ("ease", "floor")}
    assert lists["ease"].shadowed is None
    service.models.set_shadow("floor")
    shared = {one.item_id for one in lists["ease"].lines} & {one.item_id for one in lists["floor"].lines}
    assert asyncio.run(service.recommend(Wanted("u1", k=8))).shadowed == len(shared) / 8
    assert asyncio.run(service.recommend(Wanted("u1", k=8, model="floor"))).shadowed is None, "itself"
    assert asyncio.run(service.recommend(Wanted("u1", k=8, only=["i0"], never=["i0"]))).shadowed == 0
    service.close()


def test_a_full_queue_answers_503_and_says_when(world, tmp_path) -> None:
    app = create_app(world.service(tmp_path / "s.sqlite", waiting=0), log=lambda line: None)
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.get("/v1/recommendations", params={"user_id": "u1"})
        fault(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1


def test_what_another_server_of_the_same_state_does_is_followed(world, tmp_path) -> None:
    here, there = (world.service(tmp_path / "shared.sqlite") for _ in range(2))
    here.people.shared = True
    there.items.add(NewItem("new", "New", "like 9", (), None, {}))
    there.models.add("floor", "popularity")
    there.models.activate("floor")
    here.follow()
    assert here.items.item("new")["fresh"]
    assert here.models.now.current == "floor"
    kept = here.models.now.engines["ease"]
    there.models.roll_back()
    there.items.remove("new")
    here.follow()
    assert here.models.now.current == "ease"
    assert here.models.now.engines["ease"] is kept
    with pytest.raises(UnknownItemError):
        here.items.item("new")
    for one in (here, there):
        one.close()
