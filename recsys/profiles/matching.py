"""Which items a statement means: the ones with its concept or attribute, or the ones whose text resembles its words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys.items.attributes import Attribute, attribute_key, attributes_by_name
from recsys.profiles.concepts import Concepts

SAID = "said:"  # begins the key of a statement in free words
FILLERS = frozenset(
    [
        "a",
        "about",
        "an",
        "and",
        "any",
        "anything",
        "are",
        "at",
        "be",
        "book",
        "books",
        "by",
        "film",
        "films",
        "for",
        "from",
        "in",
        "is",
        "it",
        "item",
        "items",
        "like",
        "liked",
        "likes",
        "lot",
        "lots",
        "love",
        "loves",
        "more",
        "movie",
        "movies",
        "of",
        "on",
        "one",
        "ones",
        "or",
        "set",
        "show",
        "shows",
        "some",
        "something",
        "song",
        "songs",
        "stuff",
        "that",
        "the",
        "them",
        "these",
        "thing",
        "things",
        "this",
        "those",
        "to",
        "very",
        "what",
        "where",
        "which",
        "who",
        "with",
    ]
)
ENOUGH = 0.5  # part of the words, by how much they tell, that an item must have
NEAR, NEAREST = 2.0, 4.0  # standard deviations above the catalogue's mean similarity: where likeness begins, is full
MEANT = 0.5  # membership from which on an item counts as having what was said


def content_words(text: str) -> list[str]:
    """Return the words that tell something, singular and in lower case, each once and in order."""
    words = re.findall(r"\w+", text.lower())
    return list(dict.fromkeys(singular(word) for word in words if word not in FILLERS))


def singular(word: str) -> str:
    """Return an English noun without its plural ending: a rule of thumb, the same for all that is compared."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


@dataclass(frozen=True)
class Matcher:
    """Looks up what keys of statements mean in a catalogue.

    Attributes:
        concepts: those that profiles were built with.
        table: one row an item in vocabulary order, with ``title``, ``text`` and, where there are any, ``attributes``.
        vectors: text vectors of the items, ``[n_items, dim]``, a NaN row where there is none; needs ``encode``.
        encode: turns words into vectors of the same space, ``[n, dim]``; without it only words are compared.
    """

    concepts: Concepts
    table: pl.DataFrame
    vectors: np.ndarray | None = None
    encode: Callable[[Sequence[str]], np.ndarray] | None = None
    _said: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def membership(self, key: str) -> np.ndarray:
        """Return how much each item is what ``key`` means, float32 ``[n_items]`` between 0 and 1."""
        if key.startswith(SAID):
            if key not in self._said:
                self._said[key] = self._find(key.removeprefix(SAID))
            return self._said[key]
        result = np.zeros(len(self.table), dtype=np.float32)
        if key in self.concepts.place:
            result[self.concepts.items(key)] = 1.0
        elif (attribute := self.attributes.get(attribute_key(key))) is not None:
            result[attribute.items] = 1.0
        return result

    @cached_property
    def attributes(self) -> dict[str, Attribute]:
        """What items have by ``attribute_key``, also where it is too rare, too common or too odd to be a concept."""
        return attributes_by_name(self.table)

    def finds(self, words: str) -> bool:
        """Return whether free words mean any item."""
        return bool((self.membership(SAID + words) >= MEANT).any())

    def meant(self, keys: Sequence[str]) -> np.ndarray:
        """Return which items have what any of ``keys`` means, bool ``[n_items]``."""
        result = np.zeros(len(self.table), dtype=bool)
        for key in keys:
            result |= self.membership(key) >= MEANT
        return result

    def columns(self, keys: Sequence[str]) -> sp.csc_array:
        """Return memberships times ``strength``, float32 ``[n_items, n_keys]``."""
        columns = [self.membership(key) for key in keys]
        scaled = [sp.csc_array((column * np.float32(strength(column)))[:, None]) for column in columns]
        empty = sp.csc_array((len(self.table), 0), dtype=np.float32)
        return sp.csc_array(sp.hstack(scaled, format="csc"), dtype=np.float32) if scaled else empty

    def _find(self, words: str) -> np.ndarray:
        return np.maximum(self._by_words(content_words(words)), self._by_likeness(words))

    def _by_words(self, words: Sequence[str]) -> np.ndarray:
        """The part of the words that title and text have, by how rare each is; words that no item has count nothing."""
        told = pl.concat_str(
            pl.col("title").fill_null(""), pl.lit(" "), pl.col("text").fill_null("")
        ).str.to_lowercase()
        having = self.table.select(
            told.str.contains(rf"\b{_forms(word)}\b").alias(str(place)) for place, word in enumerate(words)
        ).to_numpy()  # [n_items, n_words]
        counts = having.sum(axis=0) if len(words) else np.zeros(0)
        known = counts > 0
        if not known.any():
            return np.zeros(len(self.table), dtype=np.float32)
        rare = np.log(1 + len(self.table) / counts[known])
        share = having[:, known] @ rare / rare.sum()
        return np.where(share >= ENOUGH, share, 0.0).astype(np.float32)

    def _by_likeness(self, words: str) -> np.ndarray:
        """A ramp over how far the similarity of the text vectors stands out of the catalogue's."""
        result = np.zeros(len(self.table), dtype=np.float32)
        if self.encode is None or self.vectors is None or not words.strip():
            return result
        there = np.flatnonzero(np.isfinite(self.vectors).all(axis=1))
        if not len(there):
            return result
        query = np.asarray(self.encode([words]), dtype=np.float32)[0]
        rows = self.vectors[there].astype(np.float32)
        cosine = rows @ query / np.maximum(np.linalg.norm(rows, axis=1) * np.linalg.norm(query), 1e-12)
        spread = cosine.std()
        if spread > 1e-6:
            result[there] = np.clip(((cosine - cosine.mean()) / spread - NEAR) / (NEAREST - NEAR), 0.0, 1.0)
        return result


def strength(membership: np.ndarray) -> float:
    """Return ``log(1 + 1 / p)``, ``p`` being the mean membership: what makes weights mean the same for all concepts.

    Votes by rank are logarithms, so that adding ``d`` to a concept's items multiplies the odds of their share of a
    list by ``exp(d)``. This ``d`` takes a concept from its share of the catalogue to at least half of the list,
    however rare it is. 0 where no item has it.
    """
    share = float(np.mean(membership)) if len(membership) else 0.0
    return float(np.log1p(1.0 / share)) if share > 0 else 0.0


def _forms(word: str) -> str:
    """Return a pattern of the singular ``word`` and its plural."""
    if word.endswith("y"):
        return rf"(?:{re.escape(word)}|{re.escape(word[:-1])}ies)"
    return rf"{re.escape(word)}(?:e?s)?"
