"""Does a search that is killed again and again end as one that was not?

    python experiments/tuning_resume/measure.py

Thirty trials of two rankers on two workers: once without disturbance, once in another folder, where the process that
leads is killed (kill -9, it alone: its workers have to find out by themselves) at random moments after it had made
progress, and started again. Compared are all trials, the best one's key and the hash of its weights. Writes
results.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from recsys.core.artifact import ArtifactStore, commit, versions, write_json

HERE = Path(__file__).resolve().parent
ORPHANS_S = 10.0  # that workers may live on without who started them


def start(folder: Path, workers: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "recsys", "tune", "-c", str(HERE / "config.toml"), "--search", str(HERE)]
    command += ["--workers", str(workers), "--out", str(folder / "out"), "--artifacts", str(folder / "artifacts")]
    with open(folder / "log.txt", "a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def kept(folder: Path) -> int:
    """Return how many trials are kept: a line each in the journal, after those that begin the studies."""
    journal = folder / "out" / "trials.journal"
    return journal.read_text().count('"op_code":4') if journal.is_file() else 0


def progress(folder: Path) -> tuple[int, float]:
    """Return something that changes with each trial that is kept and each checkpoint."""
    checkpoints = (folder / "artifacts" / "ranker").glob(".draft-*/training/*.safetensors")
    return kept(folder), max((path.stat().st_mtime for path in checkpoints if path.exists()), default=0.0)


def kill(folder: Path, workers: int, delay: float) -> dict[str, Any]:
    """Start, wait for progress and then ``delay`` seconds, kill, and see whether the workers end as well."""
    before, process = progress(folder), start(folder, workers)
    while progress(folder) == before:
        if process.poll() is not None:
            raise SystemExit(f"it ended before it could be killed: see {folder / 'log.txt'}")
        time.sleep(0.05)
    time.sleep(delay)
    process.kill()
    killed = process.wait() == -signal.SIGKILL
    return {
        "killed": killed,
        "trials_kept": kept(folder),
        "delay_s": round(delay, 2),
        "workers_gone_s": gone(process.pid),
    }


def gone(group: int) -> float | None:
    """Return the seconds until no process of the group is left; ``None``: they stayed."""
    began = time.monotonic()
    while time.monotonic() - began < ORPHANS_S:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return round(time.monotonic() - began, 2)
        time.sleep(0.05)
    return None


def finish(folder: Path, workers: int) -> dict[str, Any]:
    """Run to the end and return what the search wrote, and the hash of the best one's weights."""
    began = time.monotonic()
    if start(folder, workers).wait():
        raise SystemExit(f"it failed: see {folder / 'log.txt'}")
    found = json.loads((folder / "out" / "trials.json").read_text())
    best = ArtifactStore(folder / "artifacts").open(found["best"]["key"])
    return found | {
        "wall_s": round(time.monotonic() - began, 1),
        "weights": best.manifest["files"]["state.safetensors"],
    }


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def compared(whole: dict[str, Any], killed: dict[str, Any]) -> dict[str, Any]:
    pairs = list(zip(without_seconds(whole["trials"]), without_seconds(killed["trials"]), strict=True))
    return {
        "trials": len(pairs),
        "equal_trials": sum(one == other for one, other in pairs),
        "same_best": whole["best"]["key"] == killed["best"]["key"],
        "same_weights": whole["weights"] == killed["weights"],
    }


def told(found: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a search."""
    states = Counter((trial["ranker"], trial["state"]) for trial in found["trials"])
    return {
        "best": found["best"],
        "verdict": found["verdict"],
        "wall_s": found["wall_s"],
        "states": {f"{ranker} {state}": count for (ranker, state), count in sorted(states.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--longest", type=float, default=20.0, help="seconds after some progress, at most")
    options = parser.parse_args()
    rng, load = random.Random(), os.getloadavg()[0]  # the moments differ each time: what comes out must not
    with tempfile.TemporaryDirectory() as place:
        whole, broken = Path(place) / "whole", Path(place) / "killed"
        whole.mkdir()
        broken.mkdir()
        first = finish(whole, options.workers)
        print(first["verdict"], flush=True)
        kills = []
        for _ in range(options.kills):
            kills.append(kill(broken, options.workers, rng.uniform(0.0, options.longest)))
            print(kills[-1], flush=True)
        second = finish(broken, options.workers)
    outcome = compared(first, second)
    print(outcome)
    write_json(
        HERE / "results.json",
        {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "versions": versions(),
            "workers": options.workers,
            "load": round(load, 2),
            "kills": kills,
            "compared": outcome,
            "whole": told(first),
            "killed": told(second),
            "trials": first["trials"],
        },
    )


if __name__ == "__main__":
    main()
