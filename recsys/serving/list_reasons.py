"""What besides the history puts an item where it stands: edits of the profile, diversity, and that it is new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from recsys.serving.fresh import FreshItem, FreshItems
from recsys.serving.person import Steering
from recsys.serving.reasons import Reason

Titles = Callable[[int], str]
NAMED = 3  # edits that a reason names at most


def edit_shares(
    steering: Steering, items: np.ndarray, values: np.ndarray, fresh: FreshItems, stretch: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ranker's share in each score and the edits' own, negative where they take away, each ``[n]``.

    Args:
        steering: what edits add to the ranker's votes.
        items: numbers, new ones included, ``[n]``.
        values: scores that the list is ordered by, ``[n]``.
        fresh: the new items; they take what edits add to their neighbours.
        stretch: of their scores (``FreshItems.extended``).
    """
    moved = np.array(fresh.extended(steering.moved[None], stretch)[0, items], dtype=np.float64)
    moved[np.isin(items, fresh.unplaced)] = 0.0
    votes = np.maximum(values - moved, 0.0)
    total = votes + np.maximum(moved, 0.0)
    total = np.where(total > 0, total, 1.0)
    return votes / total, moved / total


def edit_reasons(
    steering: Steering, items: np.ndarray, shares: np.ndarray, was: np.ndarray, now: np.ndarray, fresh: FreshItems
) -> list[tuple[Reason, ...]]:
    """Return for each item what the edits did to it; nothing where they add nothing to its score.

    Args:
        steering: the edits.
        items: numbers, new ones included, ``[n]``.
        shares: of the edits in each score, ``[n]``.
        was, now: places without and with the edits, from 1, ``[n]``.
        fresh: the new items.
    """
    found = []
    for item, share, old, new in zip(items.tolist(), shares.tolist(), was.tolist(), now.tolist(), strict=True):
        trained = item < fresh.n_items
        columns = np.array([item]) if trained else fresh.items[item - fresh.n_items].neighbours
        names = [f"“{label}”" for label in steering.asked(columns)[:NAMED]] if share else []
        if not share:
            found.append(())
            continue
        who = f"your edit{'s' if len(names) != 1 else ''} {' and '.join(names)}".rstrip()
        verb = ("keep" if old == new else "move") + ("s" if len(names) == 1 else "")
        where = f"it at {new}" if old == new else f"it from {old} to {new}"
        part = f" ({share:.0%})" if trained else ""
        found.append((Reason(f"{who} {verb} {where}{part}", None, share if trained else None, "edit"),))
    return found


def diversity_reasons(items: np.ndarray, order: np.ndarray, titles: Titles) -> Iterator[tuple[Reason, ...]]:
    """Yield for each place of a list what diversity did there; nothing where it changed nothing.

    Args:
        items: what was chosen from, best first, ``[n]``.
        order: places of the chosen among them, in the order of the list, ``[k]``.
        titles: of items, by number.
    """
    chosen: set[int] = set()
    first = 0  # the best that is not chosen yet
    for place, which in enumerate(order.tolist()):
        if which > first:  # of greater relevance, and so left for its likeness alone
            text = f"diversity chose it over {titles(int(items[first]))}, which is more like those above"
            yield (Reason(f"{text} ({which + 1} to {place + 1})", kind="diversity"),)
        elif which < place:
            yield (Reason(f"diversity moves it from {which + 1} to {place + 1}", kind="diversity"),)
        else:
            yield ()
        chosen.add(which)
        while first in chosen:
            first += 1


def new_reason(item: FreshItem, stretch: float, titles: Titles) -> Reason:
    """Return how a new item is placed."""
    near = " and ".join(titles(int(one)) for one in item.neighbours[:2])
    if not near:
        return Reason("new; nothing is known of it, so it comes last", kind="new")
    far = f", {stretch:.3g} times as far from the mean" if stretch != 1 else ""
    return Reason(f"new; reads or looks like {near}, and is scored as its like{far}", kind="new")


def closed_reasons(
    item: int, steering: Steering | None, fresh: FreshItems, asked: Sequence[str] = ()
) -> tuple[Reason, ...]:
    """Return why an item that the user does not know is in no list of this kind.

    Args:
        item: its number.
        steering: the edits of the user's profile.
        fresh: the new items.
        asked: what was asked for that leaves it out (``Offered.excluding``).
    """
    causes = []
    if steering is not None and item in steering.never:
        causes.append(f"not shown: you forbid {' and '.join(steering.banned_by(item)) or 'it'}")
    if item in fresh.closed:
        causes.append("not shown: it was taken out of the catalogue")
    if asked or not causes:
        causes.append("left out: you asked " + " and ".join(asked) if asked else "left out by what was asked for")
    return tuple(Reason(cause, kind="closed") for cause in causes)
