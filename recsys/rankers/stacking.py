"""Re-ranking by what members say, and for whom and what they say it: boosted trees over a few facts.

Stacking of recommenders: Sill et al., "Feature-weighted linear stacking", 2009. The trees are LightGBM's (Ke et al.,
NeurIPS 2017); they are kept as their text, never pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.core.values import Interactions, Query

DAY, SEASON_DAYS = 86_400.0, 30.0
FAITH, TINY = 10.0, 1e-6  # items like everybody's that each user is thought to have; a share of nothing
PRIOR = 5.0  # ratings of average size that every item and user is thought to have
PARAMETERS = {
    "objective": "binary", "learning_rate": 0.03, "num_leaves": 16, "min_data_in_leaf": 400, "feature_fraction": 0.7,
    "bagging_fraction": 0.8, "bagging_freq": 1, "verbose": -1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What train tells of items and users, beside who took what; empty arrays where the data do not say.

    Attributes:
        popularity: ``log(1 + users)`` of each item, ``[n_items]``.
        item_rating, user_rating: mean ratings, drawn to the overall mean, ``[n_items]``, ``[n_users]``.
        item_day, user_day: first day an item was taken; the middle day of a user, ``[n_items]``, ``[n_users]``.
        seasons: log share of an item in the interactions of a month over its share in all, ``[n_items, n_months]``.
        first_day: where months begin to count.
        attributes: which item has which attribute, ``[n_items, n_attributes]``.
        usual: the share of train interactions with items of each attribute, ``[n_attributes]``.
    """

    popularity: np.ndarray
    item_rating: np.ndarray
    user_rating: np.ndarray
    item_day: np.ndarray
    user_day: np.ndarray
    seasons: np.ndarray
    first_day: np.ndarray
    attributes: np.ndarray
    usual: np.ndarray

    @classmethod
    def of(cls, train: Interactions, attributes: np.ndarray | None = None) -> Facts:
        """Collect the facts; times count only where they are days (an order 0, 1, 2 … is none).

        Args:
            train: the interactions.
            attributes: as in ``ItemFeatures``, NaN rows where an item has none.
        """
        none = np.zeros(0, dtype=np.float32)
        ratings = (none, none)
        if train.rating is not None and len(np.unique(train.rating[np.isfinite(train.rating)])) > 1:
            ratings = tuple(_means(train.rating, of, n) for of, n in _sides(train))
        days: tuple[np.ndarray, ...] = (none, none, np.zeros((0, 0), np.float32), none)
        if train.timestamp is not None and np.ptp(train.timestamp) > 2 * SEASON_DAYS * DAY:
            days = _days(train)
        popularity = np.log1p(train.item_counts).astype(np.float32)
        nothing = (np.zeros((train.n_items, 0), np.float32), none)
        facts = cls(popularity, *ratings, *days, *nothing)
        return facts if attributes is None else facts.with_attributes(attributes, train.item_counts)

    def with_attributes(self, attributes: np.ndarray, item_counts: np.ndarray | None = None) -> Facts:
        """Return the facts with other attributes; without ``item_counts`` what is usual is left as it was."""
        known = np.nan_to_num(attributes).astype(np.float32)
        usual = self.usual if item_counts is None else item_counts @ known / max(item_counts.sum(), 1)
        return replace(self, attributes=known, usual=np.asarray(usual, dtype=np.float32))

    def table(self, query: Query, items: np.ndarray) -> list[np.ndarray]:
        """Return the facts of each user and candidate, each float32 ``[n, n_candidates]``.

        Args:
            query: ``n`` users; newcomers are average raters, and live on the last day.
            items: candidates, ``[n, n_candidates]``.
        """
        history = query.histories.matrix()
        counts = np.maximum(np.diff(history.indptr), 1)
        columns = [self.popularity[items]]
        columns += [_wide(np.log1p(np.diff(history.indptr)), items), _wide(history @ self.popularity / counts, items)]
        known = np.maximum(query.user_idx, 0)
        newcomer = query.user_idx < 0
        if len(self.item_rating):
            mean = np.where(newcomer, self.user_rating.mean(), self.user_rating[known])
            columns += [self.item_rating[items], _wide(mean, items)]
        if len(self.item_day):
            day = np.where(newcomer, self.user_day.max(), self.user_day[known])
            month = np.clip((day - self.first_day[0]) / SEASON_DAYS, 0, self.seasons.shape[1] - 1).astype(np.int64)
            columns += [day[:, None] - self.item_day[items], self.seasons[items, month[:, None]]]
        if self.attributes.shape[1]:
            columns.append(np.take_along_axis(self._affinity(history), items, axis=1))
        return [np.asarray(column, dtype=np.float32) for column in columns]

    def _affinity(self, history: sp.csr_array) -> np.ndarray:
        """Return the mean log ratio of what users take of an item's attributes to what is usual, ``[n, n_items]``."""
        length = np.diff(history.indptr)[:, None]
        share = (history @ self.attributes + FAITH * self.usual) / (length + FAITH)  # [n, n_attributes]
        lift = np.log((share + TINY) / (self.usual + TINY))
        return lift @ self.attributes.T / np.maximum(self.attributes.sum(axis=1), 1.0)

    def state(self) -> dict[str, np.ndarray]:
        return {f"facts.{name}": array for name, array in vars(self).items()}

    @classmethod
    def restored(cls, state: Mapping[str, np.ndarray]) -> Facts:
        return cls(**{name: state[f"facts.{name}"] for name in cls.__dataclass_fields__})


