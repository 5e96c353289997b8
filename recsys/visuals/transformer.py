"""The flow's transformer: noisy latents, a time and conditions to the velocity of every latent.

A diffusion transformer (Peebles & Xie, ICCV 2023) for small budgets. Time and pooled conditions steer each block
through adaptive layer norm whose first layer is shared (as PixArt-α, Chen et al., ICLR 2024, shares it). Condition
tokens are further keys and values of the self-attention, decoupled as in IP-Adapter: each block has projections of its
own for them, and a token's weight is added to its scores as a logarithm. Queries and keys are normalised; places enter
as a learned table and as rotations, rows in one half of a head and columns in the other (RoPE, Su et al. 2021). Inner
layers are squared ReLUs (So et al. 2021): as good, and cheap on a CPU.

Attention has to learn from the data that neighbours belong together; convolutions know it. On few steps that decides
(without them, 300 steps drew quilts of unrelated patches): one before the patches, a depthwise one in each block (as
SANA, Xie et al., ICLR 2025, has in its inner layers), and two after the patches, where their seams would be.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, relu, scaled_dot_product_attention, silu

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError
from recsys.visuals.conditions import Conditions, ConditionSettings
from recsys.visuals.tokens import ConditionEncoder, Tokens

FREQUENCIES = 128  # sines and cosines that a time is told by
FASTEST = 1000.0


class TransformerSettings(BaseSettings):
    """Sizes of the transformer."""

    channels: int = Field(32, ge=1, description="Numbers a latent has, as the autoencoder makes them.")
    rows: int = Field(24, ge=1, description="Latents of a picture from top to bottom.")
    columns: int = Field(16, ge=1, description="Latents of a picture from left to right.")
    patch: int = Field(2, ge=1, description="Latents of a token each way.")
    width: int = Field(192, ge=32, description="Numbers of a token.")
    depth: int = Field(8, ge=1, description="Blocks.")
    heads: int = Field(3, ge=1, description="Attention heads.")
    mlp: float = Field(4.0, gt=0, description="Width of a block's inner layer, in token widths.")
    steering: int = Field(128, ge=8, description="Width of what steers the blocks' layer norms.")
    conditions: ConditionSettings = Field(ConditionSettings(), description="Sizes of the conditions.")

    @model_validator(mode="after")
    def _sizes_fit(self) -> TransformerSettings:
        if self.width % (4 * self.heads):
            raise ConfigError("transformer width", f"{self.width} is not a multiple of 4 × heads", "Change either.")
        if self.rows % self.patch or self.columns % self.patch:
            raise ConfigError("transformer patch", f"{self.patch} does not divide the latents", "Take 1 or 2.")
        return self

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.rows // self.patch, self.columns // self.patch


class Attention(nn.Module):
    """Self-attention whose keys and values are joined by those of the condition tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.outside = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        size = width // heads
        self.query_norm, self.key_norm, self.outside_norm = nn.RMSNorm(size), nn.RMSNorm(size), nn.RMSNorm(size)

    def forward(
        self, x: torch.Tensor, tokens: torch.Tensor, bias: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [B, heads, T, size]
        k2, v2 = self.outside(tokens).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B, heads, N, size]
        q, k = rotated(self.query_norm(q), *turn), rotated(self.key_norm(k), *turn)
        keys = torch.cat([k, self.outside_norm(k2)], dim=2)  # [B, heads, T + N, size]
        values = torch.cat([v, v2], dim=2)
        mask = torch.cat([bias.new_zeros(len(x), x.shape[1]), bias], dim=1)[:, None, None]  # [B, 1, 1, T + N]
        found = scaled_dot_product_attention(q, keys, values, attn_mask=mask.expand(-1, -1, x.shape[1], -1))
        return self.out(found.transpose(1, 2).flatten(2))  # [B, T, width]


