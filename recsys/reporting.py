"""From artifacts to what a person reads: comparison tables, lists with reasons, the report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.console import columns
from recsys.core.artifact import Artifact, ArtifactStore, command_line, commit
from recsys.core.errors import DataError
from recsys.evaluation.publish import write_report
from recsys.evaluation.report import (
    Curve,
    Difference,
    ListedItem,
    RankerRow,
    RecommendedList,
    Report,
    Section,
)
from recsys.evaluation.result import Evaluation
from recsys.evaluation.significance import compare
from recsys.serving.recommender import Recommendation, Recommender
from recsys.workflow import Part, Workflow

SHOWN = ("recall@20", "ndcg@20", "mrr@20", "hit@20")


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
        opened = {artifact.key: artifact for artifact in map(workflow.open_ranker, rankers)}  # named twice: once
        trained = list(opened.values()) or [workflow.train()]
        made = [workflow.evaluate(artifact, part) for artifact in trained]
        return cls.from_artifacts(workflow, trained, made, part, reference)

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
        evaluations = [
            replace(Evaluation.load(artifact.path), name=name) for artifact, name in zip(made, names, strict=True)
        ]
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
    def chosen(self) -> Artifact:
        """The ranker with the best validation metric."""
        return max(self.trained, key=lambda artifact: artifact.manifest["results"]["best"].get(self.metric, -1.0))

    def differences(self) -> list[dict[str, Any]]:
        """Return paired differences from the reference, with Holm-adjusted p."""
        if len(self.evaluations) < 2:
            return []
        return compare(list(self.evaluations), self.reference, self.metric).to_dicts()

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a ranker: test metrics, interval, validation metric, cost."""
        rows = []
        for artifact, evaluation in zip(self.trained, self.evaluations, strict=True):
            results, (low, high) = artifact.manifest["results"], evaluation.intervals[self.metric]
            shown = [name for name in SHOWN if name in evaluation.summary]
            rows.append(
                {"ranker": evaluation.name + (" *" if artifact is self.chosen else "")}
                | {name: evaluation.summary[name] for name in shown}
                | {
                    f"{self.metric} 95 %": f"{low:.4f}–{high:.4f}",
                    "validation": results["best"].get(self.metric),
                    "fit s": f"{results['fit_wall_s']:.1f}",
                }
            )
        return rows

    def to_dict(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "chosen": self.chosen.manifest["name"],
            "rankers": [
                {"path": str(artifact.path), "fit": artifact.manifest["results"]} | evaluation.to_dict()
                for artifact, evaluation in zip(self.trained, self.evaluations, strict=True)
            ],
            "differences": self.differences(),
        }

    def to_text(self) -> str:
        lines = [columns(self.rows()), f"* best {self.metric} on validation"]
        for row in self.differences():
            if row["name"] != self.reference:
                lines.append(
                    f"{row['name']} − {self.reference}: {row['difference']:+.4f}"
                    f" ({row['low']:+.4f} to {row['high']:+.4f}), p (Holm) {row['p_holm']:.4f}"
                )
        return "\n".join(lines)


def _labels(trained: Sequence[Artifact]) -> list[str]:
    """Return each ranker's name, with its key where two have the same."""
    names = [artifact.manifest["name"] for artifact in trained]
    return [
        name if names.count(name) == 1 else f"{name}-{artifact.key[:6]}"
        for name, artifact in zip(names, trained, strict=True)
    ]


# -- lists -------------------------------------------------------------------------------------------------------


def recommend_lists(
    model: Recommender, users: Sequence[str], liked: Sequence[str], **options: Any
) -> dict[str, list[Recommendation]]:
    """Return a list for each user, and one for the newcomer who likes ``liked``.

    Raises:
        DataError: neither users nor likes.
    """
    if not users and not liked:
        raise DataError("recommend", "for whom?", "Give --user ID, or --liked TITLE for somebody new.")
    lists = (
        dict(zip((f"user {user}" for user in users), model.recommend(list(users), **options), strict=True))
        if users
        else {}
    )
    if liked:
        lists["somebody who likes " + ", ".join(liked)] = model.recommend(history=list(liked), **options)
    return lists


