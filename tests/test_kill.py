"""kill -9 at random moments of a training: nothing unreadable, and the end is that of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from waiting import LONG

KILLS = 20
ARGUMENTS = [
    "train", "--json", "-q", "--set", "ranker.name=lightgcn", "--set", "ranker.epochs=200",
    "--set", "ranker.patience=200", "--set", "ranker.embedding_dim=32", "--set", "ranker.batch_size=128",
]  # fmt: skip


def start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "recsys", *ARGUMENTS, "--artifacts", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def finish(folder: Path) -> dict:
    process = start(folder)
    out, err = process.communicate(timeout=2 * LONG)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def saved(folder: Path) -> float:
    """Return when the checkpoint was last replaced; 0 while there is none."""
    found = list((folder / "ranker").glob(".draft-*/training/*.safetensors"))
    return found[0].stat().st_mtime if found else 0.0


def kill_while_it_trains(folder: Path, delay: float) -> None:
    """Start a training and kill it ``delay`` seconds after it has gained an epoch: no clock decides how far it is."""
    before, process = saved(folder), start(folder)
    while saved(folder) == before:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_the_same(tmp_path: Path) -> None:
    whole = finish(tmp_path / "whole")
    rng = random.Random(0)
    for _ in range(KILLS):
        kill_while_it_trains(tmp_path / "broken", rng.uniform(0.0, 0.05))
    again = finish(tmp_path / "broken")
    assert again["key"] == whole["key"]
    assert again["files"]["state.safetensors"] == whole["files"]["state.safetensors"]
    assert again["results"]["best"] == whole["results"]["best"]
    assert again["results"]["best_epoch"] == whole["results"]["best_epoch"]
