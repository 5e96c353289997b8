"""How tests wait: for a fact, however long a busy machine takes; the limit ends what hangs, and measures nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

LONG = 300.0  # seconds; nothing that works takes so long anywhere


def wait_until(fact: Callable[[], object]) -> None:
    """Return when ``fact()`` is true; fail when it is not true after ``LONG`` seconds."""
    end = time.monotonic() + LONG
    while not fact():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def alive(process: int) -> bool:
    """Return whether a process of this machine runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
