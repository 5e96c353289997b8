"""Tables from end to end: names of files and columns, keys of JSON lines, counts, and the first bad cell."""

from __future__ import annotations

import bz2
import gzip
import lzma

import polars as pl
import pytest

from recsys.core.errors import DataError
from recsys.core.values import Count
from recsys.data.reading import tables
from recsys.data.reading.files import Layout
from recsys.data.reading.tables import collect_table, header_of, n_records, open_table, scan_table, short_rows
from recsys.data.reading.times import Time


def test_the_header_the_records_and_the_short_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3\n\n4\n")
    assert header_of(path) == ["a", "b"]
    assert n_records(path) == 4
    what = "a.csv: rows with fewer fields than the header: the others are empty"
    assert short_rows(path) == [Count(what, 2, "first: line 3")]
    counts, records = [], []
    frame = scan_table(path, {"a": pl.Int64}, counts=counts, records=records).collect()
    assert frame["a"].to_list() == [1, 3, 4]
    assert counts == [Count("blank rows of a.csv skipped", 1), Count(what, 2, "first: line 3")]
    assert records == [3]
    path.write_text("a,b\n1,2\n")
    assert short_rows(path) == []


@pytest.mark.parametrize("name", ["a[1].csv", "a*.csv", "a[1].jsonl", "a?.jsonl", "a[1].parquet", "a*.parquet"])
def test_names_of_files_are_no_patterns(name, tmp_path):
    frame, path = pl.DataFrame({"x": [1, 2]}), tmp_path / name
    {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}[path.suffix](path)
    assert collect_table(open_table(path, as_text=False), path).height == 2
    assert scan_table(path, {"x": pl.Int64}).collect()["x"].to_list() == [1, 2]


def test_columns_without_a_name_are_called_by_their_place(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3\n4,5\n")
    frame = open_table(tmp_path / "a.csv", Layout(names=("", "b", ""))).collect()
    assert frame.to_dict(as_series=False) == {"column_0": ["1", "4"], "b": ["2", "5"], "column_2": ["3", None]}


def test_keys_of_json_lines_in_order_and_those_hoped_for(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "JSON_LOOK_AHEAD", 3)
    path = tmp_path / "a.jsonl"
    path.write_text('{"b": 1}\n\n{"a": [2], "b": null}\n{"c": 3, "d": 4}\n{"x": "none", "e": 5}\n')
    assert header_of(path) == ["b", "a"]
    table = open_table(path, hoped=("e", "a", "c", "none"))
    assert table.collect().to_dict(as_series=False) == {
        "b": ["1", None, None, None], "a": [None, "[2]", None, None], "c": [None, None, "3", None],
        "e": [None, None, None, "5"],
    }  # fmt: skip
    assert open_table(path, keys={"d": pl.Int64}).collect()["d"].to_list() == [None, None, 4, None]
    assert open_table(path, as_text=False).collect()["a"].to_list() == [None, [2], None, None]


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\xff\xfea\0", r"UTF-16 text, by its first bytes\. Save it as UTF-8\."),
        (b"\xfe\xffa\0", "UTF-16 text"),
        (b"PK\x03\x04\x14", "a zip file or an Excel workbook"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), r"a gzip file, by its first bytes\. Let its name end in \.gz"),
        (b"SQLite format 3\0", r"an SQLite database, .*Export its table as CSV or Parquet"),
        (bz2.compress(b"a,b\n"), "a bzip2 file"),
        (lzma.compress(b"a,b\n"), "an xz file"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_what_is_no_text_is_named(start, what, name, tmp_path):
    (tmp_path / name).write_bytes(start)
    with pytest.raises(DataError, match=what):
        open_table(tmp_path / name)


def test_parquet_and_arrow_files_of_another_name_are_named(tmp_path):
    frame = pl.DataFrame({"a": [1]})
    frame.write_parquet(tmp_path / "a.csv")
    frame.write_ipc(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"is a Parquet file, by its first bytes\. Let its name end in \.parquet"):
        open_table(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"is an Arrow .* file, by its first bytes"):
        open_table(tmp_path / "b.csv")


@pytest.mark.parametrize("header", ["PAR1,BZh", "ARROW1,PK", "%PDF,SQLite format"])
def test_text_that_begins_alike_is_text(header, tmp_path):
    (tmp_path / "a.csv").write_text(f"{header}\n1,2\n")
    assert open_table(tmp_path / "a.csv").collect_schema().names() == header.split(",")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,t\n1,x,5\n1,2,y\n", "row 1: column 'b' is 'x', not a number."),
        ("a,b,t\n1,2,5\nx,y,5\n", "row 2: column 'a' is 'x', not a whole number."),
        ("a,b,t\n1,2,5\n1,2,x\n", "row 2: column 't' is 'x', not a number since 1970, as most of this column are."),
        ("a,b,t\n1,2,\n", "row 1: column 't' is empty."),
        ("a,b,t\n1," + "x" * 100 + ",5\n", "row 1: column 'b' is '" + "x" * 79 + ", not a number."),
        ("a,t,b,b\n1,2,3,4\n", "has column 'b' twice. Rename one of them."),
        ("a,b\n1,2\n", "has no column 't'."),
        ("a,b,t\n,,\n", "has no rows."),
    ],
)
def test_the_first_cell_that_cannot_be_used_is_named(text, message, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        scan_table(tmp_path / "a.csv", {"a": pl.Int64, "b": pl.Float64, "t": Time()})
    assert message in str(caught.value)


def test_rows_that_the_parser_loses_are_missed(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("a\n1\n2\n")
    monkeypatch.setattr(tables, "n_records", lambda path, layout: 3)
    with pytest.raises(DataError, match="2 records were read of 3 that it holds"):
        scan_table(tmp_path / "a.csv", {"a": pl.Int64})
