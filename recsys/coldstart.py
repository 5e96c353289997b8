"""Cold start of rankers: trained and measured on items, and on users, that train does not have."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recsys.core.artifact import Artifact
from recsys.core.config import apply_overrides
from recsys.core.errors import ConfigError
from recsys.core.protocols import Ranker
from recsys.data.splits import save_split
from recsys.evaluation.cold import (
    DrawnItems,
    drawn_users,
    evaluate_among,
    evaluate_newcomers,
    fixed_items,
    harmonic,
    only_truth,
    only_users,
    without_users,
)
from recsys.evaluation.evaluator import evaluate
from recsys.evaluation.metrics import parse_metric
from recsys.evaluation.result import Evaluation
from recsys.rankers.store import load_ranker, resolved
from recsys.workflow import Workflow

KNOWN = (1, 2, 3, 5)  # how many items are known of a cold user
USER_SHARE = 0.1  # of the users, taken out of train
ALL, ALONE = "all unseen items", "equally many items"


def ranker_config(text: str) -> dict[str, Any]:
    """Return a ranker's configuration from a name and settings: ``"content_ease strength=500"``.

    Raises:
        ConfigError: an unknown name or setting.
    """
    name, *values = text.split() or [""]
    if not name:
        raise ConfigError("a ranker to measure", "names no ranker", 'Such as: recsys cold "content_ease strength=500"')
    return resolved({"name": name, **apply_overrides({}, values)})


@dataclass(frozen=True)
class ColdStart:
    """Rankers on cold items and cold users of one data set.

    Attributes:
        workflow: its data, items, evaluation and seeds; ``split.cold_share`` and ``split.seed`` count, its kind not.
        rankers: configurations.
    """

    workflow: Workflow
    rankers: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, workflow: Workflow, names: Sequence[str]) -> ColdStart:
        """Take rankers as the user names them; without any, the configured one."""
        configs = [ranker_config(name) for name in names] or [resolved(workflow.config.ranker)]
        return cls(workflow, configs)

    @cached_property
    def names(self) -> list[str]:
        """The rankers' names, numbered where two have the same."""
        names = [config["name"] for config in self.rankers]
        return [name if names.count(name) == 1 else f"{name} {names[: n + 1].count(name)}"
                for n, name in enumerate(names)]  # fmt: skip

    @property
    def metrics(self) -> list[str]:
        """Recall and ndcg at the length of the run's metric, as far as they are computed, and that metric."""
        settings = self.workflow.config.evaluation
        k = parse_metric(settings.metric)[1]
        wanted = [f"{name}@{k}" for name in ("recall", "ndcg") if name in settings.metrics]
        return list(dict.fromkeys([*wanted, settings.metric]))

    # -- splits ------------------------------------------------------------------------------------------------

    @cached_property
    def warm(self) -> Workflow:
        """The random split with the shares that the cold one has."""
        share = self.workflow.config.split.cold_share
        return self._same_data("split.kind=random", f"split.ratios=[{1 - share}, {share / 2}, {share / 2}]")

    @cached_property
    def cold(self) -> Workflow:
        """The split by items."""
        other = self._same_data("split.kind=cold_items")
        other.aside = "" if self.workflow.config.split.kind == "cold_items" else "cold_items"
        return other

    @cached_property
    def users(self) -> np.ndarray:
        """The cold users, of the warm split."""
        return drawn_users(self.warm.loaded_split, USER_SHARE, max(KNOWN), self.workflow.run)

    @cached_property
    def newcomers(self) -> Workflow:
        """The warm split without the cold users."""
        other, base = self._same_data(*self._warm_settings()), self.warm.split()
        config = {"kind": "cold_users", "share": USER_SHARE, "least": max(KNOWN), "seed": self.workflow.run.seed}

        def write(folder: Path) -> dict[str, int]:
            split = without_users(self.warm.loaded_split, self.users)
            save_split(split, folder)
            return {"train": len(split.train), "valid": len(split.valid), "test": len(split.test)}

        name = f"{self.workflow.config.data.source}-cold_users"
        other.aside, parents = "cold_users", [base, self.workflow.data()]
        vars(other)["_split"] = other.store.build("split", name, config=config, parents=parents, write=write)
        return other

    def _warm_settings(self) -> tuple[str, ...]:
        split = self.warm.config.split
        return f"split.kind={split.kind}", f"split.ratios={list(split.ratios)}"

    def _same_data(self, *overrides: str) -> Workflow:
        other = self.workflow.with_settings(*overrides)
        vars(other).update({"_data": self.workflow.data(), "dataset": self.workflow.dataset})
        return other

    @cached_property
    def _trained(self) -> dict[tuple[int, str], Artifact]:
        """What was trained, by workflow and ranker: looking an artifact up costs a hash of the ranker's code."""
        return {}

    # -- figures -----------------------------------------------------------------------------------------------

    def _measured(
        self, flow: Workflow, config: Mapping[str, Any], how: str, measure: Callable[[Ranker, str], Evaluation | None]
    ) -> Evaluation | None:
        """Train on a split, measure in a way of its own and keep the result; ``None``: it cannot be measured so."""
        key = (id(flow), json.dumps(config, sort_keys=True, default=str))
        if key not in self._trained:
            self._trained[key] = flow.train(config)
        trained, settings = self._trained[key], flow.config.evaluation
        about = {"cold": how, "evaluation": settings.model_dump(mode="json"), "seed": self.workflow.run.seed}
        parents = [trained, flow.split(), self.warm.split()]

        def write(folder: Path) -> dict[str, Any]:
            found = measure(load_ranker(trained.path), trained.manifest["name"])
            if found is None:
                return {}
            found.save(folder)
            return found.summary

        name = f"{trained.manifest['name']}-{how.replace(' ', '_')}"
        made: Artifact = flow.store.build("evaluation", name, config=about, parents=parents, write=write)
        return Evaluation.load(made.path) if made.manifest["results"] else None

    def item_figures(self, config: Mapping[str, Any]) -> dict[tuple[str, str], Evaluation]:
        """Return the evaluations of a ranker by ``("cold" | "warm", ALL | ALONE)``."""
        cold, warm, run = self.cold.loaded_split, self.warm.loaded_split, self.workflow.run
        settings = self.workflow.config.evaluation
        alone = cold.test.item_counts > 0
        truth = only_truth(warm, warm.train.item_counts > 0)
        size = int(np.count_nonzero(alone))
        drawn = DrawnItems(truth, size, run)
        told = {
            "cold": f"the {size:,} cold items of the test",
            "warm": f"the test items of each user that train has and items drawn at random, {size:,} together",
        }
        ways: dict[tuple[str, str], Callable[[Ranker, str], Evaluation]] = {
            ("cold", ALL): lambda ranker, name: evaluate(ranker, cold, settings, run=run, name=name),
            ("warm", ALL): lambda ranker, name: evaluate(ranker, truth, settings, run=run, name=name),
            ("cold", ALONE): lambda ranker, name: evaluate_among(
                ranker, cold, settings, fixed_items(alone), told["cold"], run=run, name=name
            ),
            ("warm", ALONE): lambda ranker, name: evaluate_among(
                ranker, truth, settings, drawn, told["warm"], run=run, name=name
            ),
        }
        flows = {"cold": self.cold, "warm": self.warm}
        return {
            key: self._measured(flows[key[0]], config, f"{key[0]} among {key[1]}", way) for key, way in ways.items()
        }

    def user_figures(self, config: Mapping[str, Any]) -> dict[str, Evaluation | None]:
        """Return the evaluations of a ranker by how much is known: ``"1"``, …, ``"all"``, ``"trained"``."""
        warm, run, settings = self.warm.loaded_split, self.workflow.run, self.workflow.config.evaluation
        found: dict[str, Evaluation | None] = {}
        for n in (*KNOWN, None):
            known = "all" if n is None else str(n)
            found[known] = self._measured(
                self.newcomers, config, f"cold users with {known} known",
                lambda ranker, name, n=n: evaluate_newcomers(
                    ranker, warm, self.users, n, settings, run=run, name=name
                ),
            )  # fmt: skip
        theirs = only_users(warm, self.users)
        found["trained"] = self._measured(
            self.warm, config, "cold users trained with",
            lambda ranker, name: evaluate(ranker, theirs, settings, run=run, name=name),
        )  # fmt: skip
        return found

    @cached_property
    def items(self) -> dict[str, dict[tuple[str, str], Evaluation]]:
        """``item_figures`` of each ranker, by name."""
        return dict(zip(self.names, map(self.item_figures, self.rankers), strict=True))

    @cached_property
    def newcomer_figures(self) -> dict[str, dict[str, Evaluation | None]]:
        """``user_figures`` of each ranker, by name."""
        return dict(zip(self.names, map(self.user_figures, self.rankers), strict=True))

    def item_rows(self, among: str) -> list[dict[str, Any]]:
        """Return one row a ranker: each metric cold, warm, their ratio and their harmonic mean.

        ``best``: the cold figure as a share of the best warm figure of all rankers.
        """
        rows = []
        for name, found in self.items.items():
            row: dict[str, Any] = {"ranker": name}
            for metric in self.metrics:
                cold, warm = (found[side, among].summary[metric] for side in ("cold", "warm"))
                top = max(other["warm", among].summary[metric] for other in self.items.values())
                row[metric] = {
                    "cold": cold, "interval": list(found["cold", among].intervals[metric]), "warm": warm,
                    "ratio": cold / warm if warm else None, "best": cold / top if top else None,
                    "harmonic": harmonic(cold, warm),
                }  # fmt: skip
            rows.append(row)
        return rows

    def user_rows(self, metric: str) -> list[dict[str, Any]]:
        """Return one row a ranker: the metric by how much is known, ``None`` where it cannot be."""
        return [
            {"ranker": name} | {known: found and found.summary[metric] for known, found in figures.items()}
            for name, figures in self.newcomer_figures.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        truth = self.items[self.names[0]]["cold", ALL].protocol
        return {
            "rankers": [{"name": name, **config} for name, config in zip(self.names, self.rankers, strict=True)],
            "cold_items": int(np.count_nonzero(self.cold.loaded_split.test.item_counts)),
            "cold_truth": truth["n_truth"], "cold_item_users": truth["n_users"], "cold_users": len(self.users),
            "items": {ALL: self.item_rows(ALL), ALONE: self.item_rows(ALONE)},
            "users": {metric: self.user_rows(metric) for metric in self.metrics},
        }  # fmt: skip
