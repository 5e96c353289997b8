"""Descriptions of the items whose picture and text disagree most, written once by a model that sees and reads.

X-Reflect (Lyu et al., 2024) asks for what supports and what conflicts before it asks for a description; a
budget spends those calls on the largest z-scored distance of the two vectors in a joint space.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import polars as pl
from PIL.Image import Image
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.runtime import Run
from recsys.core.values import Count
from recsys.items.cache import content_digest
from recsys.items.images import ImageFault, decode, read_bytes
from recsys.items.text import item_texts

DESCRIPTION_SCHEMA = {
    "item_id": pl.String, "disagreement": pl.Float32,  # z-score: 0 is the mean, larger is more contradictory
    "supports": pl.String, "conflicts": pl.String, "description": pl.String,
}  # fmt: skip


class BudgetSettings(Settings):
    """How many calls of the describer may be spent."""

    budget: int = Field(200, ge=0, description="Items described at most, the most contradictory first.")
    share: float = Field(0.2, ge=0, le=1, description="And no more than this part of those with picture and text.")


@dataclass(frozen=True)
class Reflection:
    """What a describer found in three moves, each one line of plain text."""

    supports: str
    conflicts: str
    description: str


class Describer(Protocol):
    """Writes about an item from its picture and text; making one is cheap, its model is loaded by the first call."""

    Settings: ClassVar[type[Settings]]
    settings: Settings

    def identity(self) -> str:
        """Return what its words depend on besides content and settings: the weights, by version or hash."""
        ...

    def describe(self, picture: Image, text: str, *, run: Run) -> Reflection:
        """Return the same words for the same RGB picture and text, which nobody vouches for.

        Raises:
            EncoderError: the model cannot be loaded.
        """
        ...


@dataclass(frozen=True)
class Described:
    """Descriptions of some items.

    Attributes:
        table: columns of ``DESCRIPTION_SCHEMA``, the most contradictory first.
        counts: what was skipped, and why.
        fresh: how many were written now, the others being known.
    """

    table: pl.DataFrame
    counts: Sequence[Count]
    fresh: int


def disagreement(text: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return how far an item's picture and text are apart, as a z-score among all items, float32 ``[n_items]``.

    Args:
        text: float ``[n_items, dim]`` in a joint space; a NaN row = no text.
        image: the same of pictures.

    NaN where either is missing. The z-score takes out the gap that lies between all texts and all pictures.
    """
    lengths = np.linalg.norm(text, axis=1) * np.linalg.norm(image, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = 1.0 - np.einsum("nd,nd->n", text, image) / lengths
    distance[~np.isfinite(distance)] = np.nan
    if np.isnan(distance).all():
        return distance.astype(np.float32)
    spread = np.nanstd(distance)
    return ((distance - np.nanmean(distance)) / (spread if spread > 1e-9 else 1.0)).astype(np.float32)


def allowed_calls(scores: np.ndarray, settings: BudgetSettings) -> int:
    """Return how many items may be described."""
    return min(settings.budget, int(settings.share * np.isfinite(scores).sum()))


def describe_items(
    items: pl.DataFrame, describer: Describer, scores: np.ndarray, settings: BudgetSettings, folder: Path, *, run: Run
) -> Described:
    """Describe the items whose picture and text disagree most; what is known by its content is not written again.

    Args:
        items: columns of ``ITEM_SCHEMA``.
        describer: called once for each distinct pair of picture and text.
        scores: what ``disagreement`` returned; NaN = never to be described.
        settings: the budget.
        folder: of what this describer wrote before.
        run: progress.

    Raises:
        EncoderError: the describer's model cannot be loaded.
        OSError: the disk is full or read-only.
    """
    store, most = Descriptions(folder), allowed_calls(scores, settings)
    pairs, rows, fresh = _Pairs(items, scores), [], 0
    for row, data, text in run.bar(pairs.most_contradictory_first(most), "describe", total=most):
        digest = content_digest(content_digest(text) + content_digest(data)).hex()
        if (found := store.get(digest)) is None:
            if (picture := pairs.decoded(row, data)) is None:
                continue
            found = describer.describe(picture, text, run=run)
            store.add(digest, found)
            fresh += 1
        pairs.done += 1
        if found.description:
            rows.append((items["item_id"][row], float(scores[row]), *asdict(found).values()))
        else:
            pairs.fault(row, "for the describer wrote nothing")
    return Described(pl.DataFrame(rows, schema=DESCRIPTION_SCHEMA, orient="row"), pairs.counts(), fresh)


class _Pairs:
    """Items with both a text and a picture that can be read."""

    def __init__(self, items: pl.DataFrame, scores: np.ndarray) -> None:
        self.ids, self.paths, self.texts = items["item_id"], items["image"].to_list(), item_texts(items)
        self.scores, self.done = scores, 0
        self.faults: dict[str, list[str]] = {}

    def most_contradictory_first(self, most: int) -> Iterator[tuple[int, bytes, str]]:
        """Yield row, bytes of the picture and text, until ``most`` are done."""
        for row in np.argsort(-np.nan_to_num(self.scores, nan=-np.inf), kind="stable"):
            if self.done >= most or not np.isfinite(self.scores[row]):
                return
            if self.paths[row] and self.texts[row] and (data := self._tried(row, read_bytes, self.paths[row])):
                yield int(row), data, self.texts[row]

    def decoded(self, row: int, data: bytes) -> Image | None:
        return self._tried(row, decode, data)

    def _tried(self, row: int, step: Any, given: Any) -> Any | None:
        try:
            return step(given)
        except ImageFault as fault:
            return self.fault(row, f"for the picture is unusable: {fault}")

    def fault(self, row: int, reason: str) -> None:
        self.faults.setdefault(reason, []).append(self.ids[int(row)])

    def counts(self) -> list[Count]:
        return [
            Count(f"items not described, {reason}", len(ids), f"first: item {ids[0]!r}")
            for reason, ids in sorted(self.faults.items())
        ]


class Descriptions:
    """What one describer wrote, a line of JSON each, kept by the content it is about.

    A line that was cut off by a crash is left out. Two processes that write at once at worst do the same work twice.

    Args:
        folder: made when the first line is written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "descriptions.jsonl"
        self._known = dict(self._read())

    def get(self, digest: str) -> Reflection | None:
        return self._known.get(digest)

    def add(self, digest: str, reflection: Reflection) -> None:
        """Keep one.

        Raises:
            OSError: the disk is full or read-only.
        """
        self._known[digest] = reflection
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"digest": digest, **asdict(reflection)}, ensure_ascii=True)
        with self.path.open("ab", buffering=0) as file:
            file.write(f"\n{line}\n".encode())  # begins a line of its own, whatever a crash left there

    def _read(self) -> Iterator[tuple[str, Reflection]]:
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                    texts = [entry[name] for name in ("digest", "supports", "conflicts", "description")]
                except (ValueError, KeyError, TypeError):
                    continue
                if all(isinstance(text, str) for text in texts):
                    yield texts[0], Reflection(*texts[1:])


def with_descriptions(items: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Return the item table with ``text`` extended by the description where there is one.

    Args:
        items: columns of ``ITEM_SCHEMA``; order and other columns stay.
        table: columns of ``DESCRIPTION_SCHEMA``.
    """
    said = dict(zip(table["item_id"], table["description"], strict=True))
    # A text takes the place of attributes (see item_texts), so they go into it where there was none.
    before = item_texts(items.with_columns(pl.lit(None, dtype=pl.String).alias("title")))
    texts = [
        text if item_id not in said else ". ".join(filter(None, [(text or told).strip().rstrip("."), said[item_id]]))
        for item_id, text, told in zip(items["item_id"], items["text"], before, strict=True)
    ]
    return items.with_columns(pl.Series("text", texts, dtype=pl.String))
