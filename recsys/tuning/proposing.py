"""What a search tries next: a function of the finished trials, the seed and nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from recsys.core.runtime import Run
from recsys.tuning.searchfile import TuneSettings
from recsys.tuning.space import Space

AGAIN = 20  # times that a sampler may propose what was tried already, before it is let


def drawn(settings: TuneSettings) -> int:
    """Return after how many trials of a ranker tpe proposes: whole rounds, later where some of them fail."""
    return settings.together * math.ceil(settings.startup / settings.together)


def propose(
    space: Space, before: Sequence[FrozenTrial], n: int, settings: TuneSettings, run: Run
) -> list[dict[str, Any]]:
    """Return Optuna's values of the next ``n`` trials: a function of the finished ones, the seed and nothing else.

    A space that the budget covers is gone through whole. Else a sampler proposes, and takes those of this round that
    it proposed already for trials that will not be good (constant liar), so that they differ.
    """
    tried = [dict(trial.params) for trial in before]
    if space.size <= settings.trials:
        return list(itertools.islice((point for point in space.grid() if point not in tried), n))
    seed = run.key("tune", space.label, len(before)) % 2**32
    study = optuna.create_study(direction="maximize", sampler=_sampler(settings, seed))
    study.add_trials(before)
    return [_fresh(study, space, tried) for _ in range(n)]


def _fresh(study: optuna.Study, space: Space, tried: list[dict[str, Any]]) -> dict[str, Any]:
    """Ask for a point that was not tried, as far as the sampler finds one."""
    for _ in range(AGAIN):
        trial = study.ask(space.distributions)
        if trial.params not in tried:
            break
        study.tell(trial, state=TrialState.FAIL)
    tried.append(dict(trial.params))
    return dict(trial.params)


def _sampler(settings: TuneSettings, seed: int) -> optuna.samplers.BaseSampler:
    if settings.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.startup, constant_liar=True)
