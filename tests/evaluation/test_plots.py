"""Figures: what is drawn stands where the numbers say."""

from __future__ import annotations

import math
import random
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_sample import contrast

from recsys.evaluation import wording
from recsys.evaluation.plots import (
    Estimate,
    forest_plot,
    initials,
    line_chart,
    nice_ticks,
    tick_label,
    tile_colours,
    title_card,
)

from figures import marks_of, places

ROWS = [Estimate("EASE", 0.34, 0.33, 0.36, True), Estimate("kNN", 0.30, 0.29, 0.31), Estimate("Pop", 0.15, 0.14, 0.17)]


def per_cent(element: ElementTree.Element, name: str) -> float:
    text = element.attrib[name]
    assert text.endswith("%")
    return float(text[:-1])


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6), st.integers(3, 7))
def test_ticks_are_round_even_and_cover_the_range(low: float, span: float, n: int) -> None:
    high = low + span
    ticks = nice_ticks(low, high, n)
    step = ticks[1] - ticks[0]
    slack = 1e-6 * max(abs(low), abs(high), 1e-3)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert ticks[1] > low - slack
    assert len(ticks) <= n + 2
    assert all(math.isclose(b - a, step, abs_tol=slack) for a, b in pairwise(ticks))


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.15, 0.34, ["0.15", "0.20", "0.25", "0.30", "0.35"]),
        (0, 1, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        (0, 3900, ["0", "1,000", "2,000", "3,000", "4,000"]),
        (5, 5, ["4", "6"]),
        (0, 0, ["0.00", "0.25"]),
    ],
)
def test_ticks_have_the_digits_that_tell_them_apart(low: float, high: float, labels: list[str]) -> None:
    ticks = nice_ticks(low, high)
    assert [tick_label(tick, ticks) for tick in ticks] == labels


def test_forest_places_means_within_intervals_on_one_scale() -> None:
    svg = ElementTree.fromstring(forest_plot(ROWS, title="ndcg", key="f", floor=0.15))
    dots = [per_cent(dot, "cx") for dot in svg.iter("circle")]
    ends = [
        (per_cent(line, "x1"), per_cent(line, "x2")) for line in svg.iter("line") if line.get("class") == "interval"
    ]
    assert len(dots) == len(ends) == 3
    scale = (dots[0] - dots[2]) / (0.34 - 0.15)
    for row, dot, (low, high) in zip(ROWS, dots, ends, strict=True):
        assert 0 <= low < dot < high <= 100
        assert dot == pytest.approx(dots[2] + scale * (row.value - 0.15), abs=0.01)
        assert high - low == pytest.approx(scale * (row.high - row.low), abs=0.01)
    (floor,) = [line for line in svg.iter("line") if line.get("class") == "floor"]
    assert per_cent(floor, "x1") == per_cent(floor, "x2") == dots[2]
    assert [text.text for text in svg.iter("text") if "value" in text.get("class")] == ["0.3400", "0.3000", "0.1500"]
    assert [group.get("class") for group in svg.iter("g")] == ["row marked", "row", "row"]


def test_forest_says_its_numbers_and_escapes_names() -> None:
    odd = Estimate("<b>&" + "x" * 60, 0.2, 0.1, 0.3)
    svg = ElementTree.fromstring(forest_plot([*ROWS, odd], title='"<t>"', key="f"))
    assert svg.find("title").text == '"<t>"'
    assert "EASE 0.3400 (from 0.3300 to 0.3600); kNN" in svg.find("desc").text
    assert odd.label in svg.find("desc").text
    (name,) = [text.text for text in svg.iter("text") if (text.text or "").startswith("<b>&")]
    assert name.endswith("…")
    assert len(name) == 26


def test_a_single_ranker_without_width_can_be_drawn() -> None:
    svg = ElementTree.fromstring(forest_plot([Estimate("a", 0.0, 0.0, 0.0)], title="t", key="f"))
    assert 0 <= per_cent(svg.find(".//circle"), "cx") <= 100


