"""Concepts: what can be liked, each with a name that people read and the items that have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys.core.config import Settings
from recsys.core.runtime import Run
from recsys.core.values import Interactions, ItemFeatures
from recsys.profiles.schema import Modality


@dataclass(frozen=True)
class ItemWorld:
    """What is known of the items when concepts are made.

    Attributes:
        table: one row an item in vocabulary order, columns of ``ITEM_SCHEMA``.
        features: item vectors by modality.
        train: train interactions; nothing of validation or test is at hand here.
    """

    table: pl.DataFrame
    features: ItemFeatures
    train: Interactions


@dataclass(frozen=True)
class Concept:
    """One thing that can be liked.

    Attributes:
        key: unique, ``kind:value``.
        phrase: how a sentence names its items, such as ``dramas`` or ``posters like that of Alien``.
        modality: where it comes from.
        words: short, for names of interests and for searches, such as ``drama``; empty where there are none.
    """

    key: str
    phrase: str
    modality: Modality
    words: str = ""

    @property
    def kind(self) -> str:
        """The part of the key before the colon."""
        return self.key.partition(":")[0]


@dataclass(frozen=True)
class Concepts:
    """Concepts and who has them.

    Attributes:
        all: the concepts.
        members: binary float32 ``[n_items, n_concepts]``.
    """

    all: tuple[Concept, ...]
    members: sp.csc_array

    def __len__(self) -> int:
        return len(self.all)

    @cached_property
    def place(self) -> dict[str, int]:
        """The column of each key."""
        return {concept.key: column for column, concept in enumerate(self.all)}

    def items(self, key: str) -> np.ndarray:
        """Return the items that have it, int64; none for a key that is unknown."""
        if key not in self.place:
            return np.zeros(0, dtype=np.int64)
        column = self.place[key]
        return self.members.indices[self.members.indptr[column] : self.members.indptr[column + 1]].astype(np.int64)

    @classmethod
    def joined(cls, parts: Sequence[Concepts], n_items: int) -> Concepts:
        """Put concepts of several sources together; of concepts with the same key the first stays."""
        kept, columns = {}, []
        for part in parts:
            for column, concept in enumerate(part.all):
                if concept.key not in kept:
                    kept[concept.key] = concept
                    columns.append(part.members[:, [column]])
        members = sp.hstack(columns, format="csc") if columns else sp.csc_array((n_items, 0), dtype=np.float32)
        return cls(tuple(kept.values()), sp.csc_array(members, dtype=np.float32))


def columns_of(found: Sequence[tuple[Concept, Sequence[int]]], n_items: int) -> Concepts:
    """Return concepts, each given with the row numbers of its items."""
    rows = [np.unique(np.asarray(items, dtype=np.int64)) for _, items in found]
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in rows])]).astype(np.int64)
    indices = np.concatenate([*rows, np.zeros(0, dtype=np.int64)])
    ones = np.ones(len(indices), dtype=np.float32)
    members = sp.csc_array((ones, indices, indptr), shape=(n_items, len(found)))
    return Concepts(tuple(concept for concept, _ in found), members)


class ConceptSource(Protocol):
    """One way of finding concepts: a file in ``profiles/sources``, made as ``Plugin(settings)``."""

    Settings: ClassVar[type[Settings]]
    settings: Settings

    def find(self, world: ItemWorld, *, run: Run) -> Concepts:
        """Return its concepts; none where the data have nothing of its kind."""
        ...
