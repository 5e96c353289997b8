"""Telling words of titles and texts. What items say is untrusted: only single plain words of many items count."""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.runtime import Run
from recsys.profiles.concepts import Concept, Concepts, ItemWorld
from recsys.profiles.matching import FILLERS, singular
from recsys.profiles.stopwords import STOP

WORD = re.compile(r"[a-z]{3,24}")
MARKUP = re.compile(r"<[^<>]{0,500}>|&#?\w{1,10};|\S*(?:://|www\.)\S*|\S*@\S*")


class TermsSettings(Settings):
    """Which words count."""

    least: int = Field(20, ge=2, description="Items that must have the word.")
    least_share: float = Field(0.003, ge=0, lt=1, description="And the share of items that must.")
    most: float = Field(0.1, gt=0, le=1, description="Share of items that may have it at most.")
    words: int = Field(150, ge=0, description="Words at most: those that users differ in most.")


class Terms:
    """Single words that many items have and that divide users: some take far more items with them than others do."""

    Settings: ClassVar[type[Settings]] = TermsSettings

    def __init__(self, settings: TermsSettings | None = None) -> None:
        self.settings = settings or TermsSettings()

    def find(self, world: ItemWorld, *, run: Run) -> Concepts:
        told = _attribute_words(world)
        rows = [
            {word for word in _words(title, text) if word not in told}
            for title, text in world.table.select("title", "text").iter_rows()
        ]
        counts: dict[str, int] = {}
        for row in rows:
            for word in row:
                counts[word] = counts.get(word, 0) + 1
        least = max(self.settings.least, self.settings.least_share * len(rows))
        names = sorted(word for word, count in counts.items() if least <= count <= self.settings.most * len(rows))
        place = {word: column for column, word in enumerate(names)}
        pairs = [(item, place[word]) for item, row in enumerate(rows) for word in row if word in place]
        item, column = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        members = sp.csc_array((np.ones(len(item), np.float32), (item, column)), shape=(len(rows), len(names)))
        kept = np.sort(np.argsort(-division(world, members), kind="stable")[: self.settings.words])
        concepts = tuple(
            Concept(f"term:{names[one]}", f"items about “{names[one]}”", "text", names[one]) for one in kept
        )
        return Concepts(concepts, sp.csc_array(members[:, kept]))


def division(world: ItemWorld, members: sp.csc_array) -> np.ndarray:
    """Return how much users differ in taking each concept's items: Pearson's chi², a user, float64 ``[n_concepts]``.

    About 1 where all take them as often as popularity says.
    """
    taken = world.train.matrix
    counts = taken.sum(axis=1)[:, None]
    share = (world.train.item_counts @ members) / max(world.train.item_counts.sum(), 1)
    expected = counts * share[None, :]
    spread = np.maximum(expected * (1 - share[None, :]), 1e-9)
    squares = ((taken @ members).toarray() - expected) ** 2 / spread
    return np.where(share > 0, squares[counts[:, 0] > 0].mean(axis=0), 0.0) if counts.any() else np.zeros(len(share))


def _words(title: str | None, text: str | None) -> set[str]:
    plain = MARKUP.sub(" ", f"{title or ''} {text or ''}".lower())
    split = re.sub(r"['’]s\b", " ", plain)
    found = {singular(word) for word in re.split(r"[^\w]+", split) if WORD.fullmatch(word) and word not in STOP}
    return {word for word in found if len(word) > 2 and word not in STOP and word not in FILLERS}


def _attribute_words(world: ItemWorld) -> set[str]:
    """Return the words of attributes: texts often tell them again, and they are concepts already."""
    told = {one for row in world.table["attributes"].to_list() for one in row or ()}
    return {singular(word) for one in told for word in re.findall(r"[a-z]+", one.lower())}
