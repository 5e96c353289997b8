"""Pictures that a data set should not hold, and some that it well may, as bytes."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image
from tiny_models import picture


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A small PNG of a huge picture, all of whose rows are there: unpacked it is ``width * height`` bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, parts = zlib.compressobj(9), []
    row = bytes(width + 1)
    for _ in range(height):
        parts.append(packer.compress(row))
    data = b"".join([*parts, packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_claim(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its data do not have."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    good = saved(picture(), "PNG")
    return good[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + good[33:]


def jpeg_of_many_scans(scans: int = 200) -> bytes:
    """A progressive JPEG whose last scan is sent again and again: each costs a pass over all pixels."""
    good = saved(picture(size=(64, 64)), "JPEG", progressive=True)
    last = good.rindex(b"\xff\xda")
    return good[:-2] + good[last:-2] * scans + good[-2:]


JPEG, PNG, WEBP = (saved(picture(size=(200, 150)), kind) for kind in ("JPEG", "PNG", "WEBP"))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"

REFUSED = {
    "bomb.png": (png_bomb(12_000, 5_000), "more than 40 million pixels"),
    "claim.png": (png_claim(1 << 30, 1 << 30), "more than 40 million pixels"),
    "short.png": (png_claim(5_000, 5_000), "truncated or damaged"),
    "scans.jpg": (jpeg_of_many_scans(), "more than 100 scans"),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "truncated or damaged"),
    "cut.png": (PNG[: len(PNG) // 2], "truncated or damaged"),
    "cut.webp": (WEBP[: len(WEBP) // 2], "not a JPEG, PNG, WEBP picture"),
    "text.jpg": (b"this is no picture at all", "not a JPEG, PNG, WEBP picture"),
    "gif.jpg": (saved(picture(), "GIF"), "not a JPEG, PNG, WEBP picture"),
    "tiff.jpg": (saved(picture(), "TIFF"), "not a JPEG, PNG, WEBP picture"),
    "bmp.png": (saved(picture(), "BMP"), "not a JPEG, PNG, WEBP picture"),
    "svg.png": (SVG, "not a JPEG, PNG, WEBP picture"),
    "eps.jpg": (EPS, "not a JPEG, PNG, WEBP picture"),
    "zeros.jpg": (b"\x00" * 4096, "not a JPEG, PNG, WEBP picture"),
    "empty.jpg": (b"", "empty file"),
}


def usable() -> dict[str, bytes]:
    """Kinds of picture that are odd and fine: bytes by file name."""
    colour, turned = picture("red", (40, 20)), Image.Exif()
    turned[0x0112] = 6  # to be shown a quarter turn clockwise
    clear = colour.convert("RGBA")
    clear.putalpha(0)
    grey = Image.fromarray(np.linspace(0, 65535, 800).astype(np.uint16).reshape(20, 40))
    return {
        "rgb.png": saved(colour, "PNG"), "named.jpg": saved(colour, "PNG"), "plain.webp": saved(colour, "WEBP"),
        "cmyk.jpg": saved(colour.convert("CMYK"), "JPEG"), "grey.jpg": saved(colour.convert("L"), "JPEG"),
        "palette.png": saved(colour.quantize(16), "PNG"), "bits.png": saved(colour.convert("1"), "PNG"),
        "grey16.png": saved(grey, "PNG"), "grey_alpha.png": saved(clear.convert("LA"), "PNG"),
        "clear.png": saved(clear, "PNG"), "clear.webp": saved(clear, "WEBP", lossless=True),
        "turned.jpg": saved(colour, "JPEG", exif=turned), "turned.png": saved(colour, "PNG", exif=turned),
        "moving.webp": saved(colour, "WEBP", save_all=True, append_images=[picture("blue", (40, 20))], lossless=True),
        "one.png": saved(Image.new("RGB", (1, 1)), "PNG"), "thin.png": saved(picture(size=(5_000, 1)), "PNG"),
    }  # fmt: skip
