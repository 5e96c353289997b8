"""A learned fusion: several rankers, closed-form and learned, each trusted as much as the validation part says.

Weighted voting of rankers: Cormack et al., "Reciprocal rank fusion", SIGIR 2009 (ranks instead of scores); the
weights by listwise regression: Cao et al., ICML 2007.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError, RankerError
from recsys.core.protocols import Explains, Ranker, ScoresSome, SwapsFeatures, Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Interactions, ItemFeatures, Query
from recsys.rankers.blending import Candidates, learn_weights, rank_votes
from recsys.rankers.store import make_ranker

BATCH = 512  # users whose candidates are collected at a time


class Fusion:
    """``score(u, i) = sum_m w_m vote(rank_m(u, i))``, ``w >= 0`` learned on validation, where members never trained.

    A vote is ``log((n_items + 10) / (rank + 10))``: members' scores have units of their own, their ranks have not.
    What is told of the fusion on validation is cross-fitted: each fold of users is ranked with weights from the
    others, so that it can be compared with rankers that learn nothing there.
    """

    class Settings(BaseSettings):
        members: tuple[dict[str, Any], ...] = Field(
            ({"name": "ease"}, {"name": "rp3beta"}, {"name": "lightgcn"}),
            description="Rankers, each {name = …, its settings}; by the workflow they are trained once and kept.",
        )
        objective: Literal["softmax", "ndcg", "equal"] = Field(
            "ndcg", description="What weights are learned by: likelihood of held-out items; then ndcg; or not at all."
        )
        k: int = Field(20, ge=1, description="List length of that ndcg.")
        candidates: int = Field(100, ge=10, description="Items taken from the top of each member's list to learn from.")
        ridge: float = Field(1e-3, gt=0, description="L2 on the weights (softmax).")
        folds: int = Field(4, ge=2, description="Parts of the users that the validation figure is cross-fitted with.")

        @field_validator("members")
        @classmethod
        def _named(cls, members: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
            if len(members) < 2 or not all(isinstance(member.get("name"), str) for member in members):
                raise ConfigError("setting ranker.members", "are not two rankers with a name", "[{name = 'ease'}, …]")
            return members

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.members: list[Ranker] = []
        self._by_user: dict[int, np.ndarray] = {}  # while the validation figure is worked out

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Get the members fitted, then learn the weights.

        Raises:
            RankerError: there is no validation part to learn from.
        """
        if valid is None and self.settings.objective != "equal":
            raise RankerError("ranker fusion", "has no validation part to learn weights from", "Give the split one.")
        with stopwatch() as times:
            self.members = [self._member(place, train, features, valid, run) for place in range(self._size)]
            self.weights = np.full(self._size, 1.0 / self._size)
            if self.settings.objective != "equal":
                users, known = self._candidates(train, valid.held_out, run)
                self._by_user = self._cross_fitted(users, known, run)
                self.weights = self._learn(known)
        told = dict(valid(self)) if valid else {}
        self._by_user = {}
        run.log("fusion weights: " + ", ".join(f"{name} {weight:.2f}" for name, weight in self.told_weights()))
        return FitLog(best=told, **times)

    @property
    def _size(self) -> int:
        return len(self.settings.members)

    def told_weights(self) -> list[tuple[str, float]]:
        """Return each member's name and weight; the weights sum to 1."""
        return [(member["name"], float(w)) for member, w in zip(self.settings.members, self.weights, strict=True)]

    def _member(self, place: int, train: Interactions, features: ItemFeatures, valid: Any, run: Run) -> Ranker:
        config = self.settings.members[place]
        if run.fitted is not None:
            return run.fitted(config)
        ranker = make_ranker(config, f"ranker.members[{place}]")
        ranker.fit(train, features, valid=valid, run=run.at(run.folder and run.folder / f"member-{place}"))
        return ranker

    def _learn(self, known: Candidates) -> np.ndarray:
        chosen = self.settings
        return learn_weights(known, chosen.k, chosen.ridge, by_metric=chosen.objective == "ndcg")

    def _cross_fitted(self, users: np.ndarray, known: Candidates, run: Run) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}
        order = run.rng("fusion", "folds").permutation(len(users))
        for fold in np.array_split(order, min(self.settings.folds, len(users))):
            others = np.setdiff1d(order, fold)
            weights = self._learn(known.take(others if len(others) else fold))
            found.update(dict.fromkeys(users[fold].tolist(), weights))
        return found

    def _candidates(self, train: Interactions, held_out: Interactions, run: Run) -> tuple[np.ndarray, Candidates]:
        """Return the users with held-out items, and what the members' lists say of their candidates."""
        users = np.flatnonzero((held_out.user_counts > 0) & (train.user_counts > 0))
        truth, parts = held_out.matrix[users], []
        for start in run.bar(range(0, len(users), BATCH), "fusion"):
            rows = slice(start, start + BATCH)
            votes = self._votes(Query.of_users(train, users[rows]))
            parts.append(Candidates.of(votes, truth[rows], self.settings.candidates))
        return users, Candidates.joined(parts)

    def _votes(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_members, n_queries, n_items]``."""
        return np.stack([rank_votes(member.score(query), query.histories.matrix()) for member in self.members])

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``; the history's own items come last."""
        weights = np.stack([self._by_user.get(int(user), self.weights) for user in query.user_idx])  # [n, n_members]
        scores = np.zeros((len(query), query.histories.n_items), dtype=np.float32)
        for place, member in enumerate(self.members):
            if weights[:, place].any():
                votes = rank_votes(member.score(query), query.histories.matrix())
                scores += weights[:, place, None].astype(np.float32) * votes
        return scores

    def can_score(self, query: Query) -> np.ndarray:
        """Return which queries all members can score, bool ``[n_queries]``."""
        able = np.ones(len(query), dtype=bool)
        for member in self.members:
            if isinstance(member, ScoresSome):
                able &= member.can_score(query)
        return able

    def contributions_to(self, query: Query, item_idx: np.ndarray) -> np.ndarray:
        """Return each history item's share in the explanations of those members that explain, ``[n, n_history]``."""
        parts = np.zeros((len(item_idx), len(query.histories[0])), dtype=np.float32)
        for member, weight in zip(self.members, self.weights, strict=True):
            if weight and isinstance(member, Explains):
                brought = np.stack([member.contributions(query, int(item)) for item in item_idx])
                parts += np.float32(weight) * brought / np.maximum(np.abs(brought).sum(axis=1, keepdims=True), 1e-9)
        return parts

    def contributions(self, query: Query, item_idx: int) -> np.ndarray:
        """Return the parts of one item, ``[n_history]``."""
        return self.contributions_to(query, np.array([item_idx]))[0]

    def with_features(self, features: ItemFeatures) -> Fusion:
        """Return the fusion with the same weights, whose members read other features where they can."""
        other = Fusion(self.settings)
        other.weights = self.weights
        other.members = [
            member.with_features(features) if isinstance(member, SwapsFeatures) else member for member in self.members
        ]
        return other

    def state(self) -> dict[str, np.ndarray]:
        parts = {f"{n}.{key}": array for n, member in enumerate(self.members) for key, array in member.state().items()}
        return {"fusion": self.weights, **parts}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.weights = state["fusion"]
        self.members = [make_ranker(config) for config in self.settings.members]
        for place, member in enumerate(self.members):
            start = f"{place}."
            member.restore({key[len(start) :]: array for key, array in state.items() if key.startswith(start)})