def _sides(train: Interactions) -> tuple[tuple[np.ndarray, int], tuple[np.ndarray, int]]:
    return (train.item_idx, train.n_items), (train.user_idx, train.n_users)


def _means(ratings: np.ndarray, of: np.ndarray, n: int) -> np.ndarray:
    known = np.isfinite(ratings)
    total = np.bincount(of[known], weights=ratings[known], minlength=n)
    return ((total + PRIOR * ratings[known].mean()) / (np.bincount(of[known], minlength=n) + PRIOR)).astype(np.float32)


def _days(train: Interactions) -> tuple[np.ndarray, ...]:
    day = train.timestamp / DAY
    first, last = day.min(), day.max()
    item_day, user_day = np.full(train.n_items, last), np.full(train.n_users, last)
    np.minimum.at(item_day, train.item_idx, day)
    order = np.lexsort((day, train.user_idx))
    starts = np.concatenate([[0], np.cumsum(np.bincount(train.user_idx, minlength=train.n_users))])
    active = np.flatnonzero(np.diff(starts))
    user_day[active] = day[order][(starts[active] + starts[active + 1]) // 2]
    month = ((day - first) / SEASON_DAYS).astype(np.int64)
    taken = sp.csr_array((np.ones(len(day)), (train.item_idx, month)), shape=(train.n_items, month.max() + 1)).toarray()
    near = taken.copy()  # the months beside it count half
    near[:, 1:] += 0.5 * taken[:, :-1]
    near[:, :-1] += 0.5 * taken[:, 1:]
    share = near / np.maximum(near.sum(axis=0), 1.0)
    overall = (train.item_counts + 1.0) / (len(day) + train.n_items)
    tiny = 1.0 / len(day)
    seasons = np.log((share + tiny) / (overall[:, None] + tiny))
    return tuple(np.asarray(x, dtype=np.float32) for x in (item_day, user_day, seasons, [first]))


def _wide(values: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.asarray(values)[:, None], items.shape)


def train_trees(rows: np.ndarray, gains: np.ndarray, rounds: int, seed: int) -> Any:
    """Return a booster that tells held-out candidates from others.

    Args:
        rows: float32 ``[n, n_features]``.
        gains: 1 where held out, ``[n]``.
        rounds: trees.
        seed: of their samples of rows and features.
    """
    import lightgbm
    import torch

    parameters = PARAMETERS | {"seed": seed % 2**31, "num_threads": torch.get_num_threads()}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, gains), rounds)


def to_array(booster: Any) -> np.ndarray:
    """Return the trees as the bytes of their text, uint8."""
    return np.frombuffer(booster.model_to_string().encode(), dtype=np.uint8)


def from_array(text: np.ndarray) -> Any:
    """Return the trees that ``to_array`` wrote."""
    import lightgbm

    return lightgbm.Booster(model_str=text.tobytes().decode())
