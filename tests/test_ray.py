"""Ray itself, started once for this module: tasks, pipelines and replicas do what processes and one server do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_executing import alive, doubled, odd, refused, threads, wait_until

from recsys import batch
from recsys.batch import recommend_all
from recsys.core.errors import RankerError
from recsys.core.runtime import Run
from recsys.executing import ExecutorError, make_executor
from recsys.executing_ray import Ray, RayData
from recsys.workflow import Workflow, read_config

pytest.importorskip("ray")


def dies(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def notes(given: tuple[str, int]) -> int:
    """Leave a file, and take long."""
    folder, number = given
    (Path(folder) / f"{number}-{os.getpid()}").touch()
    time.sleep(0.3 if number == 0 else 60)
    return number


def begun(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[0]) for path in folder.iterdir()}


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
    wait_until(lambda: len(begun(tmp_path)) >= 2)
    found.close()
    workers = [int(path.name.partition("-")[2]) for path in tmp_path.iterdir() if not path.name.startswith("0-")]
    wait_until(lambda: not any(alive(worker) for worker in workers))
    assert max(begun(tmp_path)) <= 3


@pytest.mark.slow
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


@pytest.mark.slow
def test_everybodys_lists_are_the_same_file_by_ray(team: Ray, trained, tmp_path: Path, monkeypatch) -> None:
    list(team.map(doubled, [0]))
    monkeypatch.setattr(batch, "USERS", 100)
    for name in ("serial", "local", "ray", "ray-data"):
        with make_executor(name, 2) as executor:
            out = tmp_path / f"{name}.parquet"
            recommend_all(*trained, out, k=5, filters=(), executor=executor, run=Run(log=lambda message: None))
    assert len({(tmp_path / f"{name}.parquet").read_bytes() for name in ("serial", "local", "ray", "ray-data")}) == 1
