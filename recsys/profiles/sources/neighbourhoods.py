"""Communities of items that the same users take."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.runtime import Run
from recsys.profiles.concepts import Concept, Concepts, ItemWorld, columns_of
from recsys.profiles.naming import joined, spoken_title
from recsys.profiles.space import item_factors, k_means

NAMED = 2  # items that a community is named by


class NeighbourhoodsSettings(Settings):
    """How finely items are divided."""

    groups: int = Field(24, ge=2, description="Communities at most.")
    dim: int = Field(32, ge=1, description="Factors of the train matrix.")
    least_taken: int = Field(3, ge=1, description="Users who must have taken an item.")
    least: int = Field(8, ge=2, description="Items of a community, and items that each factor must have to rest on.")


class Neighbourhoods:
    """Communities of the item graph of train: k-means over the factors of its degree-normalised matrix."""

    Settings: ClassVar[type[Settings]] = NeighbourhoodsSettings

    def __init__(self, settings: NeighbourhoodsSettings | None = None) -> None:
        self.settings = settings or NeighbourhoodsSettings()

    def find(self, world: ItemWorld, *, run: Run) -> Concepts:
        taken, settings = world.train.item_counts, self.settings
        known = np.flatnonzero(taken >= settings.least_taken)
        k = min(settings.groups, len(known) // settings.least)
        if k < 2:
            return columns_of([], len(world.table))
        factors = item_factors(world.train, min(settings.dim, len(known) // settings.least), run.rng("communities"))
        groups, _ = k_means(factors[known], k, run.rng("communities", "groups"), tries=3)
        titles = [title or item_id for title, item_id in world.table.select("title", "item_id").iter_rows()]
        members = [known[groups == group] for group in range(groups.max() + 1)]
        members = sorted((one for one in members if len(one) >= settings.least), key=lambda one: -taken[one].sum())
        found = []
        for number, items in enumerate(members, start=1):
            best = items[np.argsort(-taken[items], kind="stable")[:NAMED]]
            names = joined([spoken_title(titles[item]) for item in best])
            found.append((Concept(f"neighbours:{number}", f"what others take along with {names}", "behaviour"), items))
        return columns_of(found, len(world.table))
