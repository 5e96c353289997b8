"""A report as a file: the HTML page, or its main table in Markdown."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from recsys.core.errors import ArtifactError
from recsys.evaluation.report import Difference, RankerRow, Report, best_of
from recsys.evaluation.svg import printable
from recsys.evaluation.wording import duration, fixed, p_value


def write_report(report: Report, path: Path) -> Path:
    """Write the page (the Markdown table where ``path`` ends in .md) at once or not at all, and return ``path``.

    Raises:
        ArtifactError: the file cannot be written, or a picture or figure in the report is not one to let in.
    """
    from recsys.evaluation.page import render

    path = Path(path)
    page = (report_markdown if path.suffix == ".md" else render)(report).encode("utf-8")
    draft = path.with_name(f".draft-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(page)
        os.replace(draft, path)
    except OSError as error:
        cause = error.strerror or str(error)
        raise ArtifactError(f"report {path}", cause, "Free some space or choose another place for it.") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return path


def report_markdown(report: Report) -> str:
    """Return the results of the main list length as a Markdown table, with date, commit and differences below."""
    rows, tables = report.ordered(), report.tables()
    if not rows or not tables:
        return ""
    metrics = tables[0][1]
    best = best_of([row.summary for row in rows], metrics)
    lines = [_line("ranker", *metrics, "fit", "CPU"), _line("---", *["---:"] * (len(metrics) + 2))]
    for row in rows:
        cells = [_cell(row, metric, best.get(metric)) for metric in metrics]
        name = _plain(row.label) + (" (chosen on validation)" if row.chosen else "")
        lines.append(_line(name, *cells, duration(row.fit_s), duration(row.cpu_s)))
    about = [f"{key} {_plain(value)}" for key, value in report.made.items()]
    lines += ["", "; ".join([f"{report.level:.0%} bootstrap intervals over users in brackets", *about]) + ".", ""]
    lines += [f"- {_sentence(report, difference)}" for difference in report.differences]
    return "\n".join(lines).rstrip() + "\n"


def _cell(row: RankerRow, metric: str, best: float | None) -> str:
    value = row.summary.get(metric)
    text = f"**{fixed(value)}**" if value is not None and value == best else fixed(value)
    ends = row.intervals.get(metric)
    return f"{text} [{fixed(ends[0])}, {fixed(ends[1])}]" if ends else text


def _sentence(report: Report, one: Difference) -> str:
    first, second = (_plain(report.label(name)) for name in (one.name, one.reference))
    gap = f"{fixed(one.difference, sign=True)} [{fixed(one.low)}, {fixed(one.high)}], Holm p {p_value(one.p_holm)}"
    return f"{first} against {second}, {one.metric}: {report.verdict(one)} ({gap})"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: object) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(printable(text).split()))
