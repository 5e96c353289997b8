"""What edits may name: concepts, any attribute that items have, and words."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from recsys.items.attributes import Attribute, attribute_key
from recsys.profiles.concepts import Concept, Concepts
from recsys.profiles.matching import SAID, content_words


@dataclass(frozen=True)
class Names:
    """What an edit may name.

    Attributes:
        concepts: of profiles.
        attributes: all that items have, by ``attribute_key``.
        finds: says whether free words mean any item (``Matcher.finds``); words that mean none are then refused.
    """

    concepts: Concepts
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    finds: Callable[[str], bool] | None = None

    def phrase(self, key: str) -> str:
        """Return how a sentence names what a statement is about."""
        column = self.concepts.place.get(key)
        if column is not None:
            return self.concepts.all[column].phrase
        return key.removeprefix(SAID) if key.startswith(SAID) else f"items of {key.partition(':')[0]} {_value(key)}"

    def near(self, words: str, n: int = 3) -> list[str]:
        """Return the names that come nearest, nearest first: those with the same value before those spelt alike."""
        keys = {one.key.casefold(): one.key for one in self.concepts.all}
        keys |= {low: one.name for low, one in self.attributes.items() if low not in keys}
        value = _value(words).casefold()
        same = [key for low, key in keys.items() if value and _value(low) == value]
        alike = [keys[one] for one in difflib.get_close_matches(words.casefold(), keys, n=n, cutoff=0.7)]
        return list(dict.fromkeys([*same, *near_concepts(words, self.concepts, n), *alike]))[:n]

    def has_kind(self, kind: str) -> bool:
        """Return whether any concept or attribute is of a kind."""
        start = f"{attribute_key(kind)}:"
        keys = (one.key.casefold() for one in self.concepts.all)
        return any(key.startswith(start) for key in (*keys, *self.attributes))


def find_concept(words: str, concepts: Concepts) -> Concept | None:
    """Return the concept whose key, value or phrase these words are, but for case, plural and words like "films"."""
    if words in concepts.place:
        return concepts.all[concepts.place[words]]
    low, plain = words.casefold(), content_words(words)
    by_key = (one for one in concepts.all if one.key.casefold() == low)
    by_name = (one for one in concepts.all if plain and plain in _names(one))
    return next(by_key, None) or next(by_name, None)


def near_concepts(words: str, concepts: Concepts, n: int = 3) -> list[str]:
    """Return the keys of the concepts whose names come nearest, nearest first; none where nothing comes near."""
    names = {" ".join(name): one.key for one in reversed(concepts.all) for name in _names(one)}
    names |= {one.key.casefold(): one.key for one in concepts.all}
    plain = [" ".join(content_words(words)), words.casefold()]
    close = [name for text in plain for name in difflib.get_close_matches(text, names, n=n, cutoff=0.7)]
    return list(dict.fromkeys(names[name] for name in close))[:n]


def _names(concept: Concept) -> list[list[str]]:
    return [content_words(concept.key.partition(":")[2]), content_words(concept.phrase)]


def _value(name: str) -> str:
    """Return what comes after the kind of an attribute."""
    return name.partition(":")[2].strip()
