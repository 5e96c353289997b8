"""What is asked of a ranker, made once from a split: the users, what is known of them, the mask and the truth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from recsys.core.amounts import amount
from recsys.core.config import Settings
from recsys.core.errors import ConfigError, DataError, did_you_mean
from recsys.core.values import Interactions, Query, Split
from recsys.evaluation.metrics import METRICS, Truth, parse_metric
from recsys.evaluation.topk import TIE_RULE

if TYPE_CHECKING:
    import scipy.sparse as sp

Part = Literal["valid", "test"]
Known = Literal["auto", "train", "train+valid"]
KNOWN_AT_TEST = {"leave_last", "global_time"}  # splits in time: by the time of the test the valid part has happened


class EvaluationSettings(Settings):
    """How rankers are measured."""

    ks: tuple[int, ...] = Field((10, 20), description="list lengths")
    metrics: tuple[str, ...] = Field(tuple(METRICS), description="per-user metrics, each computed at every k")
    metric: str = Field("ndcg@20", description="the metric that epochs and settings are chosen by, on validation")
    mask: Known = Field("auto", description="items left out of a user's test list; auto: train+valid")
    history: Known = Field("auto", description="what is known of a user at test; auto: train+valid if split by time")
    batch_size: int | None = Field(None, ge=1, description="users scored at once; none: 64 MB of scores")
    resamples: int = Field(10_000, ge=100, description="bootstrap resamples of the users for intervals")
    level: float = Field(0.95, gt=0, lt=1, description="confidence level of the intervals")
    history_bounds: tuple[int, ...] = Field((5, 20), description="upper ends of the history-length segments")
    tail_share: float = Field(0.2, gt=0, lt=1, description="share of train interactions that the long tail holds")

    @field_validator("ks", "history_bounds")
    @classmethod
    def _ascending(cls, values: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if not values or min(values) < 1 or list(values) != sorted(set(values)):
            raise ConfigError(f"evaluation.{info.field_name} {values}", "not ascending, from 1 on", "Such as (5, 20).")
        return values

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ConfigError("evaluation.metrics ()", "names no metric", "Known: " + ", ".join(METRICS))
        for name in names:
            if name not in METRICS:
                raise ConfigError(f"evaluation.metrics {name!r}", "no such metric", did_you_mean(name, METRICS))
        return names

    @model_validator(mode="after")  # not of the field alone: its default may not fit the other fields
    def _computed(self) -> EvaluationSettings:
        name, k = parse_metric(self.metric)
        if name not in self.metrics or k not in self.ks:
            near = f"{name if name in self.metrics else self.metrics[0]}@{k if k in self.ks else self.ks[-1]}"
            cause = "it is not among those computed (metrics × ks)"
            remedy = f"Add {name!r} to metrics and {k} to ks, or set evaluation.metric to {near!r}."
            raise ConfigError(f"evaluation.metric {self.metric!r}", cause, remedy)
        return self

    def known(self, setting: Literal["mask", "history"], part: Part, kind: str) -> str:
        """Return ``"train"`` or ``"train+valid"``: what ``mask`` or ``history`` means for a part of a kind of split.

        On the validation part both are train, always: settings are for the test.
        """
        if part == "valid":
            return "train"
        chosen = getattr(self, setting)
        if chosen != "auto":
            return chosen
        return "train+valid" if setting == "mask" or kind in KNOWN_AT_TEST else "train"


@dataclass(frozen=True)
class Task:
    """Everything about a part that does not depend on the ranker, made once.

    Attributes:
        users: evaluated users, ascending, int64 ``[n]``: all with at least one interaction in the part.
        query: the same users as a ranker sees them; those without train interactions have ``user_idx`` -1.
        seen: binary ``[n, n_items]``, the items left out of each list.
        truth: their items in the part.
        popularity: train users of each item, float32 ``[n_items]``: the scores of whoever a ranker cannot score.
        part, mask, history: what was chosen.
    """

    users: np.ndarray
    query: Query
    seen: sp.csr_array
    truth: Truth
    popularity: np.ndarray
    part: Part
    mask: str
    history: str


def make_task(split: Split, settings: EvaluationSettings, part: Part) -> Task:
    """Prepare the users, queries, mask and truth of a part.

    Raises:
        ConfigError: no such part.
        DataError: the part is empty.
    """
    if part not in ("valid", "test"):
        raise ConfigError(f"part {part!r}", "no such part to evaluate", did_you_mean(part, ("valid", "test")))
    wanted = getattr(split, part)
    users = np.flatnonzero(wanted.user_counts)
    if not len(users):
        raise DataError(f"{part} part of the split", "it has no interactions", "Choose other split settings.")
    mask, history = (settings.known(setting, part, split.kind) for setting in ("mask", "history"))
    query = Query.of_users(_interactions(split, history), users)
    trained = np.where(split.train.user_counts[users] > 0, users, -1)
    return Task(
        users=users,
        query=Query(query.histories, trained),
        seen=_interactions(split, mask).matrix[users],
        truth=Truth.of(wanted.histories.take(users)),
        popularity=split.train.item_counts.astype(np.float32),
        part=part,
        mask=mask,
        history=history,
    )


def _interactions(split: Split, known: str) -> Interactions:
    return split.train_valid if known == "train+valid" else split.train


def protocol_of(split: Split, task: Task, settings: EvaluationSettings) -> dict[str, Any]:
    """Return what was ranked, masked, known and counted, in plain words."""
    items, n_items, users = task.truth.items, task.truth.n_items, amount(len(task.users), "user")
    return {
        "dataset": split.dataset.name,
        "split": split.kind,
        "part": task.part,
        "n_users": len(task.users),
        "n_items": n_items,
        "n_truth": len(items),
        "users": f"all {users} with at least one interaction in {task.part}, each weighing the same",
        "users_without_history": int((np.diff(task.query.histories.indptr) == 0).sum()),
        "truth_unseen_in_train": int((split.train.item_counts[items] == 0).sum()),
        "truth_masked": _masked_truth(task),
        "mask": task.mask,
        "history": task.history,
        "ranking": f"full: all {n_items:,} items but the user's own in {task.mask}; nothing is sampled",
        "ties": TIE_RULE,
        "ndcg": "binary gains, ideal from min(k, number of truth items)",
        "long_tail": f"least popular items that hold at most {settings.tail_share:.0%} of the train interactions",
        "fingerprint": _fingerprint(task),
    }


def _masked_truth(task: Task) -> int:
    """Count truth items that are masked too (taken again later): certain misses for every ranker."""
    rows = np.repeat(np.arange(len(task.users), dtype=np.int64), np.diff(task.seen.indptr))
    masked = Truth(rows * task.truth.n_items + task.seen.indices, np.diff(task.seen.indptr), task.truth.n_items)
    return int(masked.contain(task.truth.keys).sum())


def _fingerprint(task: Task) -> str:
    """Return a hash of users, truth and mask: equal if and only if two evaluations can be compared user by user."""
    digest = hashlib.blake2b(digest_size=8)
    for array in (task.users, task.truth.keys, task.seen.indptr, task.seen.indices):
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return digest.hexdigest()
