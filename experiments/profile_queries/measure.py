"""Do searches that a fine-tuned language model writes find the next item?

    RECSYS_DATA=<folder of data sets> python experiments/profile_queries/measure.py latest-small leave_last

SmolLM2-135M learns with LoRA to go on from a train history's titles with the next one (GPT4Rec, Li et al. 2023); beam
search writes searches, BM25 finds items. Epoch, titles read, whether only titles may be written, number of searches,
weight of popularity and the rest are chosen on validation. Test users are drawn once. Yardsticks: popularity; the
searches written for another of the drawn users; searches written for a shuffled history, of which each item is drawn
from the history of another user.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from recsys.core.artifact import commit, versions, write_json
from recsys.core.values import TEST, VALID, Histories, Split
from recsys.evaluation.evaluator import evaluate
from recsys.evaluation.significance import compare
from recsys.evaluation.task import make_task
from recsys.profiles.preference import first_held_out, shuffled, strangers
from recsys.profiles.queries import ItemSearch, QueryRanker, SearchSettings, coverage, diversity
from recsys.querying import Querying
from recsys.rankers.store import load_ranker
from recsys.runconfig import read_config
from recsys.workflow import Workflow

HERE = Path(__file__).parent
DATA = {
    "latest-small": ("latest_small_random", "movielens-latest-small"),
    "ml-100k": ("ml100k_peers_leave_last", "ml100k-peers"),
}
METRICS = ("recall@20", "ndcg@20")
DRAWN = {"valid": 120, "test": 250}
READ = 48  # validation users by whose likelihood the number of titles is chosen
WRITER = {
    "noun": "films", "opening": "Previously, the user has watched these {noun}:",
    "closing": "Next, the user wants to watch:", "queries": 20,  # of which the first are taken: how many is chosen
}  # fmt: skip
TITLES, SEARCHES, RESULTS = (6, 12), (5, 10, 20), (20, 100)
WAYS = {  # of writing
    "free text": {"catalogue": False},
    **{f"titles, popularity {weight:g}": {"catalogue": True, "popularity": weight} for weight in (0.0, 1.0, 2.0)},
}  # fmt: skip
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)  # of log popularity, beside BM25
START = {"exact": True, "weight": 1.0, "searches": 20, "results": 20}
Searches = Sequence[Sequence[str]]


class Measuring:
    """A run's writer, and what its searches find."""

    def __init__(self, workflow: Workflow, writer: dict[str, Any], drawn: dict[str, int], ways: Sequence[str]) -> None:
        self.workflow, self.querying = workflow, Querying(workflow, writer)
        self.n_drawn, self.ways = drawn, {name: WAYS[name] for name in ways or WAYS}
        self.fitted, self.split = self.querying.fitted(), workflow.loaded_split
        self.writer, self.popularity = self.querying.writer, np.log(self.split.train.item_counts + 0.5)
        self.search = {
            (exact, results): self._search(exact, results) for exact in (False, True) for results in RESULTS
        }  # fmt: skip
        self.drawn = {part: self._drawn(part, label) for part, label in (("valid", VALID), ("test", TEST))}
        self.cost: dict[str, Any] = {}

    def _search(self, exact: bool, results: int) -> ItemSearch:
        found = ItemSearch(self.split.dataset.item_table, SearchSettings(exact=exact, results=results))
        found.scores = cache(found.scores)  # the same searches are tried with many settings
        return found

    def _drawn(self, part: str, label: int) -> Split:
        """Return the split with a part of some users only, drawn at random among those with a train history."""
        split, data = self.split, self.split.dataset
        users = np.flatnonzero((getattr(split, part).user_counts > 0) & (split.train.user_counts > 0))
        some = self.workflow.run.rng("profile queries", part).permutation(users)[: self.n_drawn[part]]
        kept = (split.part != label) | np.isin(data.interactions.user_idx, some)
        return replace(split, part=split.part[kept], dataset=replace(data, interactions=data.interactions.select(kept)))

    def histories(self, part: str) -> Histories:
        return make_task(self.drawn[part], self.workflow.config.evaluation, part).query.histories

    def written(self, name: str, histories: Histories) -> Searches:
        """Return searches for histories; kept beside the run's results, since writing takes minutes."""
        digest = hashlib.sha256(histories.items.tobytes() + histories.indptr.tobytes()).hexdigest()
        config = {"histories": digest, "settings": self.writer.settings.model_dump(mode="json")}

        def write(folder: Path) -> dict[str, Any]:
            before = self.writer.read, self.writer.wrote
            write_json(folder / "searches.json", self.writer.queries(histories))
            return {"read": self.writer.read - before[0], "wrote": self.writer.wrote - before[1]}

        made = self.workflow.store.build("searches", name, config=config, parents=[self.fitted], write=write)
        told, n = made.manifest, len(histories)
        self.cost[name] = {
            "users": n, "cpu_s_a_user": round(told["cpu_s"] / n, 3), "wall_s_a_user": round(told["wall_s"] / n, 3),
            "tokens_read_a_user": round(told["results"]["read"] / n, 1),
            "tokens_written_a_user": round(told["results"]["wrote"] / n, 1),
        }  # fmt: skip
        return json.loads((made.path / "searches.json").read_text(encoding="utf-8"))

    def ranked(self, part: str, searches: Searches, how: dict[str, Any], name: str) -> Any:
        """Return the evaluation of searches on a part."""
        split, chosen = self.drawn[part], self.workflow.config.evaluation
        users = make_task(split, chosen, part).users
        told = dict(zip(users.tolist(), searches, strict=True))
        prior = (how["weight"] * self.popularity).astype(np.float32)
        scorer = QueryRanker(
            self.search[how["exact"], how["results"]],
            lambda query: [told[int(user)][: how["searches"]] for user in query.user_idx], prior,
        )  # fmt: skip
        return evaluate(scorer, split, chosen, part=part, run=self.workflow.run, name=name)

    # -- chosen on validation ----------------------------------------------------------------------------------

    def choose(self) -> dict[str, Any]:
        """Choose titles read by likelihood; then free text or titles, and how to search, by ndcg@20."""
        split = self.drawn["valid"]
        examples, likelihood = first_held_out(split.train, split.valid), {}
        examples = examples.take(np.arange(min(READ, len(examples))))  # by user number: no order that matters
        for titles in TITLES:
            self.set(titles=titles)
            likelihood[titles] = self.writer.likelihood(examples)
        self.set(titles=max(likelihood, key=likelihood.get))
        found = {way: self._how_to_search(way) for way in self.ways}
        best = max(found, key=lambda way: found[way]["best"]["ndcg@20"])
        self.set(**self.ways[best])
        how = {name: found[best]["best"][name] for name in START}
        popularity = evaluate(
            self.popular, split, self.workflow.config.evaluation, part="valid", run=self.workflow.run, name="popularity"
        ).summary
        return {
            "titles": self.writer.settings.titles, "likelihood": likelihood, "way": best, "how": how, "valid": found,
            "valid_popularity": {metric: popularity[metric] for metric in METRICS},
        }  # fmt: skip

    def set(self, **changes: Any) -> None:
        self.writer.settings = self.writer.settings.model_copy(update=changes)

    @cached_property
    def popular(self) -> Any:
        return load_ranker(self.workflow.train({"name": "popularity"}).path)

    def _how_to_search(self, way: str) -> dict[str, Any]:
        """Return the best of all ways to search for what is written, and all; one group of settings after another."""
        self.set(**self.ways[way])
        searches = self.written(f"valid, {way}", self.histories("valid"))
        groups = (
            [{"exact": exact, "weight": weight} for exact in (True, False) for weight in WEIGHTS],
            [{"searches": m, "results": results} for m in SEARCHES for results in RESULTS],
        )  # fmt: skip
        how, tried = dict(START), []
        for group in groups:
            rows = []
            for step in group:
                found = self.ranked("valid", searches, how | step, "valid").summary
                rows.append(how | step | {metric: round(found[metric], 4) for metric in METRICS})
            best = max(rows, key=lambda row: row["ndcg@20"])
            how, tried = {name: best[name] for name in how}, tried + rows
        return {"best": best, "tried": tried}

    # -- measured on test --------------------------------------------------------------------------------------

    def shuffled(self, histories: Histories) -> Histories:
        users = make_task(self.drawn["test"], self.workflow.config.evaluation, "test").users
        return shuffled(self.split.train, users, histories, self.workflow.run.rng("profile queries", "shuffled"))

    def measure(self) -> dict[str, Any]:
        """Return what is chosen, the figures on test, and what searches are like."""
        chosen, histories = self.choose(), self.histories("test")
        print(
            json.dumps({name: chosen[name] for name in ("titles", "likelihood", "way", "how", "valid_popularity")}),
            flush=True,
        )
        own = self.written("test", histories)
        other = strangers(len(histories), self.workflow.run.rng("profile queries", "another"))
        whose = {
            "own": own, "another": [own[place] for place in other],
            "shuffled": self.written("shuffled", self.shuffled(histories)),
        }  # fmt: skip
        config, run = self.workflow.config.evaluation, self.workflow.run
        found = [evaluate(self.popular, self.drawn["test"], config, run=run, name="popularity")]
        found += [self.ranked("test", searches, chosen["how"], name) for name, searches in whose.items()]
        return {
            "chosen": chosen, "users": len(histories),
            "summary": {one.name: {metric: one.summary[metric] for metric in METRICS} for one in found},
            "others_minus_own": {metric: compare(found, "own", metric).to_dicts() for metric in METRICS},
            "searches": {name: self.about(searches, chosen["how"]) for name, searches in whose.items()},
            "cost": self.cost, "training": self.fitted.manifest["results"],
            "examples": [list(searches[:5]) for searches in own[:5]],
        }  # fmt: skip

    def about(self, searches: Searches, how: dict[str, Any]) -> dict[str, float]:
        """Return how many searches there are, how diverse, what they cover, and whose titles they are."""
        search = self.search[how["exact"], how["results"]]
        prior, counts = (how["weight"] * self.popularity).astype(np.float32), self.split.train.item_counts
        asked = [list(one[: how["searches"]]) for one in searches]
        results = [[search.found(query, prior)[:20] for query in one] for one in asked]
        called = [search.called(query) for one in asked for query in one]
        return {
            "searches_a_user": float(np.mean([len(one) for one in asked])),
            "different": len({query.casefold() for one in asked for query in one}) / max(len(called), 1),
            "diversity@20": float(np.mean([diversity(one, 20) for one in results if len(one) > 1])),
            "coverage@20": coverage([items for one in results for items in one], 20, search.n_items),
            "catalogue_titles": float(np.mean([bool(items) for items in called])),
            "train_titles": float(np.mean([any(counts[item] > 0 for item in items) for items in called])),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(DATA))
    parser.add_argument("split", choices=("leave_last", "global_time"))
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="As of recsys.")
    parser.add_argument("--writer", type=json.loads, default={}, help="Settings of the writer, as JSON.")
    parser.add_argument("--users", type=int, default=DRAWN["test"], help="Test users that are drawn.")
    parser.add_argument("--way", dest="ways", action="append", choices=sorted(WAYS), help="Of writing; by default all.")
    parser.add_argument("--label", default="", help="Of the file of results, for a second try.")
    options = parser.parse_args()
    folder, raw = DATA[options.name]
    shared = Path(os.environ["RECSYS_DATA"]).resolve() / raw
    given = options.name == "ml-100k" and options.split == "leave_last"  # the fixed one of the peers
    kind = () if given else (f"split.kind='{options.split}'",)
    base = (f"data.raw={json.dumps(str(shared))}", "llm.model='smollm'", *kind, *options.overrides)
    writer, drawn = {**WRITER, **options.writer}, {**DRAWN, "test": options.users}
    workflow = Workflow(read_config(HERE.parent / folder / "config.toml", base))
    measuring = Measuring(workflow, writer, drawn, options.ways or ())
    about = {"commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions()}
    settings = {
        "writer": measuring.querying.settings.model_dump(mode="json"),
        "drawn": drawn,
        "seed": workflow.run.seed,
    }
    found = measuring.measure()
    label = f"-{options.label}" if options.label else ""
    write_json(HERE / f"results-{options.name}-{options.split}{label}.json", {**about, **settings, **found})
    print(json.dumps({name: found[name] for name in ("summary", "others_minus_own", "searches", "cost")}, indent=1))


if __name__ == "__main__":
    main()
