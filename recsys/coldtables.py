"""Cold start for a person to read: tables, and the finding in sentences."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.coldstart import ALL, ALONE, ColdStart
from recsys.console import columns
from recsys.core.amounts import amount
from recsys.evaluation.wording import NOTHING, fixed

HOW_ITEMS = (
    "Cold: a share of the items is taken out whole (half for validation, half for test), so that nobody in train has "
    "them; the truth is what users took of them. Warm: the same ranker with the same settings, trained and tested on a "
    "random split with the same shares, the truth being test items that train has. Ranked among all items that the "
    "user has not taken in train or validation; and among equally many: the cold items of the test alone, against the "
    "user's own warm test items and, to make the same number, items of train drawn at random among those not taken."
)
HOW_USERS = (
    "A tenth of the users is taken out of train whole. Each is then asked for with the first few of their train items "
    "as history and nothing else; the truth is their test items, and all their train and validation items are left out "
    "of the lists, so that all figures are of the same candidates. For comparison: all their train items as history, "
    "and the ranker that was trained with them."
)
KNOWN_AS = {"all": "all known", "trained": "trained with them"}


def item_table(found: ColdStart, among: str) -> list[dict[str, str]]:
    """Return one row a ranker, as text."""
    rows = []
    for row in found.item_rows(among):
        line = {"ranker": row["ranker"]}
        for metric in found.metrics:
            one = row[metric]
            low, high = (fixed(end) for end in one["interval"])
            line |= {
                f"{metric} cold": f"{fixed(one['cold'])} ({low} to {high})", f"{metric} warm": fixed(one["warm"]),
                "cold/warm" if metric == found.metrics[0] else f"cold/warm, {metric}": percent(one["ratio"]),
                f"{metric} harmonic": fixed(one["harmonic"]),
            }  # fmt: skip
        rows.append(line)
    return rows


def user_table(found: ColdStart, metric: str) -> list[dict[str, str]]:
    """Return one row a ranker, as text; a dash where it cannot score newcomers."""
    return [
        {"ranker": row["ranker"]}
        | {KNOWN_AS.get(name, f"{name} known"): fixed(value) for name, value in row.items() if name != "ranker"}
        for row in found.user_rows(metric)
    ]


def percent(share: float | None) -> str:
    """Write a share in whole percents."""
    return NOTHING if share is None else f"{share:.0%}"


def item_sentences(found: ColdStart) -> list[str]:
    """Return who finds cold items best, and how that compares with warm ones."""
    metric, told = found.metrics[0], []
    for among in (ALL, ALONE):
        rows: list[dict[str, Any]] = found.item_rows(among)
        best = max(rows, key=lambda row: row[metric]["cold"])
        warm = max(rows, key=lambda row: row[metric]["warm"])
        one = best[metric]
        told.append(
            f"Among {among}, {best['ranker']} finds cold items best: {metric} {fixed(one['cold'])}, "
            f"{percent(one['ratio'])} of its own warm figure {fixed(one['warm'])} and {percent(one['best'])} of the "
            f"best warm figure, {fixed(warm[metric]['warm'])} of {warm['ranker']}."
        )
    return told


def sizes(found: ColdStart) -> str:
    """Return how many items and users are meant, and what chance finds."""
    split, k = found.cold.loaded_split, int(found.metrics[0].partition("@")[2])
    items = np.count_nonzero(split.test.item_counts)
    return (
        f"{amount(items, 'cold item')} with {amount(len(split.test), 'test interaction')} of "
        f"{amount(np.count_nonzero(split.test.user_counts), 'user')} (chance among them alone: recall@{k} "
        f"{fixed(min(1.0, k / items))}); {amount(len(found.users), 'cold user')}."
    )


def cold_text(found: ColdStart) -> str:
    """Return tables and sentences for a terminal."""
    lines = [sizes(found)]
    for among in (ALL, ALONE):
        lines += ["", f"Cold items, ranked among {among}:", columns(item_table(found, among))]
    lines += ["", *item_sentences(found)]
    for metric in found.metrics:
        lines += ["", f"Cold users, {metric} by how many of their items are known:", columns(user_table(found, metric))]
    return "\n".join(lines)


def cold_markdown(found: ColdStart) -> str:
    """Return tables and sentences as Markdown."""
    parts = [sizes(found)]
    for among in (ALL, ALONE):
        parts += [f"Cold items, ranked among {among}:", _markdown(item_table(found, among))]
    parts.append("\n".join(f"- {sentence}" for sentence in item_sentences(found)))
    for metric in found.metrics:
        parts += [f"Cold users, {metric} by how many of their items are known:", _markdown(user_table(found, metric))]
    return "\n\n".join(parts) + "\n"


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
