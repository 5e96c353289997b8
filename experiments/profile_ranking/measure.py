"""Does a frozen language model prefer a user's next item when it reads the user as soft tokens?

    RECSYS_DATA=<folder of data sets> python experiments/profile_ranking/measure.py latest-small

Leave-last-out. Learned from train's last items, the epoch chosen on validation; then 120 users of the test part are
drawn, and the next item is put against 20 others as popular that the user never took: with the own tokens, with those
of another user drawn at random, and with none. Intervals: percentile bootstrap over users. What to draw and to measure
was fixed before the first run.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from recsys.core.artifact import commit, versions, write_json
from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures
from recsys.evaluation.significance import bootstrap_interval
from recsys.profiles.llm import make_language_model
from recsys.profiles.preference import first_held_out, popularity_matched, strangers, wins
from recsys.profiles.soft_tokens import SoftTokens, SoftTokenSettings
from recsys.workflow import Workflow, read_config

HERE = Path(__file__).parent
DATA = {
    "latest-small": ("latest_small_random", "movielens-latest-small", ("split.kind='leave_last'",)),
    "ml-100k": ("ml100k_peers_leave_last", "ml100k-peers", ()),
}
USERS, OTHERS, SEED = 120, 20, 0
SETTINGS = SoftTokenSettings(epochs=3, epoch_tokens=8_000, examples=2, valid_users=64, learning_rate=1e-3)


def told(values: np.ndarray) -> list[float]:
    """Return mean and the ends of its 95 % interval."""
    return [round(float(x), 4) for x in (values.mean(), *bootstrap_interval(values))]


def figures(scores: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the share of others beaten, how often all are, and what own tokens have over the rest, paired."""
    found: dict[str, Any] = {}
    for name, value in scores.items():
        first = (value[:, :1] > value[:, 1:]).all(axis=1).astype(float)
        found[name] = {"others_beaten": told(wins(value)), "first_of_21": told(first)}
    for name in set(scores) - {"own"}:
        found[f"own - {name}"] = {"others_beaten": told(wins(scores["own"]) - wins(scores[name]))}
    return found


def measure(name: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    folder, raw, kind = DATA[name]
    shared = Path(os.environ["RECSYS_DATA"]).resolve() / raw
    config = read_config(
        HERE.parent / folder / "config.toml", (f"data.raw={json.dumps(str(shared))}", *kind, *overrides)
    )
    workflow = Workflow(config)
    split, run = workflow.loaded_split, Run(seed=SEED)
    features = workflow.features() if workflow.config.items.text != "none" else ItemFeatures()
    model, tokenizer = make_language_model("smollm", {"artifacts": str(config.run.artifacts)}).module()
    titles = SoftTokens.likelihood(model, tokenizer, split.dataset.titles(range(split.train.n_items)), SETTINGS)
    soft = SoftTokens(titles, SETTINGS)
    log = soft.fit(split.train, features, valid=split.valid, run=run)
    print(name, log.rows, flush=True)
    began, read = time.process_time(), titles.read
    examples = first_held_out(split.train_valid, split.test)
    drawn = np.sort(run.rng("test users").permutation(len(examples))[:USERS])
    examples = examples.take(drawn)
    everything = split.dataset.interactions
    others = popularity_matched(split.train, examples, OTHERS, everything, run.rng("others"))
    items = np.column_stack([examples.items, others])
    swapped = examples.histories.take(strangers(len(examples), run.rng("another")))
    scores = {
        "own": soft.scores(examples.histories, items), "another": soft.scores(swapped, items),
        "none": titles.plain(items),
    }  # fmt: skip
    popular = split.train.item_counts[items].astype(np.float64)
    return {
        "users": len(examples), "epochs": [dict(row) for row in log.rows], "best_epoch": log.best_epoch,
        "fit_cpu_s": round(log.cpu_s, 1), "tokens_read_in_training": read,
        "test_cpu_s": round(time.process_time() - began, 1),
        "preference": figures({**scores, "popularity": popular}),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(DATA))
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="As of recsys.")
    options = parser.parse_args()
    found = measure(options.name, tuple(options.overrides))
    about = {"commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d"), "versions": versions()}
    settings = {"soft_tokens": SETTINGS.model_dump(mode="json"), "seed": SEED, "others": OTHERS}
    write_json(HERE / f"results-{options.name}.json", {**about, **settings, **found})
    print(json.dumps(found["preference"], indent=1))


if __name__ == "__main__":
    main()
