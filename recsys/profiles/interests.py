"""Several interests: groups of a history's items in the fused space of graph, text and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.runtime import Run
from recsys.profiles.concepts import ItemWorld
from recsys.profiles.contrast import Contrasts
from recsys.profiles.history import History
from recsys.profiles.naming import spoken_title
from recsys.profiles.schema import Interest
from recsys.profiles.space import item_factors, k_means, silhouette, truncated_svd, unit_rows


class InterestSettings(Settings):
    """How a history is divided."""

    dim: int = Field(24, ge=1, description="Dimensions of each of graph, text and pictures.")
    graph: float = Field(1.0, ge=0, description="How much the train graph counts.")
    text: float = Field(0.8, ge=0, description="How much texts count.")
    image: float = Field(0.4, ge=0, description="How much pictures count.")
    most: int = Field(6, ge=1, description="Interests at most.")
    clear: float = Field(0.08, description="Mean silhouette below which a history is one interest.")
    least: int = Field(6, ge=1, description="Items of an interest.")
    least_share: float = Field(0.1, ge=0, le=1, description="And share of the history.")
    looked_at: int = Field(300, ge=10, description="Latest items that the number of interests is chosen by.")


CLEAR, ALONE = 1.5, 3.0  # standard errors by which a group has more of what it is named by
COMMON = 0.25  # share of an interest's items that a concept must have to name it


@dataclass(frozen=True)
class Group:
    """Some of a history's items; ``places`` in the history, int64, nearest to the middle first."""

    places: np.ndarray


def fused_space(world: ItemWorld, settings: InterestSettings, run: Run) -> np.ndarray:
    """Return where items lie, unit rows, float32 ``[n_items, <= 3 * dim]``; a row of zeros where nothing is known.

    Each modality is reduced to ``dim`` directions and scaled to length 1 before it is weighted.
    """
    parts = [settings.graph * item_factors(world.train, settings.dim, run.rng("fused", "graph"))]
    for name, weight in (("text", settings.text), ("image", settings.image)):
        if name in world.features and weight > 0:
            reduced = truncated_svd(world.features.unit(name).T, settings.dim, run.rng("fused", name))
            parts.append(weight * unit_rows(reduced))
    return unit_rows(np.hstack(parts))


def divide(rows: np.ndarray, settings: InterestSettings, rng: np.random.Generator) -> list[Group]:
    """Divide a history into groups, the largest first; their number is that of the best silhouette.

    Args:
        rows: where its items lie, ``[n, dim]``, oldest first.
        settings: how.
        rng: of the first centres.
    """
    n = len(rows)
    whole = [Group(_nearest(rows, np.arange(n)))] if n else []
    looked_at = rows[-settings.looked_at :]
    least = max(settings.least, int(np.ceil(settings.least_share * len(looked_at))))
    if len(looked_at) < 2 * least:
        return whole
    distance = np.sqrt(np.maximum(2 - 2 * looked_at @ looked_at.T, 0))
    best, centres = settings.clear, None
    for k in range(2, min(settings.most, len(looked_at) // least) + 1):
        groups, found = k_means(looked_at, k, rng, steps=15, tries=2)
        if len(found) == k and np.bincount(groups).min() >= least and (score := silhouette(distance, groups)) > best:
            best, centres = score, found
    if centres is None:
        return whole
    nearest = (rows @ centres.T * 2 - (centres**2).sum(axis=1)).argmax(axis=1)
    places = [np.flatnonzero(nearest == group) for group in range(len(centres))]
    return [Group(_nearest(rows, one)) for one in sorted(places, key=len, reverse=True) if len(one)]


def _nearest(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return places in order of likeness to their mean."""
    return places[np.argsort(-(rows[places] @ rows[places].mean(axis=0)), kind="stable")]


def distinguishing(contrasts: Contrasts, taken: History, group: Group, most: int = 4) -> list[int]:
    """Return the concepts of a group that it has more than the rest of the history and than popularity gives."""
    has = contrasts.holding(taken)
    inside = np.zeros(len(taken), dtype=bool)
    inside[group.places] = True
    n, rest, expected = inside.sum(), (~inside).sum(), contrasts.expected(len(taken))
    other = (has[~inside].sum(axis=0) + 10 * expected) / (rest + 10)
    k = has[inside].sum(axis=0)
    base = np.maximum(other, expected)
    score = (k - n * base) / np.sqrt(np.maximum(n * base * (1 - base), 1e-9)) * contrasts.readable
    clear = CLEAR if rest else ALONE  # with no rest to differ from, a name would say more than is known
    found: list[int] = []
    for column in np.argsort(-score, kind="stable"):
        if len(found) == most or score[column] < clear or k[column] < 2:
            break
        if k[column] >= COMMON * n and all(_alike(has[inside], column, each) < 0.7 for each in found):
            found.append(int(column))
    return found


def _alike(has: np.ndarray, one: int, other: int) -> float:
    both = (has[:, one] & has[:, other]).sum()
    return both / max((has[:, one] | has[:, other]).sum(), 1)


def named_apart(interests: Sequence[Interest]) -> list[Interest]:
    """Give interests of the same name different ones."""
    seen: dict[str, int] = {}
    result = []
    for one in interests:
        seen[one.name] = seen.get(one.name, 0) + 1
        again = seen[one.name] > 1 and one.examples
        name = f"{one.name}, like {spoken_title(one.examples[0].title)}" if again else one.name
        result.append(one.model_copy(update={"name": name}))
    return result
