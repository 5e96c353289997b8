"""Opening pictures that nobody vouches for: few formats, bounded sizes, and a fault in words instead of a crash."""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 32 << 20
MAX_PIXELS = 40_000_000  # told by the header, before anything is unpacked
MAX_SIDE = 1024  # what is kept: no encoder looks at more


class ImageFault(Exception):
    """Why a picture cannot be used; ``str`` of it is a short reason that faults are counted by."""


def read_bytes(path: str | Path) -> bytes:
    """Return the bytes of a picture file.

    Raises:
        ImageFault: no such file, not a plain file (a device or a pipe would never end), or more than ``MAX_BYTES``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise ImageFault("no such file" if isinstance(error, FileNotFoundError) else "cannot be opened") from None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise ImageFault("not a plain file")
        if facts.st_size > MAX_BYTES:
            raise ImageFault(f"larger than {MAX_BYTES >> 20} MiB")
        try:
            return file.read(MAX_BYTES + 1)
        except OSError:
            raise ImageFault("cannot be read") from None


def decode(data: bytes) -> Image.Image:
    """Return the picture as RGB, turned as its camera held it, transparent parts white, no side over ``MAX_SIDE``.

    Raises:
        ImageFault: empty, of another format, too many pixels, truncated or damaged.
    """
    from PIL import Image, ImageOps

    if not data:
        raise ImageFault("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, and of sizes that are checked here
        try:
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
        except Exception:  # Pillow's readers raise whatever the damage makes of them
            raise ImageFault(f"not a {', '.join(FORMATS)} picture") from None
        if picture.width * picture.height > MAX_PIXELS:
            raise ImageFault(f"more than {MAX_PIXELS // 1_000_000} million pixels")
        try:
            picture.draft("RGB", (MAX_SIDE, MAX_SIDE))  # a large JPEG is unpacked at a fraction of its size
            picture = ImageOps.exif_transpose(picture)
            picture.thumbnail((MAX_SIDE, MAX_SIDE))
            return _opaque(picture)
        except Exception:
            raise ImageFault("truncated or damaged") from None


def _opaque(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")
