"""The contact sheet: equal bytes, the pictures where they belong, and nothing that a title or a file can break."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recsys.items import sheet
from recsys.items.retrieval import nearest, spread_out
from recsys.items.sheet import DRAWN, LARGE, PAPER, SMALL, Card, Row, contact_sheet

RED, BLUE = (200, 10, 10), (10, 10, 200)


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, str]:
    """A red picture, a blue one of an odd shape, and files that are none."""
    Image.new("RGB", (60, 90), RED).save(tmp_path / "red.png")
    Image.new("RGB", (3000, 1), BLUE).save(tmp_path / "blue.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (tmp_path / "empty.png").write_bytes(b"")
    names = {path.stem: str(path) for path in tmp_path.iterdir()}
    return names | {"missing": str(tmp_path / "none.png"), "folder": str(tmp_path), "web": "https://example.org/a.jpg"}


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def area(pixels: np.ndarray, colour: str | tuple[int, int, int]) -> int:
    """Return how many pixels have a colour exactly."""
    wanted = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) if isinstance(colour, str) else colour
    return int((pixels == np.array(wanted)).all(axis=2).sum())


def test_pictures_are_shown_large_and_small(pictures: dict[str, str]) -> None:
    red, blue = (Card(name, pictures[name], "cosine 0.50") for name in ("red", "blue"))
    pixels = opened(contact_sheet([Row(red, [blue, red])], "Title"))
    assert area(pixels, RED) == 184 * 276 + 151 * 226  # a 2:3 picture in each box, by its height
    assert area(pixels, BLUE) == SMALL[0]  # a line of one pixel
    assert area(pixels, DRAWN) == 0


def test_equal_input_gives_equal_bytes(pictures: dict[str, str]) -> None:
    rows = [Row(Card("Ω", pictures["red"]), [Card("Żółć 七", None, "x")])]
    assert contact_sheet(rows, "T", "s") == contact_sheet(rows, "T", "s")
    assert contact_sheet(rows, "T", "s") != contact_sheet(rows, "T", "t")


@pytest.mark.parametrize("name", ["broken", "empty", "missing", "folder", "web"])
def test_what_is_no_picture_gets_a_card_that_says_so(pictures: dict[str, str], name: str, monkeypatch) -> None:
    marks = []
    line = sheet._line
    monkeypatch.setattr(sheet, "_line", lambda pen, at, text, *rest: (marks.append(text), line(pen, at, text, *rest)))
    pixels = opened(contact_sheet([Row(Card("A title", pictures[name]), [])], "Title"))
    assert area(pixels, DRAWN) > 0.8 * LARGE[0] * LARGE[1]
    assert "drawn: no picture" in marks


TITLES = [
    "",
    " ",
    "\ud800\x00\n\t",
    "七人の侍",
    "مرحبا",
    "🎬" * 80,
    "x" * 10_000,
    "a b " * 3000,
    "e\u0301\u0327",
    "\u202eevil",
]


@pytest.mark.parametrize("title", TITLES, ids=range(len(TITLES)))
def test_no_title_can_break_it_or_leave_its_place(title: str) -> None:
    plain = opened(contact_sheet([Row(Card("x"), [Card("x"), Card("x")])], "T"))
    odd = opened(contact_sheet([Row(Card("x"), [Card(title, None, title), Card("x")])], "T"))
    assert plain.shape == odd.shape
    changed = np.flatnonzero((plain != odd).any(axis=(0, 2)))
    left = sheet.MARGIN + LARGE[0] + 2 * sheet.GAP
    assert ((changed >= left - 2) & (changed < left + SMALL[0] + sheet.GAP // 2)).all()


def test_accents_are_kept_or_dropped_but_letters_stay(monkeypatch) -> None:
    assert sheet._legible("Amélie", 14)[0] in ("Amélie", "Amelie")
    only = sheet._fonts(14)[:1]  # as where matplotlib is not installed
    monkeypatch.setattr(sheet, "_fonts", lambda size: only)
    assert sheet._legible("Amélie, 七", 14)[0] == "Amelie, ?"
    assert sheet._legible("Amélie", 14)[0] == "Amelie"


def test_long_titles_are_cut_at_the_width() -> None:
    lines, font = sheet._wrapped("The Lord of the Rings: The Fellowship of the Ring (2001)", 13, 120, 2)
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert all(font.getlength(line) <= 120 for line in lines)
    assert sheet._wrapped("Alien (1979)", 13, 120, 2)[0] == ["Alien (1979)"]


def test_a_row_that_goes_on_has_no_large_picture(pictures: dict[str, str]) -> None:
    red = Card("red", pictures["red"])
    two = opened(contact_sheet([Row(red, [red]), Row(None, [red])], "T"))
    assert area(two, RED) == 184 * 276 + 2 * 151 * 226


def test_words_are_marked_as_asked_or_with_what_they_are() -> None:
    sheets = [
        contact_sheet([Row(Card("of space", note=note), [], words=True)], "t") for note in ("", sheet.ASKED, "said")
    ]
    assert sheets[0] == sheets[1]
    assert sheets[2] != sheets[0]
    below = sheet.HEAD + sheet.MARGIN // 2 + LARGE[1]
    assert (opened(sheets[2])[below:] == opened(sheets[0])[below:]).all(), (
        "the note stands on the card, not below it too"
    )


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a row"):
        contact_sheet([], "T")


def test_nearest_by_hand() -> None:
    vectors = np.array([[1.0, 0], [0, 1], [0, 0], [0.6, 0.8], [-1, 0]])
    assert nearest(vectors, vectors[:2], 4).tolist() == [[0, 3, 1, 4], [1, 3, 0, 4]]  # the absent row 2 is last


def test_spread_out_takes_one_of_each_group() -> None:
    """Three tight groups and an odd one out: three choices are of three groups, and never the absent row."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(8)[:3], 30, axis=0) + 0.05 * rng.normal(size=(90, 8))
    vectors = np.concatenate([vectors, np.eye(8)[7:], np.zeros((1, 8))])
    vectors[:91] /= np.linalg.norm(vectors[:91], axis=1, keepdims=True)
    vectors = vectors.astype(np.float32)
    chosen = spread_out(vectors, 3)
    assert sorted(chosen // 30) == [0, 1, 2]
    assert len(spread_out(vectors[:2], 5)) == 2
    assert len(spread_out(np.zeros((4, 3)), 2)) == 0
    assert PAPER != DRAWN
