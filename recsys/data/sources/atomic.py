"""RecBole's atomic files, in and out: tab-separated ``.inter`` and ``.item`` with typed headers.

Format: https://recbole.io/docs/user_guide/data/atomic_files.html
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import polars as pl
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.errors import DataError, did_you_mean
from recsys.core.runtime import Run
from recsys.core.values import Count, Dataset, Split, Tables
from recsys.data.reading.files import TABS, need, only
from recsys.data.reading.tables import header_of, scan_table
from recsys.data.reading.times import Time, moment_text
from recsys.data.sources._columns import PARTS, Reading, interactions, items, no_items, of_part, unused_columns
from recsys.data.sources._items import joined_text, sentence

_KINDS = ("token", "token_seq", "float", "float_seq")
_OWN = 'data.source = "own" with data.options.delimiter'
_OTHER_SEPARATOR = re.compile(rf":(?:{'|'.join(_KINDS)})(?P<separator>[ ,;|]+)[^:]+:")


class Atomic:
    """``<name>.inter`` (or ``<name>.train.inter``, ``.valid.inter``, ``.test.inter``) and ``<name>.item``."""

    class Settings(Settings):
        """Which files and columns to read."""

        name: str | None = Field(None, description="stem of the files; default: the only one in the raw folder")
        user_field: str = Field("user_id", description="column of the user in .inter")
        item_field: str = Field("item_id", description="column of the item in .inter and .item")
        rating_field: str = Field("rating", description="column of the rating, if there is one; '': none")
        label_field: str = Field("label", description="column of 1 and 0, where 0 says it was no interaction; '': none")
        time_field: str = Field("timestamp", description="column of the time, if there is one; '': none")
        title_field: str | None = Field(None, description="title in .item; default: title, movie_title or name")
        text_fields: tuple[str, ...] = Field(("text", "description"), description="columns of .item for the text")

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or self.Settings()

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read the atomic files of ``raw``; token columns of ``.item`` become attributes ``column:token``."""
        found = Reading()
        name = self.settings.name or _only_name(raw)
        whole = raw / f"{name}.inter"
        given = [raw / f"{name}.{part}.inter" for part in PARTS]
        if whole.is_file() or not any(path.is_file() for path in given):
            frame = self._inter(need(whole, "Set the setting name to the stem of the files."), found)
            frame = interactions(frame)
        else:
            frame = pl.concat(
                of_part(self._inter(path, found), part) for part, path in enumerate(given) if path.is_file()
            )
        item_path = raw / f"{name}.item"
        table = self._items(item_path, found) if item_path.is_file() else no_items()
        users = raw / f"{name}.user"
        if users.is_file():
            unused = (field for field in typed_header(users) if field != self.settings.user_field)
            found.unused[users] = tuple(unused)
        counts = [*found.counts, *unused_columns(found.unused)]
        return Tables(frame, table, counts=counts, records=sum(found.records), origins=found.origins)

    def files(self, raw: Path) -> Iterator[Path]:
        """Yield all atomic files of the name, or of any (see ``ListsFiles``)."""
        stem = glob.escape(self.settings.name) if self.settings.name else "*"
        for ending in (".inter", *(f".{part}.inter" for part in PARTS), ".item", ".user"):
            yield from raw.glob(stem + ending)

    def _inter(self, path: Path, found: Reading) -> pl.LazyFrame:
        fields, chosen = typed_header(path), self.settings
        settings = {"user_field": ("user_id", pl.String), "item_field": ("item_id", pl.String),
                    "rating_field": ("rating", pl.Float32), "time_field": ("timestamp", Time()),
                    "label_field": ("label", pl.Float64)}  # fmt: skip
        have: dict[str, tuple[str, Any]] = {"weight": ("weight", pl.Float32)} if "weight" in fields else {}
        for setting, (name, dtype) in settings.items():
            field = getattr(chosen, setting)
            if setting in ("user_field", "item_field"):
                _require(path, field, fields, setting)
            if field not in fields:
                continue
            column = f"{path.name}, column {field!r}"
            if field in have:
                cause = f"it is taken for two things, {have[field][0]} and {name}"
                raise DataError(column, cause, f"Set {setting} to another column, or to '' if there is none.")
            if fields[field].kind.endswith("_seq"):
                raise DataError(column, f"it holds lists ({fields[field].kind})", f"Set {setting} to another column.")
            have[field] = name, dtype
            if name != "label":
                found.origins.setdefault(name, (column, f"data.options.{setting}"))
        found.unused[path] = tuple(field for field in fields if field not in have)
        types = {fields[field].column: dtype for field, (_, dtype) in have.items()}
        optional = [fields[field].column for field, (name, _) in have.items() if name in ("rating", "timestamp")]
        frame = scan_table(path, types, TABS, optional=optional, counts=found.counts, records=found.records)
        frame = frame.rename({fields[field].column: name for field, (name, _) in have.items()})
        return self._without_negatives(frame, path, found) if chosen.label_field in have else frame

    def _without_negatives(self, frame: pl.LazyFrame, path: Path, found: Reading) -> pl.LazyFrame:
        """The rows whose label is 1: those with 0 say what was shown, or drawn, and not taken."""
        label = pl.col("label")
        labels = frame.select(
            (label == 0).sum().alias("no"), label.filter(~label.is_in([0.0, 1.0])).first().alias("other")
        ).collect(engine="streaming")  # fmt: skip
        negatives, other = labels.row(0)
        if other is not None:
            column = f"{path.name}, column {self.settings.label_field!r}"
            remedy = "Write 1 for what was taken and 0 for what was not, or set label_field to '' to read all rows."
            raise DataError(column, f"it holds {other:g}, which is neither 0 nor 1", remedy)
        if negatives:
            what = f"rows of {path.name} labelled 0, which are no interactions: dropped"
            found.counts.append(Count(what, negatives))
            found.records[-1] -= negatives
        return frame.filter(label == 1).drop("label")

    def _items(self, path: Path, found: Reading) -> pl.LazyFrame:
        fields = typed_header(path)
        _require(path, self.settings.item_field, fields, "item_field")
        title = self.settings.title_field or next(
            (field for field in ("title", "movie_title", "name") if field in fields), None
        )
        if title is not None:
            _require(path, title, fields, "title_field")
        texts = [field for field in self.settings.text_fields if field in fields]
        plain = [
            field for field, typed in fields.items()
            if typed.kind in ("token", "token_seq") and field not in (self.settings.item_field, title, "image", *texts)
        ]  # fmt: skip
        used = [field for field in (self.settings.item_field, title, "image", *texts, *plain) if field in fields]
        names = {fields[field].column: field for field in dict.fromkeys(used)}
        found.unused[path] = tuple(field for field in fields if field not in used)
        types = dict.fromkeys(names, pl.String)
        frame = scan_table(path, types, TABS, optional=list(types)[1:], counts=found.counts)
        frame = frame.rename(names)
        own_text = [pl.col(field) for field in texts]
        text = own_text if "text" in texts or title is None else [sentence(pl.col(title)), *own_text]
        marks = [_attributes(field, fields[field].kind) for field in plain]
        return items(
            frame.select(
                item_id=pl.col(self.settings.item_field),
                title=pl.col(title) if title else pl.lit(None, dtype=pl.String),
                text=joined_text(*text) if text else pl.lit(None, dtype=pl.String),
                attributes=pl.concat_list(marks) if marks else pl.lit(None),
                image=pl.col("image") if "image" in fields else pl.lit(None, dtype=pl.String),
            )
        )


