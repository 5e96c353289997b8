"""Ways to break the input, each with the message it gets: file, row or column, and what to do."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from recsys.core.config import make_settings
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.data.canonical import CanonicalSettings, canonicalise
from recsys.data.sources.own import OwnTables

QUIET = Run(log=lambda message: None)
CSV = "user_id,item_id,rating,timestamp\n"
LINE = '{"user_id": "u", "item_id": "a", "rating": 4}\n'
WHOLE_GZIP = gzip.compress(b"".join(b"u%d,a,1,1\n" % number for number in range(5000)))


def text(content: str, encoding: str = "utf-8") -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content.encode(encoding))


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def parquet(**columns) -> Callable[[Path], object]:
    return lambda path: pl.DataFrame(columns).write_parquet(path)


# name of the file, how it is made, settings, words of the thing, the cause and the remedy
BROKEN = {
    "missing file": ("log.csv", lambda path: path.with_name("lag.csv").write_text(CSV), {},
                     ["log.csv", "no such file", "In that folder: lag.csv"]),
    "missing folder": ("nowhere/log.csv", lambda path: None, {}, ["log.csv", "no such file", "folder's name"]),
    "a folder": ("log.csv", lambda path: path.mkdir(), {}, ["log.csv", "it is a folder", "log.csv/*.csv"]),
    "empty file": ("log.csv", text(""), {}, ["log.csv", "empty (0 bytes)", "Export or fetch"]),
    "only a header": ("log.csv", text(CSV), {}, ["log.csv", "a header but no rows"]),
    "only a blank json line": ("log.jsonl", text("\n"), {}, ["log.jsonl", "it has no rows"]),
    "unknown kind": ("log.xlsx", text("PK"), {}, ["log.xlsx", "'.xlsx' are not read", "Give CSV"]),
    "no match": ("*.csv", lambda path: None, {}, ["no file matches '*.csv'", "setting interactions"]),
    "missing column": ("log.csv", text("userid,item_id\nu,a\n"), {},
                       ["log.csv", "no column 'user_id' (it has: userid, item_id)", "Did you mean 'userid'?",
                        "Set data.options.columns.user"]),
    "no header": ("log.csv", text("1,2\n3,4\n"), {}, ["log.csv", "no column 'user_id' (it has: 1, 2)", "header line"]),
    "missing chosen column": ("log.csv", text(CSV + "u,a,1,1\n"), {"columns": {"rating": "ratings"}},
                              ["no column 'ratings'", "Did you mean 'rating'?", "Set data.options.columns.rating"]),
    "word for a number": ("log.csv", text(CSV + "u,a,4,1\nu,b,good,2\nu,c,bad,3\n"), {},
                          ["log.csv, row 2, column 'rating'", "'good' cannot be read as a number (2 such rows)",
                           "on_bad_rows='drop'"]),
    "a long cell": ("log.csv", text(CSV + f"u,a,{'x' * 10**6},1\n"), {}, ["column 'rating'", "cannot be read as"]),
    "a long part": ("log.csv", text(f"user_id,item_id,part\nu,a,{'x' * 10**6}\n"), {"columns": {"part": "part"}},
                    ["row 1, column 'part'", "is no part of a split"]),
    "decimal comma": ("log.csv", text(CSV + 'u,a,"4,5",1\n'), {}, ["row 1, column 'rating'", "'4,5'"]),
    "day first": ("log.csv", text(CSV + "u,a,4,2020-01-31\nu,b,4,31/01/2020\n"), {},
                  ["log.csv, row 2, column 'timestamp'", "'31/01/2020'", "ISO 8601"]),
    "list for a rating": ("log.jsonl", text(LINE + LINE.replace("4", "[4]")), {},
                          ["log.jsonl, row 2, column 'rating'", "'[4]'"]),
    "true for a time in parquet": ("log.parquet", parquet(user_id=["u"], item_id=["a"], timestamp=[[1]]), {},
                                   ["log.parquet, column 'timestamp'", "it holds List(Int64)", "numbers since 1970"]),
    "too many fields": ("log.csv", text(CSV + "u,a,4,1\nu,b,The Good, the Bad,4,1\n"), {},
                        ["log.csv, line 3", "6 fields where the header has 4", "Quote the values"]),
    "open quote": ("log.csv", text(CSV + 'u,"a,4\nu,b,4,1\nu,c,4,1\n'), {}, ["log.csv, line 2", "never closed"]),
    "latin-1": ("log.csv", text(CSV + "u,a,4,1\nu,café,4,1\n", "latin-1"), {},
                ["log.csv, line 3", "byte 0xe9", "Save the file as UTF-8"]),
    "utf-16": ("log.csv", text(CSV + "u,a,4,1\n", "utf-16"), {}, ["log.csv", "UTF-16", "UTF-8"]),
    "parquet named csv": ("log.csv", parquet(user_id=["u"], item_id=["a"]), {},
                          ["log.csv: is a Parquet file, by its first bytes", "Let its name end in .parquet"]),
    "csv named parquet": ("log.parquet", text(CSV + "u,a,4,1\n"), {}, ["log.parquet", "is no Parquet", "its name"]),
    "excel named parquet": ("log.parquet", raw(b"PK\x03\x04\x14\0"), {}, ["log.parquet", "an Excel workbook", "CSV"]),
    "pdf named csv": ("log.csv", raw(b"%PDF-1.7\n1 0 obj\n"), {}, ["a PDF file", "Export the table as CSV"]),
    "gzip not named so": ("log.csv", raw(WHOLE_GZIP), {}, ["is a gzip file", "Let its name end in .gz"]),
    "named gzip but not so": ("log.csv.gz", text(CSV + "u,a,4,1\n"), {}, ["log.csv.gz", "is no gzip", "without .gz"]),
    "parquet in gzip": ("log.csv.gz", raw(gzip.compress(b"PAR1\x15\0\n")), {}, ["log.csv.gz", "is a Parquet file"]),
    "tar in gzip": ("log.csv.gz", raw(gzip.compress(b"a.csv".ljust(257, b"\0") + b"ustar\0")), {},
                    ["is a tar file", "Unpack it"]),
    "web page": ("log.csv", text("\ufeff\n<!DOCTYPE html>\n<html>"), {}, ["is a web page (HTML)", "Fetch the file"]),
    "binary json": ("log.jsonl", raw(b"\1\2\0\0\n"), {}, ["log.jsonl", "is no text", "CSV in UTF-8"]),
    "utf-16 without its mark": ("log.csv", text(CSV, "utf-16-le"), {}, ["is no text", "CSV in UTF-8"]),
    "many columns": ("log.csv", text(",".join(f"c{n}" for n in range(1000)) + "\n" + "," * 999 + "\n"), {},
                     ["no column 'user_id' (it has: c0, c1, c2, ", "c11 and 988 more)"]),
    "a long name": ("log.csv", text("x" * 10**5 + ",y\n1,2\n"), {}, ["(it has: " + "x" * 40 + "…, y)"]),
    "odd names": ("log.csv", text("a\x1b[2J,b\u200b,\u202ec\n1,2,3\n"), {},
                  [r"(it has: a\x1b[2J, b\u200b, \u202ec)"]),
    "commas in tsv": ("log.tsv", text(CSV + "u,a,4,1\n"), {}, ["log.tsv", "Set data.options.delimiter=','"]),
    "whole lines quoted": ("log.csv", text('"user_id,item_id"\n"u,a"\n'), {},
                           ["no column 'user_id'", "Remove the quotes around whole lines"]),
    "json cut off": ("log.jsonl", text(LINE * 3 + LINE[:20]), {}, ["log.jsonl, line 4", "cut off", "fetched whole"]),
    "json NaN": ("log.jsonl", text(LINE + LINE.replace("4", "NaN")), {},
                 ["log.jsonl, line 2", "NaN is not JSON", "Write null"]),
    "json array": ("log.jsonl", text(f"[{LINE}]".replace("\n", "")), {}, ["log.jsonl, line 1", "list, not an object"]),
    "json syntax": ("log.jsonl", text(LINE + "{'user_id': 'u'}\n" + LINE), {},
                    ["log.jsonl, line 2", "not JSON", "one JSON object a line"]),
    "gzip cut off": ("log.csv.gz", raw(WHOLE_GZIP[: len(WHOLE_GZIP) // 2]), {},
                     ["log.csv.gz", "gzip file ends too early", "fetched whole"]),
    "parquet cut off": ("log.parquet", raw(b"PAR1" + b"\0" * 40), {}, ["log.parquet", "not a whole Parquet file"]),
    "missing picture folder": ("log.csv", text(CSV + "u,a,4,1\n"), {"image_folder": "pics"},
                               ["pics", "no such folder", "Correct image_folder"]),
}  # fmt: skip


def ingest(folder: Path, **settings) -> None:
    source = OwnTables(make_settings(OwnTables.Settings, settings, "data"))
    canonicalise(source.tables(folder, run=QUIET), CanonicalSettings(), "mine", folder / "out", run=QUIET)


@pytest.mark.parametrize("case", BROKEN)
def test_the_message_names_the_file_the_place_and_the_remedy(tmp_path, case):
    name, make, settings, words = BROKEN[case]
    make(tmp_path / name)
    with pytest.raises(DataError) as caught:
        ingest(tmp_path, interactions=name, **settings)
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert caught.value.remedy.endswith((".", "?"))
    assert "polars" not in message.lower()
    assert "\n" not in message
    assert message.replace("\\", "").isprintable()
    assert len(message) < 1500


@pytest.mark.parametrize("word", ["PAR1", "BZh", "ORC", "ARROW1", "Rar!", "Obj", "7z", "PK"])
def test_a_header_may_begin_as_a_binary_file_does(tmp_path, word):
    (tmp_path / "log.csv").write_text(f"{word},user_id,item_id\n1,u,a\n1,v,b\n")
    ingest(tmp_path, interactions="log.csv")


@pytest.mark.parametrize(
    ("content", "columns", "words"),
    [
        ("id,title\na,A\n", {}, ["no column 'item_id'", "Set data.options.item_columns.id"]),
        ("item_id,titel\na,A\n", {"title": "title"}, ["Did you mean 'titel'?", "Set data.options.item_columns.title"]),
        ("item_id,title\na,A\n", {"attributes": ["genre"]}, ["no column 'genre'", "item_columns.attributes"]),
        ("item_id,title\nx,A\n", {}, ["no item of the interactions ('a', …)", "('x', …)", "same ids"]),
    ],
)
def test_item_tables_are_held_to_the_same(tmp_path, content, columns, words):
    (tmp_path / "log.csv").write_text(CSV + "u,a,4,1\n")
    (tmp_path / "items.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        ingest(tmp_path, interactions="log.csv", items="items.csv", item_columns=columns)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_item_cells_of_two_shapes_are_refused_by_line(tmp_path):
    (tmp_path / "log.csv").write_text(CSV + "u,a,4,1\n")
    (tmp_path / "items.jsonl").write_text('{"item_id": "a", "tags": ["x"]}\n{"item_id": "b", "tags": {"y": 1}}\n')
    with pytest.raises(DataError, match=r"items\.jsonl, line 2: 'tags' is an object here and a list in an earlier"):
        ingest(tmp_path, interactions="log.csv", items="items.jsonl", item_columns={"attributes": ["tags"]})


def test_nested_item_cells_are_refused_by_column(tmp_path):
    (tmp_path / "log.csv").write_text(CSV + "u,a,4,1\n")
    (tmp_path / "items.jsonl").write_text('{"item_id": "a", "details": {"brand": "x"}}\n')
    with pytest.raises(DataError, match=r"items\.jsonl, column 'details': it holds Struct.*Give text"):
        ingest(tmp_path, interactions="log.csv", items="items.jsonl", item_columns={"attributes": ["details"]})


def test_a_fault_far_down_a_large_file_is_found(tmp_path):
    lines = [f"u{number},i{number % 97},3,{number}" for number in range(200_000)]
    lines[150_000] = "u,i,3.5.1,7"
    (tmp_path / "log.csv").write_text(CSV + "\n".join(lines))
    with pytest.raises(DataError, match=r"row 150001, column 'rating': '3\.5\.1'"):
        ingest(tmp_path, interactions="log.csv")
