"""The autoencoder: a poster as a small grid of latents, an eighth as high and wide, and back.

Beneath it lies the best linear one, a principal component analysis of 8 × 8 patches, which stays as it is; convolutions
learn what it leaves. On a laptop that saves most of the training: what PCA knows need not be found by gradient. Latents
get a little noise in training, as in regularised latent diffusion (Rombach et al., CVPR 2022), so that the decoder
forgives what a generator gets wrong. For the flow above them, latents are scaled by half-way whitening: colour and
brightness stay larger than fine edges, so that noise hides the edges first and a picture is made from coarse to fine.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, silu

from recsys.core.config import Settings as BaseSettings

STRIDE = 8  # pixels of a latent, each way
FOLD = 4  # the convolutions never work at full size: pixels are folded into channels first


class AutoencoderSettings(BaseSettings):
    """Sizes of the autoencoder."""

    channels: int = Field(32, ge=1, le=192, description="Numbers a latent has; 192 would keep every pixel.")
    width: int = Field(96, ge=8, description="Channels at a quarter of the size; twice as many at an eighth.")
    encoder_blocks: int = Field(1, ge=0, description="Residual blocks of the encoder at each of the two sizes.")
    decoder_blocks: int = Field(3, ge=0, description="Residual blocks of the decoder at each of the two sizes.")
    noise: float = Field(0.1, ge=0, description="Most noise that latents of deviation 1 get in training.")


class Block(nn.Module):
    """Two convolutions beside an identity; the second starts at zero, so that a new block changes nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(silu(self.first(silu(self.norm(x)))))  # [B, width, h, w]


def _blocks(n: int, width: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(n)))


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Encoder(nn.Module):
    """``[B, 3, H, W]`` to latents ``[B, channels, H/8, W/8]``: a linear map of patches, plus what convolutions add."""

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        width, deep = settings.width, 2 * settings.width
        self.linear = nn.Conv2d(3, settings.channels, STRIDE, stride=STRIDE).requires_grad_(False)
        self.enter = nn.Conv2d(3 * FOLD**2, width, 3, padding=1)
        self.high = _blocks(settings.encoder_blocks, width)
        self.down = nn.Conv2d(4 * width, deep, 1)
        self.low = _blocks(settings.encoder_blocks, deep)
        self.leave = _silent(nn.Conv2d(deep, settings.channels, 3, padding=1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        x = self.high(self.enter(pixel_unshuffle(pictures, FOLD)))  # [B, width, H/4, W/4]
        x = self.low(self.down(pixel_unshuffle(x, 2)))  # [B, 2 width, H/8, W/8]
        return self.linear(pictures) + self.leave(silu(x))  # [B, channels, H/8, W/8]


class Decoder(nn.Module):
    """Latents ``[B, channels, h, w]`` to ``[B, 3, 8h, 8w]``, the same way back."""

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        width, deep = settings.width, 2 * settings.width
        self.linear = nn.ConvTranspose2d(settings.channels, 3, STRIDE, stride=STRIDE).requires_grad_(False)
        self.enter = nn.Conv2d(settings.channels, deep, 3, padding=1)
        self.low = _blocks(settings.decoder_blocks, deep)
        self.up = nn.Conv2d(deep, 4 * width, 1)
        self.high = _blocks(settings.decoder_blocks, width)
        self.leave = _silent(nn.Conv2d(width, 3 * FOLD**2, 3, padding=1))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        x = pixel_shuffle(self.up(self.low(self.enter(latents))), 2)  # [B, width, 2h, 2w]
        return self.linear(latents) + pixel_shuffle(self.leave(silu(self.high(x))), FOLD)  # [B, 3, 8h, 8w]


class Autoencoder(nn.Module):
    """Pictures to latents of mean 0 and deviation 1 over all channels, and back.

    Args:
        settings: sizes.

    Sizes of pictures must be multiples of 8. ``mean`` and ``deviation`` are measured once it is trained (``measure``).
    """

    Settings = AutoencoderSettings

    def __init__(self, settings: AutoencoderSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or AutoencoderSettings()
        self.encoder, self.decoder = Encoder(self.settings), Decoder(self.settings)
        self.register_buffer("mean", torch.zeros(self.settings.channels, 1, 1))
        self.register_buffer("deviation", torch.ones(self.settings.channels, 1, 1))

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return latents ``[B, channels, H/8, W/8]`` of pictures ``[B, 3, H, W]`` from -1 to 1."""
        return (self.encoder(pictures) - self.mean) / self.deviation

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pictures ``[B, 3, 8h, 8w]`` of latents ``[B, channels, h, w]``; not clipped."""
        return self.decoder(latents * self.deviation + self.mean)

    @torch.no_grad()
    def start_linear(self, pictures: torch.Tensor) -> None:
        """Become the PCA of these pictures' patches, ``[n, 3, H, W]``: the place that training starts from."""
        patches = pixel_unshuffle(pictures, STRIDE).permute(0, 2, 3, 1).flatten(0, 2).double()  # [n, 192]
        centre = patches.mean(dim=0)
        values, vectors = torch.linalg.eigh((patches - centre).T @ (patches - centre) / len(patches))
        kept = self.settings.channels
        scale = values.flip(0)[:kept].clamp_min(1e-8).sqrt()
        basis = vectors.flip(1)[:, :kept]  # [192, channels]
        basis = basis * torch.sign(basis.sum(dim=0) + 1e-12)  # an eigenvector's sign is free: take one that is stable
        into, out = (basis / scale).T, (basis * scale).T  # [channels, 192]
        shape = (kept, 3, STRIDE, STRIDE)  # the order of pixel_unshuffle: colour, row, column
        self.encoder.linear.weight.copy_(into.reshape(shape))
        self.encoder.linear.bias.copy_(-into @ centre)
        self.decoder.linear.weight.copy_(out.reshape(shape))
        self.decoder.linear.bias.copy_(centre.reshape(3, -1).mean(dim=1))

    @torch.no_grad()
    def measure(self, latents: torch.Tensor) -> None:
        """Take mean and scale of each channel from raw latents ``[n, channels, h, w]`` of the encoder.

        A channel's deviation becomes the square root of what it moves in the picture; their mean square is 1.
        """
        self.mean.copy_(latents.mean(dim=(0, 2, 3)).view_as(self.mean))
        raw = latents.std(dim=(0, 2, 3)).clamp_min(1e-6)  # [channels]
        moved = raw * self.decoder.linear.weight.flatten(1).norm(dim=1).clamp_min(1e-6)
        wanted = moved.sqrt() / moved.mean().sqrt()
        self.deviation.copy_((raw / wanted).view_as(self.deviation))
