"""How a profile moves a ranking, and what it ranks by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp

from recsys.core.errors import DataError
from recsys.core.protocols import Scorer
from recsys.core.values import Query, Vocabulary
from recsys.profiles.matching import SAID, Matcher
from recsys.profiles.schema import UserProfile
from recsys.rankers.blending import rank_votes

DIAL = 1.0  # one step of raise or lower is seen, and most of the list stays: experiments/profile_steering
BESIDE = 2.0  # what a cosine of 1 with an interest counts beside statements, in log odds
By = Literal["statements", "interests", "both"]


def signed_weights(profiles: Sequence[UserProfile], keys: Sequence[str]) -> sp.csr_array:
    """Return each statement's weight, negative for a dislike, float32 ``[n_profiles, n_keys]``."""
    place = {key: column for column, key in enumerate(keys)}
    rows, columns, values = [], [], []
    for row, profile in enumerate(profiles):
        for one in profile.statements:
            if one.weight and one.concept in place:
                rows.append(row)
                columns.append(place[one.concept])
                values.append(one.weight if one.polarity == "like" else -one.weight)
    shape = (len(profiles), len(keys))
    return sp.csr_array((np.array(values, dtype=np.float32), (rows, columns)), shape=shape, dtype=np.float32)


def named(key: str) -> str:
    """Return how people name a concept: its key, or the words of the edit."""
    return key.removeprefix(SAID)


def statement_keys(profiles: Sequence[UserProfile]) -> list[str]:
    """Return the concepts of all statements, each once."""
    return list(dict.fromkeys(one.concept for profile in profiles for one in profile.statements))


@dataclass(frozen=True)
class Edited:
    """A profile as it was built, and as it is now."""

    built: UserProfile
    now: UserProfile

    @property
    def forbidden(self) -> list[str]:
        """The concepts that are never to be shown."""
        return [one.concept for one in self.now.statements if one.forbidden]


class Steered:
    """A ranker whose lists follow edited profiles.

    ``score = votes of the ranker by rank + dial * (match(now) - match(built))``, where ``match`` is the sum over
    statements of ``sign * weight * membership * strength`` (``matching.strength``). A user whose edits change no weight
    and forbid nothing has the ranker's own scores, to the last bit. Forbidden items come after all others; whoever
    shows lists leaves them out altogether: ``banned``.

    Args:
        ranker: what is steered.
        edited: by user row number; -1 stands for whoever is no user of the training data.
        matcher: what statements mean.
        dial: 0: no effect; at 1 a full weight takes a concept to half of the list or more (``matching.strength``).
        fallback: what to rank by where the ranker says nothing of somebody, such as how many took an item,
            ``[n_items]``.
    """

    def __init__(
        self,
        ranker: Scorer,
        edited: Mapping[int, Edited],
        matcher: Matcher,
        dial: float = DIAL,
        fallback: np.ndarray | None = None,
    ) -> None:
        self.ranker, self.dial, self.fallback = ranker, dial, fallback
        self._row = {user: row for row, user in enumerate(edited)}
        pairs = list(edited.values())
        self._keys = keys = statement_keys([one.now for one in pairs] + [one.built for one in pairs])
        self._pull = signed_weights([one.now for one in pairs], keys) - signed_weights(
            [one.built for one in pairs], keys
        )
        self._pull.eliminate_zeros()
        self._columns = matcher.columns(keys).T.tocsr()  # [n_keys, n_items]
        self._banned = [matcher.meant(one.forbidden) if one.forbidden else None for one in pairs]

    def banned(self, user_idx: int) -> np.ndarray:
        """Return the items that must not be shown to a user, row numbers."""
        mask = self._banned[self._row[user_idx]] if user_idx in self._row else None
        return np.zeros(0, dtype=np.int64) if mask is None else np.flatnonzero(mask)

    def moved(self, user_idx: int) -> np.ndarray:
        """Return what the edits add to a user's votes, float32 ``[n_items]``."""
        if user_idx not in self._row:
            return np.zeros(self._columns.shape[1], dtype=np.float32)
        return self.dial * (self._pull[[self._row[user_idx]]] @ self._columns).toarray()[0]

    def apart(self, user_idx: int) -> tuple[tuple[str, ...], sp.csr_array]:
        """Return what each edited concept is wanted to be, and what that adds to the votes: ``moved`` in all.

        Returns:
            Labels such as ``more of genre:Drama``, and float32 ``[len(labels), n_items]``.
        """
        pull = self._pull[[self._row[user_idx]]]
        labels = [f"{'more' if value > 0 else 'less'} of {named(self._keys[key])}"
                  for key, value in zip(pull.indices, pull.data, strict=True)]  # fmt: skip
        scale = sp.diags_array(self.dial * pull.data)
        return tuple(labels), sp.csr_array(scale @ self._columns[pull.indices], dtype=np.float32)

    def because(self, user_idx: int, item: int) -> list[tuple[str, float]]:
        """Return the concepts whose edits move an item for a user, with what they add, the strongest first."""
        row = self._row[user_idx]
        pull = self._pull[[row]].toarray()[0] * self._columns[:, [item]].toarray()[:, 0] * self.dial  # [n_keys]
        order = np.argsort(-np.abs(pull), kind="stable")
        return [(self._keys[place], float(pull[place])) for place in order if pull[place]]

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``."""
        scores = self.ranker.score(query)
        pull = [row for row, user in enumerate(query.user_idx) if self._changes(int(user))]
        if not pull:
            return scores
        scores = np.array(scores, dtype=np.float32)
        chosen = query.take(np.array(pull))
        votes = rank_votes(self._told(scores[pull], chosen), chosen.histories.matrix())
        for place, row in enumerate(pull):
            user = int(query.user_idx[row])
            moved = votes[place] + self.moved(user)
            moved[self.banned(user)] -= np.ptp(moved) + 1.0
            scores[row] = moved
        return scores

    def _changes(self, user: int) -> bool:
        row = self._row.get(user)
        return row is not None and (
            self._pull.indptr[row] < self._pull.indptr[row + 1] or self._banned[row] is not None
        )

    def _told(self, scores: np.ndarray, query: Query) -> np.ndarray:
        """Return the scores, with the fallback's where there is no history and the ranker likes all items the same."""
        blank = query.undecided(scores)
        return np.where(blank[:, None], self.fallback, scores) if self.fallback is not None and blank.any() else scores


