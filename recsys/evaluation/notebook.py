"""Our plots and tables in a notebook: objects that any notebook shows when they are the last line of a cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from recsys.evaluation.svg import check_svg, clean

NUMBER = ' class="number"'
# Light on any theme, with a ground of its own; nothing of it reaches the rest of the notebook.
LOOK = """
.recsys { --paper: #fcfbf8; --ink: #1c1e22; --quiet: #5b6069; --line: #dfdad0; --accent: #0b5c66;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
  background: var(--paper); color: var(--ink); font: .9rem/1.45 var(--sans); padding: 1rem 1.25rem; max-width: 860px;
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 1.25rem 2.5rem; }
.recsys figure { margin: 0; }
.recsys figcaption { color: var(--quiet); margin-bottom: .6rem; }
.recsys .plot .bar { fill: var(--accent); }
.recsys table.rows { border-collapse: collapse; table-layout: auto; width: 100%; margin: 0;
  font-variant-numeric: tabular-nums; }
.recsys table.rows tbody tr { background: none; }
.recsys table.rows th, .recsys table.rows td { text-align: left; vertical-align: top; white-space: normal; border: 0;
  max-width: none; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); font-size: .9rem; }
.recsys table.rows th { font-weight: 500; color: var(--quiet); vertical-align: bottom; }
.recsys table.rows .number { text-align: right; white-space: nowrap; }
"""


class Figures:
    """Plots beside each other, each below its caption.

    Args:
        plots: caption to ``<svg>``, such as ``line_chart`` gives.

    Raises:
        ArtifactError: a plot that would fetch or run something.
    """

    def __init__(self, plots: Mapping[str, str]) -> None:
        self.plots = {said: check_svg(svg, said) for said, svg in plots.items()}

    def _repr_html_(self) -> str:
        drawn = (f"<figure><figcaption>{clean(said)}</figcaption>{svg}</figure>" for said, svg in self.plots.items())
        return f'<style>{_style()}</style><div class="recsys">{"".join(drawn)}</div>'


class Table:
    """Rows as a table: whole texts, numbers to the right.

    Args:
        rows: one mapping a row, all with the same keys; ``None`` is left blank.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.rows = [dict(row) for row in rows]

    def _repr_html_(self) -> str:
        names = list(self.rows[0]) if self.rows else []
        head = "".join(_cell("th", name, self.rows[0][name]) for name in names)
        body = "".join(f"<tr>{''.join(_cell('td', row[name], row[name]) for name in names)}</tr>" for row in self.rows)
        return (
            f'<style>{_style()}</style><div class="recsys"><table class="rows"><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )


def _cell(tag: str, shown: Any, value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(shown, float):
        shown = f"{shown:.4g}"
    elif isinstance(shown, int) and number:
        shown = f"{shown:,}"
    return f"<{tag}{NUMBER * number}>{clean('' if shown is None else shown)}</{tag}>"


@cache
def _style() -> str:
    """Return the report's rules for plots, within ``.recsys`` alone."""
    css = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    return LOOK + "\n".join(_scoped(line) for line in css.splitlines() if line.startswith(".plot"))


def _scoped(rule: str) -> str:
    names, brace, rest = rule.partition("{")
    return ", ".join(f".recsys {name.strip()}" for name in names.split(",")) + f" {brace}{rest}"
