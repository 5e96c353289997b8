"""Pictures as generators see them: 128 × 192 RGB, numbers from -1 to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

WIDTH, HEIGHT = 128, 192
SQUEEZE = (0.55, 0.85)  # width : height of pictures that are cropped to 2 : 3; others keep all and get margins


def fitted(picture: Image.Image) -> np.ndarray:
    """Return uint8 ``[HEIGHT, WIDTH, 3]``: cropped where little is lost, else whole, with margins in its own colour."""
    picture = picture.convert("RGB")
    ratio, wanted = picture.width / picture.height, WIDTH / HEIGHT
    if SQUEEZE[0] <= ratio <= SQUEEZE[1]:
        width, height = min(picture.width, picture.height * wanted), min(picture.height, picture.width / wanted)
        left, top = (picture.width - width) / 2, (picture.height - height) / 2
        box = (left, top, left + width, top + height)
        return np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, box=box))
    scale = min(WIDTH / picture.width, HEIGHT / picture.height)
    small = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS
    )
    colour = small.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    canvas = Image.new("RGB", (WIDTH, HEIGHT), colour)
    canvas.paste(small, ((WIDTH - small.width) // 2, (HEIGHT - small.height) // 2))
    return np.asarray(canvas)


def to_signed(pixels: np.ndarray) -> torch.Tensor:
    """Return float32 ``[n, 3, height, width]`` from -1 to 1 of uint8 ``[n, height, width, 3]``."""
    return torch.tensor(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_pictures(signed: torch.Tensor) -> list[Image.Image]:
    """Return RGB pictures of ``[n, 3, height, width]``; what is beyond -1 or 1 is clipped."""
    grey = signed.detach().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return [Image.fromarray(one) for one in grey.permute(0, 2, 3, 1).contiguous().cpu().numpy()]


def sheet(rows: Sequence[Sequence[Image.Image]], gap: int = 4) -> Image.Image:
    """Return rows of pictures of one size on one white sheet."""
    width, height = rows[0][0].size
    columns = max(map(len, rows))
    page = Image.new("RGB", (columns * (width + gap) + gap, len(rows) * (height + gap) + gap), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            page.paste(picture, (gap + x * (width + gap), gap + y * (height + gap)))
    return page
