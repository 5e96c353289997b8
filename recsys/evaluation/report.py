"""One HTML file that shows a run to a stranger: finding, figures, lists, and how it was done.

The file carries everything in itself, needs no script and fetches nothing. All that comes from data is untrusted:
the template escapes it, and pictures and figures from elsewhere are checked before they are let in. Equal reports
give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recsys.evaluation.wording import GLOSSARY, verdict


@dataclass(frozen=True)
class RankerRow:
    """One ranker: what it reached, what it cost, how it was set.

    Attributes:
        name, label: the key that differences, curves and segments refer to; what readers see.
        chosen: it won on validation.
        summary, intervals: test means by ``metric@k`` and their ``(low, high)``.
        catalogue: ``coverage@k`` and the like.
        valid: the validation metric it was chosen by, if it was validated.
        fit_s, cpu_s: seconds of wall clock and of CPU for the fit.
        n_parameters: learned numbers, where that is known.
    """

    name: str
    label: str
    chosen: bool
    summary: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    catalogue: Mapping[str, float] = field(default_factory=dict)
    valid: float | None = None
    fit_s: float | None = None
    cpu_s: float | None = None
    n_parameters: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """Mean of ``name`` minus mean of ``reference`` over the same users, its interval and p-values."""

    name: str
    reference: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class Curve:
    """Validation metric by epoch of a ranker that learns; ``points`` are ``(epoch, value)``."""

    name: str
    metric: str
    points: Sequence[tuple[float, float]]
    best_epoch: int


@dataclass(frozen=True)
class ListedItem:
    """An item as shown: ``image`` is a ``data:`` URI or ``None`` (a card is drawn); ``held_out`` = a hit in test."""

    title: str
    item_id: str
    attributes: Sequence[str] = ()
    reasons: Sequence[str] = ()
    score: float | None = None
    image: str | None = None
    held_out: bool = False


@dataclass(frozen=True)
class RecommendedList:
    """A list for somebody: who they are, what is known of them, what they get, best first."""

    who: str
    explanation: str
    history: Sequence[ListedItem]
    items: Sequence[ListedItem]


@dataclass(frozen=True)
class Section:
    """What a later capability adds: a text and, if it likes, a table ``(headers, rows)``, an SVG figure and a picture.

    ``picture`` is a PNG; ``seen`` says in words what is on it.
    """

    title: str
    text: str
    table: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None
    figure_svg: str | None = None
    picture: bytes | None = None
    seen: str = ""


@dataclass(frozen=True)
class Report:
    """All that is shown; parts that are empty leave no trace on the page.

    Attributes:
        title, summary: the headline and the finding, a sentence an entry.
        facts: label and value; the first four stand large at the top, the others under "What was done".
        counts: what was dropped or changed, in how many rows, an example.
        segments: rows of ``Evaluation.segments`` with the ranker's ``name`` added.
        protocol: of the evaluation.
        made: ``date``, ``commit``, ``command`` and whatever else the foot of the page should say.
        metric: the main one, after which rankers are ordered.
        floor: name of the ranker that all others must beat.
        level: of the intervals; the verdicts on differences use 1 - level.
    """

    title: str
    summary: Sequence[str] = ()
    facts: Sequence[tuple[str, Any]] = ()
    counts: Sequence[tuple[str, int, str]] = ()
    rankers: Sequence[RankerRow] = ()
    differences: Sequence[Difference] = ()
    curves: Sequence[Curve] = ()
    lists: Sequence[RecommendedList] = ()
    segments: Sequence[Mapping[str, Any]] = ()
    protocol: Mapping[str, Any] = field(default_factory=dict)
    sections: Sequence[Section] = ()
    glossary: Mapping[str, str] = field(default_factory=lambda: GLOSSARY)
    made: Mapping[str, str] = field(default_factory=dict)
    metric: str = "ndcg@20"
    floor: str = "popularity"
    level: float = 0.95

    def label(self, name: str) -> str:
        """Return how the ranker is called on the page."""
        return next((row.label for row in self.rankers if row.name == name), name)

    def ordered(self) -> list[RankerRow]:
        """Return the rankers, best main metric first, those without one last."""
        return sorted(self.rankers, key=lambda row: (-_or(row.summary.get(self.metric), -math.inf), row.name))

    def tables(self) -> list[tuple[str, list[str]]]:
        """Return list length and metrics of each results table; the one of the main metric is first."""
        names = list(dict.fromkeys(name for row in self.rankers for name in row.summary))
        main = self.metric.partition("@")[2]
        lengths = sorted({name.partition("@")[2] for name in names}, key=lambda k: (k != main, len(k), k))
        names.sort(key=lambda name: name != self.metric)
        return [(k, [name for name in names if name.partition("@")[2] == k]) for k in lengths]

    def verdict(self, difference: Difference) -> str:
        """Return ``"better"``, ``"worse"`` or ``"no difference shown"``."""
        return verdict(difference.difference, difference.p_holm, 1 - self.level)


def best_of(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """Return the highest number of each name; empty where there is nothing to compare."""
    if len(rows) < 2:
        return {}
    values = {name: [_or(row.get(name), -math.inf) for row in rows] for name in names}
    return {name: max(found) for name, found in values.items() if max(found) > -math.inf}


def _or(value: float | None, other: float) -> float:
    return other if value is None or math.isnan(value) else value
