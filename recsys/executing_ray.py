"""Work on a Ray cluster: tasks for pieces that differ, a Ray Data pipeline for a stream of like ones.

The cluster is that of ``RAY_ADDRESS``, whose machines see the same files, or one that is started on this host and ends
with the executor. Ray's reports of its use to its makers are turned off where ``RAY_USAGE_STATS_ENABLED`` says nothing.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Self, TypeVar

from recsys.core.errors import ConfigError
from recsys.executing import ONE_THREAD, ExecutorError, Outcome, outcome_of

T = TypeVar("T")
R = TypeVar("R")

AGAIN = 3  # times that a piece is tried anew whose machine was lost; on this host, where memory is short, never


def load_ray(thing: str) -> Any:
    """Return the module.

    Args:
        thing: what needs it, for the message.

    Raises:
        ConfigError: it cannot be imported.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        cause = f"it needs Ray, which cannot be imported ({error})"
        raise ConfigError(thing, cause, 'pip install "recsys[ray]"') from error
    return ray


def connect(ray: Any, cpus: int, *, silent: bool = False) -> bool:
    """Connect to the cluster of ``RAY_ADDRESS``, or start one of so many CPUs here; return whether it is ours to end.

    Workers find modules where this process does, so that a plug-in beside the run is one for them, too. What they
    print is printed here, unless this is to be ``silent``.

    Raises:
        ExecutorError: it does not come up.
    """
    if ray.is_initialized():
        return False
    own = {} if _elsewhere() else {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    places = os.pathsep.join(place for place in map(os.path.abspath, sys.path) if os.path.isdir(place))
    environment = {**ONE_THREAD, "PYTHONPATH": places}
    try:
        told = {"logging_level": logging.WARNING, "log_to_driver": not silent}
        ray.init(runtime_env={"env_vars": environment}, **told, **own)
    except Exception as error:  # Ray has no class for a cluster that does not come up
        raise ExecutorError("Ray", first_line(error), "Check RAY_ADDRESS, or --executor local.") from error
    return True


class Ray:
    """Tasks of one CPU each, never more than ``workers`` at once, however large the cluster."""

    def __init__(self, workers: int = 1) -> None:
        self.ray, self.workers, self._ours = load_ray("executor 'ray'"), workers, False

    def map(self, function: Callable[[T], R], inputs: Iterable[T]) -> Iterator[R]:
        self._ours |= connect(self.ray, self.workers)
        task = self.ray.remote(num_cpus=1, max_retries=retries())(_outcome_in)
        folder = os.getcwd()
        waiting, busy, left = deque(), [], iter(inputs)
        try:
            while True:
                for one in islice(left, self.workers - len(busy)):
                    busy.append(task.remote(folder, function, one))
                    waiting.append(busy[-1])
                if not waiting:
                    return
                if waiting[0] in busy:
                    _, busy = self.ray.wait(busy)
                else:
                    yield self._told(self.ray.get, waiting[0]).unwrapped()
                    waiting.popleft()
        except BaseException:  # GeneratorExit too: the caller stopped asking
            # Without force: forced on a task that just ends, Ray 2.60 aborts this process. What runs is interrupted
            # between two calls of Python, so that one long call, such as an inverse, is left at its end.
            for reference in waiting:
                self.ray.cancel(reference)
            raise

    def _told(self, step: Callable[..., Outcome], *given: Any) -> Outcome:
        """Take a step of Ray's; what goes wrong there, and not in a piece, is an ``ExecutorError``."""
        try:
            return step(*given)
        except self.ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            said = f"{type(cause).__name__}: {first_line(cause)}"
            raise ExecutorError("a Ray worker", said, "Try fewer --workers, or --executor local.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._ours:
            self.ray.shutdown()
            self._ours = False


class RayData(Ray):
    """A Ray Data pipeline: ``workers`` actors of one CPU each take pieces as they get free.

    An actor stays for all pieces, and so does what ``function`` keeps in its process, such as a loaded model. The
    pipeline takes some seconds longer to start than tasks do, which is why it is for many like pieces.
    """

    def map(self, function: Callable[[T], R], inputs: Iterable[T]) -> Iterator[R]:
        packed = self.ray.cloudpickle  # as Ray packs what tasks get and give: columns hold plain values alone
        rows = [{"piece": packed.dumps(one)} for one in inputs]
        if not rows:
            return
        self._ours |= connect(self.ray, self.workers)
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what goes wrong is raised, once
        data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Worker, fn_constructor_args=(os.getcwd(), function), num_cpus=1, **_lives(),
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(rows))),
        )  # fmt: skip
        data.context.execution_options.preserve_order = True
        data.context.enable_progress_bars = False
        found = iter(data.iter_rows())
        while (row := self._told(next, found, None)) is not None:
            yield packed.loads(row["outcome"]).unwrapped()


def _outcome_in(folder: str, function: Callable[[T], R], one: T) -> Outcome:
    """Do a piece of work where paths mean what they mean to who asked: a cluster's workers start anywhere."""
    os.chdir(folder)
    return outcome_of(function, one)


class _Worker:
    """The actor of ``RayData``."""

    def __init__(self, folder: str, function: Callable[[Any], Any]) -> None:
        self.folder, self.function = folder, function

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        packed = load_ray("a Ray Data worker").cloudpickle
        return {"outcome": packed.dumps(_outcome_in(self.folder, self.function, packed.loads(row["piece"])))}


def _lives() -> dict[str, int]:
    """Return how often an actor of ``RayData`` may come back; Ray's own answer is for ever."""
    return {"max_restarts": retries(), "max_task_retries": retries()}


def _elsewhere() -> bool:
    return bool(os.environ.get("RAY_ADDRESS"))


def retries() -> int:
    return AGAIN if _elsewhere() else 0


def first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason is given")
