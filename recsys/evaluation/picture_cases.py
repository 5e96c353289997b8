"""Whose pictures are judged, of which items, drawn in which ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import Interactions, Split

TASTE = ("keywords", "soft", "history")


class JudgeSettings(Settings):
    """Section ``[judge]``: whose pictures are drawn, in which ways, and who judges."""

    part: Literal["valid", "test"] = Field("test", description="Whose likes and items judge; settings are for valid.")
    users: int = Field(200, ge=2, description="Users at most, drawn among those who can be judged by.")
    items: int = Field(3, ge=1, description="Items a user, drawn among test items that the user never took.")
    pictures: int = Field(1, ge=1, description="Pictures of each pair and way.")
    dial: float = Field(0.5, ge=0, le=1, description="That the ways are compared at.")
    dials: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0, 0.25, 0.5, 0.75, 1.0), description="That are swept, the first item alone."
    )
    without: tuple[str, ...] = Field(TASTE, description="Conditions left out in turn, the first item alone.")
    candidates: int = Field(0, ge=0, description="Of which one is chosen, in two ways more; 0: not measured.")
    liked: float = Field(4.0, description="From this rating on an item is liked; all are where there are no ratings.")
    least: int = Field(5, ge=1, description="Liked test items with pictures that a user must have.")
    known: int = Field(10, ge=1, description="Liked train items with pictures that a user must have.")
    encoder: str = Field("efficientnet2", description="That judges; it must be another than the one that chooses.")
    options: dict[str, Any] = Field({}, description="Settings of that encoder.")
    seed: int = Field(0, ge=0, description="Of users, items, and who is whose other.")


@dataclass(frozen=True)
class Way:
    """One way to draw all pairs.

    Attributes:
        name: as tables have it.
        whose: taste: ``"own"``, ``"another"``, ``"nobody"``.
        dial: see ``JudgeSettings``.
        without: a condition that is left out.
        candidates: of which the best are kept; 0: as they were drawn.
        first: of each user the first item alone.
    """

    name: str
    whose: str
    dial: float
    without: str = ""
    candidates: int = 0
    first: bool = False


def ways(settings: JudgeSettings, without: Sequence[str]) -> list[Way]:
    """Return all ways that these settings ask for, those that everything is compared with first."""
    dial, dials = settings.dial, sorted({*settings.dials, *([settings.dial] if without else [])})
    found = [Way(name, name, dial) for name in ("nobody", "own", "another")]
    found += [Way(f"own at {value:g}", "own", value, first=True) for value in dials]
    if settings.dials:
        found.append(Way(f"nobody at {max(dials):g}", "nobody", max(dials), first=True))
    found += [Way(f"own without {name}", "own", dial, without=name, first=True) for name in without]
    if settings.candidates:
        chosen = [(whose, f"{whose}, chosen") for whose in ("own", "another")]
        found += [Way(name, whose, dial, candidates=settings.candidates) for whose, name in chosen]
    return found


@dataclass(frozen=True)
class Cases:
    """Who and what is judged.

    Attributes:
        users: row numbers, int64 ``[n]``.
        others: for each, whose taste is the wrong one, ``[n]``.
        targets: rows of items, ``[n, items]``.
        liked: for each user the rows of liked test items with pictures.
        known: the same of train.
    """

    users: np.ndarray
    others: np.ndarray
    targets: np.ndarray
    liked: Sequence[np.ndarray]
    known: Sequence[np.ndarray]

    @classmethod
    def of(cls, split: Split, settings: JudgeSettings, pictured: np.ndarray) -> Cases:
        """Draw them.

        Args:
            split: pictures are made from what train tells, and judged by test.
            settings: see there.
            pictured: which items have pictures, bool ``[n_items]``.

        Raises:
            DataError: fewer than two users can be judged by.
        """
        judged = split.test if settings.part == "test" else split.valid
        known, liked = (_liked(part, settings.liked, pictured) for part in (split.train, judged))
        may = [u for u in liked if len(liked[u]) >= settings.least and len(known.get(u, ())) >= settings.known]
        rng = Run(settings.seed).rng("judge")
        users = rng.permutation(np.array(sorted(may), dtype=np.int64))[: settings.users]
        if len(users) < 2:
            wanted = f"{settings.least} {settings.part} and {settings.known} train items"
            cause = (
                f"{'only one user likes' if len(users) else 'no users like'} {wanted} with pictures, and two are needed"
            )
            remedy = "Lower judge.least or judge.known, or take a data set with pictures: split.kind=item_parts."
            raise DataError("judge", cause, remedy)
        order = rng.permutation(len(users))
        others = np.empty_like(users)
        others[order] = users[np.roll(order, 1)]
        held_out = np.flatnonzero((judged.item_counts > 0) & (split.train.item_counts == 0) & pictured)
        took = split.dataset.interactions
        targets = [_targets(held_out, took.item_idx[took.user_idx == u], settings.items, rng) for u in users]
        return cls(users, others, np.array(targets), [liked[u] for u in users], [known[u] for u in users])


def _liked(part: Interactions, rating: float, pictured: np.ndarray) -> dict[int, np.ndarray]:
    good = pictured[part.item_idx] & (True if part.rating is None else part.rating >= rating)
    users, items = part.user_idx[good], part.item_idx[good]
    order = np.lexsort((items, users))
    names, starts = np.unique(users[order], return_index=True)
    if not len(names):
        return {}
    return dict(zip(names.tolist(), np.split(items[order].astype(np.int64), starts[1:]), strict=True))


def _targets(held_out: np.ndarray, taken: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    free = np.setdiff1d(held_out, taken)
    if len(free) < n:
        cause = f"{len(free)} items with pictures are in that part alone, and {n} a user are needed"
        raise DataError("judge", cause, "Choose a split that takes whole items out: split.kind=item_parts.")
    return rng.choice(free, n, replace=False)
