"""One trial of a search, in whichever process: train a point, and stop when it falls behind.

A trial is the ordinary artifact of ``Workflow.train``: a point that was trained before is read, one that was killed
goes on from its checkpoint. A trial that is stopped makes no artifact: what stays is the draft of an unfinished
training, from which anybody who wants the whole of it goes on. Whether it is stopped depends on the validation
figures of rounds before its own, which come with it, never on what other workers do meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from recsys.core.artifact import Artifact
from recsys.core.errors import ConfigError, RankerError
from recsys.core.fingerprint import fingerprint
from recsys.core.runtime import stopwatch
from recsys.runconfig import RunConfig
from recsys.tuning.searchfile import TuneSettings
from recsys.workflow import Workflow

if TYPE_CHECKING:
    from recsys.core.protocols import Scorer, Validator

CHECK, KEPT = "check", 4  # a trial's checksum, and how much was kept of one before there was any
FAULTS = (RankerError, ConfigError, ArithmeticError, np.linalg.LinAlgError)  # of a point, not of the machine


@dataclass(frozen=True)
class Job:
    """A trial to be done.

    Attributes:
        config: the run, as JSON.
        label, number: which ranker of the search, and the how many-eth of its trials, from 0.
        stored: Optuna's values.
        point: the ranker's configuration.
        before: finished trials of earlier rounds of the same ranker, which the pruner compares with.
        settings: of the search.
    """

    config: str
    label: str
    number: int
    stored: Mapping[str, Any]
    point: Mapping[str, Any]
    before: tuple[FrozenTrial, ...]
    settings: TuneSettings


@dataclass(frozen=True)
class Tried:
    """What became of a trial.

    Attributes:
        state: complete, pruned or fail.
        value: the metric on validation of a complete one.
        steps: the metric after each validation.
        marks: what the pruner must find again when it compares with this trial.
        seconds: of the fit, all interrupted parts of it included; of a stopped one since it last began.
        key: of the artifact of a complete one.
        error: of a failed one.
    """

    state: TrialState
    value: float | None = None
    steps: Sequence[float] = ()
    marks: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    key: str | None = None
    error: str | None = None

    def frozen(self, job: Job, distributions: Mapping[str, Any]) -> FrozenTrial:
        """Return it as Optuna keeps it."""
        about = {"settings": dict(job.point), "seconds": self.seconds, "key": self.key, "error": self.error}
        made = create_trial(
            state=self.state,
            value=self.value,
            params=dict(job.stored),
            distributions=dict(distributions),
            intermediate_values=dict(enumerate(self.steps, 1)),
            user_attrs=about,
            system_attrs=dict(self.marks),
        )
        made.set_user_attr(CHECK, checksum(made))
        return made


def checksum(trial: FrozenTrial) -> str:
    """Return a hash of what became of a trial, as it is kept with it."""
    attrs = {name: value for name, value in trial.user_attrs.items() if name != CHECK}
    steps = sorted(trial.intermediate_values.items())
    return fingerprint([trial.state.name, trial.values, trial.params, steps, attrs])[:16]


class Stopped(Exception):
    """A trial that fell behind."""


def attempt(job: Job) -> Tried:
    """Train the job's point, or find it trained, and return its validation figure.

    Raises:
        RecsysError: what is no fault of the point: data, disk.
    """
    flow, reports = _workflow(job.config), _Reports(job)
    metric = flow.config.evaluation.metric
    with stopwatch() as times:
        try:
            made = flow.train(job.point, watch=lambda valid, folder: reports.watch(valid, folder, metric))
            value = reports.finish(made, metric)
        except Stopped:
            tried = Tried(TrialState.PRUNED)
        except FAULTS as error:
            tried = Tried(TrialState.FAIL, error=f"{type(error).__name__}: {error}")
        else:
            tried = Tried(TrialState.COMPLETE, value, seconds=made.manifest["results"]["fit_wall_s"], key=made.key)
    seconds = tried.seconds or round(times["wall_s"], 3)
    return Tried(tried.state, tried.value, reports.values, reports.marks(), seconds, tried.key, tried.error)


@lru_cache(maxsize=1)  # a worker reads the split once for all its trials
def _workflow(config: str) -> Workflow:
    return Workflow(RunConfig.model_validate_json(config), log=lambda message: None)


class _Reports:
    """The validation figures of one trial, shown to the pruner one by one."""

    def __init__(self, job: Job) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.values: list[float] = []
        study = optuna.create_study(direction="maximize", pruner=make_pruner(job.settings))
        study.add_trials(job.before)
        self.study, self.trial = study, study.ask()

    def add(self, value: float) -> None:
        """Take the next figure.

        Raises:
            Stopped: it fell behind.
        """
        self.values.append(float(value))
        self.trial.report(self.values[-1], len(self.values))
        if self.trial.should_prune():
            raise Stopped

    def watch(self, valid: Validator, folder: Path, metric: str) -> Validator:
        """Return a validator that reports, after what a killed run of the same training had reported."""
        for value in _before_kill(folder, metric):
            self.add(value)
        return _Watched(valid, self)

    def finish(self, made: Artifact, metric: str) -> float:
        """Return the figure of a finished training.

        One that was there already is shown to the pruner as if it were trained now, so that a search does not depend
        on what somebody trained before.

        Raises:
            RankerError: it has none, or one that is no number.
            Stopped: it fell behind.
        """
        results = made.manifest["results"]
        value = results["best"].get(metric)
        if value is None or not np.isfinite(value):
            cause, remedy = f"gives no {metric} on validation", "Call valid(self) in its fit."
            raise RankerError(f"ranker {made.manifest['name']!r}", cause, remedy)
        if not self.values:
            for figure in [row[metric] for row in results["rows"] if metric in row] or [value]:
                self.add(figure)
        return float(value)

    def marks(self) -> dict[str, Any]:
        return dict(self.study.trials[-1].system_attrs)


class _Watched:
    """A validator that reports what it measures."""

    def __init__(self, valid: Validator, reports: _Reports) -> None:
        self.metric, self.held_out, self._valid, self._reports = valid.metric, valid.held_out, valid, reports

    def __call__(self, ranker: Scorer) -> Mapping[str, float]:
        figures = self._valid(ranker)
        self._reports.add(figures[self.metric])
        return figures


def _before_kill(folder: Path, metric: str) -> list[float]:
    """Return the figures in the checkpoint of an interrupted training: it goes on after them."""
    from safetensors import SafetensorError, safe_open

    from recsys.rankers.checkpoint import CHECKPOINT

    try:
        with safe_open(folder / CHECKPOINT, "np") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
    except (SafetensorError, OSError, ValueError):
        return []  # there is none, or one that training cannot read either: it starts afresh
    return [row[metric] for row in facts.get("rows", ()) if metric in row]


def make_pruner(settings: TuneSettings) -> optuna.pruners.BasePruner:
    """Return who stops trials: never before ``warmup`` validations are over, so rankers without epochs never."""
    if settings.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=settings.together, n_warmup_steps=settings.warmup + 1)
    if settings.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=settings.warmup + 1, reduction_factor=3)
    return optuna.pruners.NopPruner()
