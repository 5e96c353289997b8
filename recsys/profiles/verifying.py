"""Whether the statements of a profile are borne out by what they cite."""

from __future__ import annotations

import numpy as np

from recsys.core.errors import DataError
from recsys.profiles.builder import ProfileBuilder
from recsys.profiles.history import History
from recsys.profiles.matching import SAID
from recsys.profiles.schema import Statement, Support, UserProfile
from recsys.profiles.statistics import wilson

NEAR = 2e-4  # numbers of a profile are rounded


def verify(profile: UserProfile, builder: ProfileBuilder, history: History | None = None) -> list[str]:
    """Return the ids of the statements that are not borne out; what a person said needs no proof.

    A statement must cite distinct items of the catalogue that have its concept, as many as its numbers say or as a
    profile cites at most; its interval and its expectation are worked out again; its interval must lie on the side
    that it claims.

    Args:
        profile: of the builder, reworded or edited since or not.
        builder: fitted on the same train interactions.
        history: what the profile was built from; with it all numbers and cited items are compared with the history.

    Raises:
        DataError: the profile was built from other data.
    """
    train = builder.world.train.digest
    if profile.origin.data != train:
        cause = f"was built from train interactions {profile.origin.data[:12]}, and these are {train[:12]}"
        raise DataError(f"profile of user {profile.user_id!r}", cause, "Build the profile anew.")
    check = _Check(builder, profile.origin.history, history)
    claims = [one for one in profile.statements if one.modality != "user-stated" and not one.concept.startswith(SAID)]
    return [one.id for one in claims if not check.holds(one)]


class _Check:
    def __init__(self, builder: ProfileBuilder, n: int, history: History | None) -> None:
        self.builder, self.n, self.history = builder, n, history
        self.row = {item_id: row for row, item_id in enumerate(builder.ids)}
        self.measured: dict[tuple[str, str, str], Support] = {}
        if history is not None and len(history):
            contrasts, has = builder.contrasts, builder.contrasts.holding(history)
            for one in [*contrasts.shares(history, has), *contrasts.ratings(history, has)]:
                key = (builder.concepts.all[one.column].key, one.polarity, one.support.kind)
                self.measured[key] = one.support

    def holds(self, one: Statement) -> bool:
        support = one.support
        if support is None or one.concept not in self.builder.concepts.place or not self._cites(one, support):
            return False
        recomputed = self._share(one, support) if support.kind == "share" else self._rating(one, support)
        if self.history is None:
            return recomputed
        found = self.measured.get((one.concept, one.polarity, support.kind))
        return recomputed and found is not None and _close(found, support) and self._taken(one)

    def _cites(self, one: Statement, support: Support) -> bool:
        items = {each.item_id for each in one.evidence}
        having = self.builder.concepts.items(one.concept)
        enough = len(items) == len(one.evidence) == min(support.n_with, self.builder.settings.evidence)
        return bool(items) and enough and np.isin([self.row.get(item, -1) for item in items], having).all()

    def _share(self, one: Statement, support: Support) -> bool:
        if one.polarity != "like" or support.n != self.n or not 0 < support.n_with <= support.n:
            return False
        low, high = wilson(np.array([support.n_with], dtype=float), support.n)
        column = self.builder.concepts.place[one.concept]
        numbers = {
            "observed": support.n_with / support.n,
            "expected": float(self.builder.contrasts.expected(support.n)[column]),
            "low": float(low[0]),
            "high": float(high[0]),
        }
        same = all(abs(getattr(support, name) - value) <= NEAR for name, value in numbers.items())
        return same and support.low >= self.builder.settings.contrast.lift * support.expected - NEAR

    def _rating(self, one: Statement, support: Support) -> bool:
        if not (support.low <= support.observed <= support.high and 0 < support.n_with <= support.n <= self.n):
            return False
        return support.low > support.expected if one.polarity == "like" else support.high < support.expected

    def _taken(self, one: Statement) -> bool:
        history = self.history
        assert history is not None
        dates = {self.builder.ids[item]: history.date(place) for place, item in enumerate(history.items)}
        return all(each.item_id in dates and dates[each.item_id] == each.date for each in one.evidence)


def _close(one: Support, other: Support) -> bool:
    exact = (one.n, one.n_with) == (other.n, other.n_with)
    return exact and all(
        abs(getattr(one, name) - getattr(other, name)) <= NEAR for name in ("observed", "expected", "low", "high")
    )
