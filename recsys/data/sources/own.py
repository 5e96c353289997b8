"""Your own tables: interactions and items as CSV, JSON lines or Parquet, and a folder of pictures."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import Field

from recsys.core import config
from recsys.core.errors import DataError, did_you_mean
from recsys.core.runtime import Run
from recsys.core.values import INTERACTION_SCHEMA, ITEM_SCHEMA, Count, Tables
from recsys.data import pictures
from recsys.data.reading.cells import as_attributes, as_id, as_number, as_text, is_blank
from recsys.data.reading.files import Layout, need, suffix_of
from recsys.data.reading.records import conserved
from recsys.data.reading.tables import collect_table, n_records, open_table, refuse_twice, short_rows
from recsys.data.reading.times import MOMENT, Time, Unit, as_moment, first_cells, with_form
from recsys.data.sources._columns import interactions

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")
KNOWN = "CSV (.csv), TSV (.tsv), JSON lines (.jsonl), each also as .gz, or Parquet (.parquet)"


class InteractionColumns(config.Settings):
    """Which column of the interaction files is what."""

    user: str = Field("user_id", description="column of user ids")
    item: str = Field("item_id", description="column of item ids")
    rating: str | None = Field(None, description="column of ratings; unset: 'rating' where there is one; '': none")
    timestamp: str | None = Field(None, description="column of times; unset: 'timestamp' where there is one; '': none")
    weight: str | None = Field(None, description="column of weights; unset: 'weight' where there is one; '': none")


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


class OwnTables:
    """Tables of your own, their columns mapped by the settings.

    Times are read as ISO 8601 (UTC where no zone is given), as seconds, milli-, micro- or
    nanoseconds since 1970 (told apart by size), or as digits such as 20220624 or 20220624210500.
    """

    class Settings(config.Settings):
        """Files are relative to the raw folder; patterns such as ``logs/*.csv`` name many."""

        interactions: str | tuple[str, ...] = Field("interactions.csv", description="interaction files or patterns")
        items: str | tuple[str, ...] = Field((), description="item files or patterns; none: ids are all there is")
        columns: InteractionColumns = Field(InteractionColumns(), description="columns of the interaction files")
        item_columns: ItemColumns = Field(ItemColumns(), description="columns of the item files")
        delimiter: str = Field(
            "auto", min_length=1, description="between CSV fields, '::' for one; auto: comma in .csv, tab in .tsv"
        )
        quoting: Literal["auto", "standard", "literal"] = Field(
            "auto",
            description="quotes in CSV and TSV: standard (RFC 4180), literal (plain text), or auto: standard where they"
            " stand around a whole field, else plain text",
        )
        attribute_delimiter: str = Field("|", min_length=1, description="between the values of one attribute cell")
        timestamp_unit: Unit = Field(
            "auto", description="unit of numeric times; date: digits such as 20220624 or 2022; auto: told by size"
        )
        on_bad_rows: Literal["error", "drop"] = Field(
            "error", description="a rating, weight or time that cannot be read: stop, or drop and count the row"
        )
        image_folder: str | None = Field(
            None,
            description="folder of pictures: <item_id>.jpg, .jpeg, .png or .webp, or as the image column says",
        )

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read the files; every number and date is checked before a row is passed on.

        Raises:
            DataError: a file, column or value that cannot be used; names file, row and remedy.
        """
        counts: list[Count] = []
        files = _files(raw, self.settings.interactions, "interactions")
        records: list[int] = []
        interactions = pl.concat([self._interactions(path, counts, records) for path in files], how="diagonal")
        items = pl.LazyFrame(schema=ITEM_SCHEMA)
        if item_files := _files(raw, self.settings.items, "items"):
            items = pl.concat([self._items(path, counts) for path in item_files]).lazy()
        items = self._with_pictures(items.collect(), raw, bool(item_files), counts)
        run.log(f"own: {len(files)} interaction file(s), {len(items):,} item rows")
        return Tables(interactions, items.lazy(), counts=tuple(counts), records=sum(records))

    def _interactions(self, path: Path, counts: list[Count], records: list[int]) -> pl.LazyFrame:
        """One file as canonical columns, its numbers and dates checked in one pass."""
        names, layout = self.settings.columns, self._layout(path)
        hoped = [
            names.user,
            names.item,
            names.rating or "rating",
            names.timestamp or "timestamp",
            names.weight or "weight",
        ]
        table = open_table(path, layout, hoped=hoped)
        counts += short_rows(path, layout)
        schema = table.collect_schema()
        columns = {
            "user_id": as_id(_required(schema, names.user, "data.options.columns.user", path), schema),
            "item_id": as_id(_required(schema, names.item, "data.options.columns.item", path), schema),
        }
        used, time = {}, Time(self.settings.timestamp_unit)
        for column, given in (("rating", names.rating), ("timestamp", names.timestamp), ("weight", names.weight)):
            used[column] = source = _optional(schema, given, column, f"data.options.columns.{column}", path)
            if source is None:
                columns[column] = pl.lit(None)
            elif column == "timestamp":
                cells = collect_table(first_cells(table, source), path, layout)[source]
                time = with_form(time, cells, path)
                columns[column] = as_moment(source, time, schema, path)
            else:
                columns[column] = as_number(source, schema, path)
        checked = {source: columns[column] for column, source in used.items() if source}
        bad = {source: ~is_blank(source, schema) & parsed.is_null() for source, parsed in checked.items()}
        records.append(self._check(table, path, layout, bad, {used["timestamp"]: time.wanted}, counts))
        if self.settings.on_bad_rows == "drop" and bad:
            table = table.filter(~pl.any_horizontal(bad.values()))
        types = INTERACTION_SCHEMA | ({"timestamp": MOMENT} if used["timestamp"] else {})
        table = table.select(columns[name].cast(dtype, strict=False).alias(name) for name, dtype in types.items())
        return interactions(table.with_columns(pl.col("weight").fill_null(1.0)))

    def _check(
        self,
        table: pl.LazyFrame,
        path: Path,
        layout: Layout,
        bad: dict[str, pl.Expr],
        wanted: Mapping[str | None, str],
        counts: list[Count],
    ) -> int:
        """Count the values that cannot be read; refuse or report them. An empty table is refused.

        Returns:
            how many rows are left.
        """
        any_bad = pl.any_horizontal(bad.values()) if bad else pl.lit(False)
        found = [any_bad.sum().alias("bad"), *(mask.sum().alias(f"n {name}") for name, mask in bad.items())]
        found += [pl.col("row").filter(mask).min().alias(f"first {name}") for name, mask in bad.items()]
        indexed = table.with_row_index("row")
        summary = collect_table(indexed.select(pl.len().alias("rows"), *found), path, layout)
        result = summary.row(0, named=True)
        conserved(path, result["rows"], n_records(path, layout))
        if not result["rows"]:
            raise DataError(f"file {path}", "it has a header but no rows", "Export or fetch it again.")
        for name in bad:
            if not (n_bad := result[f"n {name}"]):
                continue
            row = result[f"first {name}"]
            value = collect_table(table.slice(row, 1), path, layout)[name][0]
            if self.settings.on_bad_rows == "error":
                such = "row" if n_bad == 1 else "rows"
                raise DataError(
                    f"file {path}, row {row + 1}, column {name!r}",
                    f"{value!r} cannot be read as {wanted.get(name, 'a number')} ({n_bad:,} such {such})",
                    "Correct it, name another column, or set data.options.on_bad_rows='drop'.",
                )
            what = f"{path.name}: rows whose {name!r} cannot be read: dropped"
            counts.append(Count(what, n_bad, f"first: row {row + 1}: {value!r}"))
        return result["rows"] - result["bad"]

    def _items(self, path: Path, counts: list[Count]) -> pl.DataFrame:
        """One item file as canonical columns."""
        names = self.settings.item_columns
        layout = self._layout(path)
        table = open_table(path, layout, as_text=False)
        schema = table.collect_schema()
        title = _optional(schema, names.title, "title", "data.options.item_columns.title", path)
        image = _optional(schema, names.image, "image", "data.options.item_columns.image", path)
        texts = names.text if names.text is not None else [name for name in ("text",) if name in schema]
        texts = [_required(schema, name, "data.options.item_columns.text", path) for name in texts]
        attributes = [
            _required(schema, name, "data.options.item_columns.attributes", path) for name in names.attributes
        ]
        columns = {
            "item_id": as_id(_required(schema, names.id, "data.options.item_columns.id", path), schema),
            "title": as_text([title] if title else [], schema, path),
            "text": as_text(texts, schema, path),
            "attributes": as_attributes(attributes, schema, self.settings.attribute_delimiter, path),
            "image": pl.col(image).cast(pl.String) if image else pl.lit(None, pl.String),
        }
        table = table.select(expression.alias(column) for column, expression in columns.items())
        frame = collect_table(table, path, layout)
        conserved(path, len(frame), n_records(path, layout))
        counts += short_rows(path, layout)
        return frame

    def _layout(self, path: Path) -> Layout:
        """How a file is laid out; a folder, or a file of a kind that is not read, is refused."""
        if path.is_dir():
            cause = "it is a folder"
            raise DataError(f"file {path}", cause, f"Name the file, or a pattern such as {path.name}/*.csv.")
        suffix, delimiter = suffix_of(need(path)), self.settings.delimiter
        if suffix not in SUFFIXES and delimiter == "auto":
            remedy = f"Give {KNOWN}; or set data.options.delimiter for lines of text."
            raise DataError(f"file {path}", f"files ending in {path.suffix!r} are not read", remedy)
        usual = "\t" if suffix == ".tsv" else ","
        separator = {"auto": usual, "\\t": "\t"}.get(delimiter, delimiter)
        quoting = self.settings.quoting
        return Layout(separator, None if quoting == "literal" else '"', unit="line", tolerant=quoting == "auto")

    def _with_pictures(self, items: pl.DataFrame, raw: Path, has_table: bool, counts: list[Count]) -> pl.DataFrame:
        """Point each item at its picture: the image column's file or URL, else the file named by its id."""
        named = self.settings.image_folder
        folder = raw / named if named else raw
        if named and not folder.is_dir():
            cause = "it is a file" if folder.exists() else "no such folder"
            raise DataError(f"image_folder {folder}", cause, "Correct image_folder, or unset it.")
        if items["image"].null_count() < len(items):
            return pictures.resolve(items, folder, counts)
        return pictures.match_by_name(items, folder, counts, add_items=not has_table) if named else items


def _files(raw: Path, given: str | tuple[str, ...], setting: str) -> list[Path]:
    """The files that names and patterns stand for, each once, in order."""
    return list(dict.fromkeys(_expand(raw, (given,) if isinstance(given, str) else given, setting)))


def _expand(raw: Path, patterns: tuple[str, ...], setting: str) -> Iterator[Path]:
    for pattern in patterns:
        if not glob.has_magic(pattern) or (raw / pattern).exists():
            yield raw / pattern
            continue
        found = sorted(glob.glob(str(Path(glob.escape(str(raw)), pattern))))
        if not found:
            cause = f"no file matches {pattern!r}"
            raise DataError(f"folder {raw}", cause, f"Correct the setting {setting}.")
        yield from map(Path, found)


def _required(schema: pl.Schema, name: str, setting: str, path: Path) -> str:
    refuse_twice(path, [name], schema)
    if name in schema:
        return name
    if not schema:
        raise DataError(f"file {path}", "it has no rows", "Export or fetch it again.")
    close = did_you_mean(name, schema)
    remedy = f"Set {setting} to the right name; the file must begin with a header line."
    header = next(iter(schema))
    if len(schema) == 1 and (delimiter := next((one for one in ";\t|" if one in header), None)):
        remedy = f"Set data.options.delimiter={delimiter!r}."
    elif close.startswith("Did"):
        remedy = f"{close} Set {setting} to it."
    raise DataError(f"file {path}", f"no column {name!r} (it has: {', '.join(schema)})", remedy)


def _optional(schema: pl.Schema, given: str | None, default: str, setting: str, path: Path) -> str | None:
    """The column to use: the one that is set, else the default where the file has it; ``""`` is none."""
    if given is None:
        return default if default in schema else None
    return _required(schema, given, setting, path) if given else None
