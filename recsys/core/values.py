"""The values that flow from step to step. Idx = row number, id = the outside string."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

TRAIN, VALID, TEST = 0, 1, 2
INTERACTION_SCHEMA = {
    "user_id": pl.String,
    "item_id": pl.String,
    "rating": pl.Float32,  # null where the source has none
    "timestamp": pl.Int64,  # seconds since 1970 (or an order, 0, 1, 2 …, where only the order is known); null: unknown
    "weight": pl.Float32,  # 1.0 unless the source says otherwise
}
OPTIONAL_COLUMNS = {
    "nanosecond": pl.Int32,  # within the second, 0 to 999,999,999, where times are finer than seconds
    "part": pl.UInt8,  # 0 train, 1 valid, 2 test, where the source comes with a split
}
FIRST_DATE = 10**8  # seconds since 1970, that is 1973: where all are smaller they are places in an order, not times
ITEM_SCHEMA = {
    "item_id": pl.String,
    "title": pl.String,
    "text": pl.String,
    "attributes": pl.List(pl.String),  # "genre:Comedy", "year:1995", "brand:Sony"
    "image": pl.String,  # a path, or an http(s) URL that is fetched only when asked for
}


@dataclass(frozen=True)
class Count:
    """So many rows were dropped or changed, and why: nothing is lost silently."""

    what: str
    rows: int
    example: str = ""


@dataclass(frozen=True)
class RawFeatures:
    """Ready-made item vectors of a source: row ``r`` of the ``.npy`` file belongs to ``item_ids[r]``."""

    path: Path
    item_ids: Sequence[str]


@dataclass(frozen=True)
class Tables:
    """What a source returns: canonical frames, lazy where the files allow it.

    Attributes:
        interactions: columns of ``INTERACTION_SCHEMA``, and those of ``OPTIONAL_COLUMNS`` that the source has.
            Times may be in milliseconds, microseconds or nanoseconds; ``nanosecond`` is then billionths of those.
        items: columns of ``ITEM_SCHEMA``; items without a row are added by canonicalisation.
        features: ready-made vectors by modality, ``"text"``, ``"image"``, ``"audio"``.
        counts: what the source dropped or changed while reading.
        records: the interactions that the files hold, counted apart from the parser, less those the source dropped
            and counted; ``None``: the source has no files of rows. No other number of rows is accepted.
        null_values: texts that mean no id, besides blanks.
        pictures: named by the ids of items, for those without an image: ``item_id``, ``name`` (shown in counts) and
            ``image`` (a path), the preferred one of an id first. Where there are no item rows, they make some.
        origins: by canonical column that the files have, where it comes from and which setting names it:
            ``{"rating": ("column 'stars' of log.csv", "data.options.columns.rating")}``. One that is null throughout
            is refused.
    """

    interactions: pl.LazyFrame
    items: pl.LazyFrame
    features: Mapping[str, RawFeatures] = field(default_factory=dict)
    counts: Sequence[Count] = ()
    records: int | None = None
    null_values: Collection[str] = ()
    pictures: pl.DataFrame | None = None
    origins: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class Vocabulary:
    """A fixed order of outside ids: ``idx`` is the position.

    Args:
        ids: unique strings.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = pl.Series("id", ids, dtype=pl.String)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, idx: int) -> str:
        return self.texts[int(idx)]

    def __contains__(self, outside_id: str) -> bool:
        return outside_id in self._index

    @cached_property
    def texts(self) -> list[str]:
        """The ids as a list: to look single ones up."""
        return self.ids.to_list()

    @cached_property
    def _index(self) -> dict[str, int]:
        return {text: idx for idx, text in enumerate(self.texts)}

    def index(self, ids: Iterable[str]) -> np.ndarray:
        """Return the row number of each id, int64; -1 where it is unknown."""
        return np.fromiter((self._index.get(text, -1) for text in ids), dtype=np.int64)


