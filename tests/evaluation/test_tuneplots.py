"""Figures of a search: every trial is drawn where its values are, and text is harmless."""

from __future__ import annotations

import re

import pytest

from recsys.evaluation.svg import check_svg
from recsys.evaluation.tuneplots import HEIGHT, TOP, Path, Scale, importance_plot, parallel_plot

from figures import marks_of

SCALES = [Scale("rate", log=True), Scale("kind", values=("a", "b")), Scale("ndcg@20")]


def lines(svg: str, kind: str) -> list[tuple[float, float]]:
    found = re.findall(rf'<line class="trial {kind}" x1="[\d.]+%" y1="([\d.]+)" x2="[\d.]+%" y2="([\d.]+)"', svg)
    return [(float(low), float(high)) for low, high in found]


def test_trials_go_from_axis_to_axis() -> None:
    paths = [Path((0.001, "a", 0.1)), Path((0.1, "b", 0.3)), Path((0.01, "a", 0.2)), Path((0.1, "a", 0.15))]
    svg = check_svg(parallel_plot(SCALES, paths, title="t", key="k"), "t")
    assert lines(svg, "good") == [(TOP, TOP), (TOP, TOP)]  # the best of four: the highest rate, the last kind
    middle = (TOP + HEIGHT) / 2
    assert lines(svg, "rest")[0] == (HEIGHT, HEIGHT)
    assert (middle, HEIGHT) in lines(svg, "rest")  # 0.01 is half way on a logarithmic scale


def test_a_logarithmic_axis_says_that_it_is_one() -> None:
    scales = [Scale("rate", log=True), Scale("a" * 40, log=True), Scale("ndcg@20")]
    svg = parallel_plot(scales, [Path((0.001, 1.0, 0.1))], title="t", key="k")
    names = re.findall(r'<text class="name"[^>]*>([^<]*)</text>', svg)
    assert names == ["rate (log)", "a" * 27 + "… (log)", "ndcg@20"]
    assert "across rate (log), " in svg


def test_a_stopped_trial_ends_before_the_last_axis() -> None:
    svg = parallel_plot(SCALES, [Path((0.001, "a", None)), Path((0.1, "b", 0.3))], title="t", key="k")
    assert len(lines(svg, "stopped")) == 1
    assert len(lines(svg, "good")) == 2


def test_one_trial_or_equal_values_are_drawn_in_the_middle() -> None:
    svg = check_svg(parallel_plot(SCALES, [Path((0.1, "a", 0.3))], title="t", key="k"), "t")
    assert lines(svg, "good")[0][0] == (TOP + HEIGHT) / 2
    assert parallel_plot(SCALES, [], title="t", key="k") == ""


def test_importance_is_bars_from_the_largest() -> None:
    svg = check_svg(importance_plot({"small": 0.2, "<b>large": 0.8}, title="t", key="k"), "t")
    assert svg.index("large") < svg.index(">small")
    assert 'width="80.00%"' in svg
    assert "<b>" not in svg
    assert importance_plot({}, title="t", key="k") == ""


def test_axes_stand_side_by_side_from_edge_to_edge_and_name_choices_and_ends() -> None:
    figure = marks_of(parallel_plot(SCALES, [Path((0.001, "a", 0.1)), Path((0.1, "b", 0.3))], title="t", key="k"))
    axes = [float(line.get("x1").rstrip("%")) for line in figure.iter("line") if line.get("class") == "grid"]
    assert axes[0] == pytest.approx(100 - axes[2], abs=0.01)
    assert axes[1] == 50
    words = [text.text for text in figure.iter("text")]
    assert words == ["rate (log)", "0.001", "0.1", "kind", "a", "b", "ndcg@20", "0.1", "0.3"]


def test_bars_of_importance_lie_within_the_figure() -> None:
    marks_of(importance_plot({"a": 0.2, "b": 0.8, "c": 1.5}, title="t", key="k"))