def lists_text(lists: Mapping[str, Sequence[Recommendation]]) -> str:
    """Return the lists as text, a line an item and its reasons below."""
    lines = []
    for who, items in lists.items():
        lines.append(f"For {who}:")
        for place, item in enumerate(items, 1):
            lines.append(f"{place:3}. {item.title}")
            lines.append("     " + "; ".join(reason.text for reason in item.reasons))
        if not items:
            lines.append("  (no item is left)")
    return "\n".join(lines)


def lists_dict(lists: Mapping[str, Sequence[Recommendation]]) -> list[dict[str, Any]]:
    """Return the lists as plain values."""
    return [{"for": who, "items": [asdict(item) for item in items]} for who, items in lists.items()]


def listed(
    model: Recommender,
    who: str,
    explanation: str,
    history: Iterable[int],
    items: Sequence[Recommendation],
    held_out: set[str],
) -> RecommendedList:
    """Return a list for the report; items that are in the held-out part are marked."""
    table = model.dataset.item_table
    shown = [table.row(int(idx), named=True) for idx in history]
    return RecommendedList(
        who,
        explanation,
        [
            ListedItem(row["title"] or row["item_id"], row["item_id"], _plain(row["attributes"]), [], None, None, False)
            for row in shown
        ],
        [
            ListedItem(
                item.title,
                item.item_id,
                _plain(item.attributes),
                [reason.text for reason in item.reasons],
                item.score,
                None,
                item.item_id in held_out,
            )
            for item in items
        ],
    )


def _plain(attributes: Iterable[str]) -> list[str]:
    """``genre:Comedy`` reads ``Comedy`` on a card."""
    return [attribute.partition(":")[2] or attribute for attribute in attributes]


# -- the report --------------------------------------------------------------------------------------------------


