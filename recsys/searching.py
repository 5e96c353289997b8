"""Finding items by words, or by what they look and read like: what the verb ``search`` needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recsys.console import columns
from recsys.core.amounts import amount
from recsys.core.errors import ArtifactError, DataError
from recsys.core.values import ItemFeatures
from recsys.describing import encoded
from recsys.items import make_encoder
from recsys.items.retrieval import nearest, spread_out
from recsys.items.sheet import Card, Row, contact_sheet
from recsys.serving.catalogue import Catalogue
from recsys.workflow import Workflow

By = Literal["text", "image", "both"]
SHEET_ROWS, SHEET_FOUND = 8, 6  # of a contact sheet


@dataclass(frozen=True)
class Found:
    """One item that was found.

    Attributes:
        item_id, title: of the item.
        score: what the list is sorted by.
        parts: similarity by modality (cosines); missing where the item has no such vector.
    """

    item_id: str
    title: str
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)


class Search:
    """Looks through the encoded items of a run; they are encoded first if need be.

    Args:
        workflow: the run; its text encoder also reads the words that are searched for.
    """

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.dataset = workflow.dataset
        self.features = encoded_features(workflow)

    def by_words(self, text: str, by: By | None = None, k: int = 10) -> list[Found]:
        """Return the ``k`` items that fit ``text`` best.

        Args:
            text: a sentence or a few words.
            by: ``"text"`` compares with item texts, ``"image"`` with pictures (where one encoder made both, as they
                are, else through the joint space), ``"both"`` with the two. Default: both where there are pictures
                and, for a joint space, enough pairs to learn from; else text.
            k: length of the list.

        Raises:
            DataError: no words, or nothing of that kind to compare with.
            EncoderError: the text encoder cannot be loaded.
        """
        if not text.strip():
            raise DataError("search", "no words to search for", 'Such as: recsys search "a submarine in the deep sea"')
        wanted = self._modalities(by, always="text")
        name = self.workflow.config.items.text
        encoder = make_encoder(name, "text", self.workflow.config.items.options.get(name, {}))
        vector = np.asarray(encoder.encode([text], "text", run=self.workflow.run), dtype=np.float32)  # [1, text_dim]
        scores = {}
        if "text" in wanted:
            scores["text"] = self._unit("text") @ (vector[0] / np.linalg.norm(vector[0]))  # [n_items]
        if "image" in wanted and name == self.workflow.config.items.image:
            scores["image"] = self._unit("image") @ (vector[0] / np.linalg.norm(vector[0]))
        elif "image" in wanted:
            try:
                space = self._joint
            except DataError as error:
                if by is not None:
                    raise
                self.workflow.run.log(f"searching texts only: {error.cause}")
            else:
                pictures = space.image_vectors(self.features["image"])  # [n_items, dim]
                scores["image"] = pictures @ space.text_vectors(vector)[0]
        return self._best(scores, k)

    def like(self, name: str, by: By | None = None, k: int = 10) -> list[Found]:
        """Return the ``k`` items that look (``"image"``) or read (``"text"``) most like one, by centred cosine.

        Raises:
            DataError: no such item, or it has nothing of that kind to compare.
        """
        item = int(Catalogue(self.dataset).find([name])[0])
        wanted = self._modalities(by)
        scores = {}
        for modality in wanted:
            if self.features.present(modality)[item]:
                unit = self.features.unit(modality)  # [n_items, dim]
                scores[modality] = np.where(self.features.present(modality), unit @ unit[item], np.nan)
                scores[modality][item] = np.nan
            elif by in ("image", "text"):
                title = self.dataset.titles([item])[0]
                raise DataError(f"item {title!r}", f"has no usable {modality}", "Search by the other: --by")
        return self._best(scores, k)

    def _modalities(self, by: By | None, always: str = "") -> list[str]:
        """Return the modalities to compare; those asked for must be there, and so must ``always``."""
        asked = {"text", "image"} if by == "both" else {by} if by else set()
        for name in sorted(asked | ({always} if always else set())):
            if name not in self.features:
                raise DataError(
                    f"search in {self.dataset.name}", f"no item has an encoded {name}",
                    f"Choose an encoder (--set items.{name}=…), or data that bring {name}s.",
                )  # fmt: skip
        if not (found := sorted(asked or self.features.matrices)):
            raise DataError(f"search in {self.dataset.name}", "no item is encoded", "See: recsys encode --help")
        return found

    def _unit(self, modality: str) -> np.ndarray:
        """Return rows of length 1, ``[n_items, dim]``; a NaN row stays one."""
        rows = self.features[modality]
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    @cached_property
    def _joint(self) -> Any:
        from recsys.items.joint import JointSettings, JointSpace

        made = self.workflow.joint()
        return JointSpace.load(made.path, JointSettings(**made.config["settings"]))

    def _best(self, scores: Mapping[str, np.ndarray], k: int) -> list[Found]:
        """Sort by the only score there is, or by the mean of standard scores, where a missing part counts as 0."""
        if k < 1:
            raise DataError("search", f"k is {k}", "Ask for at least one item.")
        if not scores:
            return []
        seen = np.logical_or.reduce([np.isfinite(part) for part in scores.values()])
        parts = [_standard(part) for part in scores.values()] if len(scores) > 1 else list(scores.values())
        total = np.where(seen, np.mean(parts, axis=0), -np.inf)
        order = [int(idx) for idx in np.argsort(-total, kind="stable")[:k] if seen[idx]]
        return [
            Found(
                self.dataset.items[idx], title, float(total[idx]),
                {name: float(part[idx]) for name, part in scores.items() if np.isfinite(part[idx])},
            )
            for idx, title in zip(order, self.dataset.titles(order), strict=True)
        ]  # fmt: skip


def _standard(scores: np.ndarray) -> np.ndarray:
    """Return scores with mean 0 and deviation 1 over the catalogue, so that two spaces compare; missing ones are 0."""
    there = np.isfinite(scores)
    values = scores[there]
    result = np.zeros(len(scores))
    if len(values):
        result[there] = (values - values.mean()) / max(float(values.std()), 1e-12)
    return result


def encoded_features(workflow: Workflow) -> ItemFeatures:
    """Return the vectors that the run's own encoders made: words can only be compared with these."""
    return encoded(workflow.items())


