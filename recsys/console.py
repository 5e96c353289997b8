"""Plain text for the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any


def columns(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return aligned columns; the last one is wrapped to the terminal's width."""
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(row[place]) for row in cells)) for place, name in enumerate(names)]
    indent = sum(widths[:-1]) + 2 * (len(names) - 1)
    width = max(shutil.get_terminal_size((100, 24)).columns - indent, 30)
    lines = [_line(names, widths, width, indent)]
    lines += [_line(row, widths, width, indent) for row in cells]
    return "\n".join(lines)


def counted(counts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each of ``what``, ``rows`` and, where there is one, ``example``."""
    shown = [(count["what"], count["rows"], count.get("example")) for count in counts]
    return [f"  {what}: {rows:,}" + (f" ({example})" if example else "") for what, rows, example in shown]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else str(value)


def _line(cells: Sequence[str], widths: Sequence[int], width: int, indent: int) -> str:
    head = "  ".join(cell.ljust(size) for cell, size in zip(cells[:-1], widths[:-1], strict=True))
    tail = textwrap.wrap(cells[-1], width, break_long_words=False, break_on_hyphens=False) or [""]
    return ("\n" + " " * indent).join([f"{head}  {tail[0]}" if len(cells) > 1 else tail[0], *tail[1:]]).rstrip()
