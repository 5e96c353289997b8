"""Full-ranking evaluation: every item is scored for every user, nothing is sampled, no ranker grades itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from recsys.core.amounts import amount
from recsys.core.errors import RankerError
from recsys.core.protocols import ScoresSome
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import Interactions, Query, Split
from recsys.evaluation.metrics import METRICS, catalogue, parse_metric, per_user
from recsys.evaluation.result import Evaluation
from recsys.evaluation.segments import long_tail, tail_recall
from recsys.evaluation.task import EvaluationSettings, Part, Task, make_task, protocol_of
from recsys.evaluation.topk import top_k

if TYPE_CHECKING:
    from recsys.core.protocols import Scorer, Validator

__all__ = ["Evaluation", "EvaluationSettings", "evaluate", "known_to", "make_validator", "rank"]

SCORE_BYTES = 64 << 20  # of one batch of scores, unless a batch size is given
# BLAS multiplies a handful of rows by other kernels than many rows, and those round otherwise: smaller batches are
# filled up with repeated users, so that a score does not depend on how users are batched.
SMALLEST_BATCH = 8


def known_to(ranker: Scorer, query: Query) -> np.ndarray:
    """Return which queries the ranker can score, bool ``[n]``: all, unless it says otherwise."""
    return ranker.can_score(query) if isinstance(ranker, ScoresSome) else np.ones(len(query), dtype=bool)


def rank(
    ranker: Scorer, task: Task, k: int, *, batch_size: int | None, name: str, run: Run | None = None
) -> tuple[np.ndarray, dict[str, float], np.ndarray]:
    """Return the top ``k`` items of every user, int32 ``[n, k]``, the seconds it took, and who got popular items.

    Users whom a ranker cannot score (``ScoresSome``), and those without any history to whom it gives equal scores,
    get the train's most popular items, bool ``[n]``: somebody has to be shown something, dropping those users would
    flatter the ranker, and serving does so, too. Each user for himself, whatever the batch.

    Raises:
        RankerError: scores of a wrong shape, or not finite.
    """
    n_items = task.seen.shape[1]
    size = batch_size or max(1, SCORE_BYTES // (4 * n_items))
    top_items = np.empty((len(task.users), k), dtype=np.int32)
    seconds = {"score_s": 0.0, "rank_s": 0.0}
    known = known_to(ranker, task.query)
    popular = ~known
    if run is not None and not known.all():
        strangers = amount(np.count_nonzero(~known), "user")
        run.log(f"{name} cannot score {strangers}: what is most popular in train is shown instead")
    starts = range(0, len(task.users), size)
    for start in run.bar(starts, f"rank {name}") if run else starts:
        rows = slice(start, min(start + size, len(task.users)))
        with stopwatch() as scoring:
            scores, popular[rows] = _scores(ranker, task, rows, known[rows], name)
        with stopwatch() as ranking:
            top_items[rows] = top_k(scores, k, seen=task.seen[rows], name=name)[0]
        seconds["score_s"] += scoring["wall_s"]
        seconds["rank_s"] += ranking["wall_s"]
    return top_items, seconds, popular


def _scores(ranker: Scorer, task: Task, rows: slice, known: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return ``[b, n_items]``, the ranker's scores or popularity, and for whom it is popularity, bool ``[b]``."""
    everybody = np.arange(rows.start, rows.stop)
    asked = everybody[known]
    scores = _score(ranker, task.query, asked, len(task.popularity), name) if len(asked) else None
    popular = ~known
    if scores is not None:
        popular[known] = task.query.take(asked).undecided(scores)
        if not popular.any():
            return scores, popular
    filled = np.tile(task.popularity, (len(known), 1))
    if scores is not None:
        filled = filled.astype(scores.dtype, copy=False)  # float64 scores must not be rounded
        filled[~popular] = scores[~popular[known]]
    return filled, popular