def told(found: Found) -> str:
    """Return the scores of an item as a few words."""
    return "  ".join(f"{name} {value:.2f}" for name, value in found.parts.items())


def found_text(found: Sequence[Found]) -> str:
    """Return the list as aligned text."""
    if not found:
        return "nothing was found: no item has a vector to compare with"
    names = sorted({name for one in found for name in one.parts})
    rows = [
        {
            "": f"{place}.",
            "score": f"{one.score:.3f}",
            **{name: f"{one.parts[name]:.3f}" if name in one.parts else "-" for name in names if len(names) > 1},
            "title": one.title,
        }
        for place, one in enumerate(found, 1)
    ]
    return columns(rows)


def found_dict(query: str, found: Sequence[Found]) -> dict[str, Any]:
    """Return the list as plain values."""
    return {"query": query, "items": [asdict(one) for one in found]}


def search_sheet(search: Search, words: str | None, like: str | None, found: Sequence[Found]) -> bytes:
    """Return a contact sheet as PNG of what was found for words, or for an item."""
    data, rows = search.dataset, []
    images = data.item_table["image"]
    places = [int(idx) for idx in data.items.index(one.item_id for one in found)]
    cards = [Card(one.title, images[idx], told(one)) for one, idx in zip(found, places, strict=True)]
    query = Card(words or "")
    if like is not None:
        item = int(Catalogue(data).find([like])[0])
        query = Card(data.titles([item])[0], images[item], "asked for")
    for start in range(0, max(len(cards), 1), SHEET_FOUND):
        rows.append(Row(query, cards[start : start + SHEET_FOUND], words=like is None))
        query = None
    return contact_sheet(rows, f"Found in {data.name}", f"nearest first; {amount(len(found), 'item')}")


def items_sheet(workflow: Workflow, n_rows: int = SHEET_ROWS, k: int = SHEET_FOUND) -> bytes:
    """Return a contact sheet as PNG: items from all over the catalogue, each with what lies nearest.

    By pictures where there are any, else by texts.

    Raises:
        DataError: no item is encoded.
    """
    features, data = encoded_features(workflow), workflow.dataset
    modality = next((name for name in ("image", "text") if name in features), None)
    if modality is None:
        raise DataError(f"contact sheet of {data.name}", "no item is encoded", "See: recsys encode --help")
    unit, images = features.unit(modality), data.item_table["image"]
    chosen = spread_out(unit, n_rows)
    rows = []
    for item, near in zip(chosen, nearest(unit, unit[chosen], k + 1), strict=True):
        others = [int(idx) for idx in near if idx != item and unit[idx].any()][:k]
        titles = data.titles([item, *others])
        notes = ["", *(f"cosine {unit[item] @ unit[idx]:.2f}" for idx in others)]
        query, *cards = (
            Card(title, images[int(idx)], note) for title, idx, note in zip(titles, [item, *others], notes, strict=True)
        )
        rows.append(Row(query, cards))
    encoder = workflow.config.items.encoder_of(modality)
    told_of = (
        f"{data.name}: {amount(len(chosen), 'item')} from all over the catalogue; cosine of centred {encoder} vectors"
    )
    return contact_sheet(rows, f"Nearest items by {modality}", told_of)


def write_png(path: Path, png: bytes) -> None:
    """Write a picture where the user wants it.

    Raises:
        ArtifactError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    except OSError as error:
        raise ArtifactError(f"file {path}", error.strerror or str(error), "Choose another place for it.") from None
