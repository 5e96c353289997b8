"""What the latest part of a history has more, or less, of than the earlier one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from recsys.profiles.contrast import Contrasts, overlap
from recsys.profiles.history import History
from recsys.profiles.statistics import discoveries, newcombe


@dataclass(frozen=True)
class Shift:
    """A difference of the latest third of a history from the earlier part; ``places`` are the latest items with it."""

    column: int
    before: float
    lately: float
    low: float
    high: float
    places: np.ndarray


def shifts(contrasts: Contrasts, history: History) -> list[Shift]:
    """Return what the latest third has more, or less, of than the earlier items; none where times do not tell."""
    n, settings = len(history), contrasts.settings
    late = n // 3
    early = n - late
    if late < 2 * settings.least or not _apart(history, early, settings.apart_days):
        return []
    has = contrasts.holding(history)
    k1, k2 = has[:early].sum(axis=0).astype(np.float64), has[early:].sum(axis=0).astype(np.float64)
    low, high = newcombe(k1, early, k2, late)
    pooled = (k1 + k2) / n
    error = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / early + 1 / late))
    p = 2 * special.ndtr(-np.abs(k2 / late - k1 / early) / error)
    clear = discoveries(p, settings.rate) & ((low > 0) | (high < 0)) & (k1 + k2 >= 2 * settings.least)
    order = sorted(np.flatnonzero(clear), key=lambda one: (p[one] / contrasts.readable[one], one))
    kept, sets = [], []
    for one in order:
        both = set(np.flatnonzero(has[:, one]).tolist())
        if len(kept) < settings.changes and all(overlap(both, other) < settings.alike for other in sets):
            sets.append(both)
            latest = early + np.flatnonzero(has[early:, one])
            numbers = (k1[one] / early, k2[one] / late, low[one], high[one])
            kept.append(Shift(int(one), *map(float, numbers), latest))
    return kept


def _apart(history: History, early: int, days: float) -> bool:
    """Return whether time passed between the earlier items and the others, not just a sitting."""
    if not history.dated:
        return False
    return np.median(history.times[early:]) - np.median(history.times[:early]) >= max(days * 86400, 1)
