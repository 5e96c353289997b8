"""What a component is worth: how much is lost without it, over the same users, and what that allows to say.

Over seeds: each user's metric is first averaged over the seeds of a set of components, so that what is resampled and
paired is users. How much seeds differ among themselves is told beside it, and not part of interval or p.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from recsys.core.errors import ConfigError
from recsys.evaluation.result import Evaluation
from recsys.evaluation.segments import history_groups
from recsys.evaluation.significance import compare, holm, paired_bootstrap

HELPS, HARMS, NOTHING_SHOWN = "helps", "harms", "no effect shown"


@dataclass(frozen=True)
class Worth:
    """What is lost without a component: positive if it helps.

    Attributes:
        name: of the set of components that is switched off.
        mean: of the metric without it.
        loss, low, high: mean of the run as it is minus mean without it, and the interval over users.
        p, p_holm: of the paired test, and adjusted for all tests of the same variant.
        effect: loss in standard deviations of the users' differences (Cohen's d for pairs); 0 if they do not differ.
        relative: loss as a share of the mean of the run as it is.
        by_seed: the same loss for each seed, trained once with and once without it.
    """

    name: str
    mean: float
    loss: float
    low: float
    high: float
    p: float
    p_holm: float
    effect: float
    relative: float
    by_seed: tuple[float, ...] = ()

    def verdict(self, alpha: float) -> str:
        """Return ``"helps"``, ``"harms"`` or ``"no effect shown"``: what the adjusted p-value allows to say."""
        if not self.p_holm < alpha or not self.loss:
            return NOTHING_SHOWN
        return HELPS if self.loss > 0 else HARMS


@dataclass(frozen=True)
class SegmentWorth:
    """What is lost without a component among some users, or among items of a kind; not adjusted for many tests."""

    name: str
    by: str
    segment: str
    metric: str
    n_users: int
    loss: float
    low: float
    high: float


@dataclass(frozen=True)
class Overlap:
    """How much more is lost without two components at once than their single losses add up to.

    Positive: either covers for the other. Negative: each is worth less without the other.
    """

    first: str
    second: str
    more: float
    low: float
    high: float
    p: float
    p_holm: float


def over_seeds(evaluations: Sequence[Evaluation], name: str) -> Evaluation:
    """Return one evaluation in which each user's metrics are means over the seeds; lists are the first seed's.

    Args:
        evaluations: of the same users, at least one.
        name: of the result.

    Raises:
        ConfigError: the users differ.
    """
    first = evaluations[0]
    if any(not other.per_user["user_idx"].equals(first.per_user["user_idx"]) for other in evaluations):
        raise ConfigError(f"seeds of {name!r}", "they were measured on different users", "Keep split.seed as it is.")
    metrics = [column for column in first.per_user.columns if "@" in column]
    means = [sum(one.per_user[column] for one in evaluations) / len(evaluations) for column in metrics]
    table = first.per_user.with_columns(column.alias(name) for name, column in zip(metrics, means, strict=True))
    catalogue = {key: float(np.mean([one.catalogue[key] for one in evaluations])) for key in first.catalogue}
    return replace(first, name=name, per_user=table, catalogue=catalogue)


def same_lists(first: Evaluation, second: Evaluation) -> bool:
    """Return whether two trainings gave the same lists to everybody."""
    return np.array_equal(first.top_items, second.top_items) and first.per_user.equals(second.per_user)


def seed_losses(intact: Sequence[Evaluation], without: Sequence[Evaluation], metric: str) -> tuple[float, ...]:
    """Return the loss of each seed; a set that no seed changes stands for all seeds."""
    size = max(len(intact), len(without))
    pairs = zip(_repeated(intact, size), _repeated(without, size), strict=True)
    return tuple(one.summary[metric] - other.summary[metric] for one, other in pairs)


def _repeated(evaluations: Sequence[Evaluation], size: int) -> Sequence[Evaluation]:
    return list(evaluations) * size if len(evaluations) == 1 else evaluations


def worths(
    intact: Evaluation,
    others: Sequence[Evaluation],
    metric: str,
    n_resamples: int = 10_000,
    *,
    level: float = 0.95,
    by_seed: Mapping[str, Sequence[float]] | None = None,
) -> list[Worth]:
    """Compare sets of components with the run as it is, by paired bootstrap over users, with Holm's correction.

    Args:
        intact, others: of the same users, truth and mask; names differ.
        metric: such as ``"ndcg@20"``.
        n_resamples, level: as in ``significance.compare``.
        by_seed: losses of single seeds by name.

    Raises:
        ConfigError: the protocols differ.
    """
    found = compare([intact, *others], intact.name, metric, n_resamples, level=level).to_dicts()
    base, result = found[0]["mean"], []
    for other, row in zip(others, found[1:], strict=True):
        gap = _gap(intact, other, metric)
        spread = float(gap.std(ddof=1)) if len(gap) > 1 else 0.0
        loss, seeds = 0.0 - row["difference"], tuple((by_seed or {}).get(other.name, ()))
        ends = (0.0 - row["high"], 0.0 - row["low"])
        effect = float(gap.mean()) / spread if spread > 1e-9 else 0.0
        relative = loss / base if base else 0.0
        result.append(Worth(other.name, row["mean"], loss, *ends, row["p"], row["p_holm"], effect, relative, seeds))
    return result


def _gap(intact: Evaluation, other: Evaluation, metric: str) -> np.ndarray:
    """Return each user's loss, ``[n_users]``."""
    return intact.per_user[metric].to_numpy() - other.per_user[metric].to_numpy()


