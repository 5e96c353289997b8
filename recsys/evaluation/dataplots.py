"""Plots of a data set as SVG text: columns of counts, and how few items get how much of what is taken."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from recsys.evaluation.plots import AXIS, CURVE_HEIGHT, CURVE_TOP, PAD, draw_figure, draw_line, draw_text

FILLED = 0.8  # of the room that a column has
POINTS = 60  # of a curve: more cannot be told apart


def column_chart(columns: Mapping[str, float], *, title: str, key: str, digits: int = 0) -> str:
    """Draw values of 0 and more as columns, in the given order.

    Args:
        columns: label to finite value, at least one.
        title: read out by screen readers, with all numbers after it.
        key: makes the ids of the figure unique on its page.
        digits: behind the point, of the values above the columns.

    Returns:
        An ``<svg>`` element of 150 px and the labels below, as wide as its place.
    """
    top, width = max(columns.values()) or 1.0, (100 - 2 * PAD) / len(columns)
    marks = [draw_line("0%", CURVE_HEIGHT, "100%", CURVE_HEIGHT, "grid")]
    for place, (label, value) in enumerate(columns.items()):
        left, height = PAD + place * width, value / top * (CURVE_HEIGHT - CURVE_TOP)
        middle, y = f"{left + width / 2:.3f}%", CURVE_HEIGHT - height
        marks.append(
            f'<rect class="bar" x="{left + (1 - FILLED) / 2 * width:.3f}%" y="{y:.2f}" '
            f'width="{FILLED * width:.3f}%" height="{height:.2f}"/>'
        )
        marks.append(draw_text(middle, y - 5, f"{value:,.{digits}f}", anchor="middle"))
        marks.append(draw_text(middle, CURVE_HEIGHT + 18, label, anchor="middle"))
    told = "; ".join(f"{label} {value:,.{digits}f}" for label, value in columns.items())
    return draw_figure("columns", CURVE_HEIGHT + AXIS, key, title, told, marks)


def count_groups(counts: np.ndarray, bounds: tuple[int, ...] = (0, 5, 10, 20, 50, 100, 200, 500)) -> dict[str, int]:
    """Return how many of ``counts`` (whole numbers, ``[n]``) lie between bounds: ``{"1–5": 12, …}``.

    Groups at either end that nobody is in are left out.
    """
    group = np.searchsorted(bounds, counts)
    labels = ["0", *(f"{low + 1}–{high}" for low, high in itertools.pairwise(bounds)), f"{bounds[-1] + 1}+"]
    found = range(group.min(), group.max() + 1) if len(counts) else ()
    return {labels[place]: int((group == place).sum()) for place in found}


def tail_curve(counts: np.ndarray) -> list[tuple[float, float]]:
    """Return points of the long tail: of the items, the most taken first, so many per cent have so many of all.

    Args:
        counts: how often each item was taken, ``[n_items]``, one at least of them more than 0.
    """
    share = np.concatenate([[0], np.cumsum(np.sort(counts)[::-1])]) / counts.sum()
    places = np.unique(np.linspace(0, len(counts), POINTS).round().astype(int))
    return [(100 * place / len(counts), 100 * float(share[place])) for place in places]
