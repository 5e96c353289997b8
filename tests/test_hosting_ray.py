"""Replicas on Ray Serve: they answer as one server does, what is said counts whichever answers, and all of it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.core.errors import BusyError, ConfigError
from recsys.hosting import Host, Hosting
from recsys.hosting_ray import Description, Replicas, check_shared, describe, serve_on_ray
from recsys.runconfig import read_config
from recsys.workflow import Workflow

from waiting import LONG, alive, wait_until

pytest_plugins = ["serving.postgres_server"]
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
KEY = "a-key-of-thirty-two-characters--"


def settings(root: Path) -> tuple[str, ...]:
    return (f"run.artifacts={str(root)!r}", "items.text=none", "items.image=none", "ranker.name=ease")


def workflow(root: Path) -> Workflow:
    return Workflow(read_config(None, settings(root)), log=lambda message: None)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hosting-ray")


# -- what is asked for ---------------------------------------------------------------------------------------------


def test_replicas_are_a_number_or_a_range() -> None:
    assert Replicas.parse("3") == Replicas(3, 3)
    assert Replicas.parse("1:4") == Replicas(1, 4)
    for wrong in ("0", "4:1", "0:2", "-1"):
        with pytest.raises(ConfigError, match="no range"):
            Replicas.parse(wrong)
    with pytest.raises(ConfigError, match="no number"):
        Replicas.parse("many")


def test_serve_takes_the_options() -> None:
    serve = pytest.importorskip("ray.serve")
    assert serve.deployment(Replicas, **Replicas(3, 3).options()).num_replicas == 3
    scaling = serve.deployment(Replicas, **Replicas(1, 4).options())._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (1, 4)


@pytest.mark.parametrize("state", [None, "state.sqlite", "sqlite:///state.sqlite"])
def test_replicas_that_cannot_know_what_is_said_to_one_another_are_refused(state: str | None) -> None:
    with pytest.raises(ConfigError, match=r"not know what is said.*--state postgresql"):
        check_shared(Hosting(state=state))


def test_what_cannot_be_served_is_refused_before_anything_is_started(root: Path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match="anybody who reaches it"):
        check_shared(Hosting(host="0.0.0.0", state=NOWHERE))
    pytest.importorskip("psycopg")
    with pytest.raises(BusyError, match="see whether the server runs"):
        check_shared(Hosting(state=NOWHERE))
    done = CliRunner().invoke(main, ["serve", "--replicas", "2"])
    assert "is for --engine ray" in done.output
    monkeypatch.setattr("recsys.hosting_ray.check_shared", lambda hosting: None)
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"recsys\[ray\]"):
        serve_on_ray(workflow(root), Hosting(state=NOWHERE), Replicas())


def test_an_address_in_use_is_said(root: Path, monkeypatch) -> None:
    pytest.importorskip("ray.serve")
    monkeypatch.setattr("recsys.hosting_ray.check_shared", lambda hosting: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=r"is in use.*--port"):
            serve_on_ray(workflow(root), Hosting(state=NOWHERE, port=port, profiles=False), Replicas())


def test_a_replica_is_made_of_what_can_travel(root: Path, postgres_url: str, monkeypatch) -> None:
    """By a description alone, from anywhere: the application answers as the run's own does."""
    from fastapi.testclient import TestClient

    monkeypatch.chdir(root)
    described = describe(workflow(Path("here")), Hosting(state=postgres_url, visuals=False, keys=(KEY,)))
    again = Description(**json.loads(json.dumps({"config": described.config, "folder": described.folder})),
                        hosting=described.hosting)  # fmt: skip
    assert Path(described.hosting.ranker or "").is_dir()
    monkeypatch.chdir("/")
    with TestClient(again.app(), base_url="http://localhost") as client:
        assert len(client.get("/v1/recommendations", params={"user_id": "22"}).json()["items"]) == 20
        assert client.get("/v1/user", params={"user_id": "22"}).status_code == 401


# -- replicas ------------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A server that was started by the command line."""

    process: subprocess.Popen
    url: str
    log: Path

    def answered(self) -> Counter[int]:
        """Return how many requests each replica logged, by process."""
        return Counter(int(one) for one in re.findall(r"ServeReplica\S+ pid=(\d+)\)\S* \{", self.log.read_text()))


def below(process: int) -> set[int]:
    """Return the processes that a process started, and those that they did."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        parents.setdefault(parent, []).append(int(path.parent.name))
    found, left = set(), [process]
    while left:
        new = parents.get(left.pop(), [])
        found.update(new)
        left += new
    return found


@pytest.fixture
def running(root: Path, postgres_url: str, tmp_path: Path) -> Iterator[Running]:
    pytest.importorskip("ray.serve")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "recsys", "serve", "-q", "--engine", "ray", "--replicas", "2", "--no-visuals"]
    command += ["--state", postgres_url, "--port", str(port)]
    command += [word for one in settings(root) for word in ("--set", one)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"RECSYS_KEYS": KEY}
    told, log = tmp_path / "told", tmp_path / "log"
    with told.open("w") as out, log.open("w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, start_new_session=True)
    try:
        wait_until(lambda: "/docs" in told.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield Running(process, f"http://127.0.0.1:{port}", log)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes by /proc")
def test_two_replicas_answer_as_one_server_and_end_with_it(running: Running, root: Path, postgres_url: str) -> None:
    from fastapi.testclient import TestClient

    host = Host(workflow(root), Hosting(state=postgres_url, visuals=False, keys=(KEY,)))
    plain = TestClient(host.app(host.service(), log=lambda line: None), base_url="http://localhost")
    with plain, httpx.Client(base_url=running.url, headers={"X-API-Key": KEY}, timeout=30) as client:
        ask = lambda one, user, k: one.get("/v1/recommendations", params={"user_id": user, "k": k}).json()  # noqa: E731
        for user in map(str, range(1, 61)):
            assert ask(client, user, 20) == ask(plain, user, 20)
        wait_until(lambda: running.answered().total() >= 60)
        assert len(running.answered()) == 2
        for _ in range(20):  # what is said counts in the very next list, whoever is asked
            first = ask(client, "22", 1)["items"][0]["item_id"]
            said = client.post("/v1/feedback", json={"user_id": "22", "item_id": first, "kind": "like"})
            assert said.status_code == 201
            assert first not in {one["item_id"] for one in ask(client, "22", 50)["items"]}
        assert httpx.get(f"{running.url}/v1/user", params={"user_id": "22"}).status_code == 401
        assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 421
        one, other = running.answered()
        os.kill(one, signal.SIGKILL)

        def healed() -> bool:
            with contextlib.suppress(httpx.HTTPError, ValueError):  # lost on its way to the dead
                assert ask(client, "22", 5)
            return bool(set(running.answered()) - {one, other})

        wait_until(healed)
    processes = below(running.process.pid)
    assert len(processes) > 4
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(timeout=LONG) == 0
    wait_until(lambda: not any(alive(one) for one in processes))
    assert '"user_id"' not in running.log.read_text()
