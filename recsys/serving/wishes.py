"""What an engine is asked, and what it answers: a wish for a list, its lines, and why one of them is there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recsys.serving.people import Person
from recsys.serving.recommender import Reason, Recommendation


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
    """Where an item would stand if the history lacked one of its items.

    Attributes:
        item_id, title: what is left out.
        share: its part of the score, from 0 to 1, where the ranker can say it exactly; else none.
        place: of the explained item without it, from 1.
    """

    item_id: str
    title: str
    share: float | None
    place: int


@dataclass(frozen=True)
class Why:
    """Why an item stands where it stands.

    Attributes:
        place: among all items that may be shown, from 1.
        exact: the score is a sum over the history, so that shares and places are exact; else places are the ranker's
            answer to a shorter history of somebody whom it does not know.
        without: the strongest items of the history, left out in turn.
        reasons: in words.
    """

    place: int
    exact: bool
    without: tuple[Counterfactual, ...]
    reasons: tuple[Reason, ...]
