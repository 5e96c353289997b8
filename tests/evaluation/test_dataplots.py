"""Plots of a data set draw the numbers that they are given, and show in a notebook without touching the rest of it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from recsys.core.errors import ArtifactError
from recsys.evaluation.dataplots import column_chart, count_groups, tail_curve
from recsys.evaluation.notebook import Figures, Table
from recsys.evaluation.plots import CURVE_HEIGHT
from recsys.evaluation.svg import check_svg

from figures import marks_of, places


def test_columns_are_as_high_as_their_values_and_named_in_order() -> None:
    svg = check_svg(column_chart({"few": 1, "many": 4, "none": 0}, title="Users", key="u"), "users")
    heights = [float(height) for height in re.findall(r'<rect class="bar"[^>]* height="([\d.]+)"', svg)]
    assert heights[0] * 4 == pytest.approx(heights[1])
    assert heights[2] == 0
    assert "few 1; many 4; none 0" in svg


def test_columns_of_nothing_but_zeros_lie_on_the_ground() -> None:
    assert re.findall(r' height="([\d.]+)"/>', column_chart({"a": 0, "b": 0}, title="t", key="k")) == ["0.00", "0.00"]


def test_a_label_is_escaped() -> None:
    assert "<b>" not in column_chart({"<b>": 1}, title="t", key="k")


def test_counts_are_grouped_between_bounds_and_the_groups_hold_all_of_them() -> None:
    found = count_groups(np.array([3, 5, 6, 10, 11, 700]))
    assert found == {"1–5": 2, "6–10": 2, "11–20": 1, "21–50": 0, "51–100": 0, "101–200": 0, "201–500": 0, "501+": 1}
    assert count_groups(np.array([], dtype=int)) == {}


def test_the_tail_rises_from_nothing_to_all_and_is_straight_where_all_are_alike() -> None:
    points = tail_curve(np.array([8, 1, 1, 0]))
    assert points == [(0, 0), (25, 80), (50, 90), (75, 100), (100, 100)]
    assert all(x == pytest.approx(y) for x, y in tail_curve(np.full(200, 3)))


def test_a_figure_keeps_its_style_to_itself() -> None:
    html = Figures({"What <this> says": column_chart({"a": 1}, title="t", key="k")})._repr_html_()
    css = re.search(r"<style>(.*)</style>", html, re.S)[1]
    rules = re.findall(r"([^{}]+)\{[^{}]*\}", css)
    assert len(rules) > 5
    assert all(name.strip().startswith(".recsys") for rule in rules for name in rule.split(","))
    assert "What &lt;this&gt; says" in html


def test_a_figure_that_would_run_something_is_refused() -> None:
    with pytest.raises(ArtifactError, match="not allowed"):
        Figures({"bad": "<svg><script>alert(1)</script></svg>"})


def test_a_table_has_whole_texts_numbers_to_the_right_and_nothing_that_runs() -> None:
    html = Table([{"title": "<i>long</i> " * 30, "n": 12345, "share": 0.123456, "none": None}])._repr_html_()
    assert html.count("long") == 30
    assert "<i>" not in html
    assert '<td class="number">12,345</td><td class="number">0.1235</td><td></td>' in html


def test_columns_stand_on_the_ground_side_by_side() -> None:
    figure = marks_of(column_chart({"a": 1, "b": 3, "c": 4}, title="t", key="k"))
    columns = places(figure, "rect", "x", "y", "width", "height")
    (ground,) = {y + height for _, y, _, height in columns}
    assert ground == CURVE_HEIGHT
    lefts, widths = [x for x, *_ in columns], {width for _, _, width, _ in columns}
    assert len(widths) == 1
    assert lefts[2] - lefts[1] == pytest.approx(lefts[1] - lefts[0], abs=0.01)
    assert lefts[1] - lefts[0] > widths.pop() > 0


def test_a_truth_value_is_no_number() -> None:
    html = Table([{"there": True, "n": 1}])._repr_html_()
    assert '<td>True</td><td class="number">1</td>' in html


def test_each_column_has_its_number_above_and_its_name_below() -> None:
    figure = marks_of(column_chart({"few": 1, "many": 4321}, title="t", key="k", digits=1))
    columns, texts = places(figure, "rect", "x", "y", "width", "height"), list(figure.iter("text"))
    assert [text.text for text in texts] == ["1.0", "few", "4,321.0", "many"]
    for (left, top, width, _), above, below in zip(columns, texts[::2], texts[1::2], strict=True):
        middle = pytest.approx(left + width / 2, abs=0.01)
        assert [float(text.get("x").rstrip("%")) for text in (above, below)] == [middle, middle]
        assert float(above.get("y")) < top
        assert float(below.get("y")) > CURVE_HEIGHT
    assert (columns[0][0], columns[1][0] + columns[1][2]) == (pytest.approx(100 - columns[1][0] - columns[1][2]), (
        pytest.approx(100 - columns[0][0])))  # fmt: skip


def test_a_table_without_rows_is_empty_and_names_stand_as_their_columns_do() -> None:
    assert "<thead><tr></tr></thead><tbody></tbody>" in Table([])._repr_html_()
    html = Table([{"n": 1, "who": "a"}, {"n": 2, "who": 5}])._repr_html_()
    assert '<thead><tr><th class="number">n</th><th>who</th></tr></thead>' in html
    assert '<td class="number">2</td><td class="number">5</td>' in html


def test_a_figure_stands_below_its_caption_and_there_are_several() -> None:
    svgs = [column_chart({"a": 1}, title="t", key=key) for key in "kl"]
    html = Figures({"one": svgs[0], "two": svgs[1]})._repr_html_()
    wanted = "".join(f"<figure><figcaption>{said}</figcaption>{svg}</figure>"
                     for said, svg in zip(("one", "two"), svgs, strict=True))  # fmt: skip
    assert html.endswith(f'<div class="recsys">{wanted}</div>')


def test_a_long_curve_has_no_more_points_than_can_be_told_apart() -> None:
    points = tail_curve(np.arange(1, 1001))
    assert len(points) == 60
    assert points[0] == (0, 0)
    assert points[-1] == (100, 100)
