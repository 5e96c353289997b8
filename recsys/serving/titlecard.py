"""A card that stands for a picture which an item does not have: its title, on colours that follow from it."""

from __future__ import annotations

import hashlib
import unicodedata

from recsys.evaluation.plots import YEAR, tile_colours
from recsys.evaluation.svg import clean

WIDE, HIGH, MARGIN = 240, 360, 20  # of the drawing; the page scales it
SIZES = ((30, 4), (24, 6), (19, 8))  # size of letters, and how many lines of them there may be
LETTER = 0.54  # width of a letter, in sizes; those of East Asia take two


def title_poster(title: str) -> bytes:
    """Return an SVG; equal titles give equal bytes. Its ``<title>`` and its foot say that it is drawn."""
    digest = hashlib.blake2b(title.encode("utf-8", "replace"), digest_size=8).digest()
    ground, shape = tile_colours(digest[0] / 256)
    year = YEAR.search(title)
    name = YEAR.sub("", title) or title
    size, lines = _fitted(name)
    top = HIGH - 62 - (len(lines) - 1) * size * 1.2
    written = "".join(
        f'<text x="{MARGIN}" y="{top + place * size * 1.2:.0f}" font-size="{size}" font-weight="600" '
        f'font-family="Iowan Old Style, Palatino, Georgia, Liberation Serif, serif">{clean(line)}</text>'
        for place, line in enumerate(lines)
    )
    foot = f"{year[1]} · no picture" if year else "no picture"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" width="{WIDE}" height="{HIGH}">'
        f"<title>Drawn card, for the data have no picture: {clean(title)}</title>"
        f'<rect width="{WIDE}" height="{HIGH}" fill="{ground}"/><g fill="{shape}">{_shape(digest, shape)}</g>'
        f'<g fill="#fff">{written}<text x="{MARGIN}" y="{HIGH - 26}" font-size="13" '
        f'font-family="system-ui, Liberation Sans, Arial, sans-serif">{foot}</text></g></svg>'
    ).encode()


def _shape(digest: bytes, colour: str) -> str:
    x, y, radius = 40 + digest[1] % 160, 20 + digest[2] % 90, 70 + digest[3] % 60
    shapes = (
        f'<circle cx="{x}" cy="{y}" r="{radius}"/>',
        f'<path d="M0 {y + 120}L{WIDE} {y}V0H0Z"/>',
        f'<path d="M0 0H{x}V{HIGH}H0Z"/>',
        f'<path d="M{x} 0H{WIDE}V{HIGH}H{WIDE - x}Z"/>',
        f'<circle cx="{x}" cy="{y}" r="{radius}" fill="none" stroke="{colour}" stroke-width="30"/>',
    )
    return shapes[digest[4] % len(shapes)]


def _fitted(text: str) -> tuple[int, list[str]]:
    """Return the largest size of letters at which a text fits, if it can without breaking words, and its lines."""
    longest = max(map(_width, text.split()), default=0)
    size, lines, most = 0, [""], 0
    for size, most in SIZES:
        width = (WIDE - 2 * MARGIN) / (LETTER * size)
        lines = _lines(text, width)
        if len(lines) <= most and longest <= width:
            break
    return size, lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1][:-1] + "…"]


def _lines(text: str, width: float) -> list[str]:
    """Break a text between words, and words that are wider than a line anywhere."""
    lines = [""]
    for word in text.split() or [text]:
        if lines[-1] and _width(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and _width(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