def test_curve_marks_the_best_epoch() -> None:
    points = [(1, 0.10), (2, 0.25), (3, 0.30), (4, 0.28)]
    svg = ElementTree.fromstring(line_chart(points, title="t", key="c", best_x=3))
    (dot,) = svg.iter("circle")
    steps = [line for line in svg.iter("line") if line.get("class") == "curve"]
    assert len(steps) == 3
    assert (dot.get("cx"), dot.get("cy")) == (steps[1].get("x2"), steps[1].get("y2"))
    assert float(dot.get("cy")) == min(float(line.get("y2")) for line in steps)  # y grows downwards
    assert per_cent(steps[0], "x1") < per_cent(dot, "cx") < per_cent(steps[2], "x2")
    assert svg.find("desc").text == "first: epoch 1, 0.1000; best: epoch 3, 0.3000; last: epoch 4, 0.2800"


def test_no_curve_goes_through_the_labels_of_its_ticks() -> None:
    svg = ElementTree.fromstring(line_chart([(1, 0.2012), (2, 0.2012), (3, 0.25)], title="t", key="c"))
    kinds = [child.get("class") for child in svg]
    last_line = max(place for place, kind in enumerate(kinds) if kind == "curve")
    labels = [place for place, child in enumerate(svg) if child.get("class") == "tick" and child.get("x") == "0"]
    assert labels
    assert min(labels) > last_line  # where the page is narrow, they lie on top
    assert per_cent(svg.find("line[@class='curve']"), "x1") >= 7


def test_curves_on_one_scale_can_be_compared() -> None:
    low, high = ([(1, y), (2, y)] for y in (0.1, 0.2))
    heights = [
        float(ElementTree.fromstring(line_chart(points, title="t", key="c", y_range=(0.1, 0.2))).find(
            "line[@class='curve']").get("y1"))
        for points in (low, high)
    ]  # fmt: skip
    assert heights[0] > heights[1] + 100


def test_curve_leaves_out_what_is_not_a_number() -> None:
    points = [(1, math.nan), (2, 0.2), (3, math.inf), (4, 0.3)]
    svg = line_chart(points, title="t", key="c", best_x=4)
    assert "nan" not in svg
    assert "inf" not in svg
    assert svg.count('class="curve"') == 1
    assert line_chart([(1, math.nan)], title="t", key="c") == line_chart([], title="t", key="c") == ""
    assert 'class="dot"' in line_chart([(1, 0.2)], title="t", key="c")


def test_cards_follow_from_the_title_alone() -> None:
    titles = [f"Film {number} (19{number % 90 + 10})" for number in range(200)]
    cards = {title: title_card(title) for title in titles}
    assert all(title_card(title) == card for title, card in cards.items())
    assert len(set(cards.values())) == 200
    svg = ElementTree.fromstring(cards[titles[3]])
    assert svg.find("title").text == f"Drawn card (the data has no picture): {titles[3]}"
    assert [text.text for text in svg.iter("text")] == ["F3", "1913"]
    assert len({card.partition('fill="')[2][:7] for card in cards.values()}) > 80


@given(st.text())
def test_any_title_gives_a_well_formed_card(title: str) -> None:
    svg = ElementTree.fromstring(title_card(title))
    assert svg.find("text").text


@given(st.floats(0, 1, exclude_max=True))
def test_cards_can_be_read(hue: float) -> None:
    assert all(contrast("#ffffff", colour) >= 4.5 for colour in tile_colours(hue))


