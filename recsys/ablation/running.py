"""Ablation: components of a run switched off, with several seeds, on several data, and what each is worth.

Every cell is an ordinary artifact of the workflow: nothing is trained twice, and an ablation that was killed goes on
where it was. Cells are independent, so that an executor may work on several at once.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.ablation.plan import INTACT, PLUS, Cell, Plan
from recsys.ablation.settings import SECTION
from recsys.core.artifact import Artifact, ArtifactStore
from recsys.core.config import make_settings
from recsys.core.errors import ConfigError, RankerError, did_you_mean
from recsys.core.runtime import to_stderr
from recsys.evaluation.ablation import Overlap, SegmentWorth, Worth, over_seeds, overlaps, same_lists, seed_losses
from recsys.evaluation.ablation import segment_worths as worths_by_segment
from recsys.evaluation.ablation import worths as tested
from recsys.evaluation.knockout import reads
from recsys.evaluation.result import Evaluation
from recsys.executing import Executor
from recsys.knocking import told_weights
from recsys.rankers.store import STATE, uses_features
from recsys.runconfig import RunConfig
from recsys.workflow import Workflow

TRAINED = ("ranker", "knockout")  # kinds of what a cell trains, members of a fusion included


@dataclass(frozen=True)
class Done:
    """What a worker gives back for a cell.

    Attributes:
        trained, evaluated: folders; empty where it failed.
        fresh: it was trained just now.
        failed: why a ranker cannot be fitted so.
    """

    trained: str = ""
    evaluated: str = ""
    fresh: bool = False
    failed: str = ""


def run_cell(cell: Cell) -> Done:
    """Train and measure one cell, in whatever process it is called.

    Raises:
        RankerError: the run as it is cannot be fitted; without a component that is told in the result.
    """
    config = make_settings(RunConfig, cell.config, "config")
    workflow, began = Workflow(config, log=lambda message: None), datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        trained = workflow.train(knockout=cell.knockout)
    except RankerError as error:
        if not cell.off:
            raise
        return Done(failed=f"{error.thing}: {error.cause}")
    fresh = trained.manifest["created"] >= began
    return Done(str(trained.path), str(workflow.evaluate(trained, cell.part).path), fresh)


@dataclass(frozen=True)
class Measured:
    """A set of components switched off, on one variant, with every seed that changed something.

    Attributes:
        off: components; empty: the run as it is.
        seeds: of training; one where they change nothing.
        trained: the rankers, one a seed.
        evaluations: one a seed.
        failed: why it could not be trained; then the rest is empty.
    """

    off: tuple[str, ...]
    seeds: tuple[int, ...]
    trained: Sequence[Artifact] = ()
    evaluations: Sequence[Evaluation] = ()
    failed: str = ""

    @property
    def name(self) -> str:
        return PLUS.join(self.off) or INTACT

    def mean(self) -> Evaluation:
        """Return the evaluation with each user's mean over the seeds."""
        return over_seeds(self.evaluations, self.name)


@dataclass(frozen=True)
class VariantFound:
    """What an ablation found on one data set and split.

    ``weights`` are what a fusion trusts its members with, by set: means over seeds; nothing of what is no fusion.
    """

    name: str
    workflow: Workflow
    intact: Measured
    others: Sequence[Measured]
    worths: Sequence[Worth]
    segments: Sequence[SegmentWorth]
    overlaps: Sequence[Overlap]
    means: Mapping[str, Evaluation] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def measured(self) -> list[Measured]:
        return [self.intact, *self.others]


@dataclass(frozen=True)
class Ablation:
    """A finished ablation: the plan, and what was found on each variant."""

    plan: Plan
    variants: Sequence[VariantFound]

    @classmethod
    def run(
        cls, plan: Plan, executor: Executor, *, progress: bool = False, log: Callable[[str], None] = to_stderr
    ) -> Ablation:
        """Make what all cells rest on, then two seeds of each set, and the others where a seed changes anything.

        Raises:
            RecsysError: a mistake in the settings or the data, or a run that cannot be fitted as it is.
        """
        workflows = [Workflow(plan.config(variant), progress=progress, log=log) for variant in plan.variants]
        for workflow, variant in zip(workflows, plan.variants, strict=True):
            for off in plan.sets:
                _prepare(workflow, plan, variant, off)
        done: dict[tuple[str, tuple[str, ...], int], Done] = {}
        seeds = plan.settings.seeds
        with executor:
            _work(executor, list(plan.cells(seeds[:2])), done, log)
            stores = {variant.name: one.store for one, variant in zip(workflows, plan.variants, strict=True)}
            rest = [
                cell
                for cell in plan.cells(seeds[2:])
                if not _settled(stores[cell.variant], [done[cell.variant, cell.off, seed] for seed in seeds[:2]])
            ]
            _work(executor, rest, done, log)
        found = [_found(plan, workflow, variant.name, done)
                 for workflow, variant in zip(workflows, plan.variants, strict=True)]  # fmt: skip
        return cls(plan, found)

    def require_worths(self) -> None:
        """Refuse what compared nothing.

        Raises:
            RankerError: the run could be trained without none of its components.
        """
        if not any(one.worths for one in self.variants):
            why = next(other.failed for one in self.variants for other in one.others)
            raise RankerError("ablation", f"the run cannot be trained without any of its components ({why})",
                              'Such as how = "shuffled" or "noise", which leave features to read.')  # fmt: skip

    @property
    def metric(self) -> str:
        return self.plan.metrics()[0]

    @property
    def alpha(self) -> float:
        return 1 - self.variants[0].workflow.config.evaluation.level


