"""A prior over picture embeddings: what a picture that somebody likes would be like, before there is one.

As REBECA (2025, arXiv 2502.18477) samples the embedding of a picture for a user and leaves drawing it to a generator
that was learned elsewhere. Here the embedding is EfficientNet's, in whitened principal components; the user is what
the pictures and texts of their history have in common (``TasteSpace``), not a number that newcomers lack; the item's
text may be told besides; and the network is a rectified flow (``flow.py``) of vectors: residual layers whose layer
norms are steered by time, user and text. Each condition is dropped at random, so that guidance works for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import silu

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError, did_you_mean
from recsys.visuals.flow import FlowSettings, noised, training_times
from recsys.visuals.transformer import FREQUENCIES, silent, waves

CONDITIONS = ("user", "text")
LEAST_SCALE = 1e-6  # of a component: a catalogue of few pictures has directions without any spread


class PriorSettings(BaseSettings):
    """Sizes of the prior."""

    picture_dim: int = Field(1280, ge=1, description="Of vectors of pictures.")
    components: int = Field(96, ge=1, description="Principal components that are sampled.")
    user_dim: int = Field(128, ge=1, description="Of user vectors: half of a taste space's.")
    text_dim: int = Field(384, ge=0, description="Of vectors of items' texts; 0: they are no condition.")
    width: int = Field(160, ge=8, description="Numbers that pass through the layers.")
    depth: int = Field(4, ge=1, description="Residual layers.")
    mlp: float = Field(2.0, gt=0, description="Width of an inner layer, in widths.")
    steering: int = Field(96, ge=8, description="Width of what steers the layer norms.")


@dataclass(frozen=True)
class PriorConditions:
    """What is known of a batch.

    Attributes:
        users: as ``likes.user_vectors`` gives them, ``[B, user_dim]``.
        texts: of items, ``[B, text_dim]``, or ``None``.
        on: which conditions count, bool ``[B, 2]``, in the order of ``CONDITIONS``.
    """

    users: torch.Tensor
    texts: torch.Tensor | None
    on: torch.Tensor

    @classmethod
    def of(cls, users: np.ndarray, texts: np.ndarray | None = None) -> PriorConditions:
        """Return conditions that are on where they are known: a zero row is nobody, a NaN row (or ``None``) no text."""
        known = np.zeros((len(users), len(CONDITIONS)), dtype=bool)
        known[:, 0] = users.any(axis=1)
        if texts is not None:
            known[:, 1] = np.isfinite(texts).all(axis=1)
            texts = torch.from_numpy(np.nan_to_num(texts).astype(np.float32))
        return cls(torch.from_numpy(users.astype(np.float32)), texts, torch.from_numpy(known))

    def __len__(self) -> int:
        return len(self.on)

    def without(self, name: str) -> PriorConditions:
        """Return the same with one condition off."""
        on = self.on.clone()
        on[:, CONDITIONS.index(name)] = False
        return replace(self, on=on)

    def dropped(self, rate: float, generator: torch.Generator) -> PriorConditions:
        """Return the same with conditions off at random, each on its own."""
        kept = torch.rand(self.on.shape, generator=generator) >= rate
        return replace(self, on=self.on & kept.to(self.on.device))

    def to(self, device: torch.device | str) -> PriorConditions:
        texts = None if self.texts is None else self.texts.to(device)
        return PriorConditions(self.users.to(device), texts, self.on.to(device))

    def each(self, times: int) -> PriorConditions:
        """Return every row ``times`` times, one after the other."""
        texts = None if self.texts is None else self.texts.repeat_interleave(times, dim=0)
        return PriorConditions(self.users.repeat_interleave(times, 0), texts, self.on.repeat_interleave(times, 0))

    @staticmethod
    def joined(parts: list[PriorConditions]) -> PriorConditions:
        """Return batches as one; texts are those of all or of none."""
        texts = None if parts[0].texts is None else torch.cat([one.texts for one in parts])
        return PriorConditions(torch.cat([one.users for one in parts]), texts, torch.cat([one.on for one in parts]))


class SteeredLayer(nn.Module):
    """A residual inner layer behind a steered layer norm (adaLN-Zero, Peebles & Xie, ICCV 2023)."""

    def __init__(self, width: int, inner: int, steering: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.steer = silent(nn.Linear(steering, 3 * width))
        self.into, self.out = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: torch.Tensor, steering: torch.Tensor) -> torch.Tensor:
        shift, scale, gate = self.steer(steering).chunk(3, dim=1)
        return x + gate * self.out(silu(self.into(self.norm(x) * (1 + scale) + shift)))


class Prior(nn.Module):
    """The velocity of whitened picture vectors, and the way from them to picture vectors and back."""

    Settings = PriorSettings

    def __init__(self, settings: PriorSettings | None = None) -> None:
        super().__init__()
        self.settings = one = settings or PriorSettings()
        self.register_buffer("mean", torch.zeros(one.picture_dim))
        self.register_buffer("basis", torch.zeros(one.picture_dim, one.components))
        self.register_buffer("scale", torch.ones(one.components))  # deviation of each component
        self.into, self.out = nn.Linear(one.components, one.width), silent(nn.Linear(one.width, one.components))
        self.time, self.user = nn.Linear(FREQUENCIES, one.steering), nn.Linear(one.user_dim, one.steering)
        self.text = nn.Linear(one.text_dim, one.steering) if one.text_dim else None
        self.nothing = nn.Parameter(torch.randn(len(CONDITIONS), one.steering) * 0.02)
        self.mixed = nn.Linear(one.steering, one.steering)
        inner = round(one.mlp * one.width)
        self.layers = nn.ModuleList(SteeredLayer(one.width, inner, one.steering) for _ in range(one.depth))
        self.last = nn.LayerNorm(one.width)

    def forward(self, x: torch.Tensor, times: torch.Tensor, given: PriorConditions) -> torch.Tensor:
        """Return the velocity ``[B, components]`` at ``x [B, components]`` and times ``[B]``."""
        steering = silu(self.mixed(silu(self.time(waves(times)) + self._told(given))))
        x = self.into(x)
        for layer in self.layers:
            x = layer(x, steering)
        return self.out(self.last(x))

    def _told(self, given: PriorConditions) -> torch.Tensor:
        told = torch.where(given.on[:, :1], self.user(given.users), self.nothing[0])
        if self.text is None or given.texts is None:
            return told + self.nothing[1]
        texts = given.texts * self.settings.text_dim**0.5  # of length 1: to numbers of size 1
        return told + torch.where(given.on[:, 1:], self.text(texts), self.nothing[1])

    def measure(self, pictures: np.ndarray) -> None:
        """Take mean and principal components of picture vectors ``[n, picture_dim]``, all finite."""
        rows = pictures.astype(np.float64)
        centred = rows - rows.mean(axis=0)
        values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
        kept = slice(None, -self.settings.components - 1, -1)
        basis, spread = vectors[:, kept], np.sqrt(np.maximum(values[kept], 0.0))
        basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])])
        for name, value in (("mean", rows.mean(axis=0)), ("basis", basis), ("scale", spread)):
            getattr(self, name).copy_(torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)))

    def coordinates(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return whitened components ``[..., components]`` of picture vectors ``[..., picture_dim]``."""
        return (pictures - self.mean) @ self.basis / self.scale.clamp(min=LEAST_SCALE)

    def pictures(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Return the picture vectors ``[..., picture_dim]`` of whitened components."""
        return (coordinates * self.scale) @ self.basis.T + self.mean

    def sample(
        self,
        users: np.ndarray,
        texts: np.ndarray | None = None,
        *,
        n: int,
        guidance: Mapping[str, float] | None = None,
        seed: int = 0,
        steps: int = 16,
    ) -> np.ndarray:
        """Return ``n`` picture vectors for each user, float32 ``[n_users, n, picture_dim]``.

        Args:
            users: as ``likes.user_vectors`` gives them, ``[n_users, user_dim]``; a zero row is nobody.
            texts: of an item for each, ``[n_users, text_dim]``; a NaN row (or ``None``): no item.
            n: samples; their noise depends on the seed alone, and is the same for all users.
            guidance: strength of ``user`` and ``text``; 1, where nothing is told: as learned.
            seed: of the noise.
            steps: of the way from noise to a vector.

        Raises:
            ConfigError: guidance by another name.
        """
        noise = torch.randn(n, self.settings.components, generator=torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            found = sampled(self, noise, PriorConditions.of(users, texts), guidance or {}, steps)
            return self.pictures(found).cpu().numpy()


def prior_loss(
    model: Prior, x: torch.Tensor, given: PriorConditions, drop: float, settings: FlowSettings, seed: int
) -> torch.Tensor:
    """Return the mean squared error of the velocity at whitened components ``x [B, components]``.

    Times (as ``settings`` say), noise and which conditions are dropped (at rate ``drop``) follow from the seed.
    """
    generator = torch.Generator().manual_seed(seed)
    times, noise = training_times(len(x), settings, generator).to(x), torch.randn(x.shape, generator=generator).to(x)
    there = noised(x[:, :, None, None], noise[:, :, None, None], times).flatten(1)
    return (model(there, times, given.dropped(drop, generator)) - (noise - x)).square().mean()


def sampled(
    model: Prior, noise: torch.Tensor, given: PriorConditions, guidance: Mapping[str, float], steps: int
) -> torch.Tensor:
    """Return whitened components for each row of ``given`` and of ``noise [n, components]``: ``[B, n, components]``.

    Euler's method. v = v(all) + sum of (strength - 1) (v(all) - v(all but that one)); a strength of 0 turns its
    condition off, so that nothing of it is left, not even in the last bit.

    Raises:
        ConfigError: guidance by another name.
    """
    for name in guidance:
        if name not in CONDITIONS:
            raise ConfigError(f"guidance by {name!r}", "no such condition", did_you_mean(name, CONDITIONS))
    device = model.mean.device
    for name in (name for name, strength in guidance.items() if strength == 0):
        given = given.without(name)
    used = {name: strength for name, strength in guidance.items() if strength not in (0, 1)}
    rows = given.to(device).each(len(noise))
    variants = PriorConditions.joined([rows, *(rows.without(name) for name in used)])
    x = noise.to(device).repeat(len(given), 1)  # [B * n, components]
    for step in range(steps, 0, -1):
        parts = len(used) + 1
        times = x.new_full((parts * len(x),), step / steps)
        full, *less = model(x.repeat(parts, 1), times, variants).chunk(parts)
        slope = full + sum((w - 1) * (full - one) for w, one in zip(used.values(), less, strict=True))
        x = x - slope / steps
    return x.unflatten(0, (len(given), len(noise)))
