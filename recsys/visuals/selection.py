"""Candidates and the choice among them: PMG's balance of taste and item, by the same dial that drew them.

Candidates are drawn at a few strengths around the dial. The best have the largest

    z = α · log d_pref + (1 − α) · log d_target,   α = dial,

where ``d`` is ``(1 + cosine) / 2`` in the space of one picture encoder: to the pictures that the user liked (the mean
of the nearest few, for a taste may have several sides), and to the item's own. What was chosen by an encoder looks good
to that encoder: an evaluation must judge by another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recsys.core.protocols import VisualGenerator
from recsys.core.runtime import Run
from recsys.visuals.request import GeneratedVisual, VisualItem, VisualTaste

AROUND = 0.15  # how far from the dial the other strengths lie
NEAREST = 5  # liked pictures that a candidate is compared with
LEAST = 1e-6


def strengths(dial: float, n: int, times: int) -> list[tuple[float, int]]:
    """Return dials and how many candidates each gets, ``n * times`` in all; the dial itself comes first, with ``n``."""
    others = [value for value in (dial - AROUND, dial + AROUND) if 0 <= value <= 1]
    extra = n * (times - 1)
    shares = [extra // len(others) + (place < extra % len(others)) for place in range(len(others))]
    return [(dial, n), *((round(value, 6), share) for value, share in zip(others, shares, strict=True) if share)]


def draw(
    generator: VisualGenerator, target: VisualItem, taste: VisualTaste, *, n: int, dial: float, times: int, run: Run
) -> list[GeneratedVisual]:
    """Return candidates, no two with the same pixels, ``n`` of them at the dial itself.

    Noise differs between strengths, so that the chosen ones are not one picture several times; it is still the same for
    every user.
    """
    found: dict[bytes, GeneratedVisual] = {}
    for place, (strength, share) in enumerate(strengths(dial, n, times)):
        own = run if place == 0 else replace(run, seed=run.key("strength", place))
        for one in generator.generate(target, taste, n=share, dial=strength, run=own):
            found.setdefault(one.image.tobytes(), one)
    return list(found.values())


@dataclass(frozen=True)
class Yardstick:
    """What candidates are compared with, in the space of one picture encoder.

    Attributes:
        target: vector of the item's picture ``[dim]``, ``None`` where it has none.
        liked: vectors of the pictures that the user liked, ``[n, dim]``; may be empty.
        centre: mean of the catalogue's pictures ``[dim]``, taken off before angles are measured, for pictures have much
            in common that tells nothing; zero where it is not known.
    """

    target: np.ndarray | None
    liked: np.ndarray
    centre: np.ndarray

    def scores(self, vectors: np.ndarray, dial: float) -> list[dict[str, float]]:
        """Return ``z``, and ``d_pref`` and ``d_target`` where they are known, of candidates ``[n, dim]``."""
        rows, parts = self._unit(vectors), {}
        if len(self.liked):
            cosine = np.sort(rows @ self._unit(self.liked).T, axis=1)[:, -NEAREST:].mean(axis=1)
            parts["d_pref"] = (dial, (1 + cosine) / 2)
        if self.target is not None:
            parts["d_target"] = (1 - dial, (1 + rows @ self._unit(self.target[None])[0]) / 2)
        z = sum((part * np.log(np.maximum(d, LEAST)) for part, d in parts.values()), np.zeros(len(rows)))
        told = {"z": z, **{name: d for name, (_, d) in parts.items()}}
        return [{name: round(float(value[row]), 6) for name, value in told.items()} for row in range(len(rows))]

    def _unit(self, rows: np.ndarray) -> np.ndarray:
        apart = np.asarray(rows, dtype=np.float64) - self.centre
        return apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)


def choose(
    candidates: Sequence[GeneratedVisual], scores: Sequence[Mapping[str, float]], n: int
) -> list[GeneratedVisual]:
    """Return the ``n`` candidates with the largest ``z``, best first, with their scores; of equals the first drawn."""
    order = sorted(range(len(candidates)), key=lambda place: -scores[place]["z"])
    return [replace(candidates[place], scores=dict(scores[place])) for place in order[:n]]
