"""What a picture looks like, in a few words: dark or bright, warm or cool, its strongest colour."""

from __future__ import annotations

import numpy as np

from recsys.profiles.colours import LOOKS, measures, to_lab

SIDES = (18, 12)  # rows and columns of fields that a picture is looked at as
EDGE = 0.9  # standard deviations from the usual: from there on a look is worth a word
HUES = (
    ("red", 35),
    ("orange", 65),
    ("yellow", 100),
    ("green", 150),
    ("blue", 285),
    ("purple", 325),
)  # degrees in CIELAB
COLOURED, MUCH = 22.0, 0.3  # chroma of a coloured field, and the share of them that names a picture
GREY = 6.0  # mean chroma below which it is black and white


def fields(pixels: np.ndarray) -> np.ndarray:
    """Return the mean colours of the fields of a picture uint8 ``[H, W, 3]``, CIELAB ``[18 * 12, 3]``."""
    rows, columns = SIDES
    height, width = pixels.shape[0] // rows * rows, pixels.shape[1] // columns * columns
    cut = pixels[:height, :width].reshape(rows, height // rows, columns, width // columns, 3)
    return to_lab(cut.mean(axis=(1, 3)).reshape(-1, 3) / 255)


def colour_words(lab: np.ndarray) -> list[str]:
    """Return the names of colours that fill much of a picture; ``black and white`` where there is none."""
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    if chroma.mean() < GREY:
        return ["black and white"]
    angle = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    names, places = zip(*HUES, strict=True)
    apart = np.abs((angle[:, None] - np.array(places) + 180) % 360 - 180)  # [fields, hues]
    share = np.bincount(apart.argmin(axis=1)[chroma >= COLOURED], minlength=len(names)) / len(lab)
    return [names[one] for one in np.argsort(-share, kind="stable")[:2] if share[one] >= MUCH]


def look_words(pictures: list[np.ndarray]) -> list[list[str]]:
    """Return words for each of many pictures uint8 ``[H, W, 3]``: what stands out among them, and colours."""
    seen = [fields(one) for one in pictures]
    numbers = np.array([measures(one) for one in seen]).reshape(len(seen), len(LOOKS))
    apart = (numbers - numbers.mean(axis=0)) / np.maximum(numbers.std(axis=0), 1e-9)
    found = []
    for row, lab in zip(apart, seen, strict=True):
        words = [pair[int(value < 0)] for pair, value in zip(LOOKS, row, strict=True) if abs(value) >= EDGE]
        found.append(words + colour_words(lab))
    return found


def spoken(word: str) -> str:
    """Return a look as the phrase that is encoded."""
    return f"{word} picture"
