"""A learned fusion: several rankers, closed-form and learned, each trusted as much as the validation part says.

Weighted voting of rankers: Cormack et al., "Reciprocal rank fusion", SIGIR 2009 (ranks instead of scores); the
weights by listwise regression: Cao et al., ICML 2007.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field, field_validator

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError, RankerError
from recsys.core.protocols import Explains, Ranker, ScoresSome, SwapsFeatures, Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import ATTRIBUTES, FitLog, Interactions, ItemFeatures, Query
from recsys.rankers.blending import Candidates, learn_weights, rank_votes, standardise
from recsys.rankers.stacking import Facts, from_array, to_array, train_trees
from recsys.rankers.store import make_ranker

BATCH = 512  # users whose candidates are collected at a time, fewer where that were more than
NUMBERS = 2**24  # scores of a member: 64 MiB


@dataclass(frozen=True, eq=False)
class _Sum:
    """What was learned: a weight a member, and trees for the first items of the sum."""

    weights: np.ndarray
    trees: Any = None


@dataclass(frozen=True)
class _Tops:
    """Weighted sums ``[n, n_items]``, their first items ``[n, m]`` and feature rows ``[n * m, n_features]``."""

    sums: np.ndarray
    items: np.ndarray
    rows: np.ndarray


class Fusion:
    """``score(u, i) = sum_m w_m vote(rank_m(u, i))``, ``w >= 0`` learned on validation, where members never trained.

    (Members that stop early chose their epoch there, so a fusion's figure on validation is a little too good.)

    A vote is ``log((n_items + 10) / (rank + 10))``: members' scores have units of their own, their ranks have not.
    With ``objective = "trees"`` the first ``reranked`` items of that sum are put in order by the sum and by boosted
    trees together, that see all votes and scores and a few facts (how popular, how rated, how new; for whom and when;
    and how much the user takes of its attributes, where members read item features).
    What is told of the fusion on validation is cross-fitted: each fold of users is ranked with what was learned from
    the others, so that it can be compared with rankers that learn nothing there.
    """

    reads_besides = (ATTRIBUTES,)  # where there are features for its members

    class Settings(BaseSettings):
        members: tuple[dict[str, Any], ...] = Field(
            ({"name": "ease"}, {"name": "rp3beta"}, {"name": "lightgcn"}),
            description="Rankers, each {name = …, its settings}; by the workflow they are trained once and kept.",
        )
        objective: Literal["trees", "softmax", "ndcg", "equal"] = Field(
            "ndcg",
            description="What is learned: weights by likelihood (softmax), bettered by ndcg; trees on top; or nothing.",
        )
        k: int = Field(20, ge=1, description="List length of that ndcg.")
        candidates: int = Field(100, ge=10, description="Items taken from the top of each member's list to learn from.")
        ridge: float = Field(1e-3, gt=0, description="L2 on the weights (softmax).")
        reranked: int = Field(150, ge=20, description="First items of the sum that the trees put in order.")
        rounds: int = Field(300, ge=1, description="Trees.")
        folds: int = Field(4, ge=2, description="Parts of the users that the validation figure is cross-fitted with.")

        @field_validator("members")
        @classmethod
        def _named(cls, members: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
            if len(members) < 2 or not all(isinstance(member.get("name"), str) for member in members):
                raise ConfigError(
                    "setting ranker.members", "a fusion needs two rankers with a name", "[{name = 'ease'}, …]"
                )
            return members

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.members: list[Ranker] = []
        self._by_user: dict[int, _Sum] = {}  # while the validation figure is worked out

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Get the members fitted, then learn the weights.

        Raises:
            RankerError: there is no validation part to learn from, or none of its users is in train.
        """
        if valid is None and self.settings.objective != "equal":
            raise RankerError("ranker fusion", "has no validation part to learn weights from", "Give the split one.")
        with stopwatch() as times:
            self.members = [self._member(place, train, features, valid, run) for place in range(self._size)]
            self._sums, self._facts = (
                _Sum(np.full(self._size, 1.0 / self._size)),
                Facts.of(train, _attributes(features)),
            )
            if self.settings.objective != "equal":
                users, known = self._candidates(train, valid.held_out, run)
                self._by_user = self._cross_fitted(train, valid.held_out, users, known, run)
                self._sums = self._learn(train, valid.held_out, users, known, run)
        told = dict(valid(self)) if valid else {}
        self._by_user = {}
        run.log("fusion weights: " + ", ".join(f"{name} {weight:.2f}" for name, weight in self.told_weights()))
        return FitLog(best=told, **times)

    @property
    def _size(self) -> int:
        return len(self.settings.members)

    def told_weights(self) -> list[tuple[str, float]]:
        """Return each member's name and weight; the weights sum to 1."""
        return [(member["name"], float(w)) for member, w in zip(self.settings.members, self._sums.weights, strict=True)]

    def _member(self, place: int, train: Interactions, features: ItemFeatures, valid: Any, run: Run) -> Ranker:
        config = self.settings.members[place]
        if run.fitted is not None:
            return run.fitted(config)
        ranker = make_ranker(config, f"ranker.members[{place}]")
        ranker.fit(train, features, valid=valid, run=run.at(run.folder and run.folder / f"member-{place}"))
        return ranker

    def _learn(
        self, train: Interactions, held_out: Interactions, users: np.ndarray, known: Candidates, run: Run
    ) -> _Sum:
        chosen = self.settings
        weights = learn_weights(known, chosen.k, chosen.ridge, by_metric=chosen.objective in ("ndcg", "trees"))
        if chosen.objective != "trees":
            return _Sum(weights)
        truth, rows, gains = held_out.matrix, [], []
        for batch in _batches(len(users), train.n_items):
            part = users[batch]
            found = self._tops(Query.of_users(train, part), weights)
            rows.append(found.rows)
            gains.append(_marked(truth[part], found.items))
        trees = train_trees(np.concatenate(rows), np.concatenate(gains), chosen.rounds, run.key("fusion", "trees"))
        return _Sum(weights, trees)

    def _cross_fitted(
        self, train: Interactions, held_out: Interactions, users: np.ndarray, known: Candidates, run: Run
    ) -> dict[int, _Sum]:
        found: dict[int, _Sum] = {}
        order = run.rng("fusion", "folds").permutation(len(users))
        for fold in np.array_split(order, min(self.settings.folds, len(users))):
            others = np.setdiff1d(order, fold) if len(fold) < len(order) else fold
            learned = self._learn(train, held_out, users[others], known.take(others), run)
            found.update(dict.fromkeys(users[fold].tolist(), learned))
        return found

    def _candidates(self, train: Interactions, held_out: Interactions, run: Run) -> tuple[np.ndarray, Candidates]:
        """Return the users with held-out items, and what the members' lists say of their candidates.

        Raises:
            RankerError: there are no such users.
        """
        users = np.flatnonzero((held_out.user_counts > 0) & (train.user_counts > 0))
        if not len(users):
            cause = "no user has interactions both in train and in validation to learn weights from"
            raise RankerError("ranker fusion", cause, "Choose other split settings, or ranker.objective=equal.")
        truth, parts = held_out.matrix[users], []
        for rows in run.bar(_batches(len(users), train.n_items), "fusion"):
            votes = self._votes(Query.of_users(train, users[rows]))
            parts.append(Candidates.of(votes, truth[rows], self.settings.candidates))
        return users, Candidates.joined(parts)

    def _scores(self, query: Query) -> Iterator[np.ndarray]:
        """Yield each member's scores, float32 ``[n_queries, n_items]``."""
        return (np.asarray(member.score(query), dtype=np.float32) for member in self.members)

    def _votes(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_members, n_queries, n_items]``."""
        return np.stack([rank_votes(scores, query.histories.matrix()) for scores in self._scores(query)])

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``; the history's own items come last."""
        if not self._by_user:
            return self._summed(query, self._sums)
        learned = [self._by_user.get(int(user), self._sums) for user in query.user_idx]
        scores = np.empty((len(query), query.histories.n_items), dtype=np.float32)
        for one in dict.fromkeys(learned):
            rows = np.array([row for row, other in enumerate(learned) if other is one])
            scores[rows] = self._summed(query.take(rows), one)
        return scores

    def _summed(self, query: Query, learned: _Sum) -> np.ndarray:
        if learned.trees is None:
            return np.einsum("m,mni->ni", learned.weights.astype(np.float32), self._votes(query))
        tops = self._tops(query, learned.weights)
        trees = learned.trees.predict(tops.rows, raw_score=True).reshape(tops.items.shape).astype(np.float32)
        linear = np.take_along_axis(tops.sums, tops.items, axis=1)
        both = np.tanh((2 * standardise(trees) + standardise(linear)) / 15)  # in (-1, 1): in order, above all others
        np.put_along_axis(tops.sums, tops.items, tops.sums.max(axis=1, keepdims=True) + 2.0 + both, axis=1)
        return tops.sums

    def _tops(self, query: Query, weights: np.ndarray) -> _Tops:
        """Return the sums, their first items, and a row of features for each of those."""
        history, votes, spread = query.histories.matrix(), [], []
        for scores in self._scores(query):
            votes.append(rank_votes(scores, history))
            spread.append(standardise(scores))
        sums = np.einsum("m,mni->ni", weights.astype(np.float32), np.stack(votes))
        size = min(self.settings.reranked, sums.shape[1])
        items = np.sort(np.argpartition(-sums, size - 1, axis=1)[:, :size], axis=1)  # [n, reranked]
        columns = [np.take_along_axis(column, items, axis=1) for column in (*votes, *spread)]
        rows = np.stack(columns + self._facts.table(query, items), axis=2)  # [n, reranked, n_features]
        return _Tops(sums, items, rows.reshape(-1, rows.shape[2]))

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
        for member, weight in zip(self.members, self._sums.weights, strict=True):
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
        attributes, facts = _attributes(features), self._facts
        known = facts.attributes.shape[1] and attributes is not None
        other._sums, other._facts = self._sums, facts.with_attributes(attributes) if known else facts
        other.members = [
            member.with_features(features) if isinstance(member, SwapsFeatures) else member for member in self.members
        ]
        return other

    def state(self) -> dict[str, np.ndarray]:
        parts = {f"{n}.{key}": array for n, member in enumerate(self.members) for key, array in member.state().items()}
        trees = {} if self._sums.trees is None else {"fusion.trees": to_array(self._sums.trees)}
        return {"fusion.weights": self._sums.weights, **trees, **self._facts.state(), **parts}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        trees = from_array(state["fusion.trees"]) if "fusion.trees" in state else None
        self._sums, self._facts = _Sum(state["fusion.weights"], trees), Facts.restored(state)
        self.members = [make_ranker(config) for config in self.settings.members]
        for place, member in enumerate(self.members):
            start = f"{place}."
            member.restore({key[len(start) :]: array for key, array in state.items() if key.startswith(start)})


def _attributes(features: ItemFeatures) -> np.ndarray | None:
    return features.matrices.get(ATTRIBUTES)


def _batches(n_users: int, n_items: int) -> list[slice]:
    """Return runs of users whose scores are held at the same time."""
    size = max(1, min(BATCH, NUMBERS // n_items))
    return [slice(start, start + size) for start in range(0, n_users, size)]


def _marked(truth: sp.csr_array, items: np.ndarray) -> np.ndarray:
    """Return 1 where a candidate is held out, float32 ``[n * n_candidates]``."""
    marks = [np.isin(row, truth.indices[truth.indptr[user] : truth.indptr[user + 1]]) for user, row in enumerate(items)]
    return np.concatenate(marks).astype(np.float32)