def _prepare(workflow: Workflow, plan: Plan, variant: Any, off: Sequence[str]) -> None:
    """Make data, split and item vectors once, and see that a knockout alters something that is read.

    Raises:
        ConfigError: the ranker does not read such features.
    """
    config = plan.config(variant, off)
    own = workflow if (config.data, config.items) == (workflow.config.data, workflow.config.items) else None
    own = own or Workflow(config, progress=workflow.run.progress, log=workflow.run.log)
    own.split()
    if uses_features(config.ranker):
        own.items(config.ranker.get("modalities", ()))
    knockout = plan.knockout(off)
    if knockout is None or len(off) > 1:  # of two, the one may be what reads what the other alters
        return
    there = own.features(config.ranker.get("modalities", ())).matrices
    read = reads(config.ranker, there)
    for name in knockout.modalities:
        if name not in read:
            cause = f"modality {name!r} is not among what {config.ranker['name']} reads of {variant.name!r}"
            remedy = did_you_mean(name, read) if read else "Such as content_ease, freedom, fusion read item features."
            raise ConfigError(f"setting {SECTION}.components.{PLUS.join(off)}", cause, remedy)


def _work(executor: Executor, cells: Sequence[Cell], done: dict[Any, Done], log: Callable[[str], None]) -> None:
    for number, (cell, one) in enumerate(zip(cells, executor.map(run_cell, cells), strict=True), 1):
        done[cell.variant, cell.off, cell.seed] = one
        how = one.failed or ("trained" if one.fresh else "was there")
        log(f"{number} of {len(cells)}: {cell.variant}, {PLUS.join(cell.off) or INTACT}, seed {cell.seed}: {how}")


def _settled(store: ArtifactStore, found: Sequence[Done]) -> bool:
    """Return whether no other seed is needed: the first two trained the very same, or one could not."""
    return any(one.failed for one in found) or same_outcome(store, found)


def same_outcome(store: ArtifactStore, found: Sequence[Done]) -> bool:
    """Return whether two seeds trained the very same numbers, a fusion's members included: then all seeds do.

    Lists alone do not tell: a fusion may happen to give its random members no weight with both.
    """
    first, second = (store.open(Path(one.trained)) for one in found)
    if [part.manifest["files"][STATE] for part in lineage(store, first)] != [
        part.manifest["files"][STATE] for part in lineage(store, second)
    ]:
        return False
    return same_lists(*(Evaluation.load(Path(one.evaluated)) for one in found))


def _found(plan: Plan, workflow: Workflow, variant: str, done: Mapping[Any, Done]) -> VariantFound:
    measured = [_measured(plan, workflow.store, variant, off, done) for off in plan.sets]
    intact, others = measured[0], measured[1:]
    settings, metric = workflow.config.evaluation, plan.metrics()[0]
    options = {"n_resamples": settings.resamples, "level": settings.level}
    means = {one.name: one.mean() for one in measured if one.evaluations}
    known = [one for one in others if one.evaluations]
    by_seed = {one.name: seed_losses(intact.evaluations, one.evaluations, metric) for one in known}
    base = means[INTACT]
    triples = [(means[a], means[b], means[one.name]) for one in known if len(one.off) == 2
               for a, b in [one.off] if a in means and b in means]  # fmt: skip
    return VariantFound(
        variant, workflow, intact, others,
        tested(base, [means[one.name] for one in known], metric, by_seed=by_seed, **options),
        [row for one in known if len(one.off) == 1
         for row in worths_by_segment(base, means[one.name], metric, **options)],
        overlaps(base, triples, metric, **options), means, _weights(measured),
    )  # fmt: skip


def _weights(measured: Sequence[Measured]) -> dict[str, dict[str, float]]:
    found = {}
    for one in measured:
        told = [told_weights(trained) for trained in one.trained]
        names = dict.fromkeys(name for row in told for name in row)
        if names:
            found[one.name] = {name: statistics.mean(row.get(name, 0.0) for row in told) for name in names}
    return found


def _measured(
    plan: Plan, store: ArtifactStore, variant: str, off: tuple[str, ...], done: Mapping[Any, Done]
) -> Measured:
    seeds = [seed for seed in plan.settings.seeds if (variant, off, seed) in done]
    found = [done[variant, off, seed] for seed in seeds]
    if failed := next((one.failed for one in found if one.failed), ""):
        return Measured(off, tuple(seeds), failed=failed)
    if len(found) == 2 and same_outcome(store, found):
        found, seeds = found[:1], seeds[:1]
    evaluations = [Evaluation.load(Path(one.evaluated)) for one in found]
    trained = [store.open(Path(one.trained)) for one in found]
    return Measured(off, tuple(seeds), trained, evaluations)


def lineage(store: ArtifactStore, trained: Artifact) -> Iterator[Artifact]:
    """Yield a ranker and the members that were trained for it, theirs too."""
    yield trained
    for parent in trained.manifest["parents"]:
        if parent["kind"] in TRAINED:
            yield from lineage(store, store.open(store.root / parent["kind"] / f"{parent['name']}-{parent['key']}"))
