"""Copies with sound quotes: byte for byte what the parser is given in place of a file that it would misread."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from recsys.core.errors import DataError
from recsys.data.reading import repair
from recsys.data.reading.files import Layout
from recsys.data.reading.repair import sound

CSV, COLONS = Layout(), Layout("::")
HEAD = "a::b\n"


def write(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "layout", "copy", "n"),
    [
        ('a,b\n7" tablet,1\n', CSV, 'a,b\n"7"" tablet",1\n', 1),
        ('a,b\n"x,1\n2,y\n', CSV, 'a,b\n"""x",1\n2,y\n', 2),
        ('a,b\n"1,2"\n', CSV, 'a,b\n"""1","2"""\n', 1),
        ('a,b\n"1,"2"\n', CSV, 'a,b\n"""1",2\n', 1),
        ("a,b\r1,2\r", CSV, "a,b\n1,2\n", 1),
        ("\ufeff" + HEAD + "1::2", COLONS, "a,b\n1,2\n", 1),
        ("a::b\r\n1::2\r\n\r\n3::4\r\n", COLONS, "a,b\n1,2\n\n3,4\n", 3),
        ("\n" + HEAD + "1::2\n", COLONS, "\na,b\n1,2\n", 1),
        (HEAD + "1,5::x:y\n::\n", COLONS, 'a,b\n"1,5",x:y\n,\n', 2),
        (HEAD + '"x\ny"::2\n3::4\n', COLONS, 'a,b\n"x\ny",2\n3,4\n', 2),
        (HEAD + '1::"x\ny\n""z"""\n3::4\n', COLONS, 'a,b\n1,"x\ny\n""z"""\n3,4\n', 2),
        (HEAD + '1::"2\n3::4\n', COLONS, 'a,b\n1,"""2"\n3,4\n', 2),
        (HEAD + '"1::2"\n', COLONS, 'a,b\n"""1","2"""\n', 1),
        (HEAD + '"1::2"::3\n', COLONS, "a,b\n1::2,3\n", 1),
        (HEAD + '"1""::2"::""\n', COLONS, 'a,b\n"1""::2",\n', 1),
        (HEAD + '"1"x::2\n', COLONS, 'a,b\n"""1""x",2\n', 1),
        (HEAD + '"1,5\n3"::4\n', COLONS, 'a,b\n"1,5\n3",4\n', 1),
        (HEAD + '"q::1\na::b\nc::"d"\ne::f\n', COLONS, 'a,b\n"""q",1\na,b\nc,d\ne,f\n', 4),
        ('"a\nb"::c\n1::2\n', COLONS, '"a\nb",c\n1,2\n', 1),
        ("::b\n1::2\n", COLONS, ",b\n1,2\n", 1),
        ('"1::2"\n3::4\n', Layout("::", names=("a", "b")), '"""1","2"""\n3,4\n', 2),
        (HEAD + 'p::"q\nr"::"s\nt"\n', COLONS, 'a,b\np,"""q"\n"r""","s\nt"\n', 2),
        ("a\nb\n", COLONS, "a\nb\n", 1),
        ('a\n"b\nc"\nd\n', COLONS, 'a\n"b\nc"\nd\n', 2),
        (HEAD + '"1"::"2\n', Layout("::", quote=None), 'a,b\n"""1""","""2"\n', 1),
        ("1::2\n3::4\n", Layout("::", names=("a", "b")), "1,2\n3,4\n", 2),
    ],
)  # fmt: skip
def test_the_copy(text, layout, copy, n, tmp_path):
    for name in ("a.csv", "b.csv.gz"):
        found = sound(write(tmp_path, text, name), layout)
        assert found.path.read_bytes().decode() == copy
        assert found.path.name == name.removesuffix(".gz")
        assert found.survey.records == n
        assert found.layout == Layout(",", '"', layout.names, tolerant=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + '1::2\n"3::4\n5"::6\n', "line 3: .* for 2 lines, .* these are 2 records"),
        (HEAD + '"x\ny"::2\n"3::4\n5::6\n7"::8\n', "line 4: .* for 3 lines"),
        (HEAD + '"1::2::3\n', "line 2: a quote is opened there and never closed"),
        (HEAD + '"x\ny"::2\n"3\n', "line 4: a quote is opened there and never closed"),
        (HEAD + '"x\n\n"y\nz"::2\n', "line 2: a quote is opened there and never closed"),
        (HEAD + '"1\n2"\n', "line 2: a quote is opened there and never closed"),
        (HEAD + "1::2::3\n", "row 1: has 3 columns where the file has 2"),
    ],
)
def test_what_has_two_readings_or_none_is_refused_with_its_line(text, words, tmp_path):
    with pytest.raises(DataError, match=rf"a\.csv, {words}"):
        sound(write(tmp_path, text), COLONS)


