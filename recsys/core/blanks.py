"""What counts as a blank around an id: one rule for tables, files, requests and commands."""

from __future__ import annotations

_WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
_ZERO_WIDTH = "\u200b\u2060\ufeff"  # not U+200C and U+200D, which words of some scripts end with
BLANKS = _WHITE_SPACE + _ZERO_WIDTH  # polars: strip_chars(BLANKS), for strip_chars() leaves what has no width


def trimmed_id(text: str) -> str:
    """Return an id without blanks at its ends: Unicode white space and characters of no width."""
    return text.strip(BLANKS)
