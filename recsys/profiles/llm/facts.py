"""What a profile bears out: its concepts by name, each with its polarity and the titles that it rests on."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from recsys.profiles.concepts import Concept, Concepts
from recsys.profiles.llm.untrusted import plain, quoted, title_words
from recsys.profiles.matching import SAID, singular
from recsys.profiles.naming import joined
from recsys.profiles.schema import Polarity, Statement, UserProfile

WORD = re.compile(r"\w+(?:[-'’&+/]\w+)*")
SHARED = 3  # items that both of two concepts must cite to be told as one: “horror of the 1980s”
Name = tuple[str, ...]


def words_of(text: str) -> Name:
    """Return words as they are compared: lower case, singular."""
    return tuple(singular(word) for word in WORD.findall(unicodedata.normalize("NFKC", text).lower()))


@dataclass(frozen=True)
class Fact:
    """One statement as a sentence may tell it.

    Attributes:
        statement: of the profile.
        kind: of its concept.
        phrase: how a sentence names its items.
        words: how a search names them; empty where only titles would.
        titles: of its evidence, as compared.
    """

    statement: Statement
    kind: str
    phrase: str
    words: str
    titles: frozenset[Name]

    @property
    def polarity(self) -> Polarity:
        return self.statement.polarity

    @property
    def items(self) -> frozenset[str]:
        return frozenset(one.item_id for one in self.statement.evidence)


@dataclass(frozen=True)
class Facts:
    """All that may be told of one user.

    Args:
        profile: built from evidence alone.
        concepts: that it was built with; names come from there.
        noun: what the items are, in the plural.
    """

    profile: UserProfile
    concepts: Concepts | None
    noun: str = "items"

    @cached_property
    def known(self) -> Mapping[str, Concept]:
        return {one.key: one for one in self.concepts.all} if self.concepts is not None else {}

    @cached_property
    def all(self) -> tuple[Fact, ...]:
        """One fact a statement that counts, in the profile's order."""
        return tuple(self._fact(one) for one in self.profile.statements if one.weight > 0)

    def liked(self) -> list[Fact]:
        return [one for one in self.all if one.polarity == "like"]

    def disliked(self) -> list[Fact]:
        return [one for one in self.all if one.polarity == "dislike"]

    def _fact(self, one: Statement) -> Fact:
        kind = one.concept.partition(":")[0]
        titles = frozenset(words_of(title_words(each.title)) for each in one.evidence)
        return Fact(one, kind, self.phrase(one), self.words(one.concept), titles)

    def phrase(self, one: Statement) -> str:
        """Return how a sentence names a statement's items."""
        if one.concept.startswith("neighbours:"):
            return (
                f"{self.noun} that others take along with {joined([quoted(each.title) for each in one.evidence[:2]])}"
            )
        concept = self.known.get(one.concept)
        if one.concept.startswith("term:"):
            return f"{self.noun} about “{self.words(one.concept)}”"
        text = plain(concept.phrase if concept else self.words(one.concept))
        return re.sub(r"^items\b", self.noun, text)

    def words(self, key: str) -> str:
        """Return a concept's name for searches; empty for what only titles or looks tell."""
        kind, _, value = key.partition(":")
        concept = self.known.get(key)
        if concept is not None:
            return plain(concept.words)
        return "" if kind in ("neighbours", "pictures") else plain(value)

    # -- what counts as naming a concept -----------------------------------------------------------------------

    @cached_property
    def names(self) -> dict[Name, set[str]]:
        """Concepts that statements and changes are about, by each way of naming them; titles are not among these."""
        keys = [*(one.concept for one in self.profile.statements), *(one.concept for one in self.profile.changes)]
        return self._named(keys)

    @cached_property
    def searchable(self) -> dict[Name, set[str]]:
        """What searches may name: likes, and what interests are about."""
        disliked = {one.statement.concept for one in self.disliked()}
        keys = [
            *(one.statement.concept for one in self.liked()),
            *(key for i in self.profile.interests for key in i.concepts),
        ]
        return self._named(key for key in keys if key not in disliked)

    def _named(self, keys: Iterable[str]) -> dict[Name, set[str]]:
        found: dict[Name, set[str]] = {}
        for key in dict.fromkeys(keys):
            if key.startswith("neighbours:"):
                continue  # named by its titles
            concept = self.known.get(key)
            value = key.removeprefix(SAID) if key.startswith(SAID) else key.partition(":")[2]
            told = [self.words(key), plain(value)] if not key.startswith("pictures:") else []
            if concept is not None:
                told.append(re.sub(r"^items (?:with|about|of|for) ", "", plain(concept.phrase)))
            for name in {words_of(text) for text in told} - {()}:
                found.setdefault(name, set()).add(key)
        return found

    @cached_property
    def polarity(self) -> dict[str, set[Polarity]]:
        """What the statements about each concept say."""
        found: dict[str, set[Polarity]] = {}
        for one in self.profile.statements:
            found.setdefault(one.concept, set()).add(one.polarity)
        return found

    @cached_property
    def turns(self) -> dict[str, bool]:
        """Concepts that are taken more (true) or less lately."""
        return {one.concept: one.lately > one.before for one in self.profile.changes}

    def titles(self, keys: Iterable[str]) -> set[Name]:
        """Return the titles that statements and changes about these concepts cite."""
        wanted = set(keys)
        cited = [one for one in (*self.profile.statements, *self.profile.changes) if one.concept in wanted]
        return {words_of(title_words(each.title)) for one in cited for each in one.evidence}

    def together(self, one: str, other: str) -> bool:
        """Return whether enough items are cited for both concepts, or an interest is about both."""
        if any({one, other} <= set(interest.concepts) for interest in self.profile.interests):
            return True
        cited = [
            {e.item_id for s in self.profile.statements if s.concept == key for e in s.evidence} for key in (one, other)
        ]
        return len(cited[0] & cited[1]) >= SHARED
