"""Items that came after training: found by what they read and look like, by any ranker, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from recsys.core.values import ItemFeatures

NEIGHBOURS = 10  # trained items whose scores a new item takes
STANDS_FOR = 3  # trained items that a liked new item counts as in a history


@dataclass(frozen=True)
class FreshItem:
    """An item that the ranker was not trained on.

    Attributes:
        item_id, title, attributes: of the item.
        neighbours: row numbers of the trained items nearest to it, nearest first; empty where nothing is known of it.
        weights: what share of its score comes from each, float32, summing to 1.
        gone: it was taken out since, and only keeps its number.
    """

    item_id: str
    title: str
    attributes: tuple[str, ...] = ()
    neighbours: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    gone: bool = False


class Neighbourhood:
    """Finds the trained items that a new one is like.

    Args:
        features: vectors of the trained items, by the encoders that new ones are read with.
    """

    def __init__(self, features: ItemFeatures) -> None:
        self.means, self.units, self.present = {}, {}, {}
        for name in features.matrices:
            there = features.present(name)
            if there.any():
                self.means[name] = features[name][there].mean(axis=0)
                self.units[name], self.present[name] = features.unit(name), there

    def place(
        self, item_id: str, title: str, attributes: Sequence[str], vectors: Mapping[str, np.ndarray],
        *, apart: int | None = None,
    ) -> FreshItem:  # fmt: skip
        """Return the item with its nearest trained items: mean of centred cosines over the modalities it has.

        Args:
            item_id, title, attributes: of the item.
            vectors: by modality, ``[dim]``.
            apart: a trained item that is not to be among them: itself, where a trained item plays the new one.
        """
        total, count = 0.0, 0.0
        for name, vector in vectors.items():
            if name not in self.units or vector.shape != self.means[name].shape:
                continue
            centred = np.asarray(vector, np.float32) - self.means[name]
            total = total + self.units[name] @ (centred / max(float(np.linalg.norm(centred)), 1e-12))  # [n_items]
            count = count + self.present[name]
        if not np.any(count):
            return FreshItem(item_id, title, tuple(attributes))
        likeness = np.where(count > 0, total / np.maximum(count, 1), -np.inf)
        if apart is not None:
            likeness[apart] = -np.inf
        nearest = np.argsort(-likeness, kind="stable")[:NEIGHBOURS]
        weights = np.maximum(likeness[nearest], 0.0) ** 2  # who is much nearer than the rest speaks for it
        if not weights.sum():
            return FreshItem(item_id, title, tuple(attributes))
        return FreshItem(item_id, title, tuple(attributes), nearest, (weights / weights.sum()).astype(np.float32))


class FreshItems:
    """All new items of a moment; never changed, only replaced.

    Their numbers go on after the trained items': item ``n_items + f`` is the ``f``-th of them, for good.

    Args:
        n_items: trained items.
        items: the new ones.
    """

    def __init__(self, n_items: int, items: Sequence[FreshItem] = ()) -> None:
        self.n_items, self.items = n_items, tuple(items)
        self.place = {one.item_id: n_items + number for number, one in enumerate(self.items) if not one.gone}
        self.closed = np.flatnonzero([one.gone for one in self.items]) + n_items
        columns = np.repeat(np.arange(len(self.items)), [len(one.neighbours) for one in self.items])
        rows = np.concatenate([one.neighbours for one in self.items]) if self.items else np.zeros(0, np.int64)
        values = np.concatenate([one.weights for one in self.items]) if self.items else np.zeros(0, np.float32)
        self._mixing = sp.csr_array((values, (columns, rows)), shape=(len(self.items), n_items), dtype=np.float32)
        self.unplaced = np.flatnonzero([not len(one.neighbours) for one in self.items]) + n_items

    def __len__(self) -> int:
        return len(self.items)

    def extended(self, scores: np.ndarray, stretch: float = 1.0) -> np.ndarray:
        """Return scores of all items: a new item's is the weighted mean of its neighbours'.

        Args:
            scores: float32 ``[n, n_items]``.
            stretch: how many times further from the row's mean it lies than that (``stretching.fair_stretch``).

        Returns:
            float32 ``[n, n_items + len(self)]``; of an item of which nothing is known, less than the row's least.
        """
        if not self.items:
            return scores
        middle = scores.mean(axis=1, keepdims=True)
        new = middle + np.float32(stretch) * (self.mixed(scores.T).T - middle)  # [n, n_fresh]
        least = np.nextafter(scores.min(axis=1, keepdims=True), -np.inf, dtype=np.float32)
        new[:, self.unplaced - self.n_items] = least
        return np.concatenate([scores, new], axis=1)

    def mixed(self, rows: np.ndarray) -> np.ndarray:
        """Return the weighted means of the neighbours' rows, float32 ``[len(self), dim]``; zeros where there are none.

        Args:
            rows: of the trained items, ``[n_items, dim]``.
        """
        return np.asarray(self._mixing @ rows, dtype=np.float32)

    def updated(self, items: Sequence[FreshItem]) -> FreshItems:
        """Return what there is when these are all: who was there keeps its number."""
        there = {one.item_id: one for one in items}
        old = [there.pop(one.item_id, None) or replace(one, gone=True) for one in self.items]
        return FreshItems(self.n_items, [*old, *there.values()])

    def stand_ins(self, item: int) -> np.ndarray:
        """Return the trained items that a liked new item counts as."""
        return self.items[item - self.n_items].neighbours[:STANDS_FOR]
