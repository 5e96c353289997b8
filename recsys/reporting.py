"""From a comparison to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from recsys.coldstart import ALL, ALONE, ColdStart
from recsys.coldtables import HOW_ITEMS, HOW_USERS, cold_markdown, item_sentences, item_table, sizes, user_table
from recsys.comparison import Comparison
from recsys.core.artifact import Artifact, command_line, commit
from recsys.core.errors import ArtifactError
from recsys.evaluation.knockout import HOWS
from recsys.evaluation.publish import write_report
from recsys.evaluation.report import Curve, RankerRow, RecommendedList, Report, Section
from recsys.evaluation.result import Evaluation
from recsys.evaluation.wording import GLOSSARY
from recsys.knocking import TITLE as KNOCKOUTS
from recsys.knocking import Knocking

STRANGERS = "users_by_popularity"  # in the protocol of a ranker that cannot score everybody


def build_report(
    comparison: Comparison, title: str, *, lists: Sequence[RecommendedList] = (), sections: Sequence[Section] = ()
) -> Report:
    """Return the report of a comparison; later capabilities add lists and sections."""
    workflow = comparison.workflow
    data = workflow.data()
    counts = [(row["what"], row["rows"], row["example"]) for row in data.manifest["results"]["counts"]]
    protocol = dict(comparison.evaluation_of(comparison.shown).protocol)
    protocol.pop(STRANGERS, None)  # of one ranker: stands in its row
    return Report(
        title=title,
        summary=_summary(comparison),
        facts=_facts(comparison),
        counts=counts,
        rankers=[
            _ranker_row(comparison, *pair) for pair in zip(comparison.trained, comparison.evaluations, strict=True)
        ],
        differences=comparison.paired(),
        curves=_curves(comparison),
        lists=list(lists),
        segments=[
            {"name": evaluation.name, **row}
            for evaluation in comparison.evaluations
            for row in evaluation.segments.to_dicts()
        ],
        protocol=protocol,
        sections=list(sections),
        made={
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "commit": commit(),
            "command": command_line(),
            "results": str(workflow.config.run.artifacts),
            **({} if comparison.chosen else {"choice": comparison.choice}),
        },
        metric=comparison.metric,
        level=comparison.level,
        glossary={term.replace("95 %", comparison.level_text): text for term, text in GLOSSARY.items()},
    )


def write_comparison(comparison: Comparison, path: Path, *, sections: Sequence[Section] = ()) -> Path:
    """Write the report of a comparison alone, with sections of later capabilities."""
    title = f"Rankers on {comparison.workflow.dataset.name}"
    return write_report(build_report(comparison, title, sections=sections), path)


def knockout_section(knocking: Knocking) -> Section:
    """Return what the modalities are worth as a section of the report."""
    ways = "; ".join(f"{how}: {what}" for how, what in HOWS.items())
    how = (
        f"Item features are altered ({ways}) and each ranker is trained anew with them, everything else equal; or, as "
        "it was trained, asked with them in place of its own. Differences are paired, from the intact ranker, and p is "
        "Holm-adjusted over all knockouts of the ranker. One training seed."
    )
    text = " ".join([*knocking.sentences(), how, *_stopped(knocking.notes())])
    return Section(KNOCKOUTS, text, _as_table(knocking.table()))


def cold_sections(found: ColdStart) -> list[Section]:
    """Return cold items and cold users as sections of a report."""
    sections = []
    for among in (ALL, ALONE):
        table = item_table(found, among)
        text = f"{HOW_ITEMS} {sizes(found)}" if among == ALL else ""
        sections.append(Section(f"Cold items, ranked among {among}", text, _as_table(table)))
    for metric in found.metrics:
        table = user_table(found, metric)
        text = HOW_USERS if metric == found.metrics[0] else ""
        sections.append(Section(f"Cold users: {metric} by how many of their items are known", text, _as_table(table)))
    return sections


def write_cold(found: ColdStart, path: Path) -> Path:
    """Write the report of a cold start: a page, or where ``path`` ends in .md its tables.

    Raises:
        ArtifactError: the file cannot be written.
    """
    if path.suffix == ".md":
        try:
            path.write_text(cold_markdown(found), encoding="utf-8")
        except OSError as error:
            cause = error.strerror or str(error)
            raise ArtifactError(f"report {path}", cause, "Choose another place for it.") from error
        return path
    data = found.workflow.dataset
    facts = [
        ("users", f"{len(data.users):,}"), ("items", f"{len(data.items):,}"),
        ("interactions", f"{len(data.interactions):,}"), ("Rankers", ", ".join(found.names)),
    ]  # fmt: skip
    title, summary = f"Cold start on {data.name}", item_sentences(found)
    made = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "commit": commit(), "command": command_line(),
    }  # fmt: skip
    return write_report(Report(title, summary, facts, sections=cold_sections(found), made=made), path)


def _as_table(rows: Sequence[Mapping[str, str]]) -> tuple[list[str], list[list[str]]]:
    return list(rows[0]), [list(row.values()) for row in rows]


def _stopped(lines: Sequence[str]) -> list[str]:
    """Return lines as sentences."""
    return [f"{line[0].upper()}{line[1:]}." for line in lines]


def _summary(comparison: Comparison) -> list[str]:
    """Return the finding in sentences; what they say of a difference is what the table says."""
    metric, part, chosen = comparison.metric, comparison.part, comparison.chosen
    if chosen is None:
        why = comparison.choice
        return [f"{why[0].upper()}{why[1:]}. The figures of the {part} part are shown as they are."]
    found = comparison.evaluation_of(chosen)
    low, high = found.intervals[metric]
    measured = f"{found.summary[metric]:.4f} ({comparison.level_text} interval {low:.4f} to {high:.4f})"
    number = len(comparison.trained)
    who = f"Of {number} rankers, {found.name} was best on validation" if number > 1 else f"One ranker: {found.name}"
    return [
        f"{who}; on the {part} part its {metric} is {measured}.",
        *(f"{comparison.sentence(one)}." for one in comparison.paired() if one.name == found.name),
    ]


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
    strangers = evaluation.protocol.get(STRANGERS, 0)
    note = f"{strangers:,} users whom it does not know were shown popular items" if strangers else ""
    return RankerRow(
        name=name, label=name, chosen=artifact is comparison.chosen, summary=evaluation.summary,
        intervals=evaluation.intervals, catalogue=evaluation.catalogue,
        valid=results["best"].get(comparison.metric), fit_s=results["fit_wall_s"], cpu_s=results["fit_cpu_s"],
        n_parameters=results["n_parameters"], settings=settings, note=note,
    )  # fmt: skip


def _curves(comparison: Comparison) -> list[Curve]:
    curves = []
    for artifact, name in zip(comparison.trained, comparison.names, strict=True):
        results = artifact.manifest["results"]
        points = [(row["epoch"], row[comparison.metric]) for row in results["rows"] if comparison.metric in row]
        if len(points) > 1:
            curves.append(Curve(name, comparison.metric, points, results["best_epoch"]))
    return curves
