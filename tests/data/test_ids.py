"""One person, one id: however the tables of a run write it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.core.config import make_settings
from recsys.core.erased import id_hash
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import Count, RawFeatures, Tables
from recsys.data.canonical import CanonicalSettings, canonicalise, load_dataset, load_features
from recsys.data.sources.atomic import Atomic
from recsys.data.sources.mmrec import MMRec
from recsys.data.sources.own import OwnTables

QUIET = Run(log=lambda message: None)
Pairs = list[tuple[str, str]]


def ingest(folder: Path, tables: Tables, **more) -> tuple[Pairs, list[str], list[Count]]:
    """Who took what (sorted), the items, and the counts."""
    counts = canonicalise(tables, CanonicalSettings(), "toy", folder / "out", run=QUIET, **more)
    data = load_dataset(folder / "out")
    both = zip(data.interactions.user_idx, data.interactions.item_idx, strict=True)
    return sorted((data.users[user], data.items[item]) for user, item in both), list(data.items.ids), counts


def own(folder: Path, **given_settings) -> Tables:
    return OwnTables(make_settings(OwnTables.Settings, given_settings, "data")).tables(folder, run=QUIET)


def of_pairs(pairs: Pairs, items: list[str] | None = None) -> Tables:
    table = pl.LazyFrame({"item_id": items or []}, schema={"item_id": pl.String})
    return Tables(pl.LazyFrame(pairs, schema={"user_id": pl.String, "item_id": pl.String}, orient="row"), table)


def write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)


# -- the law, against plain Python ----------------------------------------------------------------------------


def meant(spelled: list[str], among: list[str]) -> list[str | None]:
    """What ids mean, one by one, where all tables together hold ``among``."""

    def known(text: str) -> str | None:
        text = text.strip()
        return None if text in ("", r"\N") else text

    def is_whole(text: str) -> bool:
        digits = text.lstrip("+-") if text[0] in "+-" and text[1:2] not in ("+", "-", "") else text
        before, _, after = digits.partition(".")
        return before.isascii() and before.isdigit() and set(after) <= {"0"}

    whole = all(is_whole(text) for text in map(known, among) if text)
    return [text.partition(".")[0] if text and whole else text for text in map(known, spelled)]


NUMBERS = st.sampled_from(
    ["1", "1.0", " 1", "1.00 ", "01", "2", "2.", "-3", "-3.0", "10", "100", "", r"\N", "\t7\u00a0"]
)
TEXTS = st.sampled_from(["a", " a", "a ", "A", "é", "1.5", "NULL", "v1.0", "x,y", 'say "a"', "7"])
IDS = NUMBERS | TEXTS
ROWS = st.one_of(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12),
    st.lists(st.tuples(IDS, IDS), min_size=1, max_size=12),
)


@given(first=ROWS, second=ROWS, table=st.lists(NUMBERS, max_size=6) | st.lists(IDS, max_size=6))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_users_and_items_are_those_that_plain_python_finds(tmp_path, first, second, table):
    write_csv(tmp_path / "a.csv", [("user_id", "item_id"), *first])
    lines = [json.dumps({"user_id": user, "item_id": item}) for user, item in second]
    (tmp_path / "b.jsonl").write_text("\n".join(lines), encoding="utf-8")
    chosen = {"interactions": ["a.csv", "b.jsonl"]}
    users = [user for user, _ in first + second]
    items = [item for _, item in first + second]
    if table:
        pl.DataFrame({"item_id": [*table, *items]}).write_parquet(tmp_path / "items.parquet")
        chosen["items"] = "items.parquet"
    pairs = zip(meant(users, users), meant(items, items + table), strict=True)
    expected = sorted({(user, item) for user, item in pairs if user and item})
    if not expected:
        with pytest.raises(DataError, match="without a user or item id"):
            ingest(tmp_path, own(tmp_path, **chosen))
        return
    found, vocabulary, counts = ingest(tmp_path, own(tmp_path, **chosen))
    assert found == expected
    in_table = {item for item in meant(table + items if table else [], items + table) if item}
    assert set(vocabulary) == in_table | {item for _, item in expected}
    blanks = sum(user != user.strip() for user in users if meant([user], users)[0])
    told = {count.what: count.rows for count in counts}
    assert told.get("user ids with blanks around them: trimmed", 0) == blanks


# -- examples --------------------------------------------------------------------------------------------------


def test_a_float_in_one_table_and_a_whole_number_in_the_other_are_one_id(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id\n1.0,10\n1,20\n2.0,10.0\n")
    pl.DataFrame({"item_id": [10.0, 20.0, 30.0], "title": ["A", "B", "C"]}).write_parquet(tmp_path / "items.parquet")
    pairs, items, counts = ingest(tmp_path, own(tmp_path, interactions="log.csv", items="items.parquet"))
    assert pairs == [("1", "10"), ("1", "20"), ("2", "10")]
    assert items == ["10", "20", "30"]
    assert [(count.what, count.rows, count.example) for count in counts[:3]] == [
        ("user ids written as floats: read as whole numbers", 2, "first: '1.0' is '1'"),
        ("item ids written as floats: read as whole numbers", 1, "first: '10.0' is '10'"),
        ("item table: item ids written as floats: read as whole numbers", 3, "first: '10.0' is '10'"),
    ]


def test_one_id_that_is_no_number_keeps_the_points_and_pairs_that_look_alike_are_told(tmp_path):
    pairs, _, counts = ingest(tmp_path, of_pairs([("1.0", "x"), ("1", "x"), ("a", "x")]))
    assert pairs == [("1", "x"), ("1.0", "x"), ("a", "x")]
    assert ("first: '1' and '1.0'", 1) in [(count.example, count.rows) for count in counts]


def test_the_item_table_alone_can_keep_the_points(tmp_path):
    tables = of_pairs([("1.0", "1.0"), ("2", "2")], items=["2", "B07"])
    assert ingest(tmp_path, tables)[0] == [("1", "1.0"), ("2", "2")]


@pytest.mark.parametrize("text", ["9007199254740992.0", "12345678901234567890.0", "1.2345678901234568e+17", "5e+20"])
def test_a_float_that_may_stand_for_several_ids_is_refused_with_two_of_them(tmp_path, text):
    number = int(float(text)) if "e" in text else int(text.partition(".")[0])
    with pytest.raises(
        DataError, match=f"{number} and {number + 1} are no longer told apart.*whole numbers or as text"
    ):
        ingest(tmp_path, of_pairs([("u", text.replace("+", "+")), ("u", "7")]))


def test_floats_of_a_parquet_column_beyond_what_they_can_tell_are_refused_by_column(tmp_path):
    pl.DataFrame({"user_id": [2.0**60, 1.0], "item_id": ["a", "b"]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"log\.parquet, column 'user_id': '1152921504606846976\.0'"):
        ingest(tmp_path, own(tmp_path, interactions="log.parquet"))


def test_numbers_that_a_spreadsheet_has_shortened_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"'1\.23457E\+11'.*spreadsheet.*last digits are lost.*as text"):
        ingest(tmp_path, of_pairs([("1.23457E+11", "1"), ("7", "2")]))


def test_exponents_of_exact_whole_numbers_are_read(tmp_path):
    pairs, _, _ = ingest(tmp_path, of_pairs([("1e+05", "1"), ("100000", "2"), ("1.2e+08", "1")]))
    assert pairs == [("100000", "1"), ("100000", "2"), ("120000000", "1")]


@pytest.mark.parametrize("big", [2**63 + 5, 2**64 - 1, 10**24])
def test_whole_numbers_of_any_size_are_exact(tmp_path, big):
    lines = [json.dumps({"user_id": big + more, "item_id": more}) for more in (0, 1)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    pairs, _, _ = ingest(tmp_path, own(tmp_path, interactions="log.jsonl"))
    assert pairs == [(str(big), "0"), (str(big + 1), "1")]


def test_words_for_nothing_count_only_where_they_are_listed(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id\nNULL,1\n\\N,2\nnan,3\nu,4\n,5\n")
    pairs, _, counts = ingest(tmp_path, own(tmp_path, interactions="log.csv"))
    assert pairs == [("NULL", "1"), ("nan", "3"), ("u", "4")]
    assert Count("user ids that look like missing values: kept", 2, "first: 'nan'") in counts
    pairs, _, _ = ingest(tmp_path, own(tmp_path, interactions="log.csv", null_values=["NULL", "nan"]))
    assert pairs == [("\\N", "2"), ("u", "4")]


def test_listed_words_mean_nothing_in_numbers_times_texts_and_attributes_too(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id,rating,timestamp\nu,a,-1,5\nu,b,3,NA\nv,a,NA,7\nw,a,4,8\n")
    (tmp_path / "items.csv").write_text("item_id,title,genre\na, NA,x|NA|y\nNA,T,z\nb,B,NA\n")
    chosen = {"interactions": "log.csv", "items": "items.csv", "item_columns": {"attributes": ["genre"]}}
    with pytest.raises(DataError, match=r"row 3, column 'rating': 'NA'"):
        own(tmp_path, **chosen)
    tables = own(tmp_path, **chosen, null_values=["NA", "-1"])
    frame = tables.interactions.collect()
    assert frame["rating"].to_list() == [None, 3.0, None, 4.0]
    assert frame["timestamp"].null_count() == 1
    assert tables.items.collect()["title"].to_list() == [None, "T", "B"]
    assert tables.items.collect()["attributes"].to_list() == [["genre:x", "genre:y"], ["genre:z"], []]
    _, items, counts = ingest(tmp_path, tables)
    assert items == ["a", "b"]
    assert Count("item rows without an id: dropped", 1) in counts


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("number", [pl.Int64, pl.Float64])
def test_a_listed_number_means_nothing_however_a_table_keeps_it(tmp_path, ending, number):
    log = {"user_id": [1, 2, -1, 3], "item_id": [1, 1, 1, 2], "rating": [-1, 3, 2, 4], "timestamp": [5, -1, 7, 8]}
    items = {"item_id": [1, 2, -1], "title": [-1, 7, 8], "year": [1999, -1, 3]}
    for name, table in (("log", log), ("items", items)):
        frame = pl.DataFrame(table, schema=dict.fromkeys(table, number))
        getattr(frame, {".csv": "write_csv", ".parquet": "write_parquet"}[ending])(tmp_path / f"{name}{ending}")
    tables = own(
        tmp_path, interactions=f"log{ending}", items=f"items{ending}", item_columns={"attributes": ["year"]},
        null_values=[" -1 "],
    )  # fmt: skip
    frame = tables.interactions.collect()
    assert frame["rating"].to_list() == [None, 3, 2, 4]
    assert frame["timestamp"].null_count() == 1
    pairs, ids, _ = ingest(tmp_path, tables)
    assert pairs == [("1", "1"), ("3", "2")]  # 2 has no time, -1 is nobody
    assert ids == ["1", "2"]
    table = tables.items.collect()
    assert table["title"].null_count() == 1
    assert [len(values) for values in table["attributes"]] == [1, 0, 1]


@pytest.mark.parametrize("blank", ["\t", "\x0b", "\x85", "\xa0", "\u2003", "\u200b", "\u2060", "\ufeff"])
def test_blanks_of_all_kinds_are_no_part_of_an_id(tmp_path, blank):
    pairs, _, counts = ingest(tmp_path, of_pairs([(f"{blank}u", "i"), ("u", f"j{blank}"), (blank, "j")]))
    assert pairs == [("u", "i"), ("u", "j")]
    found = {count.what: count.rows for count in counts if "trimmed" in count.what}
    assert found == {f"{kind} ids with blanks around them: trimmed": 1 for kind in ("user", "item")}


@pytest.mark.parametrize(
    ("ids", "what", "example"),
    [
        (["1", "1.0", "x"], ".0 alone, among ids that are no numbers", "first: '1' and '1.0'"),
        (["caf\u00e9", "cafe\u0301", "1"], "how Unicode writes the same letters", r"first: 'caf\xe9' and 'cafe\u0301'"),
        (["cafe\u0301", "x", "2.0"], None, None),
    ],
)
def test_ids_that_look_alike_are_kept_apart_and_counted(tmp_path, ids, what, example):
    pairs, _, counts = ingest(tmp_path, of_pairs([(one, one) for one in ids]))
    assert pairs == sorted((one, one) for one in ids)
    found = [count for count in counts if "kept apart" in count.what]
    kinds = ("user", "item") if what else ()
    assert found == [Count(f"{kind} ids that differ from another by {what}: kept apart", 1, example) for kind in kinds]


def test_names_of_columns_may_have_blanks_around_them(tmp_path):
    (tmp_path / "log.csv").write_text("user_id, item_id , rating\n1, 100, 4\n2, 101, 5\n")
    pairs, _, counts = ingest(tmp_path, own(tmp_path, interactions="log.csv"))
    assert pairs == [("1", "100"), ("2", "101")]
    assert counts[0] == Count("item ids with blanks around them: trimmed", 2, "first: ' 100' is '100'")
    (tmp_path / "log.csv").write_text("user_id, user_id,item_id\n1,2,3\n")
    with pytest.raises(DataError, match="has column 'user_id' twice but for blanks"):
        own(tmp_path, interactions="log.csv")


def test_atomic_files_keep_to_the_same_rule(tmp_path):
    (tmp_path / "x.inter").write_text("user_id:float\t item_id:token \n0.0\t1\n0.0\t2 \n1.0\t1.0\n")
    (tmp_path / "x.item").write_text("item_id:float\ttitle:token_seq\n1.0\tA\n2.0\tB\n")
    pairs, items, _ = ingest(tmp_path, Atomic().tables(tmp_path, run=QUIET))
    assert pairs == [("0", "1"), ("0", "2"), ("1", "1")]
    assert items == ["1", "2"]


@pytest.mark.parametrize("cell", ["[1, 2]", '["a", "b"]', "['a', 'b']", '{"id": 1}'])
def test_a_list_is_no_id(tmp_path, cell):
    write_csv(tmp_path / "log.csv", [("user", "item_id"), ("u", "a"), (cell, "b")])
    with pytest.raises(DataError, match=r"log\.csv, column 'user': .*is a list, not one id.*one row an id"):
        ingest(tmp_path, own(tmp_path, interactions="log.csv", columns={"user": "user"}))


def test_names_in_brackets_are_ids(tmp_path):
    pairs, _, _ = ingest(tmp_path, of_pairs([("[deleted]", "{x"), ("(anonymous)", "[REC] 2")]))
    assert pairs == [("(anonymous)", "[REC] 2"), ("[deleted]", "{x")]


def test_a_list_column_is_refused_by_name(tmp_path):
    pl.DataFrame({"user_id": ["u"], "item_id": [["a", "b"]]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"log\.parquet, column 'item_id': it holds List\(String\).*one id a cell"):
        own(tmp_path, interactions="log.parquet")


def test_ready_made_vectors_are_named_by_the_same_ids(tmp_path):
    np.save(tmp_path / "raw.npy", np.array([[1.0], [2.0]], dtype=np.float32))
    tables = of_pairs([("u", "1.0"), ("u", "0.0")])
    raw = RawFeatures(tmp_path / "raw.npy", ["0", "1"])
    ingest(tmp_path, Tables(tables.interactions, tables.items, {"text": raw}))
    np.testing.assert_array_equal(load_features(tmp_path / "out")["text"], [[1], [2]])


def test_row_numbers_that_are_written_as_floats_meet_their_vectors(tmp_path):
    (tmp_path / "x.inter").write_text("userID\titemID\tx_label\n0.0\t0.0\t0\n0.0\t1.0\t2\n")
    np.save(tmp_path / "text_feat.npy", np.array([[1.0], [2.0]], dtype=np.float32))
    assert ingest(tmp_path, MMRec().tables(tmp_path, run=QUIET))[0] == [("0", "0"), ("0", "1")]
    np.testing.assert_array_equal(load_features(tmp_path / "out")["text"], [[1], [2]])


@pytest.mark.parametrize("asked", ["1", " 1.0"])
def test_an_erased_user_is_gone_however_the_tables_write_the_id(tmp_path, asked):
    tables = of_pairs([(" 1.0", "a"), ("1", "b"), ("2", "a")])
    pairs, _, counts = ingest(tmp_path, tables, erased=[id_hash(asked)])
    assert pairs == [("2", "a")]
    assert Count("interactions of users who were erased", 2) in counts
    assert not any("1" in count.example for count in counts)
