"""Uncertainty over users: percentile bootstrap, paired bootstrap test, Holm's correction.

Resampling users answers "how far would this figure move with other users of the same kind?". It says nothing
about the training seed; for that, train several times and compare the seeds' means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from recsys.core.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from recsys.evaluation.result import Evaluation

DRAWS_AT_ONCE = 1 << 18  # keeps a chunk in the cache, and memory at some 10 MB up to 200,000 users


def bootstrap_means(values: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Return the mean of each resample of the rows, float64 ``[n_resamples, m]``.

    All columns see the same resamples, so columns may be subtracted or compared.

    Args:
        values: ``[n, m]``, one row a user, finite, ``n >= 1``.
        n_resamples: how many times ``n`` rows are drawn with replacement.
        seed: of the draws.

    Raises:
        DataError: there are no users.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if not n:
        raise DataError("bootstrap over users", "there are no users to draw from", "Evaluate a part that has some.")
    rng = np.random.default_rng(seed)
    means = np.empty((n_resamples, values.shape[1]))
    step = max(1, DRAWS_AT_ONCE // n)
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        drawn = rng.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)  # how often each user was drawn
        means[start : start + size] = times.astype(np.float64) @ values / n
    return means


def bootstrap_interval(
    values: np.ndarray, n_resamples: int = 10_000, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean (Efron and Tibshirani 1993, chapter 13).

    Args:
        values: one number a user, ``[n]``, finite, ``n >= 1``.
        n_resamples: the more, the less the ends wobble; 10,000 fixes about two digits of their distance.
        level: of confidence, between 0 and 1.
        seed: of the resampling.
    """
    low, high = bootstrap_intervals(np.asarray(values)[:, None], n_resamples, level=level, seed=seed)
    return float(low[0]), float(high[0])


def bootstrap_intervals(
    values: np.ndarray, n_resamples: int = 10_000, *, level: float = 0.95, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper ends for each column of ``values [n, m]``, in one pass."""
    return _ends(bootstrap_means(values, n_resamples, seed), level)


def _ends(means: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


@dataclass(frozen=True)
class Difference:
    """A paired comparison: mean of first minus second, its interval and two-sided p-value."""

    mean: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    first: pl.DataFrame,
    second: pl.DataFrame,
    metric: str,
    n_resamples: int = 10_000,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compare two per-user tables on the same users.

    ``p`` is the share of resamples of the differences, moved to mean zero, that lie at least as far from zero as
    the observed mean: ``(r + 1) / (n_resamples + 1)`` (Davison and Hinkley 1997, equation 4.11), so never 0.

    Args:
        first, second: with columns ``user_idx`` and ``metric``; the order of rows does not matter.
        metric: name of the column.
        n_resamples, level, seed: as in ``bootstrap_interval``.

    Raises:
        ConfigError: the users differ, or a table lacks the metric.
    """
    gap = _aligned(first, metric) - _aligned(second, metric, users_of=first)
    return _test(gap[:, None], n_resamples, level, seed)[0]


def _test(gaps: np.ndarray, n_resamples: int, level: float, seed: int) -> list[Difference]:
    """Test each column of ``gaps [n, m]``, the per-user differences."""
    observed = gaps.mean(axis=0)
    means = bootstrap_means(gaps, n_resamples, seed)
    slack = 1e-12 * np.abs(gaps).max(axis=0)  # equal sums may differ in their last bit
    beyond = (np.abs(means - observed) >= np.abs(observed) - slack).sum(axis=0)
    low, high = _ends(means, level)
    p = (beyond + 1) / (n_resamples + 1)
    return [Difference(*map(float, row)) for row in zip(observed, low, high, p, strict=True)]


def _aligned(table: pl.DataFrame, metric: str, users_of: pl.DataFrame | None = None) -> np.ndarray:
    """Return the metric by ascending user, float64 ``[n]``."""
    if metric not in table.columns:
        known = [name for name in table.columns if "@" in name]
        raise ConfigError(f"metric {metric!r}", "the evaluation does not have it", did_you_mean(metric, known))
    if users_of is not None and not table["user_idx"].sort().equals(users_of["user_idx"].sort()):
        raise ConfigError(
            "paired comparison",
            f"the two evaluations are of different users ({len(users_of):,} and {len(table):,})",
            "Evaluate both on the same split and part.",
        )
    return table.sort("user_idx")[metric].to_numpy().astype(np.float64)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted for several tests (Holm 1979), in the given order.

    ``p̃_(i) = max_{j≤i} min(1, (m - j + 1) p_(j))`` over the ascending ``p_(1..m)``: rejecting where it is below
    α keeps the chance of any false rejection below α, whatever the dependence.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def compare(
    evaluations: Sequence[Evaluation],
    reference: str,
    metric: str,
    n_resamples: int = 10_000,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> pl.DataFrame:
    """Compare rankers with a reference on the same users, truth and mask.

    Returns:
        One row a ranker, in the given order: ``name``, ``mean``, ``difference`` (to the reference), ``low``,
        ``high``, ``p`` and ``p_holm`` (over all rows); null in the row of the reference.

    Raises:
        ConfigError: the reference is not among them, a name occurs twice, or the protocols differ.
    """
    names = [evaluation.name for evaluation in evaluations]
    if names.count(reference) != 1 or len(set(names)) < len(names):
        cause = "a name occurs twice" if len(set(names)) < len(names) else "no evaluation has that name"
        raise ConfigError(f"reference {reference!r}", cause, did_you_mean(reference, names))
    base = evaluations[names.index(reference)]
    others = [evaluation for evaluation in evaluations if evaluation is not base]
    for other in others:
        _refuse_other_protocol(base, other)
    means = {one.name: {"mean": float(_aligned(one.per_user, metric, base.per_user).mean())} for one in evaluations}
    if others:
        start = _aligned(base.per_user, metric)
        gaps = np.stack([_aligned(other.per_user, metric) - start for other in others], axis=1)  # [n, m]
        tests = _test(gaps, n_resamples, level, seed)
        corrected = holm([test.p for test in tests])
        for other, test, p_holm in zip(others, tests, corrected, strict=True):
            found = {"difference": test.mean, "low": test.low, "high": test.high, "p": test.p, "p_holm": float(p_holm)}
            means[other.name].update(found)
    columns = ("mean", "difference", "low", "high", "p", "p_holm")
    schema = {"name": pl.String, **dict.fromkeys(columns, pl.Float64)}
    return pl.DataFrame([{"name": name, **means[name]} for name in names], schema=schema)


def _refuse_other_protocol(base: Evaluation, other: Evaluation) -> None:
    for key in ("dataset", "split", "part", "mask", "history", "fingerprint"):
        if base.protocol.get(key) != other.protocol.get(key):
            raise ConfigError(
                f"comparison of {other.name!r} with {base.name!r}",
                f"their {key} differs: {other.protocol.get(key)!r} and {base.protocol.get(key)!r}",
                "Evaluate both with the same data, split and evaluation settings.",
            )
