"""Is the gain over EASE owed to the features? What the search chose, trained anew with features shuffled between items.

    RECSYS_DATA=… python experiments/search.py experiments/latest_small_random      first: it writes results.json
    RECSYS_DATA=… python experiments/latest_small_random/knockout.py

Writes knockout.json: ndcg@20 on test, intact and shuffled, against tuned EASE and against the fusion of rankers that
read no content, with paired 95 % intervals.
`recsys evaluate … --knockout` gives the whole table, for each modality and each way of knocking it out.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from recsys.core.artifact import commit, write_json
from recsys.core.runtime import quiet_threads
from recsys.evaluation.knockout import Knockout
from recsys.evaluation.result import Evaluation
from recsys.evaluation.significance import compare
from recsys.runconfig import read_config
from recsys.workflow import Workflow

HERE = Path(__file__).parent
SHUFFLED = Knockout("shuffle", ("attributes", "image", "text"))
WANTED = ("ease with text", "ease by sittings with text", "fusion of id rankers", "fusion")


def main() -> None:
    quiet_threads()
    chosen = {row["ranker"]: row["settings"] for row in json.loads((HERE / "results.json").read_text())["rankers"]}
    raw = Path(os.environ.get("RECSYS_DATA", "data/raw")) / "movielens-latest-small"
    workflow = Workflow(read_config(HERE / "config.toml", (f"data.raw={str(raw)!r}",)))
    settings = workflow.config.evaluation
    found = {"ease": workflow.evaluate(workflow.train(chosen["ease"]))}
    for name in WANTED:
        found[name] = workflow.evaluate(workflow.train(chosen[name]))
        if SHUFFLED.met(chosen[name]):
            found[f"{name}, shuffled"] = workflow.evaluate(workflow.train(chosen[name], knockout=SHUFFLED))
    evaluations = [Evaluation.load(made.path).renamed(name) for name, made in found.items()]
    against = {
        reference: compare(evaluations, reference, settings.metric, settings.resamples, level=settings.level).to_dicts()
        for reference in ("ease", "fusion of id rankers")
    }
    date = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(
        HERE / "knockout.json", {"date": date, "commit": commit(), "metric": settings.metric, "against": against}
    )
    for reference, rows in against.items():
        print(f"against {reference}", *rows, sep="\n  ")


if __name__ == "__main__":
    main()
