"""How the autoencoder learns: random crops, an absolute error that forgives outliers, and a perceptual term."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from pydantic import Field

from recsys.core.runtime import Run
from recsys.visuals.autoencoder import Autoencoder
from recsys.visuals.likeness import psnr, ssim
from recsys.visuals.perceptual import Perceptual
from recsys.visuals.pixels import to_signed
from recsys.visuals.training import StepSettings, Training

SMALL = 1e-3  # below it the error counts squared (Charbonnier)
LOOK = 400  # posters that the linear start is computed from
BATCH = 16  # whole posters at a time where nothing is learned


class ReconstructionSettings(StepSettings):
    """How the autoencoder is trained."""

    steps: int = Field(2200, ge=1, description="Steps in all.")
    batch_size: int = Field(16, ge=1, description="Crops a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Step size of Adam, after the warm-up.")
    cooldown: int = Field(700, ge=0, description="Last steps, in which the step size falls to zero.")
    crop: int = Field(64, ge=16, multiple_of=8, description="Side of a crop in pixels.")
    perceptual: float = Field(0.1, ge=0, description="Weight of the perceptual distance.")
    keep_near: float = Field(1e-3, ge=0, description="Weight of the latents' squares: they stay of one size.")


def crops(pictures: np.ndarray, size: int, n: int, rng: np.random.Generator) -> torch.Tensor:
    """Return ``n`` random crops, float32 ``[n, 3, size, size]``, of uint8 ``[n_pictures, H, W, 3]``."""
    height, width = pictures.shape[1:3]
    rows = rng.integers(len(pictures), size=n)
    tops, lefts = rng.integers(height - size + 1, size=n), rng.integers(width - size + 1, size=n)
    cut = [
        pictures[row, top : top + size, left : left + size] for row, top, left in zip(rows, tops, lefts, strict=True)
    ]
    return to_signed(np.stack(cut))


def reconstruction_loss(
    model: Autoencoder,
    pictures: torch.Tensor,
    settings: ReconstructionSettings,
    perceptual: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return the loss of a batch ``[B, 3, h, w]``; ``generator`` gives the noise on the latents."""
    latents = model.encode(pictures)
    draw = partial(torch.rand, generator=generator)
    level = draw(len(latents), 1, 1, 1).to(latents) * model.settings.noise
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    again = model.decode(latents + level * noise)  # [B, 3, h, w]
    loss = torch.sqrt((again - pictures).square() + SMALL**2).mean()
    if perceptual is not None:
        loss = loss + settings.perceptual * perceptual(again, pictures).mean()
    return loss + settings.keep_near * latents.square().mean()


def train_autoencoder(
    model: Autoencoder,
    pictures: np.ndarray,
    validation: np.ndarray,
    settings: ReconstructionSettings,
    *,
    run: Run,
    data: str = "",
) -> Training:
    """Train on uint8 pictures ``[n, H, W, 3]``; the result's ``average`` is measured and ready to use.

    Args:
        model: trained in place.
        pictures: to learn from.
        validation: pictures that figures in the log are of.
        settings: see there.
        run: seed, device, folder of the checkpoint.
        data: digest of the pictures.
    """
    start = run.rng("linear start").permutation(len(pictures))[:LOOK]
    model.start_linear(to_signed(pictures[np.sort(start)]))
    perceptual = Perceptual().to(run.torch_device()) if settings.perceptual else None

    def loss(module: Autoencoder, step: int) -> torch.Tensor:
        batch = crops(pictures, settings.crop, settings.batch_size, run.rng("crops", step)).to(run.torch_device())
        generator = torch.Generator().manual_seed(run.key("noise", step))
        return reconstruction_loss(module, batch, settings, perceptual, generator)

    training = Training(
        model, settings, loss=loss, validate=lambda average: quality(average, validation, perceptual), run=run,
        title="autoencoder", data=data,
    )  # fmt: skip
    training.fit()
    seen = pictures[np.sort(run.rng("measure").permutation(len(pictures))[: 2 * LOOK])]
    training.average.measure(_raw_latents(training.average, seen))
    return training


@torch.no_grad()
def quality(
    model: Autoencoder, pictures: np.ndarray, perceptual: Callable[..., torch.Tensor] | None = None
) -> Mapping[str, float]:
    """Return mean ``psnr`` and ``ssim`` of uint8 pictures and their reconstructions, and the perceptual distance."""
    rows: dict[str, list[np.ndarray]] = {"psnr": [], "ssim": []}
    device = next(model.parameters()).device
    for start in range(0, len(pictures), BATCH):
        batch = to_signed(pictures[start : start + BATCH]).to(device)
        again = model.decode(model.encode(batch))
        rows["psnr"].append(psnr(again, batch))
        rows["ssim"].append(ssim(again, batch))
        if perceptual is not None:
            rows.setdefault("perceptual", []).append(perceptual(again, batch).cpu().numpy())
    return {name: float(np.concatenate(parts).mean()) for name, parts in rows.items()}


@torch.no_grad()
def _raw_latents(model: Autoencoder, pictures: np.ndarray) -> torch.Tensor:
    device = next(model.parameters()).device
    parts = [
        model.encoder(to_signed(pictures[start : start + BATCH]).to(device)) for start in range(0, len(pictures), BATCH)
    ]
    return torch.cat(parts)


@torch.no_grad()
def encode_all(model: Autoencoder, pictures: np.ndarray) -> np.ndarray:
    """Return float16 latents ``[n, channels, H/8, W/8]`` of uint8 pictures ``[n, H, W, 3]``."""
    device, parts = next(model.parameters()).device, []
    for start in range(0, len(pictures), BATCH):
        parts.append(model.encode(to_signed(pictures[start : start + BATCH]).to(device)).half().cpu().numpy())
    return np.concatenate(parts)
