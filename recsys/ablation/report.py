"""An ablation for a person to read: the sections of its report page."""

from __future__ import annotations

from typing import Any

from recsys.ablation.results import cost, made, spread, verdicts
from recsys.ablation.running import INTACT, Ablation, VariantFound, lineage
from recsys.core.amounts import amount
from recsys.evaluation.ablation import HARMS, HELPS
from recsys.evaluation.ablation_plots import Bar, Point, curves_plot, pareto_plot, worth_plot
from recsys.evaluation.ablation_words import headline, overlap_sentence
from recsys.evaluation.plots import Estimate, forest_plot
from recsys.evaluation.report import Report, Section
from recsys.evaluation.wording import GLOSSARY, NOTHING, SEGMENTS, duration, fixed, p_value, protocol_rows

HOW = (
    "Each set of components is trained with every seed, everything else equal. A user's figure is the mean over the "
    "seeds; then users are paired: the same user with and without the component. Intervals and p-values are a paired "
    "bootstrap over users, p is Holm-adjusted over all sets of the same data and split. Seeds are not resampled: how "
    "far they differ is shown as points, and as a standard deviation, beside it. Effect is the mean loss in standard "
    "deviations of the users' differences."
)
BY = {"history": "items known", "items": "popularity"}
SHOWN = "Bars: loss without the component. Lines: interval over users. Hollow points: single seeds."
SEEDS = "Where two seeds train the very same numbers, a fusion's members included, one stands for all."
COST = (
    "Seconds are of fitting, a fusion's members included, on a machine that may have had other work; item vectors, "
    "which all share, are not counted. Memory is the peak of the process while it was fitted. Tokens are those "
    "of language models, where a ranker asks one."
)
WORDS = {
    "component": "a part of the system that is switched off, to see what is then lost",
    "loss": "mean of the run as it is minus mean without the component: above zero it helps",
    "intact": "the run as it is, nothing switched off",
    "effect": "mean loss divided by the standard deviation of the users' losses (Cohen's d for pairs): .2 is small",
}


def build_report(found: Ablation) -> Report:
    """Return the report: verdicts first, then for each variant what they rest on."""
    many = len(found.variants) > 1
    summary = []
    for one in found.variants:
        pairs = {measured.name: measured.off for measured in one.others if len(measured.off) == 2}
        single = [row for row in one.worths if row.name not in pairs]
        together = {row: pairs[row.name] for row in one.worths if row.name in pairs}
        head = headline(single, found.alpha, together) if single else "nothing could be compared"
        summary.append(f"{f'{one.name}: ' if many else ''}{head[0].upper() if not many else head[0]}{head[1:]}.")
    sections = [_across(found)] if many else []
    for number, one in enumerate(found.variants):
        sections += _sections(found, one, number, f": {one.name}" if many else "")
    return Report(
        title=f"What each component is worth, {found.metric}",
        summary=summary, facts=_facts(found), sections=[*sections, _done(found)],
        glossary=WORDS | {term: text for term, text in GLOSSARY.items() if "chosen" not in term},
        made=made(), metric=found.metric, level=1 - found.alpha,
    )  # fmt: skip


def _facts(found: Ablation) -> list[tuple[str, Any]]:
    sets = [measured for one in found.variants for measured in one.measured]
    seconds = sum((cost(one, measured).get("cpu_s") or 0.0) * len(measured.seeds)
                  for one in found.variants for measured in one.measured)  # fmt: skip
    return [
        ("components", len(found.plan.settings.components)), ("seeds", len(found.plan.settings.seeds)),
        ("trainings compared", sum(len(one.seeds) for one in sets)), ("of CPU, if none were shared", duration(seconds)),
    ]  # fmt: skip


def _sections(found: Ablation, one: VariantFound, number: int, of: str) -> list[Section]:
    made = [worth_section(found, one, number, of), means_section(found, one, of)]
    made += [_pairs_section(found, one, of)] if one.overlaps else []
    made += [_segment_section(found, one, number, of)] if one.segments else []
    made += _weights_section(one, of)
    return [*made, _cost_section(found, one, number, of), *_curves_section(found, one, number, of)]


