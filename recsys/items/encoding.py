"""From an item table to one matrix: contents are read, known vectors found, the rest encoded batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.core.errors import EncoderError
from recsys.core.protocols import CutsTexts, ItemEncoder
from recsys.core.runtime import Run
from recsys.core.values import Count
from recsys.items.cache import VectorCache, content_digest
from recsys.items.images import ImageFault, decode, read_bytes
from recsys.items.text import item_texts

ENCODING = 2  # raised when the same content would be read otherwise than before: vectors made by then are not taken
SHARD = 256  # contents between two writes: what an interrupted encoding can lose
PICTURES = 64  # the same of pictures, which are held in memory until then
Content = tuple[int, bytes, Callable[[], Any]]  # row, digest, and what loads the content; None = it cannot be used


@dataclass(frozen=True)
class Encoded:
    """Vectors of one modality.

    Attributes:
        vectors: float32 ``[n_items, dim]``; a NaN row where there was nothing to encode, ``dim`` 0 if that is all rows.
        counts: what was skipped, and why.
        fresh: how many distinct contents were encoded now, the others being known.
    """

    vectors: np.ndarray
    counts: Sequence[Count]
    fresh: int


def has(items: pl.DataFrame, modality: str) -> bool:
    """Return whether any item has something of that modality."""
    if modality == "text":
        return any(item_texts(items))
    return items["image"].null_count() < len(items)


def encode_items(items: pl.DataFrame, encoder: ItemEncoder, modality: str, cache: Path, *, run: Run) -> Encoded:
    """Encode one modality of all items; equal contents are encoded once.

    Args:
        items: columns of ``ITEM_SCHEMA``.
        encoder: its model is only loaded when something is left to encode.
        modality: ``"text"`` or ``"image"``, one of ``encoder.modalities``.
        cache: folder of this encoder's vectors.
        run: progress and log.

    Raises:
        EncoderError: the model cannot be loaded, or its vectors have a wrong shape or are not finite.
        OSError: the disk is full or read-only.
    """
    contents = _Texts(items) if modality == "text" else _Pictures(items)
    shards = VectorCache(cache)
    known, made, pending = shards.index(), {}, {}
    digests: list[bytes | None] = [None] * len(items)

    def flush() -> None:
        vectors = _vectors(encoder, list(pending.values()), modality, run)
        shards.add(list(pending), vectors)
        made.update(zip(pending, vectors, strict=True))
        pending.clear()

    for row, digest, load in run.bar(contents.stream(), f"encode {modality}", total=len(items)):
        if digest not in known and digest not in made and digest not in pending:
            content = load()
            if content is None:
                continue
            pending[digest] = content
        digests[row] = digest
        if len(pending) == contents.shard:
            flush()
    if pending:
        flush()
    found = shards.find(known.intersection(digests)) | made
    return Encoded(_gather(digests, found, cache), contents.counts(encoder), len(made))


def _vectors(encoder: ItemEncoder, values: Sequence[Any], modality: str, run: Run) -> np.ndarray:
    vectors = np.asarray(encoder.encode(values, modality, run=run), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(values) or not vectors.size or not np.isfinite(vectors).all():
        raise EncoderError(
            f"item encoder {type(encoder).__name__}",
            f"gave {vectors.shape} numbers for {len(values)} contents, or some that are not finite",
            "Return one finite row a content.",
        )
    return vectors


def _gather(digests: Sequence[bytes | None], found: dict[bytes, np.ndarray], cache: Path) -> np.ndarray:
    dims = {len(vector) for vector in found.values()} or {0}
    if len(dims) > 1:
        raise EncoderError(
            f"vectors kept in {cache}",
            f"have {' and '.join(map(str, sorted(dims)))} numbers: the encoder was changed, but not its identity()",
            "Delete that folder.",
        )
    vectors = np.full((len(digests), *dims), np.nan, dtype=np.float32)
    for row, digest in enumerate(digests):
        if digest in found:
            vectors[row] = found[digest]
    return vectors


class _Texts:
    """Item texts; like lengths together, so that little is padded."""

    shard = SHARD

    def __init__(self, items: pl.DataFrame) -> None:
        self.texts, self.ids = item_texts(items), items["item_id"]

    def stream(self) -> Iterator[Content]:
        for row in sorted(range(len(self.texts)), key=lambda row: len(self.texts[row])):
            if text := self.texts[row]:
                yield row, content_digest(text), partial(str, text)

    def counts(self, encoder: ItemEncoder) -> list[Count]:
        rows = [row for row, text in enumerate(self.texts) if text]
        empty = len(self.texts) - len(rows)
        counts = [Count("items without any text", empty)] if empty else []
        if rows and isinstance(encoder, CutsTexts):
            tokens, longer = encoder.cut([self.texts[row] for row in rows])
            if longer.any():
                what = (
                    f"texts (of {len(rows):,}) longer than the {tokens} tokens that {type(encoder).__name__} reads: cut"
                )
                counts.append(Count(what, int(longer.sum()), f"first: item {self.ids[rows[int(longer.argmax())]]!r}"))
        return counts


class _Pictures:
    """Item pictures, each file read once; what cannot be opened is skipped and counted, and the run goes on."""

    shard = PICTURES

    def __init__(self, items: pl.DataFrame) -> None:
        self.ids, self.paths = items["item_id"].to_list(), items["image"].to_list()
        self.faults: dict[str, list[str]] = {}

    def stream(self) -> Iterator[Content]:
        for row, path in enumerate(self.paths):
            if path is None:
                continue
            if path.lower().startswith(("http://", "https://")):
                self._fault(row, "known by address only, and not fetched")
            elif data := self._tried(row, read_bytes, path):
                yield row, content_digest(data), partial(self._tried, row, decode, data)

    def _tried(self, row: int, step: Callable[[Any], Any], given: Any) -> Any | None:
        try:
            return step(given)
        except ImageFault as fault:
            return self._fault(row, str(fault))

    def _fault(self, row: int, reason: str) -> None:
        self.faults.setdefault(reason, []).append(self.ids[row])

    def counts(self, encoder: ItemEncoder) -> list[Count]:
        missing = sum(path is None for path in self.paths)
        counts = [Count("items without a picture", missing)] if missing else []
        return counts + [
            Count(f"pictures skipped: {reason}", len(ids), f"first: item {ids[0]!r}")
            for reason, ids in sorted(self.faults.items())
        ]
