"""Title cards are drawings that hold any title as text."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from payloads import payloads

from recsys.serving.titlecard import HIGH, WIDE, title_poster

SVG = "{http://www.w3.org/2000/svg}"
TITLES = ["Toy Story (1995)", "M", "七人の侍 (1954)", "(1984)", " ", "x" * 300, "The " * 75, "a\x0bb\ufffe"]


@pytest.mark.parametrize("title", TITLES)
def test_lines_stay_on_the_card(title: str) -> None:
    lines = [one for one in ElementTree.fromstring(title_poster(title)).iter(f"{SVG}text") if one.get("font-weight")]
    assert lines
    for one in lines:
        assert 20 < float(one.get("y", 0)) < HIGH - 30
        assert len(one.text or "") * 0.5 * float(one.get("font-size", 0)) < WIDE


def test_the_title_is_told_without_its_year_which_stands_below() -> None:
    card = ElementTree.fromstring(title_poster("Toy Story (1995)"))
    assert [one.text for one in card.iter(f"{SVG}text")] == ["Toy Story", "1995 · no picture"]
    assert "no picture" in (card.findtext(f"{SVG}title") or "")


def test_letters_shrink_before_a_word_is_broken() -> None:
    card = ElementTree.fromstring(title_poster("Jungle2Jungle (1997)"))
    assert [one.text for one in card.iter(f"{SVG}text")][:-1] == ["Jungle2Jungle"]


def test_a_word_wider_than_a_line_begins_a_line_of_its_own_and_is_broken() -> None:
    card = ElementTree.fromstring(title_poster("Oh " + "w" * 60))
    lines = [one.text for one in card.iter(f"{SVG}text")][:-1]
    assert lines[0] == "Oh"
    assert set("".join(lines[1:])) <= {"w", "…"}


def test_equal_titles_give_equal_cards_and_others_other_colours() -> None:
    assert title_poster("Heat (1995)") == title_poster("Heat (1995)") != title_poster("Alien (1979)")


def test_markup_in_titles_adds_no_element() -> None:
    for text in payloads():
        names = {one.tag.removeprefix(SVG) for one in ElementTree.fromstring(title_poster(text)).iter()}
        assert names <= {"svg", "title", "rect", "g", "circle", "path", "text"}


def test_lines_end_above_the_foot_one_below_the_other() -> None:
    card = ElementTree.fromstring(title_poster("A title of many words that needs several lines to be written down"))
    texts = [one for one in card.iter() if one.tag.endswith("text")]
    heights = [float(one.get("y")) for one in texts]
    steps = {round(b - a) for a, b in pairwise(heights[:-1])}
    assert len(texts) > 3
    assert heights[-2] == HIGH - 62
    assert max(steps) - min(steps) <= 1
    assert heights[0] > 0