def instants(timestamp: np.ndarray, nanosecond: np.ndarray | None) -> np.ndarray:
    """Return numbers that order moments, ``[n]``: equal only where both seconds and nanoseconds are.

    They are in the coarsest unit that loses nothing, or, where int64 is too small for that, places in the order:
    numbers of one call only can be compared.
    """
    if nanosecond is None:
        return timestamp
    per_second = next(n for n in (1, 10**3, 10**6, 10**9) if n == 10**9 or not (nanosecond % (10**9 // n)).any())
    if not len(timestamp) or np.abs(timestamp.astype(np.float64)).max() < 2**62 / per_second:
        return timestamp.astype(np.int64) * per_second + nanosecond // (10**9 // per_second)
    order = np.lexsort((nanosecond, timestamp))
    later = (np.diff(timestamp[order]) != 0) | (np.diff(nanosecond[order]) != 0)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.append(0, np.cumsum(later))
    return places


def is_order(first: int, last: int) -> bool:
    """Return whether timestamps from ``first`` to ``last`` can only be places in an order."""
    return first > -FIRST_DATE and last < FIRST_DATE


def day_of(timestamp: int) -> str:
    """Return the date, ``2022-06-24``, of any second since or before 1970."""
    return str(np.datetime64(timestamp, "s").astype("datetime64[D]"))


@dataclass(frozen=True)
class Interactions:
    """Parallel arrays, one entry an interaction.

    Attributes:
        user_idx, item_idx: int32 ``[n]``.
        n_users, n_items: sizes of the vocabularies (not of what occurs here).
        rating, timestamp, weight: ``[n]`` or ``None``.
        nanosecond: within the second of ``timestamp``, int32 ``[n]``; ``None`` where all are 0.
    """

    user_idx: np.ndarray
    item_idx: np.ndarray
    n_users: int
    n_items: int
    rating: np.ndarray | None = None
    timestamp: np.ndarray | None = None
    weight: np.ndarray | None = None
    nanosecond: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.user_idx)

    def select(self, rows: np.ndarray) -> Interactions:
        """Return the interactions at ``rows`` (a mask or positions)."""
        pick = lambda array: None if array is None else array[rows]  # noqa: E731
        return Interactions(
            self.user_idx[rows], self.item_idx[rows], self.n_users, self.n_items,
            pick(self.rating), pick(self.timestamp), pick(self.weight), pick(self.nanosecond),
        )  # fmt: skip

    @cached_property
    def digest(self) -> str:
        """A hash of who took what when: a training is continued only on the data it began with."""
        total = hashlib.blake2b(digest_size=16)
        finer = () if self.nanosecond is None else (self.nanosecond,)
        for array in (self.user_idx, self.item_idx, self.timestamp, *finer):
            total.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    @cached_property
    def instants(self) -> np.ndarray | None:
        """What orders by time, ``[n]`` (``instants``), or ``None`` without times."""
        return None if self.timestamp is None else instants(self.timestamp, self.nanosecond)

    @cached_property
    def period(self) -> str:
        """From when to when, in words; ``""`` without times."""
        if self.timestamp is None or not len(self):
            return ""
        first, last = int(self.timestamp.min()), int(self.timestamp.max())
        if is_order(first, last):
            return f"in an order from {first:,} to {last:,}"
        return f"from {day_of(first)} to {day_of(last)}"

    @cached_property
    def matrix(self) -> sp.csr_array:
        """Binary float32 ``[n_users, n_items]``, item numbers sorted in each row."""
        ones = np.ones(len(self), dtype=np.float32)
        matrix = sp.csr_array((ones, (self.user_idx, self.item_idx)), shape=(self.n_users, self.n_items))
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix

    @cached_property
    def item_counts(self) -> np.ndarray:
        """How many users took each item, int64 ``[n_items]``."""
        return np.bincount(self.matrix.indices, minlength=self.n_items).astype(np.int64)

    @cached_property
    def user_counts(self) -> np.ndarray:
        """How many items each user took, int64 ``[n_users]``."""
        return np.diff(self.matrix.indptr).astype(np.int64)

    @cached_property
    def histories(self) -> Histories:
        """Each user's items, oldest first (input order where times are equal or unknown)."""
        times = self.instants if self.instants is not None else np.zeros(len(self), dtype=np.int64)
        order = np.lexsort((np.arange(len(self)), times, self.user_idx))
        indptr = np.zeros(self.n_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.user_idx, minlength=self.n_users), out=indptr[1:])
        return Histories(indptr, self.item_idx[order].astype(np.int64), self.n_items)


@dataclass(frozen=True)
class Histories:
    """Ragged item lists: row ``r`` is ``items[indptr[r]:indptr[r + 1]]``, oldest first.

    Attributes:
        indptr: int64 ``[n + 1]``.
        items: item row numbers, int64.
        n_items: size of the item vocabulary.
    """

    indptr: np.ndarray
    items: np.ndarray
    n_items: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.items[self.indptr[row] : self.indptr[row + 1]]

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]], n_items: int) -> Histories:
        """Build from a list of item row numbers a user."""
        indptr = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in lists], out=indptr[1:])
        items = np.concatenate([np.asarray(row, dtype=np.int64) for row in lists]) if lists else np.zeros(0, np.int64)
        return cls(indptr, items.astype(np.int64), n_items)

    def take(self, rows: np.ndarray) -> Histories:
        """Return the lists of ``rows``, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.indptr[rows + 1] - self.indptr[rows]
        indptr = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=indptr[1:])
        position = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], lengths)
        return Histories(indptr, self.items[position], self.n_items)

    def matrix(self) -> sp.csr_array:
        """Binary float32 ``[n, n_items]``."""
        data = np.ones(len(self.items), dtype=np.float32)
        matrix = sp.csr_array((data, self.items.copy(), self.indptr.copy()), shape=(len(self), self.n_items))
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix


@dataclass(frozen=True)
class Query:
    """Users to score: what each has taken, and who each is where that is known.

    A ranker that folds users in looks at ``histories`` alone; one with user
    embeddings uses ``user_idx`` and falls back on the history where it is -1,
    so that a never-seen user needs no path of its own.

    Attributes:
        histories: ``n`` item lists, oldest first.
        user_idx: int64 ``[n]``; -1 = not a user of the training data.
    """

    histories: Histories
    user_idx: np.ndarray

    def __len__(self) -> int:
        return len(self.user_idx)

    @classmethod
    def of_users(cls, interactions: Interactions, users: np.ndarray) -> Query:
        """Known users with the history that ``interactions`` gives them."""
        users = np.asarray(users, dtype=np.int64)
        return cls(interactions.histories.take(users), users)

    @classmethod
    def of_histories(cls, lists: Sequence[Sequence[int]], n_items: int) -> Query:
        """Never-seen users, each a list of item row numbers, oldest first."""
        return cls(Histories.of(lists, n_items), np.full(len(lists), -1, dtype=np.int64))

    def take(self, rows: np.ndarray) -> Query:
        """Return the queries at ``rows``."""
        return Query(self.histories.take(rows), self.user_idx[rows])

    def undecided(self, scores: np.ndarray) -> np.ndarray:
        """Return who has no history and gets equal scores ``[n, n_items]``, bool ``[n]``: nothing is said of them."""
        result = np.diff(self.histories.indptr) == 0
        blank = np.flatnonzero(result)
        result[blank] = np.ptp(scores[blank], axis=1) == 0
        return result


@dataclass(frozen=True)
class Dataset:
    """Canonical tables with fixed vocabularies.

    Attributes:
        name: of the source.
        users, items: vocabularies.
        interactions: all of them, in canonical order (split labels are aligned with it).
        item_table: one row an item in vocabulary order, columns of ``ITEM_SCHEMA``.
        part: uint8 ``[n]``, the split that came with the source, or ``None``.
        counts: what was dropped or changed on the way here.
    """

    name: str
    users: Vocabulary
    items: Vocabulary
    interactions: Interactions
    item_table: pl.DataFrame
    part: np.ndarray | None = None
    counts: Sequence[Count] = ()

    @cached_property
    def all_titles(self) -> list[str]:
        """Title of every item, the id where it has none."""
        table = self.item_table
        return [title or item_id for title, item_id in zip(table["title"], table["item_id"], strict=True)]

    @cached_property
    def all_attributes(self) -> list[tuple[str, ...]]:
        """Attributes of every item."""
        return [tuple(attributes or ()) for attributes in self.item_table["attributes"].to_list()]

    def titles(self, item_idx: Iterable[int]) -> list[str]:
        """Return titles, the id where an item has none."""
        titles = self.all_titles
        return [titles[int(item)] for item in item_idx]


@dataclass(frozen=True)
class Split:
    """A partition of a data set's interactions.

    Attributes:
        dataset: the data set it belongs to.
        part: uint8 ``[n]``, ``TRAIN``, ``VALID`` or ``TEST`` for each interaction.
        kind: how it was made (``"random"``, ``"leave_last"``, …).
    """

    dataset: Dataset
    part: np.ndarray
    kind: str

    @cached_property
    def train(self) -> Interactions:
        return self.dataset.interactions.select(self.part == TRAIN)

    @cached_property
    def valid(self) -> Interactions:
        return self.dataset.interactions.select(self.part == VALID)

    @cached_property
    def test(self) -> Interactions:
        return self.dataset.interactions.select(self.part == TEST)

    @cached_property
    def train_valid(self) -> Interactions:
        return self.dataset.interactions.select(self.part != TEST)


ATTRIBUTES = "attributes"  # of genres, brands, …: a 1 where the item has it


@dataclass(frozen=True)
class ItemFeatures:
    """One matrix per modality, rows in item-vocabulary order; a NaN row = nothing to encode.

    ``"attributes"`` are what the table says, not vectors of an encoder: they count only where they are asked for.

    Attributes:
        matrices: ``{"text": float32 [n_items, dim], …}``.
    """

    matrices: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, modality: str) -> np.ndarray:
        return self.matrices[modality]

    def __contains__(self, modality: str) -> bool:
        return modality in self.matrices

    def present(self, modality: str) -> np.ndarray:
        """Return which items have that modality, bool ``[n_items]``: a row with an infinite number is no vector."""
        return np.isfinite(self.matrices[modality]).all(axis=1)

    def unit(self, modality: str) -> np.ndarray:
        """Return rows centred on the mean of those present and scaled to length 1, float32; absent rows are 0.

        Centring takes out what all items share (encoders put everything into a narrow cone), so that
        products of rows are similarities that may also be negative.
        """
        present = self.present(modality)
        rows = np.zeros(self.matrices[modality].shape, dtype=np.float32)
        if present.any():
            values = self.matrices[modality][present].astype(np.float32)
            values -= values.mean(axis=0)
            rows[present] = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
        return rows

    def only(self, modalities: Sequence[str]) -> ItemFeatures:
        """Return those of ``modalities``, all but attributes if it is empty, in alphabetical order."""
        wanted = modalities or [name for name in self.matrices if name != ATTRIBUTES]
        return ItemFeatures({name: self.matrices[name] for name in sorted(wanted)})


@dataclass(frozen=True)
class FitLog:
    """What happened while a ranker was fitted.

    Attributes:
        rows: one mapping an evaluated epoch (``epoch``, ``loss``, the validation metrics, ``wall_s``).
        best_epoch: the epoch whose weights were kept (0 for closed forms).
        best: validation metrics of those weights.
        wall_s, cpu_s: cost of the whole fit, of all its runs where it was interrupted.
        n_parameters: numbers that were trained by gradient; ``None`` for closed forms.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    best_epoch: int = 0
    best: Mapping[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    n_parameters: int | None = None
