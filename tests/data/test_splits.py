"""Splits: partitions that keep what their kind promises, decided by the seed alone."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.core.config import make_settings
from recsys.core.errors import ConfigError, DataError
from recsys.core.runtime import Run
from recsys.core.values import TEST, TRAIN, VALID, Dataset, Interactions, Split, Vocabulary
from recsys.data.item_parts import part_of
from recsys.data.splits import SplitSettings, check_partition, load_split, make_split, save_split

QUIET = Run(log=lambda message: None)
KINDS = ("random", "leave_last", "global_time", "cold_items")
PROPERTY = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


def make_dataset(user, item, time=None, part=None) -> Dataset:
    """A data set in canonical order from row numbers."""
    user, item = np.asarray(user, dtype=np.int32), np.asarray(item, dtype=np.int32)
    n_users, n_items = int(user.max()) + 1, int(item.max()) + 1
    time = None if time is None else np.asarray(time, dtype=np.int64)
    order = np.lexsort((np.zeros(len(user)) if time is None else time, user))
    data = Interactions(user[order], item[order], n_users, n_items, timestamp=None if time is None else time[order])
    users, items = (Vocabulary(str(number) for number in range(size)) for size in (n_users, n_items))
    table = pl.DataFrame({"item_id": items.ids})
    return Dataset("toy", users, items, data, table, None if part is None else np.asarray(part, np.uint8)[order])


def random_dataset(n_users=40, n_items=30, n_times=50, seed=0) -> Dataset:
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((n_users, n_items)) < rng.uniform(0.05, 0.9, (n_users, 1)))
    return make_dataset(user, item, rng.integers(0, n_times, len(user)))


def split_of(dataset: Dataset, kind: str, **more) -> Split:
    return make_split(dataset, SplitSettings(kind=kind, **more), run=QUIET)


def per_user(split: Split, label: int) -> np.ndarray:
    return np.bincount(split.dataset.interactions.user_idx[split.part == label], minlength=len(split.dataset.users))


DATASETS = st.builds(
    lambda pairs, seed: make_dataset(
        *np.array(sorted(pairs)).T, np.random.default_rng(seed).integers(0, 9, len(pairs))
    ),
    st.sets(st.tuples(st.integers(0, 8), st.integers(0, 11)), min_size=4, max_size=70),
    st.integers(0, 1000),
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_alone_decides(kind):
    data = random_dataset()
    first, again = split_of(data, kind, seed=3), split_of(data, kind, seed=3)
    np.testing.assert_array_equal(first.part, again.part)
    # The run's seed belongs to the models: many of them share one split.
    other_run = make_split(data, SplitSettings(kind=kind, seed=3), run=replace(QUIET, seed=99))
    np.testing.assert_array_equal(first.part, other_run.part)
    if kind != "global_time":  # there is nothing random about time
        assert (split_of(data, kind, seed=4).part != first.part).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_together_are_the_data_set(kind):
    split = split_of(random_dataset(), kind)
    data = split.dataset.interactions
    rows = [set(zip(part.user_idx, part.item_idx, strict=True)) for part in (split.train, split.valid, split.test)]
    assert sum(map(len, rows)) == len(data) == len(set.union(*rows))
    assert all(rows)


@PROPERTY
@given(data=DATASETS, seed=st.integers(0, 99))
def test_random_meets_each_users_shares_within_one(data, seed):
    try:
        split = split_of(data, "random", seed=seed)
    except DataError as error:  # nobody has 3 interactions
        assert "test part is empty" in error.cause  # noqa: PT017
        assert np.bincount(data.interactions.user_idx).max() < 3
        return
    size = np.bincount(data.interactions.user_idx, minlength=len(data.users))
    valid, test = per_user(split, VALID), per_user(split, TEST)
    np.testing.assert_array_equal(valid, test)
    np.testing.assert_array_equal(test, np.where(size < 3, 0, np.maximum(size // 10, 1)))
    assert (np.abs(test - 0.1 * size) <= 1).all()


def test_random_counts_by_hand():
    sizes = [1, 2, 3, 9, 10, 19, 20, 30]
    user = np.repeat(np.arange(len(sizes)), sizes)
    item = np.concatenate([np.arange(size) for size in sizes])
    split = split_of(make_dataset(user, item), "random")
    assert per_user(split, TEST).tolist() == per_user(split, VALID).tolist() == [0, 0, 1, 1, 1, 1, 2, 3]
    split = split_of(make_dataset(user, item), "random", ratios=(6, 1, 3))
    assert per_user(split, TEST).tolist() == [0, 0, 1, 2, 3, 5, 6, 9]
    split = split_of(make_dataset(user, item), "random", ratios=(0.5, 0, 0.5))
    assert per_user(split, VALID).sum() == 0
    split = split_of(make_dataset(user, item), "random", ratios=(0.01, 0.01, 0.98))
    assert per_user(split, TRAIN).tolist() == [1, 2, 1, 1, 1, 1, 1, 1]


def test_random_is_uniform_within_a_user():
    data = make_dataset(np.zeros(10), np.arange(10))
    tested = [int(split_of(data, "random", seed=seed).test.item_idx[0]) for seed in range(1000)]
    # 100 expected each, standard deviation 9.5.
    assert (np.abs(np.bincount(tested, minlength=10) - 100) < 48).all()


@PROPERTY
@given(data=DATASETS, seed=st.integers(0, 99))
def test_leave_last_tests_the_last(data, seed):
    size = np.bincount(data.interactions.user_idx, minlength=len(data.users))
    if size.max() < 3:
        return
    split = split_of(data, "leave_last", seed=seed)
    np.testing.assert_array_equal(per_user(split, TEST), size >= 3)
    np.testing.assert_array_equal(per_user(split, VALID), size >= 3)
    time, user = data.interactions.timestamp, data.interactions.user_idx
    for one in np.flatnonzero(size >= 3):
        of = [time[(user == one) & (split.part == label)] for label in (TRAIN, VALID, TEST)]
        assert of[0].max() <= of[1].min() <= of[2].min()


def test_leave_last_breaks_ties_by_the_seed_not_by_input_order():
    data = make_dataset([0, 0, 0, 0], [0, 1, 2, 3], [1, 5, 5, 5])
    tested = [split_of(data, "leave_last", seed=seed).test.item_idx.tolist() for seed in range(300)]
    times_tested = np.bincount(np.ravel(tested), minlength=4)
    assert times_tested[0] == 0
    assert (np.abs(times_tested[1:] - 100) < 41).all()  # 100 expected each, standard deviation 8.2


@PROPERTY
@given(data=DATASETS)
def test_global_time_leaks_nothing_and_keeps_ties_together(data):
    time = data.interactions.timestamp
    if len(np.unique(time)) < 3:
        with pytest.raises(DataError, match="too few to cut 3 parts"):
            split_of(data, "global_time")
        return
    split = split_of(data, "global_time")
    assert split.train.timestamp.max() < split.valid.timestamp.min()
    assert split.valid.timestamp.max() < split.test.timestamp.min()
    for moment in np.unique(time):
        assert len(np.unique(split.part[time == moment])) == 1


def test_global_time_cuts_where_the_shares_are_met_most_nearly():
    data = make_dataset(np.arange(100) % 7, np.arange(100) % 13, np.arange(100))
    split = split_of(data, "global_time")
    assert (len(split.train), len(split.valid), len(split.test)) == (80, 10, 10)
    # Times 0 (77 rows), 1 (14 rows), 2 (9 rows): the cuts at 77 and 91 are the nearest to 80 and 90.
    data = make_dataset(np.arange(100) % 7, np.arange(100) % 13, np.repeat([0, 1, 2], [77, 14, 9]))
    split = split_of(data, "global_time")
    assert (len(split.train), len(split.valid), len(split.test)) == (77, 14, 9)
    split = split_of(data, "global_time", ratios=(0.9, 0, 0.1))
    assert (len(split.train), len(split.valid), len(split.test)) == (91, 0, 9)


def test_what_train_does_not_know_is_kept_and_reported():
    lines: list[str] = []
    data = make_dataset([0, 0, 0, 0, 1, 1], [0, 1, 2, 3, 0, 4], [0, 1, 2, 3, 4, 5])
    split = make_split(data, SplitSettings(kind="global_time", ratios=(4, 1, 1)), run=Run(log=lines.append))
    counts = {count.what: count.rows for count in check_partition(split)}
    assert counts["test interactions"] == 1
    assert counts["test interactions of users that train does not have"] == 1
    assert counts["test interactions of items that train does not have"] == 1
    assert any("valid interactions of users that train does not have: 1" in line for line in lines)


@PROPERTY
@given(data=DATASETS, seed=st.integers(0, 99))
def test_cold_items_are_whole_and_as_many_as_asked(data, seed):
    item = data.interactions.item_idx
    present = len(np.unique(item))
    wanted = round(0.3 * present)
    if wanted < 2:
        with pytest.raises(DataError, match="At least 2 items must be cold"):
            split_of(data, "cold_items", cold_share=0.3)
        return
    split = split_of(data, "cold_items", cold_share=0.3, seed=seed)
    items = [set(part.item_idx) for part in (split.train, split.valid, split.test)]
    assert sum(map(len, items)) == len(set.union(*items)) == present
    assert len(items[1]) == wanted // 2
    assert len(items[2]) == wanted - wanted // 2


def test_item_parts_follow_from_ids_alone():
    data = make_dataset(np.repeat(np.arange(4), 60), np.tile(np.arange(60), 4))
    split = split_of(data, "item_parts")
    wanted = np.array([{"train": 0, "validation": 1, "held_out": 2}[part_of(one)] for one in data.items])
    assert set(wanted) == {0, 1, 2}
    assert np.array_equal(split.part, wanted[data.interactions.item_idx])
    assert np.array_equal(split.part, split_of(data, "item_parts", seed=5).part)
    with pytest.raises(DataError, match="one part"):
        split_of(make_dataset([0, 1, 0], [0, 0, 0]), "item_parts")


def test_the_given_split_is_taken_as_it_is():
    part = [0, 0, 1, 2, 0, 2]
    data = make_dataset([0, 0, 0, 0, 1, 1], range(6), range(6), part)
    assert split_of(data, "given").part.tolist() == part
    with pytest.raises(DataError, match=r"came without a split.*Choose random.*data\.options\.test"):
        split_of(replace(data, part=None), "given")


@pytest.mark.parametrize("kind", ["leave_last", "global_time"])
def test_a_split_by_time_needs_times(kind):
    with pytest.raises(DataError, match=f"no timestamps, which a {kind} split needs"):
        split_of(make_dataset([0, 0, 0], [0, 1, 2]), kind)


@pytest.mark.parametrize("ratios", [(1, 0, 0), (0, 0.5, 0.5), (1, -1, 1), (1, 1), (float("nan"), 1, 1)])
def test_shares_that_make_no_split_are_refused(ratios):
    with pytest.raises(ConfigError, match=r"split\.ratios"):
        make_settings(SplitSettings, {"ratios": ratios}, "split")


def broken(kind: str, part: list[int], *, time=(0, 1, 2, 3, 0, 1, 2)) -> Split:
    """Users 0 (4 interactions) and 1 (3), items 0 1 2 3 0 1 2."""
    data = make_dataset([0, 0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 0, 1, 2], time, [0, 0, 1, 2, 0, 1, 2])
    return Split(data, np.array(part, dtype=np.uint8), kind)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (broken("random", [0, 0, 1, 2]), "for 7 interactions"),
        (broken("random", [0, 0, 1, 3, 0, 1, 2]), "label 3"),
        (broken("random", [0] * 7), "test part is empty"),
        (broken("random", [0, 0, 1, 2, 1, 1, 2]), "no train interaction left"),
        (broken("leave_last", [0, 0, 2, 2, 0, 1, 2]), "more than one test"),
        (broken("leave_last", [0, 1, 0, 2, 0, 1, 2]), "a valid interaction is older"),
        (broken("leave_last", [0, 0, 2, 1, 0, 1, 2]), "a test interaction is older"),
        (broken("global_time", [0, 0, 1, 2, 0, 0, 2]), "not older than all"),
        (broken("cold_items", [0, 1, 0, 2, 0, 1, 1]), "more than one part"),
        (broken("given", [0, 0, 1, 2, 0, 2, 1]), "not the split that came"),
    ],
)
def test_a_broken_promise_is_found(split, words):
    with pytest.raises(DataError, match=f"{split.kind} split of 'toy'.*{words}"):
        check_partition(split)


def test_a_user_of_two_must_be_in_train_alone():
    data = make_dataset([0, 0, 0, 1, 1], [0, 1, 2, 0, 1])
    with pytest.raises(DataError, match="fewer than 3"):
        check_partition(Split(data, np.array([0, 1, 2, 0, 2], np.uint8), "random"))


def test_pairs_that_train_has_too_are_reported():
    data = make_dataset([0, 0, 0], [1, 0, 1], [0, 1, 2])
    counts = {count.what: count.rows for count in check_partition(Split(data, np.array([0, 1, 2], np.uint8), "given_"))}
    assert counts["test interactions whose user and item are in train too"] == 1
    assert "valid interactions whose user and item are in train too" not in counts


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_split_comes_back(tmp_path, kind):
    split, folder = split_of(random_dataset(), kind), tmp_path / "split [1]*"  # a name, no pattern
    save_split(split, folder)
    loaded = load_split(split.dataset, folder)
    np.testing.assert_array_equal(loaded.part, split.part)
    assert loaded.kind == kind
    assert pl.read_parquet(folder / "split.parquet", glob=False).schema == {"part": pl.UInt8}
    assert json.loads((folder / "split.json").read_text())["counts"]["test interactions"] == len(split.test)


def test_a_split_of_other_data_is_refused(tmp_path):
    split = split_of(random_dataset(seed=0), "random")
    save_split(split, tmp_path)
    with pytest.raises(DataError, match=r"split\.parquet.*labels for .* interactions.*Delete its folder"):
        load_split(random_dataset(seed=1), tmp_path)
    data = split.dataset.interactions
    swapped = replace(split.dataset, interactions=replace(data, item_idx=data.item_idx[::-1].copy()))
    with pytest.raises(DataError, match="another version of 'toy'"):
        load_split(swapped, tmp_path)


@pytest.mark.parametrize("name", ["split.json", "split.parquet"])
def test_damaged_split_files_are_named(tmp_path, name):
    split = split_of(random_dataset(), "random")
    save_split(split, tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(DataError, match=f"{name}.*damaged"):
        load_split(split.dataset, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"{name}.*no such file"):
        load_split(split.dataset, tmp_path)


def test_movielens_100k_splits_into_the_counts_of_recboles_rule():
    spec = importlib.util.find_spec("recbole")  # finds the wheel's data without importing it
    if spec is None or spec.origin is None:
        pytest.skip("needs the ml-100k files that recbole's wheel carries")
    path = Path(spec.origin).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
    table = pl.read_csv(path, separator="\t")
    user, item, _, time = (table[column].to_numpy() for column in table.columns)
    data = make_dataset(user - 1, item - 1, time)
    sizes = {
        kind: [len(part) for part in (split.train, split.valid, split.test)]
        for kind in ("random", "leave_last")
        for split in [split_of(data, kind)]
    }
    assert sizes == {"random": [80_808, 9_596, 9_596], "leave_last": [98_114, 943, 943]}
