"""Losses, verdicts and figures of an ablation, worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from recsys.core.errors import ConfigError
from recsys.evaluation.ablation import (
    Overlap,
    Worth,
    efficient,
    over_seeds,
    overlaps,
    same_lists,
    seed_losses,
    segment_worths,
    worths,
)
from recsys.evaluation.ablation_plots import (
    LEFT,
    LETTER,
    PARETO,
    WIDE,
    Bar,
    Point,
    curves_plot,
    pareto_plot,
    worth_plot,
)
from recsys.evaluation.ablation_words import headline, overlap_sentence, sentence
from recsys.evaluation.result import Evaluation
from recsys.evaluation.significance import holm
from recsys.evaluation.svg import check_svg

from figures import marks_of, places

METRIC = "ndcg@2"
N = 40


def evaluation(name: str, values: np.ndarray, users: np.ndarray | None = None) -> Evaluation:
    """One metric for each user; half of them have 3 known items, half 10; nobody else's truth is in the tail."""
    n = len(values)
    table = pl.DataFrame({
        "user_idx": np.arange(n) if users is None else users,
        "n_history": np.where(np.arange(n) < n // 2, 3, 10),
        METRIC: values.astype(np.float64),
        "recall_tail@2": pl.Series([None if user % 2 else float(values[user]) for user in range(n)], dtype=pl.Float64),
    })  # fmt: skip
    options = {"n_resamples": 200, "level": 0.95, "seed": 0, "bounds": [5, 20]}
    protocol = {"dataset": "d", "split": "random", "part": "test", "fingerprint": "f"}
    return Evaluation(name, table, np.zeros((n, 2), np.int32), {"coverage@2": 0.5}, protocol, {}, METRIC, options)


BASE = np.linspace(0.2, 0.8, N)
NOISE = np.tile([0.01, -0.01], N // 2)


@pytest.fixture(scope="module")
def found() -> list[Worth]:
    """Without help every user loses .1, without harm gains .1, without a decoy as many lose .01 as gain it."""
    others = [evaluation("help", BASE - 0.1 + NOISE), evaluation("harm", BASE + 0.1), evaluation("decoy", BASE + NOISE)]
    return worths(evaluation("intact", BASE), others, METRIC, 999)


def test_losses_their_intervals_and_verdicts(found: list[Worth]) -> None:
    help_, harm, decoy = found
    assert help_.loss == pytest.approx(0.1)
    assert help_.low < 0.1 < help_.high
    assert (harm.loss, harm.low, harm.high) == pytest.approx((-0.1, -0.1, -0.1))
    assert harm.effect == 0.0  # all gain the same: there is no spread to measure it by
    assert decoy.loss == pytest.approx(0.0, abs=1e-12)
    assert [one.verdict(0.05) for one in found] == ["helps", "harms", "no effect shown"]
    assert help_.relative == pytest.approx(0.1 / BASE.mean())
    assert help_.effect == pytest.approx(0.1 / NOISE.std(ddof=1))
    assert decoy.effect == pytest.approx(0.0, abs=1e-9)


def test_holm_by_hand(found: list[Worth]) -> None:
    assert [one.p for one in found] == [0.001, 0.001, 1.0]
    assert [one.p_holm for one in found] == pytest.approx([0.003, 0.003, 1.0])  # 3 × .001, then 2 × .001 but not below
    assert list(holm([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


def worth(loss: float, p: float, seeds: tuple[float, ...] = ()) -> Worth:
    return Worth("text", 0.3, loss, loss - 0.008, loss + 0.008, p / 3, p, 0.2, 0.04, seeds)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (worth(0.012, 0.003),
         "text: its removal loses 0.0120 ndcg@2 (0.0040 to 0.0200), p = 0.003 after Holm: it helps"),
        (worth(-0.012, 0.0001),
         "text: its removal gains 0.0120 ndcg@2 (0.0040 to 0.0200), p < 0.001 after Holm: it harms"),
        (worth(0.002, 0.4),
         "text: its removal changes ndcg@2 by −0.0020 (−0.0100 to +0.0060), p = 0.400 after Holm: no effect shown"),
        (worth(0.0, 1.0),
         "text: its removal changes ndcg@2 by +0.0000 (−0.0080 to +0.0080), p = 1.000 after Holm: no effect shown"),
        (worth(0.012, 0.003, (0.02, 0.01)),
         "text: its removal loses 0.0120 ndcg@2 (0.0040 to 0.0200), p = 0.003 after Holm, with each of 2 seeds: "
         "it helps"),
        (worth(0.012, 0.003, (0.03, -0.01, 0.016)),
         "text: its removal loses 0.0120 ndcg@2 (0.0040 to 0.0200), p = 0.003 after Holm, with only 2 of 3 seeds: "
         "it helps"),
    ],
)  # fmt: skip
def test_the_verdict_in_words(one: Worth, said: str) -> None:
    assert sentence(one, METRIC, 0.05) == said


def test_a_pair_a_single_seed_and_nothing_at_all_are_called_so() -> None:
    both = sentence(worth(0.012, 0.003), METRIC, 0.05, "switching both off", "together they", one_seed=True)
    assert "switching both off loses" in both
    assert both.endswith("p = 0.003 after Holm, one seed: together they help")
    nothing = replace(worth(0.0, 1.0), low=0.0, high=0.0)
    assert sentence(nothing, METRIC, 0.05) == "text: its removal changes nobody's ndcg@2: no effect shown"


def test_the_headline_sorts_by_verdict(found: list[Worth]) -> None:
    assert headline(found, 0.05) == "help helps; harm harms; no effect is shown of decoy"
    two = [replace(found[0], name="a"), replace(found[0], name="b"), found[2]]
    assert headline(two, 0.05) == "a and b help; no effect is shown of decoy"
    pairs = {replace(found[0], name="c+d"): ("c", "d"), replace(found[0], name="a+c"): ("a", "c")}
    assert headline(two, 0.05, pairs) == "a and b help; no effect is shown of decoy; together c and d help"


def test_each_users_mean_over_seeds_is_what_is_compared() -> None:
    seeds = [evaluation("s0", BASE + 0.1), evaluation("s1", BASE - 0.3)]
    mean = over_seeds(seeds, "mean")
    assert mean.name == "mean"
    assert mean.per_user[METRIC].to_numpy() == pytest.approx(BASE - 0.1)
    assert mean.per_user["recall_tail@2"].null_count() == N // 2
    assert worths(evaluation("intact", BASE), [mean], METRIC, 99)[0].loss == pytest.approx(0.1)
    with pytest.raises(ConfigError, match="different users"):
        over_seeds([seeds[0], evaluation("s1", BASE, np.arange(N) + 1)], "mean")


def test_losses_of_single_seeds_and_what_no_seed_changes() -> None:
    intact = [evaluation("a", BASE), evaluation("b", BASE + 0.2)]
    assert seed_losses(intact, [evaluation("c", BASE - 0.1)], METRIC) == pytest.approx((0.1, 0.3))
    assert seed_losses(intact, [evaluation("c", BASE), evaluation("d", BASE)], METRIC) == pytest.approx((0.0, 0.2))
    assert same_lists(intact[0], evaluation("other name", BASE))
    assert not same_lists(*intact)


def test_segments_have_the_loss_where_it_is() -> None:
    gap = np.where(np.arange(N) < N // 2, 0.2, 0.0)
    rows = segment_worths(evaluation("intact", BASE), evaluation("text", BASE - gap), METRIC, 200)
    told = {(row.by, row.segment): row for row in rows}
    assert told["history", "1–5"].loss == pytest.approx(0.2)
    assert told["history", "6–20"].loss == pytest.approx(0.0)
    assert told["history", "6–20"].n_users == N // 2
    assert told["items", "tail"].metric == "recall@2"
    assert told["items", "tail"].n_users == N // 2
    assert ("items", "head") not in told


def test_pairs_that_cover_for_each_other_and_pairs_that_need_each_other() -> None:
    intact, less = evaluation("intact", BASE), evaluation("less", BASE - 0.1)
    covered = overlaps(intact, [(evaluation("a", BASE), evaluation("b", BASE), less)], METRIC, 999)[0]
    assert (covered.first, covered.second) == ("a", "b")
    assert covered.more == pytest.approx(0.1)
    assert "either covers for the other" in overlap_sentence(covered, METRIC, 0.05)
    needed = overlaps(intact, [(less, less, less)], METRIC, 999)[0]
    assert needed.more == pytest.approx(-0.1)
    assert "each is worth less without the other" in overlap_sentence(needed, METRIC, 0.05)
    unsure = Overlap("a", "b", 0.1, -0.1, 0.3, 0.2, 0.4)
    assert "no interaction shown" in overlap_sentence(unsure, METRIC, 0.05)


def test_efficient_is_whom_nobody_beats() -> None:
    points = {"cheap": (1.0, 0.2), "good": (5.0, 0.4), "beaten": (6.0, 0.3), "twin": (5.0, 0.4), "dear": (9.0, 0.4)}
    points["as dear"] = (5.0, 0.35)
    assert efficient(points) == ["cheap", "good", "twin"]


# -- figures -----------------------------------------------------------------------------------------------------


def test_bars_begin_at_zero_and_have_a_point_a_seed() -> None:
    bars = [Bar("text", 0.1, 0.05, 0.15, (0.08, 0.12), "helps"), Bar("<decoy>", -0.01, -0.03, 0.02, ())]
    svg = check_svg(worth_plot(bars, title="t", key="k", x_name="loss"), "bars")
    zero = re.search(r'class="floor" x1="([\d.]+)%"', svg)[1]
    assert svg.count(f'x1="{zero}%"') >= 3  # the line and the start of both bars
    assert svg.count("fill:var(--paper)") == 2
    assert "&lt;decoy&gt;" in svg
    assert "text +0.1000 (from +0.0500 to +0.1500): helps" in svg
    assert svg == worth_plot(bars, title="t", key="k", x_name="loss")


def test_pareto_names_every_point_and_labels_do_not_meet() -> None:
    points = [Point(f"without member {number}", 10.0 + number / 10, 0.3 + number / 1000) for number in range(6)]
    svg = pareto_plot([Point("intact", 20.0, 0.31, True), *points], title="t", key="k", x_name="s", y_name="ndcg")
    check_svg(svg, "pareto")
    labels = re.findall(r'overflow="visible"><text[^>]* y="([\d.]+)"[^>]*>([^<]+)<', svg)
    assert {label for _, label in labels} == {"intact", *(point.label for point in points)}
    assert len({height for height, _ in labels}) > 3


def test_curves_have_a_line_a_seed_and_nothing_without_points() -> None:
    seeds = [[(1, 0.1), (2, 0.2), (3, float("nan"))], [(1, 0.15), (2, 0.18)]]
    svg = check_svg(curves_plot({"lightgcn": seeds, "empty": []}, title="t", key="k", y_name="ndcg"), "curves")
    assert svg.count("<polyline") == 2
    assert "lightgcn: best 0.2000" in svg
    assert curves_plot({"a": [[(1, 0.2)]]}, title="t", key="k", y_name="ndcg") == ""


@pytest.mark.parametrize(
    "svg",
    [
        worth_plot([Bar("x" * 30, 0.1, 0.05, 0.15, (0.08,), "helps"), Bar("b", -0.2, -0.3, 0.0)], title="t", key="k",
                   x_name="x"),
        pareto_plot([Point("a", 1.0, 0.3), Point("b", 2.0, 0.4, True)], title="t", key="k", x_name="x", y_name="y"),
        curves_plot({"a": [[(1, 0.1), (2, 0.2)]], "b": [[(1, 0.2), (4, 0.3)]]}, title="t", key="k", y_name="y"),
    ],
    ids=["bars", "points", "curves"],
)  # fmt: skip
def test_all_marks_lie_within_the_figure(svg: str) -> None:
    marks_of(svg)


def test_a_long_label_is_cut() -> None:
    svg = worth_plot([Bar("x" * 30, 0.1, 0.05, 0.15), Bar("y" * 26, 0.1, 0.05, 0.15)], title="t", key="k", x_name="x")
    names = [text.text for text in marks_of(svg).iter("text") if "name" in text.get("class", "")]
    assert names == ["x" * 25 + "…", "y" * 26]


def test_points_lie_where_cost_and_accuracy_say() -> None:
    points = [Point("a", 0.0, 0.30), Point("b", 10.0, 0.40), Point("c", 5.0, 0.35)]
    figure = marks_of(pareto_plot(points, title="t", key="k", x_name="s", y_name="ndcg"))
    a, b, c = places(figure, "circle", "cx", "cy")
    assert a[0] < b[0]
    assert a[1] > b[1]  # y grows downwards
    assert c == (pytest.approx((a[0] + b[0]) / 2, abs=0.01), pytest.approx((a[1] + b[1]) / 2, abs=0.01))
    assert a[0] == LEFT


def label_boxes(figure: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """Return left, top, right and bottom of each point's label."""
    boxes = []
    for inner in (one for one in figure.iter("svg") if one.get("overflow")):
        (text,) = inner.iter("text")
        start = float(inner.get("x").rstrip("%")) * WIDE / 100 + float(text.get("x"))
        left = start if text.get("text-anchor") == "start" else start - LETTER * len(text.text)
        y = float(text.get("y"))
        boxes.append((left, y - 12, left + LETTER * len(text.text), y + 4))
    return boxes


def meeting(boxes: list[tuple[float, float, float, float]]) -> list[tuple[int, int]]:
    return [
        (first, second)
        for (first, a), (second, b) in combinations(enumerate(boxes), 2)
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]


def test_labels_of_crowded_points_meet_neither_each_other_nor_the_edge_nor_a_point() -> None:
    points = [Point(f"without member {number}", 10.0 + number / 10, 0.3 + number / 500) for number in range(6)]
    points += [Point("at the very right end", 20.0, 0.305), Point("left", 0.0, 0.301)]
    figure = marks_of(pareto_plot(points, title="t", key="k", x_name="s", y_name="ndcg"))
    boxes = label_boxes(figure)
    assert len(boxes) == len(points)
    dots = [(x * WIDE / 100, y) for x, y in places(figure, "circle", "cx", "cy")]
    for left, top, right, bottom in boxes:
        assert 40 <= left < right <= WIDE
        assert 0 <= top < bottom <= PARETO
        assert not any(left < x < right and top < y < bottom for x, y in dots)
    assert not meeting(boxes)


def test_a_curve_ends_where_its_last_epoch_stands() -> None:
    svg = curves_plot({"a": [[(1, 0.1), (4, 0.2)]]}, title="t", key="k", y_name="ndcg")
    (line,) = marks_of(svg).iter("polyline")
    ends = [tuple(map(float, place.split(","))) for place in line.get("points").split()]
    ticks = {text.text: float(text.get("x").rstrip("%")) for text in marks_of(svg).iter("text")}
    assert [x for x, _ in ends] == pytest.approx([ticks["1"], ticks["4"]], abs=0.01)
    assert ends[0][1] > ends[1][1]


def test_an_adjusted_p_of_alpha_shows_nothing() -> None:
    assert worth(0.012, 0.05).verdict(0.05) == "no effect shown"
    assert worth(0.012, 0.049).verdict(0.05) == "helps"
    assert "no interaction shown" in overlap_sentence(Overlap("a", "b", 0.1, 0.0, 0.2, 0.03, 0.05), METRIC, 0.05)


def test_the_effect_is_the_mean_by_the_spread_from_two_users_on() -> None:
    intact = evaluation("intact", np.array([0.5, 0.5]))
    (two,) = worths(intact, [evaluation("text", np.array([0.4, 0.2]))], METRIC, 99)
    assert two.effect == pytest.approx(0.2 / np.std([0.1, 0.3], ddof=1))
    (one,) = worths(evaluation("intact", np.array([0.5])), [evaluation("text", np.array([0.4]))], METRIC, 99)
    assert one.effect == 0


def test_a_share_of_nothing_is_nothing_and_losses_of_seeds_are_told() -> None:
    zero = evaluation("intact", np.zeros(4))
    (found,) = worths(zero, [evaluation("text", np.full(4, 0.1))], METRIC, 99, by_seed={"text": (-0.1, -0.2)})
    assert (found.relative, found.by_seed, found.mean) == (0, (-0.1, -0.2), pytest.approx(0.1))


def test_over_seeds_the_catalogue_is_a_mean_and_lists_are_the_first() -> None:
    first, second = evaluation("s0", BASE), replace(evaluation("s1", BASE), catalogue={"coverage@2": 0.9})
    second = replace(second, top_items=np.ones((N, 2), np.int32))
    mean = over_seeds([first, second], "mean")
    assert mean.catalogue == {"coverage@2": pytest.approx(0.7)}
    assert mean.top_items is first.top_items


def test_segments_have_their_intervals_and_bounds_of_five_and_twenty_unless_told() -> None:
    intact, less = evaluation("intact", BASE), evaluation("text", BASE - 0.1)
    bare = replace(intact, options={})
    rows = segment_worths(bare, less, METRIC, 99)
    assert [(row.segment, row.n_users) for row in rows] == [("1–5", N // 2), ("6–20", N // 2), ("tail", N // 2)]
    for row in rows:
        assert (row.name, row.loss, row.low, row.high) == ("text", *[pytest.approx(0.1)] * 3)


@pytest.mark.parametrize(
    ("loss", "p", "verdict"),
    [(0.0, 0.001, "no effect shown"), (1e-9, 0.001, "helps"), (-1e-9, 0.001, "harms"), (0.5, float("nan"),
                                                                                     "no effect shown")],
)  # fmt: skip
def test_a_loss_of_nothing_has_no_verdict(loss: float, p: float, verdict: str) -> None:
    assert worth(loss, p).verdict(0.05) == verdict


def test_a_single_seed_and_one_without_loss_agree_with_nothing() -> None:
    assert "seeds" not in sentence(worth(0.012, 0.003, (0.02,)), METRIC, 0.05)
    assert "with only 1 of 2 seeds" in sentence(worth(0.012, 0.003, (0.02, 0.0)), METRIC, 0.05)
    assert "with each of 2 seeds" in sentence(worth(-0.012, 0.003, (-0.02, -0.01)), METRIC, 0.05)


def test_what_is_lost_beyond_the_sum_is_said_with_its_ends() -> None:
    assert overlap_sentence(Overlap("a", "b", -0.1, -0.2, 0.05, 0.001, 0.002), METRIC, 0.05) == (
        "a and b: both at once lose −0.1000 ndcg@2 (−0.2000 to +0.0500) beyond the sum of the two: "
        "each is worth less without the other"
    )


def test_the_headline_names_the_largest_loss_first_and_all_that_harm() -> None:
    helping = [replace(worth(loss, 0.001), name=name) for name, loss in (("a", 0.1), ("b", 0.3), ("c", 0.2))]
    harming = [replace(worth(loss, 0.001), name=name) for name, loss in (("d", -0.2), ("e", -0.1))]
    assert headline([*harming, *helping], 0.05) == "b, c and a help; e and d harm"
    assert headline(helping[:1], 0.05, {worth(0.1, 0.2): ("x", "y")}) == "a helps"


def test_as_many_labels_as_there_is_room_for_at_one_place_do_not_meet() -> None:
    points = [Point(f"member {number}", 5.0, 0.3) for number in range(14)]  # seven lines at either side
    points += [Point("low", 0.0, 0.2), Point("high", 10.0, 0.4)]
    boxes = label_boxes(marks_of(pareto_plot(points, title="t", key="k", x_name="s", y_name="ndcg")))
    assert len(boxes) == len(points)
    assert not meeting(boxes)


def test_marked_points_are_filled_and_larger_and_the_front_is_joined_in_the_order_of_cost() -> None:
    points = [Point("b", 10.0, 0.4, True), Point("a", 1.0, 0.3), Point("beaten", 10.0, 0.2), Point("c", 5.0, 0.35)]
    figure = marks_of(pareto_plot(points, title="t", key="k", x_name="s", y_name="ndcg"))
    b, a, _, c = places(figure, "circle", "cx", "cy")
    steps = [line for line in figure.iter("line") if line.get("class") == "curve"]
    ends = [tuple(float(line.get(name).rstrip("%")) for name in ("x1", "y1", "x2", "y2")) for line in steps]
    assert ends == [(*a, *c), (*c, *b)]
    circles = list(figure.iter("circle"))
    assert [circle.get("r") for circle in circles] == ["6", "5", "5", "5"]
    fills = [circle.get("style").partition(";")[0] for circle in circles]
    assert fills == ["fill:var(--accent)", *["fill:var(--paper)"] * 3]
    assert "stroke:var(--quiet)" in circles[2].get("style")
    assert figure.find("desc") is not None
    assert "b: 0.4000 at 10.0; a: 0.3000 at 1.0" in "".join(one.text or "" for one in figure.iter())


def test_bars_reach_from_zero_to_their_value_below_their_names() -> None:
    bars = [Bar("a", 0.1, 0.05, 0.15, (0.08,), "helps"), Bar("b", -0.1, -0.2, 0.0, (), "harms"), Bar("c", 0.0, 0, 0)]
    figure = marks_of(worth_plot(bars, title="t", key="k", x_name="x"))
    dots = [place for place, mark in zip(places(figure, "circle", "cx", "cy"), figure.iter("circle"), strict=True)
            if mark.get("r") == "5"]  # fmt: skip
    (zero,) = {float(line.get("x1").rstrip("%")) for line in figure.iter("line") if line.get("class") == "floor"}
    assert [dots[0][0] - zero, dots[2][0] - zero] == pytest.approx([zero - dots[1][0], 0], abs=0.01)
    heights = [y for _, y in dots]
    assert heights[2] - heights[1] == heights[1] - heights[0] > 0
    names = {text.text: float(text.get("y")) for text in figure.iter("text")}
    assert [names["a"] < heights[0] < names["b"] < heights[1] < names["c"] < heights[2]] == [True]
    values = [text.text for text in figure.iter("text") if "value" in text.get("class")]
    assert values == ["+0.1000", "−0.1000", "+0.0000"]


def test_a_long_curve_keeps_its_ends_and_has_no_more_points_than_can_be_told_apart() -> None:
    points = [(epoch, 0.1 + epoch / 1000) for epoch in range(1, 242)]
    (line,) = marks_of(curves_plot({"a": [points]}, title="t", key="k", y_name="ndcg")).iter("polyline")
    (short,) = marks_of(curves_plot({"a": [points[:80]]}, title="t", key="k", y_name="ndcg")).iter("polyline")
    kept = [float(place.partition(",")[0]) for place in line.get("points").split()]
    assert len(kept) == 60 + 1  # every fourth of all but the last, and the last
    assert kept == sorted(set(kept))
    assert len(short.get("points").split()) == 80


def test_each_group_has_its_colour_and_its_place_in_the_legend() -> None:
    groups = {name: [[(1, 0.1), (2, 0.2)]] for name in "abcdef"}
    figure = marks_of(curves_plot(groups, title="t", key="k", y_name="ndcg"))
    lefts = [x for x, _ in places(figure, "circle", "cx", "cy")]
    assert np.diff(lefts) == pytest.approx([100 / 6] * 5, abs=0.01)
    inks = [circle.get("style") for circle in figure.iter("circle")]
    assert len(set(inks)) == 5
    assert inks[5] == inks[0]
    lines = [re.search(r"stroke:(var\([^)]+\))", line.get("style"))[1] for line in figure.iter("polyline")]
    assert [f"fill:{ink}" for ink in lines] == inks


def test_the_beginning_of_training_is_not_drawn_unless_it_is_all_there_is() -> None:
    """Of a best value of 1, what is below .6 is left out of the axis."""

    def lowest(start: float) -> float:
        svg = curves_plot({"a": [[(1, start), (2, 1.0)]]}, title="t", key="k", y_name="ndcg")
        texts = [text for text in ElementTree.fromstring(svg).iter("text") if float(text.get("x").rstrip("%")) == 0]
        return min(float(text.text) for text in texts)

    assert lowest(0.1) == 0.6
    assert lowest(0.8) == 0.8


def test_a_label_with_room_stands_beside_its_point() -> None:
    """At the right, at the right edge at the left; at the left edge there is room at the right alone."""
    corners = {"a": (0.0, 0.22), "b": (0.0, 0.38), "c": (10.0, 0.22), "d": (10.0, 0.38), "e": (5.0, 0.3)}
    figure = marks_of(
        pareto_plot([Point(name * 5, *at) for name, at in corners.items()], title="t", key="k", x_name="s", y_name="n")
    )
    labels = {next(one.iter("text")).text: next(one.iter("text")) for one in figure.iter("svg") if one.get("overflow")}
    dots = dict(zip(corners, places(figure, "circle", "cx", "cy"), strict=True))
    for name, (_, y) in dots.items():
        text = labels[name * 5]
        beside = (-11.0, "end") if name in "cd" else (11.0, "start")
        assert (float(text.get("x")), text.get("text-anchor"), float(text.get("y"))) == (*beside, y + 4)
    twins = [Point("a", 0.0, 0.3), Point("b", 0.0, 0.3), Point("c", 10.0, 0.4), Point("d", 10.0, 0.2)]
    boxes = label_boxes(marks_of(pareto_plot(twins, title="t", key="k", x_name="s", y_name="n")))
    assert len(boxes) == 4
    assert min(left for left, *_ in boxes) >= 40


def test_a_bar_and_its_interval_have_the_colour_of_the_verdict_and_the_grid_that_of_the_page() -> None:
    bars = [Bar(verdict or "-", 0.1, 0.05, 0.15, (), verdict) for verdict in ("helps", "harms", "")]
    lines = list(marks_of(worth_plot(bars, title="t", key="k", x_name="x")).iter("line"))
    inks = [re.findall(r"--\w+", line.get("style")) for line in lines if line.get("style")]
    assert inks == [[ink] for ink in ("--accent", "--accent", "--bad", "--bad", "--quiet", "--quiet")]
    assert {line.get("class") for line in lines if line.get("style") is None} == {"grid", "floor"}