@pytest.mark.parametrize(
    ("title", "letters"),
    [
        ("Toy Story (1995)", "TS"), ("Matrix, The (1999)", "M"), ("2001: A Space Odyssey (1968)", "2001"),
        ("Schindler's List (1993)", "SL"), ("E.T. (1982)", "ET"), ("the the", "TT"), ("千と千尋", "千"), ("!!!", "◆"),
        ("", "◆"), ("(1995)", "◆"),
    ],
)  # fmt: skip
def test_initials(title: str, letters: str) -> None:
    assert initials(title) == letters


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1682, "1,682"), (-3, "−3"), (0.34414, "0.3441"), (212.4, "212.40"), (123456.7, "123,457"), (1.2e-4, "0.00012"),
        (None, "–"), (math.nan, "–"), (True, "yes"), ("as it is", "as it is"), (0.0, "0.0000"), (False, "no"),
        (0.001, "0.0010"), (0.00099, "0.00099"), (-0.0005, "−0.0005"), (1.9999, "1.9999"), (2.0, "2.00"),
        (999.99, "999.99"), (1000.0, "1,000"), (-1234567, "−1,234,567"), (math.inf, "–"),
    ],
)  # fmt: skip
def test_numbers(value: object, text: str) -> None:
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.004, "0.00 s"), (0.42, "0.42 s"), (3.14, "3.1 s"), (59.4, "59 s"), (59.7, "1 min 0 s"), (125, "2 min 5 s"),
        (3600, "1 h 0 min"), (90_061, "25 h 1 min"), (None, "–"), (0.999, "1.00 s"), (1.0, "1.0 s"), (9.94, "9.9 s"),
        (10.0, "10 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (math.nan, "–"), (3_600_000, "1,000 h 0 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


def test_small_things_are_not_nothing() -> None:
    assert wording.p_value(1e-4) == "< 0.001"
    assert wording.p_value(0.0421) == "0.042"
    assert wording.fixed(0.01, sign=True) == "+0.0100"
    assert wording.fixed(-0.01) == "−0.0100"
    assert [wording.short(score) for score in (2.3, -0.00123, 1234.5)] == ["2.30", "−0.00123", "1.23e+03"]


def test_protocol_in_plain_words() -> None:
    known = {"fingerprint": "ab", "mask": "train+valid", "split": "leave_last", "n_users": 5, "odd_rule": 2}
    rows = dict(wording.protocol_rows(known))
    assert rows["Left out of each list"] == "the user’s own items in train and valid"
    assert rows["How it was split"].endswith("(leave_last)")
    assert rows["Odd rule"] == "2"
    assert rows["Users"] == "5"
    assert "Users" not in dict(wording.protocol_rows(known | {"users": "all 5"}))


def test_equal_input_gives_equal_bytes() -> None:
    points = [(epoch, random.Random(epoch).random()) for epoch in range(50)]
    assert line_chart(points, title="t", key="c") == line_chart(list(points), title="t", key="c")
    assert forest_plot(ROWS, title="t", key="f") == forest_plot(list(ROWS), title="t", key="f")


@pytest.mark.parametrize(("p", "text"), [(0.001, "0.001"), (0.00099, "< 0.001"), (None, "–"), (math.nan, "–")])
def test_p_values(p: float | None, text: str) -> None:
    assert wording.p_value(p) == text


@pytest.mark.parametrize(
    ("difference", "p", "said"),
    [(0.1, 0.049, "better"), (-0.1, 0.049, "worse"), (0.1, 0.05, "no difference shown"),
     (0.0, 0.001, "no difference shown"), (0.1, None, "no difference shown"), (0.1, math.nan, "no difference shown")],
)  # fmt: skip
def test_a_difference_is_shown_by_a_p_below_alpha_alone(difference: float, p: float | None, said: str) -> None:
    assert wording.verdict(difference, p, 0.05) == said


def test_what_is_not_finite_is_a_dash() -> None:
    for write in (wording.fixed, wording.short):
        assert write(math.nan) == write(math.inf) == "–"
    assert wording.fixed(None) == "–"
    assert wording.fixed(0.01) == "0.0100"


def test_statements_keep_what_is_not_known() -> None:
    said = {"split": "new kind", "history": "train", "odd_rule": 2, "dataset": "d"}
    assert wording.protocol_rows(said) == [
        ("Data set", "d"), ("How it was split", "new kind"), ("Known of a user", "what they took in train"),
        ("Odd rule", "2"),
    ]  # fmt: skip


def test_rows_of_a_forest_stand_below_each_other_each_below_its_name() -> None:
    figure = marks_of(forest_plot(ROWS, title="t", key="f"))
    heights = [y for _, y in places(figure, "circle", "cx", "cy")]
    assert heights[2] - heights[1] == heights[1] - heights[0] > 0
    assert heights == [float(line.get("y1")) for line in figure.iter("line") if line.get("class") == "interval"]
    names = [float(text.get("y")) for text in figure.iter("text") if "name" in text.get("class")]
    assert all(name < dot for name, dot in zip(names, heights, strict=True))
    assert all(dot < name for name, dot in zip(names[1:], heights[:-1], strict=True))
    labels = [text for text in figure.iter("text") if text.get("class") == "tick"]
    assert min(float(text.get("y")) for text in labels) > heights[2]
    ticks = {float(text.text): per_cent(text, "x") for text in labels}
    dots = [x for x, _ in places(figure, "circle", "cx", "cy")]
    assert dots[1] == pytest.approx(ticks[0.30], abs=0.01)
    assert not [line for line in figure.iter("line") if line.get("class") == "floor"]
    kinds = [text.get("class") for text in figure.iter("text") if text.get("class") != "tick"]
    assert kinds == ["name marked", "value marked", *["name", "value"] * 2]


def test_a_label_of_just_the_most_letters_is_whole() -> None:
    figure = marks_of(forest_plot([Estimate("x" * 26, 0.2, 0.1, 0.3)], title="t", key="f"))
    assert "x" * 26 in [text.text for text in figure.iter("text")]


def test_a_curve_stands_where_its_ticks_say_from_end_to_end() -> None:
    figure = marks_of(line_chart([(1, 0.1), (2, 0.3), (3, 0.2)], title="t", key="c", best_x=2))
    steps = [line for line in figure.iter("line") if line.get("class") == "curve"]
    grid = [float(line.get("y1")) for line in figure.iter("line") if line.get("class") == "grid"]
    labels = [float(text.text) for text in figure.iter("text") if text.get("x") == "0"]
    height = dict(zip(labels, grid, strict=True))
    assert [float(steps[0].get("y1")), float(steps[0].get("y2")), float(steps[1].get("y2"))] == pytest.approx(
        [height[0.1], height[0.3], height[0.2]], abs=0.01
    )
    left, middle, right = per_cent(steps[0], "x1"), per_cent(steps[0], "x2"), per_cent(steps[1], "x2")
    assert (left, right) == (7, 98.5)
    assert middle == pytest.approx((left + right) / 2, abs=0.01)
    assert [text.text for text in figure.iter("text") if text.get("x") != "0"] == ["epoch 1", "3"]
    (floor,) = [line for line in figure.iter("line") if line.get("class") == "floor"]
    assert per_cent(floor, "x1") == per_cent(floor, "x2") == middle
    assert [text.text for text in marks_of(line_chart([(4, 0.1)], title="t", key="c")).iter("text")][-1] == "epoch 4"


def test_what_is_drawn_on_a_card_begins_on_the_card() -> None:
    for number in range(300):
        figure = ElementTree.fromstring(title_card(f"Film {number}"))
        for x, y in places(figure, "circle", "cx", "cy"):
            assert 0 <= x <= 120
            assert 0 <= y <= 150
        for path in figure.iter("path"):
            assert all(0 <= float(one) <= 150 for one in re.findall(r"-?\d+", path.get("d"))), path.get("d")


def test_letters_stand_above_the_year_if_there_is_one() -> None:
    with_year, without = (ElementTree.fromstring(title_card(title)) for title in ("A film (1999)", "A film"))
    letters, year = places(with_year, "text", "y")
    assert letters < year
    assert places(without, "text", "y")[0] > letters
