"""Many independent pieces of work on several workers: one small protocol, and who does it by name.

    with make_executor("local", workers=2) as executor:
        for result in executor.map(function, inputs):  # in the order of the inputs
            ...

``serial`` works in this very process, ``local`` in processes of their own, ``ray`` and ``ray-data`` on a Ray cluster
(``executing_ray``). Function, inputs and results travel between processes: the function must be one that a module
names, the rest plain values.
"""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any, Protocol, Self, TypeVar

from recsys.core.errors import ConfigError, RecsysError, did_you_mean

T = TypeVar("T")
R = TypeVar("R")

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
ONE_THREAD = {**dict.fromkeys(THREADS, "1"), "OMP_WAIT_POLICY": "passive"}


class Executor(Protocol):
    """Does independent pieces of work; used as a context, it ends its workers at the end."""

    def map(self, function: Callable[[T], R], inputs: Iterable[T]) -> Iterator[R]:
        """Yield ``function(one)`` for each input, in their order.

        The error of a piece is raised here as it was there, with the worker's traceback as a note; pieces after it
        are given up, and so are all when the caller stops asking.

        Raises:
            ExecutorError: a worker died.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class ExecutorError(RecsysError):
    """A worker that died, or could not be started."""


def make_executor(name: str, workers: int) -> Executor:
    """Return an executor by name; nothing is started before there is work.

    Args:
        name: ``"serial"``, ``"local"``, ``"ray"``, or ``"ray-data"`` for a long stream of like pieces.
        workers: how many work at once.

    Raises:
        ConfigError: no such name, less than one worker, or a package that is not installed.
    """
    kinds: Mapping[str, Callable[[int], Executor]] = {
        "serial": Serial,
        "local": Local,
        "ray": _ray,
        "ray-data": _ray_data,
    }
    if name not in kinds:
        raise ConfigError(f"executor {name!r}", "no such name", did_you_mean(name, kinds))
    if workers < 1:
        raise ConfigError(f"workers {workers}", "somebody has to do the work", "Give 1 or more.")
    return kinds[name](workers)


def _ray(workers: int) -> Executor:
    from recsys.executing_ray import Ray

    return Ray(workers)


def _ray_data(workers: int) -> Executor:
    from recsys.executing_ray import RayData

    return RayData(workers)


class Serial:
    """One piece after the other in this process, with its threads: for tests, and for looking into a fault."""

    def __init__(self, workers: int = 1) -> None:
        pass

    def map(self, function: Callable[[T], R], inputs: Iterable[T]) -> Iterator[R]:
        return map(function, inputs)

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Local:
    """Fresh processes (spawned, so that no lock or thread is inherited) with one thread each.

    One worker is a process of its own, too: figures then do not depend on the number of workers. The processes stay
    until the executor is closed, and end with this one, even if it is killed.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._alive: Connection | None = None

    def map(self, function: Callable[[T], R], inputs: Iterable[T]) -> Iterator[R]:
        try:
            with _environment(ONE_THREAD):  # a worker is started when there is work for it, and inherits it
                futures = [self._started().submit(outcome_of, function, one) for one in inputs]
            yield from map(_result, futures)
        except BaseException:  # GeneratorExit too: the caller stopped asking
            self.close(at_once=True)
            raise

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = get_context("spawn")
            watched, self._alive = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=_end_with, initargs=(watched,))
        return self._pool

    def close(self, at_once: bool = False) -> None:
        """End the workers; ``at_once``: in the midst of a piece, too."""
        pool, alive, self._pool, self._alive = self._pool, self._alive, None, None
        if pool is None or alive is None:
            return
        if at_once:
            alive.close()
        pool.shutdown(cancel_futures=True)
        alive.close()

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *error: object) -> None:
        self.close(at_once=error[0] is not None)


def _end_with(watched: Connection) -> None:
    """Let this process end as soon as the other end of a pipe is closed, be it that its owner was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes: the owner answers

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            watched.recv()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _result(future: Future) -> Any:
    try:
        outcome = future.result()
    except BrokenProcessPool as error:
        raise ExecutorError(
            "a worker", "it ended before its work was done (killed, or out of memory)", "Try fewer --workers."
        ) from error
    return outcome.unwrapped()


@dataclass(frozen=True)
class Outcome:
    """What became of a piece of work, on its way between processes."""

    value: Any = None
    error: Exception | None = None
    trace: str = ""

    def unwrapped(self) -> Any:
        """Return the value, or raise the error with the worker's traceback as a note."""
        if self.error is None:
            return self.value
        self.error.add_note(f"In the worker:\n{self.trace}")
        raise self.error


def outcome_of(function: Callable[[T], R], one: T) -> Outcome:
    """Do a piece of work, and return what became of it."""
    try:
        return Outcome(function(one))
    except Exception as error:
        return Outcome(error=_portable(error), trace=traceback.format_exc())


def _portable(error: Exception) -> Exception:
    """Return the error, or one that says the same if it cannot be made anew from its parts on the other side."""
    try:
        copy.copy(error)
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
