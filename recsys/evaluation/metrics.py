"""Ranking metrics, each defined once. Relevance is binary; hits are counted against all of a user's truth.

Notation for one user: ``T`` the truth (distinct items), ``hit_r`` 1 where the item at rank ``r`` (from 1) is in
``T``. Means over users weigh every user alike. Nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.core.errors import ConfigError, did_you_mean
from recsys.core.values import Histories

Metric = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def recall(hits: np.ndarray, n_truth: np.ndarray, k: int) -> np.ndarray:
    """``Σ_{r≤k} hit_r / |T|`` (not divided by ``min(k, |T|)``)."""
    return hits[:, :k].sum(axis=1) / n_truth


def precision(hits: np.ndarray, n_truth: np.ndarray, k: int) -> np.ndarray:
    """``Σ_{r≤k} hit_r / k``, also where fewer than ``k`` items could be shown."""
    return hits[:, :k].sum(axis=1) / k


def hit(hits: np.ndarray, n_truth: np.ndarray, k: int) -> np.ndarray:
    """1 where any of the first ``k`` is in ``T``, else 0."""
    return hits[:, :k].any(axis=1).astype(np.float64)


def mrr(hits: np.ndarray, n_truth: np.ndarray, k: int) -> np.ndarray:
    """``1 / rank of the first hit``, 0 where there is none within ``k``."""
    shown = hits[:, :k]
    return np.where(shown.any(axis=1), 1.0 / (shown.argmax(axis=1) + 1), 0.0)


def ndcg(hits: np.ndarray, n_truth: np.ndarray, k: int) -> np.ndarray:
    """``Σ_{r≤k} hit_r / log2(r + 1)`` over the same sum for a list with ``min(k, |T|)`` hits at the top.

    Järvelin and Kekäläinen (TOIS 2002) with binary gains. The ideal is built from the truth. Code that descends
    from NGCF builds it from the retrieved hits instead, which calls a list with one of ten items at rank 1 perfect:
    figures from there are inflated and cannot be compared.
    """
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(n_truth, k) - 1]
    shown = hits[:, :k]
    return shown @ discount[: shown.shape[1]] / ideal


def average_precision(hits: np.ndarray, n_truth: np.ndarray, k: int) -> np.ndarray:
    """``Σ_{r≤k} hit_r · (hits up to r / r) / min(k, |T|)``, so that a perfect list scores 1 at every ``k``."""
    shown = hits[:, :k]
    running = np.cumsum(shown, axis=1) / np.arange(1, shown.shape[1] + 1)
    return (running * shown).sum(axis=1) / np.minimum(n_truth, k)


METRICS: dict[str, Metric] = {
    "recall": recall,
    "precision": precision,
    "ndcg": ndcg,
    "mrr": mrr,
    "hit": hit,
    "map": average_precision,
}


def parse_metric(text: str, known: Iterable[str] = tuple(METRICS)) -> tuple[str, int]:
    """Return ``("recall", 20)`` for ``"recall@20"``.

    Raises:
        ConfigError: not ``name@k``, an unknown name (with the nearest known one) or ``k`` below 1.
    """
    name, at, cut = text.partition("@")
    if name not in set(known):
        raise ConfigError(f"metric {text!r}", f"no metric is called {name!r}", did_you_mean(name, known))
    if not (at and cut.isascii() and cut.isdecimal() and int(cut) > 0):
        raise ConfigError(f"metric {text!r}", "it names no list length", f"Write it as {name}@20.")
    return name, int(cut)


@dataclass(frozen=True)
class Truth:
    """What the users took in the part that is evaluated, ready for look-up.

    Attributes:
        keys: sorted distinct ``row * n_items + item``, int64.
        n_truth: distinct items a row, int64 ``[n]``.
        n_items: size of the item vocabulary.
    """

    keys: np.ndarray
    n_truth: np.ndarray
    n_items: int

    @classmethod
    def of(cls, lists: Histories) -> Truth:
        """Make it from one item list a row; an item that occurs twice in a list counts once."""
        rows = np.repeat(np.arange(len(lists), dtype=np.int64), np.diff(lists.indptr))
        keys = np.sort(rows * lists.n_items + lists.items)
        first = np.diff(keys, prepend=-1) > 0  # np.unique hashes integers first, which is slower here
        return cls._of_keys(keys[first], len(lists), lists.n_items)

    @classmethod
    def _of_keys(cls, keys: np.ndarray, n: int, n_items: int) -> Truth:
        return cls(keys, np.bincount(keys // n_items, minlength=n), n_items)

    @property
    def items(self) -> np.ndarray:
        """The item of each key, int64."""
        return self.keys % self.n_items

    def among(self, chosen: np.ndarray) -> Truth:
        """Keep the items where ``chosen``, bool ``[n_items]``; rows may become empty."""
        return self._of_keys(self.keys[chosen[self.items]], len(self.n_truth), self.n_items)

    def hits(self, top_items: np.ndarray) -> np.ndarray:
        """Return bool ``[n, k]``: which of ``top_items`` (-1 = none) are in the row's truth."""
        wanted = top_items + np.arange(len(top_items), dtype=np.int64)[:, None] * self.n_items
        return self.contain(wanted) & (top_items >= 0)

    def contain(self, keys: np.ndarray) -> np.ndarray:
        """Return bool of the shape of ``keys``: which of them are among ``self.keys``."""
        if not len(self.keys):
            return np.zeros(keys.shape, dtype=bool)
        return self.keys[np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)] == keys


