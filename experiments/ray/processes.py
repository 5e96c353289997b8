"""What processes cost: CPU seconds of one and of all that it started, as Linux tells them."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(process: int) -> float:
    """Return CPU seconds of a process, of all below it, and of those below it that have ended."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(path.parent.name)
        parents[number], ticks[number] = int(told[1]), sum(map(int, told[11:15]))
    return sum(cost for number, cost in ticks.items() if _is_below(number, process, parents)) / TICKS


def _is_below(number: int, process: int, parents: dict[int, int]) -> bool:
    while number and number != process:
        number = parents.get(number, 0)
    return number == process
