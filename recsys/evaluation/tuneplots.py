"""Figures of a search as SVG text: every trial across all settings, and what each setting was worth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsys.core.amounts import amount
from recsys.evaluation.plots import draw_figure, draw_line, draw_text

TOP, HEIGHT, BAR = 34, 210, 40  # pixels above the axes, down to their ends, and of a bar with its label
EDGE = 7  # per cent left free at either side, for the labels of the outer axes
LETTERS = 14  # of a tick
LOG = " (log)"
GOOD = 0.25  # share of the trials that are drawn as the best


@dataclass(frozen=True)
class Scale:
    """One axis: a setting, or what was reached.

    Attributes:
        name: stands above it.
        log: of numbers, on a logarithmic scale.
        values: choices in the order in which they stand; empty for numbers.
    """

    name: str
    log: bool = False
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Path:
    """One trial: its value on each scale; ``None`` from where a stopped one has none."""

    values: tuple[Any, ...]


def parallel_plot(scales: Sequence[Scale], paths: Sequence[Path], *, title: str, key: str) -> str:
    """Draw trials as lines across parallel axes, the best quarter of those that reached the last axis set off.

    Args:
        scales: two at least; the last is what was reached, higher is better.
        paths: a value a scale.
        title: read out by screen readers, with the number of trials after it.
        key: makes the ids of the figure unique on its page.

    Returns:
        An ``<svg>`` as wide as its place; without a path, ``""``.
    """
    if not paths:
        return ""
    axes = [_Axis(scale, [path.values[place] for path in paths]) for place, scale in enumerate(scales)]
    across = [EDGE + place * (100 - 2 * EDGE) / (len(axes) - 1) for place in range(len(axes))]
    marks = [draw_line(f"{x:.2f}%", TOP, f"{x:.2f}%", HEIGHT, "grid") for x in across]
    for kind, path in sorted(zip(_kinds(paths), paths, strict=True), key=lambda pair: DRAWN.index(pair[0])):
        places = [(x, axis(value)) for x, axis, value in zip(across, axes, path.values, strict=True)]
        marks += [
            draw_line(f"{x:.2f}%", y, f"{x2:.2f}%", y2, f"trial {kind}")
            for (x, y), (x2, y2) in itertools.pairwise(places)
            if y is not None and y2 is not None
        ]
    marks += [mark for axis, x in zip(axes, across, strict=True) for mark in axis.named(x)]  # words lie on lines
    told = f"{amount(len(paths), 'trial')} across {', '.join(scale.name + LOG * scale.log for scale in scales)}"
    return draw_figure("parallel", HEIGHT + 30, key, title, told, marks)


DRAWN = ("stopped", "rest", "good")  # the last one lies on top


def _kinds(paths: Sequence[Path]) -> list[str]:
    reached = sorted((path.values[-1] for path in paths if path.values[-1] is not None), reverse=True)
    least = reached[math.ceil(GOOD * len(reached)) - 1] if reached else math.inf
    return ["stopped" if path.values[-1] is None else "good" if path.values[-1] >= least else "rest" for path in paths]


class _Axis:
    """Values to pixels from the top, large ones above."""

    def __init__(self, scale: Scale, values: Sequence[Any]) -> None:
        self.scale = scale
        known = [value for value in values if value is not None]
        self.choices = list(scale.values)
        numbers = [] if self.choices else [self._number(value) for value in known]
        self.low, self.high = (min(numbers), max(numbers)) if numbers else (0.0, max(1, len(self.choices) - 1))
        self.ends = (min(known), max(known)) if numbers else ("", "")

    def _number(self, value: Any) -> float:
        if self.choices:
            return self.choices.index(value)
        return math.log(value) if self.scale.log else float(value)

    def __call__(self, value: Any) -> float | None:
        if value is None:
            return None
        span = self.high - self.low
        share = (self._number(value) - self.low) / span if span else 0.5
        return HEIGHT - share * (HEIGHT - TOP)

    def named(self, x: float) -> list[str]:
        """Return its name, and its ends or choices."""
        place = f"{x:.2f}%"
        marks = [draw_text(place, 14, _short(self.scale.name, 2 * LETTERS) + LOG * self.scale.log, "name", "middle")]
        if self.choices:
            return marks + [
                draw_text(place, (self(one) or 0) + 4, _short(str(one)), anchor="middle") for one in self.choices
            ]
        ends = ((HEIGHT + 18, self.ends[0]), (TOP - 5, self.ends[1]))
        return marks + [draw_text(place, y, _plain(end), anchor="middle") for y, end in ends]


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _short(text: str, letters: int = LETTERS) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def importance_plot(shares: Mapping[str, float], *, title: str, key: str) -> str:
    """Draw what each setting was worth as bars from 0 to 1, the largest first; without any, ``""``."""
    if not shares:
        return ""
    marks, ranked = [], sorted(shares.items(), key=lambda pair: -pair[1])
    for place, (name, share) in enumerate(ranked):
        y = place * BAR
        marks += [draw_text("0", y + 15, name, "name"), draw_text("100%", y + 15, f"{share:.2f}", "value", "end")]
        marks.append(
            f'<rect class="bar" x="0" y="{y + 22}" width="{100 * min(max(share, 0.0), 1.0):.2f}%" height="8"/>'
        )
    told = "; ".join(f"{name} {share:.2f}" for name, share in ranked)
    return draw_figure("bars", BAR * len(shares), key, title, told, marks)
