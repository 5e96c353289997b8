"""What a list depends on, of one person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

NOTHING = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Steering:
    """What edits of a profile do to a list.

    Attributes:
        moved: what they add to rank votes (``profiles.steering.Steered``), float32 ``[n_items]``.
        never: items that the profile forbids, row numbers.
        labels: what each edited concept asks for, such as ``more of genre:Drama``.
        parts: what each of these adds, ``[len(labels), n_items]``, ``moved`` in all; none: not known apart.
        bans: names of what is forbidden, and the items of each, row numbers; ``never`` in all.
    """

    moved: np.ndarray
    never: np.ndarray = field(default_factory=lambda: NOTHING)
    labels: tuple[str, ...] = ()
    parts: sp.csr_array | None = None
    bans: Mapping[str, np.ndarray] = field(default_factory=dict)

    def asked(self, items: np.ndarray) -> list[str]:
        """Return the labels that move any of ``items``, the strongest first."""
        if self.parts is None:
            return []
        pull = np.abs(np.asarray(self.parts[:, items].sum(axis=1)).ravel())  # all parts of a row have one sign
        return [self.labels[row] for row in np.argsort(-pull, kind="stable") if pull[row]]

    def banned_by(self, item: int) -> list[str]:
        """Return the names of what forbids an item."""
        return [name for name, items in self.bans.items() if item in items]


@dataclass(frozen=True)
class Person:
    """What a list depends on, of one person.

    Attributes:
        history: items that speak for a taste, row numbers, oldest first.
        seen: items that are not shown again, new ones included.
        disliked: trained items that speak against it.
        row: number of the user in the data; -1: a new user.
        changed: the history is no longer that of the data, so that it says more than a trained vector of the user.
        steering: of the edited profile, if there is one.
        sources: for each entry of ``history`` the item that was taken, new ones included: a liked new item counts as
            the trained items that it is like; none: the entries themselves.
    """

    history: np.ndarray
    seen: np.ndarray
    disliked: np.ndarray = field(default_factory=lambda: NOTHING)
    row: int = -1
    changed: bool = False
    steering: Steering | None = None
    sources: np.ndarray | None = None

    @property
    def taken(self) -> np.ndarray:
        """The item that each entry of ``history`` comes from, int64 ``[len(history)]``."""
        return self.history if self.sources is None else self.sources

    def without(self, item: int) -> Person:
        """Return the person whose history lacks an item, and to whom it is still not shown."""
        kept = self.taken != item
        sources = None if self.sources is None else self.sources[kept]
        return replace(self, history=self.history[kept], sources=sources, changed=True)
