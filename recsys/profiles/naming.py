"""Words for people: titles made harmless, lists joined."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 48  # characters of a title within a sentence
YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
ARTICLE = re.compile(r"^(.*), (The|A|An)$")
SENTENCES = re.compile(r"[^\w\s&'’.,:!?/+-]")  # brackets, quotes and markup: nothing that a title ends a sentence with


def clean_title(title: str) -> str:
    """Return a title as one line of printable characters; markup in it stays text."""
    return " ".join("".join(one if one.isprintable() else " " for one in title).split())


def spoken_title(title: str) -> str:
    """Return a title as it stands within a sentence: without year, article in front, no brackets or quotes."""
    bare = YEAR.sub("", clean_title(title))
    bare = re.sub(r"\s*\([^)]*\)", "", bare) or bare  # titles in other languages
    turned = ARTICLE.match(bare)
    text = f"{turned[2]} {turned[1]}" if turned else bare
    text = " ".join(SENTENCES.sub(" ", text).split())
    text = text if len(text) <= LONGEST else head(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + "…"


def head(title: str) -> str:
    """Return what a title begins with, without what follows a colon: the name of a series."""
    return title.partition(":")[0] or title


def of_different_series(titles: Sequence[str], most: int = 2) -> list[str]:
    """Return the first titles, no two of one series."""
    return [title for place, title in enumerate(titles) if head(title) not in map(head, titles[:place])][:most]


def joined(parts: Sequence[str], last: str = "and") -> str:
    """Return ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def capital(text: str) -> str:
    """Return the text with its first letter as a capital, the rest as it is."""
    return text[:1].upper() + text[1:]