def _score(ranker: Scorer, query: Query, asked: np.ndarray, n_items: int, name: str) -> np.ndarray:
    wanted = np.resize(asked, max(len(asked), SMALLEST_BATCH))
    scores = np.asarray(ranker.score(query.take(wanted)))  # [b, n_items]
    if scores.shape != (len(wanted), n_items) or scores.dtype.kind != "f":
        cause = f"{scores.dtype} {scores.shape} where float32 {(len(wanted), n_items)} is needed"
        raise RankerError(f"scores of {name}", cause, "Score all items of the vocabulary, one row a query.")
    return scores[: len(asked)]


def evaluate(
    ranker: Scorer,
    split: Split,
    settings: EvaluationSettings,
    *,
    part: Part = "test",
    run: Run,
    name: str | None = None,
) -> Evaluation:
    """Measure a fitted ranker on a part of a split, by full ranking.

    Evaluated are all users with at least one interaction in the part, cold ones included; those of whom the ranker
    can say nothing (``rank``) are shown popular items, and the protocol counts them (``users_by_popularity``). The
    result does not depend on ``batch_size`` as long as the ranker scores each query by itself.

    Raises:
        DataError: the part is empty.
        RankerError: scores of a wrong shape, or NaN or infinite.
    """
    name = name or type(ranker).__name__
    task = make_task(split, settings, part)
    top_items, seconds, popular = rank(
        ranker, task, max(settings.ks), batch_size=settings.batch_size, name=name, run=run
    )
    with stopwatch() as measuring:
        train = split.train
        table = per_user(top_items, task.truth, settings.ks, settings.metrics)
        tail = tail_recall(top_items, task.truth, long_tail(train.item_counts, settings.tail_share), settings.ks)
        table = table.insert_column(0, pl.Series("user_idx", task.users))
        table = table.insert_column(1, pl.Series("n_history", train.user_counts[task.users]))
        shown = catalogue(top_items, train.item_counts, np.count_nonzero(train.user_counts), settings.ks)
        by_popularity = int(popular.sum())
        told = {"users_by_popularity": by_popularity} if by_popularity else {}
        protocol = protocol_of(split, task, settings) | told
    return Evaluation(
        name=name,
        per_user=table.hstack(tail),
        top_items=top_items,
        catalogue=shown,
        protocol=protocol,
        seconds={**seconds, "metric_s": measuring["wall_s"]},
        metric=settings.metric,
        options={
            "n_resamples": settings.resamples,
            "level": settings.level,
            "seed": run.key("evaluation", "bootstrap"),
            "bounds": list(settings.history_bounds),
        },
    )


class _Validation:
    """A ``Validator``: the task is prepared once, a call only scores, ranks and measures."""

    def __init__(self, task: Task, settings: EvaluationSettings, held_out: Interactions) -> None:
        self.metric, self.task, self.batch_size = settings.metric, task, settings.batch_size
        self.held_out = held_out
        chosen, self.k = parse_metric(settings.metric)
        self.names = tuple(dict.fromkeys((chosen, *(name for name in ("recall", "ndcg") if name in settings.metrics))))

    def __call__(self, ranker: Scorer) -> Mapping[str, float]:
        name = type(ranker).__name__
        top_items, *_ = rank(ranker, self.task, self.k, batch_size=self.batch_size, name=name)
        hits = self.task.truth.hits(top_items)
        n_truth = self.task.truth.n_truth
        return {f"{name}@{self.k}": float(METRICS[name](hits, n_truth, self.k).mean()) for name in self.names}


def make_validator(split: Split, settings: EvaluationSettings, *, run: Run | None = None) -> Validator:
    """Return a callable for use in every epoch: ranker → ``settings.metric``, recall and ndcg at the same k.

    Histories and mask are train alone. A call costs a scoring, a top-k and nothing else worth measuring.

    Raises:
        DataError: the validation part is empty.
    """
    task = make_task(split, settings, "valid")
    if run is not None:
        run.log(f"validation: {amount(len(task.users), 'user')}, {settings.metric}, train items masked")
    return _Validation(task, settings, split.valid)
