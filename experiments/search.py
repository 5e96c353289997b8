"""Run an experiment folder: every setting of search.toml, chosen on validation, the chosen ones measured on test.

    python experiments/search.py experiments/ml100k_peers_random

config.toml is a run (see the README); data.raw is relative to the folder named by RECSYS_DATA.
search.toml lists rankers: a list of values is a dimension of the grid, anything else is fixed; label is for the table;
chosen_members names rankers above, whose chosen settings a fusion takes; seeds = 5 at the top trains what was chosen
with that many seeds (once, where the seed changes nothing).
Prints the table and writes table.md and results.json (date, commit, versions, all trials). Finished trials are reused.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.comparison import Comparison, best_on_validation
from recsys.core.artifact import Artifact, commit, versions, write_json
from recsys.core.config import read_toml
from recsys.core.errors import ConfigError, RankerError, RecsysError
from recsys.core.runtime import quiet_threads
from recsys.evaluation.wording import fixed
from recsys.reporting import write_comparison
from recsys.runconfig import read_config
from recsys.workflow import Workflow


def grid(ranker: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one configuration a point of the grid; a table of parameters (RecBole's) is a grid of its own."""
    ranker = {key: grid(value) if isinstance(value, dict) else value for key, value in ranker.items()}
    axes = {key: value for key, value in ranker.items() if isinstance(value, list)}
    fixed = {key: value for key, value in ranker.items() if key not in axes}
    return [{**fixed, **dict(zip(axes, point, strict=True))} for point in itertools.product(*axes.values())]


def choose(workflow: Workflow, ranker: dict[str, Any]) -> tuple[Artifact, list[dict[str, Any]]]:
    """Train every point and return the best on validation, and all trials.

    Raises:
        RankerError: no point has a validation figure.
    """
    metric, tried, trials = workflow.config.evaluation.metric, [], []
    for point in grid(ranker):
        made = workflow.train(point)
        results = made.manifest["results"]
        tried.append(made)
        trials.append({"settings": point, "valid": results["best"], "epoch": results["best_epoch"]})
        print(f"  {point} {metric} {fixed(results['best'].get(metric))}", file=sys.stderr, flush=True)
    best = best_on_validation(tried, metric)
    if best is None:
        raise RankerError(
            f"ranker {ranker['name']!r}", f"gives no {metric} on validation", "Call valid(self) in its fit."
        )
    return best, trials


def require_validation(workflow: Workflow) -> None:
    """Refuse a split that nothing could be chosen on; the split is made for that, nothing is trained.

    Raises:
        ConfigError: the validation part is empty.
    """
    if not workflow.split().manifest["results"]["valid"]:
        raise ConfigError(
            "setting split", "it has no validation part to choose settings on", "Such as split.ratios = [8, 1, 1]."
        )


def with_members(ranker: dict[str, Any], chosen: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return the ranker with ``chosen_members`` replaced by the settings that were chosen for those names.

    Raises:
        ConfigError: a name that is not above it in the file.
    """
    ranker = dict(ranker)
    names = ranker.pop("chosen_members", ())
    if missing := [name for name in names if name not in chosen]:
        raise ConfigError(f"chosen_members {missing[0]!r}", "is not above it", "One of: " + ", ".join(chosen))
    return {**ranker, "members": tuple(chosen[name].config["ranker"] for name in names)} if names else ranker


def over_seeds(workflow: Workflow, artifact: Artifact, seeds: int) -> list[dict[str, Any]]:
    """Return the test figures of what was chosen, trained with each seed; one row where the seed changes nothing."""
    rows = []
    for seed in range(seeds):
        other = workflow.with_settings(f"run.seed={seed}")
        made = other.train(artifact.config["ranker"])
        rows.append({"seed": seed, "valid": made.manifest["results"]["best"], "test": _summary(other, made)})
        if seed == 1 and rows[0]["valid"] == rows[1]["valid"]:
            return rows[:1]
    return rows


def _summary(workflow: Workflow, made: Artifact) -> dict[str, float]:
    return dict(workflow.evaluate(made).manifest["results"])


def told_seeds(names: Sequence[str], runs: Sequence[list[dict[str, Any]]], metrics: Sequence[str]) -> str:
    """Return mean and standard deviation over seeds as a Markdown table."""
    lines = ["| ranker | seeds | " + " | ".join(metrics) + " |", "| --- | ---: |" + " ---: |" * len(metrics)]
    for name, rows in zip(names, runs, strict=True):
        cells = []
        for metric in metrics:
            values = [one["test"][metric] for one in rows]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4f}{spread}")
        lines.append(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


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


def wanted(path: Path, only: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return the rankers of the file, or those of them that are named.

    Raises:
        ConfigError: there are none.
    """
    rankers = read_toml(path).get("rankers", [])
    chosen = [ranker for ranker in rankers if not only or ranker["name"] in only]
    if not chosen:
        known = ", ".join(ranker["name"] for ranker in rankers)
        remedy = f"One of: {known}." if known else "Add a [[rankers]] table with a name."
        raise ConfigError(f"search {path}", "it has no such ranker" if only else "it names no rankers", remedy)
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the folder and return the exit status: 0, or 2 after a mistake that the user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--artifacts", type=Path, default=Path("data/artifacts"))
    parser.add_argument("--reference", default="ease", help="ranker the others are compared with")
    parser.add_argument("--only", nargs="*", help="rankers of search.toml to run (results.json is not written)")
    options = parser.parse_args(arguments)
    quiet_threads()
    try:
        search(options)
    except RecsysError as error:
        print(f"error: {error.thing}: {error.cause}\n  try: {error.remedy}", file=sys.stderr)
        return 2
    return 0


def search(options: argparse.Namespace) -> None:
    """Train, choose, measure, write.

    Raises:
        RecsysError: a mistake in one of the two files, or data that cannot be used.
    """
    raw = read_toml(options.folder / "config.toml").get("data", {}).get("raw", "")
    shared = Path(os.environ.get("RECSYS_DATA", "data/raw")) / raw
    config = read_config(
        options.folder / "config.toml", (f"data.raw={str(shared)!r}", f"run.artifacts={str(options.artifacts)!r}")
    )
    workflow = Workflow(config, progress=sys.stderr.isatty())
    require_validation(workflow)
    trained, trials, names = [], [], []
    for ranker in wanted(options.folder / "search.toml", options.only):
        label = ranker.pop("label", None)
        best, tried = choose(workflow, with_members(ranker, dict(zip(names, trained, strict=True))))
        trained.append(best)
        trials.append(tried)
        names.append(label or best.manifest["name"])
    made = [workflow.evaluate(artifact) for artifact in trained]
    reference = options.reference if options.reference in names else names[0]
    comparison = Comparison.from_artifacts(workflow, trained, made, "test", reference, names)
    print(comparison.to_text())
    if options.only:
        return
    seeds = read_toml(options.folder / "search.toml").get("seeds", 1)
    runs = [over_seeds(workflow, artifact, seeds) for artifact in trained] if seeds > 1 else []
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
            "seeds": dict(zip(names, runs, strict=True)) if runs else {},
        },
    )
    print(options.folder / "results.json")
    table = write_comparison(comparison, options.folder / "table.md")
    if runs:
        told = told_seeds(
            names, runs, list(dict.fromkeys((f"recall@{comparison.metric.partition('@')[2]}", comparison.metric)))
        )
        table.write_text(f"{table.read_text()}\n## Test, mean and standard deviation over seeds\n\n{told}\n")
    print(table)


if __name__ == "__main__":
    sys.exit(main())