class ProfileMatch:
    """Ranks by the profile alone: how well items match its statements, its interests, or both.

    Statements: ``sum of sign * weight * membership * strength``. Interests: the largest cosine of the item's text with
    the mean text of an interest's examples, or of what statements rest on where a profile has no interests. Both:
    statements plus twice interests. Items of forbidden concepts come last.

    Weights say how far, in log odds, somebody's taste lies from what popularity gives. So with log popularity as the
    prior the sum is the log of what the profile expects to be taken; without it, it is what the profile alone says.

    Args:
        profiles: by user row number; of users without one nothing is said (but the prior).
        matcher: what statements mean.
        by: what is matched.
        prior: added to each user's scores, such as ``log(counts + 0.5)``, ``[n_items]``.
        items: the item vocabulary; needed for interests.
        rows: text vectors as ``ItemFeatures.unit`` gives them, ``[n_items, dim]``; needed for interests.

    Raises:
        DataError: interests are to be matched, and there are no vectors.
    """

    def __init__(
        self,
        profiles: Mapping[int, UserProfile],
        matcher: Matcher,
        by: By = "statements",
        *,
        prior: np.ndarray | None = None,
        items: Vocabulary | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        self.by, self._row, known = by, {user: row for row, user in enumerate(profiles)}, list(profiles.values())
        if by != "statements" and (items is None or rows is None):
            raise DataError("profile match by interests", "needs items with an encoded text", "Set items.text.")
        self._prior = np.zeros(len(matcher.table), np.float32) if prior is None else np.asarray(prior, np.float32)
        if by != "interests":
            keys = statement_keys(known)
            self._weights = signed_weights(known, keys)  # [n_profiles, n_keys]
            self._columns = matcher.columns(keys).T.tocsr()  # [n_keys, n_items]
        if by != "statements":
            self._rows = rows
            self._centres = [_centres(profile, items, rows) for profile in known]
        never = {row: matcher.meant(Edited(one, one).forbidden) for row, one in enumerate(known)}
        self._banned = {row: mask for row, mask in never.items() if mask.any()}

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``."""
        result = np.tile(self._prior, (len(query), 1))  # [n_queries, n_items]
        found = np.array([self._row.get(int(user), -1) for user in query.user_idx], dtype=np.int64)
        there, rows = np.flatnonzero(found >= 0), found[found >= 0]
        if self.by != "interests":
            result[there] += (self._weights[rows] @ self._columns).toarray()
        if self.by != "statements":
            result[there] += self._likeness(rows) * (1.0 if self.by == "interests" else BESIDE)
        for place, row in zip(there, rows, strict=True):
            if row in self._banned:
                result[place, self._banned[row]] = result[place].min() - 1.0
        return result

    def _likeness(self, rows: np.ndarray) -> np.ndarray:
        """Return the largest cosine over a profile's interests, float32 ``[n, n_items]``; 0 without any."""
        result = np.zeros((len(rows), len(self._prior)), dtype=np.float32)
        counts = np.array([len(self._centres[row]) for row in rows])
        some = np.flatnonzero(counts)
        if len(some):
            every = (
                np.concatenate([self._centres[rows[place]] for place in some]) @ self._rows.T
            )  # [n_centres, n_items]
            starts = np.concatenate([[0], np.cumsum(counts[some])[:-1]])
            result[some] = np.maximum.reduceat(every, starts, axis=0)
        return result


def _centres(profile: UserProfile, items: Vocabulary, rows: np.ndarray) -> np.ndarray:
    """Return the mean text of each interest, of length 1, float32 ``[n_interests, dim]``."""
    groups = [one.examples for one in profile.interests]
    groups = groups or [tuple(each for one in profile.statements if one.polarity == "like" for each in one.evidence)]
    means = []
    for group in groups:
        found = items.index(dict.fromkeys(each.item_id for each in group))
        means.append(rows[found[found >= 0]].sum(axis=0))
    lengths = [float(np.linalg.norm(mean)) for mean in means]
    kept = [mean / length for mean, length in zip(means, lengths, strict=True) if length > 0]
    return np.array(kept, dtype=np.float32).reshape(-1, rows.shape[1])
