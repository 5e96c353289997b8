"""From what is asked for to conditions: texts and pictures read by the two built-in encoders, each content once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.items.images import ImageFault, decode, read_bytes
from recsys.visuals.conditions import Conditions
from recsys.visuals.examples import layouts
from recsys.visuals.pixels import fitted
from recsys.visuals.request import VisualItem, VisualTaste
from recsys.visuals.taste import TasteSpace, nearest

REMEMBERED = 4096  # vectors of texts kept at hand


class Reader:
    """Makes conditions of one target and one taste.

    Args:
        space: of user vectors.
        history: pictures of the history at most.
        keywords: words at most, the heaviest first.
        run: of the encoders.
        encoders: ``(text, picture)``; by default the built-in ones, loaded when something must be encoded.
        soft: ``(target, taste, user vector, rows of the nearest liked items) -> [n, soft_dim]``, the soft half; by
            default the user vector is what soft tokens are made from.
    """

    def __init__(
        self, space: TasteSpace, history: int, keywords: int, *, run: Run, encoders: tuple[Any, Any] | None = None,
        soft: Callable[[VisualItem, VisualTaste, np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        self.space, self.history, self.keywords, self.run, self.soft = space, history, keywords, run, soft
        self._encoders = encoders
        self._text: Callable[[str], np.ndarray] = lru_cache(REMEMBERED)(self._encoded_text)

    def conditions(self, target: VisualItem, taste: VisualTaste) -> tuple[Conditions, np.ndarray | None]:
        """Return conditions of one picture, and the target's own pixels, uint8 ``[H, W, 3]``, if it has any.

        Raises:
            DataError: a picture that cannot be read, or nothing at all to go by.
        """
        given: dict[str, np.ndarray] = {}
        text, picture = self._vectors(target)
        pixels = None if target.picture is None else fitted(opened(target))
        if text is not None:
            given["text"] = text
        if picture is not None:
            given["picture"] = picture
        if pixels is not None:
            given["layout"] = layouts(pixels[None])[0]
        if not given:
            raise DataError(f"item {target.item_id!r}", "has neither text nor picture", "There is nothing to draw.")
        given |= self._words(taste.keywords) | self._past(target, text, taste)
        return Conditions.of(**{name: torch.from_numpy(value[None]).float() for name, value in given.items()}), pixels

    def _words(self, keywords: Sequence[tuple[str, float]]) -> dict[str, np.ndarray]:
        kept = sorted((one for one in keywords if one[1] > 0), key=lambda one: -one[1])[: self.keywords]
        if not kept:
            return {}
        weights = np.array([min(weight, 1.0) for _, weight in kept], dtype=np.float32)
        return {"keywords": np.stack([self._text(word) for word, _ in kept]), "keyword_weights": weights}

    def _past(self, target: VisualItem, text: np.ndarray | None, taste: VisualTaste) -> dict[str, np.ndarray]:
        """Return the history's pictures that are most like the target by their texts, and what tells of the user."""
        found: dict[str, np.ndarray] = {}
        if taste.history:
            pairs = [self._vectors(one) for one in taste.history]
            texts = np.stack([np.full(len(self.space.text_mean), np.nan) if one is None else one for one, _ in pairs])
            looks = np.stack(
                [np.full(len(self.space.picture_mean), np.nan) if one is None else one for _, one in pairs]
            )
            near = nearest(text if text is not None else np.zeros(texts.shape[1]), texts, self.history)
            seen = [one for one in near if np.isfinite(looks[one]).all()]
            if seen:
                found["history"] = looks[seen]
            rows = self.space.rows(texts, looks)
            user = self.space.user(rows, near)
            plain = self.soft is None or taste.soft is not None
            found["soft"] = user[None] if plain else self.soft(target, taste, user, rows[near])
        if taste.soft is not None:
            found["soft"] = np.asarray(taste.soft, dtype=np.float32)
        return found

    def _vectors(self, item: VisualItem) -> tuple[np.ndarray | None, np.ndarray | None]:
        text, picture = item.vectors.get("minilm"), item.vectors.get("efficientnet")
        if text is None and item.text:
            text = self._text(item.text)
        if picture is None and item.picture is not None:
            picture = self.encoders[1].encode([opened(item)], "image", run=self.run)[0]
        known = [None if one is None or not np.isfinite(one).all() else one for one in (text, picture)]
        return known[0], known[1]

    def _encoded_text(self, text: str) -> np.ndarray:
        return self.encoders[0].encode([text], "text", run=self.run)[0]

    @property
    def encoders(self) -> tuple[Any, Any]:
        """The encoders of texts and pictures."""
        if self._encoders is None:
            from recsys.items import make_encoder

            self._encoders = (make_encoder("minilm", "text", {}), make_encoder("efficientnet", "image", {}))
        return self._encoders


def opened(item: VisualItem) -> Image.Image:
    """Return an item's picture.

    Raises:
        DataError: it cannot be read.
    """
    if isinstance(item.picture, Image.Image):
        return item.picture.convert("RGB")
    try:
        return decode(read_bytes(str(item.picture)))
    except ImageFault as fault:
        raise DataError(
            f"picture of item {item.item_id!r} ({item.picture})", str(fault), "Mend or remove the file."
        ) from None
