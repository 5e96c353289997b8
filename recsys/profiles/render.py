"""A profile as plain text for the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence

from recsys.core.amounts import amount
from recsys.profiles.schema import Evidence, Statement, Support, UserProfile

BAR = 20  # characters of an interval


def profile_text(profile: UserProfile, *, width: int | None = None) -> str:
    """Return a profile for reading.

    Args:
        profile: what is told.
        width: characters of a line; default: the terminal's, at most 100.
    """
    width = width or max(40, min(100, shutil.get_terminal_size((100, 24)).columns))
    return "\n".join(part for block in _blocks(profile) for part in _wrapped(block, width)).rstrip()


def _blocks(profile: UserProfile) -> Iterator[tuple[int, str]]:
    """Yield lines with their indent."""
    whose = f"user {profile.user_id}" if profile.user_id is not None else "somebody new"
    yield 0, f"Profile of {whose}, from {amount(profile.origin.history, 'item')}"
    yield 0, ""
    yield 0, profile.summary
    for title, polarity in (("Likes", "like"), ("Dislikes", "dislike")):
        chosen = [one for one in profile.statements if one.polarity == polarity]
        yield from _section(title, bool(chosen))
        for one in chosen:
            yield from _statement(one)
    yield from _section("Interests", bool(profile.interests))
    for one in profile.interests:
        yield 2, f"{one.share:>4.0%}  {one.name}"
        yield 8, f"such as {_titles(one.examples)}"
    yield from _section("Lately", bool(profile.changes))
    for one in profile.changes:
        yield 2, one.text
    visual = profile.visual
    yield from _section("Pictures", bool(visual.palette or visual.style))
    if visual.palette:
        yield 2, "colours " + ", ".join(f"{one.hex} {one.share:.0%}" for one in visual.palette)
    for style in visual.style:
        yield 2, style
    yield from _section("Searches that would find more", bool(profile.queries))
    for query in profile.queries:
        yield 2, query


def _section(title: str, there: bool) -> Iterator[tuple[int, str]]:
    if there:
        yield 0, ""
        yield 0, title


def _statement(one: Statement) -> Iterator[tuple[int, str]]:
    marks = [name for name, on in (("locked", one.locked), ("never shown", one.forbidden)) if on]
    yield 2, f"{one.text}"
    told = [f"{one.concept}", f"weight {one.weight:.2f}", one.modality, *marks, f"id {one.id}"]
    yield 4, " · ".join(told)
    if one.support is not None:
        yield 4, _interval(one.support)
    if one.evidence:
        yield 4, f"from {_titles(one.evidence)}"


def _interval(support: Support) -> str:
    """Draw the interval: ``│`` is what was to be expected, ``●`` what was observed."""
    top = 5.0 if support.kind == "rating" else max(support.high, support.expected) * 1.15
    place = lambda value: min(BAR - 1, max(0, round(value / max(top, 1e-9) * (BAR - 1))))  # noqa: E731
    line = ["·"] * BAR
    for position in range(place(support.low), place(support.high) + 1):
        line[position] = "─"
    line[place(support.expected)] = "│"
    line[place(support.observed)] = "●"
    return f"{''.join(line)}  {bounds(support)}"


def bounds(support: Support) -> str:
    """Return the interval in numbers, and what was to be expected."""
    if support.kind == "rating":
        return f"{support.low:.1f} … {support.high:.1f}, expected {support.expected:.1f}"
    return f"{support.low:.1%} … {support.high:.1%}, expected {support.expected:.1%}"


def _titles(evidence: Sequence[Evidence], most: int = 4) -> str:
    dated = [f"{one.title}{f' [{one.date}]' if one.date else ''}" for one in evidence[:most]]
    return "; ".join(dated) + (f" and {len(evidence) - most} more" if len(evidence) > most else "")


def _wrapped(block: tuple[int, str], width: int) -> list[str]:
    indent, text = block
    if not text:
        return [""]
    head, more = " " * indent, " " * (indent + 2 if indent == 8 else indent)
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=more, break_long_words=False) or [""]