@dataclass(frozen=True)
class Typed:
    """A column of an atomic file: its name as the file has it, and its type."""

    column: str
    kind: str


def typed_header(path: Path) -> dict[str, Typed]:
    """Return the columns of an atomic file by their names without the type.

    Raises:
        DataError: a column that is not written ``name:type`` with a type RecBole knows, or columns not parted by tabs.
    """
    fields: dict[str, Typed] = {}
    for column in header_of(path, TABS):
        if other := _OTHER_SEPARATOR.search(column):
            mark = other["separator"].strip()
            cause = f"its columns are separated by {repr(mark) if mark else 'blanks'}, not by tabs"
            raise DataError(f"file {path}, line 1", cause, f"Write it with tabs, or read it as your own table: {_OWN}.")
        name, _, kind = (part.strip() for part in column.partition(":"))
        if kind not in _KINDS:
            cause = f"column {column!r} has no type"
            raise DataError(f"file {path}", cause, f"Write it as {name or 'name'}:token ({', '.join(_KINDS)}).")
        if name in fields:
            raise DataError(f"file {path}", f"has column {name!r} twice", "Rename one of them.")
        fields[name] = Typed(column, kind)
    return fields


def _require(path: Path, field: str, fields: Mapping[str, Typed], setting: str) -> None:
    if field not in fields:
        close = did_you_mean(field, fields)
        remedy = f"{close}{'' if close.endswith('?') else '.'} Set data.options.{setting} to the right one."
        raise DataError(f"file {path}", f"has no column {field!r}", remedy)


