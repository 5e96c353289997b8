"""Pictures to a model's input, as its ``preprocessor_config.json`` says, with Pillow and numpy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CONFIG = "preprocessor_config.json"


def image_processor(folder: Path) -> Any:
    """Return the processor of a folder's model: that of transformers for Pillow, else ``PlainPixels``.

    Where torchvision is installed it is left alone, so that vectors do not depend on it.

    Raises:
        OSError: the folder has none.
        ValueError: it has one that cannot be used.
    """
    from transformers import AutoImageProcessor

    try:
        found = AutoImageProcessor.from_pretrained(
            str(folder), backend="pil", local_files_only=True, trust_remote_code=False
        )
        if getattr(found, "backend", "pil") == "pil":
            return found
    except (ImportError, ValueError):  # a kind that is written for torchvision only, such as DINOv3's
        if not (folder / CONFIG).is_file():
            raise
    return PlainPixels(json.loads((folder / CONFIG).read_text(encoding="utf-8")))


class PlainPixels:
    """Resize, crop, rescale, normalise; resizing is done in floating point, so that rescaling may come before or after.

    Args:
        config: the content of a ``preprocessor_config.json``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def __call__(self, images: Sequence[Image.Image], return_tensors: str = "pt") -> dict[str, Any]:
        """Return ``pixel_values``, float32 ``[n, 3, height, width]``."""
        import torch

        return {"pixel_values": torch.from_numpy(np.stack([self._one(image) for image in images]))}

    def _one(self, image: Image.Image) -> np.ndarray:
        config = self.config
        planes = list(image.split())
        if config.get("do_resize", True):
            size = _resized(image.size, config["size"])
            kind = Image.Resampling(config.get("resample", Image.Resampling.BILINEAR))
            planes = [plane.convert("F").resize(size, kind) for plane in planes]
        pixels = np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])  # [3, height, width]
        if config.get("do_center_crop", False):
            pixels = _cropped(pixels, *_height_width(config["crop_size"]))
        if config.get("do_rescale", True):
            pixels = pixels * config.get("rescale_factor", 1 / 255)
        if config.get("do_normalize", True):
            mean, std = (np.array(config[name], np.float32)[:, None, None] for name in ("image_mean", "image_std"))
            pixels = (pixels - mean) / std
        return pixels.astype(np.float32)


def _height_width(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size["height"], size["width"])


def _resized(now: tuple[int, int], size: Any) -> tuple[int, int]:
    """Return the new width and height."""
    if isinstance(size, Mapping) and "shortest_edge" in size:
        edge, short = size["shortest_edge"], min(now)
        return edge * now[0] // short, edge * now[1] // short
    height, width = _height_width(size)
    return width, height


def _cropped(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut out the middle; what is smaller gets a black border."""
    missing = [max(want - have, 0) for want, have in zip((height, width), pixels.shape[1:], strict=True)]
    pixels = np.pad(pixels, [(0, 0), *((short // 2, short - short // 2) for short in missing)])
    top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
    return pixels[:, top : top + height, left : left + width]
