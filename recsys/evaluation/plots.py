"""Figures as SVG text for the report: pure functions, no plotting library, no fonts or colours of their own.

Plots have a fixed height and no ``viewBox``: places along x are per cent, so that a plot fills a wide page and a
phone alike while its letters keep their size. Colours come from the page by class name, so dark mode is the page's
affair. All text is escaped; equal input gives equal bytes.
"""

from __future__ import annotations

import colorsys
import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from recsys.evaluation.svg import clean

ROW, AXIS, LABEL = 44, 26, 26  # pixels of a forest row and of the axis below; letters of a label
CURVE_HEIGHT, CURVE_TOP, PAD = 150, 20, 1.5
CURVE_LEFT = 7  # per cent left free before a curve, for the labels of its ticks
YEAR = re.compile(r"\s*\((\d{4})\)\s*$")
ARTICLES = {"a", "an", "and", "das", "der", "die", "la", "le", "les", "of", "the"}


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, one row of a forest plot; ``marked`` sets it off from the others."""

    label: str
    value: float
    low: float
    high: float
    marked: bool = False


def nice_ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Return about ``n`` round numbers, the first at or below ``low``, the last at or above ``high``."""
    span = (high - low) or abs(high) or 1.0
    raw = span / max(1, n - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def forest_plot(rows: Sequence[Estimate], *, title: str, key: str, floor: float | None = None) -> str:
    """Draw means and intervals under each other, in the given order.

    Args:
        rows: finite numbers, at least one row.
        title: read out by screen readers, with all numbers after it.
        key: makes the ids of the figure unique on its page.
        floor: where to draw a dashed line through all rows.

    Returns:
        An ``<svg>`` element of 44 px a row, as wide as its place: names and values above their intervals. Where
        there is room, a page may give the figure margins and move ``.name`` and ``.value`` out into them.
    """
    ends = [end for row in rows for end in (row.low, row.high)] + ([] if floor is None else [floor])
    ticks = nice_ticks(min(ends), max(ends))
    height, place = ROW * len(rows), _Across(ticks[0], ticks[-1])
    marks = [draw_line(place(tick), 0, place(tick), height, "grid") for tick in ticks]
    marks += [draw_text(place(tick), height + 18, tick_label(tick, ticks), anchor="middle") for tick in ticks]
    if floor is not None:
        marks.append(draw_line(place(floor), 0, place(floor), height, "floor"))
    marks += [_interval(row, number * ROW + 31, place) for number, row in enumerate(rows)]
    marks += [_row_texts(row, number * ROW + 16) for number, row in enumerate(rows)]
    told = "; ".join(map(_told, rows))
    return draw_figure("forest", height + AXIS, key, title, told, marks)


def _told(row: Estimate) -> str:
    return f"{row.label} {row.value:.4f} (from {row.low:.4f} to {row.high:.4f})"


def _interval(row: Estimate, y: int, place: _Across) -> str:
    return (
        f'<g class="{"row marked" if row.marked else "row"}"><title>{clean(_told(row))}</title>'
        + draw_line(place(row.low), y, place(row.high), y, "interval")
        + f'<circle cx="{place(row.value)}" cy="{y}" r="5"/></g>'
    )


def _row_texts(row: Estimate, y: int) -> str:
    label = row.label if len(row.label) <= LABEL else row.label[: LABEL - 1] + "…"
    kind = " marked" if row.marked else ""
    return draw_text("0", y, label, "name" + kind) + draw_text("100%", y, f"{row.value:.4f}", "value" + kind, "end")


def line_chart(
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    key: str,
    best_x: float | None = None,
    y_range: tuple[float, float] | None = None,
    x_name: str = "epoch",
) -> str:
    """Draw one curve and mark its best point.

    Args:
        points: ``(x, y)`` in the order of x; points that are not finite are left out.
        title: read out by screen readers, with first, best and last point after it.
        key: makes the ids of the figure unique on its page.
        best_x: the x whose point is marked.
        y_range: of the y axis, so that several charts can be compared; default: of the points.
        x_name: what x counts.

    Returns:
        An ``<svg>`` element of 150 px and the axis below, as wide as its place; without a finite point, ``""``.
    """
    points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not points:
        return ""
    xs, ys = zip(*points, strict=True)
    ticks = nice_ticks(*(y_range or (min(ys), max(ys))), n=4)
    across, up = _Across(min(xs), max(xs), CURVE_LEFT), _Up(ticks[0], ticks[-1])
    marks = [draw_line("0%", up(tick), "100%", up(tick), "grid") for tick in ticks]
    steps = itertools.pairwise(points)
    marks += [draw_line(across(x), up(y), across(x2), up(y2), "curve") for (x, y), (x2, y2) in steps]
    marks += [draw_text("0", up(tick) - 4, tick_label(tick, ticks)) for tick in ticks]  # over the curve, if narrow
    marks.append(draw_text(across(xs[0]), CURVE_HEIGHT + 18, f"{x_name} {xs[0]:g}"))
    if len(points) > 1:
        marks.append(draw_text("100%", CURVE_HEIGHT + 18, f"{xs[-1]:g}", anchor="end"))
    best = next((point for point in points if point[0] == best_x), None)
    if best or len(points) == 1:
        x, y = best or points[0]
        marks.append(draw_line(across(x), up(y), across(x), CURVE_HEIGHT, "floor") if best else "")
        marks.append(f'<circle class="{"best" if best else "dot"}" cx="{across(x)}" cy="{up(y):.2f}" r="5"/>')
    named = {"first": points[0], "best": best, "last": points[-1]}
    told = "; ".join(f"{name}: {x_name} {p[0]:g}, {p[1]:.4f}" for name, p in named.items() if p)
    return draw_figure("curve", CURVE_HEIGHT + AXIS, key, title, told, marks)


def title_card(title: str) -> str:
    """Draw a tile for an item without a picture: initials and year on colours that follow from the title's hash.

    Its ``<title>`` says that it is drawn, so that nobody takes it for a picture from the data.
    """
    digest = hashlib.blake2b(title.encode("utf-8", "replace"), digest_size=8).digest()
    back, shape = tile_colours(digest[0] / 256)
    year = YEAR.search(title)
    x, y, radius = 20 + digest[1] % 80, 10 + digest[2] % 50, 38 + digest[3] % 30
    shapes = (
        f'<circle cx="{x}" cy="{y}" r="{radius}"/>',
        f'<path d="M0 {y + 60}L120 {y}V0H0Z"/>',
        f'<path d="M0 0H{x}V150H0Z"/>',
        f'<path d="M{x} 0L120 0V150L{120 - x} 150Z"/>',
        f'<circle cx="{x}" cy="{y}" r="{radius}" fill="none" stroke="{shape}" stroke-width="16"/>',
    )
    under = f'<text class="year" x="12" y="136">{year[1]}</text>' if year else ""
    return (
        '<svg class="tile" viewBox="0 0 120 150" role="img">'
        f"<title>Drawn card (the data has no picture): {clean(title)}</title>"
        f'<rect width="120" height="150" fill="{back}"/><g fill="{shape}">{shapes[digest[4] % len(shapes)]}</g>'
        f'<text class="initials" x="12" y="{112 if year else 132}">{clean(initials(title))}</text>{under}</svg>'
    )


def tile_colours(hue: float) -> tuple[str, str]:
    """Return ground and shape of a tile for a hue in [0, 1): both dark enough for white letters (4.5 : 1)."""
    tones = (colorsys.hls_to_rgb(hue, lightness, 0.36) for lightness in (0.25, 0.32))
    ground, shape = ("#" + "".join(f"{round(255 * part):02x}" for part in tone) for tone in tones)
    return ground, shape


def initials(title: str) -> str:
    """Return up to two initials: ``TS`` for "Toy Story (1995)", articles and the year left out."""
    words = re.findall(r"\w+", YEAR.sub("", title).replace("'", "").replace("’", "").replace("_", " "))
    words = [word for word in words if word.casefold() not in ARTICLES] or words
    if words and words[0].isdecimal():
        return words[0][:4]
    return "".join(word[0] for word in words[:2]).upper() or "◆"


class _Across:
    """Numbers to per cent of the width, ``PAD`` per cent left free at either side, or more at the left."""

    def __init__(self, low: float, high: float, left: float = PAD) -> None:
        self.low, self.span, self.left = low, high - low, left

    def __call__(self, value: float) -> str:
        share = (value - self.low) / self.span if self.span else 0.5
        return f"{self.left + share * (100 - self.left - PAD):.3f}%"


class _Up:
    """Numbers to pixels from the top, between ``CURVE_TOP`` and ``CURVE_HEIGHT``."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.span = low, high - low

    def __call__(self, value: float) -> float:
        return CURVE_HEIGHT - (value - self.low) / self.span * (CURVE_HEIGHT - CURVE_TOP)


def draw_figure(kind: str, height: int, key: str, title: str, told: str, marks: Sequence[str]) -> str:
    """Return an ``<svg>`` of ``marks`` as wide as its place; title and ``told`` are read out by screen readers."""
    key = clean(key)
    return (
        f'<svg class="plot {kind}" width="100%" height="{height}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc"><title id="{key}-title">{clean(title)}</title>'
        f'<desc id="{key}-desc">{clean(told)}</desc>{"".join(marks)}</svg>'
    )


def draw_line(x1: str, y1: float, x2: str, y2: float, kind: str) -> str:
    """Return a line from per cent to per cent across and pixels down; the page colours it by ``kind``."""
    return f'<line class="{kind}" x1="{x1}" y1="{y1:.2f}" x2="{x2}" y2="{y2:.2f}"/>'


def draw_text(x: str, y: float, text: object, kind: str = "tick", anchor: str = "start") -> str:
    """Return text at per cent across and pixels down, escaped."""
    return f'<text class="{kind}" x="{x}" y="{y:.2f}" text-anchor="{anchor}">{clean(text)}</text>'


def tick_label(tick: float, ticks: Sequence[float]) -> str:
    """Write a tick with the digits that its neighbours need."""
    step = ticks[1] - ticks[0]
    digits = max(0, *(-math.floor(math.log10(step)) + extra for extra in (0, not _whole(step))))
    return f"{tick:,.{digits}f}"


def _whole(step: float) -> bool:
    """Return whether the first digit of ``step`` says all of it (0.2 does, 0.25 does not)."""
    first = step / 10.0 ** math.floor(math.log10(step))
    return abs(first - round(first)) < 1e-6
