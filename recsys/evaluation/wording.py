"""How the report says things: numbers, times, p-values, verdicts, the protocol and the glossary in plain words."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

NOTHING = "–"
MINUS = "\N{MINUS SIGN}"

GLOSSARY: Mapping[str, str] = {
    "recall@k": "Of the held-out items of a user, the share that is among the first k of the list.",
    "precision@k": "Of the first k items of the list, the share that the user did take.",
    "ndcg@k": "Like recall, but a hit counts more the higher it stands; 1 means that all hits are at the very top.",
    "mrr@k": "One divided by the place of the first hit (1 at place one, ½ at place two), 0 without a hit.",
    "hit@k": "The share of users with at least one hit among the first k.",
    "map@k": "The precision at the place of each hit, averaged; rewards hits that stand close together at the top.",
    "coverage@k": "The share of the catalogue that appears in anybody’s first k.",
    "gini@k": "How unevenly items are shown: 0 all equally often, 1 always the same few.",
    "novelty@k": "How unexpected the shown items are, in bits: rarely taken items count more.",
    "popularity@k": "How often the shown items were taken in train, on average.",
    "95 % interval": "With other users of the same kind, the mean would be expected to stay in this range.",
    "Holm-adjusted p": "The chance of so large a difference by luck alone, made stricter for testing several at once.",
    "validation": "A part of the data used for choosing epochs and settings, so that test is looked at only once.",
    "popularity": "Shows everybody the most-taken items; a ranker that does not beat it has learned nothing personal.",
}

PROTOCOL: Mapping[str, str] = {
    "dataset": "Data set",
    "split": "How it was split",
    "part": "Measured on",
    "users": "Which users",
    "n_users": "Users",
    "n_items": "Items to choose from",
    "n_truth": "Held-out interactions to find",
    "ranking": "What was ranked",
    "mask": "Left out of each list",
    "history": "Known of a user",
    "ties": "Equal scores",
    "ndcg": "Definition of ndcg",
    "long_tail": "Long tail",
    "users_without_history": "Users of whom nothing is known",
    "truth_unseen_in_train": "Held-out interactions with items new to every ranker",
    "truth_masked": "Held-out interactions that are masked too (certain misses for all)",
    "fingerprint": "Fingerprint of users, truth and mask",
}

IMPLIED: Mapping[str, str] = {"n_users": "users", "n_items": "ranking"}  # number → the sentence that says it

SPLITS: Mapping[str, str] = {
    "random": "at random, separately for each user",
    "leave_last": "the last item of each user for test, the one before for validation",
    "global_time": "by time: the newest interactions of all users are the test",
    "cold_items": "whole items taken out, so that nobody has taken them in train",
    "item_parts": "whole items taken out by their ids: those that the embedded generator of pictures never saw",
    "given": "as given with the data",
}

SEGMENTS: Mapping[str, str] = {
    "history": "By how many items of the user are known",
    "items": "By how popular the item to be found is",
    "tail": "long tail",
    "head": "popular head",
}


def number(value: Any) -> str:
    """Write a number with the digits that a reader can use; text as it is, nothing as a dash."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{value:,}".replace("-", MINUS)
    if not isinstance(value, numbers.Real):
        return str(value)
    if not math.isfinite(value):
        return NOTHING
    size = abs(value)
    form = ".2g" if 0 < size < 0.001 else ".4f" if size < 2 else ".2f" if size < 1000 else ",.0f"
    return f"{value:{form}}".replace("-", MINUS)


def fixed(value: float | None, sign: bool = False) -> str:
    """Write a metric with four decimals, so that a column lines up; with ``sign`` a plus too."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:{'+' if sign else ''}.4f}".replace("-", MINUS)


def short(value: float) -> str:
    """Write three significant digits, for scores that have no scale of their own."""
    return f"{value:#.3g}".rstrip(".").replace("-", MINUS) if math.isfinite(value) else NOTHING


def duration(seconds: float | None) -> str:
    """Write seconds as a person would say them: ``0.42 s``, ``12 s``, ``2 min 5 s``, ``1 h 3 min``."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if round(seconds) < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def p_value(p: float | None) -> str:
    """Write a p-value, never as a bare zero."""
    if p is None or not math.isfinite(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def verdict(difference: float, p_holm: float | None, alpha: float) -> str:
    """Return ``"better"``, ``"worse"`` or ``"no difference shown"``: what the adjusted p-value allows to say."""
    if p_holm is None or not p_holm < alpha or not difference:
        return "no difference shown"
    return "better" if difference > 0 else "worse"


def protocol_rows(protocol: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return label and text of each statement, known ones first and in plain words; nothing is said twice."""
    protocol = {key: value for key, value in protocol.items() if IMPLIED.get(key) not in protocol}
    order = [key for key in PROTOCOL if key in protocol] + [key for key in protocol if key not in PROTOCOL]
    return [(PROTOCOL.get(key, key.replace("_", " ").capitalize()), _statement(key, protocol[key])) for key in order]


def _statement(key: str, value: Any) -> str:
    if key == "split" and value in SPLITS:
        return f"{SPLITS[value]} ({value})"
    if key in ("mask", "history"):
        parts = " and ".join(str(value).split("+"))
        return f"the user’s own items in {parts}" if key == "mask" else f"what they took in {parts}"
    return number(value)
