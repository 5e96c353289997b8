"""Are profiles worth anything as one more view in a learned fusion?

    RECSYS_DATA=<folder of data sets> python experiments/profile_ranking/fuse.py latest-small leave_last

The fusion of EASE, RP3beta and LightGCN with and without the ranker of statements; weights are learned on validation.
Controls: each user's statements are another user's, or the items' titles, texts and attributes are shuffled (a profile
that says something else): what a profile brings must be gone with them. Paired bootstrap over the test users.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


from recsys.core.artifact import commit, versions, write_json
from recsys.core.values import ItemFeatures
from recsys.evaluation.evaluator import evaluate, make_validator
from recsys.evaluation.significance import compare
from recsys.profiles.preference import Another, strangers
from recsys.rankers.store import load_ranker, make_ranker
from recsys.runconfig import read_config
from recsys.workflow import Workflow

HERE = Path(__file__).parent
DATA = {
    "latest-small": ("latest_small_random", "movielens-latest-small"),
    "ml-100k": ("ml100k_peers_leave_last", "ml100k-peers"),
}
MEMBERS = ({"name": "ease"}, {"name": "rp3beta"}, {"name": "lightgcn"})
PROFILE = {"name": "profile"}
METRICS = ("recall@20", "ndcg@20")


class Fusing:
    """Fusions of a run's rankers with a profile or what stands for it."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow, self.split, self.run = workflow, workflow.loaded_split, workflow.run
        self.kept = {member["name"]: load_ranker(workflow.train(member).path) for member in (*MEMBERS, PROFILE)}

    def profile(self, whose: str) -> Any:
        """Return the ranker of statements: each user's own, another's, or of a shuffled item table."""
        own, train = self.kept["profile"], self.split.train
        if whose == "own":
            return own
        if whose == "another":
            return Another(own, self.split.train_valid.histories, strangers(train.n_users, self.run.rng("another")))
        table = self.split.dataset.item_table
        order = self.run.rng("shuffled").permutation(len(table))
        mixed = table[order].with_columns(table["item_id"])
        made = make_ranker({"name": "profile", "sources": ["attributes", "terms"]})
        made.fit(train, ItemFeatures(), valid=None, run=replace(self.run, items=mixed))
        return made

    def fused(self, profile: Any | None, name: str) -> tuple[Any, dict[str, Any]]:
        """Return the evaluation on test, and what was learned on validation."""
        members = [*MEMBERS, *([PROFILE] if profile is not None else [])]
        there = {**self.kept, "profile": profile}
        fusion = make_ranker({"name": "fusion", "members": members, "objective": "ndcg"})
        config = self.workflow.config.evaluation
        run = replace(self.run, fitted=lambda member: there[member["name"]])
        log = fusion.fit(self.split.train, ItemFeatures(), valid=make_validator(self.split, config), run=run)
        weights = [[name, round(weight, 3)] for name, weight in fusion.told_weights()]
        return evaluate(fusion, self.split, config, run=self.run, name=name), {"weights": weights, "valid": log.best}

    def measure(self) -> dict[str, Any]:
        """Return the figures on test and what own profiles have over each yardstick."""
        whose = {"without": None, "own": "own", "another": "another", "shuffled": "shuffled"}
        found = {name: self.fused(self.profile(one) if one else None, name) for name, one in whose.items()}
        config = self.workflow.config.evaluation
        alone = [evaluate(one, self.split, config, run=self.run, name=name) for name, one in self.kept.items()]
        evaluated = [one for one, _ in found.values()]
        summary = {one.name: {metric: one.summary[metric] for metric in METRICS} for one in [*alone, *evaluated]}
        return {
            "learned": {name: about for name, (_, about) in found.items()}, "summary": summary,
            "others_minus_own": {metric: compare(evaluated, "own", metric).to_dicts() for metric in METRICS},
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(DATA))
    parser.add_argument("split", choices=("leave_last", "global_time"))
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="As of recsys.")
    options = parser.parse_args()
    folder, raw = DATA[options.name]
    shared = Path(os.environ["RECSYS_DATA"]).resolve() / raw
    given = options.name == "ml-100k" and options.split == "leave_last"  # the fixed one of the peers
    kind = () if given else (f"split.kind='{options.split}'",)
    base = (f"data.raw={json.dumps(str(shared))}", *kind, *options.overrides)
    found = Fusing(Workflow(read_config(HERE.parent / folder / "config.toml", base))).measure()
    about = {"commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions()}
    write_json(HERE / f"fusion-{options.name}-{options.split}.json", {**about, "members": MEMBERS, **found})
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
