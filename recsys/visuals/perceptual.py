"""A perceptual distance from the lower layers of a network that knows pictures.

As LPIPS (Zhang et al., CVPR 2018), without its learned weights: features of each layer to length 1 at every place, and
their squared difference. The network is EfficientNet-Lite0, which is there already for the item vectors.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize

from recsys.visuals.eye import lite0

TAPS = (0, 2, 4)  # blocks whose output is compared: a half, a quarter and an eighth of the size


class Perceptual(nn.Module):
    """Distance of pictures ``[B, 3, H, W]`` from -1 to 1; its weights are fixed.

    Raises:
        EncoderError: the package with the network's weights is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        model = lite0()
        self.stem, self.norm, self.act = model._conv_stem, model._bn0, model._swish
        self.blocks = nn.ModuleList(model._blocks[: TAPS[-1] + 1])
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Perceptual:
        """Stay in evaluation mode: the batch statistics are those of ImageNet."""
        return super().train(False)

    def features(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return unit features of each tapped layer, ``[B, c, h, w]``."""
        x, found = self.act(self.norm(self.stem(pictures))), []  # pictures from -1 to 1 are what it was trained on
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                found.append(normalize(x, dim=1))
        return found

    def forward(self, pictures: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Return the distance of each pair, ``[B]``; gradients flow to ``pictures`` alone."""
        with torch.no_grad():
            wanted = self.features(others)
        pairs = zip(self.features(pictures), wanted, strict=True)
        return torch.stack([(one - two).square().sum(dim=1).mean(dim=(1, 2)) for one, two in pairs]).sum(dim=0)
