"""Guidance by the balance that candidates are chosen by: sampling moves towards pictures with a larger z.

At each step the flow's guess of the clean picture is decoded and read by the picture encoder; the gradient of
``Yardstick.balance`` moves that guess a fixed length, and the flow goes on from there. The gradient does not run
through the flow (MPGD: He et al., ICLR 2024; of any loss: Bansal et al., Universal Guidance, 2023).
"""

from __future__ import annotations

import torch
from torch import nn

from recsys.visuals.autoencoder import Autoencoder
from recsys.visuals.selection import Yardstick


class BalanceGuidance:
    """Moves latents of pictures.

    Args:
        autoencoder: decodes them.
        eye: ``[B, 3, H, W] -> [B, dim]``, the yardstick's encoder with gradients.
        yardstick: the item and the taste.
        dial: their balance, from 0 (the item) to 1 (the taste).
        length: of the first step's move, in deviations of latents; later ones are shorter, to nothing at the end, so
            that the flow can mend what the moves leave behind.
    """

    def __init__(
        self, autoencoder: Autoencoder, eye: nn.Module, yardstick: Yardstick, dial: float, length: float
    ) -> None:
        self.autoencoder, self.eye, self.yardstick, self.dial, self.length = autoencoder, eye, yardstick, dial, length

    def __call__(self, clean: torch.Tensor, left: float) -> torch.Tensor:
        """Return latents ``[B, channels, rows, columns]`` that were moved.

        Args:
            clean: guesses of what the pictures will be.
            left: how much of the way is left, from 1 to 0.
        """
        with torch.enable_grad():
            x = clean.detach().requires_grad_(True)
            parts = self.yardstick.parts(self.eye(self.autoencoder.decode(x)))
            if not parts:
                return clean
            (slope,) = torch.autograd.grad(self.yardstick.balance(parts, self.dial).sum(), x)
        size = slope.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return clean + left * self.length * slope / size.clamp_min(1e-12)
