"""What the pictures of a history look like: their colours, their styles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from recsys.profiles.colours import pixels_of, to_hex
from recsys.profiles.schema import Colour
from recsys.profiles.space import k_means

COLOURS = 5


class Looks:
    """Reads a catalogue's pictures when they are asked for, each once.

    Args:
        paths: of the items' pictures, ``None`` where there is none.
    """

    def __init__(self, paths: Sequence[str | None]) -> None:
        self.paths = paths
        self.pixels = lru_cache(maxsize=20_000)(self._pixels)

    def _pixels(self, item: int) -> np.ndarray | None:
        return pixels_of(self.paths[item])

    def seen(self, items: Sequence[int], most: int) -> list[int]:
        """Return the first ``most`` of the items that have a picture that can be read."""
        found: list[int] = []
        for item in items:
            if len(found) == most:
                break
            if self.pixels(int(item)) is not None:
                found.append(int(item))
        return found

    def palette(self, items: Sequence[int], rng: np.random.Generator) -> tuple[Colour, ...]:
        """Return the colours of pictures, the largest area first: k-means in CIELAB; none without pictures."""
        parts = [pixels for item in items if (pixels := self.pixels(int(item))) is not None]
        if not parts:
            return ()
        pixels = np.concatenate(parts)
        groups, centres = k_means(pixels, COLOURS, rng, steps=12)
        shares = np.bincount(groups) / len(pixels)
        order = np.argsort(-shares, kind="stable")
        return tuple(Colour(hex=to_hex(centres[one]), share=round(float(shares[one]), 3)) for one in order)