def test_a_carriage_return_inside_the_header_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv: its lines end in a carriage return alone"):
        sound(write(tmp_path, "a,b\r1,2\r\n3,4\r\n"), CSV)


def test_where_quotes_have_to_be_sound_others_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv, line 3: a quote stands inside a field.*quoting='auto'"):
        sound(write(tmp_path, 'a,b\n1,2\n7"" tablet,1\n'), Layout(tolerant=False))
    assert sound(write(tmp_path, "a,b\r1,2\r", "b.csv"), Layout(tolerant=False)).survey.records == 1


@pytest.mark.parametrize(("lines", "is_whole"), [(3, True), (4, False)])
def test_a_field_takes_a_limited_number_of_lines(lines, is_whole, tmp_path, monkeypatch):
    monkeypatch.setattr(repair, "MOST_LINES", 3)
    path = write(tmp_path, HEAD + '"' + "\n".join("x" * lines) + '"::2\n')
    if is_whole:
        assert sound(path, COLONS).survey.records == 1
    else:
        with pytest.raises(DataError, match="line 2: a quote is opened there and never closed"):
            sound(path, COLONS)


@pytest.mark.parametrize(("longest", "is_whole"), [(8, True), (7, False)])
def test_a_field_takes_a_limited_number_of_bytes(longest, is_whole, tmp_path, monkeypatch):
    monkeypatch.setattr(repair, "LONGEST", longest)
    path = write(tmp_path, HEAD + '"x\nyz"::\n')  # 8 bytes without the line's end
    if is_whole:
        assert sound(path, COLONS).survey.records == 1
    else:
        with pytest.raises(DataError, match="line 2: a quote is opened there and never closed"):
            sound(path, COLONS)


def test_a_sound_file_is_read_itself(tmp_path):
    path = write(tmp_path, "a,b\n1,2\n")
    found = sound(path, CSV)
    assert (found.path, found.layout, found.survey.records) == (path, Layout(quote=None), 1)
    assert sound(path, CSV) is found
    path = write(tmp_path, 'a,b\n"1",2\n3,4\n')
    assert (sound(path, CSV).path, sound(path, CSV).layout, sound(path, CSV).survey.records) == (path, CSV, 2)


def test_of_json_lines_only_a_byte_order_mark_is_taken_away(tmp_path):
    path = write(tmp_path, '{"a": "\ufeff"}\n', "a.jsonl")
    assert sound(path, CSV).path == path
    for name in ("b.jsonl", "c.jsonl.gz"):
        found = sound(write(tmp_path, '\ufeff{"a": "\ufeff"}\n{}\n', name), CSV)
        assert found.path.read_text() == '{"a": "\ufeff"}\n{}\n'
        assert found.path.name == name.removesuffix(".gz")
        assert found.survey.records == 2


def test_the_records_of_parquet_are_its_rows(tmp_path):
    pl.DataFrame({"a": [1, 2, 3]}).write_parquet(tmp_path / "a.parquet")
    assert sound(tmp_path / "a.parquet", CSV).survey.records == 3
