"""Rankers measured on the same part of the same split: which was chosen, and what can be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recsys.console import columns
from recsys.core.artifact import Artifact
from recsys.core.errors import DataError
from recsys.evaluation.report import Difference
from recsys.evaluation.result import Evaluation
from recsys.evaluation.significance import compare
from recsys.evaluation.wording import fixed, p_value, verdict
from recsys.workflow import Part, Workflow

SHOWN = ("recall", "ndcg", "mrr", "hit")


def best_on_validation(trained: Sequence[Artifact], metric: str) -> Artifact | None:
    """Return the ranker with the highest validation metric, the first of equals; ``None`` where none has one."""
    figures = [artifact.manifest["results"]["best"].get(metric) for artifact in trained]
    known = [place for place, value in enumerate(figures) if value is not None and math.isfinite(value)]
    return trained[max(known, key=lambda place: figures[place])] if known else None


MANY_NEW = 0.1  # share of held-out interactions with items new to every ranker that is worth a note


@dataclass(frozen=True)
class Comparison:
    """Rankers measured on the same part of the same split."""

    workflow: Workflow
    trained: Sequence[Artifact]
    evaluations: Sequence[Evaluation]
    part: Part
    reference: str

    @classmethod
    def of(
        cls, workflow: Workflow, rankers: Sequence[str], part: Part = "test", reference: str | None = None
    ) -> Comparison:
        """Open (or train) the rankers and evaluate them where that was not done yet."""
        exactly_first = sorted(rankers, key=lambda name: workflow.store.find(name) is None)  # they may bring the split
        opened = {name: workflow.open_ranker(name) for name in exactly_first}
        meant = {name: opened[name] for name in rankers}
        trained = list({one.key: one for one in meant.values()}.values()) or [workflow.train()]  # named twice: once
        made = [workflow.evaluate(artifact, part) for artifact in trained]
        names = _labels(trained)
        if reference in meant:  # as it was written: by name, or exactly
            reference = names[[one.key for one in trained].index(meant[reference].key)]
        return cls.from_artifacts(workflow, trained, made, part, reference, names)

    @classmethod
    def from_artifacts(
        cls,
        workflow: Workflow,
        trained: Sequence[Artifact],
        made: Sequence[Artifact],
        part: Part,
        reference: str | None,
        names: Sequence[str] | None = None,
    ) -> Comparison:
        """Bring together artifacts of the kinds ranker and evaluation, one of each a ranker."""
        names = list(names or _labels(trained))
        evaluations = [Evaluation.load(artifact.path).renamed(name) for artifact, name in zip(made, names, strict=True)]
        reference = reference or names[0]
        if reference not in names:
            raise DataError(
                f"reference {reference!r}", "is not among the rankers compared", "One of: " + ", ".join(names)
            )
        return cls(workflow, trained, evaluations, part, reference)

    @property
    def names(self) -> list[str]:
        return [evaluation.name for evaluation in self.evaluations]

    @property
    def metric(self) -> str:
        return self.workflow.config.evaluation.metric

    @property
    def level(self) -> float:
        """Confidence level of intervals; verdicts use 1 - level."""
        return self.workflow.config.evaluation.level

    @property
    def level_text(self) -> str:
        """The level as it is read: ``95 %``."""
        return f"{100 * self.level:.6g} %"

    @cached_property
    def chosen(self) -> Artifact | None:
        """The ranker with the best validation metric; ``None`` where nothing was validated."""
        return best_on_validation(self.trained, self.metric)

    @property
    def shown(self) -> Artifact:
        """The ranker that lists are made with: the chosen one, else the first."""
        return self.chosen or self.trained[0]

    @property
    def choice(self) -> str:
        """How a ranker was chosen, or why none was."""
        if self.chosen is not None:
            return f"best {self.metric} on validation"
        if not self.workflow.split().manifest["results"]["valid"]:
            return "no validation part: nothing was chosen"
        return f"no ranker has {self.metric} on validation: nothing was chosen"

    def evaluation_of(self, artifact: Artifact) -> Evaluation:
        """Return the evaluation of one of ``trained``."""
        pairs = zip(self.trained, self.evaluations, strict=True)
        return next(evaluation for one, evaluation in pairs if one is artifact)

    @cached_property
    def _compared(self) -> list[dict[str, Any]]:
        if len(self.evaluations) < 2:
            return []
        settings = self.workflow.config.evaluation
        found = compare(self.evaluations, self.reference, self.metric, settings.resamples, level=settings.level)
        return found.to_dicts()

    def differences(self) -> list[dict[str, Any]]:
        """Return paired differences from the reference, with Holm-adjusted p; a row a ranker, as ``compare`` does."""
        return [dict(row) for row in self._compared]

    def paired(self) -> list[Difference]:
        """Return the same for the report, without the row of the reference."""
        keys = ("difference", "low", "high", "p", "p_holm")
        return [
            Difference(row["name"], self.reference, self.metric, *(row[key] for key in keys))
            for row in self._compared
            if row["name"] != self.reference
        ]

    def verdict(self, one: Difference) -> str:
        """Return ``"better"``, ``"worse"`` or ``"no difference shown"``, as the report's table does."""
        return verdict(one.difference, one.p_holm, 1 - self.level)

    def sentence(self, one: Difference) -> str:
        """Return a difference in words: against whom, by how much, how sure."""
        gap = f"{fixed(one.difference, sign=True)} ({fixed(one.low, sign=True)} to {fixed(one.high, sign=True)})"
        return f"{one.name} against {one.reference}: {self.verdict(one)}, {gap}, p (Holm) {p_value(one.p_holm)}"

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a ranker: test metrics, interval, validation metric, cost."""
        return [self._row(*pair) for pair in zip(self.trained, self.evaluations, strict=True)]

    def _row(self, artifact: Artifact, evaluation: Evaluation) -> dict[str, Any]:
        results, (low, high) = artifact.manifest["results"], evaluation.intervals[self.metric]
        k = self.metric.partition("@")[2]
        names = dict.fromkeys([*(f"{name}@{k}" for name in SHOWN), self.metric])
        return (
            {"ranker": evaluation.name + (" *" if artifact is self.chosen else "")}
            | {name: evaluation.summary[name] for name in names if name in evaluation.summary}
            | {
                f"{self.metric} {self.level_text}": f"{low:.4f}–{high:.4f}",
                "validation": results["best"].get(self.metric),
                "fit s": f"{results['fit_wall_s']:.1f}",
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values; ``chosen`` is null where nothing was."""
        return {
            "part": self.part,
            "chosen": self.evaluation_of(self.chosen).name if self.chosen else None,
            "choice": self.choice,
            "rankers": [
                {"path": str(artifact.path), "fit": artifact.manifest["results"]} | evaluation.to_dict()
                for artifact, evaluation in zip(self.trained, self.evaluations, strict=True)
            ],
            "differences": self.differences(),
        }

    def to_text(self) -> str:
        mark = "* " if self.chosen else ""
        lines = [columns(self.rows()), mark + self.choice, *map(self.sentence, self.paired()), *self.notes()]
        return "\n".join(lines)

    def notes(self) -> list[str]:
        """Return what a reader of the figures must know of the held-out part."""
        protocol = self.evaluations[0].protocol
        truth, new = protocol["n_truth"], protocol["truth_unseen_in_train"]
        if not truth or new / truth < MANY_NEW:
            return []
        return [
            f"note: {new:,} of {truth:,} held-out interactions are of items that train does not have; "
            "only a ranker that reads item text or pictures can find those"
        ]


def _labels(trained: Sequence[Artifact]) -> list[str]:
    """Return each ranker's name, with its key where two have the same."""
    names = [artifact.manifest["name"] for artifact in trained]
    return [
        name if names.count(name) == 1 else f"{name}-{artifact.key[:6]}"
        for name, artifact in zip(names, trained, strict=True)
    ]
