"""Work on several workers: results in order, errors whole, nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.core.errors import ConfigError, RankerError
from recsys.executing import ExecutorError, Local, make_executor

from waiting import LONG, alive, wait_until


def doubled(number: int) -> int:
    time.sleep(0.05 * (number == 0))  # the first ends last
    return 2 * number


def refused(number: int) -> int:
    if number == 1:
        raise RankerError("ranker x", "its loss is not finite", "Lower it.")
    return number


class Odd(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def odd(number: int) -> int:
    raise Odd(number, number)


def threads(_: int) -> tuple[str | None, int]:
    return os.environ.get("OMP_NUM_THREADS"), os.getpid()


def dies(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleeps(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(10 * LONG)  # it does not end by itself


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with make_executor("local", 2) as executor:
        yield executor


def test_results_come_in_the_order_of_the_inputs(local: Local) -> None:
    assert list(local.map(doubled, range(5))) == [0, 2, 4, 6, 8]
    assert list(make_executor("serial", 1).map(doubled, range(5))) == [0, 2, 4, 6, 8]


def test_workers_have_one_thread_each_and_stay(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    first, second = list(local.map(threads, range(4))), list(local.map(threads, range(4)))
    assert {value for value, _ in [*first, *second]} == {"1"}
    assert len({process for _, process in [*first, *second]}) <= 2
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_an_error_arrives_whole_and_work_can_go_on_after_it(local: Local) -> None:
    with pytest.raises(RankerError) as caught:
        list(local.map(refused, range(3)))
    assert (caught.value.thing, caught.value.remedy) == ("ranker x", "Lower it.")
    assert "in refused" in caught.value.__notes__[0]
    assert list(local.map(doubled, [4])) == [8]


def test_an_error_that_cannot_travel_is_told(local: Local) -> None:
    with pytest.raises(RuntimeError, match="Odd: 3 and 3"):
        list(local.map(odd, [3]))


def test_a_worker_that_died_is_said(local: Local) -> None:
    with pytest.raises(ExecutorError, match="fewer --workers"):
        list(local.map(dies, [1]))


def test_names_and_numbers_are_checked() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'local'"):
        make_executor("locale", 2)
    with pytest.raises(ConfigError, match="1 or more"):
        make_executor("local", 0)


def test_ray_is_asked_for_only_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    make_executor("local", 2)
    for name in ("ray", "ray-data"):
        with pytest.raises(ConfigError, match=r"recsys\[ray\]"):
            make_executor(name, 2)


class Reference:
    """A stand-in for Ray: it has what we use of it, in this process."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self) -> None:
        self.begun: list[dict] = []

    def is_initialized(self) -> bool:
        return bool(self.begun)

    def init(self, **options) -> None:
        self.begun.append(options)

    def shutdown(self) -> None:
        self.begun.clear()

    def remote(self, **options):
        assert options == {"num_cpus": 1, "max_retries": 0}
        return lambda function: type("Task", (), {"remote": staticmethod(lambda *given: (function, given))})

    def wait(self, references):
        assert len(references) <= self.begun[0]["num_cpus"]
        return references[:1], references[1:]

    def get(self, reference):
        return reference[0](*reference[1])

    def cancel(self, reference, force: bool = False) -> None:
        assert not force


def test_ray_is_driven_as_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = Reference()
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with make_executor("ray", 3) as executor:
        assert list(executor.map(doubled, range(7))) == [0, 2, 4, 6, 8, 10, 12]
        assert stand_in.begun[0]["num_cpus"] == 3
        with pytest.raises(RankerError):
            list(executor.map(refused, range(3)))
    assert not stand_in.begun


def test_a_cluster_that_does_not_come_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = Reference()
    monkeypatch.setattr(stand_in, "init", lambda **options: 1 / 0)
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    with make_executor("ray", 2) as executor, pytest.raises(ExecutorError, match="RAY_ADDRESS"):
        list(executor.map(doubled, range(3)))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes by /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_whoever_started_them(how: signal.Signals, tmp_path: Path) -> None:
    code = (
        "import test_executing as t; from recsys.executing import make_executor\n"
        f"if __name__ == '__main__': list(make_executor('local', 2).map(t.sleeps, [{str(tmp_path)!r}] * 2))"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, start_new_session=True, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    owner.send_signal(how)
    assert owner.wait(timeout=LONG) != 0
    wait_until(lambda: not any(alive(int(file.name)) for file in tmp_path.iterdir()))
