"""What processes cost, which there are, and when they have ended, as Linux tells it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def _stats() -> dict[int, list[str]]:
    """Return what follows the name in /proc/<process>/stat: state, parent, …"""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
    return found


def cpu_of(process: int) -> float:
    """Return CPU seconds of a process, of all below it, and of those below it that have ended."""
    stats = _stats()
    parents = {number: int(told[1]) for number, told in stats.items()}
    return sum(
        sum(map(int, told[11:15])) for number, told in stats.items() if _is_below(number, process, parents)
    ) / TICKS  # fmt: skip


def below(process: int) -> set[int]:
    """Return the processes below a process."""
    parents = {number: int(told[1]) for number, told in _stats().items()}
    return {number for number in parents if number != process and _is_below(number, process, parents)}


def _is_below(number: int, process: int, parents: dict[int, int]) -> bool:
    while number and number != process:
        number = parents.get(number, 0)
    return number == process


def title(process: int) -> str:
    """Return the command line of a process, empty if it has ended; Ray's workers write there what they do."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return ""


def seconds_until_gone(processes: Iterable[int], limit: float = 180) -> float | None:
    """Wait until all have ended (those that nobody has asked for yet, too); ``None``: they outlived the limit."""
    started, left = time.monotonic(), set(processes)
    while time.monotonic() - started < limit:
        stats = _stats()
        left = {number for number in left if number in stats and stats[number][0] not in "ZX"}
        if not left:
            return time.monotonic() - started
        time.sleep(0.1)
    return None
