"""A run as a service: who may be reached by whom, one server a file, feedback that stays when the model changes."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import uvicorn
from click.testing import CliRunner

from recsys.cli import main
from recsys.core.errors import ConfigError
from recsys.hosting import Host, Hosting, bound, keys_of, serve
from recsys.runconfig import read_config
from recsys.serving.service import Wanted
from recsys.serving.state.store import Event
from recsys.workflow import Workflow


def workflow(root: Path, ranker: str = "popularity") -> Workflow:
    overrides = (f"run.artifacts={str(root)!r}", "items.text=none", "items.image=none", f"ranker.name={ranker}")
    return Workflow(read_config(None, overrides), log=lambda message: None)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hosting")


def test_other_machines_need_a_key() -> None:
    with pytest.raises(ConfigError, match="anybody who reaches it"):
        Hosting(host="0.0.0.0").check()
    for host in ("127.0.0.1", "::1", "localhost"):
        Hosting(host=host).check()
    Hosting(host="0.0.0.0", keys=("k" * 16,)).check()
    assert keys_of({"RECSYS_KEYS": " a-key-of-16-chars , another-of-16-ch"}) == (
        "a-key-of-16-chars",
        "another-of-16-ch",
    )
    with pytest.raises(ConfigError, match="fewer than 16"):
        keys_of({"RECSYS_KEYS": "short"})


def test_one_server_a_file_and_feedback_stays_with_another_ranker(root: Path) -> None:
    first = Host(workflow(root), Hosting(visuals=False))
    service = first.service()
    asyncio.run(service.accounts.record(Event("22", "50", "hide")))
    with pytest.raises(ConfigError, match="in use by another server"):
        Host(workflow(root), Hosting(visuals=False)).service()
    service.close()
    first.release()
    other = Host(workflow(root, "item_knn"), Hosting(visuals=False))
    again = other.service()
    lines = asyncio.run(again.recommend(Wanted("22", k=500))).lines
    assert again.models.now.current == "item_knn"
    assert "50" not in {one.item_id for one in lines}
    again.close()
    other.release()


def test_addresses_are_printed_when_they_answer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: what prints them asks the server first, and then stops it."""
    port, answers, servers = free_port(), [], []
    start = uvicorn.Server.startup

    async def starting(server: uvicorn.Server, **options: object) -> None:
        servers.append(server)
        await start(server, **options)

    monkeypatch.setattr(uvicorn.Server, "startup", starting)

    def printing(*words: str, **options: object) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as visitor:
            visitor.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answers.append((words, servers[0].started))
        servers[0].should_exit = True

    monkeypatch.setattr("builtins.print", printing)
    serve(workflow(root), Hosting(visuals=False, profiles=False, port=port, state=str(root / "printed.sqlite")))
    (((line,), started),) = answers
    assert line == f"page  http://127.0.0.1:{port}/\nAPI   http://127.0.0.1:{port}/docs"
    assert started


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def test_an_address_in_use_is_said_before_any_work(root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        empty = root / "nothing"
        done = CliRunner().invoke(main, ["serve", "--port", str(port), "--artifacts", str(empty), "-q"])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"error: address 127.0.0.1:{port}: is in use",
        f"  try: Stop what listens there, or try another: --port {port % 65535 + 1}",
    ]
    assert not empty.exists()


def test_an_address_of_no_interface_is_said() -> None:
    with pytest.raises(ConfigError, match="cannot be used"), bound(Hosting(host="203.0.113.1")):
        pass


def test_localhost_is_bound_as_far_as_there_is_one() -> None:
    with bound(Hosting(host="localhost", port=free_port())) as doors:
        assert doors


