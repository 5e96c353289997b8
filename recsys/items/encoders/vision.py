"""Any vision backbone of ``transformers``: DINOv2, DINOv3, ViT, ConvNeXt, Swin and others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from PIL.Image import Image
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import EncoderError
from recsys.core.runtime import Run
from recsys.items.hub import Pretrained, batched, to_rows


class Vision:
    """One vector a picture from the last layer (ViT: Dosovitskiy et al., ICLR 2021; DINOv2: Oquab et al., 2023)."""

    modalities = ("image",)

    class Settings(BaseSettings):
        model: str = Field(description="Name on the hub, such as facebook/dinov2-small, or a folder.")
        revision: str | None = Field(None, description="Commit, tag or branch; unset: the cached one, else the newest.")
        pooling: Literal["auto", "pooler", "cls", "mean"] = Field(
            "auto", description="pooler, cls token or mean of patches; auto: the first of these that was trained."
        )
        normalise: bool = Field(True, description="Scale vectors to length 1.")
        batch_size: int = Field(16, ge=1, description="Pictures encoded at a time.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pretrained = Pretrained(settings.model, settings.revision)

    def identity(self) -> str:
        return self._pretrained.identity

    @cached_property
    def _loaded(self) -> tuple[Any, Any, bool]:
        """The processor, the model, and whether its pooler was trained (a missing one is random numbers)."""
        pixels = self._pretrained.pixels()
        model, missing = self._pretrained.weights(optional=r"pooler|mask_token")
        model = getattr(model, "vision_model", model)  # of a dual encoder, the half that sees
        return pixels, model, not any("pooler" in name for name in missing)

    def encode(self, contents: Sequence[Image], modality: str = "image", *, run: Run) -> np.ndarray:
        """Return float32 ``[n_pictures, dim]``, rows of length 1 unless ``normalise`` is off.

        Raises:
            EncoderError: the model cannot be loaded, or has nothing to pool so.
        """
        import torch

        pixels, model, _ = self._loaded
        device, parts = run.torch_device(), []
        model.to(device)
        for batch in batched(contents, self.settings.batch_size):
            given = {name: tensor.to(device) for name, tensor in pixels(images=batch, return_tensors="pt").items()}
            with torch.inference_mode():
                rows = self._pooled(model(**given), given["pixel_values"], model)  # [B, dim]
            parts.append(to_rows(rows, normalise=self.settings.normalise))
        return np.concatenate(parts)

    def _pooled(self, output: Any, pixels: Any, model: Any) -> Any:
        hidden, how = output.last_hidden_state, self.settings.pooling
        pooler = getattr(output, "pooler_output", None) if self._loaded[2] else None
        grid = hidden.ndim == 4  # [B, dim, height, width], of a convolutional model
        leading = 0 if grid else max(hidden.shape[1] - _n_patches(pixels, model), 0)  # CLS and register tokens
        if how == "auto":
            how = "pooler" if pooler is not None else "cls" if leading else "mean"
        if (how == "pooler" and pooler is None) or (how == "cls" and not leading):
            raise EncoderError(
                f"model {self.settings.model!r}", f"has no trained {how}", "Set options.vision.pooling to auto or mean."
            )
        if how == "pooler":
            return pooler.flatten(1)
        if how == "cls":
            return hidden[:, 0]
        return hidden.mean(dim=(2, 3)) if grid else hidden[:, leading:].mean(dim=1)


def _n_patches(pixels: Any, model: Any) -> int:
    """Return how many patches pictures ``[B, 3, height, width]`` are cut into."""
    size = getattr(model.config, "patch_size", 1)
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return (pixels.shape[-2] // height) * (pixels.shape[-1] // width)
