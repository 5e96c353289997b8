"""The honest baseline: no picture is made, the nearest real ones of the catalogue are shown and marked as such."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from recsys.core.amounts import amount
from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError, DataError
from recsys.core.runtime import Run
from recsys.visuals.request import GeneratedVisual, VisualItem, VisualTaste

PICTURE, TEXT = "efficientnet", "minilm"
SAME = 3.0  # mean difference of pixels, of 255, up to which two pictures are one


class CatalogueSettings(BaseSettings):
    """How pictures are picked."""

    pool: int = Field(
        2, ge=1, description="Times as many nearest pictures as asked for, of which the seed draws; 1: the nearest."
    )


class CatalogueGenerator:
    """Real pictures of other items, nearest to a mix of the item and the taste; what a generator has to beat.

    Never the item's own picture, nor a copy of it, nor one of the history's.
    """

    Settings = CatalogueSettings

    def __init__(self, settings: CatalogueSettings | None = None) -> None:
        self.settings = settings or CatalogueSettings()
        self._items: tuple[VisualItem, ...] = ()
        self._encoder: Any = None

    def identity(self) -> str:
        """Return its name, which says what its pictures are."""
        return "catalogue (real pictures of other items, nothing is generated)"

    def read_catalogue(self, items: Sequence[VisualItem]) -> None:
        """Take the items that pictures may be picked from: those with a picture, and its vector of EfficientNet."""
        self._items = tuple(one for one in items if one.picture is not None and _known(one, PICTURE) is not None)

    def generate(
        self, target: VisualItem, taste: VisualTaste, *, n: int, dial: float, run: Run
    ) -> Sequence[GeneratedVisual]:
        """Return ``n`` pictures of other items; the same seed gives the same ones.

        Raises:
            ConfigError: ``n`` below 1 or a dial outside 0 to 1.
            DataError: a picture that cannot be read, nothing to go by, or fewer than ``n`` pictures to pick from.
        """
        from PIL import Image

        if n < 1:
            raise ConfigError("number of pictures", f"{n} is none", "Ask for 1 or more.")
        if not 0 <= dial <= 1:
            raise ConfigError("dial", f"{dial} is not from 0 to 1", "0 is true to the item, 1 to the taste.")
        pool = self._pool(target, taste, n, dial, run)
        made = []
        for seed in (run.key("visual", target.item_id, number) for number in range(n)):
            one, pixels, nearness = pool.pop(int(np.random.default_rng(seed).integers(len(pool))))
            told = {"generated": False, "catalogue_item": one.item_id, "title": one.title, "nearness": nearness}
            made.append(GeneratedVisual(Image.fromarray(pixels), target.item_id, seed, dial, self.identity(), told))
        return made

    def _pool(
        self, target: VisualItem, taste: VisualTaste, n: int, dial: float, run: Run
    ) -> list[tuple[VisualItem, np.ndarray, float]]:
        """Return the nearest items with pixels and nearness, the nearest first."""
        scores = self._nearness(target, taste, dial, run)
        found = []
        for row, one, pixels in self._others(target, taste, np.argsort(-scores, kind="stable")):
            found.append((one, pixels, round(float(scores[row]), 6)))
            if len(found) == n * self.settings.pool:
                break
        if len(found) < n:
            raise DataError(
                f"pictures for item {target.item_id!r}",
                f"{n} are asked for, and the catalogue has {amount(len(found), 'other')}",
                "Ask for fewer, or set visuals.generator=embedded.",
            )
        return found

    def _others(
        self, target: VisualItem, taste: VisualTaste, order: np.ndarray
    ) -> Iterator[tuple[int, VisualItem, np.ndarray]]:
        """Yield items in that order, with pixels: neither target nor history, nor a picture that was there before."""
        from recsys.visuals.pixels import fitted
        from recsys.visuals.reader import opened

        known = {target.item_id, *(one.item_id for one in taste.history)}
        seen = [] if target.picture is None else [fitted(opened(target)).astype(np.int16)]
        for row in order.tolist():
            one = self._items[row]
            if one.item_id in known:
                continue
            try:
                pixels = fitted(opened(one))
            except DataError:  # somebody's damaged file is no reason to show nothing
                continue
            if all(np.abs(pixels - before).mean() > SAME for before in seen):
                seen.append(pixels.astype(np.int16))
                yield row, one, pixels

    def _nearness(self, target: VisualItem, taste: VisualTaste, dial: float, run: Run) -> np.ndarray:
        """Return how near each item is to the mix, ``[n_items]``: cosines to item and taste, weighted by the dial."""
        vector, space = self._vector(target, run), PICTURE
        if vector is None:
            vector, space = _known(target, TEXT), TEXT
        liked = [found for one in taste.history if (found := _known(one, PICTURE)) is not None]
        if vector is None and not liked:
            raise DataError(
                f"item {target.item_id!r}", "has no picture and no vector to look by", "There is nothing to show."
            )
        to_target = self._cosines(vector, space)
        if not liked:
            return to_target
        to_taste = self._cosines(np.mean(liked, axis=0), PICTURE)
        return to_taste if vector is None else (1 - dial) * to_target + dial * to_taste

    def _cosines(self, vector: np.ndarray | None, space: str) -> np.ndarray:
        """Return cosines around the catalogue's mean; items without such a vector come last."""
        rows = [_known(one, space) for one in self._items]
        there = [place for place, row in enumerate(rows) if row is not None]
        cosines = np.full(len(rows), -1.0)
        if vector is None or not there:
            return cosines
        matrix = np.stack([rows[place] for place in there]).astype(np.float64)
        centre = matrix.mean(axis=0)
        matrix, apart = matrix - centre, vector - centre
        lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(apart)
        cosines[there] = matrix @ apart / np.maximum(lengths, 1e-12)
        return cosines

    def _vector(self, target: VisualItem, run: Run) -> np.ndarray | None:
        """Return the vector of the target's picture; it is encoded where it is not known."""
        found = _known(target, PICTURE)
        if found is not None or target.picture is None:
            return found
        from recsys.items import make_encoder
        from recsys.visuals.reader import opened

        self._encoder = self._encoder or make_encoder(PICTURE, "image", {})
        return self._encoder.encode([opened(target)], "image", run=run)[0]


def _known(item: VisualItem, space: str) -> np.ndarray | None:
    vector = item.vectors.get(space)
    return None if vector is None or not np.isfinite(vector).all() else vector
