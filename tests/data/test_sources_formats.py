"""Atomic files, MMRec, MMSSL/DiffMM and plain sequences."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from source_fixtures import atomic, ml_100k_mmrec, mmrec, mmrec_npy, mmssl, rows, sequences

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import ITEM_SCHEMA, Count, Dataset, Interactions, Split, Tables, Vocabulary
from recsys.data.canonical import read_rows
from recsys.data.sources.atomic import Atomic, write_atomic
from recsys.data.sources.mmrec import MMRec, MMRecArrays, MovieLens100KMMRec
from recsys.data.sources.mmssl import MMSSL
from recsys.data.sources.sequences import Sequences

PAIRS = ("user_id", "item_id", "part")
IN_PARTS = [("0", "0", 0), ("0", "1", 0), ("1", "2", 0), ("0", "2", 1), ("1", "0", 2)]


def test_atomic_files_are_read(tmp_path: Path, run) -> None:
    atomic(tmp_path)
    tables = Atomic().tables(tmp_path, run=run)
    assert rows(tables.interactions, "user_id", "item_id", "rating", "timestamp") == [
        ("u", "i", 4.0, 881250949),
        ("u", "j", None, 881250950),
    ]
    assert rows(tables.items, "item_id", "title", "text", "attributes") == [
        ("i", 'The "quoted" one', 'The "quoted" one.', ["year:1995", "class:Comedy", "class:Drama"]),
        ("j", "Other", "Other.", ["class:Drama"]),
    ]
    assert [(count.what, count.example) for count in tables.counts] == [
        ("columns of tiny.item not used", "vector"),
        ("columns of tiny.user not used", "age"),
    ]


def atomic_tables(raw: Path, inter: str, **settings) -> Tables:
    (raw / "x.inter").write_text(inter)
    return Atomic(Atomic.Settings(**settings)).tables(raw, run=Run(log=lambda message: None))


def test_rows_that_an_atomic_file_labels_0_are_no_interactions(tmp_path: Path) -> None:
    text = "user_id:token\titem_id:token\tlabel:float\nu\ti\t1\nu\tj\t0\nv\ti\t0.0\nv\tj\t1.0\n"
    tables = atomic_tables(tmp_path, text)
    assert rows(tables.interactions, "user_id", "item_id") == [("u", "i"), ("v", "j")]
    assert tables.counts == [Count("rows of x.inter labelled 0, which are no interactions: dropped", 2)]
    every = atomic_tables(tmp_path, text, label_field="")
    assert len(every.interactions.collect()) == 4
    assert [count.example for count in every.counts] == ["label"]
    with pytest.raises(DataError, match=r"x\.inter, column 'label': it holds 3, which is neither 0 nor 1.*label_field"):
        atomic_tables(tmp_path, text.replace("\t1\n", "\t3\n"))


def test_columns_of_sequences_in_an_atomic_file_are_named_as_not_used(tmp_path: Path) -> None:
    tables = atomic_tables(tmp_path, "user_id:token\titem_id_list:token_seq\titem_id:token\nu\t1 2 3\t4\n")
    assert tables.counts == [Count("columns of x.inter not used", 1, "item_id_list")]
    with pytest.raises(DataError, match=r"column 'item_id_list': it holds lists \(token_seq\).*Set item_field"):
        atomic_tables(tmp_path, "user_id:token\titem_id_list:token_seq\nu\t1 2 3\n", item_field="item_id_list")


@pytest.mark.parametrize(
    ("separator", "shown"), [(" ", "by blanks"), (",", "by ','"), (" , ", "by ','"), (";", "by ';'")]
)
def test_another_separator_of_an_atomic_file_is_told(tmp_path: Path, separator: str, shown: str) -> None:
    header, row = ("user_id:token", "item_id:token", "timestamp:float"), ("0", "1", "2")
    with pytest.raises(DataError, match=f"x.inter, line 1: its columns are separated {shown}, not by tabs.*delimiter"):
        atomic_tables(tmp_path, f"{separator.join(header)}\n{separator.join(row)}\n")


def test_one_column_in_two_roles_of_an_atomic_file_is_refused(tmp_path: Path) -> None:
    text = "user_id:token\titem_id:token\ttime:float\nu\ti\t1\n"
    with pytest.raises(DataError, match="column 'time': it is taken for two things, rating and timestamp"):
        atomic_tables(tmp_path, text, rating_field="time", time_field="time")


def test_a_rating_that_is_empty_throughout_is_refused(tmp_path: Path) -> None:
    text = "user_id:token\titem_id:token\trating:float\nu\ti\t\nu\tj\t\n"
    with pytest.raises(
        DataError, match=r"x\.inter, column 'rating': it is empty throughout.*data\.options\.rating_field"
    ):
        read_rows(atomic_tables(tmp_path, text), "x")
    assert len(read_rows(atomic_tables(tmp_path, text, rating_field=""), "x")) == 2


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("tiny.inter", "user_id\titem_id:token\nu\ti\n", "column 'user_id' has no type"),
        (
            "tiny.inter",
            "user_id:token\titem:token\nu\ti\n",
            "no column 'item_id'. Did you mean 'item'. Set data.options.item_field",
        ),
        ("tiny.inter", "user_id:token\titem_id:token\trating:float\nu\ti\tx\n", "row 1: column 'rating:float' is 'x'"),
        ("tiny.inter", "user_id:token\titem_id:token\n", "has no rows"),
        ("tiny.inter", "", "is empty"),
        ("tiny.inter", "user_id:token\titem_id:token\nu\ti\nu\tj\tk\n", "row 2: has 3 columns"),
        ("other.inter", "user_id:token\titem_id:token\nu\ti\n", "other, tiny"),
    ],
)
def test_bad_atomic_files_are_named(name: str, text: str, words: str, tmp_path: Path, run) -> None:
    atomic(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words):
        Atomic().tables(tmp_path, run=run)


@pytest.fixture
def dataset() -> Dataset:
    table = pl.DataFrame(
        {
            "item_id": ["i", "j k", "ü"],
            "title": ["One  title", 'A "quoted", one', None],
            "text": ["Line one.\nLine\ttwo.", None, "x"],
            "attributes": [["brand:Fisher Price", "genre:Sci-Fi"], [], ["odd:100%\t|é"]],
            "image": [None, "https://x.test/a b.jpg", "pictures/ü.jpg"],
        },
        schema=ITEM_SCHEMA,
    )
    interactions = Interactions(
        np.array([0, 0, 1, 1], dtype=np.int32), np.array([0, 1, 1, 2], dtype=np.int32), 2, 3,
        rating=np.array([4.5, np.nan, 1, 2], dtype=np.float32), timestamp=np.array([1_700_000_001, 2, 3, 4]),
        weight=np.array([1, 0.25, 1, 3], dtype=np.float32),
    )  # fmt: skip
    return Dataset("tiny", Vocabulary(["u v", "w"]), Vocabulary(["i", "j k", "ü"]), interactions, table)


@pytest.mark.parametrize("with_split", [False, True])
def test_atomic_round_trip(with_split: bool, dataset: Dataset, tmp_path: Path, run) -> None:
    split = Split(dataset, np.array([0, 1, 2, 0], dtype=np.uint8), "random") if with_split else None
    paths = write_atomic(dataset, split, tmp_path)
    names = ["tiny.train.inter", "tiny.valid.inter", "tiny.test.inter"] if with_split else ["tiny.inter"]
    assert [path.name for path in paths] == [*names, "tiny.item"]
    tables = Atomic().tables(tmp_path, run=run)
    order = [0, 3, 1, 2] if with_split else [0, 1, 2, 3]
    everything = [
        ("u v", "i", 4.5, 1_700_000_001, 1.0),
        ("u v", "j k", None, 2, 0.25),
        ("w", "j k", 1.0, 3, 1.0),
        ("w", "ü", 2.0, 4, 3.0),
    ]
    back = rows(tables.interactions, "user_id", "item_id", "rating", "timestamp", "weight")
    assert back == [everything[row] for row in order]
    if with_split:
        assert rows(tables.interactions, "part") == [(0,), (0,), (1,), (2,)]
    expected = dataset.item_table.with_columns(
        title=pl.Series(["One title", 'A "quoted", one', None]), text=pl.Series(["Line one. Line two.", None, "x"])
    )
    assert_frame_equal(tables.items.collect(), expected)


def test_atomic_cannot_write_a_tab_in_an_id(dataset: Dataset, tmp_path: Path) -> None:
    data = Dataset("t", Vocabulary(["a\tb", "w"]), dataset.items, dataset.interactions, dataset.item_table)
    with pytest.raises(DataError, match="tab"):
        write_atomic(data, None, tmp_path)


def test_mmrec(tmp_path: Path, run) -> None:
    mmrec(tmp_path)
    tables = MMRec().tables(tmp_path, run=run)
    assert rows(tables.interactions, *PAIRS, "rating") == [("0", "0", 0, 5.0), ("0", "1", 1, 4.0), ("1", "2", 2, 1.0)]
    assert set(tables.features) == {"text", "image"}
    assert tables.features["text"].item_ids == ["0", "1", "2"]
    assert rows(tables.items, "item_id", "title", "text") == [
        ("0", "First", "First. One, two"),
        ("1", "Second", "Second."),
    ]


def test_ml_100k_mmrec_counts_from_zero(tmp_path: Path, run) -> None:
    ml_100k_mmrec(tmp_path)
    items = MovieLens100KMMRec().tables(tmp_path, run=run).items
    assert rows(items, "item_id", "title", "text", "attributes")[0] == (
        "0", "Toy Story (1995)", "Toy Story (1995). A boy and his toys.", ["genre:Comedy", "genre:War"],
    )  # fmt: skip


def test_ml_100k_mmrec_posters_come_by_movie_id(tmp_path: Path, run) -> None:
    raw, posters = tmp_path / "raw", tmp_path / "posters"
    raw.mkdir()
    posters.mkdir()
    ml_100k_mmrec(raw)
    (posters / "10.jpg").write_bytes(b"jpeg")
    (tmp_path / "ids.csv").write_text("ml100k_item_id,movieId\n2,10\n1,1\n")
    settings = MovieLens100KMMRec.Settings(posters="../posters", movie_ids="../ids.csv")
    items = MovieLens100KMMRec(settings).tables(raw, run=run).items
    assert rows(items, "item_id", "image")[:2] == [("0", None), ("1", str(raw / "../posters/10.jpg"))]
    with pytest.raises(DataError, match="movie_ids"):
        MovieLens100KMMRec(MovieLens100KMMRec.Settings(posters="../posters")).tables(raw, run=run)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((2, 4)), "2 rows for 3 items"),
        (np.ones(3), r"float64 \[3\]"),
        (np.ones((3, 2), dtype=np.int64), r"int64 \[3, 2\]"),
    ],
)
def test_features_that_do_not_fit_are_refused(array: np.ndarray, words: str, tmp_path: Path, run) -> None:
    mmrec(tmp_path)
    np.save(tmp_path / "text_feat.npy", array)
    with pytest.raises(DataError, match=rf"text_feat\.npy: .*{words}"):
        MMRec().tables(tmp_path, run=run)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"item_column": "movie"}, "no column 'movie'"),
        ({"title_column": "titel"}, "Did you mean 'title'"),
        ({"items": Path("none.csv")}, r"none\.csv: is not there"),
        ({"name": "other"}, r"other\.inter: is not there"),
    ],
)
def test_mmrec_settings_that_do_not_fit(settings: dict, words: str, tmp_path: Path, run) -> None:
    mmrec(tmp_path)
    with pytest.raises(DataError, match=words):
        MMRec(MMRec.Settings(**settings)).tables(tmp_path, run=run)


def test_mmrec_labels_are_checked(tmp_path: Path, run) -> None:
    mmrec(tmp_path)
    with (tmp_path / "tiny.inter").open("a") as file:
        file.write("1\t1\t1\t3\t7\n")
    with pytest.raises(DataError, match="row 4: x_label is 7"):
        MMRec().tables(tmp_path, run=run)


def test_an_item_twice_is_refused(tmp_path: Path, run) -> None:
    mmrec(tmp_path)
    (tmp_path / "items.csv").write_text("itemID,title\n0,a\n0,b\n")
    with pytest.raises(DataError, match="item '0' is there twice"):
        MMRec().tables(tmp_path, run=run)


def test_mmrec_arrays(tmp_path: Path, run) -> None:
    mmrec_npy(tmp_path)
    tables = MMRecArrays().tables(tmp_path, run=run)
    assert rows(tables.interactions, *PAIRS) == IN_PARTS


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 2), dtype=np.int64), r"int64 \[3, 2\]"),
        (np.zeros((2, 2)), "float64"),
        (np.array([[0], [-1]]), "negative"),
        (np.array([[0, {}], [1, 2]], dtype=object), "no plain array"),
    ],
)
def test_arrays_that_are_no_pairs(array: np.ndarray, words: str, tmp_path: Path, run) -> None:
    mmrec_npy(tmp_path)
    np.save(tmp_path / "tiny_valid.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=rf"tiny_valid\.npy: .*{words}"):
        MMRecArrays().tables(tmp_path, run=run)


def test_mmssl_tsv(tmp_path: Path, run) -> None:
    mmssl(tmp_path)
    tables = MMSSL().tables(tmp_path, run=run)
    assert rows(tables.interactions, *PAIRS) == IN_PARTS
    assert list(tables.features) == ["audio"]
    assert rows(tables.items, "item_id", "attributes", "image")[1] == ("1", ["asin:B1"], None)


def test_mmssl_json_is_the_same(tmp_path: Path, run) -> None:
    (tmp_path / "train.json").write_text('{"0": [0, 1], "1": [2], "2": []}')
    (tmp_path / "val.json").write_text('{"0": [2]}')
    (tmp_path / "test.json").write_text('{"1": [0]}')
    tables = MMSSL().tables(tmp_path, run=run)
    assert rows(tables.interactions, *PAIRS) == IN_PARTS


@pytest.mark.parametrize("text", ["[1]", "{}", '{"0": 1}', '{"0": [true]}', '{"0": [{}]}', "{", ""])
def test_json_of_another_shape_is_refused(text: str, tmp_path: Path, run) -> None:
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=r"train\.json"):
        MMSSL().tables(tmp_path, run=run)


class _Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["train_mat", "trnMat.pkl"])
def test_pickles_are_refused_and_never_run(name: str, tmp_path: Path, run) -> None:
    canary = tmp_path / "canary"
    (tmp_path / name).write_bytes(pickle.dumps(_Canary(canary)))
    with pytest.raises(DataError, match=r"pickle.*train\.json"):
        MMSSL().tables(tmp_path, run=run)
    mmrec(tmp_path)
    (tmp_path / "text_feat.npy").write_bytes(pickle.dumps(_Canary(canary)))
    with pytest.raises(DataError, match=r"text_feat\.npy"):
        MMRec().tables(tmp_path, run=run)
    assert not canary.exists()


def test_sequences(tmp_path: Path, run) -> None:
    sequences(tmp_path)
    tables = Sequences().tables(tmp_path, run=run)
    assert rows(tables.interactions, "user_id", "item_id", "timestamp") == [
        ("1", "10", 0), ("1", "11", 1), ("1", "12", 2), ("2", "11", 0), ("2", "10", 1),
    ]  # fmt: skip
    assert rows(tables.items, "item_id", "attributes") == [
        ("10", ["number:1", "number:2"]),
        ("11", ["number:2"]),
        ("12", []),
    ]
    assert rows(Sequences(Sequences.Settings(attributes=False)).tables(tmp_path, run=run).items, "item_id") == []


def test_sequences_forgive_white_space(tmp_path: Path, run) -> None:
    (tmp_path / "a.txt").write_bytes(b" 1  10 11 \r\n\r\n2 11\r\n")
    tables = Sequences().tables(tmp_path, run=run)
    assert rows(tables.interactions, "user_id", "item_id") == [("1", "10"), ("1", "11"), ("2", "11")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"1 2\n3\n", "row 2: names a user and no item"),
        (b"1 2\n\n1 3\n", "row 3: is of a user met before"),
        (b"\n\n1 2\n3\n", "row 4: names a user and no item"),
        (b"1 2\n3 \xff\n", "row 2"),
        (b"\n\n", "has no rows"),
        (b"", "is empty"),
    ],
)
def test_bad_sequences_are_named(text: bytes, words: str, tmp_path: Path, run) -> None:
    (tmp_path / "a.txt").write_bytes(text)
    with pytest.raises(DataError, match=rf"a\.txt.*{words}"):
        Sequences().tables(tmp_path, run=run)


@pytest.mark.parametrize(
    ("cls", "folder", "settings", "parts", "users", "items"),
    [
        (MovieLens100KMMRec, "ml100k-mmrec", {}, [33_220, 33_346, 33_434], 943, 1_682),
        (MMRecArrays, "amazon-mmrec-splits", {"name": "baby"}, [118_551, 20_559, 21_682], 19_445, 7_050),
        (MMRecArrays, "amazon-mmrec-splits", {"name": "sports"}, [218_409, 37_899, 40_029], 35_598, 18_357),
        (MMRecArrays, "amazon-mmrec-splits", {"name": "clothing"}, [197_338, 40_150, 41_189], 39_387, 23_033),
        (MMSSL, "tiktok-diffmm", {}, [59_541, 3_051, 6_130], 9_308, 6_710),
        (MMSSL, "amazon-baby-5core", {}, [118_551, 21_682, 20_559], 19_445, 7_050),
    ],
)
def test_real_splits(cls, folder, settings, parts, users, items, shared_data: Path, run) -> None:
    tables = cls(cls.Settings(**settings)).tables(shared_data / folder, run=run)
    frame = tables.interactions.collect()
    assert frame["part"].value_counts().sort("part")["count"].to_list() == parts
    assert (frame["user_id"].n_unique(), frame["item_id"].n_unique()) == (users, items)
    sizes = {name: len(feature.item_ids) for name, feature in tables.features.items()}
    expected = {"tiktok-diffmm": {"image": 6_710, "audio": 6_710}, "ml100k-mmrec": {"text": 1_682}}
    assert sizes == expected.get(folder, {})


@pytest.mark.parametrize(
    ("file", "users", "items", "interactions"),
    [
        ("Beauty.txt", 22_363, 12_101, 198_502),
        ("Sports_and_Outdoors.txt", 35_598, 18_357, 296_337),
        ("Toys_and_Games.txt", 19_412, 11_924, 167_597),
    ],
)
def test_real_sequences(file, users, items, interactions, shared_data: Path, run) -> None:
    tables = Sequences(Sequences.Settings(file=Path(file))).tables(shared_data / "amazon-seq-s3rec", run=run)
    frame = tables.interactions.collect()
    assert (len(frame), frame["user_id"].n_unique(), frame["item_id"].n_unique()) == (interactions, users, items)
    assert len(tables.items.collect()) == items
    lengths = frame.group_by("user_id").agg(pl.len().alias("n"), pl.col("timestamp").max().alias("last"))
    assert (lengths["last"] == lengths["n"] - 1).all()


def test_real_items_of_baby(shared_data: Path, run) -> None:
    items = MMSSL().tables(shared_data / "amazon-baby-5core", run=run).items.collect()
    assert len(items) == 7_050
    assert items["image"].str.starts_with("http").all()
    assert items["attributes"][0].to_list() == ["asin:B0043XBDOW"]