def worth_section(found: Ablation, one: VariantFound, number: int, of: str) -> Section:
    """Return what is lost without each component of one variant, the most first."""
    rows = sorted(one.worths, key=lambda row: -row.loss)
    bars = [Bar(row.name, row.loss, row.low, row.high, row.by_seed, row.verdict(found.alpha)) for row in rows]
    title = f"What is lost without each{of}"
    figure = worth_plot(
        bars, title=title, key=f"worth-{number}", x_name=f"{found.metric} lost without it; hollow: single seeds"
    ) if bars else None  # fmt: skip
    head = ["component off", "verdict", f"loss of {found.metric}", "95 %", "p", "Holm p", "effect", "of the mean",
            "seeds that lose"]  # fmt: skip
    head[3] = f"{100 * (1 - found.alpha):.6g} %"
    table = [
        [row.name, row.verdict(found.alpha), fixed(row.loss, sign=True),
         _ends(row.low, row.high), _unbroken(p_value(row.p)), _unbroken(p_value(row.p_holm)),
         f"{row.effect:+.2f}".replace("-", "−"), f"{100 * row.relative:+.1f} %".replace("-", "−"),
         f"{sum(value > 0 for value in row.by_seed)} of {len(row.by_seed)}"]
        for row in rows
    ]  # fmt: skip
    text = "\n\n".join([*(f"{line}." for line in verdicts(found, one)), SHOWN])
    return Section(title, text, (head, table) if table else None, figure)


def means_section(found: Ablation, one: VariantFound, of: str = "") -> Section:
    """Return the means of all sets, with intervals over users and spread over seeds."""
    metrics = found.plan.metrics()
    head = ["set", "seeds", *(label for name in metrics for label in (name, "± over seeds"))]
    head.insert(3, "over users")
    table = []
    for measured in one.measured:
        mean, name = one.means.get(measured.name), measured.name
        line: list[Any] = [name if name == INTACT else f"without {name}", len(measured.seeds)]
        for metric in metrics:
            line += [fixed(mean.summary[metric]) if mean else NOTHING, fixed(spread(measured, metric))]
        line.insert(3, "{} to {}".format(*map(fixed, mean.intervals[metrics[0]])) if mean else NOTHING)
        table.append(line)
    return Section(f"Means{of}", "Each user's mean over the seeds, then the mean over users.", (head, table))


def _pairs_section(found: Ablation, one: VariantFound, of: str) -> Section:
    head = ["both off", "lost beyond the sum of the two", "interval", "p", "Holm p"]
    table = [
        [f"{row.first} and {row.second}", fixed(row.more, sign=True),
         _ends(row.low, row.high), _unbroken(p_value(row.p)), _unbroken(p_value(row.p_holm))]
        for row in one.overlaps
    ]  # fmt: skip
    text = "\n\n".join(f"{overlap_sentence(row, found.metric, found.alpha)}." for row in one.overlaps)
    return Section(f"Two at once{of}", text, (head, table))


def _segment_section(found: Ablation, one: VariantFound, number: int, of: str) -> Section:
    rows = [
        Estimate(f"{row.name} · {_segment(row.segment)}", row.loss, row.low, row.high, row.low > 0 or row.high < 0)
        for row in one.segments
    ]
    head = ["component off", "by", "segment", "metric", "users", "loss", "interval"]
    table = [
        [row.name, BY.get(row.by, row.by), _segment(row.segment), row.metric, row.n_users,
         fixed(row.loss, sign=True), _ends(row.low, row.high)]
        for row in one.segments
    ]  # fmt: skip
    title = f"For whom each is worth something{of}"
    text = (
        f"Loss without the component: {found.metric} by how many items of a user are known, and recall among items "
        "of the long tail and of the popular head. Intervals that do not reach zero are set off. They are not "
        "adjusted for many looks: to see where a gain comes from, not whether there is one."
    )
    return Section(title, text, (head, table), forest_plot(rows, title=title, key=f"segments-{number}", floor=0.0))


def _ends(low: float, high: float) -> str:
    """Return an interval that a table does not break."""
    return _unbroken(f"{fixed(low, sign=True)} to {fixed(high, sign=True)}")


def _unbroken(text: str) -> str:
    return text.replace(" ", "\u00a0")


def _segment(name: str) -> str:
    return SEGMENTS.get(name, f"{name} known" if name[:1].isdigit() else name)


def _weights_section(one: VariantFound, of: str) -> list[Section]:
    """Return what a fusion trusts its members with in each set; nothing for what is no fusion."""
    told = one.weights
    if len(told.get(INTACT, {})) < 2:
        return []
    names = list(dict.fromkeys(name for row in told.values() for name in row))
    table = [
        [
            name if name == INTACT else f"without {name}",
            *(f"{row[part]:.2f}" if part in row else NOTHING for part in names),
        ]
        for name, row in told.items()
    ]
    text = "What each set's fusion learned on validation, means over seeds. A member of weight 0 changes no list."
    return [Section(f"How much the members are trusted{of}", text, (["set", *names], table))]


