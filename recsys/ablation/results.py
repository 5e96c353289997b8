"""An ablation as plain values: what results.json holds, what each set cost, and the verdicts in words."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from recsys.ablation.plan import PLUS
from recsys.ablation.running import INTACT, Ablation, Measured, VariantFound, lineage
from recsys.ablation.settings import SECTION
from recsys.core.artifact import command_line, commit, versions
from recsys.evaluation.ablation_words import REMOVAL, overlap_sentence, sentence

ACTS = {"shuffled": "shuffling it", "noise": "noise in its place"}


def as_results(found: Ablation) -> dict[str, Any]:
    """Return everything as plain values; only ``made`` and each ``cost`` differ when it is done again."""
    config = found.variants[0].workflow.config.model_dump(mode="json", exclude={"run": {"artifacts"}, "data": {"raw"}})
    return {
        "made": made() | {"versions": versions()},
        "config": config,
        SECTION: found.plan.settings.model_dump(mode="json"),
        "metric": found.metric,
        "variants": [_variant(found, one) for one in found.variants],
    }


def made() -> dict[str, Any]:
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"date": date, "commit": commit(), "command": command_line()}


def _variant(found: Ablation, one: VariantFound) -> dict[str, Any]:
    data = one.workflow.dataset
    return {
        "name": one.name,
        "data": {"name": data.name, "users": len(data.users), "items": len(data.items),
                 "interactions": len(data.interactions), "split": dict(one.workflow.split().config)},
        "protocol": dict(one.means[INTACT].protocol),
        "sets": [_set(found, one, measured) for measured in one.measured],
        "worths": [asdict(row) | {"verdict": row.verdict(found.alpha)} for row in one.worths],
        "segments": [asdict(row) for row in one.segments],
        "overlaps": [asdict(row) for row in one.overlaps], "weights": one.weights,
        "verdicts": verdicts(found, one),
    }  # fmt: skip


def _set(found: Ablation, one: VariantFound, measured: Measured) -> dict[str, Any]:
    metrics, mean = found.plan.metrics(), one.means.get(measured.name)
    seeds = [
        {"seed": seed, "valid": dict(trained.manifest["results"]["best"]),
         "best_epoch": trained.manifest["results"]["best_epoch"], "test": dict(evaluation.summary)}
        for seed, trained, evaluation in zip(measured.seeds, measured.trained, measured.evaluations, strict=True)
    ] if mean else []  # fmt: skip
    return {
        "name": measured.name, "off": list(measured.off), "failed": measured.failed,
        "mean": {name: mean.summary[name] for name in metrics} if mean else {},
        "intervals": {name: list(mean.intervals[name]) for name in metrics} if mean else {},
        "spread": {name: spread(measured, name) for name in metrics} if mean else {},
        "seeds": seeds, "cost": cost(one, measured),
    }  # fmt: skip


def spread(measured: Measured, metric: str) -> float | None:
    """Return the standard deviation over seeds; ``None`` of a single one."""
    values = [evaluation.summary[metric] for evaluation in measured.evaluations]
    return statistics.stdev(values) if len(values) > 1 else None


def cost(one: VariantFound, measured: Measured) -> dict[str, float | None]:
    """Return means over seeds of seconds and tokens of the fit, members included, and the largest peak memory."""
    fits = [[part.manifest["results"] for part in lineage(one.workflow.store, trained)] for trained in measured.trained]
    if not fits:
        return {}
    peaks = [part["peak_memory_mb"] for fit in fits for part in fit if "peak_memory_mb" in part]
    tokens = [sum(row.get("llm_tokens", 0) for part in fit for row in part["rows"]) for fit in fits]
    return {
        "wall_s": statistics.mean(sum(part["fit_wall_s"] for part in fit) for fit in fits),
        "cpu_s": statistics.mean(sum(part["fit_cpu_s"] for part in fit) for fit in fits),
        "score_s": statistics.mean(evaluation.seconds["score_s"] for evaluation in measured.evaluations),
        "peak_memory_mb": max(peaks) if peaks else None,
        "llm_tokens": statistics.mean(tokens),
    }


def verdicts(found: Ablation, one: VariantFound) -> list[str]:
    """Return a sentence a component and a pair, then what pairs have in common, then what was not measured and why."""
    single = len(found.plan.settings.seeds) == 1
    lines = [sentence(row, found.metric, found.alpha, *_act(found, row.name), single) for row in one.worths]
    shown = [row for row in one.overlaps if row.p_holm < found.alpha]
    lines += [overlap_sentence(row, found.metric, found.alpha) for row in shown]
    lines += [f"{other.name}: it cannot be trained so: {other.failed}" for other in one.others if other.failed]
    return lines + [f"{PLUS.join(pair)}: not tried: {why}" for pair, why in found.plan.skipped.items()]


def _act(found: Ablation, name: str) -> tuple[str, str]:
    """Return what was done to a component or a pair, and the word for it."""
    component = found.plan.settings.components.get(name)
    if component is None or PLUS in name:
        return "switching both off", "together they"
    if component.modality:
        return ACTS.get(component.how, REMOVAL), "it"
    return REMOVAL if component.without else "switching it off", "it"
