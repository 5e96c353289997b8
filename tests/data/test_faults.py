"""Where a file is broken: the line or row, the cause and the remedy, found again after the fast reader has failed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from recsys.core.errors import DataError
from recsys.data.reading.faults import Fault, decoded, explain, first_line, parsed_lines
from recsys.data.reading.files import Layout, need, only, open_bytes, pick, suffix_of

ROWS, LINES, NO_HEADER = Layout(), Layout(unit="line"), Layout(names=("a", "b"))


def explained(path: Path, content: bytes, layout: Layout = ROWS) -> str:
    path.write_bytes(content)
    return str(explain(path, ValueError("why\nand more"), layout)).replace(f"file {path}", path.name, 1)


@pytest.mark.parametrize(
    ("content", "layout", "place"),
    [
        (b"a,b\n1,2\n3,\xff\n", ROWS, "row 2: is not UTF-8"),
        (b"a,b\n1,2\n3,\xff\n", LINES, "line 3: is not UTF-8"),
        (b"a,\xff\n1,2\n", ROWS, "row 0: is not UTF-8"),
        (b"a,b\n1,2\n\n3,\xff\n4,\xff\n", ROWS, "row 3: is not UTF-8"),
        (b"\n\r\n\na,b\n1,2\n\n3,\xff", ROWS, "row 3: is not UTF-8"),
        (b"\n\r\n\na,b\n1,2\n\n3,\xff", LINES, "line 7: is not UTF-8"),
        (b'a,b\n"1","2"\n3,4\n5,\xff\n6,7\n', ROWS, "row 3: is not UTF-8"),
        (b'a,b\n"1\n2",3\n"4\n\n",5\n6,\xff\n', ROWS, "row 3: is not UTF-8"),
        (b'a,b\n"1\n2",3\n"4\n\n",5\n6,\xff\n', LINES, "line 7: is not UTF-8"),
        (b'a,b\n"1\n\xff\n3",3\n', LINES, "line 4: is not UTF-8"),
        (b"1,2\n3,\xff\n", NO_HEADER, "row 2: is not UTF-8"),
        (b"\n3,\xff\n", NO_HEADER, "row 2: is not UTF-8"),
        (b'a,b\n1,"\n3,\xff\n', Layout(quote=None), "row 2: is not UTF-8"),
    ],
)
def test_the_place_in_a_table_of_cells(content, layout, place, tmp_path):
    assert explained(tmp_path / "a.csv", content, layout).startswith(f"a.csv, {place}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n\n{"a": NaN}\n{"a": }\n', "row 3: cannot be read: NaN is not JSON. Write null instead."),
        (b'{"a": 1}\n{"a"', "row 2: cannot be read: the line is cut off."),
        (b'{"a": 1}\n[1]\n', "row 2: cannot be read: is list, not an object. Mend or remove that line."),
        (
            b'{"a": 1, "b": [1]}\n{"a": [1]}\n{"b": {}}\n',
            "row 2: 'a' is a list here and a plain value in an earlier line.",
        ),
        (
            b'{"a": null}\n{"a": {"b": 1}}\n{"a": null}\n{"a": 2}\n',
            "row 4: 'a' is a plain value here and an object in an earlier line.",
        ),
        (b'{"a": 1}\n{"a": [1]}\n5\n', "row 3: cannot be read: is int, not an object."),
        (b'{"a": 1}\n{"a": "\xe9"}\n', "row 2: is not UTF-8 text (byte 0xe9 in"),
    ],
)
def test_the_place_in_json_lines(content, message, tmp_path):
    assert explained(tmp_path / "a.jsonl", content).startswith(f"a.jsonl, {message}")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_where_no_line_is_broken_the_readers_first_line_is_told(name, tmp_path):
    message = explained(tmp_path / name, b'{"a": 1}\n{"a": null}\n')
    assert message == f"{name}: cannot be read: why. Export it again, or write it as Parquet."
    message = explained(tmp_path / "a.parquet", b"PAR1")
    assert message == "a.parquet: not a whole Parquet file (why). Export or fetch it again."


def test_a_damaged_gzip_names_the_last_sound_row(tmp_path):
    damaged = gzip.compress(b"{}\n" * 7)[:-8]  # the lines are whole, the check sum is not there
    words = "is damaged: the gzip file ends too early. It was not written or fetched whole: do that again."
    assert explained(tmp_path / "a.csv.gz", damaged) == f"a.csv.gz, after row 6: {words}"
    (tmp_path / "a.jsonl.gz").write_bytes(damaged)
    with pytest.raises(DataError, match=rf"a\.jsonl\.gz, after row 7: {words}"):
        list(parsed_lines(tmp_path / "a.jsonl.gz", json.loads))
    with pytest.raises(DataError, match=r"a\.csv\.gz: is no gzip file, by its first bytes\. Let its name end without"):
        explained(tmp_path / "a.csv.gz", b"no gzip")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"0123456789abcdef\xe9ghijklmnopqrst", "byte 0xe9 in '6789abcdeféghijklmno')"),
        (b"ab\xe9c", "byte 0xe9 in 'abéc')"),
        (b"\xff", "byte 0xff in 'ÿ')"),
        (b"0123456789\xe9", "byte 0xe9 in '0123456789é')"),
    ],
)
def test_what_is_not_utf8_is_shown_with_ten_bytes_around_it(line, shown):
    with pytest.raises(Fault) as caught:
        decoded(line)
    assert str(caught.value) == f"is not UTF-8 text ({shown}"
    assert "Save the file as UTF-8" in caught.value.remedy


def test_a_byte_order_mark_is_no_text():
    assert decoded(b"\xef\xbb\xbfa\xc3\xa9") == "aé"


@pytest.mark.parametrize(
    ("error", "line"), [(ValueError("\n one\ntwo\n"), "one"), (OSError(), "OSError"), (EOFError(" "), "EOFError")]
)
def test_of_an_error_the_first_line_is_told(error, line):
    assert first_line(error) == line


def test_lines_are_parsed_one_by_one_and_faults_kept_short(tmp_path):
    def parse(text: str) -> object:
        if text.startswith("!"):
            raise ValueError("x" * 300)
        return json.loads(text)

    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n!\n[]\n \n{"b": 2}')
    (first, long, shape, last) = list(parsed_lines(tmp_path / "a.jsonl", parse))
    assert (first, last) == ((1, {"a": 1}), (6, {"b": 2}))
    assert (long[0], str(long[1])) == (3, "cannot be read: " + "x" * 184)
    assert (shape[0], str(shape[1])) == (4, "cannot be read: is list, not an object")
    assert long[1].remedy == "Mend or remove that line."


# -- which file is meant --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.csv", ".csv"), ("a.b.CSV.gz", ".csv"), ("a.gz", ""), ("a", ""), ("a.tsv.csv", ".csv"), ("a.GZ", "")],
)
def test_the_suffix_is_the_last_one_but_gz(name, suffix):
    assert suffix_of(Path(name)) == suffix


def test_names_in_capitals_are_unpacked_too(tmp_path):
    for name in ("a.csv.gz", "b.CSV.GZ"):
        (tmp_path / name).write_bytes(gzip.compress(b"a\n"))
        with open_bytes(tmp_path / name) as file:
            assert file.read() == b"a\n"


def test_of_a_missing_file_eight_neighbours_are_named(tmp_path):
    for number in range(9, 0, -1):
        (tmp_path / f"f{number}").write_text("x")
    near = "In that folder: f1, f2, f3, f4, f5, f6, f7, f8."
    for remedy, expected in ((None, near), ("Fetch it.", "Fetch it.")):
        with pytest.raises(DataError) as caught:
            need(tmp_path / "g", remedy)
        assert caught.value.remedy == expected
        with pytest.raises(DataError) as caught:
            need(tmp_path / "none" / "g", remedy)
        assert caught.value.remedy == (remedy or "Check the folder's name.")
    assert need(tmp_path / "f1") == tmp_path / "f1"


def test_the_first_name_that_is_a_file_is_picked(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("b", "c"):
        (tmp_path / name).write_text("")
    assert pick(tmp_path, "a", "none", "c", "b") == tmp_path / "c"
    assert pick(tmp_path, "a", "none") is None


def test_one_of_a_kind_is_wanted():
    assert only(Path("f"), ["a.inter"], "*.inter", "Give one.") == "a.inter"
    for found, cause in (([], "holds no *.inter"), (["a", "b"], "holds a, b")):
        with pytest.raises(DataError) as caught:
            only(Path("f"), found, "*.inter", "Give one.")
        assert str(caught.value) == f"folder f: {cause}. Give one."
