"""A library's process: started with its own Python for the first fit, asked again for the next ones.

Loading a library takes longer than many a fit. The process ends with the one that started it, whatever ends that.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

from recsys.core.errors import RankerError, RecsysError
from recsys.rankers.peers import work

PLACE = "RECSYS_PEERS"  # the folder of the environments, where it is not data/peers below where you are
SET_UP = "Make it, in a clone of the project: make peers"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "LK_NUM_THREADS")
_running: dict[Path, subprocess.Popen[str]] = {}  # by Python


class PeerError(RecsysError):
    """An environment of another library that is missing or not as pinned: no fault of any setting."""


def python_of(library: str) -> Path:
    """Return the Python of a library's environment.

    Raises:
        PeerError: it is not there.
    """
    found = Path(os.environ.get(PLACE) or "data/peers").absolute() / library / "bin" / "python"
    if not found.is_file():
        raise PeerError(f"environment of {library}", f"there is no {found}", f"{SET_UP} (or set {PLACE} to its folder)")
    return found


def train_in(library: str, worker: ModuleType, folder: Path) -> dict[str, float]:
    """Let a library do the job in a folder, and return the seconds of its fit.

    Raises:
        PeerError: its environment is missing or not as pinned.
        RankerError: the model failed, or its process died.
    """
    process = _process(library, worker)
    try:
        answer = _asked(process, folder)
    except BaseException:  # an interrupt, too: what it answers later would be taken for an answer to the next
        _end(process)
        raise
    if answer is None:
        _end(process)
        raise RankerError(f"{library}", f"its process ended with status {process.returncode}", "Try other params.")
    if answer["state"] == "environment":
        _end(process)
        raise PeerError(f"environment of {library}", answer["cause"], SET_UP)
    if answer["state"] == "failed":
        raise RankerError(f"{library}", answer["cause"], "Try other ranker.params.")
    return {name: answer[name] for name in ("wall_s", "cpu_s")}


def end_all() -> None:
    """End all libraries' processes that this one has started."""
    for process in list(_running.values()):
        _end(process)


def environment() -> dict[str, str]:
    """Return this process's environment for another Python: one thread, nothing of our own packages."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, **dict.fromkeys(THREADS, "1"), "OMP_WAIT_POLICY": "passive"}


def _process(library: str, worker: ModuleType) -> subprocess.Popen[str]:
    python = python_of(library)
    if python not in _running or _running[python].poll() is not None:
        place = Path(str(worker.__file__))
        command = [str(python), work.__file__, library, place.stem, str(place.parent)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        _running[python] = subprocess.Popen(command, text=True, env=environment(), **pipes)
    return _running[python]


def _asked(process: subprocess.Popen[str], folder: Path) -> dict[str, Any] | None:
    """Return the answer; ``None`` if the process ended instead."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{folder}\n")
        process.stdin.flush()
    except BrokenPipeError:  # it ended at once, and may have said why
        pass
    line = process.stdout.readline()
    return json.loads(line) if line else None


def _end(process: subprocess.Popen[str]) -> None:
    for python, one in list(_running.items()):
        if one is process:
            del _running[python]
    process.kill()
    with process:  # closes the pipes and waits
        pass
