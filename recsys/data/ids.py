"""One person, one id: however its tables write an id, a run has one text for it.

What is decided is decided on the distinct spellings of all tables, never row by row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import polars as pl

from recsys.core.blanks import BLANKS
from recsys.core.errors import DataError
from recsys.core.values import Count
from recsys.data.reading.cells import listed

WHOLE = r"^[+-]?\d+$"
POINT = r"^([+-]?\d+)\.0*$"  # 1.0, as a column of floats writes 1
EXPONENT = r"^[+-]?\d(\.\d+)?[eE]\+\d{1,2}$"  # 1e+05, as R writes 100000; 1.2e+17, as floats are written from 1e16 on
FIRST_INEXACT = 2**53  # from here on floats skip whole numbers
NULL_WORDS = ("null", "nan", "none", "na", "n/a", "<na>", "\\n", "nil")


@dataclass(frozen=True)
class Spelling:
    """How the ids of one kind are read, in every table of a run.

    Attributes:
        kind: ``"user"`` or ``"item"``.
        nulls: texts that mean no id, as blanks do.
        whole: all ids are whole numbers, so that ``1.0`` is ``1``.
    """

    kind: str
    nulls: Collection[str] = ()
    whole: bool = False

    def read(self, spelled: pl.Series) -> pl.Series:
        """Return ids without blanks around them, and without ``.0`` where they are whole; null where there is none."""
        ids, nulls = pl.col("id"), list(self.nulls)
        ids = pl.when((ids != "") & ~ids.is_in(nulls) & ~ids.str.replace(POINT, "${1}").is_in(nulls)).then(ids)
        frame = pl.DataFrame({"id": spelled.str.strip_chars(BLANKS)}).select(ids.alias("id"))
        if not self.whole:
            return frame["id"]
        digits = frame["id"].str.replace(POINT, "${1}")
        exponents = digits.filter(digits.str.contains(EXPONENT)).unique().to_list()
        return digits.replace({text: f"{Decimal(text):.0f}" for text in exponents if Decimal(text) % 1 == 0})

    def count(self, spelled: pl.Series, ids: pl.Series, rows: np.ndarray | None = None) -> list[Count]:
        """Return how many rows have an id that is not as it was written.

        Args:
            spelled, ids: before and after ``read``.
            rows: how many rows each of them stands for; ``None``: one each.
        """
        table = pl.DataFrame({"spelled": spelled, "id": ids, "trimmed": spelled.str.strip_chars(BLANKS)})
        table = table.with_columns((pl.lit(1) if rows is None else pl.lit(pl.Series(rows))).alias("rows"))
        table = table.filter(pl.col("id").is_not_null())
        found = {
            f"{self.kind} ids with blanks around them: trimmed": pl.col("trimmed") != pl.col("spelled"),
            f"{self.kind} ids written as floats: read as whole numbers": pl.col("trimmed") != pl.col("id"),
            f"{self.kind} ids that look like missing values: kept": _like_null(table["id"]),
        }
        counts = []
        for what, changed in found.items():
            some = table.filter(changed)
            if len(some):
                spelling, read = some["spelled"][0], some["id"][0]
                example = f"first: {spelling!r}" + (f" is {read!r}" if read != spelling else "")
                counts.append(Count(what, int(some["rows"].sum()), example))
        return counts


def spelling_of(
    kind: str, nulls: Collection[str], tables: Sequence[pl.Series], where: str, names: Sequence[pl.Series] = ()
) -> Spelling:
    """Look at all ids of a kind, and decide how they are read.

    Args:
        kind: ``"user"`` or ``"item"``.
        nulls: texts that mean no id, besides blanks.
        tables: the ids of each table as they are written, distinct or not.
        where: of what, for messages.
        names: further texts that are read as ids, of pictures or vectors; they decide nothing.

    Raises:
        DataError: an id that is a list, or a float that may stand for several ids.
    """
    ids = Spelling(kind, nulls).read(pl.concat([table.cast(pl.String) for table in tables])).drop_nulls()
    _refuse_lists(ids.filter(ids.str.contains(r"^[\[{(]")), where)
    floats = ids.filter(ids.str.contains(POINT) | ids.str.contains(EXPONENT)).unique()
    long = floats.str.len_bytes() > len(str(FIRST_INEXACT))
    for text in floats.filter(long | floats.str.contains(EXPONENT)).sort().to_list():
        if abs(Decimal(text)) >= FIRST_INEXACT:
            number = int(Decimal(text))
            cause = f"{text!r} is a float beyond 2**53, where {number} and {number + 1} are no longer told apart"
            raise DataError(where, cause, "Export the ids as whole numbers or as text.")
    any_float = len(floats) or any(texts.str.contains(POINT).any() for texts in names)
    if not any_float or not _are_whole(ids):
        return Spelling(kind, nulls)
    for text in floats.filter(floats.str.contains("E", literal=True)).sort().to_list():
        cause = f"{text!r} is how a spreadsheet shortens a long number: its last digits are lost"
        raise DataError(where, cause, "Format the column as text, then export it again.")
    return Spelling(kind, nulls, whole=True)


def _are_whole(ids: pl.Series) -> bool:
    others = ids.filter(~(ids.str.contains(WHOLE) | ids.str.contains(POINT)))
    if not others.str.contains(EXPONENT).all():
        return False
    return all(Decimal(text) % 1 == 0 for text in others.unique().to_list())


def _refuse_lists(bracketed: pl.Series, where: str) -> None:
    for text in bracketed.unique().sort().to_list():
        if listed(text) is not None:
            raise DataError(
                where, f"{text!r:.80} is a list, not one id", "Write one row an id, or name another column."
            )


def alike(ids: pl.Series, kind: str) -> list[Count]:
    """Return how many ids look like another and are kept apart.

    They differ by ``.0`` alone, where not all ids are whole numbers, or in how letters with marks are encoded (the same
    letters in Unicode's normal form C).
    """
    floats = ids.filter(ids.str.contains(POINT))
    marked = ids.filter(ids.str.len_bytes() > ids.str.len_chars())
    marked = marked.filter(marked.str.normalize("NFC") != marked)
    found = (
        (".0 alone, among ids that are no numbers", floats, floats.str.replace(POINT, "${1}")),
        ("how Unicode writes the same letters", marked, marked.str.normalize("NFC")),
    )
    counts = []
    for what, some, others in found:
        twin = others.is_in(ids.implode())
        if twin.any():
            example = f"first: {others.filter(twin)[0]!a} and {some.filter(twin)[0]!a}"
            what = f"{kind} ids that differ from another by {what}: kept apart"
            counts.append(Count(what, int(twin.sum()), example))
    return counts


def distinct_ids(column: pl.Series) -> pl.DataFrame:
    """Return the distinct ids of a categorical column as ``spelled`` and ``code``, by (length, text)."""
    distinct = column.drop_nulls().unique()
    table = pl.DataFrame({"spelled": distinct.cast(pl.String), "code": distinct.to_physical()})
    return table.sort(pl.col("spelled").str.len_chars(), "spelled")


def number_ids(
    column: pl.Series, distinct: pl.DataFrame, spelling: Spelling
) -> tuple[pl.Series, pl.Series, list[Count]]:
    """Number the ids of a categorical column.

    Args:
        column: one id a row.
        distinct: its ``distinct_ids``.
        spelling: how they are read.

    Returns:
        the ids by (length, id); the position of each row's id among them, null where it has none; what was changed.
    """
    codes, ids = column.to_physical(), spelling.read(distinct["spelled"])
    if distinct.is_empty():
        return ids, pl.Series(column.name, [None] * len(column), dtype=pl.UInt32), []
    table = pl.DataFrame({"id": ids, "code": distinct["code"]}).drop_nulls().sort(pl.col("id").str.len_chars(), "id")
    vocabulary = table["id"].unique(maintain_order=True)
    place = table["id"].rle_id() if len(vocabulary) < len(table) else pl.Series(np.arange(len(table), dtype=np.uint32))
    position = np.full(int(distinct["code"].max()) + 1, len(vocabulary), dtype=np.uint32)
    position[table["code"].to_numpy()] = place.to_numpy()
    idx = pl.Series(position).gather(codes)
    if ids.equals(distinct["spelled"], null_equal=False) and not _like_null(ids).any():
        return vocabulary, idx, []
    size = np.bincount(codes.drop_nulls().to_numpy(), minlength=len(position))[distinct["code"].to_numpy()]
    idx = idx.set(idx == len(vocabulary), None)
    return vocabulary, idx, spelling.count(distinct["spelled"], ids, size)


def _like_null(ids: pl.Series) -> pl.Series:
    return ids.str.to_lowercase().is_in(NULL_WORDS)
