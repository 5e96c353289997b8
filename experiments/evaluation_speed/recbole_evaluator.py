"""RecBole's own full-ranking evaluator and ours, on the same BPR model and the same test part, in turns."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
import torch

from recsys.core.runtime import Run
from recsys.core.values import Dataset, Histories, Interactions, ItemFeatures, Query, Split, Vocabulary
from recsys.data.splits import SplitSettings, make_split
from recsys.evaluation.evaluator import EvaluationSettings, evaluate
from recsys.rankers.recbole import RecBole
from recsys.rankers.recbole_compat import import_repaired, recbole_folder, recbole_session
from recsys.rankers.recbole_parts import make_config, make_dataset, make_model, make_trainer

KS = (10, 20)
METRICS = ("recall", "ndcg", "mrr", "hit", "precision")
DEFAULT_BATCH = 4096  # RecBole's eval_batch_size: scores, not users
QUIET = Run(log=lambda message: None)


class Embeddings:
    """The trained RecBole model's vectors, scored by our product: the same numbers, without RecBole's code."""

    def __init__(self, user: np.ndarray, item: np.ndarray) -> None:
        self.user, self.item = user, item

    def score(self, query: Query) -> np.ndarray:
        return self.user[query.user_idx] @ self.item.T  # [n, n_items]


def movielens() -> Split:
    """Return the random split 8:1:1 of the ml-100k that comes with RecBole."""
    file = recbole_folder() / "dataset_example" / "ml-100k" / "ml-100k.inter"
    table = pl.read_csv(file, separator="\t", infer_schema=False)
    vocabularies = [Vocabulary(table[name].unique(maintain_order=True)) for name in table.columns[:2]]
    rows = [
        vocabulary.index(table[name]).astype(np.int32)
        for vocabulary, name in zip(vocabularies, table.columns[:2], strict=True)
    ]
    interactions = Interactions(*rows, *map(len, vocabularies))
    return make_split(Dataset("ml-100k", *vocabularies, interactions, pl.DataFrame()), SplitSettings(), run=QUIET)


def trained(split: Split) -> tuple[RecBole, Embeddings]:
    """Return RecBole's BPR after one epoch, and its vectors without the padding rows."""
    ranker = RecBole(RecBole.Settings(model="BPR", epochs=1))
    ranker.fit(split.train, ItemFeatures(), valid=None, run=QUIET)
    state = ranker.state()
    user, item = (state[f"weights/{side}_embedding.weight"][1:] for side in ("user", "item"))
    return ranker, Embeddings(np.ascontiguousarray(user), np.ascontiguousarray(item))


def recbole_evaluations(split: Split, ranker: RecBole, batches: tuple[int, ...]) -> dict[int, Callable[[], Any]]:
    """Return RecBole's ``trainer.evaluate`` of the fitted model on the test part, one callable a batch size.

    The sampler of the phase test knows train, valid and test; RecBole's loader masks what it knows but the positives,
    so train and valid: the same items that our ``mask="auto"`` leaves out of the test lists.
    """
    made = {}
    for batch in batches:
        params = {"topk": list(KS), "metrics": [name.capitalize() for name in METRICS], "metric_decimal_place": 12}
        config = make_config("BPR", {**params, "eval_batch_size": batch}, 0, torch.device("cpu"))
        datasets = [make_dataset(config, pairs(part)) for part in (split.train, split.valid, split.test)]
        sampler = import_repaired("recbole.sampler").Sampler(["train", "valid", "test"], datasets).set_phase("test")
        loader = import_repaired("recbole.data.dataloader").FullSortEvalDataLoader(config, datasets[2], sampler)
        model = make_model(config, datasets[0])
        model.load_state_dict(ranker._fitted.model.state_dict())
        trainer = make_trainer(config, model, type("Plain", (), {}))
        made[batch] = lambda trainer=trainer, loader=loader: trainer.evaluate(loader, load_best_model=False)
    return made


def pairs(part: Interactions) -> Histories:
    """Return the items of each user, each pair once, as the adapter gives them to general models."""
    return Histories(part.matrix.indptr.astype(np.int64), part.matrix.indices.astype(np.int64), part.n_items)


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = action()
    return time.perf_counter() - start, value


def largest_difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    return max(abs(ours[name] - float(theirs[name])) for name in theirs)


def compare(name: str, split: Split, repeats: int, batches: tuple[int, ...]) -> dict[str, Any]:
    """Measure all contenders in turns; the faster of RecBole's batch sizes is chosen on a turn of its own."""
    ranker, embeddings = trained(split)
    same, default = EvaluationSettings(ks=KS, metrics=METRICS), EvaluationSettings()
    with recbole_session(0):
        build_s, theirs = seconds(lambda: recbole_evaluations(split, ranker, (DEFAULT_BATCH, *batches)))
        tried = {batch: seconds(action)[0] for batch, action in theirs.items()}
        fastest = min(tried, key=tried.__getitem__)
        contenders = {
            "recbole_default_batch": theirs[DEFAULT_BATCH],
            "recbole_fastest_batch": theirs[fastest],
            "ours_same_metrics": lambda: evaluate(embeddings, split, same, run=QUIET).summary,
            "ours_default_metrics": lambda: evaluate(embeddings, split, default, run=QUIET).summary,
            "ours_through_adapter": lambda: evaluate(ranker, split, same, run=QUIET).summary,
        }
        first_s, _ = seconds(contenders["ours_same_metrics"])  # also builds the matrices of the split
        turns = [{key: seconds(action) for key, action in contenders.items()} for _ in range(repeats)]
    values = {key: value for key, (_, value) in turns[-1].items()}
    times = {key: [turn[key][0] for turn in turns] for key in contenders}
    return {
        "data": name,
        "users": int(np.count_nonzero(split.test.user_counts)),
        "items": split.train.n_items,
        "interactions": len(split.dataset.interactions),
        "repeats": repeats,
        "load": [round(value, 2) for value in os.getloadavg()],
        "seconds": {key: statistics.median(row) for key, row in times.items()},
        "recbole_batches_tried": tried,
        "recbole_fastest_batch": fastest,
        "recbole_over_ours": {
            f"{theirs_key} / {ours_key}": statistics.median(
                a / b for a, b in zip(times[theirs_key], times[ours_key], strict=True)
            )
            for theirs_key in ("recbole_default_batch", "recbole_fastest_batch")
            for ours_key in ("ours_same_metrics", "ours_default_metrics", "ours_through_adapter")
        },
        "set_up_seconds": {"recbole_loader": build_s / len(theirs), "ours_first_call": first_s},
        "metrics": {"recbole": {key: float(value) for key, value in values["recbole_default_batch"].items()},
                    "ours": values["ours_same_metrics"]},
        "largest_difference": max(
            largest_difference(values[ours_key], values[theirs_key])
            for theirs_key in ("recbole_default_batch", "recbole_fastest_batch")
            for ours_key in ("ours_same_metrics", "ours_default_metrics", "ours_through_adapter")
        ),
    }  # fmt: skip
