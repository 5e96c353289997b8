"""What a file holds, counted apart from the parser: records, short ones, quotes, and where the first fault stands."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from recsys.core.errors import DataError
from recsys.data.reading import records
from recsys.data.reading.files import Layout
from recsys.data.reading.records import Survey, UnsoundError, conserved, survey

CSV, STRICT = Layout(), Layout(tolerant=False)
NO_HEADER, NO_QUOTES, LINES = Layout(names=("a", "b")), Layout(quote=None), Layout(unit="line")


@pytest.fixture(params=[2**18, 9, 11], ids="blocks of {}".format)
def _blocks(request, monkeypatch) -> None:
    monkeypatch.setattr(records, "BLOCK", request.param)


def write(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("text", "layout", "found"),
    [
        ("a,b\n1,2\n", CSV, Survey(1)),
        ("a,b\n1,2\n3,4", CSV, Survey(2)),
        ("\ufeffa,b\n1,2\n", CSV, Survey(1)),
        ('\ufeff"a","b"\n1,2\n', CSV, Survey(1, quoted=True)),
        ("a,b\n", CSV, Survey(0)),
        ("\n\n", CSV, Survey(0)),
        ("a\n1\n2\n\n", CSV, Survey(3)),
        ("a,b\n1,2\n\n3,4\n", CSV, Survey(3)),
        ("a,b,c\n1,2,3\n4,5\n\n6\n7,8,9\n", CSV, Survey(5, 2, 3)),
        ("a,b,c,d\n1,2\n3,4,5,6\n", CSV, Survey(2, 1, 2)),
        ("\n\r\na,b\n1,2\n3\n", CSV, Survey(2, 1, 5)),
        ("a,b\r\n1,2\r\n\r\n3\r\n", CSV, Survey(3, 1, 4)),
        ('a,b\n"1",2\n', CSV, Survey(1, quoted=True)),
        ('"a","b"\r\n"1","2"\r\n', CSV, Survey(1, quoted=True)),
        ('a,b\n"x\n\ny",2\n3\n4\n', CSV, Survey(3, 2, 5, True)),
        ('a,b\n"1,""2",3\n"",""\n', CSV, Survey(2, quoted=True)),
        ('"a\nb",cd\r\n1,2\r\n', CSV, Survey(1, quoted=True)),
        ('a,b\n1,"2"', CSV, Survey(1, quoted=True)),
        ('a\n"x\ny"\n', CSV, Survey(1, quoted=True)),
        ('a,b\n"1,2\n3",4\n', STRICT, Survey(1, quoted=True)),
        ('a,b\n"1,2"\n3,4\n', STRICT, Survey(2, 1, 2, True)),
        ("1,2\n3\n", NO_HEADER, Survey(2, 1, 2)),
        ("\n1,2\n3\n", NO_HEADER, Survey(3, 1, 3)),
        ('a,b\n"1,2\n', NO_QUOTES, Survey(1)),
    ],
)
def test_the_survey_of_cells(text, layout, found, tmp_path):
    assert survey(write(tmp_path, text), layout) == found
    assert survey(write(tmp_path, text, "a.csv.gz"), layout) == found


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("text", "n"),
    [
        ('{"a": 1}\n{"a": 2}\n', 2),
        ('\ufeff{"a": 1}\n\n \t\r\n {"a": 2}', 2),
        ('\n\r\n{"a": 1}\r\n\t{"a": 2}\n \n', 2),
        ("\n", 0),
        ("1\n2\n3", 3),
    ],
)
def test_blank_lines_are_no_records_of_json_lines(text, n, tmp_path):
    assert survey(write(tmp_path, text, "a.jsonl"), CSV) == Survey(n)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('a,b\n1,2\nx"y",2\n', 3, "a quote stands inside a field"),
        ('a,b\n1,2\n1,"x"y\n', 3, "a quote stands inside a field"),
        ('a,b\n"x"y,2\nx"y",2\n', 2, "a quote stands inside a field"),
        ('a,b\n1,2\n"x" ,2\n', 3, "a quote stands inside a field"),
        ('a,b\n1,"x"\ry""\n', 2, "a quote stands inside a field"),
        ('a,b\n"x\ny",2\n"1" ,2\n', 4, "a quote stands inside a field"),
        ('a,b\n1,2\n"x,2\n3,4\n', 3, "a quote is opened there and never closed"),
        ('a,b\n1,2\n3,"', 3, "a quote is opened there and never closed"),
        ('a,b\n1,2\n"3,4"\n', 3, "its quotes hide separators"),
        ('a,b\n"x\ny",2\n"3,4"\n"5,6"\n', 4, "its quotes hide separators"),
        ("a,b\r1,2\r\n", 0, "its lines end in a carriage return alone"),
    ],
)
def test_quotes_and_line_ends_that_are_not_sound(text, line, words, tmp_path):
    with pytest.raises(UnsoundError) as caught:
        survey(write(tmp_path, text), CSV)
    assert (str(caught.value), caught.value.line) == (words, line)


def test_several_bytes_between_fields_or_no_line_feed_are_not_sound(tmp_path, monkeypatch):
    with pytest.raises(UnsoundError, match="several bytes"):
        survey(write(tmp_path, "a::b\n"), Layout("::"))
    monkeypatch.setattr(records, "BLOCK", 4)
    with pytest.raises(UnsoundError, match="carriage return alone") as caught:
        survey(write(tmp_path, "a,b\r1,2\r3,4\r"), CSV)
    assert caught.value.line == 0


@pytest.mark.parametrize(("text", "line"), [('a,b\n"123",4\n', 0), ('a,b\n"1234567890",2\n', 2), ("123456789012\n", 1)])
def test_a_record_is_looked_for_up_to_the_longest(text, line, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "BLOCK", 4)
    monkeypatch.setattr(records, "LONGEST", 8)
    if not line:
        assert survey(write(tmp_path, text), CSV) == Survey(1, quoted=True)
        return
    with pytest.raises(UnsoundError, match="no record ends") as caught:
        survey(write(tmp_path, text), CSV)
    assert caught.value.line == line


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("text", "layout", "words"),
    [
        ("a,b\n1,2\n\n3,4,5\n6,7,8,9\n", CSV, "row 3: has 3 columns where the file has 2"),
        ("\na,b\n1,2\n\n3,4,5\n", LINES, "line 5: 3 fields where the header has 2"),
        ('a,b\n"x\ny",2\n"3",4,5,6\n', LINES, "line 4: 4 fields where the header has 2"),
        ("1,2\n3,4,5\n", NO_HEADER, "row 2: has 3 columns where the file has 2"),
        ("a\n1\n2,3\n", CSV, "row 2: has 2 columns where the file has 1"),
        ('a,b\n1,2\n"3,4\n5",6\n', CSV, "line 3: .* for 2 lines, .* these are 2 records"),
        ('a,b\n"x\ny",2\n"3,4\n5,6\n7",8\n"1,2\n3",4\n', CSV, "line 4: .* for 3 lines, .* these are 3 records"),
    ],
)
def test_records_that_are_too_wide_or_have_two_readings(text, layout, words, tmp_path):
    with pytest.raises(DataError, match=rf"a\.csv, {words}"):
        survey(write(tmp_path, text), layout)


def test_a_copy_is_named_by_the_file_it_was_made_of(tmp_path):
    with pytest.raises(DataError, match=r"file first\.txt, line 2: .*'::'"):
        survey(write(tmp_path, "a,b\n1,2,3\n"), LINES, (Path("first.txt"), "::"))


def test_rows_lost_and_rows_gained_are_refused(tmp_path):
    conserved(tmp_path, 3, 3)
    for found in (2, 4):
        with pytest.raises(DataError, match=f"{found} records were read of 3"):
            conserved(tmp_path, found, 3)
