"""Reading tables: what is forgiven, and what is refused with file, row and remedy."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import Count
from recsys.data.reading.files import TABS, Layout
from recsys.data.reading.tables import scan_table
from recsys.data.sources.own import OwnTables

TYPES = {"user": pl.String, "rating": pl.Float32, "time": pl.Int64}


def scan(path: Path, content: str | bytes, **options: object) -> pl.DataFrame:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return scan_table(path, TYPES, **options).collect()


GOOD = [("a", 1.5, 10), ("b", 2.0, 20)]


@pytest.mark.parametrize(
    "content",
    [
        "user,rating,time\na,1.5,10\nb,2,20\n",
        "user,rating,time\na,1.5,10\nb,2,20",
        "user,rating,time\r\na,1.5,10\r\nb,2,20\r\n",
        "\ufeffuser,rating,time\na,1.5,10\nb,2,20\n",
        'time,"user",other,rating\n10,a,x,1.5\n20.0,"b","y, z\nnew line",2e0\n',
    ],
    ids=["plain", "no last newline", "windows", "byte order mark", "other order, quotes"],
)
def test_the_same_rows_in_other_clothes(content: str, tmp_path: Path) -> None:
    frame = scan(tmp_path / "a.csv", content)
    assert frame.rows() == GOOD
    assert dict(frame.schema) == TYPES


def test_gzip_and_other_separators(tmp_path: Path) -> None:
    content = gzip.compress(b"user\trating\ttime\na\t1.5\t10\nb\t2\t20\n")
    assert scan(tmp_path / "a.tsv.gz", content, layout=TABS).rows() == GOOD


def test_without_a_header(tmp_path: Path) -> None:
    frame = scan(tmp_path / "a.csv", "a,1.5,x,10\nb,2,y,20\n", layout=Layout(names=("user", "rating", "", "time")))
    assert frame.rows() == GOOD


def test_blank_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    counts: list[Count] = []
    assert scan(tmp_path / "a.csv", "user,rating,time\na,1.5,10\n\nb,2,20\n\n", counts=counts).rows() == GOOD
    assert counts == [Count("blank rows of a.csv skipped", 2)]


def test_optional_columns_may_be_missing_or_null(tmp_path: Path) -> None:
    frame = scan(tmp_path / "a.csv", "user,rating\na,\nb,2\n", optional=("rating", "time"))
    assert frame.rows() == [("a", None, None), ("b", 2.0, None)]
    assert dict(frame.schema) == TYPES


def test_not_a_number_is_passed_on_to_be_counted(tmp_path: Path) -> None:
    frame = scan(tmp_path / "a.csv", "user,rating,time\na,NaN,10\n")
    assert np.isnan(frame["rating"][0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("user,rating,time\na,1,10\nb,x,20\n", r"row 2: column 'rating' is 'x', not a number"),
        ("user,rating,time\na,1,10.5\n", r"row 1: column 'time' is '10.5', not a whole number"),
        ("user,rating,time\na,1,2020-01-01\n", r"row 1: column 'time' is '2020-01-01'"),
        ("user,rating,time\na,1,inf\n", r"row 1: column 'time' is 'inf'"),
        ("user,rating,time\na,1,10\n,2,20\n", r"row 2: column 'user' is empty"),
        ("user,rating,time\na,1\n", r"row 1: column 'time' is empty"),
        ("user,rating,time\na,1,10\nb,2,20,30\n", r"row 2: has 4 columns where the file has 3"),
        ("user,rating,time\na,1,10\n\"b,2\n", r"line 3: a quote is opened there and never closed"),
        (b"user,rating,time\na,1,10\nb\xff,2,20\n", r"row 2: is not UTF-8"),
        ("user,raiting,time\na,1,10\n", r"no column 'rating'. Did you mean 'raiting'"),
        ("user,rating,time,user\na,1,10,b\n", r"column 'user' twice"),
        ("a,1,10\n", r"no column 'user'"),
        ("user,rating,time\n", r"has no rows"),
        ("user,rating,time\n\n\n", r"has no rows"),
        ("", r"is empty"),
        (b"\xff\xfeu\x00", r"is UTF-16 text, by its first bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(content: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"a\.csv.*{words}") as caught:
        scan(tmp_path / "a.csv", content)
    assert caught.value.remedy


def test_a_missing_file_and_a_broken_gzip_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: is not there"):
        scan_table(tmp_path / "none.csv", TYPES)
    with pytest.raises(DataError, match=r"a\.csv\.gz"):
        scan(tmp_path / "a.csv.gz", b"no gzip")
    whole = gzip.compress(b"user,rating,time\n" + b"".join(b"u%d,1,%d\n" % (n, n) for n in range(5000)))
    with pytest.raises(DataError, match=r"b\.csv\.gz"):
        scan(tmp_path / "b.csv.gz", whole[: len(whole) // 2])


def test_a_gzip_with_other_bytes_in_it_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = "".join(f"u{number},1,{number}\n" for number in rng.integers(0, 10**9, 50_000))
    content = bytearray(gzip.compress(f"user,rating,time\n{lines}".encode()))
    content[len(content) // 2 : len(content) // 2 + 99] = b"\xff" * 99
    with pytest.raises(DataError, match=r"a\.csv\.gz"):
        scan(tmp_path / "a.csv.gz", bytes(content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("\n\nuser,rating,time\na,1,10\n\nb,x,20\n", r"row 3: column 'rating' is 'x'"),
        ("\n\nuser,rating,time\na,1,10\n\nb,2,20,30\n", r"row 3: has 4 columns"),
        ('\ufeff"user",rating,time\n"a,b",1,10\nb,2,20,30\n', r"row 2: has 4 columns"),
    ],
    ids=["a value after blank lines", "columns after blank lines", "byte order mark before a quote"],
)
def test_rows_are_counted_from_the_header(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        scan(tmp_path / "a.csv", content)


JSON = '{"user": "a", "rating": 1.5, "time": 10, "style": %s}\n'


def test_json_lines_and_parquet_are_the_same_table(tmp_path: Path) -> None:
    text = JSON % '["x"]' + "\n" + '{"time": 20, "rating": 2, "user": "b"}'
    assert scan(tmp_path / "a.jsonl", text).rows() == GOOD
    frame = pl.DataFrame(GOOD, schema=["user", "rating", "time"], orient="row")
    frame.write_parquet(tmp_path / "a.parquet")
    table = scan_table(tmp_path / "a.parquet", TYPES).collect()
    assert table.rows() == GOOD
    assert dict(table.schema) == TYPES


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ('{"user": "a", "rating": [1], "time": 10}', r"row 3: column 'rating' is '\[1\]', not a number"),
        ('{"user": "a", "rating": 1, "time": 10.5}', r"row 3: column 'time' is '10.5', not a whole number"),
        ('{"user": null, "rating": 1, "time": 10}', r"row 3: column 'user' is empty"),
        ('{"user": "a", "rating": NaN, "time": 10}', r"row 3: cannot be read: NaN is not JSON"),
        ('{"user": "a", "rating"', r"row 3: cannot be read: the line is cut off"),
        ("null", r"row 3: cannot be read: is NoneType, not an object"),
    ],
)
def test_a_bad_json_line_is_named_though_others_are_of_mixed_shapes(last: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"a\.jsonl, {words}"):
        scan(tmp_path / "a.jsonl", JSON % '["x"]' + JSON % '{"x": 1}' + last)


def test_a_bad_row_far_down_is_found(tmp_path: Path) -> None:
    lines = [f"u{n},1,{n}" for n in range(300_000)]
    lines[271_827] = "u,1,soon"
    with pytest.raises(DataError, match="row 271828: column 'time' is 'soon'"):
        scan(tmp_path / "a.csv", "user,rating,time\n" + "\n".join(lines))


_CELL = st.text(st.sampled_from(list('ab1.,"\n\té ')), max_size=5)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_CELL, min_size=1, max_size=4).map(",".join), max_size=5))
def test_any_text_gives_rows_or_an_error_that_names_the_file(tmp_path_factory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("any") / "a.csv"
    counts: list[Count] = []
    text = "\n".join(lines)
    try:
        frame = scan(path, "user,rating,time\n" + text, counts=counts)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert frame.null_count().sum_horizontal().item() == 0
        if '"' not in text:  # else a row may span lines
            skipped = sum(count.rows for count in counts)
            assert len(frame) + skipped == len(text.removesuffix("\n").split("\n"))


def test_a_key_that_comes_late_in_json_lines_is_read(tmp_path: Path) -> None:
    first, last = '{"user_id": "u", "item_id": "a"}\n', '{"user_id": "u", "item_id": "b", "rating": 4}\n'
    (tmp_path / "log.jsonl").write_text(first * 10_001 + last)
    tables = OwnTables(OwnTables.Settings(interactions="log.jsonl")).tables(tmp_path, run=Run(log=lambda message: None))
    assert tables.interactions.collect()["rating"].drop_nulls().to_list() == [4]
