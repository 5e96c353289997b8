"""The page of plots of a search: one file, no script, nothing fetched."""

from __future__ import annotations

import itertools
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

from recsys.evaluation.plots import line_chart
from recsys.evaluation.svg import clean
from recsys.evaluation.tuneplots import Path, Scale, importance_plot, parallel_plot
from recsys.tuning.space import Axis, Space, code

if TYPE_CHECKING:
    from recsys.tuning.outcome import Tuned


def page(tuned: Tuned) -> str:
    """Return the page: for each ranker all trials across its settings, what mattered, and how the best grew."""
    css = (File(__file__).parents[1] / "evaluation" / "report.css").read_text(encoding="utf-8")
    parts = "".join(_section(tuned, space, place) for place, space in enumerate(tuned.spaces))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Settings chosen on validation</title><style>{css}</style></head><body><main>"
        f'<h1>Settings chosen on validation</h1><p class="finding">{clean(tuned.verdict)}</p>{parts}'
        "</main></body></html>\n"
    )


def _section(tuned: Tuned, space: Space, place: int) -> str:
    trials, metric = tuned.trials[space.label], tuned.tuning.metric
    values = [trial.value for trial in trials if trial.value is not None]
    figures = []
    if space.axes and values:
        figures.append(
            (
                f"All trials, a line each: the best quarter in colour, stopped ones broken. {metric} is of validation.",
                trials_plot(tuned, space, place),
            )
        )
    if shares := tuned.importance.get(space.label):
        rests = tuned.rests_on(space.label)
        said = f"What decided whether a trial was among the best quarter (PED-ANOVA; shares of 1; {rests})."
        figures.append((said, importance_plot(shares, title=f"Importance, {space.label}", key=f"importance-{place}")))
    if len(values) > 1:
        points = [(float(n), best) for n, best in enumerate(itertools.accumulate(values, max), 1)]
        chart = line_chart(points, title=f"Best so far, {space.label}", key=f"best-{place}", x_name="trial")
        figures.append((f"The best {metric} so far, by trials that ended.", chart))
    drawn = "".join(f"<figure><figcaption>{clean(said)}</figcaption>{svg}</figure>" for said, svg in figures)
    return f"<h2>{clean(space.label)}</h2>{drawn or '<p>There was nothing to choose.</p>'}"


def trials_plot(tuned: Tuned, space: Space, place: int) -> str:
    """Return all trials of a ranker as lines across its settings; ``place`` tells plots of one page apart."""
    return parallel_plot(*_lines(tuned, space), title=f"Trials of {space.label}", key=f"parallel-{place}")


def _lines(tuned: Tuned, space: Space) -> tuple[list[Scale], list[Path]]:
    names = [axis.name for axis in space.axes]
    scales = [*map(_scale, space.axes), Scale(tuned.tuning.metric)]
    kept = [trial for trial in tuned.trials[space.label] if trial.state != "fail"]
    return scales, [Path((*(_shown(trial.params[name]) for name in names), trial.value)) for trial in kept]


def _scale(axis: Axis) -> Scale:
    if axis.range:
        return Scale(axis.name, log=axis.range.log)
    return Scale(axis.name, values=tuple(_shown(code(one)) for one in axis.choices))


def _shown(value: Any) -> Any:
    return str(value) if isinstance(value, bool) else value
