"""A contact sheet: items in rows, each with its nearest neighbours, as one PNG to look at.

Only Pillow draws. Equal input gives equal bytes. An item without a usable picture gets a card that says so.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.items.images import ImageFault, decode, read_bytes

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

LARGE, SMALL, GAP, MARGIN, WORDS = (188, 276), (154, 226), 18, 32, 64  # pixels; WORDS below each picture
PAPER, INK, FAINT, DRAWN, EDGE, RULE = "#faf9f6", "#1d1d1b", "#6d6a64", "#e8e4da", "#b9b2a3", "#dedad1"
NO_GLYPH = "\uffff"  # no font has it: what it draws is what a font draws for lack of better
ASKED = "asked in words"
HEAD = 84  # pixels for title and subtitle


@dataclass(frozen=True)
class Card:
    """One picture of the sheet.

    Attributes:
        title: below the picture; any text.
        image: path of a picture file; ``None``, an address or a damaged file gives a drawn card.
        note: a faint line below the title, such as a similarity; of words, what they are.
    """

    title: str
    image: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """An item or a query, and what was found for it, nearest first.

    Attributes:
        query: shown large; ``None`` where the row goes on with what was found for the one above.
        found: shown small.
        words: the query is a text, not an item: it is written, and not marked as lacking a picture.
    """

    query: Card | None
    found: Sequence[Card]
    words: bool = False


def contact_sheet(rows: Sequence[Row], title: str, subtitle: str = "") -> bytes:
    """Return the sheet as PNG.

    Raises:
        ValueError: there are no rows.
    """
    from PIL import Image, ImageDraw

    if not rows:
        raise ValueError("a contact sheet needs a row")
    most = max(len(row.found) for row in rows)
    width = 2 * MARGIN + LARGE[0] + GAP + most * (SMALL[0] + GAP)
    heights = [(LARGE if row.query else SMALL)[1] + WORDS + MARGIN for row in rows]
    height = HEAD + MARGIN + sum(heights)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    _line(pen, (MARGIN, 24), title, 24, INK, width - 2 * MARGIN)
    _line(pen, (MARGIN, 58), subtitle, 14, FAINT, width - 2 * MARGIN)
    for place, row in enumerate(rows):
        top = HEAD + MARGIN // 2 + sum(heights[:place])
        if row.query:
            pen.line([(MARGIN, top - MARGIN // 2), (width - MARGIN, top - MARGIN // 2)], fill=RULE)
        _draw_row(sheet, pen, row, top)
    file = io.BytesIO()
    sheet.save(file, "PNG", compress_level=6)
    return file.getvalue()


def _draw_row(sheet: Image.Image, pen: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    if row.query:
        _draw_card(sheet, pen, row.query, (MARGIN, top), LARGE, 15, words=row.words)
    left = MARGIN + LARGE[0] + 2 * GAP
    drop = LARGE[1] - SMALL[1] if row.query else 0  # pictures of a row stand on one line
    for place, card in enumerate(row.found):
        _draw_card(sheet, pen, card, (left + place * (SMALL[0] + GAP), top + drop), SMALL, 13)


def _draw_card(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    card: Card,
    at: tuple[int, int],
    size: tuple[int, int],
    font_size: int,
    *,
    words: bool = False,
) -> None:
    """A picture (or a drawn card) in a box, and below it two lines of title and the note."""
    (left, top), (width, height) = at, size
    picture = None if words else _picture(card.image, size)
    if picture is None:
        _draw_instead(pen, card.title, at, size, font_size + 2, (card.note or ASKED) if words else "drawn: no picture")
    else:
        sheet.paste(picture, (left + (width - picture.width) // 2, top + height - picture.height))
    below, step = top + height + 6, font_size + 4
    lines, font = ([], None) if words else _wrapped(card.title, font_size, width, 2)
    for place, line in enumerate(lines):
        pen.text((left, below + place * step), line, font=font, fill=INK)
    if not words:
        _line(pen, (left, below + len(lines) * step + 1), card.note, font_size - 1, FAINT, width)


def _picture(path: str | None, size: tuple[int, int]) -> Image.Image | None:
    """Return the picture scaled into ``size``, or ``None`` where there is none that can be opened."""
    from PIL import Image

    if path is None:
        return None
    try:
        picture = decode(read_bytes(path))
    except (ImageFault, OSError):  # also of an address: it is no file
        return None
    scale = min(size[0] / picture.width, size[1] / picture.height)
    sides = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(sides, Image.Resampling.LANCZOS)


def _draw_instead(
    pen: ImageDraw.ImageDraw, title: str, at: tuple[int, int], size: tuple[int, int], font_size: int, mark: str
) -> None:
    """Draw the title on a card with a dashed edge: nobody shall take it for a picture."""
    (left, top), (width, height) = at, size
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill=DRAWN)
    for start in range(0, width, 8):
        for y in (top, top + height - 1):
            pen.line([(left + start, y), (left + min(start + 3, width - 1), y)], fill=EDGE)
    for start in range(0, height, 8):
        for x in (left, left + width - 1):
            pen.line([(x, top + start), (x, top + min(start + 3, height - 1))], fill=EDGE)
    (lines, font), step = _wrapped(title, font_size, width - 20, 6), font_size + 5
    first = top + (height - len(lines) * step) // 2
    for place, line in enumerate(lines):
        pen.text((left + 10, first + place * step), line, font=font, fill=INK)
    _line(pen, (left + 10, top + height - 22), mark, 12, FAINT, width - 20)


# -- text: any title is legible or at least harmless -----------------------------------------------------------


@cache
def _fonts(size: int) -> list[ImageFont.FreeTypeFont]:
    """Return Pillow's own font and, where matplotlib is installed, a wider one that comes with it."""
    from PIL import ImageFont

    fonts = [ImageFont.load_default(size)]
    found = util.find_spec("matplotlib")
    if found and found.submodule_search_locations:
        wide = Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if wide.is_file():
            fonts.append(ImageFont.truetype(str(wide), round(size * 0.92)))
    return fonts


@cache
def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    return letter.isspace() or bytes(font.getmask(letter)) != bytes(font.getmask(NO_GLYPH))


def _legible(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return the text and a font that has its letters; without accents, or with ``?``, where none has them all."""
    text = "".join(letter if letter.isprintable() else " " for letter in text[:200])
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    fonts = _fonts(size)
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    for candidate in (text, bare):
        for font in fonts:
            if all(_has(font, letter) for letter in candidate):
                return candidate, font
    return "".join(letter if _has(fonts[-1], letter) else "?" for letter in bare), fonts[-1]


def _wrapped(text: str, size: int, width: int, most: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Return at most ``most`` lines that fit ``width``, the last cut with ``…`` where more would follow, and a font."""
    text, font = _legible(text, size)
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most:
        taken = 1
        while taken < len(words) and font.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        last = len(lines) == most - 1
        lines.append(_cut(" ".join(words if last else words[:taken]), font, width))
        words = words[taken:]
    return lines, font


def _cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text.rstrip() + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _line(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: str, width: int) -> None:
    text, font = _legible(text, size)
    if text:
        pen.text(at, _cut(text, font, width), font=font, fill=colour)
