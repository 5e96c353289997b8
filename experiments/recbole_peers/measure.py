"""Measure RecBole's models through the adapter on the peers' fixed split of ml-100k, one JSON line each.

    RECSYS_DATA=… python experiments/recbole_peers/measure.py 'EASE={"reg_weight": 250}' ItemKNN BPR

A model may be followed by its parameters as a JSON object. The split is ``ml100k-peers/labels.csv``: one label
(0 train, 1 valid, 2 test) for each row of the ``ml-100k.inter`` that comes with RecBole. All ratings count as
positives; items of train and valid are left out of the test lists; the epoch is the one of the best ndcg@20 on
validation, by the same evaluator as every other ranker's. Reported are the test means, the cost of the fit
(validations included, the import of RecBole not), and the wall time from its start to the end of the best
validation. RecBole's own evaluator is slower than the one used here, so these times flatter it.

Peers' figures on random_811 (recall@20 / ndcg@20): EASE .3971 / .3441, ItemKNN .3425 / .2936, BPR .3672 / .3132,
LightGCN .3716 / .3191; on leave_last: SASRec .2025 / .0779.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

from recsys.core.runtime import quiet_threads

quiet_threads()

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from recsys.core.errors import ConfigError, DataError, RecsysError  # noqa: E402
from recsys.core.runtime import Run  # noqa: E402
from recsys.core.values import Dataset, Interactions, ItemFeatures, Split, Vocabulary  # noqa: E402
from recsys.evaluation.evaluator import EvaluationSettings, evaluate, make_validator  # noqa: E402
from recsys.rankers.recbole import RecBole  # noqa: E402
from recsys.rankers.recbole_compat import framework, recbole_folder  # noqa: E402

KINDS = {"random_811": "random", "leave_last": "leave_last"}
SHOWN = ("recall@20", "ndcg@20", "mrr@20", "hit@20")


def peers_split(folder: Path, name: str) -> Split:
    """Read RecBole's ml-100k and the peers' labels of its rows."""
    table = pl.read_csv(recbole_folder() / "dataset_example" / "ml-100k" / "ml-100k.inter", separator="\t")
    table = table.rename({column: column.partition(":")[0] for column in table.columns})
    labels = pl.read_csv(folder / "ml100k-peers" / "labels.csv")[name]
    if len(labels) != len(table):
        raise DataError("ml100k-peers/labels.csv", f"{len(labels)} labels for {len(table)} rows", "Use recbole 1.2.1.")
    users, items = (table[column].cast(pl.String) for column in ("user_id", "item_id"))
    vocabularies = [Vocabulary(ids.unique(maintain_order=True)) for ids in (users, items)]
    columns = [
        vocabulary.index(ids).astype(np.int32) for vocabulary, ids in zip(vocabularies, (users, items), strict=True)
    ]
    sizes = [len(vocabulary) for vocabulary in vocabularies]
    times = table["timestamp"].cast(pl.Int64).to_numpy()
    interactions = Interactions(*columns, *sizes, timestamp=times)
    return Split(
        Dataset("ml-100k", *vocabularies, interactions, pl.DataFrame()), labels.to_numpy().astype(np.uint8), KINDS[name]
    )


def measure(settings: RecBole.Settings, split: Split, run: Run) -> dict[str, Any]:
    """Fit, choose the epoch on validation, measure on test."""
    evaluation = EvaluationSettings()
    ranker = RecBole(settings)
    log = ranker.fit(split.train, ItemFeatures(), valid=make_validator(split, evaluation), run=run)
    tested = evaluate(ranker, split, evaluation, part="test", run=run)
    best = max(log.rows, key=lambda row: row[evaluation.metric])
    return {
        "model": settings.model,
        "params": settings.params,
        **{name: round(tested.summary[name], 4) for name in SHOWN},
        "valid_ndcg@20": round(log.best[evaluation.metric], 4),
        "epochs": log.rows[-1]["epoch"],
        "best_epoch": log.best_epoch,
        "fit_wall_s": round(log.wall_s, 2),
        "fit_cpu_s": round(log.cpu_s, 2),
        "wall_to_best_s": round(best["wall_s"], 2),
        "score_s": round(tested.seconds["score_s"], 3),
    }


def parse_model(text: str) -> tuple[str, dict[str, Any]]:
    """Read ``NAME`` or ``NAME={json}``."""
    name, _, values = text.partition("=")
    try:
        return name, json.loads(values or "{}")
    except json.JSONDecodeError as error:
        raise ConfigError(text, f"not JSON after '=': {error}", """For example: EASE='{"reg_weight": 250}'""") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", nargs="*", default=['EASE={"reg_weight": 250}', "ItemKNN"], help="NAME or NAME={json}"
    )
    parser.add_argument("--split", choices=KINDS, default="random_811")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--eval-every", type=int, default=1)
    parser.add_argument("--stopping-step", type=int, default=10)
    parser.add_argument("--train-batch-size", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of torch; the peers were measured with one")
    parser.add_argument("--progress", action="store_true")
    options = parser.parse_args()
    try:
        import torch

        torch.set_num_threads(options.threads)
        framework()  # import it now, so that no fit pays for it
        split = peers_split(Path(os.environ.get("RECSYS_DATA", ".")), options.split)
        run = Run(seed=options.seed, progress=options.progress)
        shared = {key: getattr(options, key) for key in ("epochs", "eval_every", "stopping_step", "train_batch_size")}
        for name, params in map(parse_model, options.models):
            row = measure(RecBole.Settings(model=name, params=params, **shared), split, run)
            context = {"split": options.split, "seed": options.seed, "date": date.today().isoformat()}
            print(json.dumps({**row, **context, "threads": options.threads}), flush=True)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename}: no such file. Set RECSYS_DATA to the folder of real data sets.")
    except RecsysError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
