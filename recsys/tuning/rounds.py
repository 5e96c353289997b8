"""Settings of rankers chosen on validation: rounds of trials, kept as they end, the same however often it is killed.

A search goes in rounds. The trials of a round are proposed from those of earlier rounds alone, by a sampler whose
seed is made of the run's seed, the ranker and the round, and a trial may be stopped by the figures of earlier rounds
alone. So what is tried, and what becomes of it, depends neither on the number of workers nor on which of them is
first, nor on when the search was killed: a round that was not finished is proposed again, and comes out the same.
Trials are kept when they have ended, in order. One that a kill interrupted has left nothing there, but its artifact
or its checkpoint: it is done again, at little cost, and counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from recsys.core.errors import ArtifactError, ConfigError, RankerError
from recsys.core.fingerprint import fingerprint, source_key
from recsys.evaluation.wording import fixed
from recsys.executing import Executor
from recsys.rankers import RANKERS
from recsys.tuning.proposing import propose
from recsys.tuning.searchfile import Search
from recsys.tuning.space import Space
from recsys.tuning.store import open_storage
from recsys.tuning.trial import CHECK, KEPT, Job, Tried, attempt, checksum
from recsys.workflow import Workflow


@dataclass(frozen=True)
class Trial:
    """A finished trial. ``steps`` is how many validations it had; ``params`` is what was searched, by dotted name."""

    ranker: str
    number: int
    state: str
    value: float | None
    settings: Mapping[str, Any]
    params: Mapping[str, Any]
    steps: int
    seconds: float
    key: str | None
    error: str | None

    @classmethod
    def of(cls, label: str, found: FrozenTrial) -> Trial:
        about = {name: found.user_attrs[name] for name in ("settings", "seconds", "key", "error")}
        value = found.value if found.state is TrialState.COMPLETE else None
        steps = len(found.intermediate_values)
        return cls(label, found.number, found.state.name.lower(), value, params=found.params, steps=steps, **about)


class Tuning:
    """A search over rankers of one run, on its validation part; test is never looked at.

    Args:
        workflow: the run.
        search: what is searched.
        storage: file or URL of the trials; one that is there is gone on with.
        executor: does the trials.

    Raises:
        ConfigError: the split has no validation part.
    """

    def __init__(self, workflow: Workflow, search: Search, storage: str | Path, executor: Executor) -> None:
        if not workflow.split().manifest["results"]["valid"]:
            raise ConfigError(
                "setting split", "it has no validation part to choose settings on", "Such as split.ratios = [8, 1, 1]."
            )
        self.workflow, self.search, self.settings, self.executor = workflow, search, search.settings, executor
        self._storage, self._place = open_storage(storage), storage
        self._studies: dict[str, optuna.Study] = {}

    @property
    def metric(self) -> str:
        return self.workflow.config.evaluation.metric

    def run(self) -> None:
        """Do all trials that are not there yet.

        Raises:
            ConfigError: another process is at work on the same search.
            RankerError: no trial of a ranker ended well that another one takes for a member.
            RecsysError: what is no fault of a point: data, disk, a worker that died.
        """
        for spaces in _waves(self.search.spaces):
            for first in range(0, self.settings.trials, self.settings.together):
                jobs = [job for space in spaces for job in self._round(space, first)]
                for job, tried in zip(jobs, self.executor.map(attempt, jobs), strict=True):
                    self._keep(job, tried)

    def trials(self, space: Space) -> list[Trial]:
        """Return the finished trials of a ranker, in order; those beyond the budget belong to a larger one."""
        return [Trial.of(space.label, found) for found in self._found(space)[: self.budget(space)]]

    def budget(self, space: Space) -> int:
        """Return how many trials a ranker gets: as many as any other, or all points that it has."""
        return int(min(self.settings.trials, space.size))

    def best(self, space: Space) -> Trial | None:
        """Return the best trial of a ranker, the first of equals; ``None`` where none ended well."""
        return best_of(self.trials(space))

    # -- rounds --------------------------------------------------------------------------------------------------

    def _round(self, space: Space, first: int) -> list[Job]:
        """Return what is to be done yet of the trials from ``first`` on that are proposed together."""
        found, end = self._found(space), min(first + self.settings.together, self.budget(space))
        if len(found) >= end:
            return []
        before = tuple(found[:first])
        proposed = propose(space, before, end - first, self.settings, self.workflow.run)
        members = self._members(space)
        config = self.workflow.config.model_dump_json()
        made = [
            Job(config, space.label, first + place, stored, space.point(stored, members), before, self.settings)
            for place, stored in enumerate(proposed)
        ]
        return made[len(found) - first :]

    def _keep(self, job: Job, tried: Tried) -> None:
        space = self._by_label[job.label]
        study = self._study(space)
        if len(study.get_trials(deepcopy=False)) != job.number:
            raise ConfigError(
                f"search in {self._place}", "another process adds trials to it", "Let one of them end first."
            )
        study.add_trial(tried.frozen(job, space.distributions))
        best = self.best(space)
        told = fixed(tried.value) if tried.state is TrialState.COMPLETE else tried.error or "stopped, it fell behind"
        most = f"best {fixed(best.value)}" if best else "none good yet"
        where = f"{job.label} {job.number + 1}/{self.budget(space)}"
        self.workflow.run.log(f"{where}: {self.metric} {told} ({most}) {dict(job.stored)}")

    # -- storage -------------------------------------------------------------------------------------------------

    @cached_property
    def _by_label(self) -> dict[str, Space]:
        return {space.label: space for space in self.search.spaces}

    def _found(self, space: Space) -> list[FrozenTrial]:
        """Return the trials of a ranker that have ended.

        Raises:
            ArtifactError: one is not as it was kept; those of earlier versions have no checksum.
        """
        found = self._study(space).get_trials(deepcopy=False)
        for trial in found:
            kept = trial.user_attrs.get(CHECK)
            if kept != checksum(trial) and (kept is not None or len(trial.user_attrs) > KEPT):
                cause = f"number {trial.number} of {space.label} was changed or damaged"
                raise ArtifactError(f"trials {self._place}", cause, "Put a backup in its place, or name another file.")
        return found

    def _study(self, space: Space) -> optuna.Study:
        if space.label not in self._studies:
            self._studies[space.label] = optuna.create_study(
                storage=self._storage,
                study_name=f"{space.label}-{self._identity(space)}",
                direction="maximize",
                load_if_exists=True,
            )
        return self._studies[space.label]

    def _identity(self, space: Space) -> str:
        """Return a hash of all that trials of a ranker depend on: others are never taken for them."""
        members = self._members(space)
        names = [space.fixed["name"], *(member["name"] for member in members)]
        code = [source_key(RANKERS.load(name)) for name in names]
        spread = {axis.name: repr(axis.distribution()) for axis in space.axes}
        how = self.settings.model_dump(exclude={"trials"})
        seed = self.workflow.config.run.seed
        return fingerprint(
            [self.workflow.split().key, self.metric, seed, dict(space.fixed), spread, members, code, how]
        )[:12]

    def _members(self, space: Space) -> list[dict[str, Any]]:
        """Return the best settings of the rankers that become members.

        Raises:
            RankerError: one of them has none.
        """
        found = {name: self.best(self._by_label[name]) for name in space.members}
        if bad := [name for name, trial in found.items() if trial is None]:
            raise RankerError(f"member {bad[0]!r} of {space.label!r}", "no trial of it ended well", "See trials.json.")
        return [dict(trial.settings) for trial in found.values() if trial]


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the complete trial with the highest value, the first of equals."""
    whole = [trial for trial in trials if trial.value is not None]
    return max(whole, key=lambda trial: trial.value) if whole else None


def _waves(spaces: Sequence[Space]) -> Iterator[list[Space]]:
    """Yield rankers that can be tried at the same time, those with chosen members after these."""
    waiting, done = list(spaces), set()
    while waiting:
        ready = [space for space in waiting if done.issuperset(space.members)]
        yield ready
        done |= {space.label for space in ready}
        waiting = [space for space in waiting if space.label not in done]


def alone(folder: Path) -> FileLock:
    """Return a lock on an output folder, made if it is not there, and taken.

    Raises:
        ConfigError: another process has it.
        OSError: it cannot be made, or not written into.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"folder {folder}", "another search writes into it", "Let it end first, or choose another."
        ) from None
    return lock
