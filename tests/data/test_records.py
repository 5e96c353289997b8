"""Rows are conserved: what a file holds is read to the last record, or refused with file and line."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import Count
from recsys.data.canonical import read_rows
from recsys.data.reading.files import TABS, Layout
from recsys.data.reading.tables import collect_table, n_records, open_table, scan_table
from recsys.data.sources.own import OwnTables
from recsys.data.sources.sequences import Sequences

QUIET = Run(log=lambda message: None)
FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=2_500)
PIECES = ["a", '"', '""', ",", ";", "|", "::", "é", "'", "\t", "\n", "\r\n", "\r", "\ufeff", " ", '7" tablet']


def own(folder: Path, name: str, **options: object) -> list[tuple[str | None, str | None]]:
    """Return who took what, in the order of the file."""
    tables = OwnTables(OwnTables.Settings(interactions=name, **options)).tables(folder, run=QUIET)
    read_rows(tables, "own")  # holds the number of rows against the count of the file
    return tables.interactions.select("user_id", "item_id").collect().rows()


def by_csv(text: str, delimiter: str) -> list[list[str]]:
    """Return the records as Python's csv module reads them, blank lines left out."""
    return [cells for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if cells]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Draw a header with user and item among other columns, and rows whose other cells hold anything."""
    others = draw(st.lists(st.sampled_from(["x", "y", "z"]), max_size=3, unique=True))
    header = draw(st.permutations(["user_id", "item_id", *others]))
    cell = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
    ids = st.sampled_from(["u1", "é2", "i,3", 'i"4', "long-5"])
    row = st.tuples(*(ids if name.endswith("_id") else cell for name in header)).map(list)
    return header, draw(st.lists(row, min_size=1, max_size=6))


CODECS = st.sampled_from(["utf-8", "utf-8-sig", "gz", "gz-sig"])


def write(path: Path, text: str, codec: str) -> Path:
    data = codecs.BOM_UTF8 * codec.endswith("sig") + text.encode()
    path = path.with_name(path.name + ".gz") if codec.startswith("gz") else path
    path.write_bytes(gzip.compress(data, 1) if codec.startswith("gz") else data)
    return path


@st.composite
def well_formed(draw: st.DrawFn) -> tuple[str, str, str]:
    """Draw a delimiter, the text of a table as some writer of CSV gives it, and how it is encoded."""
    header, rows = draw(tables())
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    out = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    if end == "\n" and quoting == csv.QUOTE_MINIMAL:  # the module itself writes "\r" bare then, and reads it as an end
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows([header, *rows])
    text = out.getvalue()
    text = text.removesuffix(end) if draw(st.booleans()) else text + end * draw(st.integers(0, 2))
    return delimiter, text, draw(CODECS)


def check_well_formed(folder: Path, made: tuple[str, str, str]) -> None:
    delimiter, text, codec = made
    header, *rows = by_csv(text, delimiter)
    user, item = header.index("user_id"), header.index("item_id")
    path = write(folder / "a.csv", text, codec)
    try:
        found = own(folder, path.name, delimiter=delimiter)
    except DataError as error:
        assert f"{path}, line" in str(error)  # noqa: PT017
        assert "either the field goes on" in str(error)  # noqa: PT017
        found = own(folder, path.name, delimiter=delimiter, quoting="standard")
    assert [pair for pair in found if pair != (None, None)] == [(row[user], row[item]) for row in rows]


def check_scanned(folder: Path, made: tuple[str, str, str]) -> None:
    """A scan of all columns: each cell as Python's csv module has it."""
    delimiter, text, codec = made
    header, *rows = by_csv(text, delimiter)
    counts: list[Count] = []
    path = write(folder / "b.csv", text, codec)
    layout = Layout(delimiter, tolerant=False)
    frame = scan_table(path, dict.fromkeys(header, pl.String), layout, optional=header, counts=counts).collect()
    assert [tuple(cell or "" for cell in row) for row in frame.rows()] == [tuple(row) for row in rows]
    assert len(frame) + sum(count.rows for count in counts if "blank" in count.what) == n_records(path, layout)


@FEW
@given(well_formed())
def test_well_formed_tables_are_read_as_pythons_csv_module_reads_them(tmp_path_factory, made) -> None:
    check_well_formed(tmp_path_factory.mktemp("csv"), made)
    check_scanned(tmp_path_factory.mktemp("csv"), made)


@st.composite
def stray(draw: st.DrawFn) -> tuple[str, list[list[str]], str, str]:
    """Draw a table whose quotes are plain text: no cell needs any."""
    header, rows = draw(tables())
    delimiter = draw(st.sampled_from([",", "\t", "::"]))
    unsafe = ["\n", "\r", delimiter]
    rows = [[_plain(cell, unsafe) for cell in row] for row in rows]
    text = "\n".join(delimiter.join(row) for row in [header, *rows]) + "\n"
    return delimiter, [header, *rows], text, draw(CODECS)


def _plain(cell: str, unsafe: list[str]) -> str:
    for word in unsafe:
        cell = cell.replace(word, "")
    return cell.replace(":", "").replace(",", ".")


def unquoted(cell: str) -> str:
    """Return a cell without the quotes around it, if they are sound."""
    inner = cell[1:-1]
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return cell