def per_user(
    top_items: np.ndarray, truth: Histories | Truth, ks: Sequence[int], metrics: Sequence[str] = tuple(METRICS)
) -> pl.DataFrame:
    """Return one row a user: ``n_truth``, then ``metric@k`` for every metric and ``k``, float64.

    Args:
        top_items: ``[n, k_max]``, best first, -1 where no item was left.
        truth: one list a row; none of them empty, since a user without truth has no metric.
        ks: list lengths, none above ``k_max``.
        metrics: names of ``METRICS``.
    """
    truth = truth if isinstance(truth, Truth) else Truth.of(truth)
    hits = truth.hits(top_items)
    columns = {f"{name}@{k}": METRICS[name](hits, truth.n_truth, k) for name in metrics for k in ks}
    return pl.DataFrame({"n_truth": truth.n_truth, **columns})


def catalogue(top_items: np.ndarray, item_counts: np.ndarray, n_users: int, ks: Sequence[int]) -> dict[str, float]:
    """Describe the lists of all users together.

    For each ``k``, over all shown places (empty ones left out):

    * ``coverage@k``: share of the catalogue that is shown to at least one user.
    * ``gini@k``: Gini coefficient of how often each item of the catalogue is shown, unshown ones included:
      0 = all alike, towards 1 = always the same few.
    * ``novelty@k``: mean of ``-log2 p(i)``, in bits, with ``p(i)`` the share of train users who took ``i``
      (Zhou et al., PNAS 2010); an item that nobody took counts as taken by one user, as it would be infinite.
    * ``popularity@k``: mean of ``p(i)``, without that floor.

    Args:
        top_items: ``[n, k_max]``, -1 where no item was left.
        item_counts: train users of each item, ``[n_items]``.
        n_users: users who have train interactions.
        ks: list lengths.
    """
    share = item_counts / max(1, n_users)
    bits = -np.log2(np.maximum(item_counts, 1) / max(1, n_users))
    result = {}
    for k in ks:
        shown = top_items[:, :k][top_items[:, :k] >= 0]
        exposure = np.bincount(shown, minlength=len(item_counts))
        total = max(1, len(shown))
        result[f"coverage@{k}"] = float(np.count_nonzero(exposure) / len(item_counts))
        result[f"gini@{k}"] = gini(exposure)
        result[f"novelty@{k}"] = float(exposure @ bits / total)
        result[f"popularity@{k}"] = float(exposure @ share / total)
    return result


def gini(amounts: np.ndarray) -> float:
    """Return ``Σ_i (2i - n - 1) x_(i) / (n Σ x)`` over the ascending ``x_(1..n)``; 0 where all are zero."""
    ordered = np.sort(amounts).astype(np.float64)
    n, total = len(ordered), ordered.sum()
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total)) if total else 0.0
