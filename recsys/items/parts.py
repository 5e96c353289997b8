"""Encoding by several workers: parts of the item table are encoded into the same folder of vectors, then gathered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from recsys.core.protocols import ItemEncoder
from recsys.core.runtime import Run
from recsys.items.encoding import Encoded, encode_items

ROWS = {"text": 256, "image": 64}  # of a part, at least: seconds of work, and one write
PARTS = 256  # at most: each reads what is kept already, which grows with the table
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]  # an executor's ``map``


@dataclass(frozen=True)
class Part:
    """Some of the items.

    Attributes:
        items: columns of ``ITEM_SCHEMA``.
        kind, settings: class of the encoder, and its settings as JSON: a worker makes its own, once.
        modality: ``"text"`` or ``"image"``.
        cache: folder of the encoder's vectors.
        seed, device: of the run.
    """

    items: pl.DataFrame
    kind: type
    settings: str
    modality: str
    cache: str
    seed: int
    device: str


def encode_items_by(
    spread: Spread, items: pl.DataFrame, encoder: ItemEncoder, modality: str, cache: Path, *, run: Run
) -> Encoded:
    """Encode one modality of all items as ``encode_items`` does, by several workers.

    Vectors are those of one worker but for rounding, because batches differ (below 1e-6 by the encoders here). They
    do not depend on who works, or how many, because parts do not. Equal contents are encoded once a part (twice where
    two workers meet one at once), and what is kept already not again. Interrupted, it goes on where it was.

    Args:
        spread: ``map`` of an executor; what it raises goes through. It is not called where there are no items.
        items, encoder, modality, cache, run: see ``encode_items``.

    Raises:
        EncoderError, OSError: see ``encode_items``.
    """
    parts = [
        Part(some, type(encoder), encoder.settings.model_dump_json(), modality, str(cache), run.seed, run.device)
        for some in items.iter_slices(max(ROWS[modality], -(-len(items) // PARTS)))
    ]
    done = spread(encode_part, parts) if parts else iter(())
    fresh = sum(run.bar(done, f"encode {modality}, parts", total=len(parts)))
    quiet = replace(run, progress=False)
    made = encode_items(items, encoder, modality, cache, run=quiet)  # all is known now: it reads, counts and gathers
    return replace(made, fresh=fresh + made.fresh)


def encode_part(part: Part) -> int:
    """Encode a part into the folder of vectors; return how many contents were new."""
    run = Run(seed=part.seed, device=part.device, log=lambda message: None)
    encoder = _encoder(part.kind, part.settings)
    return encode_items(part.items, encoder, part.modality, Path(part.cache), run=run).fresh


@lru_cache(maxsize=2)
def _encoder(kind: type, settings: str) -> ItemEncoder:
    return kind(kind.Settings.model_validate_json(settings))