class Block(nn.Module):
    """Attention and two layers, each steered and gated by time and conditions; a new block changes nothing."""

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        width, inner = settings.width, int(settings.mlp * settings.width)
        self.attention = Attention(width, settings.heads)
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.grid = settings.grid
        self.near = silent(nn.Conv2d(width, width, 3, padding=1, groups=width))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.steer = silent(nn.Linear(settings.steering, 6 * width))

    def forward(
        self, x: torch.Tensor, steering: torch.Tensor, given: Tokens, turn: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        plane = self.norm(x).unflatten(1, self.grid).permute(0, 3, 1, 2)  # [B, width, h, w], in place
        x = x + self.near(plane).permute(0, 2, 3, 1).flatten(1, 2)
        shift, scale, gate, shift2, scale2, gate2 = self.steer(steering)[:, None].chunk(6, dim=2)  # each [B, 1, width]
        x = x + gate * self.attention(self.norm(x) * (1 + scale) + shift, given.tokens, given.bias, turn)
        return x + gate2 * self.outer(relu(self.inner(self.norm(x) * (1 + scale2) + shift2)).square())


class Seams(nn.Module):
    """Mends what single patches cannot know: the velocity by its neighbours and by what it was guessed from."""

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        channels, width = settings.channels, 2 * settings.channels
        self.first = nn.Conv2d(2 * channels, width, 3, padding=1)
        self.steer = silent(nn.Linear(settings.steering, 2 * width))
        self.second = silent(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, velocity: torch.Tensor, latents: torch.Tensor, steering: torch.Tensor) -> torch.Tensor:
        shift, scale = self.steer(steering)[:, :, None, None].chunk(2, dim=1)  # each [B, width, 1, 1]
        x = self.first(torch.cat([velocity, latents], dim=1))  # [B, width, rows, columns]
        return velocity + self.second(silu(x * (1 + scale) + shift))  # [B, channels, rows, columns]


class FlowTransformer(nn.Module):
    """Velocity of latents ``[B, channels, rows, columns]`` at times ``[B]`` from 0 (picture) to 1 (noise).

    Args:
        settings: sizes.
    """

    Settings = TransformerSettings

    def __init__(self, settings: TransformerSettings | None = None) -> None:
        super().__init__()
        self.settings = chosen = settings or TransformerSettings()
        numbers = chosen.channels * chosen.patch**2
        self.around = silent(nn.Conv2d(chosen.channels, chosen.channels, 3, padding=1))
        self.enter = nn.Linear(numbers + 4, chosen.width)  # 4: the layout's colours, and whether there is one
        self.places = nn.Parameter(0.02 * torch.randn(1, chosen.grid[0] * chosen.grid[1], chosen.width))
        self.time = nn.Sequential(
            nn.Linear(FREQUENCIES, chosen.width), nn.SiLU(), nn.Linear(chosen.width, chosen.width)
        )
        self.conditions = ConditionEncoder(chosen.conditions, chosen.width, chosen.grid)
        self.steering = nn.Linear(chosen.width, chosen.steering)
        self.blocks = nn.ModuleList(Block(chosen) for _ in range(chosen.depth))
        self.norm = nn.LayerNorm(chosen.width, elementwise_affine=False)
        self.last = silent(nn.Linear(chosen.steering, 2 * chosen.width))
        self.leave = silent(nn.Linear(chosen.width, numbers))
        self.seams = Seams(chosen)
        cosine, sine = rotations(chosen.grid, chosen.width // chosen.heads)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(self, latents: torch.Tensor, times: torch.Tensor, given: Conditions) -> torch.Tensor:
        """Return the velocity, like ``latents``."""
        chosen, told = self.settings, self.conditions(given)
        wide = latents + self.around(latents)  # each sees its neighbours
        patches = torch.cat([pixel_unshuffle(wide, chosen.patch), told.layout], dim=1)  # [B, numbers + 4, h, w]
        x = self.enter(patches.flatten(2).transpose(1, 2)) + self.places  # [B, T, width]
        steering = silu(self.steering(silu(self.time(waves(times)) + told.pooled)))  # [B, steering]
        for block in self.blocks:
            x = block(x, steering, told, (self.cosine, self.sine))
        shift, scale = self.last(steering)[:, None].chunk(2, dim=2)
        x = self.leave(self.norm(x) * (1 + scale) + shift)  # [B, T, numbers]
        velocity = pixel_shuffle(x.transpose(1, 2).unflatten(2, chosen.grid), chosen.patch)
        return self.seams(velocity, latents, steering)  # [B, channels, rows, columns]


L = TypeVar("L", bound=nn.Linear | nn.Conv2d)


def silent(layer: L) -> L:
    """Return the layer with zeros for weights: it says nothing until it has learned something."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def waves(times: torch.Tensor) -> torch.Tensor:
    """Return sines and cosines of times ``[B]`` from 0 to 1, ``[B, FREQUENCIES]``."""
    half = FREQUENCIES // 2
    speeds = torch.exp(torch.arange(half, device=times.device) * (math.log(FASTEST) / half))
    angles = times[:, None].float() * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def rotations(grid: tuple[int, int], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines for a head of ``size``, ``[T, size / 2]``: first half by row, second half by column."""
    quarter = size // 4
    speeds = torch.logspace(0, -1.5, quarter)  # turns of a whole grid and of single steps
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    angles = torch.cat([place.flatten()[:, None] * speeds for place in (rows, columns)], dim=1)  # [T, size / 2]
    return angles.cos(), angles.sin()


def rotated(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Return ``[B, heads, T, size]`` with each pair of numbers turned by its place's angle."""
    one, two = x.chunk(2, dim=3)
    return torch.cat([one * cosine - two * sine, one * sine + two * cosine], dim=3)
