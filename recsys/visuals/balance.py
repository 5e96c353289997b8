"""Guidance by the balance that candidates are chosen by: sampling moves towards pictures with a larger z.

At each step the flow's guess of the clean picture is decoded and read by the picture encoder; the gradient of
``Yardstick.balance`` moves that guess a fixed length, and the flow goes on from there. The gradient does not run
through the flow (MPGD: He et al., ICLR 2024; of any loss: Bansal et al., Universal Guidance, 2023).
"""

from __future__ import annotations

import random

import torch
from torch import nn

from recsys.visuals.autoencoder import Autoencoder
from recsys.visuals.selection import Yardstick

CUT = 0.25  # of each side of a picture, at most, that a view leaves out


class BalanceGuidance:
    """Moves latents of pictures.

    Args:
        autoencoder: decodes them.
        eye: ``[B, 3, H, W] -> [B, dim]``, the yardstick's encoder with gradients.
        yardstick: the item and the taste.
        dial: their balance, from 0 (the item) to 1 (the taste).
        length: of the first step's move, in deviations of latents; later ones are shorter, to nothing at the end, so
            that the flow can mend what the moves leave behind.
        views: from 0 (the eye always sees the whole picture) to 1, see ``viewed``.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        eye: nn.Module,
        yardstick: Yardstick,
        dial: float,
        length: float,
        views: float = 0.0,
    ) -> None:
        self.autoencoder, self.eye, self.yardstick, self.dial, self.length = autoencoder, eye, yardstick, dial, length
        self.views = views

    def __call__(self, clean: torch.Tensor, left: float) -> torch.Tensor:
        """Return latents ``[B, channels, rows, columns]`` that were moved.

        Args:
            clean: guesses of what the pictures will be.
            left: how much of the way is left, from 1 to 0.
        """
        with torch.enable_grad():
            x = clean.detach().requires_grad_(True)
            parts = self.yardstick.parts(self.eye(viewed(self.autoencoder.decode(x), self.views, round(20 * left))))
            if not parts:
                return clean
            (slope,) = torch.autograd.grad(self.yardstick.balance(parts, self.dial).sum(), x)
        size = slope.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return clean + left * self.length * slope / size.clamp_min(1e-12)


def viewed(pictures: torch.Tensor, views: float, seed: int) -> torch.Tensor:
    """Return what is looked at of pictures ``[B, 3, H, W]``: a part of them, mirrored or not.

    What one network alone would take for a taste seldom lasts from one view to the next; what is to be seen does.

    Args:
        pictures: all are cropped alike.
        views: 0 shows them whole; at 1 down to three quarters of each side, mirrored as often as not.
        seed: of place, size and side.
    """
    if not views:
        return pictures
    drawn, (rows, columns) = random.Random(seed), pictures.shape[2:]
    share = drawn.uniform(1 - CUT * views, 1)
    height, width = max(1, round(rows * share)), max(1, round(columns * share))
    top, left = drawn.randint(0, rows - height), drawn.randint(0, columns - width)
    part = pictures[:, :, top : top + height, left : left + width]
    return part.flip(3) if drawn.random() < views / 2 else part