def build_report(
    comparison: Comparison, title: str, *, lists: Sequence[RecommendedList] = (), sections: Sequence[Section] = ()
) -> Report:
    """Return the report of a comparison; later capabilities add lists and sections."""
    workflow = comparison.workflow
    data = workflow.data()
    counts = [(row["what"], row["rows"], row["example"]) for row in data.manifest["results"]["counts"]]
    differences = [
        Difference(
            row["name"],
            comparison.reference,
            comparison.metric,
            *(row[key] for key in ("difference", "low", "high", "p", "p_holm")),
        )
        for row in comparison.differences()
        if row["name"] != comparison.reference
    ]
    chosen = next(
        evaluation
        for artifact, evaluation in zip(comparison.trained, comparison.evaluations, strict=True)
        if artifact is comparison.chosen
    )
    return Report(
        title=title,
        summary=_summary(comparison, chosen, differences),
        facts=_facts(comparison),
        counts=counts,
        rankers=[
            _ranker_row(comparison, *pair) for pair in zip(comparison.trained, comparison.evaluations, strict=True)
        ],
        differences=differences,
        curves=_curves(comparison),
        lists=list(lists),
        segments=[
            {"name": evaluation.name, **row}
            for evaluation in comparison.evaluations
            for row in evaluation.segments.to_dicts()
        ],
        protocol=chosen.protocol,
        sections=list(sections),
        made={
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "commit": commit(),
            "command": command_line(),
            "results": str(workflow.config.run.artifacts),
        },
        metric=comparison.metric,
        level=workflow.config.evaluation.level,
    )


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the report of a comparison alone."""
    return write_report(build_report(comparison, f"Rankers on {comparison.workflow.dataset.name}"), path)


def _summary(comparison: Comparison, chosen: Evaluation, differences: Sequence[Difference]) -> list[str]:
    metric, name = comparison.metric, chosen.name
    low, high = chosen.intervals[metric]
    said = [
        f"Of {len(comparison.trained)} rankers, {name} was best on validation; "
        f"on the {comparison.part} part its {metric} is {chosen.summary[metric]:.4f} (95 % {low:.4f} to {high:.4f})."
    ]
    for difference in differences:
        if difference.name == name:
            verdict = (
                "better than"
                if difference.low > 0
                else "worse than"
                if difference.high < 0
                else "not shown to differ from"
            )
            said.append(
                f"It is {verdict} {difference.reference} ({difference.difference:+.4f}, p {difference.p_holm:.4f})."
            )
    return said


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    workflow, data = comparison.workflow, comparison.workflow.dataset
    split = workflow.split()
    parts = ", ".join(f"{name} {rows:,}" for name, rows in split.manifest["results"].items())
    return [
        ("users", f"{len(data.users):,}"),
        ("items", f"{len(data.items):,}"),
        ("interactions", f"{len(data.interactions):,}"),
        ("of all pairs known", f"{len(data.interactions) / (len(data.users) * len(data.items)):.2%}"),
        ("Data", data.name),
        ("Split", f"{split.config['kind']}: {parts}; seed {split.config['seed']}"),
        ("Seed of the rankers", str(workflow.config.run.seed)),
    ]


def _ranker_row(comparison: Comparison, artifact: Artifact, evaluation: Evaluation) -> RankerRow:
    results, config = artifact.manifest["results"], dict(artifact.config["ranker"])
    name = evaluation.name
    settings = {key: value for key, value in config.items() if key != "name"}
    return RankerRow(
        name=name, label=name, chosen=artifact is comparison.chosen, summary=evaluation.summary,
        intervals=evaluation.intervals, catalogue=evaluation.catalogue,
        valid=results["best"].get(comparison.metric), fit_s=results["fit_wall_s"], cpu_s=results["fit_cpu_s"],
        n_parameters=results["n_parameters"], settings=settings, note="",
    )  # fmt: skip


def _curves(comparison: Comparison) -> list[Curve]:
    curves = []
    for artifact, name in zip(comparison.trained, comparison.names, strict=True):
        results = artifact.manifest["results"]
        points = [(row["epoch"], row[comparison.metric]) for row in results["rows"] if comparison.metric in row]
        if len(points) > 1:
            curves.append(Curve(name, comparison.metric, points, results["best_epoch"]))
    return curves


# -- show and data --list ----------------------------------------------------------------------------------------


def show_text(root: Path, reference: str | None, *, verify: bool, as_json: bool) -> str:
    """Return the list of artifacts, or one artifact's description with its lineage."""
    store = ArtifactStore(root)
    if reference is None:
        rows = [
            {
                "kind": item.kind,
                "name": item.manifest["name"],
                "key": item.key,
                "made": item.manifest["created"][:19],
                "folder": str(item.path),
            }
            for item in store.list()
        ]
        if as_json:
            return json.dumps(rows, indent=2)
        return columns(rows) if rows else f"nothing below {root} yet; a first result: recsys train --artifacts {root}"
    artifact = store.open(reference)
    if verify:
        artifact.verify()
    if as_json:
        return json.dumps({"path": str(artifact.path), **artifact.manifest}, indent=2, default=str)
    lineage = [
        f"{'  ' * depth}{entry['kind']} {entry['name']} ({entry['key']})" for depth, entry in store.lineage(artifact)
    ]
    checked = ["", "Every file has its recorded hash."] if verify else []
    text = (artifact.path / "card.md").read_text(encoding="utf-8")
    return "\n".join([text.rstrip(), "", "## Lineage", *lineage, *checked, "", str(artifact.path)])


def source_rows(name: str | None) -> list[dict[str, Any]]:
    """Return the data sources, or the settings of one."""
    from recsys.data import SOURCES
    from recsys.health import settings_rows

    if name is not None:
        return settings_rows(f"source.{name}")
    return [{"source": key, "what": (SOURCES.load(key).__doc__ or "").strip().splitlines()[0]} for key in SOURCES]
