"""One data set: every ranker's settings chosen on validation, then what was chosen measured on test, once.

Trials and trainings are the ordinary artifacts of a search and of a workflow: whoever was killed goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recsys.ablation.plan import Cell
from recsys.ablation.running import Done, lineage, run_cell, same_outcome
from recsys.benchmark.settings import OURS, SECTION, Contest, family
from recsys.core.artifact import Artifact, ArtifactStore
from recsys.evaluation.ablation import over_seeds
from recsys.evaluation.result import Evaluation
from recsys.executing import Executor
from recsys.rankers.peers.process import python_of
from recsys.tuning.rounds import Trial, Tuning, alone
from recsys.tuning.space import Space
from recsys.workflow import Workflow


@dataclass(frozen=True)
class Entry:
    """One ranker of a data set.

    Attributes:
        space: what was searched.
        trials: the finished ones.
        best: the one that was chosen; ``None`` where none ended well, and then the rest is empty.
        seeds: that it was trained with; one where they change nothing.
        trained, evaluations: one a seed.
    """

    space: Space
    trials: Sequence[Trial]
    best: Trial | None = None
    seeds: Sequence[int] = ()
    trained: Sequence[Artifact] = ()
    evaluations: Sequence[Evaluation] = ()

    @property
    def label(self) -> str:
        return self.space.label

    @property
    def family(self) -> str:
        return family(self.space.fixed)

    def mean(self) -> Evaluation:
        """Return the evaluation with each user's mean over the seeds."""
        return over_seeds(self.evaluations, self.label)

    def cost(self, store: ArtifactStore, name: str) -> float:
        """Return ``fit_cpu_s`` or ``fit_wall_s`` of a training, members of a fusion included: the mean over seeds."""
        fits = [sum(part.manifest["results"][name] for part in lineage(store, one)) for one in self.trained]
        return sum(fits) / len(fits)


@dataclass(frozen=True)
class Found:
    """What was found on one data set."""

    contest: Contest
    workflow: Workflow
    entries: Sequence[Entry]
    means: Mapping[str, Evaluation] = field(default_factory=dict)

    @property
    def measured(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.best]

    def best_of_ours(self) -> Entry | None:
        """Return the ranker of ours with the highest figure on validation, the first of equals."""
        ours = [entry for entry in self.measured if entry.family == OURS]
        return max(ours, key=lambda entry: entry.best.value or 0.0) if ours else None

    def best_peer(self) -> Entry | None:
        """Return the peer with the highest figure on test: whatever luck lies in that choice is the peer's."""
        peers = [entry for entry in self.measured if entry.family != OURS]
        return max(peers, key=lambda entry: self.means[entry.label].summary[self.contest.metric]) if peers else None


def require_peers(contests: Sequence[Contest]) -> None:
    """See that the environments of all libraries are there, before hours are spent.

    Raises:
        PeerError: one of them is not.
    """
    fixed = [space.fixed for contest in contests for space in contest.search.spaces]
    for library in dict.fromkeys(one.get("library", "implicit") for one in fixed if one["name"] == "peer"):
        python_of(library)


def run_contest(contest: Contest, executor: Executor, log: Callable[[str], None]) -> Found:
    """Tune, train what was chosen with every seed, and measure; what is there already is read.

    Raises:
        ConfigError: no validation part, or another process is at work on the same data set.
        RecsysError: what is no fault of a point: data, disk, an environment, a worker that died.
    """
    workflow = Workflow(contest.config, log=log)
    place = workflow.store.root / SECTION / contest.name
    with alone(place):
        tuning = Tuning(workflow, contest.search, place / "trials.journal", executor)
        tuning.run()
        spaces = contest.search.spaces
        best = {space.label: tuning.best(space) for space in spaces}
        chosen = {label: trial for label, trial in best.items() if trial}
        done = _measured(workflow.store, contest, chosen, executor, log)
    entries = [
        _entry(workflow.store, contest, space, tuning.trials(space), best[space.label], done) for space in spaces
    ]
    return Found(contest, workflow, entries, {entry.label: entry.mean() for entry in entries if entry.best})


def _measured(
    store: ArtifactStore, contest: Contest, best: Mapping[str, Trial], executor: Executor, log: Callable[[str], None]
) -> dict[tuple[str, int], Done]:
    """Return what became of each ranker and seed: two seeds of each, and the others where a seed changes anything."""
    done: dict[tuple[str, int], Done] = {}
    for seeds in (contest.seeds[:2], contest.seeds[2:]):
        cells = [_cell(contest, label, trial, seed) for label, trial in best.items() for seed in seeds
                 if not _same(store, contest, label, done)]  # fmt: skip
        for number, (cell, one) in enumerate(zip(cells, executor.map(run_cell, cells), strict=True), 1):
            done[cell.variant, cell.seed] = one
            log(f"{contest.name}, test {number}/{len(cells)}: {cell.variant}, seed {cell.seed}")
    return done


def _cell(contest: Contest, label: str, trial: Trial, seed: int) -> Cell:
    config: dict[str, Any] = contest.config.model_dump(mode="json")
    config["run"]["seed"], config["ranker"] = seed, dict(trial.settings)
    return Cell(label, (), seed, "test", config)


def _same(store: ArtifactStore, contest: Contest, label: str, done: Mapping[tuple[str, int], Done]) -> bool:
    """Return whether a ranker's first two seeds are there, and trained the very same."""
    found = [done[label, seed] for seed in contest.seeds[:2] if (label, seed) in done]
    return len(found) == 2 and same_outcome(store, found)


def _entry(
    store: ArtifactStore, contest: Contest, space: Space, trials: Sequence[Trial], best: Trial | None,
    done: Mapping[tuple[str, int], Done],
) -> Entry:  # fmt: skip
    if best is None:
        return Entry(space, trials)
    seeds = [seed for seed in contest.seeds if (space.label, seed) in done]
    seeds = seeds[:1] if _same(store, contest, space.label, done) else seeds
    found = [done[space.label, seed] for seed in seeds]
    trained = [store.open(Path(one.trained)) for one in found]
    return Entry(space, trials, best, seeds, trained, [Evaluation.load(Path(one.evaluated)) for one in found])