def test_edits_are_reasons_and_without_a_title_it_stands_where_hiding_it_takes_it(root: Path) -> None:
    host = Host(workflow(root, "ease"), Hosting(visuals=False, state=str(root / "why.sqlite")))
    service, wanted = host.service(), Wanted("23", k=1700)

    async def listed() -> list[str]:
        return [one.item_id for one in (await service.recommend(wanted)).lines]

    async def story() -> None:
        before = await listed()
        host.profiles.edit_as("23", ["add talking dogs", "lower genre:Drama", "raise genre:Western"], None)
        service.people.forget("23")
        now = await listed()
        item = next(one for one in now[:20] if before.index(one) > now.index(one) + 5)
        why = await service.why(wanted, item)
        assert (why.place, why.without_edits) == (now.index(item) + 1, before.index(item) + 1)
        assert not why.exact
        assert why.reasons[0].kind == "edit"
        assert f"from {why.without_edits} to {why.place}" in why.reasons[0].text
        assert sum(max(one.share, 0) for one in why.reasons) <= 1 + 1e-6
        assert len(why.without) == 5
        for one in why.without:  # the profile is built anew then, and what edits add changes with it
            event = await service.accounts.record(Event("23", one.item_id, "hide"))
            assert one.place == (await listed()).index(item) + 1
            await service.accounts.take_back("23", event.number)

    asyncio.run(story())
    host.profiles.erase("23")
    service.close()
    host.release()


def test_profiles_follow_what_was_said_and_lists_follow_profiles(root: Path) -> None:
    host = Host(workflow(root), Hosting(visuals=False, state=str(root / "own.sqlite")))
    service, profiles = host.service(), host.profiles
    before = profiles.read("22")
    comedies = [
        one for one in asyncio.run(service.recommend(Wanted("22", k=50))).lines if "genre:Comedy" in one.attributes
    ]
    assert len(comedies) > 3
    done = profiles.edit_as("22", ["forbid genre:Comedy"], before["version"])
    service.people.forget("22")
    lines = asyncio.run(service.recommend(Wanted("22", k=50))).lines
    assert not [one for one in lines if "genre:Comedy" in one.attributes]
    with pytest.raises(Exception, match="is at version"):
        profiles.edit_as("22", ["forbid genre:Drama"], before["version"])
    assert done["version"] > before["version"]
    asyncio.run(service.accounts.add_user("new"))
    for item in ("1", "71", "95", "99", "588"):  # children's animation
        asyncio.run(service.accounts.record(Event("new", item, "like")))
    told = profiles.read("new")["profile"]
    assert told["origin"]["history"] == 5
    assert any("nimat" in one["text"] or "hildren" in one["text"] for one in told["statements"])
    service.close()
    host.release()


def test_who_is_erased_is_left_out_of_the_next_training(tmp_path: Path) -> None:
    before = workflow(tmp_path)
    assert "22" in before.dataset.users
    host = Host(before, Hosting(visuals=False, profiles=False))
    service = host.service()
    service.accounts.erase("22")
    service.close()
    host.release()
    after = workflow(tmp_path)
    assert "22" not in after.dataset.users
    assert len(after.dataset.users) == len(before.dataset.users) - 1
    told = {one["what"]: one["rows"] for one in after.data().manifest["results"]["counts"]}
    mine = len(before.dataset.interactions.histories[int(before.dataset.users.index(["22"])[0])])
    assert told["interactions of users who were erased"] == mine
    assert b"22" not in (tmp_path / "erased.txt").read_bytes().split()


def test_an_index_answers_or_is_refused(root: Path) -> None:
    pytest.importorskip("usearch", reason='needs pip install "recsys[ann]"')
    told: list[str] = []
    overrides = (f"run.artifacts={str(root)!r}", "items.text=none", "items.image=none", "ranker.name=ials")
    flow = Workflow(read_config(None, (*overrides, "ranker.iterations=3")), log=told.append)
    host = Host(flow, Hosting(visuals=False, profiles=False, recall=0.9, state=str(root / "index.sqlite")))
    service = host.service()
    exact = Host(flow, Hosting(visuals=False, profiles=False, state=str(root / "exact.sqlite"))).service()
    near, all_of_them = (asyncio.run(one.recommend(Wanted("22", k=20))).lines for one in (service, exact))
    assert service.models.of(None).shortlist is not None
    assert any("recall@20" in line for line in told)
    assert len({one.item_id for one in near} & {one.item_id for one in all_of_them}) >= 18
    assert list((root / "served").glob("index-*.usearch"))
    service.close()
    exact.close()
    refused = Host(workflow(root), Hosting(visuals=False, recall=0.9, state=str(root / "none.sqlite")))
    with pytest.raises(ConfigError, match="Popularity does not score by a product of vectors"):
        refused.service()
