"""What an evaluation gives: a per-user table from which all figures follow, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.core.artifact import verified
from recsys.core.errors import ArtifactError
from recsys.evaluation.segments import SCHEMA, segment_table
from recsys.evaluation.significance import bootstrap_intervals

PER_USER, TOP_ITEMS, DOCUMENT = "per_user.parquet", "top_items.parquet", "evaluation.json"
KEPT = ("summary", "intervals", "segments")  # worked out once: saved, and kept by a copy under another name


@dataclass(frozen=True)
class Evaluation:
    """One ranker measured on one part of one split.

    Attributes:
        name: of the ranker.
        per_user: one row a user, ascending ``user_idx``; ``n_history`` (distinct train items), ``n_truth``,
            ``metric@k`` and ``recall_tail@k``, ``recall_head@k`` (null where the user has no such truth).
        top_items: int32 ``[n_users, k_max]``, rows as in ``per_user``, best first, -1 = none left.
        catalogue: ``coverage@k``, ``gini@k``, ``novelty@k``, ``popularity@k``.
        protocol: in plain words, what was ranked, masked, known and counted.
        seconds: wall time of ``score_s`` (the ranker), ``rank_s`` (mask and top-k) and ``metric_s``.
        metric: the metric that models are chosen by.
        options: of the intervals: ``n_resamples``, ``level``, ``seed``; and the ``bounds`` of history groups.
    """

    name: str
    per_user: pl.DataFrame
    top_items: np.ndarray
    catalogue: Mapping[str, float]
    protocol: Mapping[str, Any]
    seconds: Mapping[str, float]
    metric: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """The names ``metric@k`` that every user has a value of."""
        return [name for name in self.per_user.columns if "@" in name and not name.startswith("recall_")]

    @cached_property
    def summary(self) -> dict[str, float]:
        """Mean over users of each metric."""
        return {name: float(self.per_user[name].to_numpy().mean()) for name in self.metrics}

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Bootstrap interval of each mean; computed when first asked for, and saved."""
        options = {key: value for key, value in self.options.items() if key != "bounds"}
        lows, highs = bootstrap_intervals(self.per_user.select(self.metrics).to_numpy(), **options)
        return {name: (float(lows[i]), float(highs[i])) for i, name in enumerate(self.metrics)}

    @cached_property
    def segments(self) -> pl.DataFrame:
        """Means and intervals by history length and by tail or head; computed when first asked for, and saved."""
        k = self.metric.partition("@")[2]
        shown = list(dict.fromkeys(name for name in (self.metric, f"recall@{k}") if name in self.metrics))
        return segment_table(self.per_user, shown, **self.options)

    def renamed(self, name: str) -> Evaluation:
        """Return the same evaluation under another name; what was worked out already is kept."""
        other = replace(self, name=name)
        vars(other).update({key: vars(self)[key] for key in KEPT if key in vars(self)})
        return other

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the two tables, ready for JSON."""
        return {
            "name": self.name,
            "metric": self.metric,
            "summary": self.summary,
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "catalogue": dict(self.catalogue),
            "segments": self.segments.to_dicts(),
            "protocol": dict(self.protocol),
            "seconds": dict(self.seconds),
            "options": dict(self.options),
        }

    def save(self, folder: Path) -> None:
        """Write two parquet tables and a JSON document into ``folder``, which is made if need be.

        Raises:
            OSError: the disk is full or read-only.
        """
        folder.mkdir(parents=True, exist_ok=True)
        columns = {f"rank_{place + 1}": column for place, column in enumerate(self.top_items.T)}
        try:
            self.per_user.write_parquet(folder / PER_USER)
            pl.DataFrame(columns).write_parquet(folder / TOP_ITEMS)
        except pl.exceptions.ComputeError as error:  # polars' own error of a full disk
            raise OSError(str(error)) from error
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / DOCUMENT).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Read what ``save`` wrote, intervals and segments included: they are not worked out again.

        Raises:
            ArtifactError: a file is missing, changed or damaged.
        """
        folder = verified(folder)
        try:
            document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
            table = pl.read_parquet(folder / PER_USER)
            top_items = pl.read_parquet(folder / TOP_ITEMS).to_numpy()
            parts = {key: document[key] for key in ("name", "catalogue", "protocol", "seconds", "metric", "options")}
            intervals = {name: (float(low), float(high)) for name, (low, high) in document["intervals"].items()}
            segments = pl.DataFrame(document["segments"], schema=SCHEMA)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError) as error:
            cause = f"{type(error).__name__}: {error}"
            raise ArtifactError(f"evaluation {folder}", cause, "Run: recsys evaluate") from None
        found = cls(per_user=table, top_items=np.ascontiguousarray(top_items, dtype=np.int32), **parts)
        vars(found).update(intervals=intervals, segments=segments)  # where cached_property looks first
        return found
