"""Profiles as one page that carries everything in itself: no scripts, nothing fetched, all text escaped."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.core.amounts import amount
from recsys.items.images import ImageFault, decode, read_bytes
from recsys.profiles.schema import Statement, Support, UserProfile
from recsys.profiles.telling import percent

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATE = "profiles.html.jinja"
WIDTH, HEIGHT, QUALITY = 112, 168, 72  # of embedded thumbnails
# XML allows no other control characters, and a text that turns its reading direction must not turn the page's.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]")
SHADOWED = 5  # statements of a kind that are shown before "more"
ORIGINS = {
    "behaviour": "from what is taken together",
    "text": "from what is written about the items",
    "image": "from the pictures",
    "user-stated": "stated by the user",
}


@dataclass(frozen=True)
class Shelf:
    """Statements of one polarity, those shown at once and the rest."""

    title: str
    shown: Sequence[Statement]
    more: Sequence[Statement]


def profile_page(
    profiles: UserProfile | Sequence[UserProfile],
    *,
    pictures: Callable[[str], str | None] | None = None,
    title: str | None = None,
) -> str:
    """Return a whole HTML page.

    Args:
        profiles: one or many.
        pictures: the path of an item's picture by its id; small copies are put into the page. Without it, or where a
            picture cannot be read, titles stand alone.
        title: of the page; default: whose profile it is.
    """
    many = [profiles] if isinstance(profiles, UserProfile) else list(profiles)
    default = f"Profile of {whose(many[0])}" if len(many) == 1 else amount(len(many), "profile")
    shown = cache(lambda item_id: thumbnail(pictures(item_id)) if pictures else None)
    view = {
        "title": title or default,
        "profiles": [(number, one, shelves(one)) for number, one in enumerate(many, start=1)],
        "whose": whose,
        "picture": shown,
        "bar": _bar,
        "origins": ORIGINS,
    }
    return _environment().get_template(TEMPLATE).render(view)


def whose(profile: UserProfile) -> str:
    """Return who a profile is of."""
    return "somebody new" if profile.user_id is None else f"user {profile.user_id}"


def shelves(profile: UserProfile) -> list[Shelf]:
    """Return likes, dislikes and what is never shown, those that are there."""
    parts = {
        "Likes": [one for one in profile.statements if one.polarity == "like" and not one.forbidden],
        "Dislikes": [one for one in profile.statements if one.polarity == "dislike" and not one.forbidden],
        "Never shown": [one for one in profile.statements if one.forbidden],
    }
    return [Shelf(name, own[:SHADOWED], own[SHADOWED:]) for name, own in parts.items() if own]


def thumbnail(path: str | None) -> str | None:
    """Return a small copy of a picture as a ``data:`` URI; ``None`` where there is none that can be read."""
    if not path:
        return None
    try:
        picture = decode(read_bytes(path))
    except ImageFault:
        return None
    picture.thumbnail((2 * WIDTH, 2 * HEIGHT))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _bar(support: Support, uid: str) -> Markup:
    """Draw an interval as SVG: a tick where popularity, or the user's mean, lies, a dot for what was observed."""
    from markupsafe import Markup

    share = support.kind == "share"
    top = min(1.0, 1.2 * max(support.high, support.expected)) if share else max(5.0, support.high, support.expected)
    at = lambda value: f"{100 * min(max(value / max(top, 1e-9), 0), 1):.2f}%"  # noqa: E731
    tell = (lambda value: f"{100 * value:.1f} %") if share else (lambda value: f"{value:.2f}")
    said = (
        f"observed {tell(support.observed)}, interval {tell(support.low)} to {tell(support.high)}, "
        f"expected {tell(support.expected)}"
    )
    return Markup(
        '<svg class="bar" role="img" aria-labelledby="{uid}" height="18"><title id="{uid}">{said}</title>'
        '<line class="base" x1="0" x2="100%" y1="9" y2="9"/>'
        '<line class="interval" x1="{low}" x2="{high}" y1="9" y2="9"/>'
        '<line class="expected" x1="{expected}" x2="{expected}" y1="2" y2="16"/>'
        '<circle cx="{observed}" cy="9" r="4.5"/></svg>'
    ).format(
        uid=uid, said=said, low=at(support.low), high=at(support.high), expected=at(support.expected),
        observed=at(support.observed),
    )  # fmt: skip


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": _number}
    return environment


def _printable(value: Any) -> Any:
    return UNPRINTABLE.sub("", value) if type(value) is str else value


def _number(value: float, support: Support) -> str:
    if not math.isfinite(value):
        return "–"
    return percent(value) if support.kind == "share" else f"{value:.1f}"
