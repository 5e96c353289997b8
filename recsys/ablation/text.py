"""An ablation in its files, and as text: results.json, the page, Markdown, the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recsys.ablation.report import build_report, means_section
from recsys.ablation.results import as_results, verdicts
from recsys.ablation.running import Ablation
from recsys.ablation.settings import SECTION
from recsys.console import columns
from recsys.core.artifact import write_json
from recsys.core.errors import ConfigError
from recsys.core.runtime import make_writable
from recsys.evaluation.publish import write_report
from recsys.evaluation.report import Report
from recsys.evaluation.svg import printable

RESULTS, MARKDOWN, PAGE = "results.json", "report.md", "report.html"


def claim(folder: Path) -> Path:
    """Make the folder and return it, before anything is trained for it.

    Raises:
        ConfigError: its results.json is another's.
        OSError: it cannot be made or written.
    """
    kept = folder / RESULTS
    if kept.is_file():
        try:
            ours = SECTION in json.loads(kept.read_text(encoding="utf-8"))
        except (ValueError, TypeError):
            ours = False
        if not ours:
            raise ConfigError(
                f"file {kept}", "it is not an ablation's, and would be lost", "Give --out another folder."
            )
    return make_writable(folder)


def write_ablation(found: Ablation, folder: Path) -> list[Path]:
    """Write results.json, report.md and report.html into a folder (``claim``), and return their places."""
    report = build_report(found)
    page = write_report(report, folder / PAGE)
    write_json(folder / RESULTS, as_results(found))
    (folder / MARKDOWN).write_text(markdown(report), encoding="utf-8")
    return [folder / RESULTS, folder / MARKDOWN, page]


def to_text(found: Ablation) -> str:
    """Return tables and verdicts for a terminal."""
    lines = []
    for one in found.variants:
        section = means_section(found, one)
        head, table = section.table or ([], [])
        names = [f"{head[place - 1]} ±" if name == "± over seeds" else name for place, name in enumerate(head)]
        lines += [f"{one.name}:", columns([dict(zip(names, row, strict=True)) for row in table])]
        lines += verdicts(found, one)
    return "\n".join(lines)


def markdown(report: Report) -> str:
    """Return the report without its figures as Markdown."""
    lines = [f"# {_plain(report.title)}", "", *(f"{_plain(line)}\n" for line in report.summary)]
    for section in report.sections:
        lines += [f"## {_plain(section.title)}", ""]
        paragraphs = [part for part in section.text.split("\n\n") if part.strip()]
        lines += [f"{'- ' if len(paragraphs) > 2 else ''}{_plain(part)}" + "\n" for part in paragraphs]
        if section.table:
            head, rows = section.table
            lines += [_row(head), _row(["---"] * len(head)), *map(_row, rows), ""]
    return "\n".join([*lines, "; ".join(f"{key} {_plain(value)}" for key, value in report.made.items()) + "."]) + "\n"


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(cell if cell == "---" else _plain(cell) for cell in cells) + " |"


def _plain(text: object) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(printable(text).split()))
