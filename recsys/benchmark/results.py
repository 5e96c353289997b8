"""A benchmark as plain values: what results.json holds, a data set at a time, and what may be said of each."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.benchmark.running import Entry, Found
from recsys.benchmark.settings import Contest
from recsys.core.artifact import command_line, commit, versions, write_json
from recsys.core.errors import ArtifactError
from recsys.evaluation.significance import compare
from recsys.evaluation.wording import verdict
from recsys.rankers.peer import WORKERS

RESULTS = "results.json"
STANDING = {"better": "ahead", "worse": "behind", "no difference shown": "level"}


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the data sets of results.json in a folder; none where there is no such file.

    Raises:
        ArtifactError: it cannot be read, or is not a benchmark's.
    """
    path = folder / RESULTS
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"sets": []}
    except (OSError, ValueError) as error:
        cause = f"cannot be read ({type(error).__name__}: {error})"
        raise ArtifactError(f"results {path}", cause, "Give --out another folder; what was trained is kept.") from None
    sets = found.get("sets") if isinstance(found, dict) else None
    if not isinstance(sets, list) or not all(isinstance(one, dict) and {"name", "mark"} <= one.keys() for one in sets):
        raise ArtifactError(f"results {path}", "they are not those of a benchmark", "Give --out another folder.")
    return sets


def kept(contests: Sequence[Contest], sets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the outcomes that answer what the benchmark asks now (split, search, budget), in its order."""
    there = {one["name"]: one for one in sets}
    marks = {contest.name: contest.mark for contest in contests}
    return [there[name] for name, mark in marks.items() if name in there and there[name]["mark"] == mark]


def write_results(folder: Path, contests: Sequence[Contest], found: dict[str, Any]) -> list[dict[str, Any]]:
    """Put a data set into results.json, the latest of its name, and return all that are there then."""
    sets = kept(contests, [*read_results(folder), found])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULTS, {"sets": sets})
    return sets


def as_values(found: Found) -> dict[str, Any]:
    """Return a data set's outcome; only ``made`` and each ``cost`` differ when it is done again."""
    contest, data = found.contest, found.workflow.dataset
    ours, peer = found.best_of_ours(), found.best_peer()
    rows = _differences(found, peer)
    return {
        "name": contest.name, "title": contest.about.title, "mark": contest.mark, "made": _made(),
        "data": {"name": data.name, "users": len(data.users), "items": len(data.items),
                 "interactions": len(data.interactions), "split": dict(found.workflow.split().config)},
        "metric": contest.metric, "level": contest.config.evaluation.level, "shown": _shown(contest),
        "protocol": dict(next(iter(found.means.values())).protocol) if found.means else {},
        "budget": {"trials": contest.search.settings.trials, "seeds": list(contest.seeds)},
        "ours": ours.label if ours else None, "best_peer": peer.label if peer else None,
        "standing": next((row["standing"] for row in rows if ours and row["name"] == ours.label), None),
        "rankers": [_ranker(found, entry) for entry in found.entries],
        "differences": rows,
    }  # fmt: skip


def _made() -> dict[str, Any]:
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    libraries = {name: worker.VERSION for name, worker in WORKERS.items()}
    return {"date": date, "commit": commit(), "command": command_line(), "versions": versions() | libraries}


def _shown(contest: Contest) -> list[str]:
    """Return the metrics of tables, the one that settings are chosen by last."""
    settings, k = contest.config.evaluation, contest.metric.partition("@")[2]
    others = [f"{name}@{k}" for name in ("recall", "mrr") if name in settings.metrics]
    return [*(name for name in others if name != contest.metric), contest.metric]


def _ranker(found: Found, entry: Entry) -> dict[str, Any]:
    contest, best = found.contest, entry.best
    about = {
        "name": entry.label, "family": entry.family, "chosen": contest.chosen_how(entry.space),
        "trials": [{"settings": dict(trial.params), "state": trial.state, "valid": trial.value, "error": trial.error}
                   for trial in entry.trials],
    }  # fmt: skip
    if best is None:
        return about | {"failed": next((trial.error for trial in entry.trials if trial.error), "all were stopped")}
    mean = found.means[entry.label]
    seeds = [
        {"seed": seed, "valid": dict(trained.manifest["results"]["best"]), "test": dict(evaluation.summary)}
        for seed, trained, evaluation in zip(entry.seeds, entry.trained, entry.evaluations, strict=True)
    ]
    spread = [evaluation.summary[contest.metric] for evaluation in entry.evaluations]
    return about | {
        "settings": dict(best.settings), "valid": best.value, "test": dict(mean.summary),
        "intervals": {name: list(mean.intervals[name]) for name in _shown(contest)},
        "spread": statistics.stdev(spread) if len(spread) > 1 else None, "seeds": seeds,
        "by_popularity": int(mean.protocol.get("users_by_popularity", 0)),
        "cost": {name: entry.cost(found.workflow.store, name) for name in ("fit_cpu_s", "fit_wall_s")}
        | {"search_s": sum(trial.seconds for trial in entry.trials)},
    }  # fmt: skip


def _differences(found: Found, peer: Entry | None) -> list[dict[str, Any]]:
    """Return each ranker's paired difference to the best peer, with Holm's correction over all of them."""
    if peer is None or len(found.means) < 2:
        return []
    settings = found.contest.config.evaluation
    table = compare(
        list(found.means.values()), peer.label, found.contest.metric, settings.resamples, level=settings.level
    )
    rows = [row for row in table.to_dicts() if row["name"] != peer.label]
    alpha = 1 - settings.level
    return [row | {"standing": STANDING[verdict(row["difference"], row["p_holm"], alpha)]} for row in rows]
