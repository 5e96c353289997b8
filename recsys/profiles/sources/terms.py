"""Telling words of titles and texts. What items say is untrusted: only single plain words of many items count."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
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
    words: int = Field(150, ge=0, description="Words at most: those that tell most (see ``telling``).")


class Terms:
    """Single words that many items have, that divide users, and whose items are about the same things."""

    Settings: ClassVar[type[Settings]] = TermsSettings

    def __init__(self, settings: TermsSettings | None = None) -> None:
        self.settings = settings or TermsSettings()

    def find(self, world: ItemWorld, *, run: Run) -> Concepts:
        told = _attribute_words(world)
        rows = [
            {stem: word for stem, word in _words(title, text).items() if stem not in told}
            for title, text in world.table.select("title", "text").iter_rows()
        ]
        forms: dict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            for stem, word in row.items():
                forms[stem][word] += 1
        least = max(self.settings.least, self.settings.least_share * len(rows))
        stems = sorted(stem for stem, form in forms.items() if least <= form.total() <= self.settings.most * len(rows))
        place = {stem: column for column, stem in enumerate(stems)}
        pairs = [(item, place[stem]) for item, row in enumerate(rows) for stem in row if stem in place]
        item, column = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        members = sp.csc_array((np.ones(len(item), np.float32), (item, column)), shape=(len(rows), len(stems)))
        kept = np.sort(np.argsort(-telling(world, members), kind="stable")[: self.settings.words])
        words = [min(forms[stems[one]].items(), key=lambda form: (-form[1], form[0]))[0] for one in kept]
        concepts = tuple(Concept(f"term:{word}", f"items about “{word}”", "text", word) for word in words)
        return Concepts(concepts, sp.csc_array(members[:, kept]))


def telling(world: ItemWorld, members: sp.csc_array) -> np.ndarray:
    """Return how much each word tells, float64 ``[n_words]``: how far it divides users, times how like its items are.

    Args:
        world: items and train.
        members: ``[n_items, n_words]``.

    Without text vectors all items are as like as others.
    """
    division = _division(world, members)
    if "text" not in world.features or not members.shape[1]:
        return division
    there = np.flatnonzero(world.features.present("text"))
    rows, member = world.features.unit("text")[there], members.tocsr()[there]
    n = np.maximum(np.asarray(member.sum(axis=0)).ravel(), 2.0)
    means = np.asarray(member.T @ rows) / n[:, None]
    cosine = ((means**2).sum(axis=1) * n - 1) / (n - 1)  # mean of all pairs
    return division * np.maximum(cosine, 0.0)


def _division(world: ItemWorld, members: sp.csc_array) -> np.ndarray:
    """Return Pearson's chi² a user of taking items with a word: about 1 where all take them as popularity says."""
    taken = world.train.matrix
    taken = taken[np.diff(taken.indptr) > 0]
    share = (world.train.item_counts @ members) / max(world.train.item_counts.sum(), 1)
    if not taken.shape[0]:
        return np.zeros(len(share))
    counts = np.diff(taken.indptr).astype(np.float64)
    found = (taken @ members).tocsr()  # [n_users, n_words], sparse: the square below is multiplied out
    squares = (found**2).T @ (1 / counts) - 2 * share * np.asarray(found.sum(axis=0)) + share**2 * counts.sum()
    return np.where(share > 0, squares / np.maximum(share * (1 - share), 1e-9) / len(counts), 0.0)


def _words(title: str | None, text: str | None) -> dict[str, str]:
    """Return the words of an item by their singular."""
    plain = MARKUP.sub(" ", f"{title or ''} {text or ''}".lower())
    split = re.split(r"[^\w]+", re.sub(r"['’]s\b", " ", plain))
    found = {singular(word): word for word in split if WORD.fullmatch(word) and word not in STOP}
    return {stem: word for stem, word in found.items() if len(stem) > 2 and not {stem, word} & (STOP | FILLERS)}


def _attribute_words(world: ItemWorld) -> set[str]:
    """Return the words of attributes: texts often tell them again, and they are concepts already."""
    told = {one for row in world.table["attributes"].to_list() for one in row or ()}
    return {singular(word) for one in told for word in re.findall(r"[a-z]+", one.lower())}
