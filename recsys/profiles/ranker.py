"""Statements as a ranker, so that a fusion can have profiles as one more view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.config import make_settings
from recsys.core.protocols import Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import ITEM_SCHEMA, FitLog, Interactions, ItemFeatures, Query
from recsys.profiles import CONCEPT_SOURCES
from recsys.profiles.concepts import Concept, Concepts, ItemWorld
from recsys.profiles.contrast import Contrasts, ContrastSettings
from recsys.profiles.history import History


class ProfileRanker:
    """``score(u, i) = log(popularity) + sum over u's likes of weight * strength * membership of i``.

    Likes are the statements of a profile built from the history: contrasts to popularity that are more than chance.
    Concepts come from the item table (which a workflow hands over as ``Run.items``) and train; without a table, from
    train alone. A knockout alters item vectors, not the table. Dates and ratings of a history are not looked at.
    """

    reads_items = True

    class Settings(BaseSettings):
        sources: tuple[str, ...] = Field(
            ("attributes", "terms", "neighbourhoods"), description="Where concepts come from."
        )
        options: dict[str, dict[str, Any]] = Field({}, description="Settings by source: options.terms.words = 100.")
        contrast: ContrastSettings = Field(
            ContrastSettings(likes=40, most_each=20), description="When a difference counts."
        )
        dial: float = Field(1.0, ge=0, description="How far likes move the list from popularity.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        with stopwatch() as times:
            world = ItemWorld(_blank(train.n_items) if run.items is None else run.items, features, train)
            found = []
            for name in self.settings.sources:
                kind = CONCEPT_SOURCES.load(name)
                options = make_settings(kind.Settings, self.settings.options.get(name, {}), f"ranker.options.{name}")
                found.append(kind(options).find(world, run=run))
            concepts = Concepts.joined(found, train.n_items)
            self._ready(concepts.members, [one.key for one in concepts.all], train.item_counts)
        return FitLog(best=dict(valid(self)) if valid else {}, **times)

    def _ready(self, members: sp.csc_array, keys: list[str], counts: np.ndarray) -> None:
        concepts = Concepts(tuple(Concept(key, key, "behaviour") for key in keys), members)
        self.counts, self.concepts = counts, concepts
        self.contrasts = Contrasts.of_counts(concepts, counts, self.settings.contrast)
        self._prior = np.log(counts + 0.5).astype(np.float32)
        self._columns = sp.csr_array(members.T)  # [n_concepts, n_items]

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``."""
        result = np.tile(self._prior, (len(query), 1))
        if not len(self.concepts):
            return result
        weights = np.zeros((len(query), len(self.concepts)), dtype=np.float32)
        for row in range(len(query)):
            for one in self.contrasts.find(History.of(query.histories[row], query.histories.n_items)):
                weights[row, one.column] = one.weight * self.contrasts.reach[one.column]
        return result + np.float32(self.settings.dial) * (sp.csr_array(weights) @ self._columns).toarray()

    def state(self) -> dict[str, np.ndarray]:
        members = self.concepts.members
        keys = "\n".join(one.key for one in self.concepts.all).encode()
        return {
            "indices": members.indices.astype(np.int64), "indptr": members.indptr.astype(np.int64),
            "counts": self.counts.astype(np.int64), "keys": np.frombuffer(keys, dtype=np.uint8),
        }  # fmt: skip

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        keys = [key for key in state["keys"].tobytes().decode().split("\n") if key]
        ones, shape = np.ones(len(state["indices"]), dtype=np.float32), (len(state["counts"]), len(keys))
        self._ready(sp.csc_array((ones, state["indices"], state["indptr"]), shape=shape), keys, state["counts"])


def _blank(n_items: int) -> pl.DataFrame:
    rows = {"item_id": [str(item) for item in range(n_items)]}
    return pl.DataFrame({**rows, **{name: [None] * n_items for name in ITEM_SCHEMA if name not in rows}}, ITEM_SCHEMA)
