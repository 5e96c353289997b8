"""Colours as people see them: CIELAB (D65), and a few pixels of each picture, read safely."""

from __future__ import annotations

import numpy as np

from recsys.items.images import ImageFault, decode, read_bytes

SIDE = 12  # a picture is looked at as so many pixels across and down
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """Return sRGB numbers from 0 to 1 as CIELAB, float64 ``[n, 3]`` (IEC 61966-2-1, CIE 15)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    ratio = linear @ TO_XYZ.T / WHITE
    bent = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = bent.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def to_hex(lab: np.ndarray) -> str:
    """Return a CIELAB colour ``[3]`` as ``#rrggbb``, clipped to what a screen shows."""
    y = (lab[0] + 16) / 116
    bent = np.array([y + lab[1] / 500, y, y - lab[2] / 200])
    ratio = np.where(bent > 6 / 29, bent**3, 3 * (6 / 29) ** 2 * (bent - 4 / 29))
    linear = np.clip(np.linalg.inv(TO_XYZ) @ (ratio * WHITE), 0, 1)
    rgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(float(value) * 255):02x}" for value in rgb)


def pixels_of(path: str | None) -> np.ndarray | None:
    """Return ``SIDE²`` pixels of a picture in CIELAB, float32 ``[SIDE², 3]``; ``None`` where there is none to read."""
    if not path:
        return None
    try:
        picture = decode(read_bytes(path))
    except ImageFault:
        return None
    small = np.asarray(picture.resize((SIDE, SIDE), 4), dtype=np.float64) / 255  # 4: the mean of each field
    return to_lab(small.reshape(-1, 3)).astype(np.float32)


def measures(pixels: np.ndarray) -> np.ndarray:
    """Return what a picture looks like: lightness, warmth, colourfulness, contrast; float64 ``[4]``."""
    lightness, red, yellow = pixels.T
    return np.array([lightness.mean(), red.mean() + yellow.mean(), np.hypot(red, yellow).mean(), lightness.std()])


LOOKS = (("bright", "dark"), ("warm", "cool"), ("colourful", "muted"), ("high-contrast", "soft"))  # of the measures