def check_stray(folder: Path, made: tuple[str, list[list[str]], str, str]) -> None:
    delimiter, (header, *rows), text, codec = made
    user, item = header.index("user_id"), header.index("item_id")
    path = write(folder / ("a.tsv" if delimiter == "\t" else "a.csv"), text, codec)
    literal = own(folder, path.name, delimiter=delimiter, quoting="literal")
    assert literal == [(row[user] or None, row[item] or None) for row in rows]
    try:
        found = own(folder, path.name, delimiter=delimiter)
    except DataError as error:
        assert f"{path}, line" in str(error)  # noqa: PT017
        assert "either the field goes on" in str(error)  # noqa: PT017
    else:
        assert found == [(unquoted(row[user]), unquoted(row[item])) for row in rows]


@FEW
@given(stray())
def test_quotes_that_stand_for_themselves_swallow_nothing(tmp_path_factory, made) -> None:
    check_stray(tmp_path_factory.mktemp("stray"), made)


LINE = st.fixed_dictionaries(
    {"user_id": st.sampled_from(["u1", "é2", 'i"4', "\n"]), "item_id": st.sampled_from(["a", "b{}", "\\"])},
    optional={"x": st.sampled_from([None, 1, 2.5, "y\r\n", [1], {"z": '"'}])},
)


@st.composite
def json_lines(draw: st.DrawFn) -> tuple[list[dict[str, object]], str, str]:
    rows = draw(st.lists(LINE, min_size=1, max_size=6))
    ends = [draw(st.sampled_from(["\n", "\r\n", " \n", "\n\n", "\n \t\n"])) for _ in rows]
    ascii_only = draw(st.booleans())
    lines = [json.dumps(row, ensure_ascii=ascii_only) + end for row, end in zip(rows, ends, strict=True)]
    text = "".join(lines)
    return rows, text.rstrip() if draw(st.booleans()) else text, draw(CODECS)


def check_json(folder: Path, made: tuple[list[dict[str, object]], str, str]) -> None:
    rows, text, codec = made
    path = write(folder / "a.jsonl", text, codec)
    assert n_records(path) == len(rows)
    assert own(folder, path.name) == [(row["user_id"], row["item_id"]) for row in rows]


@FEW
@given(json_lines())
def test_json_lines_are_read_to_the_last_object(tmp_path_factory, made) -> None:
    check_json(tmp_path_factory.mktemp("json"), made)


@st.composite
def lines_of_text(draw: st.DrawFn) -> tuple[str, str]:
    cell = st.lists(st.sampled_from(["a", "1", '"', '""', "é", " ", "\ufeff", "'"]), max_size=3).map("".join)
    line = st.lists(cell, min_size=2, max_size=2).map("\t".join)
    return "\n".join(["u\tv", *draw(st.lists(line, min_size=1, max_size=8))]) + "\n", draw(CODECS)


def check_lines(folder: Path, made: tuple[str, str]) -> None:
    """Formats without quoting: atomic files, and sequences of ids."""
    text, codec = made
    lines = text.splitlines()[1:]
    path = write(folder / "a.inter", text, codec)
    frame = collect_table(open_table(path, TABS), path, TABS)
    assert [(left or "", right or "") for left, right in frame.rows()] == [tuple(line.split("\t")) for line in lines]
    assert n_records(path, TABS) == len(lines)
    rows = [f"u{number} " + line.replace("\t", " ") + " i" for number, line in enumerate(lines)]
    (folder / "a.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = Sequences(Sequences.Settings(file="a.txt")).tables(folder, run=QUIET).interactions.collect()
    assert len(found) == sum(len(row.split(" ")) - 1 - row.split(" ").count("") for row in rows)


@FEW
@given(lines_of_text())
def test_formats_without_quotes_keep_them_as_text(tmp_path_factory, made) -> None:
    check_lines(tmp_path_factory.mktemp("lines"), made)


CHECKS = {
    "well-formed": (well_formed(), check_well_formed),
    "stray quotes": (stray(), check_stray),
    "JSON lines": (json_lines(), check_json),
    "without quotes": (lines_of_text(), check_lines),
}


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "check"), CHECKS.values(), ids=CHECKS)
def test_ten_thousand_files(strategy, check, tmp_path_factory) -> None:
    @MANY
    @given(strategy)
    def run(made) -> None:
        check(tmp_path_factory.mktemp("many"), made)

    run()


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_another_codec_is_refused_or_every_row_is_read(codec: str, packed: bool, tmp_path: Path) -> None:
    rows = [(f"u{number}", f"i{number % 7}") for number in range(20)]
    data = "".join(f"{user},{item},caf\u00e9\n" for user, item in [("user_id", "item_id"), *rows]).encode(codec)
    path = tmp_path / ("log.csv.gz" if packed else "log.csv")
    path.write_bytes(gzip.compress(data) if packed else data)
    try:
        found = own(tmp_path, path.name)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert codec in ("latin-1", "cp1252")
        assert found == rows
    used = "".join(f"caf\u00e9{user},{item}\n" for user, item in rows)
    data = ("user_id,item_id\n" + used).encode(codec)
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match=re.escape(str(path))):
        own(tmp_path, path.name)
