"""Is an epoch by two processes faster than by one, and is the outcome the same? MovieLens 100K, one machine.

    RECSYS_DATA=<folder of movielens-100k> python experiments/training_processes/measure.py

Prints a table and writes results.json: seconds of an epoch (median over epochs and repetitions) with all cores as
threads of one process, and with as many processes of one thread; CPU seconds of an epoch, those of all processes; what
the other processes take to start; how far losses and embeddings are apart in the end.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

from recsys.core.artifact import commit, versions, write_json
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.rankers.store import make_ranker
from recsys.runconfig import read_config
from recsys.workflow import Workflow

HERE = Path(__file__).parent
CASES: dict[str, dict[str, Any]] = {
    "lightgcn, softmax": {"name": "lightgcn"},
    "lightgcn, pairs": {"name": "lightgcn", "loss": "bpr", "batch_size": 2048},
    "sasrec": {"name": "sasrec"},
}
FEW, MANY = 1, 5  # epochs


def interactions() -> Interactions:
    """Return the train part of the default split of MovieLens 100K."""
    raw = Path(os.environ["RECSYS_DATA"]) / "movielens-100k"
    with tempfile.TemporaryDirectory() as artifacts:
        return Workflow(read_config(None, (f"data.raw={raw}", f"run.artifacts={artifacts}"))).loaded_split.train


def fitted(config: dict[str, Any], devices: int, epochs: int, train: Interactions) -> tuple[Any, FitLog]:
    ranker = make_ranker({**config, "devices": devices, "epochs": epochs})
    return ranker, ranker.fit(train, ItemFeatures(), run=Run(seed=0, log=lambda message: None))


def once(config: dict[str, Any], devices: int, train: Interactions) -> tuple[dict[str, Any], Any, FitLog]:
    """Train briefly and longer: the difference is that of epochs alone."""
    _, short = fitted(config, devices, FEW, train)
    ranker, log = fitted(config, devices, MANY, train)
    walls = [row["wall_s"] for row in log.rows]
    epochs = [later - earlier for earlier, later in itertools.pairwise(walls)]
    times = {
        "epoch_wall_s": statistics.median(epochs),
        "epoch_cpu_s": (log.cpu_s - short.cpu_s) / (MANY - FEW),
        "start_s": walls[0] - statistics.median(epochs),
    }
    return times, ranker, log


def compared(config: dict[str, Any], counts: list[int], repetitions: int, train: Interactions) -> dict[str, Any]:
    """Measure one ranker with each number of processes, in turn."""
    taken: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    last: dict[int, tuple[Any, FitLog]] = {}
    for _ in range(repetitions):
        for count in counts:
            times, *last[count] = once(config, count, train)
            taken[count].append(times)
    (one, log), (several, other) = last[counts[0]], last[counts[-1]]
    apart = {
        "loss": max(abs(a["loss"] - b["loss"]) for a, b in zip(log.rows, other.rows, strict=True)),
        "embeddings": max(
            float(np.abs(array - several.embeddings()[name]).max()) for name, array in one.embeddings().items()
        ),
    }
    median = {
        count: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for count, rows in taken.items()
    }
    return {"median": median, "apart": apart, "repetitions": taken}


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
        found = compared(config, [1, options.devices], options.repetitions, train)
        result["cases"][name] = found
        for count, row in found["median"].items():
            print(name, count, {key: round(value, 3) for key, value in row.items()}, flush=True)
        print(name, "apart", found["apart"], flush=True)
        write_json(HERE / "results.json", result)


if __name__ == "__main__":
    main()
