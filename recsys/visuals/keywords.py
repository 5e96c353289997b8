"""Keywords: what somebody likes and what an item is, in words a picture can be made from (PMG's explicit half).

Those of the taste come from the statements of a profile, each with the statement that it rests on, so that an edit of
the profile is an edit of the picture. Those of the item come from its attributes and from the telling words of its
text. Names of people are left out of both: a picture shall not be made of somebody.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.profiles.colours import LOOKS
from recsys.profiles.concepts import Concepts
from recsys.profiles.matching import SAID, content_words, singular
from recsys.profiles.schema import Statement, UserProfile
from recsys.profiles.stopwords import STOP
from recsys.visuals.looks import spoken

MOST = 8  # keywords of a taste, and of an item
SEEN = 2  # of them are kept for what pictures look like, where the profile says anything of it
WEAK = 0.3  # weight of a statement from which on its keyword may be as strong as any
LONGEST = 40  # letters of what a person said
LEAST = 3  # items that must have a word of prose
STEADY = 20  # items of a word from which on the likeness of their pictures can be believed
PEOPLE = frozenset(["actor", "artist", "author", "cast", "director", "performer", "star", "writer"])
LOOK_WORDS = frozenset(word for pair in LOOKS for word in pair)
WORD = re.compile(r"[^\W\d_]{3,24}")
SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n+")


@dataclass(frozen=True)
class Keyword:
    """One keyword.

    Attributes:
        words: what is drawn.
        weight: how much, above 0 and at most 1.
        concept: that it stands for, such as ``genre:Drama`` or ``text``.
        statement: id of the profile's statement; empty for an item's own.
        modality: of that statement.
    """

    words: str
    weight: float
    concept: str
    statement: str = ""
    modality: str = "text"


def preference_keywords(profile: UserProfile, concepts: Concepts, most: int = MOST) -> tuple[Keyword, ...]:
    """Return the keywords of what somebody likes, the strongest first.

    What is disliked or forbidden is never among them, whichever statement would bring it. Statements about pictures
    have places of their own, so that stronger ones about genres or years do not crowd them out.

    Args:
        profile: with its edits.
        concepts: that it was built with.
        most: keywords.
    """
    likes = [one for one in profile.statements if _liked(one)]
    barred = {word for one in profile.statements if not _liked(one) for word in _barred(one, concepts)}
    top = max((one.weight for one in likes), default=0.0)
    found: dict[str, Keyword] = {}
    for one in sorted(likes, key=lambda one: -one.weight):
        weight = round(min(1.0, one.weight / max(top, WEAK)), 4)
        for words in _words_of(one, concepts):
            if not barred & {words, *_stems(words)}:
                found.setdefault(words, Keyword(words, weight, one.concept, one.id, one.modality))
    return _placed(list(found.values()), most)


def _liked(statement: Statement) -> bool:
    return statement.polarity == "like" and statement.weight > 0 and not statement.forbidden


def _barred(statement: Statement, concepts: Concepts) -> set[str]:
    """Return the words that a dislike keeps out; one that counts nothing keeps out nothing."""
    if not statement.forbidden and (statement.polarity == "like" or not statement.weight):
        return set()
    words = _words_of(statement, concepts)
    return set(words) if statement.modality == "image" else {stem for one in words for stem in (one, *_stems(one))}


def _placed(found: Sequence[Keyword], most: int) -> tuple[Keyword, ...]:
    seen = [one for one in found if one.modality == "image"][: min(SEEN, most)]
    others = [one for one in found if one not in seen][: most - len(seen)]
    return tuple(one for one in found if one in seen or one in others)


def _words_of(statement: Statement, concepts: Concepts) -> list[str]:
    """Return the keywords of one statement; none where its concept has no words, such as a neighbourhood of items."""
    key = statement.concept
    if key.startswith(SAID):
        said = " ".join(content_words(key.removeprefix(SAID)))[:LONGEST].strip()
        return [said] if said else []
    column = concepts.place.get(key)
    if column is None or key.partition(":")[0] in PEOPLE:
        return []
    concept = concepts.all[column]
    return _looks_of(concept.phrase) if concept.modality == "image" else [concept.words] if concept.words else []


def _looks_of(phrase: str) -> list[str]:
    """Return what pictures of a group look like; where nothing stands out, what else they share."""
    look, _, shared = phrase.partition(", like those of ")
    looks = [spoken(word) for word in re.findall(r"[\w-]+", look) if word in LOOK_WORDS]
    return looks or [name for name in re.split(r", | and ", re.sub(r" \(\d+\)$", "", shared)) if name]


def _stems(words: str) -> set[str]:
    return {singular(word) for word in re.findall(r"[\w-]+", words.lower())}


class Lexicon:
    """What the texts of a catalogue tell of words: whether one is a name, how rare it is, and whether it can be seen.

    Args:
        items: the item table.
        pictures: centred picture vectors of length 1, ``[n_items, dim]``, zeros where there is none.
    """

    def __init__(self, items: pl.DataFrame, pictures: np.ndarray | None = None) -> None:
        self.n_items, self.pictures = len(items), pictures
        self._items: dict[str, list[int]] = defaultdict(list)  # that have a word
        self._small: Counter[str] = Counter()  # times it is written small, and with a capital where none was needed
        self._large: Counter[str] = Counter()
        for row, (title, text) in enumerate(items.select("title", "text").iter_rows()):
            inner = _words(title, text)
            self._small.update(word for word in inner if word.islower())
            self._large.update(word.lower() for word in inner if not word.islower())
            for word in dict.fromkeys(word.lower() for word in inner):
                self._items[word].append(row)

    def name_like(self, word: str) -> bool:
        """Return whether a word is a name as far as these texts tell: more often written with a capital than small."""
        low = word.lower()
        return self._large[low] > self._small[low] or (not word.islower() and not self._small[low])

    def rarity(self, word: str) -> float:
        """Return how much a word tells, from 0 (all items have it, or hardly any) to 1."""
        count = len(self._items.get(word.lower(), ()))
        if count < min(LEAST, self.n_items):
            return 0.0
        return math.log(self.n_items / count) / max(math.log(self.n_items), 1e-9)

    def seen(self, word: str) -> float:
        """Return how alike the pictures of a word's items are: their mean cosine, drawn to 0 where they are few.

        What words such as ``submarine`` mean can be seen, of ``circumstances`` it cannot. 1 for all without pictures.
        """
        if self.pictures is None:
            return 1.0
        rows = self.pictures[self._items.get(word.lower(), [])]
        rows = rows[rows.any(axis=1)].astype(np.float64)
        n = len(rows)
        if n < 2:
            return 0.0
        cosine = (float(np.square(rows.sum(axis=0)).sum()) - n) / (n * (n - 1))  # mean over pairs
        return max(cosine, 0.0) * n / (n + STEADY)


def target_keywords(item: Mapping[str, object], lexicon: Lexicon, most: int = MOST) -> tuple[Keyword, ...]:
    """Return the keywords of an item: its attributes, at most half of them, then words of its text that can be seen.

    Words rank by how rare they are times how alike the pictures of their items are; the weight is 1 for the first.

    Args:
        item: a row of the item table.
        lexicon: of the catalogue.
        most: keywords.
    """
    title, text, attributes = (item.get(name) for name in ("title", "text", "attributes"))
    known, half = _attributes(attributes or (), lexicon), max(1, most // 2)
    times = [one for one in known if one.concept.startswith("year:")][:1]
    plain = [one for one in known if one not in times][: half - len(times)]
    found = {one.words: one for one in (*plain, *times)}
    told = {stem for words in found for stem in _stems(words)}
    prose = Counter(
        word
        for word in _words(title, text)
        if word.islower() and not {word, singular(word)} & (STOP | told) and not lexicon.name_like(word)
    )
    scores = {word: lexicon.rarity(word) * lexicon.seen(word) * (1 + math.log(count)) for word, count in prose.items()}
    order = sorted((word for word in scores if scores[word] > 0), key=lambda word: (-scores[word], word))
    for word in order[: most - len(found)]:
        found[word] = Keyword(word, round(scores[word] / scores[order[0]], 4), "text")
    return tuple(found.values())


def _attributes(attributes: Sequence[str], lexicon: Lexicon) -> list[Keyword]:
    """Return attributes as words, genres first; years as decades, other numbers not at all."""
    found = []
    for attribute in dict.fromkeys(attributes):
        kind, _, value = attribute.partition(":")
        value = value.strip()[:LONGEST]
        if kind == "year" and value.isdecimal():
            found.append(Keyword(f"{int(value) // 10 * 10}s", 1.0, attribute))
        elif value and kind not in PEOPLE and not _number(value) and not _person(kind, value, lexicon):
            found.append(Keyword(value.lower(), 1.0, attribute))
    return sorted(found, key=lambda one: not one.concept.startswith("genre:"))


def _number(value: str) -> bool:
    return not any(letter.isalpha() for letter in value)


def _person(kind: str, value: str, lexicon: Lexicon) -> bool:
    """Return whether a value of several words reads like somebody's name."""
    words = WORD.findall(value)
    return kind != "genre" and len(words) > 1 and any(lexicon.name_like(word) for word in words)


def _words(title: object, text: object) -> list[str]:
    """Return the words of a text as they are written, but for those whose capital only begins a sentence.

    The title and the genres that sources put before a text are left out.
    """
    plain = str(text or "")
    plain = plain.removeprefix(str(title)) if title else plain
    plain = re.sub(r"\bGenres: [^.]*\.", " ", plain)
    found = (each for sentence in SENTENCE.split(plain) for each in WORD.finditer(sentence))
    return [each.group() for each in found if each.start() or each.group().islower()]
