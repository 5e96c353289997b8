"""Is an epoch by two processes faster than by one, and is the outcome the same? MovieLens 100K, one machine.

    RECSYS_DATA=<folder of movielens-100k> python experiments/training_processes/measure.py

Prints a table and writes results.json: seconds of an epoch (median over epochs and repetitions) with all cores as
threads of one process, with as many processes of one thread, and with as many workers of Ray Train (extra ray); CPU
seconds of an epoch, those of all processes; what the others take to start (of Ray, with the cluster itself and its
end); how far losses and embeddings are from those of one process in the end.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

from recsys.core.artifact import commit, versions, write_json
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.rankers.store import make_ranker, resolved
from recsys.runconfig import read_config
from recsys.training_ray import train_on_ray
from recsys.workflow import Workflow

HERE = Path(__file__).parent
CASES: dict[str, dict[str, Any]] = {
    "lightgcn, softmax": {"name": "lightgcn"},
    "lightgcn, pairs": {"name": "lightgcn", "loss": "bpr", "batch_size": 2048},
    "sasrec": {"name": "sasrec"},
}
FEW, MANY = 1, 5  # epochs
ONE, LOCAL, RAY = "one process", "processes", "Ray Train"


def interactions() -> Interactions:
    """Return the train part of the default split of MovieLens 100K."""
    raw = Path(os.environ["RECSYS_DATA"]) / "movielens-100k"
    with tempfile.TemporaryDirectory() as artifacts:
        return Workflow(read_config(None, (f"data.raw={raw}", f"run.artifacts={artifacts}"))).loaded_split.train


def fitted(config: dict[str, Any], by: str, devices: int, epochs: int, train: Interactions) -> tuple[Any, FitLog]:
    config = resolved({**config, "devices": devices if by != ONE else 1, "epochs": epochs})
    run = Run(seed=0, log=lambda message: None)
    if by == RAY:
        with tempfile.TemporaryDirectory() as folder:
            return train_on_ray(config, train, ItemFeatures(), valid=None, run=run.at(Path(folder)))
    ranker = make_ranker(config)
    return ranker, ranker.fit(train, ItemFeatures(), run=run)


def once(config: dict[str, Any], by: str, devices: int, train: Interactions) -> tuple[dict[str, Any], Any, FitLog]:
    """Train briefly and longer: the difference is that of epochs alone."""
    _, short = fitted(config, by, devices, FEW, train)
    began = time.perf_counter()
    ranker, log = fitted(config, by, devices, MANY, train)
    whole = time.perf_counter() - began
    walls = [row["wall_s"] for row in log.rows]
    epochs = [later - earlier for earlier, later in itertools.pairwise(walls)]
    times = {
        "epoch_wall_s": statistics.median(epochs),
        "epoch_cpu_s": (log.cpu_s - short.cpu_s) / (MANY - FEW),
        "start_s": whole - statistics.median(epochs) * MANY,
    }
    return times, ranker, log


def compared(config: dict[str, Any], devices: int, repetitions: int, train: Interactions) -> dict[str, Any]:
    """Measure one ranker with each kind of processes, in turn."""
    taken: dict[str, list[dict[str, float]]] = {by: [] for by in (ONE, LOCAL, RAY)}
    last: dict[str, tuple[Any, FitLog]] = {}
    for _ in range(repetitions):
        for by, rows in taken.items():
            times, *last[by] = once(config, by, devices, train)
            rows.append(times)
    median = {by: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for by, rows in taken.items()}
    apart = {by: apart_from(*last[ONE], *last[by]) for by in (LOCAL, RAY)}
    return {"median": median, "apart": apart, "repetitions": taken}


def apart_from(one: Any, log: FitLog, other: Any, other_log: FitLog) -> dict[str, float]:
    """Return the largest difference of two trainings' losses, and of their embeddings."""
    others = other.embeddings()
    return {
        "loss": max(abs(a["loss"] - b["loss"]) for a, b in zip(log.rows, other_log.rows, strict=True)),
        "embeddings": max(float(np.abs(array - others[name]).max()) for name, array in one.embeddings().items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    train = interactions()
    result = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit(), "versions": versions(),
        "threads": torch.get_num_threads(), "epochs": MANY, "interactions": len(train), "cases": {},
    }  # fmt: skip
    for name, config in CASES.items():
        found = compared(config, options.devices, options.repetitions, train)
        result["cases"][name] = found
        for by, row in found["median"].items():
            print(name, by, {key: round(value, 3) for key, value in row.items()}, flush=True)
        print(name, "apart", found["apart"], flush=True)
        write_json(HERE / "results.json", result)


if __name__ == "__main__":
    main()
