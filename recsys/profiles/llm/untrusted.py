"""Item texts are untrusted: in prompts they are short, quoted data whose quotes cannot be forged."""

from __future__ import annotations

import json
from typing import Any

from recsys.profiles.naming import clean_title, spoken_title

LONGEST = 80  # characters of what stands in a prompt for one title or name
OPEN, CLOSE = "“", "”"
KEPT = set(" &'’.,:!?/+-…")


def plain(text: str, longest: int = LONGEST) -> str:
    """Return one line of letters, digits and harmless marks: no quotes, brackets, control characters or markup."""
    kept = "".join(one if one.isalnum() or one in KEPT else " " for one in clean_title(text))
    return " ".join(kept.split())[:longest].strip()


def title_words(title: str) -> str:
    """Return a title as sentences tell it."""
    return plain(spoken_title(title)) or "untitled"


def quoted(text: str) -> str:
    """Return text between quotes that it cannot close itself."""
    return f"{OPEN}{title_words(text)}{CLOSE}"


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that an answer is, or holds between its first and last brace; ``None``: there is none."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start or len(text) > 100_000:
        return None
    try:
        found = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
