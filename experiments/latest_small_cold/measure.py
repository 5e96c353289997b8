"""Cold start on MovieLens latest-small with posters and plots, and on TikTok's items that train does not have.

python experiments/latest_small_cold/measure.py      # writes results.json beside this file
RECSYS_DATA=<folder of data sets> …                  # holds movielens-latest-small, movielens-posters, tiktok-diffmm
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.coldstart import ColdStart, ranker_config
from recsys.coldtables import cold_text
from recsys.console import columns
from recsys.core.artifact import commit, write_json
from recsys.core.runtime import quiet_threads
from recsys.evaluation.cold import Among, evaluate_among, fixed_items, only_truth
from recsys.evaluation.evaluator import evaluate, make_validator
from recsys.evaluation.result import Evaluation
from recsys.evaluation.significance import compare
from recsys.rankers.store import load_ranker, make_ranker, uses_features
from recsys.reporting import write_cold
from recsys.runconfig import read_config
from recsys.workflow import Workflow

HERE = Path(__file__).parent
RAW = {"latest_small_cold": "movielens-latest-small", "tiktok": "tiktok-diffmm"}
RANKERS = (
    "popularity", "ease", "lightgcn", "content_knn", "content_ease", "freedom", "stair",
    "mmssl contrast=0 adversarial=0", "vbpr",
)  # fmt: skip
ON_TIKTOK = ("popularity", "ease", "rp3beta", *RANKERS[2:])
TRIALS = {  # of latest-small, on its cold validation items
    "content_knn": [f"k={k} weights.image={w}" for k in (5, 10, 20, 100, 1000) for w in (0.0, 0.3, 1.0)],
    "content_ease": [
        "strength=50 weights.image=0.1",
        "strength=50 weights.image=0.5",
        "strength=300 weights.image=0.1",
    ],
}


def workflow(name: str, artifacts: Path) -> Workflow:
    """Return the workflow of an experiment's folder."""
    raw = Path(os.environ.get("RECSYS_DATA", "data/raw")) / RAW[name]
    overrides = (f"data.raw={str(raw)!r}", f"run.artifacts={str(artifacts)!r}")
    return Workflow(read_config(HERE.parent / name / "config.toml", overrides))


def trials(flow: Workflow, path: Path) -> list[dict[str, Any]]:
    """Return recall@20 and ndcg@20 of each setting on the validation's cold items: among all, and among them alone.

    What is in ``path`` already is not tried again: delete the file to try all.
    """
    split, features, validate = flow.loaded_split, flow.features(), make_validator(flow.loaded_split, _settings(flow))
    alone = fixed_items(split.valid.item_counts > 0)
    rows = json.loads(path.read_text()) if path.is_file() else []
    for name, text in ((name, text) for name, tried in TRIALS.items() for text in tried):
        if any((row["ranker"], row["settings"]) == (name, text) for row in rows):
            continue
        ranker = make_ranker(ranker_config(f"{name} {text}"))
        ranker.fit(split.train, features, run=flow.run)
        found = {"all": validate(ranker), "alone": validate(Among(ranker, alone, split.train.item_counts))}
        rows.append({"ranker": name, "settings": text, **{key: dict(value) for key, value in found.items()}})
        write_json(path, rows)
    return rows


def _settings(flow: Workflow) -> Any:
    return flow.config.evaluation


def chosen(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return content_knn with the best recall@20 among all unseen items on validation.

    (No setting of content_ease finds any there: cold items are below all others in its lists.)
    """
    best = max((row for row in rows if row["ranker"] == "content_knn"), key=lambda row: row["all"]["recall@20"])
    return f"content_knn {best['settings']}"


def unseen_items(flow: Workflow, names: Sequence[str]) -> dict[str, Any]:
    """Return what each ranker finds of the test's items that train does not have, among all and among them alone."""
    split, run = flow.loaded_split, flow.run
    unseen = (split.train.item_counts == 0) & (split.test.item_counts > 0)
    truth = only_truth(split, unseen)
    made = {name: flow.train(ranker_config(name)) for name in names}
    rankers = {name: load_ranker(one.path) for name, one in made.items()}
    told = f"the {int(unseen.sum())} items of the test that train does not have"
    among = {
        "all": [evaluate(one, truth, _settings(flow), run=run, name=name) for name, one in rankers.items()],
        "alone": [
            evaluate_among(one, truth, _settings(flow), fixed_items(unseen), told, run=run, name=name)
            for name, one in rankers.items()
        ],
    }
    whole = {name: Evaluation.load(flow.evaluate(one).path).summary for name, one in made.items()}
    return {
        "items": int(unseen.sum()), "truth": len(truth.test), "users": int((truth.test.user_counts > 0).sum()),
        "rankers": {
            name: {
                "content": uses_features(made[name].config["ranker"]), "whole_test": _short(whole[name]),
                **{key: _figures(found[place]) for key, found in among.items()},
            }
            for place, name in enumerate(names)
        },
        "against_best_id": {key: against_best_id(found, made) for key, found in among.items()},
    }  # fmt: skip


def against_best_id(found: Sequence[Evaluation], made: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the rankers that read content with the best of those that do not, by recall@20."""
    reads = {name: uses_features(one.config["ranker"]) for name, one in made.items()}
    best = max((one for one in found if not reads[one.name]), key=lambda one: one.summary["recall@20"])
    others = [one for one in found if reads[one.name]]
    rows = compare([best, *others], best.name, "recall@20").to_dicts()
    return {"reference": best.name, "differences": rows[1:]}


def _figures(found: Evaluation) -> dict[str, Any]:
    return _short(found.summary) | {"interval": list(found.intervals["recall@20"])}


def _short(summary: Mapping[str, float]) -> dict[str, float]:
    return {name: summary[name] for name in ("recall@20", "ndcg@20")}


def _left(names: Sequence[str], skipped: Sequence[str]) -> list[str]:
    return [name for name in names if name.split()[0] not in skipped]


def main() -> None:
    """Measure both and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=Path, default=Path("data/artifacts"))
    parser.add_argument("--report", type=Path, help="also write the report of latest-small there")
    parser.add_argument("--skip", nargs="*", default=[], help="rankers to leave out of latest-small")
    parser.add_argument("--skip-tiktok", nargs="*", default=[], help="rankers to leave out of TikTok")
    options = parser.parse_args()
    quiet_threads()
    flow = workflow("latest_small_cold", options.artifacts)
    tried = trials(flow, HERE / "trials.json")
    start = ColdStart.of(flow, [*_left(RANKERS, options.skip), chosen(tried)])
    print(cold_text(start))
    for path in (HERE / "table.md", *([options.report] if options.report else [])):
        print(write_cold(start, path))
    tiktok = unseen_items(workflow("tiktok", options.artifacts), _left(ON_TIKTOK, options.skip_tiktok))
    table = [{"ranker": name, "reads content": row["content"], "all": row["all"]["recall@20"],
              "alone": row["alone"]["recall@20"]} for name, row in tiktok["rankers"].items()]  # fmt: skip
    print(columns(table))
    write_json(
        HERE / "results.json",
        {
            "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(),
            "latest_small": {"trials": tried, "chosen": chosen(tried), **start.to_dict()}, "tiktok": tiktok,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
