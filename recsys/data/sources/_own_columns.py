"""Columns of people's own tables: which setting names which, what is used of a file and what is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl
from pydantic import Field

from recsys.core import config
from recsys.core.errors import DataError, did_you_mean, names_in_words
from recsys.data.reading.files import Layout, kind_of
from recsys.data.reading.tables import ROW, refuse_twice

PART_LABELS = {
    "train": 0, "training": 0, "0": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "1": 1,
    "test": 2, "testing": 2, "2": 2,
}  # fmt: skip
SETTING = "data.options.columns."


class InteractionColumns(config.Settings):
    """Which column of the interaction files is what."""

    user: str = Field("user_id", description="column of user ids")
    item: str = Field("item_id", description="column of item ids")
    rating: str | None = Field(None, description="column of ratings; unset: 'rating' where there is one; '': none")
    timestamp: str | None = Field(None, description="column of times; unset: 'timestamp' where there is one; '': none")
    weight: str | None = Field(None, description="column of weights; unset: 'weight' where there is one; '': none")
    part: str | None = Field(
        None, description="column that says train, valid or test (or 0, 1, 2) of each row, for split.kind = 'given'"
    )

    def hoped(self) -> list[str]:
        """Return the names that are looked for in all of a JSON file, though its first lines lack them."""
        usual = [self.user, self.item, self.rating or "rating", self.timestamp or "timestamp", self.weight or "weight"]
        return [*usual, *filter(None, [self.part])]


class ItemColumns(config.Settings):
    """Which column of the item files is what."""

    id: str = Field("item_id", description="column of item ids")
    title: str | None = Field(None, description="column of titles; unset: 'title' where there is one; '': none")
    text: tuple[str, ...] | None = Field(
        None, description="columns of text, joined line by line; unset: 'text' where there is one"
    )
    attributes: tuple[str, ...] = Field((), description="columns whose values become 'column:value' attributes")
    image: str | None = Field(
        None, description="column of picture files (in image_folder) or URLs; unset: 'image' where there is one"
    )


def trimmed_header(table: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    """Return the table with no blanks around the names of its columns.

    Raises:
        DataError: two names are then one.
    """
    names = table.collect_schema().names()
    stripped = [name.strip() for name in names]
    if names == stripped:
        return table
    double = next((name for place, name in enumerate(stripped) if name in stripped[:place]), None)
    if double is not None:
        raise DataError(f"file {path}", f"has column {double!r} twice but for blanks", "Rename one of them.")
    return table.rename(dict(zip(names, stripped, strict=True)))


def roles(schema: pl.Schema, names: InteractionColumns, path: Path) -> dict[str, str]:
    """Return the column of each role that the file has: user, item, rating, timestamp, weight, part.

    Raises:
        DataError: a column is missing, or has two roles.
    """
    found = {role: required(schema, getattr(names, role), SETTING + role, path) for role in ("user", "item")}
    for role in ("rating", "timestamp", "weight"):
        found[role] = optional(schema, getattr(names, role), role, SETTING + role, path)
    found["part"] = required(schema, names.part, f"{SETTING}part", path) if names.part else None
    used = {role: column for role, column in found.items() if column is not None}
    for role, column in used.items():
        first = next(other for other in used if used[other] == column)
        if first != role:
            cause = f"it is taken for two things, {first} and {role}"
            remedy = f"Set {SETTING}{first} and {SETTING}{role} to different columns, or one of them to '' for none."
            raise DataError(f"file {path}, column {column!r}", cause, remedy)
    return used


def refuse_untimed(frames: Mapping[Path, pl.LazyFrame]) -> None:
    """Refuse a file without times among others that have them: all of its rows would be dropped.

    Args:
        frames: interactions by file; those with times have a column ``nanosecond``.
    """
    timed = [path for path, frame in frames.items() if "nanosecond" in frame.collect_schema()]
    if timed and (others := [path for path in frames if path not in timed]):
        cause = f"it has no column of times, which {timed[0].name} has"
        remedy = f"Add it, or read no times at all: {SETTING}timestamp=''."
        raise DataError(f"file {others[0]}", cause, remedy)


def part_labels(table: pl.LazyFrame, column: str, path: Path) -> pl.Expr:
    """Return the column of labels as 0 (train), 1 (valid) and 2 (test), UInt8.

    Raises:
        DataError: another label; names file and row.
    """
    text = pl.col(column).cast(pl.String)
    part = text.str.strip_chars().str.to_lowercase().replace_strict(PART_LABELS, default=None, return_dtype=pl.UInt8)
    wrong = table.select(text).with_row_index(ROW).filter(part.is_null()).head(1).collect(engine="streaming")
    if len(wrong):
        where = f"file {path}, row {wrong[ROW][0] + 1}, column {column!r}"
        label = wrong[column][0]
        cause = (
            f"{label!r:.80} is no part of a split"
            if (label or "").strip()
            else "it is empty, which is no part of a split"
        )
        raise DataError(where, cause, "Write train, valid or test (or 0, 1, 2).")
    return part


def required(schema: pl.Schema, name: str, setting: str, path: Path) -> str:
    """Return ``name``.

    Raises:
        DataError: the file has no such column; says which setting names it.
    """
    refuse_twice(path, [name], schema)
    if name in schema:
        return name
    if not schema:
        raise DataError(f"file {path}", "it has no rows", "Export or fetch it again.")
    close = did_you_mean(name, schema)
    remedy = f"Set {setting} to the right name; the file must begin with a header line."
    if close.startswith("Did"):
        remedy = f"{close} Set {setting} to it."
    raise _missing(path, name, schema, remedy)


def _missing(path: Path, name: str, schema: pl.Schema, remedy: str) -> DataError:
    return DataError(f"file {path}", f"no column {name!r} (it has: {names_in_words(schema)})", remedy)


def refuse_undivided(schema: pl.Schema, name: str, layout: Layout, path: Path) -> None:
    """Refuse a text table of one column that another delimiter divides into several.

    Args:
        schema: its columns.
        name: of the one that is needed.
        layout: by which it was read.

    Raises:
        DataError: names the delimiter to set.
    """
    header = next(iter(schema), "")
    if len(schema) != 1 or name in schema or kind_of(path) != "csv":
        return
    if layout.separator in header:
        raise _missing(path, name, schema, "Remove the quotes around whole lines.")
    delimiter = max(";\t|,", key=header.count)
    if delimiter in header:
        raise _missing(path, name, schema, f"Set data.options.delimiter={delimiter!r}.")


def optional(schema: pl.Schema, given: str | None, default: str, setting: str, path: Path) -> str | None:
    """Return the column to use: the one that is set, else the default where the file has it; ``""`` is none."""
    if given is None:
        return default if default in schema else None
    return required(schema, given, setting, path) if given else None
