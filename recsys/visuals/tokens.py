"""Conditions as tokens that a transformer can read: projected, weighted, or replaced by a learned "nothing"."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import gelu, interpolate

from recsys.visuals.conditions import CONDITIONS, Conditions, ConditionSettings

LEAST = 1e-6  # a weight below it is none
ABSENT = -1e4  # added to an attention score: nothing is left of it, and no row becomes NaN


@dataclass(frozen=True)
class Tokens:
    """What the transformer gets.

    Attributes:
        tokens: ``[B, N, width]``.
        bias: added to the scores of attention to them, ``[B, N]``: the logarithm of their weights.
        pooled: one vector a picture, ``[B, width]``.
        layout: colours for every place, ``[B, 4, rows, columns]``; the fourth says whether there is a layout at all.
    """

    tokens: torch.Tensor
    bias: torch.Tensor
    pooled: torch.Tensor
    layout: torch.Tensor


class ConditionEncoder(nn.Module):
    """Conditions to ``Tokens``.

    Args:
        settings: sizes.
        width: of the transformer.
        grid: its rows and columns of tokens.
    """

    def __init__(self, settings: ConditionSettings, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.settings, self.grid = settings, grid
        self.text = nn.Linear(settings.text_dim, width)
        self.picture = nn.Linear(settings.picture_dim, settings.picture_tokens * width)
        self.keyword = nn.Linear(settings.text_dim, width)
        self.past = nn.Linear(settings.picture_dim, width)
        self.soft_inner = nn.Linear(settings.soft_dim, settings.soft_hidden)
        self.soft_outer = nn.Linear(settings.soft_hidden, settings.soft_tokens * width)
        sizes = dict.fromkeys(("text", "picture", "keywords", "soft", "history"), 1)
        sizes |= {"picture": settings.picture_tokens, "soft": settings.soft_tokens}
        self.nothing = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(n, width)) for name, n in sizes.items()})
        self.kind = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in sizes})
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in sizes})
        self.pool = nn.ModuleDict({name: nn.Linear(width, width) for name in sizes})

    def forward(self, given: Conditions) -> Tokens:
        on = dict(zip(CONDITIONS, given.on.unbind(dim=1), strict=True))  # name -> [B]
        parts = [
            self._single("text", given.text, on["text"]),
            self._single("picture", given.picture, on["picture"]),
            self._list("keywords", given.keywords, given.keyword_weights, on["keywords"]),
            self._single("soft", given.soft, on["soft"]),
            self._list("history", given.history, given.history_weights, on["history"]),
        ]
        pooled = torch.stack([one[2] for one in parts]).sum(dim=0)  # [B, width]
        tokens, bias = torch.cat([one[0] for one in parts], dim=1), torch.cat([one[1] for one in parts], dim=1)
        return Tokens(tokens, bias, pooled, self._layout(given, on["layout"]))

    def _project(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """Return tokens ``[B, n, width]`` of what one condition gives."""
        if name == "text":
            found = self.text(_even(value))[:, None]
        elif name == "picture":
            found = self.picture(_even(value)).unflatten(1, (self.settings.picture_tokens, -1))
        elif name == "keywords":
            found = self.keyword(_even(value))
        elif name == "history":
            found = self.past(_even(value))
        else:
            found = self.soft_outer(gelu(self.soft_inner(value))).unflatten(2, (self.settings.soft_tokens, -1))
            found = found.flatten(1, 2)  # [B, M soft_tokens, width]
        return self.norms[name](found) + self.kind[name]

    def _single(self, name: str, value: torch.Tensor | None, on: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return tokens, bias and pooled vector of a condition that has always as many tokens."""
        nothing = (self.nothing[name] + self.kind[name]).expand(len(on), -1, -1)  # [B, n, width]
        if value is None:
            tokens = nothing
        else:
            found = self._project(name, value)
            often = found.shape[1] // nothing.shape[1]  # a language model's states: several vectors, each soft tokens
            tokens = torch.where(on[:, None, None], found, nothing.repeat(1, often, 1))
        return tokens, tokens.new_zeros(tokens.shape[:2]), self.pool[name](tokens.mean(dim=1))

    def _list(
        self, name: str, value: torch.Tensor | None, weights: torch.Tensor | None, on: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return the same of a weighted list; what has weight 0 is not there, and an empty list is "nothing"."""
        nothing = (self.nothing[name] + self.kind[name]).expand(len(on), -1, -1)  # [B, 1, width]
        if value is None or weights is None:
            return nothing, nothing.new_zeros(nothing.shape[:2]), self.pool[name](nothing[:, 0])
        weights = weights * on[:, None]  # [B, n]
        empty = weights.amax(dim=1, keepdim=True) <= LEAST  # [B, 1]
        tokens = torch.cat([self._project(name, value), nothing], dim=1)  # [B, n + 1, width]
        weights = torch.cat([weights, empty.to(weights.dtype)], dim=1)  # [B, n + 1]
        bias = torch.where(weights > LEAST, weights.clamp_min(LEAST).log(), weights.new_tensor(ABSENT))
        share = weights / weights.sum(dim=1, keepdim=True)
        return tokens, bias, self.pool[name]((share[:, :, None] * tokens).sum(dim=1))

    def _layout(self, given: Conditions, on: torch.Tensor) -> torch.Tensor:
        if given.layout is None:
            return given.on.new_zeros((len(on), 4, *self.grid), dtype=self.text.weight.dtype)
        colours = interpolate(given.layout, size=self.grid, mode="bilinear", align_corners=False)  # [B, 3, h, w]
        there = torch.ones_like(colours[:, :1])
        return torch.cat([colours, there], dim=1) * on[:, None, None, None]


def _even(vectors: torch.Tensor) -> torch.Tensor:
    """Return vectors with numbers of size about 1, whatever their length was: unit vectors are tiny ones."""
    return nn.functional.normalize(vectors, dim=-1) * vectors.shape[-1] ** 0.5
