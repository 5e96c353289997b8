"""Canonical tables: every step counted, numbering and order fixed, files read back whole."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import INTERACTION_SCHEMA, ITEM_SCHEMA, Count, RawFeatures, Tables
from recsys.data.canonical import CanonicalSettings, canonicalise, load_dataset, load_features, read_interactions
from recsys.data.filters import core, stable_order

QUIET = Run(log=lambda message: None)


def make_tables(rows: list[tuple], items: list[dict] | None = None, **more) -> Tables:
    """Tables from (user, item, rating, timestamp[, weight[, part]]) rows."""
    schema = dict(INTERACTION_SCHEMA) | {"part": pl.UInt8}
    names = list(schema)[: len(rows[0])] if rows else list(INTERACTION_SCHEMA)
    frame = pl.DataFrame(rows, schema={name: schema[name] for name in names}, orient="row")
    return Tables(frame.lazy(), pl.LazyFrame(items or [], schema=ITEM_SCHEMA), **more)


def ingest(folder: Path, tables: Tables, **settings_given) -> tuple[pl.DataFrame, list[Count]]:
    """Canonicalise; return the interactions with their outside ids, and the counts."""
    counts = canonicalise(tables, CanonicalSettings(**settings_given), "toy", folder, run=QUIET)
    return read_interactions(folder).collect(), counts


def count_of(counts: list[Count], words: str) -> Count | None:
    return next((count for count in counts if words in count.what), None)


def pairs(frame: pl.DataFrame) -> list[tuple[str, str]]:
    return frame.select("user_id", "item_id").rows()


def test_a_clean_table_comes_back_as_it_went_in(tmp_path):
    rows = [("u1", "a", 4.0, 10, 1.0), ("u1", "b", 3.0, 20, 2.0), ("u2", "a", 5.0, 5, 1.0)]
    frame, counts = ingest(tmp_path, make_tables(rows))
    assert frame.rows() == rows
    assert frame.columns == list(INTERACTION_SCHEMA)
    assert [count.what for count in counts] == ["items without a title: their id is shown"]
    data = load_dataset(tmp_path)
    assert data.interactions.user_idx.dtype == data.interactions.item_idx.dtype == np.int32
    assert data.interactions.timestamp.tolist() == [10, 20, 5]
    assert data.interactions.weight.tolist() == [1.0, 2.0, 1.0]
    assert data.part is None
    assert data.titles([0, 1]) == ["a", "b"]


def test_ids_are_numbered_in_numeric_order_and_interactions_by_user_time_and_input(tmp_path):
    rows = [("10", "9", None, 3), ("9", "10", None, 2), ("10", "100", None, 3), ("10", "10", None, 1)]
    frame, _ = ingest(tmp_path, make_tables(rows))
    data = load_dataset(tmp_path)
    assert list(data.users.ids) == ["9", "10"]
    assert list(data.items.ids) == ["9", "10", "100"]
    assert pairs(frame) == [("9", "10"), ("10", "10"), ("10", "9"), ("10", "100")]
    assert data.interactions.rating is None
    assert data.interactions.weight is None


@pytest.mark.parametrize("blank", [None, "", "  \t"])
def test_rows_without_ids_are_dropped_and_counted(tmp_path, blank):
    frame, counts = ingest(tmp_path, make_tables([("u", "a", 1.0, 1), (blank, "a", 1.0, 2), ("u", blank, 1.0, 3)]))
    assert pairs(frame) == [("u", "a")]
    count = count_of(counts, "without a user or item id")
    assert count.rows == 2
    assert "input row 2" in count.example


def test_nan_and_infinite_ratings_are_dropped_and_missing_ones_kept_both_counted(tmp_path):
    rows = [("u", "a", float("nan"), 1), ("u", "b", float("inf"), 2), ("u", "c", None, 3), ("u", "d", 2.0, 4)]
    frame, counts = ingest(tmp_path, make_tables(rows))
    assert pairs(frame) == [("u", "c"), ("u", "d")]
    assert count_of(counts, "NaN or infinite").rows == 2
    assert count_of(counts, "without a rating among others").rows == 1


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_that_weigh_nothing_are_dropped(tmp_path, weight):
    frame, counts = ingest(tmp_path, make_tables([("u", "a", 1.0, 1, weight), ("u", "b", 1.0, 1, 0.5)]))
    assert pairs(frame) == [("u", "b")]
    assert count_of(counts, "weight is not a positive number").rows == 1


@pytest.mark.parametrize(("factor", "unit"), [(10**3, "milli"), (10**6, "micro"), (10**9, "nano")])
def test_times_in_smaller_units_become_seconds(tmp_path, factor, unit):
    frame, counts = ingest(tmp_path, make_tables([("u", "a", 1.0, 1_600_000_001 * factor), ("u", "b", 1.0, 77)]))
    assert sorted(frame["timestamp"]) == [77, 1_600_000_001]
    assert count_of(counts, f"timestamps in {unit}seconds").rows == 1


def test_orders_and_seconds_stay_as_they_are(tmp_path):
    frame, counts = ingest(tmp_path, make_tables([("u", "a", 1.0, 0), ("u", "b", 1.0, 1_700_000_000)]))
    assert frame["timestamp"].to_list() == [0, 1_700_000_000]
    assert count_of(counts, "timestamps") is None


def test_rows_without_a_time_among_timed_ones_are_dropped(tmp_path):
    frame, counts = ingest(tmp_path, make_tables([("u", "a", 1.0, None), ("u", "b", 1.0, 7)]))
    assert pairs(frame) == [("u", "b")]
    assert count_of(counts, "without a time").rows == 1


REPEATED = [("u", "a", 1.0, 30), ("u", "a", 2.0, 40), ("u", "a", 3.0, 40), ("u", "a", 4.0, 10), ("u", "b", 5.0, 1)]


@pytest.mark.parametrize(("keep", "rating"), [("last", 3.0), ("first", 4.0)])
def test_of_a_repeated_pair_the_newest_or_oldest_stays(tmp_path, keep, rating):
    frame, counts = ingest(tmp_path, make_tables(REPEATED), duplicates=keep)
    assert frame.filter(item_id="a")["rating"].to_list() == [rating]
    assert count_of(counts, "repeated (user, item)").rows == 3


def test_repeats_can_be_kept_or_refused(tmp_path):
    frame, _ = ingest(tmp_path, make_tables(REPEATED), duplicates="keep")
    assert len(frame) == 5
    with pytest.raises(DataError, match=r"3 repeats, input row 1: user 'u', item 'a'.*set duplicates"):
        ingest(tmp_path, make_tables(REPEATED), duplicates="error")


@pytest.mark.parametrize(("keep", "rating"), [("last", 2.0), ("first", 1.0)])
def test_a_pair_in_two_parts_stays_in_the_earlier(tmp_path, keep, rating):
    rows = [
        ("u", "a", 9.0, 99, 1.0, 2),
        ("u", "a", 1.0, 1, 1.0, 0),
        ("u", "a", 2.0, 2, 1.0, 0),
        ("u", "b", 3.0, 3, 1.0, 1),
    ]
    frame, counts = ingest(tmp_path, make_tables(rows), duplicates=keep)
    assert frame.select("item_id", "rating", "part").rows() == [("a", rating, 0), ("b", 3.0, 1)]
    assert count_of(counts, "in a later part").rows == 1
    assert count_of(counts, f"the {'newest' if keep == 'last' else 'oldest'} kept").rows == 1
    assert load_dataset(tmp_path).part.tolist() == [0, 1]


def test_the_threshold_judges_the_newest_opinion(tmp_path):
    rows = [("u", "a", 5.0, 1), ("u", "a", 2.0, 2), ("u", "b", 4.1, 3), ("u", "c", None, 4), ("u", "d", 4.0, 4)]
    frame, counts = ingest(tmp_path, make_tables(rows), min_rating=4.1)
    assert pairs(frame) == [("u", "b")]
    assert count_of(counts, "rated below 4.1").rows == 2
    assert count_of(counts, "without a rating to hold against").rows == 1
    assert not [count for count in counts if "without a rating" in count.what and "kept" in count.what]


def test_a_core_is_iterated_to_its_end(tmp_path):
    rows = [(user, item, None, 1) for user in ("u", "v") for item in ("a", "b")]
    # w falls with item c, which only w took; x falls only once w's rows are gone and item d is left with one.
    rows += [("w", "c", None, 1), ("w", "d", None, 1), ("x", "d", None, 1), ("x", "a", None, 1)]
    frame, counts = ingest(tmp_path, make_tables(rows), k_core=2)
    assert set(pairs(frame)) == {(user, item) for user in ("u", "v") for item in ("a", "b")}
    count = count_of(counts, "under 2")
    assert count.rows == 4
    assert "2 users, 2 items" in count.what


def test_min_user_and_min_item_stand_above_k_core(tmp_path):
    rows = [("u", item, None, 1) for item in "abc"] + [("v", "a", None, 1)]
    frame, _ = ingest(tmp_path, make_tables(rows), k_core=9, min_user=2, min_item=0)
    assert pairs(frame) == [("u", "a"), ("u", "b"), ("u", "c")]


@pytest.mark.parametrize(
    ("rows", "given_settings", "words"),
    [
        ([("u", "", 1.0, 1)], {}, "without a user or item id.*Check that the user and item columns"),
        ([("u", "a", float("nan"), 1)], {}, "rating is NaN or infinite"),
        ([("u", "a", 2.0, 1)], {"min_rating": 4}, "rated below 4.*run from 2 to 2"),
        ([("u", "a", None, 1)], {"min_rating": 4}, "has no ratings, but min_rating is 4"),
        ([("u", "a", 2.0, 1)], {"k_core": 2}, "under 2.*Lower k_core"),
    ],
)
def test_an_empty_result_says_which_step_took_the_rows(tmp_path, rows, given_settings, words):
    with pytest.raises(DataError, match=f"(?s)data set 'toy'.*{words}"):
        ingest(tmp_path, make_tables(rows), **given_settings)
    assert not (tmp_path / "dataset.json").exists()


def test_item_rows_are_joined_counted_and_tidied(tmp_path):
    items = [
        {"item_id": "a", "title": "A", "text": " ", "attributes": ["genre:Drama"], "image": None},
        {"item_id": "a", "title": "other"},
        {"item_id": " ", "title": "nobody"},
        {"item_id": "idle", "title": ""},
    ]
    _, counts = ingest(tmp_path, make_tables([("u", "a", 1.0, 1), ("u", "new", 1.0, 1)], items))
    table = load_dataset(tmp_path).item_table
    assert table["item_id"].to_list() == ["a", "new", "idle"]
    assert table["title"].to_list() == ["A", None, None]
    assert table["text"].to_list() == [None, None, None]
    assert table["attributes"].to_list() == [["genre:Drama"], [], []]
    found = {words: count_of(counts, words).rows for words in ("without an id", "repeated item", "row added", "title")}
    assert found == {"without an id": 1, "repeated item": 1, "row added": 1, "title": 2}
    assert count_of(counts, "without any interaction: kept").rows == 1
    assert load_dataset(tmp_path).counts == tuple(counts)


@pytest.mark.parametrize(
    ("given_settings", "kept"),
    [
        ({}, True),
        ({"k_core": 1}, False),
        ({"k_core": 1, "items_without_interactions": "keep"}, True),
        ({"items_without_interactions": "drop"}, False),
    ],
)
def test_idle_items_stay_unless_a_core_is_asked_for(tmp_path, given_settings, kept):
    items = [{"item_id": "0"}, {"item_id": "a"}]
    ingest(tmp_path, make_tables([("u", "a", 1.0, 1)], items), **given_settings)
    data = load_dataset(tmp_path)
    assert list(data.items.ids) == (["0", "a"] if kept else ["a"])
    assert data.items[data.interactions.item_idx[0]] == "a"


def test_an_item_table_of_other_ids_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no item of the interactions.*'a'.*'B1'.*same ids"):
        ingest(tmp_path, make_tables([("u", "a", 1.0, 1)], [{"item_id": "B1"}]))


def test_features_are_aligned_with_the_vocabulary(tmp_path):
    vectors = np.array([[1, 1], [2, 2], [np.nan, 0], [9, 9], [4, 4]], dtype=np.float16)
    np.save(tmp_path / "raw.npy", vectors)
    raw = RawFeatures(tmp_path / "raw.npy", ["b", "a", "c", "a", "unknown"])
    tables = make_tables([("u", item, 1.0, 1) for item in "abcd"], features={"image": raw})
    _, counts = ingest(tmp_path / "out", tables)
    features = load_features(tmp_path / "out")
    assert features["image"].dtype == np.float32
    np.testing.assert_array_equal(features["image"], [[2, 2], [1, 1], [np.nan] * 2, [np.nan] * 2])
    assert features.present("image").tolist() == [True, True, False, False]
    found = {count.what: count.rows for count in counts if "feature" in count.what}
    assert sorted(found.values()) == [1, 1, 1, 1]


def test_a_feature_file_of_another_length_or_kind_is_refused(tmp_path):
    path = tmp_path / "raw.npy"
    np.save(path, np.zeros((3, 2), np.float32))
    with pytest.raises(DataError, match=r"raw\.npy: it has 3 rows for 1 item\."):
        ingest(tmp_path / "out", make_tables([("u", "a", 1.0, 1)], features={"text": RawFeatures(path, ["a"])}))
    np.save(path, np.array([{"pickled": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"raw\.npy: not a plain \.npy array"):
        ingest(tmp_path / "out", make_tables([("u", "a", 1.0, 1)], features={"text": RawFeatures(path, ["a"])}))


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_a_source_without_ids_is_refused(tmp_path, column):
    tables = make_tables([("u", "a", 1.0, 1)])
    broken = Tables(tables.interactions.drop(column), tables.items)
    if column == "item_id":
        with pytest.raises(DataError, match="the item table has no column 'item_id'; it has name"):
            ingest(tmp_path, Tables(tables.interactions, pl.LazyFrame({"name": ["A"]})))
    with pytest.raises(DataError, match=f"no column '{column}'"):
        canonicalise(broken, CanonicalSettings(), "toy", tmp_path, run=QUIET)


def test_a_split_label_out_of_range_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"input row 2: split label 7 is none of 0"):
        ingest(tmp_path, make_tables([("u", "a", 1.0, 1, 1.0, 0), ("u", "b", 1.0, 1, 1.0, 7)]))


def test_integer_ids_and_missing_optional_columns_are_fine(tmp_path):
    interactions = pl.LazyFrame({"user_id": [2, 1], "item_id": [10, 9]})
    counts = canonicalise(Tables(interactions, pl.LazyFrame()), CanonicalSettings(), "ints", tmp_path, run=QUIET)
    assert counts == [Count("items without a title: their id is shown", 2)]
    data = load_dataset(tmp_path)
    assert list(data.users.ids) == ["1", "2"]
    assert list(data.items.ids) == ["9", "10"]
    assert data.interactions.timestamp is None


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("name", ["dataset.json", "interactions.parquet", "users.parquet", "items.parquet"])
@pytest.mark.parametrize("fault", [Path.unlink, damage])
def test_a_missing_or_damaged_file_is_named_with_its_remedy(tmp_path, name, fault):
    ingest(tmp_path, make_tables([("u", "a", 1.0, 1)]))
    fault(tmp_path / name)
    with pytest.raises(DataError, match=f"{name}.*(no such file|damaged).*recsys data"):
        load_dataset(tmp_path)


def test_files_of_two_data_sets_do_not_mix(tmp_path):
    ingest(tmp_path / "one", make_tables([("u", "a", 1.0, 1)]))
    ingest(tmp_path / "two", make_tables([("u", "a", 1.0, 1), ("v", "b", 1.0, 1)]))
    (tmp_path / "two" / "users.parquet").replace(tmp_path / "one" / "users.parquet")
    with pytest.raises(DataError, match=r"users\.parquet: 2 rows where dataset\.json says 1"):
        load_dataset(tmp_path / "one")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        ingest(tmp_path / "file" / "sub", make_tables([("u", "a", 1.0, 1)]))


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", "1", "2", "10", "é"]),
        st.sampled_from(["a", "b", "aa", " ", "ü"]),
        st.one_of(st.none(), st.floats(0, 5, width=32), st.just(float("nan"))),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=40,
)
PROPERTY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(rows=ROWS, k_core=st.integers(0, 3), duplicates=st.sampled_from(["last", "first", "keep"]))
def test_whatever_the_rows_nothing_is_lost_silently(tmp_path, rows, k_core, duplicates):
    error = None
    try:
        frame, counts = ingest(tmp_path, make_tables(rows), k_core=k_core, duplicates=duplicates)
    except DataError as caught:
        error = caught
    if error:
        assert "no interactions left" in error.cause
        return
    dropped = sum(count.rows for count in counts if count.what.endswith("dropped") and "item rows" not in count.what)
    assert len(frame) + dropped == len(rows)
    as_given = {(user, item, rating, time) for user, item, rating, time in rows}
    assert set(frame.select("user_id", "item_id", "rating", "timestamp").rows()) <= as_given
    if duplicates != "keep":
        assert len(set(pairs(frame))) == len(frame)
    for column in ("user_id", "item_id"):
        assert frame[column].value_counts()["count"].min() >= k_core
    data = load_dataset(tmp_path)
    for ids in (list(data.users.ids), list(data.items.ids)):
        assert ids == sorted(ids, key=lambda text: (len(text), text.encode()))
    order = list(zip(data.interactions.user_idx, data.interactions.timestamp, strict=True))
    assert order == sorted(order)


@PROPERTY
@given(rows=ROWS)
def test_the_same_input_twice_gives_the_same_bytes(tmp_path, rows):
    digests = []
    for attempt in ("one", "two"):
        try:
            ingest(tmp_path / attempt, make_tables(rows))
        except DataError:
            return
        files = sorted(path for path in (tmp_path / attempt).rglob("*") if path.is_file())
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 4


def test_a_large_table_read_by_many_threads_is_the_same_each_time(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"user_id": rng.integers(0, 900, 60_000), "item_id": rng.integers(0, 300, 60_000)})
    path = tmp_path / "big.csv"
    frame.with_columns(timestamp=pl.Series(rng.integers(0, 50, 60_000))).write_csv(path)
    digests = set()
    for attempt in range(3):
        tables = Tables(pl.scan_csv(path), pl.LazyFrame())
        canonicalise(tables, CanonicalSettings(k_core=5), "big", tmp_path / str(attempt), run=QUIET)
        digests.add(hashlib.sha256((tmp_path / str(attempt) / "interactions.parquet").read_bytes()).hexdigest())
    assert len(digests) == 1


@given(edges=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30), k=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_the_core_is_the_largest_one(edges, k):
    user, item = (np.array(side) for side in zip(*edges, strict=True))
    inside, _ = core(user, item, k, k)
    alive = list(range(len(edges)))  # the same by hand, one row at a time
    while True:
        weak = [
            e for e in alive if sum(user[o] == user[e] for o in alive) < k or sum(item[o] == item[e] for o in alive) < k
        ]
        if not weak:
            break
        alive.remove(weak[0])
    assert np.flatnonzero(inside).tolist() == alive


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([-(2**62), -1, 0, 3, 2**62])), max_size=20))
@settings(max_examples=60, deadline=None)
def test_stable_order_is_a_stable_lexsort(keys):
    major = np.array([key[0] for key in keys], dtype=np.uint32)
    minor = np.array([key[1] for key in keys], dtype=np.int64)
    assert stable_order(major, minor).tolist() == np.lexsort((minor, major)).tolist()
