"""Lists of recommendations for a person to read: as text, as plain values, as cards of the report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from recsys.core.amounts import amount
from recsys.core.errors import DataError
from recsys.evaluation.report import ListedItem, RecommendedList
from recsys.serving.recommender import Recommendation, Recommender


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


def shorter(
    model: Recommender, lists: Mapping[str, Sequence[Recommendation]], k: int, filters: Sequence[str]
) -> list[str]:
    """Return a line on each list that has fewer than ``k`` items: how many there are, and what emptied it."""
    short = {who: len(items) for who, items in lists.items() if len(items) < k}
    if not short:
        return []
    passing = int(model.catalogue.allowed(filters).sum())
    if not passing:
        return [_emptied(model, filters)]
    among = amount(passing, "item")
    if filters:
        among += " that passes the filters" if passing == 1 else " that pass the filters"
    rest = f"left, {k:,} were asked for: the others are known of them already, or excluded"
    return [f"{who}: {found:,} of {among} {'is' if found == 1 else 'are'} {rest}" for who, found in short.items()]


def _emptied(model: Recommender, filters: Sequence[str]) -> str:
    """Return which filter lets no item pass, by itself or after those before it."""
    allowed = model.catalogue.allowed
    alone = next((one for one in filters if not allowed([one]).any()), None)
    if alone is not None:
        kind = re.split(r"[<>=:!]+", alone.lstrip("!"))[0].strip().lower()
        numbers = [float(value) for value in model.catalogue.facets.get(kind, {}) if value.replace(".", "").isdigit()]
        reach = f" ({kind} goes from {min(numbers):g} to {max(numbers):g})" if numbers else ""
        return f"no item passes {alone}{reach}: change that filter, or leave it out"
    place = next(n for n in range(len(filters)) if not allowed(filters[: n + 1]).any())
    before = " and ".join(filters[:place])
    return f"no item that passes {before} passes {filters[place]}, too: leave one of them out"


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
