"""Numbers of things, as messages for people say them."""

from __future__ import annotations


def amount(n: int, noun: str, plural: str | None = None) -> str:
    """Return ``"1 user"`` or ``"1,234 users"``; a noun whose plural is no ``s`` more comes with it."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"
