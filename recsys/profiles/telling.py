"""Contrasts in plain English."""

from __future__ import annotations

from collections.abc import Sequence

from recsys.profiles.concepts import Concept
from recsys.profiles.naming import capital, joined, times_as_often
from recsys.profiles.schema import Interest, Statement, Support

FEW = 5  # items below which hardly anything can be said


def statement_text(phrase: str, polarity: str, support: Support) -> str:
    """Return one sentence with its numbers."""
    if support.kind == "share":
        often = times_as_often(support.observed, support.expected)
        shares = f"{_percent(support.observed)} against {_percent(support.expected)}"
        items = f"{support.n_with} of {support.n} items"
        return f"Takes {phrase} {often} popularity alone would bring: {items} ({shares})."
    word, than = ("higher", "above") if polarity == "like" else ("lower", "below")
    return (
        f"Rates {phrase} {word} than the rest: {support.observed:.1f} on average over {support.n_with} items, "
        f"{than} the {support.expected:.1f} to be expected."
    )


def change_text(phrase: str, before: float, lately: float) -> str:
    """Return one sentence on a change."""
    way = "more" if lately > before else "less"
    return f"Lately takes {phrase} {way} often: {_percent(lately)} of the latest third, {_percent(before)} before."


def interest_name(concepts: Sequence[Concept], titles: Sequence[str]) -> str:
    """Return a short name: what most of its items are, and when they are from; else what they are like."""
    words = [one for one in concepts if one.words]
    times = [one.words for one in words if one.words.endswith("0s") and one.words[:1].isdigit()][:1]
    plain = [one.words for one in words if one.words not in times and not one.words[:1].isdigit()][:2]
    if plain:
        return capital(joined(plain)) + (f" of the {times[0]}" if times else "")
    if times:
        return f"Items of the {times[0]}"
    return f"Items like {joined(titles[:2])}" if titles else "Items of all kinds"


def query_texts(interests: Sequence[Sequence[Concept]], likes: Sequence[Concept], most: int) -> tuple[str, ...]:
    """Return searches that would find the next item: the strongest words of each interest, then of the likes."""
    found = [" ".join(one.words for one in concepts if one.words) for concepts in interests]
    found += [one.words for one in likes]
    return tuple(dict.fromkeys(query for query in found if query))[:most]


def summary_text(
    n: int,
    dates: tuple[str, str] | None,
    likes: Sequence[tuple[Statement, str]],
    dislikes: Sequence[tuple[Statement, str]],
    interests: Sequence[Interest],
    changes: Sequence[tuple[str, bool]],
) -> str:
    """Return two or three sentences.

    Args:
        n: items of the history.
        dates: first and last day.
        likes, dislikes: statements and how a sentence names their items, the strongest first.
        interests: the largest first.
        changes: how a sentence names what is taken more (true) or less lately.
    """
    if n == 0:
        return "Nothing is known of this user yet."
    when = "" if dates is None else f", taken {_when(*dates)}"
    known = f"{n:,} item{'' if n == 1 else 's'}{when}"
    if not likes and not dislikes:
        few = (
            "too few to tell a taste from chance"
            if n < 4 * FEW
            else "and none of it differs clearly from what is popular"
        )
        return f"Of this user {known}, {'are' if n > 1 else 'is'} known, {few}."
    sentences = [f"From {known}: {_liking(likes)}." if likes else f"From {known}, no clear likes stand out."]
    if len(interests) > 1:
        parts = [f"{one.name} ({_percent(one.share)})" for one in interests[:3]]
        count = {2: "Two", 3: "Three", 4: "Four", 5: "Five", 6: "Six"}.get(len(interests), str(len(interests)))
        among = "" if len(interests) <= 3 else "among them "
        sentences.append(f"{count} interests can be told apart, {among}{joined(parts)}.")
    last = []
    if dislikes:
        last.append(f"rates {joined([phrase for _, phrase in dislikes[:3]])} lower than the rest")
    more, less = ([phrase for phrase, up in changes if up is way][:2] for way in (True, False))
    if more or less:
        turns = [f"more {joined(more)}"] * bool(more) + [f"less {joined(less)}"] * bool(less)
        last.append(f"has lately taken {joined(turns)}")
    if last:
        sentences.append(f"The user {joined(last)}.")
    return " ".join(sentences)


def _liking(likes: Sequence[tuple[Statement, str]]) -> str:
    first, rest = likes[0], [phrase for _, phrase in likes[1:4]]
    support = first[0].support
    more = f", and also favours {joined(rest)}" if rest else ""
    if support is None or support.kind == "rating":
        return f"the user rates {first[1]} above the rest{more}"
    often = times_as_often(support.observed, support.expected)
    return f"the user takes {first[1]} {often} popularity alone would bring{more}"


def _when(first: str, last: str) -> str:
    if first[:4] == last[:4]:
        return f"in {first[:4]}"
    return f"from {first[:4]} to {last[:4]}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0095 or share == 0 else f"{100 * share:.1f} %"
