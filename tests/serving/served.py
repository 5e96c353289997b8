"""A small service with known answers: four blocks of items, users who take their own block's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recsys.core.errors import ArtifactError
from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures, Split
from recsys.rankers.ease import EASE
from recsys.rankers.popularity import Popularity
from recsys.serving.engine import Engine
from recsys.serving.fresh import Neighbourhood
from recsys.serving.models import Models
from recsys.serving.people import People
from recsys.serving.recommender import Recommender
from recsys.serving.service import Service
from recsys.serving.state import make_state
from recsys.serving.state.store import NewItem

from worlds import block_features, blocks

QUIET = Run(log=lambda message: None)
N_BLOCKS = 4


class World:
    """Rankers by reference: ``ease`` and ``popularity``; ``broken`` gives NaN, anything else is not there."""

    def __init__(self) -> None:
        self.split: Split = blocks(N_BLOCKS)
        self.features: ItemFeatures = block_features(self.split, N_BLOCKS)
        self.rankers = {
            "ease": EASE(EASE.Settings(regularisation=20.0)),
            "popularity": Popularity(Popularity.Settings()),
        }
        for ranker in self.rankers.values():
            ranker.fit(self.split.train, ItemFeatures(), run=QUIET)
        broken = EASE(EASE.Settings())
        broken.weights = np.full_like(self.rankers["ease"].weights, np.nan)
        self.rankers["broken"] = broken

    def engine(self, name: str, reference: str) -> Engine:
        if reference not in self.rankers:
            raise ArtifactError(f"artifact {reference!r}", "there is none", "Train it first.")
        model = Recommender(self.split.dataset, self.rankers[reference], self.split.train)
        return Engine(name, reference, model, self.features.unit("text"))

    def vectors(self, item: NewItem) -> Mapping[str, np.ndarray]:
        """A text "like 9" has the vector of item 9."""
        word, _, number = item.text.partition(" ")
        return {"text": self.features["text"][int(number)]} if word == "like" else {}

    def service(self, path: Path, **batcher: float) -> Service:
        state = make_state(path)
        models = Models(self.engine, state)
        models.start("ease", "ease")
        people = People(self.split.dataset, self.split.train, state)
        return Service(
            models, people, state, neighbourhood=Neighbourhood(self.features), vectors=self.vectors, batcher=batcher
        )

    def block(self, user: int) -> set[str]:
        """Ids of a user's block."""
        return {f"i{item}" for item in range(self.split.train.n_items) if item % N_BLOCKS == user % N_BLOCKS}

    def unseen(self, user: int) -> list[str]:
        """Ids of the block that the user has not."""
        return sorted(self.block(user) - {f"i{item}" for item in self.split.train.histories[user]})
