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
MAX_SCANS = 100  # of a JPEG: each costs a pass over all pixels, and honest ones have a dozen
MAX_SIDE = 1024  # what is kept: no encoder looks at more


class ImageFault(Exception):
    """Why a picture cannot be used; ``str`` of it is a short reason that faults are counted by."""


def read_bytes(path: str | Path) -> bytes:
    """Return the bytes of a picture file.

    Raises:
        ImageFault: no such file, empty, more than ``MAX_BYTES``, or not a plain file (a device would never end).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise ImageFault("no such file" if isinstance(error, FileNotFoundError) else "cannot be opened") from None
    try:
        return _bytes_of(descriptor)
    except OSError:
        raise ImageFault("cannot be read") from None
    finally:
        os.close(descriptor)


def _bytes_of(descriptor: int) -> bytes:
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise ImageFault("not a plain file")
    if facts.st_size <= MAX_BYTES:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
        if not data:
            raise ImageFault("empty file")
        if len(data) <= MAX_BYTES:  # it may have grown
            return data
    raise ImageFault(f"larger than {MAX_BYTES >> 20} MiB")


def decode(data: bytes) -> Image.Image:
    """Return the picture as RGB, turned as its camera held it, transparent parts white, no side over ``MAX_SIDE``.

    Of a moving picture it is the first frame. Nothing is unpacked before format and size are known to be allowed.

    Raises:
        ImageFault: empty, of another format, too many pixels or scans, truncated or damaged.
    """
    from PIL import ImageOps

    if not data:
        raise ImageFault("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, and of sizes that are checked here
        picture = _opened(data)
        try:
            picture.draft("RGB", (MAX_SIDE, MAX_SIDE))  # a large JPEG is unpacked at a fraction of its size
            picture = _plain(picture)
            picture.thumbnail((MAX_SIDE, MAX_SIDE))
            return _opaque(ImageOps.exif_transpose(picture))
        except Exception:
            raise ImageFault("truncated or damaged") from None


def _opened(data: bytes) -> Image.Image:
    """Read the header alone."""
    from PIL import Image

    too_large = f"more than {MAX_PIXELS // 1_000_000} million pixels"
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageFault(too_large) from None
    except Exception:  # Pillow's readers raise whatever the damage makes of them
        raise ImageFault(f"not a {', '.join(FORMATS)} picture") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise ImageFault(too_large)
    if picture.format == "JPEG" and data.count(b"\xff\xda") > MAX_SCANS:
        raise ImageFault(f"more than {MAX_SCANS} scans")
    return picture


def _plain(picture: Image.Image) -> Image.Image:
    """Return palettes as colours and 16-bit greys as 8-bit ones: Pillow thins out the former and whitens the latter."""
    from PIL import Image

    if picture.mode in ("1", "P"):
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if not picture.mode.startswith("I"):
        return picture
    import numpy as np

    upper = (np.asarray(picture).clip(0, 0xFFFF) >> 8).astype(np.uint8)
    made = Image.fromarray(upper)
    made.info = {"exif": picture.info["exif"]} if "exif" in picture.info else {}
    return made


def _opaque(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")