def _attributes(field: str, kind: str) -> pl.Expr:
    """``year:1995`` for a token; one a token for a sequence. Our own ``attributes`` are read as written."""
    tokens = pl.col(field).str.split(" ") if kind == "token_seq" else pl.concat_list(pl.col(field))
    if field == "attributes":
        return tokens.list.eval(pl.element().map_elements(unquote, return_dtype=pl.String)).fill_null([])
    kept = tokens.list.eval(pl.element().filter(pl.element().str.len_bytes() > 0))
    return kept.list.eval(f"{field}:" + pl.element()).list.drop_nulls().fill_null([])


def _only_name(raw: Path) -> str:
    ending = re.compile(rf"(\.({'|'.join(PARTS)}))?\.inter$")
    names = sorted({ending.sub("", path.name) for path in raw.glob("*.inter")})
    return only(raw, names, ".inter file", "Put one data set there, or set the setting name.")


def write_atomic(dataset: Dataset, split: Split | None, folder: Path, *, name: str | None = None) -> list[Path]:
    """Write a data set as atomic files that RecBole and ``Atomic`` read.

    White space inside titles and texts becomes one blank (the format has no
    quoting); attributes are percent-encoded, so they come back exactly.

    Args:
        split: writes ``<name>.train.inter``, ``.valid.inter`` and ``.test.inter`` (RecBole's
            ``benchmark_filename``); ``None`` writes one ``<name>.inter``.
        name: stem of the files; by default the data set's name.

    Returns:
        The paths written: the interactions, then ``<name>.item``.
    """
    name = name or dataset.name
    folder.mkdir(parents=True, exist_ok=True)
    frame = _inter_frame(dataset)
    if split is None:
        paths = [_write(frame, folder / f"{name}.inter")]
    else:
        paths = [
            _write(frame.filter(pl.Series(split.part == number)), folder / f"{name}.{part}.inter")
            for number, part in enumerate(PARTS)
        ]
    return [*paths, _write(_item_frame(dataset), folder / f"{name}.item")]


def _inter_frame(dataset: Dataset) -> pl.DataFrame:
    data = dataset.interactions
    columns: dict[str, pl.Series | np.ndarray] = {
        "user_id:token": dataset.users.ids.gather(data.user_idx),
        "item_id:token": dataset.items.ids.gather(data.item_idx),
    }
    times = data.timestamp if data.nanosecond is None else moment_text(data.timestamp, data.nanosecond)
    optional = {"rating:float": data.rating, "timestamp:float": times, "weight:float": data.weight}
    frame = pl.DataFrame(columns | {key: value for key, value in optional.items() if value is not None})
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def _item_frame(dataset: Dataset) -> pl.DataFrame:
    table = dataset.item_table
    one_line = [pl.col(column).str.replace_all(r"\s+", " ").str.strip_chars() for column in ("title", "text", "image")]
    encoded = pl.element().map_elements(lambda text: quote(text, safe=":'&!()*,./-_"), return_dtype=pl.String)
    frame = table.with_columns(*one_line, pl.col("attributes").list.eval(encoded).list.join(" "))
    return frame.select(
        pl.col("item_id").alias("item_id:token"), pl.col("title").alias("title:token_seq"),
        pl.col("text").alias("text:token_seq"), pl.col("attributes").alias("attributes:token_seq"),
        pl.col("image").alias("image:token"),
    )  # fmt: skip


def _write(frame: pl.DataFrame, path: Path) -> Path:
    ids: Sequence[str] = [column for column in frame.columns if column.endswith(":token")]
    for column in ids:
        if frame[column].str.contains(r"[\t\r\n]").any():
            raise DataError(f"file {path}", f"{column} holds a tab or a new line", "The format cannot write it.")
    frame.write_csv(path, separator="\t", quote_style="never")
    return path
