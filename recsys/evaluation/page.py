"""From a report to its page: what the template shows is worked out here, so that the template only lays out."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.evaluation import wording
from recsys.evaluation.plots import Estimate, forest_plot, line_chart, title_card
from recsys.evaluation.report import Curve, ListedItem, Report, Section, best_of
from recsys.evaluation.svg import check_picture, check_svg, printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATE, KEY_FACTS = "report.html.jinja", 4
COSTS = ("fit_s", "cpu_s", "n_parameters", "valid", "settings")


@dataclass(frozen=True)
class SegmentTable:
    """Means by segment: ``columns`` are (segment, users), ``rows`` are (label, one row of the frame a column)."""

    title: str
    metric: str
    columns: list[tuple[str, Any]]
    rows: list[tuple[str, list[Mapping[str, Any]]]]
    best: Mapping[str, float]


def render(report: Report) -> str:
    """Return the whole page.

    Raises:
        ArtifactError: a picture or a figure that would fetch or run something.
    """
    rows = report.ordered()
    catalogue = list(dict.fromkeys(name for row in rows for name in row.catalogue))
    tables = report.tables()
    view = {
        "report": report,
        "rows": rows,
        "tables": tables,
        "best": best_of([row.summary for row in rows], [name for _, names in tables for name in names]),
        "forest": _forest(report),
        "curves": list(_curves(report)),
        "segments": _segments(report),
        "segment_names": wording.SEGMENTS,
        "costs": any(getattr(row, name) not in (None, {}) for row in rows for name in COSTS),
        "catalogue": catalogue,
        "protocol": wording.protocol_rows(report.protocol),
        "key_facts": report.facts[:KEY_FACTS],
        "facts": report.facts[KEY_FACTS:],
    }
    return _environment().get_template(TEMPLATE).render(view)


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "base64": lambda data: b64encode(data).decode("ascii"),
        "number": wording.number,
        "fixed": wording.fixed,
        "short": wording.short,
        "duration": wording.duration,
        "p_value": wording.p_value,
        "picture": _picture,
        "figure": _figure,
    }
    return environment


def _markup(svg: str) -> Markup:
    """Let in SVG that was drawn or checked here; nothing else passes the escaping."""
    from markupsafe import Markup

    return Markup(svg)


def _picture(item: ListedItem) -> Markup:
    from markupsafe import Markup

    if item.image is None:
        return _markup(title_card(item.title or item.item_id))
    return Markup('<img class="tile" src="{}" alt="Picture of {}">').format(
        check_picture(item.image, item.title), printable(item.title or item.item_id)
    )


def _figure(section: Section) -> Markup:
    return _markup(check_svg(section.figure_svg or "", section.title))


def _forest(report: Report) -> Markup | None:
    """Draw the main metric of all rankers that have it; a ranker without interval gets a bare dot."""
    estimates, floor, metric = [], None, report.metric
    for row in report.ordered():
        value = row.summary.get(metric)
        if value is None or not math.isfinite(value):
            continue
        low, high = row.intervals.get(metric, (value, value))
        estimates.append(Estimate(row.label, value, low, high, row.chosen))
        floor = value if row.name == report.floor else floor
    if len(estimates) < 2:
        return None
    return _markup(forest_plot(estimates, title=f"{metric} of every ranker", key="forest", floor=floor))


def _curves(report: Report) -> Iterator[tuple[Curve, str, Markup]]:
    """Draw a chart a curve, those of one metric on one scale, with a line of text for each."""
    for number, curve in enumerate(report.curves):
        values = [y for other in report.curves if other.metric == curve.metric for _, y in other.points]
        values = [value for value in values if math.isfinite(value)]
        label = report.label(curve.name)
        svg = line_chart(
            curve.points,
            title=f"{label}: {curve.metric} on validation by epoch",
            key=f"curve-{number}",
            best_x=curve.best_epoch,
            y_range=(min(values), max(values)) if values else None,
        )
        if svg:
            yield curve, _told(curve), _markup(svg)


def _told(curve: Curve) -> str:
    best = next((value for epoch, value in curve.points if epoch == curve.best_epoch), None)
    last = max(epoch for epoch, _ in curve.points)
    reached = f"{wording.fixed(best)} at epoch {curve.best_epoch:g}" if best is not None else "no best epoch marked"
    return f"{reached}, stopped after {last:g}"


def _segments(report: Report) -> list[SegmentTable]:
    """Turn the tidy rows into a table for each kind of segment and metric, rankers downwards, segments across."""
    kinds = dict.fromkeys((row["by"], row["metric"]) for row in report.segments)
    return [_segment_table(report, by, metric) for by, metric in kinds]


def _segment_table(report: Report, by: str, metric: str) -> SegmentTable:
    found = [row for row in report.segments if (row["by"], row["metric"]) == (by, metric)]
    columns = {row["segment"]: row["n_users"] for row in found}
    order = [row.name for row in report.ordered()]
    names = dict.fromkeys(row.get("name", "") for row in found)
    names = sorted(names, key=lambda name: order.index(name) if name in order else len(order))
    cells: dict[tuple[str, str], Mapping[str, Any]] = {(row.get("name", ""), row["segment"]): row for row in found}
    lines = [(name, [cells.get((name, segment), {}) for segment in columns]) for name in names]
    means: Sequence[Mapping[str, float]] = [{row["segment"]: row["mean"] for row in line if row} for _, line in lines]
    return SegmentTable(
        title=wording.SEGMENTS.get(by, by.replace("_", " ")),
        metric=metric,
        columns=list(columns.items()),
        rows=[(report.label(name) if name else "all", line) for name, line in lines],
        best=best_of(means, list(columns)),
    )
