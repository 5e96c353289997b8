"""From an item and a taste to the words of a prompt, for generators that read one. Texts are anybody's: not trusted."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from recsys.profiles.matching import singular
from recsys.profiles.stopwords import STOP
from recsys.visuals.keywords import PEOPLE, SENTENCE, WORD
from recsys.visuals.request import VisualItem, VisualTaste
from recsys.visuals.taste import nearest

TITLE, LONGEST, READ = 120, 40, 4000  # letters of a title, of a keyword, and of a text that are read
GENRES = re.compile(r"\bgenres?: ([^.]*)", re.IGNORECASE)
NAMES = re.compile(rf"\b(?:{'|'.join(sorted(PEOPLE))})s?: [^.]*", re.IGNORECASE)


def plain(text: str, most: int) -> str:
    """Return a text as one line of at most ``most`` letters, none of them a control character."""
    shown = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in text[: 4 * most])
    return " ".join(shown.split())[:most].strip()


def title(item: VisualItem) -> str:
    """Return an item's title as it may stand in a prompt."""
    return plain(item.title, TITLE)


def own_words(item: VisualItem, most: int) -> list[str]:
    """Return an item's own keywords: genres first, at most half, then what its text says most often.

    Names are left out as far as one text tells them: what it writes with a capital that begins no sentence, and those
    who act or direct.
    """
    told = plain(item.text, READ)
    told = NAMES.sub(" ", told.removeprefix(title(item)))
    genres = [plain(one.lower(), LONGEST) for found in GENRES.findall(told) for one in found.split(",")]
    genres = list(dict.fromkeys(filter(None, genres)))[: (most + 1) // 2]
    words = [one for part in SENTENCE.split(GENRES.sub(" ", told)) for one in WORD.finditer(part)]
    names = {one.group().lower() for one in words if one.start() and not one.group().islower()}
    known = names | STOP | set(genres)
    counts = Counter(one.group() for one in words if one.group().islower())
    prose = [word for word, _ in counts.most_common() if not {word, singular(word)} & known]
    return [*genres, *prose][:most]


def taste_words(taste: VisualTaste, dial: float, most: int, least: float) -> dict[str, float]:
    """Return the keywords of a taste, the heaviest first, with weights times the dial; none is below ``least``."""
    found: dict[str, float] = {}
    for word, weight in sorted(taste.keywords, key=lambda one: -one[1]):
        found.setdefault(plain(word, LONGEST), round(float(weight) * dial, 4))
    kept = [(word, weight) for word, weight in found.items() if word and weight >= least and weight > 0]
    return dict(kept[:most])


def filled(template: str, item: VisualItem, words: Sequence[str]) -> str:
    """Return a template with ``{title}`` and ``{words}`` filled in; what is empty leaves no commas behind."""
    text = template.format(title=title(item), words=", ".join(dict.fromkeys(words)))
    return re.sub(r"(?:,\s*)+", ", ", text).strip(" ,")


def nearest_pictures(target: VisualItem, taste: VisualTaste, most: int) -> list[VisualItem]:
    """Return the items of a history with pictures that are most like the target by text, of equals the latest first.

    Vectors that are not known are not made: such items come last.
    """
    past = [one for one in reversed(taste.history) if one.picture is not None]
    own = target.vectors.get("minilm")
    if own is None or not past:
        return past[:most]
    unknown = np.full(len(own), np.nan)
    texts = np.stack([one.vectors.get("minilm", unknown) for one in past])
    return [past[place] for place in nearest(own, texts, most)]
