"""What does an epoch of each learned ranker cost beside LightGCN, and how does MMSSL grow with the data?

    python experiments/multimodal_cost/measure.py              everything, about fifteen minutes on one core
    python experiments/multimodal_cost/measure.py --rounds 1 --parts softmax

Synthetic, seeded: as many users, items and interactions as TikTok has in the papers, two modalities of 128 numbers.
Every fit runs in a process of its own with one thread, the rankers in turn, the same loss and batch size for all.
Seconds are CPU seconds between the ends of epoch 1 and epoch 6 (MMSSL searches its graphs once in them); peak
memory is the largest resident size less what was resident before the fit. Growth (epoch 2): users, items,
interactions and pairs a step are multiplied together, so that an epoch always has 20 steps.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported; children inherit it
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from recsys.core.artifact import commit, versions, write_json
from recsys.core.runtime import Run, peak_memory_mb
from recsys.core.values import Interactions, ItemFeatures
from recsys.rankers import RANKERS
from recsys.rankers.store import make_ranker

TIKTOK = {"users": 9308, "items": 6710, "edges": 59_541}
LOSSES = {"softmax": {"loss": "softmax", "batch_size": 1024}, "bpr": {"loss": "bpr", "batch_size": 2048}}
RIVALS = {
    "lightgcn": {"name": "lightgcn"},
    "vbpr": {"name": "vbpr"},
    "freedom": {"name": "freedom"},
    "stair": {"name": "stair"},
    "mmssl": {"name": "mmssl"},
    "mmssl without critic and attention": {"name": "mmssl", "adversarial": 0, "attention": False},
}
UNIT = {"users": 2000, "items": 1000, "edges": 20_000}
FACTORS = (1, 4, 16)
EPOCHS = {"rivals": 6, "growth": 2}


def synthetic(users: int, items: int, edges: int, seed: int = 0) -> tuple[Interactions, ItemFeatures]:
    """Return users of like activity, items of power-law popularity, and two modalities of noise."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.arange(edges) % users).astype(np.int32)
    what = np.minimum(items * rng.random(edges) ** 2, items - 1).astype(np.int32)
    matrices = {name: rng.normal(size=(items, 128)).astype(np.float32) for name in ("audio", "image")}
    return Interactions(who, what, users, items), ItemFeatures(matrices)


class Clock:
    """A validator that notes the CPU seconds at the end of each epoch, and is always content."""

    metric = "epochs"

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.held_out = Interactions(np.zeros(0, np.int32), np.zeros(0, np.int32), 1, 1)

    def __call__(self, ranker: Any) -> Mapping[str, float]:
        self.seconds.append(time.process_time())
        return {self.metric: float(len(self.seconds))}


def resident_mb() -> float:
    """Return what is resident now, in MiB; the peak so far where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_memory_mb()
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(size: Mapping[str, int], ranker: Mapping[str, Any], epochs: int) -> dict[str, float]:
    """Fit once and return seconds an epoch and MiB."""
    train, features = synthetic(**size)
    fitted, clock = make_ranker({**ranker, "epochs": epochs, "eval_every": 1}), Clock()
    warm_up = synthetic(20, 20, 100)
    make_ranker({**ranker, "epochs": 1}).fit(*warm_up, valid=None, run=Run(log=lambda message: None))  # imports
    before = resident_mb()
    fitted.fit(train, features, valid=clock, run=Run(log=lambda message: None))
    seconds = (clock.seconds[-1] - clock.seconds[0]) / (len(clock.seconds) - 1)
    return {"epoch_cpu_s": round(seconds, 3), "peak_mb": round(peak_memory_mb() - before, 1)}


def in_a_process(size: Mapping[str, int], ranker: Mapping[str, Any], epochs: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--fit", json.dumps([size, ranker, epochs])]
    child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(child.stdout.splitlines()[-1])


def rivals(loss: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """Return each ranker's medians, and its cost in LightGCN's of the same round."""
    there = {title: config for title, config in RIVALS.items() if config["name"] in RANKERS}
    found: dict[str, list[dict[str, float]]] = {title: [] for title in there}
    for _ in range(rounds):
        for title, config in there.items():
            found[title].append(in_a_process(TIKTOK, {**config, **loss}, EPOCHS["rivals"]))
            print(f"{loss['loss']:8} {title:26} {found[title][-1]}", flush=True)
    base = found["lightgcn"]
    return {
        title: {
            "epoch_cpu_s": statistics.median(each["epoch_cpu_s"] for each in runs),
            "peak_mb": statistics.median(each["peak_mb"] for each in runs),
            "times_lightgcn": [
                round(ours["epoch_cpu_s"] / theirs["epoch_cpu_s"], 2) for ours, theirs in zip(runs, base, strict=True)
            ],
        }
        for title, runs in found.items()
    }


def growth(rounds: int) -> dict[str, Any]:
    """Return MMSSL's cost as everything grows; a search looks at 1,000 items whatever their number."""
    results: dict[str, Any] = {}
    for factor in FACTORS:
        size = {name: number * factor for name, number in UNIT.items()}
        ranker = {"name": "mmssl", "loss": "bpr", "batch_size": 1000 * factor, "candidates": 1000}
        runs = [in_a_process(size, ranker, EPOCHS["growth"]) for _ in range(rounds)]
        results[f"{factor}x"] = {
            **size,
            "epoch_cpu_s": statistics.median(each["epoch_cpu_s"] for each in runs),
            "peak_mb": statistics.median(each["peak_mb"] for each in runs),
            "a_dense_user_item_matrix_mb": round(size["users"] * size["items"] * 4 / 2**20, 1),
        }
        print(f"growth   {factor:>3}x {results[f'{factor}x']}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="*", choices=[*LOSSES, "growth"], default=[*LOSSES, "growth"])
    parser.add_argument("--fit", help=argparse.SUPPRESS)  # set for the processes that do the work
    options = parser.parse_args()
    if options.fit:
        print(json.dumps(measure(*json.loads(options.fit))))
        return
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(),
        "threads": {"OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"], "processors": os.cpu_count()},
        "load": round(os.getloadavg()[0], 2),
        "rounds": options.rounds,
        "sizes": {"rivals": TIKTOK, "growth_1x": UNIT},
    }
    path = Path(__file__).with_name("results.json")
    kept = json.loads(path.read_text()) if path.exists() else {}
    for part in options.parts:
        found = growth(options.rounds) if part == "growth" else rivals(LOSSES[part], options.rounds)
        kept[part] = {**report, "results": found}
        write_json(path, kept)


if __name__ == "__main__":
    main()
