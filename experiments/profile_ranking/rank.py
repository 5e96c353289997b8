"""Does a profile alone find the next item?

    RECSYS_DATA=<folder of data sets> python experiments/profile_ranking/rank.py latest-small leave_last

Profiles are built from train. They rank by their statements' concepts, by the texts of their interests, and by their
queries (BM25), each by itself; the yardsticks are popularity, the profile of another user drawn at random, and
shuffled profiles, whose statements, interests and queries each come from another user. Each way is also measured with
log popularity added. Paired bootstrap over the test users. Nothing is chosen on test.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from recsys.core.artifact import commit, versions, write_json
from recsys.core.protocols import Scorer
from recsys.evaluation.evaluator import evaluate
from recsys.evaluation.significance import compare
from recsys.profiles.preference import strangers
from recsys.profiles.queries import ItemSearch, QueryRanker, coverage, diversity, queries_of
from recsys.profiles.schema import UserProfile
from recsys.profiles.steering import ProfileMatch
from recsys.profiling import Profiling
from recsys.rankers.store import load_ranker
from recsys.runconfig import read_config
from recsys.workflow import Workflow

HERE = Path(__file__).parent
DATA = {
    "latest-small": ("latest_small_random", "movielens-latest-small"),
    "ml-100k": ("ml100k_peers_leave_last", "ml100k-peers"),
}
METRICS = ("recall@20", "ndcg@20")
Profiles = Mapping[int, UserProfile]


class Ranking:
    """Profiles of a run's test users, and what ranks by them."""

    def __init__(self, profiling: Profiling) -> None:
        self.profiling, self.workflow = profiling, profiling.workflow
        split = self.split = self.workflow.loaded_split
        users = np.flatnonzero((split.test.user_counts > 0) & (split.train.user_counts > 0))
        ids = profiling.dataset.users
        self.own = {int(user): profiling.built(ids[int(user)]) for user in users}
        self.search = ItemSearch(profiling.dataset.item_table)
        self.texts = self.workflow.features(("text",)) if self.workflow.config.items.text != "none" else None

    def ways(self, profiles: Profiles) -> dict[str, Scorer]:
        """Return what ranks by these profiles, by name."""
        found: dict[str, Scorer] = {}
        for name, prior in (("", None), (" + popularity", np.log(self.split.train.item_counts + 0.5))):
            prior = prior if prior is None else prior.astype(np.float32)
            found[f"concepts{name}"] = ProfileMatch(profiles, self.profiling.matcher, prior=prior)
            if self.texts is not None:
                found[f"embedding{name}"] = ProfileMatch(
                    profiles, self.profiling.matcher, "interests", prior=prior, items=self.profiling.dataset.items,
                    rows=self.texts.unit("text"),
                )  # fmt: skip
            found[f"queries{name}"] = QueryRanker(self.search, queries_of(profiles), prior)
        return found

    def swapped(self) -> Profiles:
        """Give every user another's profile."""
        return dict(zip(self.own, self._of_others("another"), strict=True))

    def shuffled(self) -> Profiles:
        """Give every user statements, interests and queries of three others."""
        parts = {name: self._of_others(name) for name in ("statements", "interests", "queries")}
        return {
            user: one.model_copy(update={name: getattr(other[place], name) for name, other in parts.items()})
            for place, (user, one) in enumerate(self.own.items())
        }

    def _of_others(self, what: str) -> list[UserProfile]:
        known = list(self.own.values())
        return [known[place] for place in strangers(len(known), self.workflow.run.rng("profile ranking", what))]

    def measure(self) -> dict[str, Any]:
        """Return the figures of each way, and what the own profiles have over the yardsticks."""
        popularity = load_ranker(self.workflow.train({"name": "popularity"}).path)
        evaluated = {"popularity": self._evaluate(popularity, "popularity")}
        for whose, profiles in (("own", self.own), ("another", self.swapped()), ("shuffled", self.shuffled())):
            for way, scorer in self.ways(profiles).items():
                evaluated[f"{way}, {whose}"] = self._evaluate(scorer, f"{way}, {whose}")
        own = [name for name in evaluated if name.endswith(", own")]
        gains = {
            name: {
                metric: compare([*others(evaluated, name)], name, metric).to_dicts() for metric in METRICS
            }
            for name in own
        }  # fmt: skip
        summary = {name: {metric: one.summary[metric] for metric in METRICS} for name, one in evaluated.items()}
        return {"profiles": len(self.own), "summary": summary, "others_minus_own": gains, "searches": self._searches()}

    def _evaluate(self, scorer: Scorer, name: str) -> Any:
        workflow = self.workflow
        return evaluate(scorer, self.split, workflow.config.evaluation, run=workflow.run, name=name)

    def _searches(self) -> dict[str, float]:
        results = [[self.search.found(one) for one in profile.queries] for profile in self.own.values()]
        merged = [np.unique(np.concatenate([items[:20] for items in one])) for one in results if one]
        return {
            "queries_a_profile": float(np.mean([len(one) for one in results])),
            "diversity@20": float(np.mean([diversity(one, 20) for one in results if len(one) > 1])),
            "coverage": coverage(merged, 10**6, self.search.n_items),
        }


def others(evaluated: Mapping[str, Any], own: str) -> list[Any]:
    """Return the evaluations that an own profile's is compared with, and itself."""
    way = own.partition(",")[0]
    return [one for name, one in evaluated.items() if name == "popularity" or name.startswith(f"{way},")]


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
    found = Ranking(Profiling(Workflow(read_config(HERE.parent / folder / "config.toml", base)))).measure()
    about = {"commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions()}
    write_json(HERE / f"ranking-{options.name}-{options.split}.json", {**about, **found})
    print(json.dumps(found["summary"], indent=1))


if __name__ == "__main__":
    main()
