"""Ray itself, started once for this module: tasks, pipelines and replicas do what processes and one server do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_ablating import CONTENT, config, stripped, written
from test_executing import doubled, odd, refused, threads
from test_hosting_ray import below
from test_tuning import STOPS, told, tuned, write_run

from recsys import batch
from recsys.ablation.plan import Plan
from recsys.ablation.results import as_results
from recsys.ablation.running import Ablation
from recsys.batch import recommend_all
from recsys.core.errors import RankerError
from recsys.core.runtime import Run
from recsys.core.values import ITEM_SCHEMA
from recsys.executing import ExecutorError, Serial, make_executor
from recsys.executing_ray import Ray, RayData
from recsys.items import make_encoder
from recsys.items.encoding import encode_items
from recsys.items.parts import encode_items_by
from recsys.runconfig import read_config
from recsys.workflow import Workflow

from waiting import alive, wait_until
from worlds import content_world

pytest.importorskip("ray")
pytestmark = pytest.mark.slow  # Ray takes ten seconds and more to start, and its pipelines as long again


def dies(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def notes(given: tuple[str, int]) -> int:
    """Leave a file, take long in short steps (Ray interrupts between calls, not within one), and leave another."""
    folder, number = given
    (Path(folder) / f"{number}-begun").touch()
    try:
        for _ in range(3 if number == 0 else 6000):
            time.sleep(0.1)
    finally:
        (Path(folder) / f"{number}-over").touch()
    return number


def seen(folder: Path, what: str) -> set[int]:
    return {int(path.name.partition("-")[0]) for path in folder.glob(f"*-{what}")}


@pytest.fixture(scope="module")
def team() -> Iterator[Ray]:
    with make_executor("ray", 2) as executor:
        yield executor
    assert not executor.ray.is_initialized()


def test_tasks_come_in_the_order_of_the_inputs_with_one_thread_each(team: Ray) -> None:
    assert list(team.map(doubled, range(5))) == [0, 2, 4, 6, 8]
    assert list(team.map(doubled, [])) == []
    found = list(team.map(threads, range(6)))
    assert {value for value, _ in found} == {"1"}
    assert len({process for _, process in found}) <= 2
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_paths_mean_what_they_mean_here(team: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(team.map(os.path.abspath, ["data"])) == [str(tmp_path / "data")]


def test_an_error_of_a_task_arrives_whole(team: Ray) -> None:
    with pytest.raises(RankerError) as caught:
        list(team.map(refused, range(3)))
    assert (caught.value.thing, caught.value.remedy) == ("ranker x", "Lower it.")
    assert "in refused" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Odd: 3 and 3"):
        list(team.map(odd, [3]))


def test_a_worker_that_died_is_said_and_work_can_go_on_after_it(team: Ray) -> None:
    found = team.map(dies, range(4))
    assert next(found) == 0
    with pytest.raises(ExecutorError, match=r"WorkerCrashedError.*fewer --workers"):
        list(found)
    assert list(team.map(doubled, [4])) == [8]


def test_who_stops_asking_gives_up_what_is_running_and_what_would_follow(team: Ray, tmp_path: Path) -> None:
    found = team.map(notes, [(str(tmp_path), number) for number in range(9)])
    assert next(found) == 0
    wait_until(lambda: len(seen(tmp_path, "begun")) >= 2)
    found.close()
    wait_until(lambda: seen(tmp_path, "over") == seen(tmp_path, "begun"))
    assert max(seen(tmp_path, "begun")) <= 3


def test_a_pipeline_does_the_same_in_order_with_the_same_errors(team: Ray) -> None:
    list(team.map(doubled, [0]))  # Ray is there, and is not the pipeline's to end
    with RayData(2) as pipeline:
        assert list(pipeline.map(doubled, range(7))) == [0, 2, 4, 6, 8, 10, 12]
        assert list(pipeline.map(doubled, [])) == []
        with pytest.raises(RankerError) as caught:
            list(pipeline.map(refused, range(3)))
        assert "in refused" in caught.value.__notes__[0]
        with pytest.raises(ExecutorError, match=r"ActorDiedError.*fewer --workers"):
            list(pipeline.map(dies, range(4)))
        assert list(pipeline.map(doubled, [4])) == [8]
    assert team.ray.is_initialized()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A trained ranker, and where all results are."""
    root = tmp_path_factory.mktemp("ray")
    overrides = (f"run.artifacts={str(root)!r}", "items.text=none", "items.image=none", "ranker.name=ease")
    return Workflow(read_config(None, overrides), log=lambda message: None).train().path, root


def test_everybodys_lists_are_the_same_file_by_ray(team: Ray, trained, tmp_path: Path, monkeypatch) -> None:
    list(team.map(doubled, [0]))
    monkeypatch.setattr(batch, "USERS", 100)
    for name in ("serial", "local", "ray", "ray-data"):
        with make_executor(name, 2) as executor:
            out = tmp_path / f"{name}.parquet"
            recommend_all(*trained, out, k=5, filters=(), executor=executor, run=Run(log=lambda message: None))
    assert len({(tmp_path / f"{name}.parquet").read_bytes() for name in ("serial", "local", "ray", "ray-data")}) == 1


def test_a_search_finds_the_same_by_ray(team: Ray, tmp_path: Path) -> None:
    one = tuned(write_run(tmp_path / "one"), STOPS, trials=6)
    two = tuned(write_run(tmp_path / "two"), STOPS, team, trials=6)
    assert told(two) == told(one)
    assert two.best.key == one.best.key


def test_an_ablation_finds_the_same_by_ray(tmp_path: Path) -> None:
    raw, found = written(tmp_path / "raw", *content_world("image")), []
    for name, executor in (("one", Serial()), ("two", Ray(2))):
        (tmp_path / name).mkdir()
        plan = Plan.read(config(raw, CONTENT, tmp_path / name), [f"run.artifacts={str(tmp_path / name / 'own')!r}"])
        found.append(stripped(as_results(Ablation.run(plan, executor, log=lambda message: None))))
    assert found[0] == found[1]


def test_items_have_the_same_vectors_by_ray(team: Ray, tmp_path: Path, run) -> None:
    rows = [(f"i{n}", None, "words of an item " * (n % 7) + str(n), [], None) for n in range(1100)]
    items, encoder = pl.DataFrame(rows, schema=ITEM_SCHEMA, orient="row"), make_encoder("minilm", "text", {})
    made = encode_items_by(team.map, items, encoder, "text", tmp_path / "two", run=run)
    alone = encode_items(items[1000:], encoder, "text", tmp_path / "one", run=run)
    assert made.fresh == 1100
    assert np.abs(made.vectors[1000:] - alone.vectors).max() < 1e-6


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes by /proc")
def test_ray_does_not_outlive_a_killed_owner(tmp_path: Path) -> None:
    """Tasks end within seconds; two of Ray's own processes take a minute to notice."""
    code = (
        "import test_executing as t; from recsys.executing import make_executor\n"
        f"list(make_executor('ray', 2).map(t.sleeps, [{str(tmp_path)!r}] * 2))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    owner = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        processes = below(owner.pid)
    finally:
        owner.kill()
        owner.wait()
    assert len(processes) > 4
    wait_until(lambda: not any(alive(int(file.name)) for file in tmp_path.iterdir()))
    wait_until(lambda: not any(map(alive, processes)))
