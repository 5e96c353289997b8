"""Figures of a search: every trial is drawn where its values are, and text is harmless."""

from __future__ import annotations

import re

import pytest

from recsys.evaluation.svg import check_svg
from recsys.evaluation.tuneplots import HEIGHT, TOP, Path, Scale, importance_plot, parallel_plot

from figures import marks_of, places

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


def test_ends_stand_beyond_the_axis_and_choices_beside_their_place() -> None:
    figure = marks_of(parallel_plot(SCALES, [Path((0.001, "a", 0.1)), Path((0.1, "b", 0.3))], title="t", key="k"))
    heights = {text.text: float(text.get("y")) for text in figure.iter("text")}
    assert heights["rate (log)"] < heights["0.3"] < TOP < HEIGHT < heights["0.001"]
    assert [round((heights[choice] - place) / 4) for choice, place in (("a", HEIGHT), ("b", TOP))] == [1, 1]


@pytest.mark.parametrize(("reached", "good"), [(range(8), 2), (range(9), 3), ([1, 2, 2, 2], 3), ([1], 1), ([], 0)])
def test_the_best_quarter_is_set_off_ties_included(reached, good: int) -> None:
    paths = [Path((0.1, "a", float(value))) for value in reached] + [Path((0.1, "a", None))]
    svg = parallel_plot(SCALES, paths, title="t", key="k")
    assert len(lines(svg, "good")) == 2 * good
    assert len(lines(svg, "rest")) == 2 * (len(reached) - good)
    assert len(lines(svg, "stopped")) == 1


def test_the_best_lie_on_top() -> None:
    svg = parallel_plot(SCALES, [Path((0.1, "a", value)) for value in (0.9, None, 0.1, 0.2, 0.3)], title="t", key="k")
    kinds = re.findall(r'class="trial (\w+)"', svg)
    assert kinds == ["stopped", *["rest"] * 6, "good", "good"]


def test_a_scale_of_one_choice_stands_on_the_ground() -> None:
    scales = [Scale("kind", values=("a",)), Scale("n"), Scale("ndcg@20")]
    (first, _) = lines(parallel_plot(scales, [Path(("a", 3, 0.1))], title="t", key="k"), "good")
    assert first == (HEIGHT, (TOP + HEIGHT) / 2)


def test_long_choices_are_cut_and_whole_numbers_written_as_they_are() -> None:
    scales = [Scale("kind", values=("x" * 14, "y" * 15)), Scale("n"), Scale("ndcg@20")]
    paths = [Path(("x" * 14, 12345, 0.12345)), Path(("y" * 15, 20000, 0.2))]
    words = [text.text for text in marks_of(parallel_plot(scales, paths, title="t", key="k")).iter("text")]
    assert words == ["kind", "x" * 14, "y" * 13 + "…", "n", "12345", "20000", "ndcg@20", "0.123", "0.2"]


def test_bars_are_below_each_other_each_below_its_name() -> None:
    figure = marks_of(importance_plot({"a": 0.2, "b": 1.5, "c": -0.1}, title="t", key="k"))
    bars = places(figure, "rect", "y", "width", "height")
    assert [width for _, width, _ in bars] == [100, 20, 0]
    assert bars[2][0] - bars[1][0] == bars[1][0] - bars[0][0] > bars[0][2] > 0
    words = [(text.text, float(text.get("y"))) for text in figure.iter("text")]
    assert [text for text, _ in words] == ["b", "1.50", "a", "0.20", "c", "-0.10"]
    assert [y < bar[0] for (_, y), bar in zip(words[::2], bars, strict=True)] == [True] * 3
    assert words[2][1] > bars[0][0] + bars[0][2]
