"""Your own tables: interactions and items as CSV, JSON lines or Parquet, and a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field, field_validator

from recsys.core import config
from recsys.core.amounts import amount
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import INTERACTION_SCHEMA, ITEM_SCHEMA, Count, Tables
from recsys.data import pictures
from recsys.data.reading.cells import as_attributes, as_id, as_names, as_number, as_text, is_blank
from recsys.data.reading.files import Layout, need, suffix_of
from recsys.data.reading.records import conserved
from recsys.data.reading.tables import collect_table, n_records, open_table, short_rows
from recsys.data.reading.times import MOMENT, Time, Unit, as_moment, first_cells, with_form
from recsys.data.sources._columns import Reading, interactions, unused_columns
from recsys.data.sources._own_columns import (
    SETTING,
    InteractionColumns,
    ItemColumns,
    optional,
    part_labels,
    refuse_undivided,
    refuse_untimed,
    required,
    roles,
    trimmed_header,
)
from recsys.data.sources._own_files import files_of, matching, may_have_images, parts_of

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")
KNOWN = "CSV (.csv), TSV (.tsv), JSON lines (.jsonl), each also as .gz, or Parquet (.parquet)"


class OwnTables:
    """Tables of your own, their columns mapped by the settings.

    Times are read as ISO 8601 (UTC where no zone is given), as seconds, milli-, micro- or
    nanoseconds since 1970 (distinguished by size), or as digits such as 20220624 or 20220624210500.
    """

    class Settings(config.Settings):
        """Files are relative to the raw folder; patterns such as ``logs/*.csv`` name many."""

        interactions: str | tuple[str, ...] = Field("interactions.csv", description="interaction files or patterns")
        valid: str | tuple[str, ...] = Field(
            (), description="files of a validation part of your own, beside test; interactions are then the train part"
        )
        test: str | tuple[str, ...] = Field(
            (), description="files of a test part of your own: split.kind = 'given' takes it; none: a split is made"
        )
        items: str | tuple[str, ...] = Field((), description="item files or patterns; none: ids are all there is")
        columns: InteractionColumns = Field(InteractionColumns(), description="columns of the interaction files")
        item_columns: ItemColumns = Field(ItemColumns(), description="columns of the item files")
        delimiter: str = Field("auto", description="between CSV fields, '::' for one; auto: comma in .csv, tab in .tsv")
        quoting: Literal["auto", "standard", "literal"] = Field(
            "auto",
            description="quotes in CSV and TSV: standard (RFC 4180), literal (plain text), or auto: standard where they"
            " stand around a whole field, else plain text",
        )
        attribute_delimiter: str = Field("|", min_length=1, description="between the values of one attribute cell")
        null_values: tuple[str, ...] = Field(
            (r"\N",),
            description="words that say nothing, as an empty cell does: of ids, numbers, times, texts, attributes",
        )
        timestamp_unit: Unit = Field(
            "auto", description="unit of numeric times; date: digits such as 20220624 or 2022; auto: by size"
        )
        on_bad_rows: Literal["error", "drop"] = Field(
            "error", description="a rating, weight or time that cannot be read: stop, or drop and count the row"
        )
        image_folder: str | None = Field(
            None,
            description="folder of pictures, also in folders of it: <item_id>.jpg, .jpeg, .png or .webp, or as the "
            "image column says",
        )

        @field_validator("delimiter")
        @classmethod
        def _parts_cells(cls, delimiter: str) -> str:
            if not delimiter or set(delimiter) & set('\r\n"'):
                raise ValueError("a delimiter is one or more characters, none of them a line break or a double quote")
            return delimiter

        @field_validator("null_values")
        @classmethod
        def _without_blanks(cls, words: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(word.strip() for word in words)  # as cells are before they are compared

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read the files; every number and date is checked before a row is passed on.

        Raises:
            DataError: a file, column or value that cannot be used; names file, row and remedy.
        """
        parts, found = parts_of(raw, self.settings), Reading()
        frames = {
            path: self._interactions(path, None if len(parts) == 1 else part, found)
            for part, files in parts.items()
            for path in files
        }
        refuse_untimed(frames)
        items = pl.DataFrame(schema=ITEM_SCHEMA)
        if item_files := files_of(raw, self.settings.items, "items"):
            items = pl.concat([self._items(path, found) for path in item_files])
        found.counts += unused_columns(found.unused)
        items, by_name = self._pictures(items, raw, found.counts)
        run.log(f"own: {amount(len(found.records), 'interaction file')}, {amount(len(items), 'item row')}")
        return Tables(
            pl.concat(frames.values(), how="diagonal"), items.lazy(), counts=tuple(found.counts),
            records=sum(found.records), null_values=self.settings.null_values, pictures=by_name,
            origins=found.origins,
        )  # fmt: skip

    def files(self, raw: Path) -> Iterator[Path]:
        """Yield the tables and pictures that the settings mean (see ``ListsFiles``)."""
        chosen = self.settings
        items = list(matching(raw, chosen.items))
        yield from (
            *matching(raw, chosen.interactions),
            *matching(raw, chosen.valid),
            *matching(raw, chosen.test),
            *items,
        )
        if chosen.image_folder or any(may_have_images(path, chosen.item_columns.image) for path in items):
            yield from map(Path, pictures.find_pictures(raw / (chosen.image_folder or ""), [])["image"])

    def _open(self, path: Path, found: Reading, key: str, **options: Any) -> tuple[pl.LazyFrame, Layout]:
        layout = self._layout(path)
        table = trimmed_header(open_table(path, layout, **options), path)
        refuse_undivided(table.collect_schema(), key, layout, path)
        found.counts += short_rows(path, layout)
        return table, layout

    def _interactions(self, path: Path, part: int | None, found: Reading) -> pl.LazyFrame:
        """One file as canonical columns, its numbers and dates checked in one pass."""
        names = self.settings.columns
        table, layout = self._open(path, found, names.user, hoped=names.hoped())
        schema, nulls = table.collect_schema(), self.settings.null_values
        used = roles(schema, names, path)
        found.unused[path] = tuple(name for name in schema if name not in used.values())
        columns = {"user_id": as_id(used["user"], schema, path), "item_id": as_id(used["item"], schema, path)}
        columns |= {"rating": pl.lit(None), "timestamp": pl.lit(None), "weight": pl.lit(1.0)}
        bad, time = {}, Time(self.settings.timestamp_unit)
        for role, name in used.items():
            where = f"{path.name}, column {name!r}"
            found.origins.setdefault(f"{role}_id" if role in ("user", "item") else role, (where, SETTING + role))
            if role not in columns:
                continue
            blank = is_blank(name, schema, nulls)
            if role == "timestamp":
                time = with_form(time, collect_table(first_cells(table.filter(~blank), name), path, layout)[name], path)
                parsed = as_moment(name, time, schema, path)
            else:
                parsed = as_number(name, schema, path)
            # Words such as \N are no number anyway; others, such as -1, are.
            columns[role] = parsed if set(nulls) <= {"", r"\N"} else pl.when(~blank).then(parsed)
            bad[name] = ~blank & parsed.is_null()
        found.records.append(self._check(table, path, layout, bad, {used.get("timestamp"): time.wanted}, found.counts))
        more = [] if part is None else [pl.lit(part, dtype=pl.UInt8).alias("part")]
        if "part" in used:
            more = [part_labels(table, used["part"], path).alias("part")]
        if self.settings.on_bad_rows == "drop" and bad:
            table = table.filter(~pl.any_horizontal(bad.values()))
        types = INTERACTION_SCHEMA | ({"timestamp": MOMENT} if "timestamp" in used else {})
        canonical = [columns[name].cast(dtype, strict=False).alias(name) for name, dtype in types.items()]
        return interactions(table.select(*canonical, *more), *(["part"] if more else []))

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
                raise DataError(
                    f"file {path}, row {row + 1}, column {name!r}",
                    f"{value!r:.80} cannot be read as {wanted.get(name, 'a number')} ({amount(n_bad, 'such row')})",
                    "Correct it, name another column, or set data.options.on_bad_rows='drop'.",
                )
            what = f"{path.name}: rows whose {name!r} cannot be read: dropped"
            counts.append(Count(what, n_bad, f"first: row {row + 1}: {value!r:.80}"))
        return result["rows"] - result["bad"]

    def _items(self, path: Path, found: Reading) -> pl.DataFrame:
        """One item file as canonical columns."""
        names, nulls, setting = self.settings.item_columns, self.settings.null_values, "data.options.item_columns."
        table, layout = self._open(path, found, names.id, as_text=False)
        schema = table.collect_schema()
        key = required(schema, names.id, setting + "id", path)
        title = optional(schema, names.title, "title", setting + "title", path)
        image = optional(schema, names.image, "image", setting + "image", path)
        texts = names.text if names.text is not None else [name for name in ("text",) if name in schema]
        texts = [required(schema, name, setting + "text", path) for name in texts]
        attributes = [required(schema, name, setting + "attributes", path) for name in names.attributes]
        used = {key, title, image, *texts, *attributes}
        found.unused[path] = tuple(name for name in schema if name not in used)
        columns = {
            "item_id": as_id(key, schema, path),
            "title": as_text([title] if title else [], schema, path, nulls),
            "text": as_text(texts, schema, path, nulls),
            "attributes": as_attributes(attributes, schema, self.settings.attribute_delimiter, path, nulls),
            "image": as_names(image, schema, path, nulls) if image else pl.lit(None, pl.String),
        }
        table = table.select(expression.alias(column) for column, expression in columns.items())
        frame = collect_table(table, path, layout)
        conserved(path, len(frame), n_records(path, layout))
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

    def _pictures(
        self, items: pl.DataFrame, raw: Path, counts: list[Count]
    ) -> tuple[pl.DataFrame, pl.DataFrame | None]:
        """Return the items with the image column's files and URLs, and the pictures that are named by ids."""
        named = self.settings.image_folder
        folder = raw / named if named else raw
        if named and not folder.is_dir():
            cause = "it is a file" if folder.exists() else "no such folder"
            raise DataError(f"image_folder {folder}", cause, "Correct image_folder, or unset it.")
        if items["image"].null_count() == len(items):
            return items, pictures.find_pictures(folder, counts) if named else None
        column = self.settings.item_columns.image or "image"
        items = pictures.resolve(items, folder, raw, column, self.settings.attribute_delimiter, counts)
        found = pictures.find_pictures(folder, counts) if named else pl.DataFrame(schema=pictures.PICTURE_SCHEMA)
        return items, found.filter(~pl.col("image").is_in(items["image"].drop_nulls().implode()))
