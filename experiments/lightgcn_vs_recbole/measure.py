"""How long does our LightGCN take to RecBole's best validation ndcg? Same split, same validator, one process.

    RECSYS_DATA=… python experiments/lightgcn_vs_recbole/measure.py ml100k baby

RecBole's LightGCN trains with its own defaults (its trainer, loader, model and sparse product, through our adapter)
until its early stopping; wall time counts from the start of the fit to the end of the best validation. Then ours
trains, and the time is taken at the first validation that is at least as good. Both validate with our evaluator,
which is faster than RecBole's and so flatters it. Prints JSON and keeps it in results.json.
"""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.core.runtime import quiet_threads

quiet_threads()

import torch  # noqa: E402

from recsys.core.artifact import commit, versions, write_json  # noqa: E402
from recsys.core.runtime import Run, to_stderr  # noqa: E402
from recsys.core.values import FitLog, ItemFeatures  # noqa: E402
from recsys.evaluation.evaluator import make_validator  # noqa: E402
from recsys.rankers.store import make_ranker  # noqa: E402
from recsys.runconfig import read_config  # noqa: E402
from recsys.workflow import Workflow  # noqa: E402

HERE = Path(__file__).resolve().parent
FOLDERS = {"ml100k": "ml100k_peers_random", "baby": "amazon_baby"}
RECBOLE = {
    "ml100k": {"name": "recbole", "model": "LightGCN", "params": {"n_layers": 2, "embedding_size": 64}},
    "baby": {"name": "recbole", "model": "LightGCN", "params": {"n_layers": 2, "embedding_size": 64}, "epochs": 120},
}
COSINE = {"name": "lightgcn", "num_layers": 2, "similarity": "cosine", "temperature": 0.2}
PAIRS = {
    "name": "lightgcn",
    "num_layers": 2,
    "loss": "bpr",
    "similarity": "dot",
    "temperature": 1.0,
    "batch_size": 8192,
}
OURS = {
    "ml100k": {
        "softmax": {**COSINE, "batch_size": 256, "learning_rate": 0.02},
        "bpr": {**PAIRS, "learning_rate": 0.01, "epochs": 100},
    },
    "baby": {
        "softmax": {**COSINE, "batch_size": 2048, "learning_rate": 0.01, "epochs": 30},
        "bpr": {**PAIRS, "learning_rate": 0.005, "init_std": 0.05, "regularisation": 0.01, "epochs": 80},
    },
}  # fmt: skip


def fit(config: dict[str, Any], workflow: Workflow) -> FitLog:
    """Train one ranker and return its log."""
    split = workflow.loaded_split
    valid = make_validator(split, workflow.config.evaluation)
    return make_ranker(config).fit(split.train, ItemFeatures(), valid=valid, run=Run(seed=1, progress=True))


def measure(name: str, artifacts: Path) -> dict[str, Any]:
    """Measure one data set."""
    folder = HERE.parent / FOLDERS[name] / "config.toml"
    raw = Path(os.environ["RECSYS_DATA"]) / ("ml100k-peers" if name == "ml100k" else "amazon-mmrec-splits")
    workflow = Workflow(read_config(folder, (f"data.raw={str(raw)!r}", f"run.artifacts={str(artifacts)!r}")))
    metric = workflow.config.evaluation.metric
    warm = {**RECBOLE[name], "epochs": 1}
    fit(warm, workflow)  # imports of both worlds are not part of either time
    theirs = fit(RECBOLE[name], workflow)
    best = max(theirs.rows, key=lambda row: row[metric])
    result = {
        "recbole": {
            "config": RECBOLE[name], "best": best[metric], "wall_s": best["wall_s"],
            "epochs": best["epoch"], "fit_wall_s": theirs.wall_s, "fit_cpu_s": theirs.cpu_s,
        },
        "load": os.getloadavg()[0],
    }  # fmt: skip
    for loss, config in OURS[name].items():
        log = fit(config, workflow)
        reached = next((row for row in log.rows if row[metric] >= best[metric]), None)
        result[f"ours_{loss}"] = {
            "config": config, "best": log.best[metric], "fit_wall_s": log.wall_s, "fit_cpu_s": log.cpu_s,
            "wall_s_to_recbole_best": reached["wall_s"] if reached else None,
            "epochs_to_recbole_best": reached["epoch"] if reached else None,
            "recbole_wall_over_ours": best["wall_s"] / reached["wall_s"] if reached else None,
        }  # fmt: skip
        to_stderr(json.dumps(result[f"ours_{loss}"]))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=list(FOLDERS))
    parser.add_argument("--artifacts", type=Path, default=Path("data/artifacts"))
    options = parser.parse_args()
    kept = HERE / "results.json"
    report = json.loads(kept.read_text()) if kept.is_file() else {}
    for name in options.sets:
        report[name] = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "versions": versions(),
            "threads": torch.get_num_threads(), **measure(name, options.artifacts),
        }  # fmt: skip
        write_json(kept, report)
    print(json.dumps({name: report[name] for name in options.sets}, indent=2))


if __name__ == "__main__":
    main()
