"""What edits of a profile do to somebody's list: what came, what went, what moved, and which statement did it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from recsys.console import columns
from recsys.profiles.matching import SAID, Matcher
from recsys.profiles.schema import UserProfile
from recsys.profiles.steering import DIAL, Edited, Steered
from recsys.serving.recommender import Recommendation, Recommender

NEWCOMER = -1


@dataclass(frozen=True)
class Line:
    """An item of the list before or after.

    Attributes:
        item_id, title: of the item.
        place, was: its place now and before, from 1; none where it is not in that list.
        because: the edited concepts that move it, the strongest first; those it is forbidden by.
    """

    item_id: str
    title: str
    place: int | None
    was: int | None
    because: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changed:
    """A list before and after an edit.

    Attributes:
        ranker: whose list it is.
        now: the list as it is, best first.
        went: what is in it no longer, in its old order.
    """

    ranker: str
    now: tuple[Line, ...]
    went: tuple[Line, ...]

    @property
    def came(self) -> int:
        """How many items are new."""
        return sum(line.was is None for line in self.now)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the lists as aligned text."""
        moved = sum(line.was not in (None, line.place) for line in self.now)
        if not self.came and not self.went and not moved:
            return f"The top {len(self.now)} of {self.ranker} stay as they are."
        head = f"Top {len(self.now)} of {self.ranker}: {self.came} came, {len(self.went)} went, {moved} moved"
        rows = [
            {
                "": "" if line.place is None else f"{line.place}.",
                "was": "new" if line.was is None else "" if line.was == line.place else f"{line.was}.",
                "because of": ", ".join(line.because),
                "title": line.title,
            }
            for line in self.now
        ]
        gone = [
            {"": "out", "was": f"{line.was}.", "because of": ", ".join(line.because), "title": line.title}
            for line in self.went
        ]
        return f"{head}\n{columns([*rows, *gone])}"


@dataclass(frozen=True)
class Lists:
    """Lists of one person that follow the person's profile.

    Attributes:
        model: answers for a trained ranker.
        name: of that ranker.
        matcher: what statements mean.
        dial: how far edits move lists.
        user_id: whose lists; none: somebody new, with a history.
        history: ids or titles that somebody new took, oldest first.
    """

    model: Recommender
    name: str
    matcher: Matcher
    dial: float = DIAL
    user_id: str | None = None
    history: Sequence[str] = field(default_factory=tuple)

    def of(self, profile: UserProfile, built: UserProfile, k: int) -> list[Recommendation]:
        """Return the top ``k`` under a profile, which was built as ``built``."""
        row, steered = self._steered(profile, built)
        never = [self.model.dataset.items[item] for item in steered.banned(row)]
        answering = Recommender(self.model.dataset, steered, self.model.known, trained=self.model.trained)
        who = {"user": self.user_id} if self.user_id is not None else {"history": list(self.history)}
        return answering.recommend(**who, k=k, exclude=never, reasons=False)

    def change(self, before: UserProfile, after: UserProfile, built: UserProfile, k: int) -> Changed:
        """Return what the step from ``before`` to ``after`` does to the top ``k``."""
        old, new = self.of(before, built, k), self.of(after, built, k)
        places = {one.item_id: place for place, one in enumerate(old, 1)}
        kept = {one.item_id for one in new}
        row, step = self._steered(after, before)
        forbidden = {key: self.matcher.meant([key]) for key in Edited(before, after).forbidden}

        def line(one: Recommendation, place: int | None) -> Line:
            item = int(self.model.dataset.items.index([one.item_id])[0])
            moved = [f"{_short(key)} {amount:+.1f}" for key, amount in step.because(row, item)]
            never = [f"{_short(key)} forbidden" for key, mask in forbidden.items() if mask[item]]
            return Line(one.item_id, one.title, place, places.get(one.item_id), tuple(never or moved[:2]))

        return Changed(
            self.name,
            tuple(line(one, place) for place, one in enumerate(new, 1)),
            tuple(line(one, None) for one in old if one.item_id not in kept),
        )

    def _steered(self, profile: UserProfile, built: UserProfile) -> tuple[int, Steered]:
        """Return the ranker steered for this person, whether it knows the person or not, and a row to ask it by."""
        rows = {NEWCOMER: Edited(built, profile)}
        if self.user_id is not None and self.user_id in self.model.dataset.users:
            rows[int(self.model.dataset.users.index([self.user_id])[0])] = rows[NEWCOMER]
        popular = self.model.known.item_counts.astype("float32")
        return NEWCOMER, Steered(self.model.ranker, rows, self.matcher, self.dial, popular)


def _short(key: str) -> str:
    return f"“{key.removeprefix(SAID)}”" if key.startswith(SAID) else key
