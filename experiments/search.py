"""Run an experiment folder: every setting of search.toml, chosen on validation, the chosen ones measured on test.

    python experiments/search.py experiments/ml100k_peers_random

config.toml is a run (see the README); data.raw is relative to the folder named by RECSYS_DATA.
search.toml lists rankers: a list of values is a dimension of the grid, anything else is fixed; label is for the table.
Prints the table and writes table.md and results.json (date, commit, versions, all trials). Finished trials are reused.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.core.artifact import Artifact, commit, versions, write_json
from recsys.core.config import read_toml
from recsys.core.runtime import quiet_threads
from recsys.reporting import Comparison, write_comparison
from recsys.workflow import Workflow, read_config


def grid(ranker: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one configuration a point of the grid; a table of parameters (RecBole's) is a grid of its own."""
    ranker = {key: grid(value) if isinstance(value, dict) else value for key, value in ranker.items()}
    axes = {key: value for key, value in ranker.items() if isinstance(value, list)}
    fixed = {key: value for key, value in ranker.items() if key not in axes}
    return [{**fixed, **dict(zip(axes, point, strict=True))} for point in itertools.product(*axes.values())]


def choose(workflow: Workflow, ranker: dict[str, Any]) -> tuple[Artifact, list[dict[str, Any]]]:
    """Train every point and return the best on validation, and all trials."""
    metric, tried, trials = workflow.config.evaluation.metric, [], []
    for point in grid(ranker):
        made = workflow.train(point)
        results = made.manifest["results"]
        tried.append(made)
        trials.append({"settings": point, "valid": results["best"], "epoch": results["best_epoch"]})
        print(f"  {point} {metric} {results['best'][metric]:.4f}", file=sys.stderr, flush=True)
    return max(tried, key=lambda made: made.manifest["results"]["best"][metric]), trials


def row(artifact: Artifact, evaluation: Any, trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is kept of one ranker."""
    results = artifact.manifest["results"]
    kept = ("fit_wall_s", "fit_cpu_s", "best_epoch", "n_parameters")
    return {
        "ranker": evaluation.name,
        "settings": artifact.config["ranker"],
        "valid": results["best"],
        "test": evaluation.summary,
        "intervals": {name: list(ends) for name, ends in evaluation.intervals.items()},
        "catalogue": dict(evaluation.catalogue),
        **{name: results[name] for name in kept},
        "trained_at": {name: artifact.manifest[name] for name in ("created", "commit")},
        "trials": trials,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--artifacts", type=Path, default=Path("data/artifacts"))
    parser.add_argument("--reference", default="ease", help="ranker the others are compared with")
    parser.add_argument("--only", nargs="*", help="rankers of search.toml to run (results.json is not written)")
    options = parser.parse_args()
    quiet_threads()
    raw = read_toml(options.folder / "config.toml").get("data", {}).get("raw", "")
    shared = Path(os.environ.get("RECSYS_DATA", "data/raw")) / raw
    config = read_config(
        options.folder / "config.toml", (f"data.raw={str(shared)!r}", f"run.artifacts={str(options.artifacts)!r}")
    )
    workflow = Workflow(config, progress=sys.stderr.isatty())
    trained, trials, names = [], [], []
    for ranker in read_toml(options.folder / "search.toml")["rankers"]:
        if options.only and ranker["name"] not in options.only:
            continue
        label = ranker.pop("label", None)
        best, tried = choose(workflow, ranker)
        trained.append(best)
        trials.append(tried)
        names.append(label or best.manifest["name"])
    made = [workflow.evaluate(artifact) for artifact in trained]
    reference = options.reference if options.reference in names else names[0]
    comparison = Comparison.from_artifacts(workflow, trained, made, "test", reference, names)
    print(comparison.to_text())
    if options.only:
        return
    write_json(
        options.folder / "results.json",
        {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "versions": versions(),
            "config": config.model_dump(mode="json", exclude={"run": {"artifacts"}, "data": {"raw"}}),
            "protocol": dict(comparison.evaluations[0].protocol),
            "rankers": [row(*entry) for entry in zip(trained, comparison.evaluations, trials, strict=True)],
            "differences": comparison.differences(),
        },
    )
    print(options.folder / "results.json")
    print(write_comparison(comparison, options.folder / "table.md"))


if __name__ == "__main__":
    main()
