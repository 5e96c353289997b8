"""Does a frozen language model prefer a user's next item when it reads the user as soft tokens, and does that rank?

    RECSYS_DATA=<folder of data sets> python experiments/soft_tokens/measure.py latest-small leave_last

SmolLM2-135M, frozen. Tokens are learned from train; start, scale, epoch and weights are chosen on validation.
Preference: 150 test users, drawn once; the next item is put against 20 others as popular that the user never took, with
the own tokens, those of another of these users, those of a shuffled history (each item drawn from another user's), and
none. Ranking: for 120 test users the model re-ranks the most popular items (the profile alone) and the list of a tuned
EASE. Intervals: percentile bootstrap over users, paired.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from recsys.core.artifact import commit, versions, write_json
from recsys.core.protocols import Scorer
from recsys.core.values import TEST, VALID, Histories, Query, Split
from recsys.evaluation.evaluator import evaluate, make_validator
from recsys.evaluation.significance import bootstrap_interval, compare
from recsys.preferring import Preferring
from recsys.profiles.preference import first_held_out, popularity_matched, shuffled, strangers, wins
from recsys.profiles.rerank import SoftReranker
from recsys.rankers.store import load_ranker
from recsys.runconfig import read_config
from recsys.workflow import Workflow

HERE = Path(__file__).parent
DATA = {
    "latest-small": ("latest_small_random", "movielens-latest-small"),
    "ml-100k": ("ml100k_peers_leave_last", "ml100k-peers"),
}
USERS, OTHERS = 150, 20
RANKED = {"valid": 80, "test": 120}
TOPS = {"popularity": 30, "ease": 20}  # items of a list that the model reads
LAMBDAS = (50.0, 100.0, 250.0, 500.0, 1000.0)
METRICS = ("recall@20", "ndcg@20")


@dataclass(frozen=True)
class Swapped(SoftReranker):
    """Re-ranks by the tokens of other histories, by user row number."""

    others: dict[int, np.ndarray] | None = None

    def _preferences(self, query: Query, items: np.ndarray) -> np.ndarray:
        lists = [self.others[int(user)] for user in query.user_idx]
        return super()._preferences(replace(query, histories=Histories.of(lists, query.histories.n_items)), items)


def told(values: np.ndarray) -> list[float]:
    """Return mean and the ends of its 95 % interval."""
    return [round(float(x), 4) for x in (values.mean(), *bootstrap_interval(values))]


class Measuring:
    """The tokens of a run, and what a model makes of them."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow, self.preferring = workflow, Preferring(workflow)
        self.fitted, self.split, self.run = self.preferring.fitted(), workflow.loaded_split, workflow.run

    def shuffled(self, users: np.ndarray, histories: Histories) -> Histories:
        return shuffled(self.split.train, users, histories, self.run.rng("soft tokens", "shuffled"))

    # -- preference --------------------------------------------------------------------------------------------

    def preference(self) -> dict[str, Any]:
        """Return the share of others beaten, how often all are, and what own tokens have over the rest, paired."""
        split, soft = self.split, self.preferring.soft
        examples = first_held_out(split.train_valid, split.test)
        examples = examples.take(np.sort(self.run.rng("test users").permutation(len(examples))[:USERS]))
        others = popularity_matched(
            split.train, examples, OTHERS, split.dataset.interactions, self.run.rng("others")
        )  # fmt: skip
        items, own = np.column_stack([examples.items, others]), examples.histories
        whose = {
            "own": own, "another": own.take(strangers(len(examples), self.run.rng("another"))),
            "shuffled": self.shuffled(examples.users, own),
        }  # fmt: skip
        began, read = time.process_time(), soft.titles.read
        scores = {name: soft.scores(histories, items) for name, histories in whose.items()}
        took, read = time.process_time() - began, soft.titles.read - read
        scores |= {"none": soft.titles.plain(items), "popularity": split.train.item_counts[items].astype(np.float64)}
        found: dict[str, Any] = {"users": len(examples), "cpu_s": round(took, 1), "tokens": read}
        for name, value in scores.items():
            first = (value[:, :1] > value[:, 1:]).all(axis=1).astype(float)
            found[name] = {"others_beaten": told(wins(value)), "first_of_21": told(first)}
        for name in set(scores) - {"own"}:
            found[f"own - {name}"] = {"others_beaten": told(wins(scores["own"]) - wins(scores[name]))}
        found["spread"] = float(scores["own"].std(axis=1).mean())  # log-likelihood a token, within a user's candidates
        return found

    # -- ranking -----------------------------------------------------------------------------------------------

    def drawn(self, part: str, label: int) -> Split:
        """Return the split with a part of some users only, drawn at random among those with a train history."""
        split, data = self.split, self.split.dataset
        users = np.flatnonzero((getattr(split, part).user_counts > 0) & (split.train.user_counts > 0))
        some = self.run.rng("soft tokens", part).permutation(users)[: RANKED[part]]
        kept = (split.part != label) | np.isin(data.interactions.user_idx, some)
        return replace(split, part=split.part[kept], dataset=replace(data, interactions=data.interactions.select(kept)))

    def ranking(self) -> dict[str, Any]:
        """Return what re-ranking does to the most popular items and to a tuned EASE, and what swaps do."""
        config, found = self.workflow.config.evaluation, {}
        valid, test = self.drawn("valid", VALID), self.drawn("test", TEST)
        users = np.flatnonzero(test.test.user_counts)
        own = self.split.train_valid.histories.take(users)
        swaps = {
            "another": own.take(strangers(len(users), self.run.rng("another"))), "shuffled": self.shuffled(users, own)
        }  # fmt: skip
        for name, top in TOPS.items():
            base, validator = self.base(name), make_validator(valid, config)
            chosen = self.preferring.reranker(base, top).chosen(validator)
            scorers: dict[str, Scorer] = {name: base, "own": chosen}
            weight = chosen.weight or 1.0  # not wanted on validation: shown with weight 1 all the same
            for whose, histories in swaps.items() if name == "popularity" else ():
                others = {int(user): histories[row] for row, user in enumerate(users)}
                scorers[whose] = Swapped(base, chosen.soft, top, weight, others=others)
            evaluated = [evaluate(one, test, config, run=self.run, name=label) for label, one in scorers.items()]
            found[name] = {
                "users": len(users), "top": top, "weight": chosen.weight,
                "valid": {metric: dict(validator(chosen))[metric] for metric in METRICS},
                "valid_base": {metric: dict(validator(base))[metric] for metric in METRICS},
                "summary": {one.name: {metric: one.summary[metric] for metric in METRICS} for one in evaluated},
                "others_minus_own": {metric: compare(evaluated, "own", metric).to_dicts() for metric in METRICS},
            }  # fmt: skip
            print(name, json.dumps(found[name], indent=1), flush=True)
        return found

    def base(self, name: str) -> Scorer:
        """Return a ranker; EASE with the best of five regularisations on validation."""
        if name != "ease":
            return load_ranker(self.workflow.train({"name": name}).path)
        tried = [
            self.workflow.train({"name": "ease", "regularisation": x}) for x in (50.0, 100.0, 250.0, 500.0, 1000.0)
        ]
        return load_ranker(max(tried, key=lambda one: one.manifest["results"]["best"]["ndcg@20"]).path)


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
    base = (f"data.raw={json.dumps(str(shared))}", "llm.model='smollm'", *kind, *options.overrides)
    measuring = Measuring(Workflow(read_config(HERE.parent / folder / "config.toml", base)))
    about = {"commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions()}
    about |= {"settings": measuring.preferring.settings.model_dump(mode="json"), "seed": measuring.run.seed}
    about |= {"training": measuring.fitted.manifest["results"]}
    print(json.dumps(about["training"], indent=1), flush=True)
    found = {"preference": measuring.preference()}
    print(json.dumps(found, indent=1), flush=True)
    found["ranking"] = measuring.ranking()
    write_json(HERE / f"results-{options.name}-{options.split}.json", {**about, **found})


if __name__ == "__main__":
    main()
