"""Contrasts in plain English."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from recsys.profiles.concepts import Concept
from recsys.profiles.naming import capital, joined, of_different_series
from recsys.profiles.schema import Interest, Statement, Support, UserProfile

FEW = 20  # items below which hardly anything can be said
DECADE = re.compile(r"\d{3}0s")
WISHES = ("likes", "wants more", "wants less", "dislikes", "never wants")
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def statement_text(phrase: str, polarity: str, support: Support) -> str:
    """Return one sentence with its numbers."""
    if support.kind == "share":
        items, gives = f"{support.n_with} of {support.n} items", percent(support.expected)
        return f"{capital(leaning(support))} {phrase}: {items} ({percent(support.observed)}), popularity gives {gives}."
    word, than = ("higher", "above") if polarity == "like" else ("lower", "below")
    return (
        f"Rates {phrase} {word} than the rest: {support.observed:.1f} on average over {support.n_with} items, "
        f"{than} the {support.expected:.1f} to be expected."
    )


def change_text(phrase: str, before: float, lately: float) -> str:
    """Return one sentence on a change."""
    way = "more" if lately > before else "less"
    return f"Lately takes {phrase} {way} often: {percent(lately)} of the latest third, {percent(before)} before."


def told_first(concept: Concept) -> int:
    """Return a rank: what has a word of its own comes first, then times, then what is named by examples."""
    return 2 if not concept.words else int(bool(DECADE.fullmatch(concept.words)))


def interest_name(concepts: Sequence[Concept], titles: Sequence[str]) -> str:
    """Return a short name: what most of its items are, and when they are from; without that, what they are like."""
    words = [one.words for one in concepts if one.words]
    times = [word for word in words if DECADE.fullmatch(word)][:1]
    plain = [word for word in words if not DECADE.fullmatch(word)][:2]
    when = f" of the {times[0]}" if times else ""
    if plain:
        return capital(joined(plain)) + when
    return f"Items{when} like {joined(of_different_series(titles))}" if titles else f"Items{when or ' of all kinds'}"


def query_texts(interests: Sequence[Sequence[Concept]], likes: Sequence[Concept], most: int) -> tuple[str, ...]:
    """Return searches that would find the next item: the strongest words of each interest, then of the likes."""
    found = [[one.words for one in concepts if one.words] for concepts in interests]
    found = [sorted(words, key=lambda word: bool(DECADE.fullmatch(word))) for words in found]  # "horror 1980s"
    kept = [words for words in found if any(not DECADE.fullmatch(word) for word in words)]
    said = {word for words in kept for word in words}
    kept += [[one.words] for one in likes if one.words and one.words not in said and not DECADE.fullmatch(one.words)]
    return tuple(dict.fromkeys(" ".join(words) for words in kept))[:most]


def summary_text(
    n: int,
    dates: tuple[str, str] | None,
    likes: Sequence[tuple[Support, str]],
    dislikes: Sequence[str],
    interests: Sequence[Interest],
    changes: Sequence[tuple[str, bool]],
) -> str:
    """Return two or three sentences.

    Args:
        n: items of the history.
        dates: first and last day.
        likes: numbers, and how a sentence names the items, in the order to tell them.
        dislikes: how a sentence names the items.
        interests: the largest first.
        changes: how a sentence names what is taken more (true) or less lately.
    """
    if n == 0:
        return "Nothing is known of this user yet."
    known = f"{n:,} item{'' if n == 1 else 's'}{'' if dates is None else _when(*dates)}"
    if not likes and not dislikes:
        few = (
            "too few to tell a taste from chance" if n < FEW else "and none of it differs clearly from what is popular"
        )
        return f"Of this user {known} {'is' if n == 1 else 'are'} known, {few}."
    sentences = [f"{capital(_liking(likes))}, judging by {known}." if likes else f"No likes stand out among {known}."]
    if len(interests) > 1:
        parts = [f"“{one.name}” ({percent(one.share)})" for one in interests[:3]]
        count = NUMBERS.get(len(interests), str(len(interests)))
        among = "" if len(interests) <= 3 else "the largest "
        sentences.append(f"{capital(count)} interests can be told apart: {among}{joined(parts)}.")
    last = [f"rates {joined(dislikes[:3])} lower than the rest"] if dislikes else []
    more, less = ([phrase for phrase, up in changes if up is way][:2] for way in (True, False))
    if more or less:
        fewer = "fewer" if less and all(phrase.split()[0].endswith("s") for phrase in less) else "less"
        turns = [f"more {joined(more)}"] * bool(more) + [f"{fewer} {joined(less)}"] * bool(less)
        last.append(f"has lately taken {joined(turns)}")
    return " ".join([*sentences, *([f"This user {joined(last)}."] if last else [])])


def told_edits(built: UserProfile, now: UserProfile, named: Callable[[str], str]) -> str:
    """Return one sentence on what a person changed in a profile; empty where nothing counts otherwise than before.

    Args:
        built: as the history alone gives it.
        now: with edits.
        named: how a sentence names a concept.
    """
    before = {one.concept: _signed(one) for one in built.statements}
    parts: dict[str, list[str]] = {
        verb: [] for verb in ("likes", "wants more", "wants less", "dislikes", "never wants")
    }
    for one in now.statements:
        old, new = before.get(one.concept, 0.0), _signed(one)
        if one.forbidden:
            verb = "never wants"
        elif new == old:
            continue
        elif not old:
            verb = "likes" if new > 0 else "dislikes"
        else:
            verb = "wants more" if new > old else "wants less" if new >= 0 else "dislikes"
        parts[verb].append(named(one.concept))
    told = [f"{verb} {joined(names)}" for verb, names in parts.items() if names]
    return f"By own account this user {joined(told)}." if told else ""


def _signed(statement: Statement) -> float:
    return statement.weight if statement.polarity == "like" else -statement.weight


def _liking(likes: Sequence[tuple[Support, str]]) -> str:
    taken = [(support, phrase) for support, phrase in likes if support.kind == "share"][:4]
    if not taken:
        return f"this user rates {joined([phrase for _, phrase in likes[:3]])} above the rest"
    (support, phrase), rest = taken[0], [phrase for _, phrase in taken[1:]]
    numbers = f"{percent(support.observed)} where popularity gives {percent(support.expected)}"
    more = f", and also to {joined(rest)}" if rest else ""
    return f"this user {leaning(support)} {phrase} ({numbers}){more}"


def leaning(support: Support) -> str:
    """Return a verb for how much more there is than popularity gives."""
    times = support.observed / max(support.expected, 1e-9)
    return "leans strongly to" if times >= 3 else "leans clearly to" if times >= 1.75 else "leans to"


def _when(first: str, last: str) -> str:
    if first[:4] == last[:4]:
        return f" taken in {first[:4]}"
    return f" taken from {first[:4]} to {last[:4]}"


def percent(share: float) -> str:
    """Return a share as people write it."""
    return f"{100 * share:.0f} %" if share >= 0.0095 or share == 0 else f"{100 * share:.1f} %"
