"""The errors a user may meet: each names the thing, the cause and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RecsysError(Exception):
    """A mistake or a fault that the user can do something about.

    The command line prints it without a traceback and exits with status 2.

    Args:
        thing: what failed, by name (a file, a column, a setting).
        cause: why it failed.
        remedy: what to do about it.
    """

    def __init__(self, thing: str, cause: str, remedy: str) -> None:
        self.thing, self.cause, self.remedy = thing, cause, remedy
        super().__init__(f"{thing}: {cause}. {remedy}")

    def __reduce__(self) -> tuple:
        """Make it anew from its three parts in another process; notes go along."""
        return type(self), (self.thing, self.cause, self.remedy), self.__dict__


class ConfigError(RecsysError):
    """A setting that is unknown, of the wrong type or out of range."""


class DataError(RecsysError):
    """An input table, feature file or picture that cannot be used."""


class DownloadError(RecsysError):
    """A file that could not be fetched or whose checksum is wrong."""


class ArtifactError(RecsysError):
    """An artifact that is missing, damaged or cannot be written."""


class BusyError(ArtifactError):
    """A place that others held for too long, or a server out of reach: trying again may help."""


class EncoderError(RecsysError):
    """An item encoder whose model cannot be loaded, or whose vectors cannot be used."""


class RankerError(RecsysError):
    """A ranker that cannot be fitted or that gives scores that cannot be used."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"Did you mean 'x'?"`` or the list of the known names."""
    names = sorted(known)
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {by_lower[close[0]]!r}?"
    return "Known: " + names_in_words(names, most=40)


def names_in_words(names: Iterable[str], most: int = 12) -> str:
    """Return names one after the other, long ones and long lists cut, what cannot be printed escaped."""
    names = list(names)
    shown = [(name if name.isprintable() else ascii(name)[1:-1]) or "''" for name in names[:most]]
    shown = [name if len(name) <= 40 else f"{name[:40]}…" for name in shown]
    return ", ".join(shown) + (f" and {len(names) - most:,} more" if len(names) > most else "")
