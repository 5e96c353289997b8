"""What a model that cannot be trusted to write chooses from: sentences and searches of code, all of them true."""

from __future__ import annotations

from collections.abc import Sequence

from recsys.profiles.llm.facts import Fact, Facts
from recsys.profiles.llm.untrusted import quoted
from recsys.profiles.naming import capital, joined

TOLD = 4  # likes in one sentence
ATTRIBUTES = {"genre": "genre", "year": "period", "term": "theme", "pictures": "look"}  # by kind of concept


def merged(facts: Facts) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return how to tell the likes, the strongest first, and the ids of statements that are told as one.

    A genre and a period, or a genre and a theme, become one where items are cited for both.
    """
    likes = [one for one in facts.liked() if one.kind != "neighbours"][: TOLD + 2]
    told, groups, used = [], [], set()
    for one in likes:
        if one.statement.id in used:
            continue
        partner = next((other for other in likes if _joins(one, other, facts) and other.statement.id not in used), None)
        used.add(one.statement.id)
        if partner is None:
            told.append(one.phrase)
            continue
        used.add(partner.statement.id)
        genre, other = (one, partner) if partner.kind != "genre" else (partner, one)
        told.append(f"{genre.phrase} {f'of the {other.words}' if other.kind == 'year' else f'about “{other.words}”'}")
        groups.append((one.statement.id, partner.statement.id))
    return told[:TOLD], groups


def _joins(one: Fact, other: Fact, facts: Facts) -> bool:
    kinds = {one.kind, other.kind}
    if kinds not in ({"genre", "year"}, {"genre", "term"}) or not one.words or not other.words:
        return False
    genre = one if one.kind == "genre" else other
    several = genre.phrase.startswith(f"{facts.noun} ")  # “films for children of the 1980s” would be misread
    return not several and facts.together(one.statement.concept, other.statement.concept)


def sentence_choices(facts: Facts, told: Sequence[str]) -> list[list[str]]:
    """Return for each sentence of a summary the ways of saying it."""
    slots = []
    if told:
        what = joined(told)
        slots.append([f"This user likes {what}.", f"This user enjoys {what}.", f"Likes {what}.", f"Drawn to {what}."])
    groups = [one for one in facts.liked() if one.kind == "neighbours"][:1]
    if groups:
        (one,) = groups
        also = "Also likes" if told else "Likes"
        start = f"{'Also drawn' if told else 'Drawn'} to"
        slots.append([f"{also} {one.phrase}.", f"{start} {one.phrase}."])
    dislikes = [one.phrase for one in facts.disliked()][:3]
    if dislikes:
        what = joined(dislikes)
        slots.append([f"Rates {what} lower than the rest.", f"{capital(what)} are rated lower than the rest."])
    slots += _turns(facts)
    return slots


def _turns(facts: Facts) -> list[list[str]]:
    found = []
    for more in (True, False):
        keys = [key for key, up in facts.turns.items() if up is more][:2]
        names = [facts.words(key) for key in keys if facts.words(key)]
        if names:
            what = f"{'more' if more else 'less'} {joined(names)}"
            found.append([f"Lately takes {what}.", f"Has lately taken {what}."])
    return found


def closing(facts: Facts) -> str:
    """Return what the summary rests on; code says it, so it needs no check."""
    n = facts.profile.origin.history
    return f"Going by {n:,} {facts.noun if n != 1 else facts.noun.removesuffix('s')}."


def keyword_candidates(facts: Facts) -> dict[str, list[str]]:
    """Return the words of likes and interests by attribute; what is disliked is not among them."""
    disliked = {one.statement.concept for one in facts.disliked()}
    keys = [one.statement.concept for one in facts.liked()]
    keys += [key for interest in facts.profile.interests for key in interest.concepts]
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        word = facts.words(key)
        if word and key not in disliked:
            found.setdefault(ATTRIBUTES.get(key.partition(":")[0], key.partition(":")[0]), []).append(word)
    return {attribute: list(dict.fromkeys(words)) for attribute, words in found.items()}


def query_choices(facts: Facts) -> list[list[str]]:
    """Return for each interest the ways of searching for its items."""
    disliked = {one.statement.concept for one in facts.disliked()}
    slots = []
    for interest in facts.profile.interests[:4]:
        keys = [key for key in interest.concepts if key not in disliked and facts.words(key)]
        when = [facts.words(key) for key in keys if key.startswith("year:")][:1]
        plain = [facts.words(key) for key in keys if not key.startswith("year:")][:2]
        if not plain:
            continue
        what, noun = " ".join(plain), facts.noun
        if when:
            slots.append([f"{what} {when[0]}", f"{when[0]} {what} {noun}", f"{what} {noun} of the {when[0]}"])
        else:
            slots.append([what, f"{what} {noun}", *([f"{plain[0]} and {plain[1]} {noun}"] if len(plain) > 1 else [])])
    return slots


def told_facts(facts: Facts, most: int = 8) -> str:
    """Return the facts as lines of a prompt; titles stand in quotes that they cannot close."""
    lines = []
    for one in facts.all[:most]:
        titles = joined([quoted(each.title) for each in one.statement.evidence[:3]])
        about = f" ({titles})" if titles and one.kind != "neighbours" else ""
        lines.append(f"{one.polarity}s {one.phrase}{about}")
    return "\n".join(lines)
