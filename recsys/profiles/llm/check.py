"""Whether a sentence is borne out: every word is plain English of a closed list, or names what the profile says.

A sentence passes when it names at least one concept of the profile, each with the polarity of its statement, titles
only in quotes and only of the evidence of what they are told for, two concepts in one only where items are cited for
both, and turns only as they were measured. Numbers, superlatives, comparisons and negations are on no list: what
cannot be checked is not told. So nothing that an item's text says, and no other user, gets in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from recsys.profiles.llm.facts import Facts, Name, words_of
from recsys.profiles.matching import singular

LONGEST = 400  # characters of a sentence
LONGEST_QUERY = 80
QUOTED = re.compile(r"[“\"]([^“”\"]{1,120})[”\"]")
ENDS = re.compile(r"(?<=[.!?])\s+|\n+")
TOKEN = re.compile(r"\x00\d+\x00|\w+(?:[-'’&+/]\w+)*|[^\w\s]")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


LIKE = _set(
    """
    enjoy love prefer favour favor appreciate enjoys loves prefers favours favors appreciates likes liked enjoyed drawn
    fond leans
    """
)
DISLIKE = _set("dislike avoid dislikes avoids disliked avoided away")
BREAKS = _set(". ; : ! ? — – but while though although yet whereas")
MARKS = _set(", ( ) - ' ’")
JOINTS = _set("of the from about in with set for and films movies items")
RATING = _set("rate rates rated lower rest than higher")
PLAIN = _set(
    """
    a an the this that these those it its they them their user viewer reader person someone who what which such as and
    or also too both along together with in of on for from about to by at is are was were be been being has have having
    taste tastes interest interests films film movies movie items item books book titles ones story stories kind kinds
    vein others take takes taken often especially particularly among include includes including examples example
    range ranges going well
    """
)


@dataclass(frozen=True)
class Verdict:
    """What became of sentences.

    Attributes:
        kept: those that are borne out.
        dropped: the others, each with the reason.
    """

    kept: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...]

    @property
    def faithfulness(self) -> float:
        """The share that was borne out before filtering; 1 where nothing was said."""
        total = len(self.kept) + len(self.dropped)
        return len(self.kept) / total if total else 1.0


def check_text(text: str, facts: Facts, only: str | None = None) -> Verdict:
    """Divide a text into sentences that are borne out and others; ``only``: a concept, no other may be named."""
    kept, dropped = [], []
    for sentence in sentences(text):
        reason = fault(sentence, facts, only)
        if reason is None:
            kept.append(sentence)
        else:
            dropped.append((sentence, reason))
    return Verdict(tuple(kept), tuple(dropped))


def sentences(text: str) -> list[str]:
    """Divide a text; ends of sentences inside of quotes divide nothing."""
    hidden: list[str] = []

    def hide(found: re.Match[str]) -> str:
        hidden.append(found[0])
        return f"\x00{len(hidden) - 1}\x00"

    covered = QUOTED.sub(hide, text.replace("\x00", " "))
    parts = [part.strip() for part in ENDS.split(covered) if part.strip()]
    return [re.sub(r"\x00(\d+)\x00", lambda found: hidden[int(found[1])], part) for part in parts]


def fault(sentence: str, facts: Facts, only: str | None = None) -> str | None:
    """Return why a sentence is not borne out; ``None``: it is."""
    if len(sentence) > LONGEST or not sentence.isprintable():
        return "too long, or not of printable characters"
    try:
        told = _Reader(facts, only).read(sentence)
    except _NotBorneOut as error:
        return str(error)
    return None if told else "names nothing of the profile"


def query_fault(query: str, facts: Facts, plain: frozenset[str] = JOINTS) -> str | None:
    """Return why a search is not borne out: it may name likes and interests, and nothing else."""
    if not 0 < len(query) <= LONGEST_QUERY or not query.isprintable():
        return "empty, too long, or not of printable characters"
    tokens, place, told = [singular(one) for one in TOKEN.findall(query.lower())], 0, 0
    raw = TOKEN.findall(query.lower())
    while place < len(tokens):
        name = longest_name(tokens, place, facts.searchable)
        if name:
            place, told = place + len(name), told + 1
        elif raw[place] in plain or raw[place] == facts.noun:
            place += 1
        else:
            return f"{raw[place]!r} is of no like or interest"
    return None if told else "names nothing of the profile"


def longest_name(tokens: Sequence[str], place: int, names: dict[Name, set[str]]) -> Name | None:
    """Return the longest name that begins at a place of tokens in the singular; marks within it do not matter."""
    best = max((len(name) for name in names), default=0)
    for length in range(min(best, len(tokens) - place), 0, -1):
        if (name := tuple(tokens[place : place + length])) in names:
            return name
    return None


class _NotBorneOut(Exception):
    """Why."""


class _Reader:
    """Reads one sentence; knows which polarity the words so far have announced."""

    def __init__(self, facts: Facts, only: str | None) -> None:
        self.facts, self.only = facts, only
        self.names = facts.names
        self.told = 0
        self._begin()

    def _begin(self) -> None:
        """A new clause: nothing is announced, nothing waits to be."""
        self.way: str | None = None
        self.waiting: list[set[str]] = []
        self.last: set[str] = set()
        self.gap: list[str] | None = None  # words since the last concept
        self.lately = self.turn = None

    def read(self, sentence: str) -> int:
        """Return how many concepts it names.

        Raises:
            _NotBorneOut: it says what the profile does not.
        """
        quotes: list[str] = []

        def hide(found: re.Match[str]) -> str:
            quotes.append(found[1])
            return f" \x00{len(quotes) - 1}\x00 "

        text = QUOTED.sub(hide, unicodedata.normalize("NFKC", sentence.replace("\x00", " ")))
        raw = [one if one.startswith("\x00") else one.lower() for one in TOKEN.findall(text)]
        commas = [place for place, one in enumerate(raw) if one == ","]
        listed = {place - rank for rank, place in enumerate(commas)}  # where a comma stood, once they are taken out
        raw = [one for one in raw if one != ","]  # names have some, too
        tokens = [one if one.startswith("\x00") else singular(one) for one in raw]
        place = 0
        while place < len(raw):
            if place in listed and self.gap is not None:
                self.gap.append(",")
            name = longest_name(tokens, place, self.names)
            if raw[place].startswith("\x00"):
                self._quote(quotes[int(raw[place].strip("\x00"))])
            elif name:
                self._concept(self.names[name], " ".join(name))
            else:
                self._word(raw[place])
            place += len(name) if name else 1
        self._end()
        return self.told

    def _word(self, word: str) -> None:
        if word in LIKE or word in DISLIKE:
            self._announce("like" if word in LIKE else "dislike")
        elif word in ("lately", "recently"):
            self.lately = True
        elif word in ("more", "less") and self.lately:
            self.turn = word == "more"
        elif word in RATING:
            self._rating(word)
        elif word in BREAKS:
            self._end()
        elif word not in PLAIN and word not in MARKS and word != self.facts.noun:
            raise _NotBorneOut(f"{word!r} is not of the profile")
        if self.gap is not None:
            self.gap.append(word)

    def _rating(self, word: str) -> None:
        """``rates … lower than the rest``: what was named waits for the word that says which way."""
        if word in ("rate", "rates", "rated"):
            self.way = None
        elif word in ("lower", "higher"):
            if not self.waiting:
                raise _NotBorneOut(f"{word!r} compares what was not measured")
            self._announce("dislike" if word == "lower" else "like")
            self.way = None

    def _announce(self, way: str) -> None:
        for keys in self.waiting:
            self._agree(keys, way)
        self.waiting, self.way = [], way

    def _agree(self, keys: set[str], way: str) -> None:
        if not any(way in self.facts.polarity.get(key, ()) for key in keys):
            raise _NotBorneOut(f"{sorted(keys)[0]} is not told as a {way}")

    def _concept(self, keys: set[str], name: str) -> None:
        if self.only is not None and self.only not in keys:
            raise _NotBorneOut(f"{name!r} is another statement's")
        if self.turn is not None:
            if not any(self.facts.turns.get(key) is self.turn for key in keys):
                raise _NotBorneOut(f"{name!r} is not taken {'more' if self.turn else 'less'} lately")
        elif self.way is None:
            self.waiting.append(keys)
        else:
            self._agree(keys, self.way)
        if self._touches() and not any(self.facts.together(one, other) for one in self.last for other in keys):
            raise _NotBorneOut(f"no items are cited for {name!r} together with what is told before it")
        self.last, self.gap, self.told = keys, [], self.told + 1

    def _touches(self) -> bool:
        """Return whether what comes now is told of the same items as what came before: ``horror of the 1980s``."""
        if not self.last or self.gap is None:
            return False
        joint = bool({"of", "about", "from"} & set(self.gap)) and set(self.gap) <= JOINTS - {"and"}
        return joint or not self.gap

    def _quote(self, text: str) -> None:
        """A title, of the evidence of what was named just before or of a neighbourhood; or a concept in quotes."""
        words = words_of(text)
        if words in self.names:
            return self._concept(self.names[words], text)
        groups = {one.statement.concept for one in self.facts.all if one.kind == "neighbours"}
        around = {key for key in groups if words in self.facts.titles([key])}
        if words in self.facts.titles(self.last):
            return None
        if not around:
            raise _NotBorneOut(f"“{text[:40]}” is not cited for what is told")
        self.last = set()  # titles of a neighbourhood follow each other without being one
        return self._concept(around, text)

    def _end(self) -> None:
        if self.waiting:
            raise _NotBorneOut("does not say whether that is liked or disliked")
        if self.lately and self.turn is None:
            raise _NotBorneOut("does not say which way it turned")
        self._begin()
