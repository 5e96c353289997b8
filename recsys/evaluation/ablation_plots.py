"""Figures of an ablation, in the manner of ``plots``: SVG text, places along x in per cent, colours from the page."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from recsys.evaluation.ablation import HARMS, HELPS, efficient
from recsys.evaluation.plots import nice_ticks, tick_label
from recsys.evaluation.svg import clean

ROW, AXIS = 44, 44  # pixels of a row; below the last one: numbers, and what they count
PARETO, CURVES, TOP, LEFT = 320, 240, 36, 7.0  # pixels of height and above, per cent left of the first point
SHOWN = 0.6  # of the best value: what a curve does below is the beginning of training, and not drawn
WIDE = 760  # pixels that a figure is taken to be wide, where labels must not lie on each other
LETTER, LINE = 7.2, 17  # pixels of a letter and of a line of a label
MOST_POINTS = 80  # of a curve: more cannot be told apart
COLOURS = ("--accent", "--bad", "--good", "--ink", "--quiet")
INK = {HELPS: "--accent", HARMS: "--bad"}


@dataclass(frozen=True)
class Bar:
    """A loss with its interval, the losses of single seeds, and the verdict that colours it."""

    label: str
    value: float
    low: float
    high: float
    seeds: Sequence[float] = ()
    verdict: str = ""


@dataclass(frozen=True)
class Point:
    """A set of components by what it costs and what it reaches."""

    label: str
    cost: float
    value: float
    marked: bool = False


def worth_plot(bars: Sequence[Bar], *, title: str, key: str, x_name: str) -> str:
    """Draw bars from zero with their intervals, seeds as hollow points; at least one bar.

    Args:
        bars: in the order they are shown.
        title: read out by screen readers, with all numbers after it.
        key: makes the ids of the figure unique on its page.
        x_name: what is drawn.
    """
    values = [end for bar in bars for end in (bar.low, bar.high, *bar.seeds)]
    ticks = nice_ticks(min(0.0, *values), max(0.0, *values))
    place, height = _scale(ticks[0], ticks[-1], 1.5, 98.5), ROW * len(bars)
    marks = [_line(place(tick), 0, place(tick), height, "grid") for tick in ticks]
    marks += [_text(place(tick), height + 16, tick_label(tick, ticks), anchor="middle") for tick in ticks]
    marks.append(_text(50, height + 36, x_name, anchor="middle"))
    marks.append(_line(place(0), 0, place(0), height, "floor"))
    for number, bar in enumerate(bars):
        marks.append(_bar(bar, number * ROW + 31, place))
        kind = " marked" if bar.verdict in INK else ""
        marks.append(_text(0, number * ROW + 16, _shortened(bar.label), "name" + kind))
        marks.append(_text(100, number * ROW + 16, f"{bar.value:+.4f}".replace("-", "−"), "value" + kind, "end"))
    return _figure("forest", height + AXIS, key, title, "; ".join(map(_told, bars)), marks)


def _told(bar: Bar) -> str:
    verdict = f": {bar.verdict}" if bar.verdict else ""
    return f"{bar.label} {bar.value:+.4f} (from {bar.low:+.4f} to {bar.high:+.4f}){verdict}"


def _bar(bar: Bar, y: int, place: Callable[[float], float]) -> str:
    ink = INK.get(bar.verdict, "--quiet")
    thick = f"stroke:var({ink});stroke-width:14;opacity:.22"
    hollow = f"fill:var(--paper);stroke:var({ink});stroke-width:1.3"
    seeds = [_circle(place(value), y + 10, 2.8, hollow) for value in bar.seeds]
    return (
        f"<g><title>{clean(_told(bar))}</title>"
        + _line(place(0), y, place(bar.value), y, "", thick)
        + _line(place(bar.low), y, place(bar.high), y, "interval", f"stroke:var({ink});stroke-width:2")
        + _circle(place(bar.value), y, 5, f"fill:var({ink})")
        + "".join(seeds)
        + "</g>"
    )


def pareto_plot(points: Sequence[Point], *, title: str, key: str, x_name: str, y_name: str) -> str:
    """Draw cost against accuracy; a line joins the points that none beats in both, and all are named.

    Args:
        points: finite numbers, at least one point; marked ones (the run as it is) are filled.
        title, key: as in ``worth_plot``.
        x_name, y_name: what the axes count.
    """
    across = nice_ticks(min(0.0, *(one.cost for one in points)), max(one.cost for one in points), n=6)
    up = nice_ticks(min(one.value for one in points), max(one.value for one in points), n=5)
    x, y = _scale(across[0], across[-1], LEFT, 97.0), _scale(up[0], up[-1], PARETO, TOP)
    marks = [_line(0, y(tick), 100, y(tick), "grid") + _text(0, y(tick) - 4, tick_label(tick, up)) for tick in up]
    marks += [_text(x(tick), PARETO + 16, tick_label(tick, across), anchor="middle") for tick in across]
    marks += [_text(50, PARETO + 36, x_name, anchor="middle"), _text(0, 12, y_name)]
    best = efficient({one.label: (one.cost, one.value) for one in points})
    front = sorted((one for one in points if one.label in best), key=lambda one: (one.cost, one.value))
    marks += [_line(x(a.cost), y(a.value), x(b.cost), y(b.value), "curve") for a, b in itertools.pairwise(front)]
    for one in points:
        ink = "--accent" if one.label in best else "--ink" if one.marked else "--quiet"
        fill = ink if one.marked else "--paper"
        style = f"fill:var({fill});stroke:var({ink});stroke-width:2"
        told = f"<title>{clean(f'{one.label}: {one.value:.4f}, {one.cost:.1f}')}</title>"
        marks.append(f"<g>{told}{_circle(x(one.cost), y(one.value), 6 if one.marked else 5, style)}</g>")
    marks += _labels([(one, x(one.cost), y(one.value)) for one in points], best)
    told = "; ".join(f"{one.label}: {one.value:.4f} at {one.cost:.1f}" for one in points)
    return _figure("pareto", PARETO + AXIS, key, title, told, marks)


def _labels(placed: Sequence[tuple[Point, float, float]], best: Sequence[str]) -> list[str]:
    """Name each point at its right or left, or as near above or below as there is room."""
    taken = [(x * WIDE / 100 - 7, y - 7, x * WIDE / 100 + 7, y + 7) for _, x, y in placed]
    marks = []
    for one, x, y in sorted(placed, key=lambda entry: (entry[0].label not in best, entry[2])):
        label = _shortened(one.label)
        for dx, dy in itertools.chain(_nearby(), [(11, 4)]):
            left = x * WIDE / 100 + (dx if dx > 0 else dx - LETTER * len(label))
            box = (left, y + dy - 12, left + LETTER * len(label), y + dy + 4)
            inside = box[0] >= 40 and box[2] <= WIDE and box[1] >= 0 and box[3] <= PARETO
            if inside and not any(_meet(box, other) for other in taken):
                break
        taken.append(box)
        kind = "name marked" if one.marked else "name" if one.label in best else "tick"
        anchor = "start" if dx > 0 else "end"
        marks.append(f'<svg x="{x:.3f}%" overflow="visible">{_text_px(dx, y + dy, label, kind, anchor)}</svg>')
    return marks


def _nearby() -> list[tuple[int, int]]:
    steps = [4, -6, 14, 4 - LINE, 4 + LINE, 4 - 2 * LINE, 4 + 2 * LINE, 4 - 3 * LINE, 4 + 3 * LINE]
    return [(dx, dy) for dy in steps for dx in (11, -11)]


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def curves_plot(
    groups: Mapping[str, Sequence[Sequence[tuple[float, float]]]], *, title: str, key: str, y_name: str
) -> str:
    """Draw learning curves: a colour a group, a thin line for each of its seeds; without a finite point, ``""``.

    Args:
        groups: by label, the ``(epoch, value)`` of each seed.
        title, key: as in ``worth_plot``.
        y_name: what is drawn by epoch.
    """
    lines = {name: [kept for one in seeds if len(kept := _finite(one)) > 1] for name, seeds in groups.items()}
    lines = {name: seeds for name, seeds in lines.items() if seeds}
    points = [point for seeds in lines.values() for one in seeds for point in one]
    if not points:
        return ""
    best = max(y for _, y in points)
    ticks = nice_ticks(max(min(y for _, y in points), SHOWN * best), best, n=4)
    across = nice_ticks(0, max(x for x, _ in points), n=6)
    x, y = _scale(0, across[-1], LEFT, 98.5), _scale(ticks[0], ticks[-1], CURVES, TOP)
    marks = [_line(0, y(tick), 100, y(tick), "grid") + _text(0, y(tick) - 4, tick_label(tick, ticks)) for tick in ticks]
    marks += [_text(x(tick), CURVES + 16, tick_label(tick, across), anchor="middle") for tick in across]
    marks.append(_text(50, CURVES + 36, f"{y_name} by epoch", anchor="middle"))
    for number, (name, seeds) in enumerate(lines.items()):
        ink = COLOURS[number % len(COLOURS)]
        marks.append(_circle(number * 100 / len(lines) + 1, 10, 5, f"fill:var({ink})"))
        marks.append(_text(number * 100 / len(lines) + 2.6, 14, _shortened(name), "name"))
        marks.append(_drawn(seeds, x, y, ink))
    told = "; ".join(f"{name}: best {max(y for one in seeds for _, y in one):.4f}" for name, seeds in lines.items())
    return _figure("curves", CURVES + AXIS, key, title, told, marks)


def _drawn(
    seeds: Sequence[Sequence[tuple[float, float]]], x: Callable[[float], float], y: Callable[[float], float], ink: str
) -> str:
    """Draw polylines in a frame that is stretched to the figure's width, lines keeping theirs."""
    size = f'width="100%" height="{CURVES}" viewBox="0 0 100 {CURVES}" preserveAspectRatio="none"'
    style = f"fill:none;stroke:var({ink});stroke-width:1.6;opacity:.75"
    lines = []
    for one in seeds:
        step = max(1, math.ceil(len(one) / MOST_POINTS))
        kept = [*one[:-1:step], one[-1]]
        places = " ".join(f"{x(epoch):.2f},{y(value):.2f}" for epoch, value in kept)
        lines.append(f'<polyline points="{places}" style="{style}" vector-effect="non-scaling-stroke"/>')
    return f"<svg {size}>{''.join(lines)}</svg>"


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _shortened(label: str, most: int = 26) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str, style: str = "") -> str:
    told = f' style="{style}"' if style else ""
    return f'<line class="{kind}" x1="{x1:.3f}%" y1="{y1:.2f}" x2="{x2:.3f}%" y2="{y2:.2f}"{told}/>'


def _circle(x: float, y: float, radius: float, style: str) -> str:
    return f'<circle cx="{x:.3f}%" cy="{y:.2f}" r="{radius}" style="{style}"/>'


def _text(x: float, y: float, text: object, kind: str = "tick", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.3f}%" y="{y:.2f}" text-anchor="{anchor}">{clean(text)}</text>'


def _text_px(x: float, y: float, text: object, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}">{clean(text)}</text>'


def _figure(kind: str, height: int, key: str, title: str, told: str, marks: Sequence[str]) -> str:
    key = clean(key)
    return (
        f'<svg class="plot {kind}" width="100%" height="{height}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc"><title id="{key}-title">{clean(title)}</title>'
        f'<desc id="{key}-desc">{clean(told)}</desc>{"".join(marks)}</svg>'
    )
