"""What canonicalisation drops or changes, step by step; each step says how many rows and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from time import time as clock

import numpy as np
import polars as pl

from recsys.core.amounts import amount
from recsys.core.errors import DataError
from recsys.core.values import Count, day_of, instants, is_order
from recsys.data.partition import PARTS
from recsys.data.reading.times import in_seconds

# Seconds above this lie beyond the year 11000, milliseconds below it before July 1979: no log is either.
MAX_SECONDS = 300_000_000_000
DAY, IN_1990 = 86_400, 631_152_000
UNITS = (("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9))


@dataclass
class Rows:
    """The interactions on their way to canonical form.

    Attributes:
        name: of the data set, for messages.
        frame: ``row`` (position in the input), ``user_idx``, ``item_idx`` (UInt32), ``rating``,
            ``timestamp``, ``weight`` and, where the source has them, ``nanosecond`` and ``part``; in input order.
        users, items: outside ids by idx, String.
        counts: what was dropped or changed so far.
    """

    name: str
    frame: pl.DataFrame
    users: pl.Series
    items: pl.Series
    counts: list[Count] = field(default_factory=list)

    def label(self, position: int) -> str:
        """Return the words that name one row in messages and examples."""
        row, user, item = self.frame.select("row", "user_idx", "item_idx").row(int(position))
        user = "(none)" if user is None else repr(self.users[user])
        item = "(none)" if item is None else repr(self.items[item])
        return f"input row {row + 1}: user {user}, item {item}"

    def count(self, what: str, mask: pl.Series) -> int:
        """Report the rows of ``mask`` without dropping them; return how many there are."""
        n_rows = int(mask.sum())
        if n_rows:
            self.counts.append(Count(what, n_rows, f"first: {self.label(mask.arg_max())}"))
        return n_rows

    def drop(self, what: str, mask: pl.Series, remedy: str) -> None:
        """Drop and count the rows of ``mask``.

        Raises:
            DataError: nothing is left.
        """
        before = len(self.frame)
        dropped = self.count(f"{what}: dropped", mask)
        if dropped:
            gone, self.frame = self.frame.filter(mask), self.frame.filter(~mask)
            self._count_lost_parts(gone, what)
        if dropped == before:
            raise DataError(
                f"data set {self.name!r}", f"no interactions left: the last {before:,} went as {what}", remedy
            )

    def _count_lost_parts(self, gone: pl.DataFrame, what: str) -> None:
        """Report parts of a given split of which nothing is left."""
        if "part" not in gone.columns:
            return
        for name, label in PARTS:
            n_rows = int((gone["part"] == label).sum())
            if n_rows and not (self.frame["part"] == label).any():
                self.counts.append(
                    Count(f"the {name} part has no interactions left: all dropped", n_rows, f"as {what}")
                )

    def column(self, name: str) -> np.ndarray:
        """Return a column without nulls as an array."""
        return self.frame[name].to_numpy()

    def has(self, name: str) -> bool:
        """Return whether a column is there and not entirely null."""
        return name in self.frame.columns and self.frame[name].null_count() < len(self.frame)


def drop_unusable(rows: Rows) -> None:
    """Drop rows without ids and rows whose rating, weight or time is no number."""
    frame = rows.frame
    rows.drop(
        "interactions without a user or item id",
        frame["user_idx"].is_null() | frame["item_idx"].is_null(),
        "Check that the user and item columns are the right ones.",
    )
    rows.drop(
        "interactions whose rating is NaN or infinite",
        ~rows.frame["rating"].is_finite().fill_null(True),
        "Check the rating column.",
    )
    weight = rows.frame["weight"]
    rows.drop(
        "interactions whose weight is not a positive number",
        ~(weight.is_finite() & (weight > 0)),
        "Check the weight column.",
    )
    if rows.has("timestamp"):
        rows.drop(
            "interactions without a time among others that have one",
            rows.frame["timestamp"].is_null(),
            "Check the timestamp column.",
        )


def to_seconds(rows: Rows) -> None:
    """Turn milliseconds, microseconds and nanoseconds since 1970 into seconds; their size tells the unit.

    What is finer than seconds is kept as ``nanosecond``, a column only where something is.
    """
    if not rows.has("timestamp"):
        rows.frame = rows.frame.drop("nanosecond", strict=False)
        return
    for unit, factor in reversed(UNITS):
        mask = rows.frame["timestamp"].abs() >= MAX_SECONDS * (factor // 1000)
        if rows.count(f"timestamps in {unit}: turned into seconds", mask):
            _scale(rows, mask.arg_true(), factor)
    if "nanosecond" in rows.frame.columns and not rows.frame["nanosecond"].fill_null(0).max():
        rows.frame = rows.frame.drop("nanosecond")


def _scale(rows: Rows, places: pl.Series, factor: int) -> None:
    whole, part = rows.frame["timestamp"], rows.frame.get_column("nanosecond", default=None)
    part = pl.zeros(len(whole), dtype=pl.Int32, eager=True) if part is None else part.fill_null(0)
    seconds, within = in_seconds(whole.gather(places), part.gather(places), factor)
    rows.frame = rows.frame.with_columns(
        whole.scatter(places, seconds).alias("timestamp"),
        part.scatter(places, within.cast(pl.Int32)).alias("nanosecond"),
    )


def report_times(rows: Rows, now: float | None = None) -> None:
    """Count the times that are not plausible: before 1970, in the future, or before 1990 where most are later.

    Args:
        rows: with times in seconds; places in an order are left alone.
        now: seconds since 1970; by default the clock's.
    """
    if not rows.has("timestamp"):
        return
    time = rows.frame["timestamp"]
    if is_order(int(time.min()), int(time.max())):
        return
    tomorrow = (clock() if now is None else now) + DAY
    odd = {"timestamps before 1970: kept": time < 0, "timestamps in the future: kept": time > tomorrow}
    if 2 * (time >= IN_1990).sum() > len(time):
        odd["timestamps between 1970 and 1990, most others later: kept"] = time.is_between(0, IN_1990, closed="left")
    for what, mask in odd.items():
        if rows.count(what, mask):
            last = rows.counts.pop()
            rows.counts.append(replace(last, example=f"{last.example}, {day_of(int(time[mask.arg_max()]))}"))


def instants_of(frame: pl.DataFrame) -> np.ndarray:
    """Return what orders the rows of a frame without null times (``instants``)."""
    finer = frame["nanosecond"].to_numpy() if "nanosecond" in frame.columns else None
    return instants(frame["timestamp"].to_numpy(), finer)


def drop_duplicates(rows: Rows, keep: str) -> None:
    """Leave one row a (user, item) pair: of the earliest part, and there the newest or the oldest.

    Args:
        rows: changed in place.
        keep: ``"last"`` or ``"first"`` by time (by input order where times are equal or unknown);
            ``"keep"`` leaves all rows; ``"error"`` refuses a repeated pair.
    """
    if keep == "keep":
        return
    pair = rows.column("user_idx").astype(np.int64) * len(rows.items) + rows.column("item_idx")
    order = np.argsort(pair, kind="stable")
    equal = pair[order[1:]] == pair[order[:-1]]
    if not equal.any():
        return
    among = order[np.append(False, equal) | np.append(equal, False)]  # the rows of pairs that occur twice or more
    zeros = np.zeros(len(among), dtype=np.int64)
    part = rows.column("part")[among].astype(np.int64) if rows.has("part") else zeros
    time = instants_of(rows.frame[among]) if rows.has("timestamp") else zeros
    # lexsort is stable, so input order decides last; the row to keep ends (or begins) each run of equal pairs.
    among_order = np.lexsort((time, -part if keep == "last" else part, pair[among]))
    among, part = among[among_order], part[among_order]
    begins = np.append(True, pair[among[1:]] != pair[among[:-1]])
    kept = np.append(begins[1:], True) if keep == "last" else begins
    if keep == "error":
        cause = f"the same user and item more than once ({(~kept).sum():,} repeats, {rows.label(among[~kept].min())})"
        remedy = "Remove the repeats, or set duplicates to 'last', 'first' or 'keep'."
        raise DataError(f"data set {rows.name!r}", cause, remedy)
    later = part != part[kept][np.cumsum(begins) - 1]
    which = "newest" if keep == "last" else "oldest"
    rows.count("repeated (user, item) rows in a later part than the one kept: dropped", _mask(pair, among[later]))
    rows.count(f"repeated (user, item) rows, the {which} kept: dropped", _mask(pair, among[~kept & ~later]))
    rows.frame = rows.frame.filter(~_mask(pair, among[~kept]))


def _mask(like: np.ndarray, positions: np.ndarray) -> pl.Series:
    mask = np.zeros(len(like), dtype=bool)
    mask[positions] = True
    return pl.Series(mask)


def drop_low_ratings(rows: Rows, min_rating: float | None) -> None:
    """Keep ratings of at least ``min_rating``."""
    if min_rating is None:
        if rows.has("rating"):
            rows.count("interactions without a rating among others that have one: kept", rows.frame["rating"].is_null())
        return
    if not rows.has("rating"):
        raise DataError(
            f"data set {rows.name!r}", f"it has no ratings, but min_rating is {min_rating:g}", "Unset min_rating."
        )
    lowest, highest = rows.frame["rating"].min(), rows.frame["rating"].max()
    remedy = f"Ratings here run from {lowest:g} to {highest:g}: lower min_rating."
    # The column is Float32, and 4.1 as Float32 is more than 4.1: compare in the column's own precision.
    low = rows.frame["rating"] < np.float32(min_rating)
    rows.drop("interactions without a rating to hold against min_rating", low.is_null(), remedy)
    low = rows.frame["rating"] < np.float32(min_rating)
    rows.drop(f"interactions rated below {min_rating:g}", low, remedy)


def drop_outside_core(rows: Rows, min_user: int, min_item: int) -> None:
    """Drop users and items with too few interactions, again and again until none is left."""
    if min_user <= 1 and min_item <= 1:
        return
    user, item = rows.column("user_idx"), rows.column("item_idx")
    inside, rounds = core(user, item, min_user, min_item)
    users_gone, items_gone = (_n_distinct(of) - _n_distinct(of[inside]) for of in (user, item))
    rows.drop(
        f"interactions of users with under {min_user} or items with under {min_item} of them "
        f"({amount(users_gone, 'user')}, {amount(items_gone, 'item')}, {amount(rounds, 'round')})",
        pl.Series(~inside),
        "Lower k_core (min_user, min_item): this data is sparser than that.",
    )


def core(user: np.ndarray, item: np.ndarray, min_user: int, min_item: int) -> tuple[np.ndarray, int]:
    """Return the rows of the largest part in which every user and item has enough rows.

    Args:
        user, item: non-negative row numbers ``[n]``.
        min_user, min_item: rows a user and an item must have.

    Returns:
        bool ``[n]``, and the number of rounds that dropped something.
    """
    alive, rounds = np.arange(len(user)), 0
    while len(alive):
        here_user, here_item = user[alive], item[alive]
        enough = (np.bincount(here_user) >= min_user)[here_user] & (np.bincount(here_item) >= min_item)[here_item]
        if enough.all():
            break
        alive, rounds = alive[enough], rounds + 1
    inside = np.zeros(len(user), dtype=bool)
    inside[alive] = True
    return inside, rounds


def _n_distinct(numbers: np.ndarray) -> int:
    return int(np.count_nonzero(np.bincount(numbers)))


def stable_order(major: np.ndarray, minor: np.ndarray) -> np.ndarray:
    """Return the order by ``major``, then ``minor``, then position; non-negative and any integers, ``[n]``.

    Two keys that fit into one integer are sorted as one, three times as fast as ``numpy.lexsort``.
    """
    if not len(major):
        return np.zeros(0, dtype=np.int64)
    low, span = int(minor.min()), int(minor.max()) - int(minor.min()) + 1
    if (int(major.max()) + 1) * span >= 2**63:
        return np.lexsort((minor, major))
    return np.argsort(major.astype(np.int64) * span + (minor.astype(np.int64) - low), kind="stable")