def _cost_section(found: Ablation, one: VariantFound, number: int, of: str) -> Section:
    known = [measured for measured in one.measured if measured.name in one.means]
    costs = {measured.name: cost(one, measured) for measured in known}
    points = [
        Point(name if name == INTACT else f"without {name}", spent["cpu_s"] or 0.0,
              one.means[name].summary[found.metric], name == INTACT)
        for name, spent in costs.items()
    ]  # fmt: skip
    title = f"What it costs{of}"
    figure = pareto_plot(
        points, title=title, key=f"cost-{number}", x_name="CPU seconds of a fit, members included", y_name=found.metric
    )
    head = ["set", found.metric, "CPU", "wall clock", "to score", "peak memory", "LLM tokens"]
    table = [
        [name if name == INTACT else f"without {name}", fixed(one.means[name].summary[found.metric]),
         duration(spent["cpu_s"]), duration(spent["wall_s"]), duration(spent["score_s"]),
         NOTHING if spent["peak_memory_mb"] is None else f"{spent['peak_memory_mb']:,.0f} MiB",
         f"{spent['llm_tokens']:,.0f}"]
        for name, spent in costs.items()
    ]  # fmt: skip
    joined = "On the line: sets that no other beats in both cost and accuracy."
    return Section(title, f"{joined} {COST}", (head, table), figure)


def _curves_section(found: Ablation, one: VariantFound, number: int, of: str) -> list[Section]:
    """Return the learning curves of the run as it is, or of those of its members that learn by epochs."""
    groups: dict[str, list[list[tuple[float, float]]]] = {}
    for trained in one.intact.trained:
        for part in lineage(one.workflow.store, trained):
            rows = part.manifest["results"]["rows"]
            points = [(row["epoch"], row[found.metric]) for row in rows if found.metric in row]
            if len(points) > 1:
                groups.setdefault(part.config["ranker"]["name"], []).append(points)
    title = f"How it learned{of}"
    figure = curves_plot(groups, title=title, key=f"curves-{number}", y_name=f"{found.metric} on validation")
    text = f"{found.metric} on validation after each epoch, a line a seed, nothing switched off."
    return [Section(title, text, None, figure)] if figure else []


def _across(found: Ablation) -> Section:
    """Return losses of all components on all variants side by side."""
    names = list(dict.fromkeys(row.name for one in found.variants for row in one.worths))
    head = ["component off", *(one.name for one in found.variants)]
    cells = {(one.name, row.name): row for one in found.variants for row in one.worths}
    marks = {HELPS: " helps", HARMS: " harms"}
    table = []
    for name in names:
        rows = [cells.get((one.name, name)) for one in found.variants]
        table.append([name, *(f"{fixed(row.loss, sign=True)}{marks.get(row.verdict(found.alpha), '')}" if row
                              else NOTHING for row in rows)])  # fmt: skip
    return Section(
        "Across data sets and splits", f"Loss of {found.metric} without each; without a word none is shown.",
        (head, table),
    )  # fmt: skip


def _done(found: Ablation) -> Section:
    """Return what was chosen on which data, what was measured, and what switches each component off."""
    settings, rows = found.plan.settings, []
    part = "the test part, looked at once by each training" if settings.part == "test" else "the validation part"
    chosen = "epochs, and weights of a fusion, by each training anew on the validation part"
    if not all(one.workflow.split().manifest["results"]["valid"] for one in found.variants):
        chosen += ", where there is one; else nothing: all epochs are trained, and weights stay as they are set"
    rows += [["measured on", part], ["chosen by the ablation", chosen]]
    rows += [["chosen before", settings.chosen]] if settings.chosen else []
    for name, component in settings.components.items():
        off = [*component.set, *(f"without member {member}" for member in component.without)]
        off += [f"{' and '.join(component.modality)} vectors {component.how}"] if component.modality else []
        rows.append([f"switches {name} off", "; ".join(off)])
    rows += [[f"{' and '.join(pair)} at once", f"not tried: {why}"] for pair, why in found.plan.skipped.items()]
    for one in found.variants:
        data = one.workflow.dataset
        takers = f"{amount(len(data.users), 'user')} with {amount(len(data.items), 'item')}"
        sizes = f"{amount(len(data.interactions), 'interaction')} of {takers}"
        rows.append([one.name, f"{data.name}: {sizes}"])
        rows += [[f"{one.name}: {label}", text] for label, text in protocol_rows(one.means[INTACT].protocol)]
    return Section("What was done", f"{HOW} {SEEDS}", (["what", "how"], rows))
