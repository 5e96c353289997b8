"""What of an item is read: one line of text from its title, text and attributes."""

from __future__ import annotations

import polars as pl

UNTOLD = ("year:", "price:")  # numbers say little to a sentence encoder


def item_texts(items: pl.DataFrame) -> list[str]:
    """Return one text an item (columns of ``ITEM_SCHEMA``); empty where nothing is known of it.

    Attributes are told as plain words: ``genre:Comedy`` becomes ``genre: Comedy``.
    """
    return [
        _one(title, text, attributes)
        for title, text, attributes in items.select("title", "text", "attributes").iter_rows()
    ]


def _one(title: str | None, text: str | None, attributes: list[str] | None) -> str:
    told: dict[str, list[str]] = {}
    for attribute in attributes or ():
        kind, _, value = attribute.partition(":")
        if not attribute.startswith(UNTOLD) and value:
            told.setdefault(kind, []).append(value)
    parts = [text] if text and text.startswith(title or "") else [title or "", text or ""]
    if not text:  # sources often tell the attributes in the text already
        parts += [f"{kind}: {', '.join(values)}" for kind, values in told.items()]
    return ". ".join(part.strip().rstrip(".") for part in parts if part.strip())
