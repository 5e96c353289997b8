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

KILLS = 20  # at most: the run may end before that many
ARGUMENTS = [
    "train", "--json", "-q", "--set", "ranker.name=lightgcn", "--set", "ranker.epochs=60",
    "--set", "ranker.patience=60", "--set", "ranker.embedding_dim=32", "--set", "ranker.batch_size=128",
]  # fmt: skip


def start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "recsys", *ARGUMENTS, "--artifacts", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def finish(folder: Path) -> dict:
    process = start(folder)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_the_same(tmp_path: Path) -> None:
    whole = finish(tmp_path / "whole")
    rng, killed = random.Random(0), 0
    for _ in range(KILLS):
        process = start(tmp_path / "broken")
        checkpoint = next(iter((tmp_path / "broken" / "ranker").glob(".draft-*/training/*.safetensors")), None)
        time.sleep(rng.uniform(3.0, 12.0) if checkpoint else rng.uniform(8.0, 14.0))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        if list((tmp_path / "broken" / "ranker").glob("[!.]*/manifest.json")):
            break
    again = finish(tmp_path / "broken")
    print(f"killed {killed} times")
    assert killed >= 3
    assert again["key"] == whole["key"]
    assert again["files"]["state.safetensors"] == whole["files"]["state.safetensors"]
    assert again["results"]["best"] == whole["results"]["best"]
    assert again["results"]["best_epoch"] == whole["results"]["best_epoch"]