def segment_worths(
    intact: Evaluation, other: Evaluation, metric: str, n_resamples: int = 10_000, *, level: float = 0.95
) -> list[SegmentWorth]:
    """Return losses by how much is known of users (``metric``) and by how popular items are (recall at its k)."""
    bounds, k = intact.options.get("bounds", (5, 20)), metric.partition("@")[2]
    groups = history_groups(intact.per_user["n_history"].to_numpy(), bounds)
    wanted = [("history", label, metric, pl.Series(mask)) for label, mask in groups.items()]
    for kind in ("tail", "head"):
        column = f"recall_{kind}@{k}"
        if column in intact.per_user.columns:
            wanted.append(("items", kind, column, intact.per_user[column].is_not_null()))
    rows = []
    for by, segment, column, mask in wanted:
        if not mask.any():
            continue
        tables = (one.per_user.filter(mask) for one in (intact, other))
        test = paired_bootstrap(*tables, column, n_resamples, level=level)
        shown = f"recall@{k}" if by == "items" else metric
        rows.append(SegmentWorth(other.name, by, segment, shown, int(mask.sum()), test.mean, test.low, test.high))
    return rows


def overlaps(
    intact: Evaluation,
    triples: Sequence[tuple[Evaluation, Evaluation, Evaluation]],
    metric: str,
    n_resamples: int = 10_000,
    *,
    level: float = 0.95,
) -> list[Overlap]:
    """Return for each ``(without a, without b, without both)`` how far the joint loss exceeds the sum of the two."""
    tests = []
    for first, second, both in triples:
        users = intact.per_user["user_idx"]
        joint = pl.DataFrame({"user_idx": users, metric: _gap(intact, both, metric)})
        added = pl.DataFrame({"user_idx": users, metric: _gap(intact, first, metric) + _gap(intact, second, metric)})
        tests.append(paired_bootstrap(joint, added, metric, n_resamples, level=level))
    corrected = holm([test.p for test in tests]) if tests else []
    return [
        Overlap(first.name, second.name, test.mean, test.low, test.high, test.p, float(p))
        for (first, second, _), test, p in zip(triples, tests, corrected, strict=True)
    ]


def efficient(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names that nobody beats in both: ``(cost, accuracy)``, as cheap and better or as good and cheaper."""
    return [
        name
        for name, (cost, accuracy) in points.items()
        if not any(
            other_cost <= cost and other >= accuracy and (other_cost, other) != (cost, accuracy)
            for other_cost, other in points.values()
        )
    ]
