"""From an item table to one matrix: contents are read, known vectors found, the rest encoded batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.core.errors import EncoderError
from recsys.core.protocols import ItemEncoder
from recsys.core.runtime import Run
from recsys.core.values import Count
from recsys.items.cache import VectorCache, content_digest
from recsys.items.images import ImageFault, decode, read_bytes
from recsys.items.text import item_texts

SHARD = 256  # contents between two writes: what an interrupted encoding can lose


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
    digests = contents.digests()
    known = VectorCache(cache)
    found = known.find(digest for digest in digests if digest)
    first = {digest: row for row, digest in reversed(list(enumerate(digests))) if digest and digest not in found}
    order = contents.order(list(first.values()))
    fresh = 0
    for start in run.bar(range(0, len(order), SHARD), f"encode {modality} (batches of {SHARD})"):
        rows, values = contents.read(order[start : start + SHARD])
        if not rows:
            continue
        batch, vectors = [digests[row] for row in rows], _vectors(encoder, values, modality, run)
        known.add(batch, vectors)
        found.update(zip(batch, vectors, strict=True))
        fresh += len(rows)
    return Encoded(_gather(digests, found), contents.counts(digests), fresh)


def _vectors(encoder: ItemEncoder, values: Sequence[Any], modality: str, run: Run) -> np.ndarray:
    vectors = np.asarray(encoder.encode(values, modality, run=run), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(values) or not np.isfinite(vectors).all():
        raise EncoderError(
            f"item encoder {type(encoder).__name__}",
            f"gave {vectors.shape} numbers for {len(values)} contents, or some that are not finite",
            "Return one finite row a content.",
        )
    return vectors


def _gather(digests: Sequence[bytes | None], found: dict[bytes, np.ndarray]) -> np.ndarray:
    dim = len(next(iter(found.values()))) if found else 0
    vectors = np.full((len(digests), dim), np.nan, dtype=np.float32)
    for row, digest in enumerate(digests):
        if digest in found:
            vectors[row] = found[digest]
    return vectors


class _Texts:
    """Item texts; like lengths together, so that little is padded."""

    def __init__(self, items: pl.DataFrame) -> None:
        self.texts = item_texts(items)

    def digests(self) -> list[bytes | None]:
        return [content_digest(text) if text else None for text in self.texts]

    def order(self, rows: list[int]) -> list[int]:
        return sorted(rows, key=lambda row: len(self.texts[row]))

    def read(self, rows: Sequence[int]) -> tuple[list[int], list[str]]:
        return list(rows), [self.texts[row] for row in rows]

    def counts(self, digests: Sequence[bytes | None]) -> list[Count]:
        empty = sum(digest is None for digest in digests)
        return [Count("items without any text", empty)] if empty else []


class _Pictures:
    """Item pictures; what cannot be opened is skipped and counted, and the run goes on."""

    def __init__(self, items: pl.DataFrame) -> None:
        self.ids, self.paths = items["item_id"].to_list(), items["image"].to_list()
        self.faults: dict[str, list[str]] = {}

    def digests(self) -> list[bytes | None]:
        return [self._digest(row) for row in range(len(self.paths))]

    def _digest(self, row: int) -> bytes | None:
        path = self.paths[row]
        if path is None:
            return None
        if path.lower().startswith(("http://", "https://")):
            return self._fault(row, "known by address only, and not fetched")
        try:
            return content_digest(read_bytes(path))
        except ImageFault as fault:
            return self._fault(row, str(fault))

    def _fault(self, row: int, reason: str) -> None:
        self.faults.setdefault(reason, []).append(self.ids[row])

    def order(self, rows: list[int]) -> list[int]:
        return rows

    def read(self, rows: Sequence[int]) -> tuple[list[int], list[Any]]:
        good = list(self._decoded(rows))
        return [row for row, _ in good], [picture for _, picture in good]

    def _decoded(self, rows: Sequence[int]) -> Iterator[tuple[int, Any]]:
        for row in rows:
            try:
                yield row, decode(read_bytes(self.paths[row]))
            except ImageFault as fault:
                self._fault(row, str(fault))

    def counts(self, digests: Sequence[bytes | None]) -> list[Count]:
        missing = sum(path is None for path in self.paths)
        counts = [Count("items without a picture", missing)] if missing else []
        return counts + [
            Count(f"pictures skipped: {reason}", len(ids), f"first: item {ids[0]!r}")
            for reason, ids in sorted(self.faults.items())
        ]
