"""Candidates and the choice among them: PMG's balance of taste and item, by the same dial that drew them.

Candidates are drawn at a few strengths around the dial. The best have the largest

    z = α · log d_pref + (1 − α) · log d_target,   α = dial,

where ``d`` is ``(1 + cosine) / 2`` in the space of one picture encoder: to the user's taste, the mean direction of the
pictures that the user liked, and to the item's own. What was chosen by an encoder looks good to that encoder: an
evaluation must judge by another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys.core.protocols import VisualGenerator
from recsys.core.runtime import Run
from recsys.visuals.request import GeneratedVisual, VisualItem, VisualTaste

if TYPE_CHECKING:
    import torch

YARDSTICK = "efficientnet"  # the encoder that chooses, and that guides; an evaluation must take another
AROUND = 0.15  # how far from the dial the other strengths lie
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
    """What pictures are compared with, in the space of one picture encoder.

    Attributes:
        target: vector of the item's picture ``[dim]``, ``None`` where it has none.
        liked: vectors of the pictures that the user liked, ``[n, dim]``; may be empty.
        centre: what pictures that people take have in common ``[dim]``, taken off before angles are measured, for it
            tells nothing of one user or item; zero where it is not known.
    """

    target: np.ndarray | None
    liked: np.ndarray
    centre: np.ndarray

    @classmethod
    def of(
        cls, target: VisualItem, taste: VisualTaste, encode: Callable[[Sequence[Any]], np.ndarray],
        centre: np.ndarray | None = None,
    ) -> Yardstick:  # fmt: skip
        """Return the yardstick of one request.

        Args:
            target, taste: what is asked for; vectors that are not known are made.
            encode: pictures to vectors ``[n, dim]``, by the encoder named ``YARDSTICK``.
            centre: in case ``taste.everybody`` does not say.

        Raises:
            DataError: a picture that cannot be read.
        """
        own, liked = _seen([target], encode), _seen(taste.history, encode)
        common = taste.everybody.get(YARDSTICK, np.zeros(1) if centre is None else centre)
        return cls(own[0] if own else None, np.array(liked), common)

    def parts(self, vectors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``d_pref`` and ``d_target``, those that are known, of pictures ``[n, dim]``: from 0 to 1, ``[n]``."""
        import torch
        from torch.nn.functional import normalize

        found = {"d_pref": self.liked if len(self.liked) else None, "d_target": self.target}
        centre = torch.as_tensor(self.centre).to(vectors)
        rows = normalize(vectors - centre, dim=1)
        for name, given in found.items():
            if given is not None:
                apart = normalize(torch.atleast_2d(torch.as_tensor(given)).to(vectors) - centre, dim=1)
                found[name] = (1 + rows @ normalize(apart.mean(dim=0), dim=0)) / 2
        return {name: value for name, value in found.items() if value is not None}

    def balance(self, parts: Mapping[str, torch.Tensor], dial: float) -> torch.Tensor:
        """Return ``z`` of ``parts``, ``[n]``; what is not known adds nothing."""
        share = {"d_pref": dial, "d_target": 1 - dial}
        return sum(share[name] * d.clamp_min(LEAST).log() for name, d in parts.items())

    def scores(self, vectors: np.ndarray, dial: float) -> list[dict[str, float]]:
        """Return ``z``, and ``d_pref`` and ``d_target`` where they are known, of candidates ``[n, dim]``."""
        import torch

        rows = torch.as_tensor(np.asarray(vectors, dtype=np.float64))
        parts = self.parts(rows)
        told = {"z": self.balance(parts, dial) if parts else torch.zeros(len(rows)), **parts}
        return [{name: round(float(value[row]), 6) for name, value in told.items()} for row in range(len(rows))]


def _seen(items: Sequence[VisualItem], encode: Callable[[Sequence[Any]], np.ndarray]) -> list[np.ndarray]:
    """Return vectors of the items' pictures, those that are not known encoded."""
    from recsys.visuals.reader import opened

    known = [one.vectors[YARDSTICK] for one in items if YARDSTICK in one.vectors]
    fresh = [opened(one) for one in items if one.picture is not None and YARDSTICK not in one.vectors]
    return [*known, *(encode(fresh) if fresh else [])]


def choose(
    candidates: Sequence[GeneratedVisual], scores: Sequence[Mapping[str, float]], n: int
) -> list[GeneratedVisual]:
    """Return the ``n`` candidates with the largest ``z``, best first, with their scores; of equals the first drawn."""
    order = sorted(range(len(candidates)), key=lambda place: -scores[place]["z"])
    return [replace(candidates[place], scores=dict(scores[place])) for place in order[:n]]
