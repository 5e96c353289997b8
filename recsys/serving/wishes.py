"""What an engine is asked, and what it answers: a wish for a list, its lines, and why one of them is there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recsys.serving.person import Person
from recsys.serving.reasons import Reason
from recsys.serving.recommender import Recommendation


@dataclass(frozen=True)
class Wish:
    """A list that somebody asks for.

    Attributes:
        person: for whom.
        k: length.
        allowed: items that may be shown, bool ``[n_items + n_fresh]``; none: all.
        diversity: 0: the ranker's order; towards 1 the next item is rather unlike those before it.
        reasons: say why.
    """

    person: Person
    k: int = 20
    allowed: np.ndarray | None = field(default=None, compare=False)
    diversity: float = 0.0
    reasons: bool = True


@dataclass(slots=True)  # not frozen, as its kind
class Line(Recommendation):
    """An item of a list; ``fresh``: it came after training."""

    fresh: bool = False


@dataclass(frozen=True)
class Counterfactual:
    """Where an item would stand if the history lacked one of the items that were taken.

    Attributes:
        item_id, title: what is left out.
        share: its part of all that speaks for the item, from 0 to 1; none where the score is not a sum.
        place: of the explained item in the list that would be given then, from 1; none: not in it.
    """

    item_id: str
    title: str
    share: float | None
    place: int | None


@dataclass(frozen=True)
class Why:
    """Why an item stands where it stands.

    Attributes:
        place: in the list that is given, from 1; none: it is left out, or beyond the end of a list with diversity.
        exact: the score is a sum over what was taken and disliked, and nothing else places the item: no edits, no
            diversity, no index, no trained vector of the user, and it is not new. Then shares are parts of the score.
            Places are always those of the lists that would be given.
        without: the strongest of what was taken, left out in turn.
        without_edits: where it would stand if the profile were not edited; none: it is not edited, or in no place.
        reasons: in words.
    """

    place: int | None
    exact: bool
    without: tuple[Counterfactual, ...]
    without_edits: int | None
    reasons: tuple[Reason, ...]
