"""Own tables: CSV, JSON lines, Parquet and pictures, columns mapped by the settings."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from recsys.core.config import make_settings
from recsys.core.errors import ConfigError, DataError
from recsys.core.runtime import Run
from recsys.core.values import INTERACTION_SCHEMA, ITEM_SCHEMA, Count, Dataset
from recsys.data.canonical import CanonicalSettings, canonicalise, load_dataset, read_interactions
from recsys.data.sources.own import OwnTables
from recsys.data.splits import SplitSettings, make_split

AS_LOW = "as interactions rated below 4"
QUIET = Run(log=lambda message: None)
SAMPLES = Path(__file__).parents[2] / "data" / "samples"
ROWS = [("u1", "a", 4.5, 1_600_000_000), ("u2", "b", 3.0, 1_600_000_100)]


def read(folder: Path, **given_settings) -> tuple[pl.DataFrame, pl.DataFrame, list[Count]]:
    """Read own tables with settings as they stand in a TOML file."""
    tables = OwnTables(make_settings(OwnTables.Settings, given_settings, "data")).tables(folder, run=QUIET)
    return tables.interactions.collect(), tables.items.collect(), list(tables.counts)


def ingest(folder: Path, **given_settings) -> tuple[Dataset, dict[str, tuple[int, str]]]:
    """The data set that own tables become, and its counts as (rows, example) by what they count."""
    source = OwnTables(make_settings(OwnTables.Settings, given_settings, "data"))
    counts = canonicalise(source.tables(folder, run=QUIET), CanonicalSettings(), "own", folder / "out", run=QUIET)
    return load_dataset(folder / "out"), {count.what: (count.rows, count.example) for count in counts}


def pairs_of(data: Dataset) -> list[tuple[str, str]]:
    """Who took what, sorted."""
    both = zip(data.interactions.user_idx, data.interactions.item_idx, strict=True)
    return sorted((data.users[user], data.items[item]) for user, item in both)


def rows_of(frame: pl.DataFrame) -> list[tuple]:
    return frame.select("user_id", "item_id", "rating", "timestamp").rows()


def frame_of(rows=ROWS) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")


def write_csv(path: Path) -> None:
    frame_of().write_csv(path)


def write_tsv(path: Path) -> None:
    frame_of().write_csv(path, separator="\t")


def write_csv_gz(path: Path) -> None:
    path.write_bytes(gzip.compress(frame_of().write_csv().encode()))


def write_jsonl(path: Path) -> None:
    frame_of().write_ndjson(path)


def write_jsonl_gz(path: Path) -> None:
    lines = (json.dumps(row) for row in frame_of().to_dicts())
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def write_parquet(path: Path) -> None:
    frame_of().write_parquet(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("log.csv", write_csv),
        ("log.tsv", write_tsv),
        ("log.csv.gz", write_csv_gz),
        ("log.jsonl", write_jsonl),
        ("log.ndjson", write_jsonl),
        ("log.jsonl.gz", write_jsonl_gz),
        ("log.parquet", write_parquet),
    ],
)
def test_every_format_gives_the_same_table(tmp_path, name, write):
    write(tmp_path / name)
    interactions, items, counts = read(tmp_path, interactions=name)
    assert dict(interactions.schema) == INTERACTION_SCHEMA | {"nanosecond": pl.Int32}
    assert rows_of(interactions) == ROWS
    assert interactions["weight"].to_list() == [1.0, 1.0]
    assert dict(items.schema) == ITEM_SCHEMA
    assert counts == []


def test_columns_are_mapped_and_unwanted_ones_left_out(tmp_path):
    (tmp_path / "log.csv").write_text("who;what;stars;times;rating\nu1;a;4;3;9\n")
    columns = {"user": "who", "item": "what", "weight": "times", "rating": ""}
    interactions, _, _ = read(tmp_path, interactions="log.csv", columns=columns, delimiter=";")
    assert interactions.rows() == [("u1", "a", None, None, 3.0)]
    interactions, _, _ = read(tmp_path, interactions="log.csv", columns={**columns, "rating": "stars"}, delimiter=";")
    assert interactions["rating"].to_list() == [4.0]


def test_patterns_and_lists_name_many_files_once_each_in_order(tmp_path):
    for name in ("b", "a", "c"):
        (tmp_path / f"log-{name}.csv").write_text(f"user_id,item_id\n{name},x\n")
    interactions, _, _ = read(tmp_path, interactions=["log-c.csv", "log-*.csv"])
    assert interactions["user_id"].to_list() == ["c", "a", "b"]


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.parquet"])
def test_names_of_folders_are_no_patterns(tmp_path, name):
    raw, out = tmp_path / "raw [1]*", tmp_path / "out [1]*"
    raw.mkdir()
    {"log.csv": write_csv, "log.jsonl": write_jsonl, "log.parquet": write_parquet}[name](raw / name)
    for given_names in (name, "log*"):
        source = OwnTables(make_settings(OwnTables.Settings, {"interactions": given_names}, "data"))
        canonicalise(source.tables(raw, run=QUIET), CanonicalSettings(), "toy", out, run=QUIET)
        assert rows_of(read_interactions(out).collect()) == ROWS


def test_files_of_several_formats_and_columns_come_together(tmp_path):
    (tmp_path / "a.csv").write_text("user_id,item_id,rating,timestamp\n1,x,2,5\n")
    pl.DataFrame({"user_id": [2.0], "item_id": ["y"], "timestamp": [date(2020, 1, 1)]}).write_parquet(tmp_path / "b.pq")
    interactions, _, _ = read(tmp_path, interactions=["a.csv", "b.pq"])
    assert rows_of(interactions) == [("1", "x", 2.0, 5), ("2.0", "y", None, 1_577_836_800)]
    (tmp_path / "a.csv").write_text("user_id,item_id\n1,x\n2,x\n")
    data, _ = ingest(tmp_path, interactions=["a.csv", "b.pq"], columns={"timestamp": ""})
    assert pairs_of(data) == [("1", "x"), ("2", "x"), ("2", "y")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2020-01-02", 1_577_923_200),
        ("2020-01-02T03:04", 1_577_934_240),
        ("2020-01-02 03:04:05", 1_577_934_245),
        ("2020-01-02T03:04:05.999", 1_577_934_245),
        ("2020-01-02T03:04:05Z", 1_577_934_245),
        ("2020-01-02 03:04:05+02:00", 1_577_927_045),
        (" 1577934245 ", 1_577_934_245),
        ("1577934245.7", 1_577_934_245),
        ("1.577934245e9", 1_577_934_245),
        ("-5", -5),
        ("", None),
    ],
)
def test_times_in_text_become_seconds(tmp_path, text, seconds):
    (tmp_path / "interactions.csv").write_text(f"user_id,item_id,timestamp\nu,a,{text}\n")
    interactions, _, _ = read(tmp_path)
    assert interactions["timestamp"].to_list() == [seconds]


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2020, 1, 2, 3, 4, 5, 6),
        datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
        1_577_934_245,
        1_577_934_245.9,
    ],
)
def test_times_in_parquet_become_seconds(tmp_path, moment):
    frame = pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "timestamp": [moment]})
    frame.write_parquet(tmp_path / "log.parquet")
    interactions, _, _ = read(tmp_path, interactions="log.parquet")
    assert interactions["timestamp"].to_list() == [1_577_934_245]


@given(moments=st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=20))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_iso_time_is_read_exactly(tmp_path, moments):
    lines = [f"u,a,{moment.isoformat(sep=' ')}" for moment in moments]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines, ""]))
    interactions, _, _ = read(tmp_path)
    expected = [int(moment.replace(tzinfo=UTC, microsecond=0).timestamp()) for moment in moments]
    assert interactions["timestamp"].to_list() == expected


def test_a_unit_that_is_set_is_not_guessed(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\nu,a,5000\n")
    interactions, _, _ = read(tmp_path, timestamp_unit="ms")
    assert interactions["timestamp"].to_list() == [5]


def test_json_ids_of_both_kinds_are_text_and_missing_keys_are_null(tmp_path):
    lines = [{"user_id": 7, "item_id": "x", "rating": 4}, {"user_id": "7", "item_id": 12, "extra": [1]}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    interactions, _, _ = read(tmp_path, interactions="log.jsonl")
    assert rows_of(interactions) == [("7", "x", 4.0, None), ("7", "12", None, None)]


def test_bad_rows_can_be_dropped_and_are_counted(tmp_path):
    text = "user_id,item_id,rating,timestamp\nu,a,5,1\nu,b,five,2\nu,c,3,noon\nu,d,,\nu,e,x,y\n"
    (tmp_path / "interactions.csv").write_text(text)
    interactions, _, counts = read(tmp_path, on_bad_rows="drop")
    assert interactions["item_id"].to_list() == ["a", "d"]
    found = {count.what: (count.rows, count.example) for count in counts}
    assert found == {
        "interactions.csv: rows whose 'rating' cannot be read: dropped": (2, "first: row 2: 'five'"),
        "interactions.csv: rows whose 'timestamp' cannot be read: dropped": (2, "first: row 3: 'noon'"),
    }


def write_items(folder: Path) -> None:
    (folder / "interactions.csv").write_text("user_id,item_id\nu,a\nu,b\n")


def test_item_columns_are_mapped_joined_and_listed(tmp_path):
    write_items(tmp_path)
    (tmp_path / "movies.csv").write_text(
        "movie,name,plot,keywords,genres,year\na,First, A plot ,,Drama|Comedy| ,1999\nb,,,kw,,\n"
    )
    names = {"id": "movie", "title": "name", "text": ["name", "plot", "keywords"], "attributes": ["genres", "year"]}
    _, items, _ = read(tmp_path, items="movies.csv", item_columns=names)
    assert dict(items.schema) == ITEM_SCHEMA
    assert items.rows() == [
        ("a", "First", "First\nA plot", ["genres:Drama", "genres:Comedy", "year:1999"], None),
        ("b", None, "kw", [], None),
    ]


def test_list_valued_cells_of_json_and_parquet_are_attributes_and_text(tmp_path):
    write_items(tmp_path)
    lines = [
        {"item_id": 1, "title": "T", "features": ["light", "red"], "tags": ["x", " ", None, "y"], "price": 2.5},
        {"item_id": 2, "title": None, "features": [], "tags": None, "price": None},
    ]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pl.DataFrame(lines).write_parquet(tmp_path / "items.parquet")
    names = {"text": ["features"], "attributes": ["tags", "price"]}
    expected = [("1", "T", "light, red", ["tags:x", "tags:y", "price:2.5"], None), ("2", None, None, [], None)]
    for name in ("items.jsonl", "items.parquet"):
        _, items, _ = read(tmp_path, items=name, item_columns=names)
        assert items.rows() == expected


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path, format="PNG")


def test_pictures_are_found_by_the_items_ids(tmp_path):
    write_items(tmp_path)
    (tmp_path / "items.csv").write_text("item_id\na\nb\nc.d\n")
    for name in ("a.PNG", "a.jpg", "c.d.webp", "stranger.png", "notes.txt", ".hidden.png"):
        draw(tmp_path / "pics" / name)
    data, counts = ingest(tmp_path, items="items.csv", image_folder="pics")
    pics = tmp_path / "pics"
    assert data.item_table["image"].to_list() == [str(pics / "a.jpg"), None, str(pics / "c.d.webp")]
    assert {what.split(":")[0]: rows for what, (rows, _) in counts.items() if "pic" in what} == {
        "files in pics that are no .jpg, .jpeg, .png, .webp": 1,
        "second pictures of an item": 1,
        "pictures whose name is the id of no item in the data set": 1,
        "items without a picture": 1,
    }


def test_a_picture_makes_no_item(tmp_path):
    write_items(tmp_path)
    for name in ("a.png", "cover.png"):
        draw(tmp_path / "pics" / name)
    data, counts = ingest(tmp_path, image_folder="pics")
    images = dict(data.item_table.select("item_id", "image").rows())
    assert images == {"a": str(tmp_path / "pics" / "a.png"), "b": None}
    assert counts["pictures whose name is the id of no item in the data set: left aside"] == (1, "first: 'cover.png'")


@pytest.mark.parametrize("table", [None, "item_id\nx\n"])
def test_pictures_that_name_no_item_at_all_are_refused(tmp_path, table):
    write_items(tmp_path)
    draw(tmp_path / "pics" / "IMG_1.png")
    more = {}
    if table:
        (tmp_path / "items.csv").write_text(table + "a\n")
        more = {"items": "items.csv"}
    with pytest.raises(DataError, match=r"no picture \('IMG_1.png', …\) is named by the id of an item \('a', …\)"):
        ingest(tmp_path, image_folder="pics", **more)


def test_pictures_of_items_that_a_filter_drops_are_known(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\nv,a\nu,b\n")
    draw(tmp_path / "pics" / "b.png")
    settings = CanonicalSettings(min_item=2)
    tables = OwnTables(OwnTables.Settings(image_folder="pics")).tables(tmp_path, run=QUIET)
    counts = canonicalise(tables, settings, "toy", tmp_path / "out", run=QUIET)
    assert "pictures whose name is the id of no item in the data set: left aside" in [count.what for count in counts]


def test_an_item_without_a_row_in_the_item_table_has_its_picture_too(tmp_path):
    write_items(tmp_path)
    (tmp_path / "items.csv").write_text("item_id,title\na,A\n")
    for name in ("a.png", "b.png", "c.png"):
        draw(tmp_path / "pics" / name)
    data, counts = ingest(tmp_path, items="items.csv", image_folder="pics")
    assert data.item_table["image"].to_list() == [str(tmp_path / "pics" / name) for name in ("a.png", "b.png")]
    assert counts["pictures whose name is the id of no item in the data set: left aside"] == (1, "first: 'c.png'")


def test_pictures_are_found_in_folders_of_the_folder_the_first_by_path(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,011\nu,012\nu,013\n")
    for name in (
        "01/011.jpg",
        "02/011.jpg",
        "02/012.png",
        "02/012.jpg",
        ".thumbs/013.jpg",
        "013.PNG",
        "02/notes.txt",
        "1.GIF",
    ):
        draw(tmp_path / "images" / name)
    data, counts = ingest(tmp_path, image_folder="images")
    images = tmp_path / "images"
    assert data.item_table["image"].to_list() == [
        str(images / name) for name in ("01/011.jpg", "02/012.jpg", "013.PNG")
    ]
    assert counts["second pictures of an item: left aside"] == (2, "first: '02/011.jpg'")
    assert counts["files in images that are no .jpg, .jpeg, .png, .webp: left aside"] == (1, "first: '02/notes.txt'")
    assert counts["pictures in images of other formats: left aside"] == (1, "first: '1.GIF'; save as JPEG or PNG")


@pytest.mark.parametrize("end", ["", ".0"])
def test_pictures_are_named_by_ids_as_interactions_write_them(tmp_path, end):
    (tmp_path / "interactions.csv").write_text(f"user_id,item_id\n1,7{end}\n1,8{end}\n")
    for name in ("7.png", "8.0.png"):
        draw(tmp_path / "pics" / name)
    data, _ = ingest(tmp_path, image_folder="pics")
    assert list(data.items.ids) == ["7", "8"]
    assert data.item_table["image"].null_count() == 0


def test_an_image_column_names_files_or_urls_but_nothing_outside_the_folder(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,i0\n")
    draw(tmp_path / "pics" / "one.png")
    draw(tmp_path / "secret.png")
    cells = [
        "one.png",
        "https://example.org/x.jpg",
        "../secret.png",
        str(tmp_path / "secret.png"),
        "no.png",
        "a.gif",
        "",
    ]
    frame = pl.DataFrame({"item_id": [f"i{number}" for number in range(len(cells))], "cover": cells})
    frame.write_csv(tmp_path / "items.csv")
    data, counts = ingest(tmp_path, items="items.csv", item_columns={"image": "cover"}, image_folder="pics")
    expected = [str(tmp_path / "pics" / "one.png"), cells[1], None, None, None, None, None]
    assert data.item_table["image"].to_list() == expected
    assert {what.split(": ", 1)[-1]: told for what, told in counts.items() if "cover" in what} == {
        "outside the image folder": (2, "first: '../secret.png'; name files in it"),
        "no such file": (1, "first: 'no.png'; names are relative to the image folder"),
        "not a .jpg, .jpeg, .png, .webp": (1, "first: 'a.gif'; save as JPEG or PNG"),
    }
    assert counts["items without a picture"] == (5, "first: 'i2'")


def test_an_item_without_a_cell_of_the_image_column_has_the_picture_of_its_name(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\nu,b\nu,c\n")
    (tmp_path / "items.csv").write_text("item_id,image\na,pics/cover.png\nb,\n")
    for name in ("cover.png", "b.png", "c.png", "d.png"):
        draw(tmp_path / "pics" / name)
    data, counts = ingest(tmp_path, items="items.csv", image_folder="pics")
    assert data.item_table["image"].to_list() == [
        str(tmp_path / "pics" / f"{name}.png") for name in ("cover", "b", "c")
    ]
    assert counts["pictures whose name is the id of no item in the data set: left aside"] == (1, "first: 'd.png'")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (["no.png", "one.png"], "one.png"),
        (["one.png"], "one.png"),
        ([], None),
        ("['one.png', 'two.png']", "one.png"),
        ("no.png; one.png", "one.png"),
        ("two.png,one.png", "two.png"),
        ("a,b|c.png", "a,b|c.png"),
        ("https://x.test/a,b.jpg", "https://x.test/a,b.jpg"),
        ("https://x.test/a.jpg|https://x.test/b.jpg", "https://x.test/a.jpg"),
        ("no.png|https://x.test/b.jpg", "https://x.test/b.jpg"),
        ("no.png|neither.png", None),
    ],
)
def test_of_several_pictures_in_a_cell_the_first_that_is_one_is_taken(tmp_path, cell, expected):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,i\nu,j\n")
    other = ["two.png"] if isinstance(cell, list) else "two.png"
    lines = [{"item_id": "i", "photos": cell}, {"item_id": "j", "photos": other}]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for name in ("one.png", "two.png", "a,b|c.png"):
        draw(tmp_path / "pics" / name)
    data, counts = ingest(tmp_path, items="items.jsonl", item_columns={"image": "photos"}, image_folder="pics")
    local = expected and not expected.startswith("http")
    assert data.item_table["image"][0] == (str(tmp_path / "pics" / expected) if local else expected)
    several = len(cell) > 1 if isinstance(cell, list) else cell.count("png") + cell.count("http") > 1
    what = "cells of 'photos' that name several pictures: the first usable one taken"
    assert counts.get(what, (0, ""))[0] == several
    assert ("cells of 'photos' set to none: no such file" in counts) == (several and not expected)


# -- a split of one's own ----------------------------------------------------------------------------------------


def split_of(data: Dataset) -> dict[str, list[tuple[str, str]]]:
    split = make_split(data, SplitSettings(kind="given"), run=QUIET)
    parts = {"train": split.train, "valid": split.valid, "test": split.test}
    return {
        name: sorted((data.users[u], data.items[i]) for u, i in zip(part.user_idx, part.item_idx, strict=True))
        for name, part in parts.items()
    }


def test_files_of_train_valid_and_test_are_the_given_split(tmp_path):
    for name, row in (("train", "u,a\nu,b\nv,a"), ("valid", "u,c"), ("test-1", "v,b"), ("test-2", "v,c")):
        (tmp_path / f"{name}.csv").write_text(f"user_id,item_id\n{row}\n")
    files = {"interactions": "train.csv", "valid": "valid.csv", "test": "test-*.csv"}
    parts = split_of(ingest(tmp_path, **files)[0])
    assert parts["train"] == [("u", "a"), ("u", "b"), ("v", "a")]
    assert parts["valid"] == [("u", "c")]
    assert parts["test"] == [("v", "b"), ("v", "c")]
    without = split_of(ingest(tmp_path, **{**files, "valid": []})[0])
    assert (without["valid"], without["test"]) == ([], parts["test"])
    with pytest.raises(DataError, match=r"test-1\.csv: it is in two parts of the split"):
        ingest(tmp_path, **{**files, "interactions": "*.csv", "valid": []})
    with pytest.raises(DataError, match="given twice, by files and by a column"):
        ingest(tmp_path, **files, columns={"part": "user_id"})


def test_a_file_without_times_among_others_is_refused(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\nu,a,1\nv,a,2\n")
    (tmp_path / "test.csv").write_text("user_id,item_id\nu,b\n")
    with pytest.raises(DataError, match=r"test\.csv: it has no column of times, which interactions\.csv has"):
        ingest(tmp_path, test="test.csv")
    data, _ = ingest(tmp_path, test="test.csv", columns={"timestamp": ""})
    assert split_of(data)["test"] == [("u", "b")]


@pytest.mark.parametrize(
    ("labels", "least", "counts"),
    [
        (["train", "train", "test"], 4, {"the test part has no interactions left: all dropped": (1, AS_LOW)}),
        (["train", "valid", "train"], None, {}),
    ],
)
def test_a_part_of_which_nothing_is_left_is_said(tmp_path, labels, least, counts):
    rows = "".join(f"u{row},i,{5 - row},{label}\n" for row, label in enumerate(labels))
    (tmp_path / "interactions.csv").write_text(f"user_id,item_id,rating,part\n{rows}")
    source = OwnTables(OwnTables.Settings(columns={"part": "part"}))
    settings = CanonicalSettings(min_rating=least)
    found = canonicalise(source.tables(tmp_path, run=QUIET), settings, "own", tmp_path / "out", run=QUIET)
    lost = {count.what: (count.rows, count.example) for count in found if "part has" in count.what}
    assert lost == counts
    with pytest.raises(DataError, match="no interaction is in the test part that it came with"):
        split_of(load_dataset(tmp_path / "out"))


def test_a_column_of_labels_is_the_given_split(tmp_path):
    rows = "u,a,train\nu,b, Validation \nv,a,0\nv,b,test\nv,c,dev\n"
    (tmp_path / "interactions.csv").write_text(f"user_id,item_id,fold\n{rows}")
    parts = split_of(ingest(tmp_path, columns={"part": "fold"})[0])
    assert parts == {"train": [("u", "a"), ("v", "a")], "valid": [("u", "b"), ("v", "c")], "test": [("v", "b")]}
    (tmp_path / "interactions.csv").write_text(f"user_id,item_id,fold\n{rows}v,d,holdout\n")
    with pytest.raises(DataError, match=r"interactions\.csv, row 6, column 'fold': 'holdout' is no part of a split"):
        ingest(tmp_path, columns={"part": "fold"})


# -- what is not used is said, what is mapped wrongly is refused ---------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("user_id;item_id\na;b\n", {}, r"\(it has: user_id;item_id\)\. Set data\.options\.delimiter=';'"),
        ("user_id,item_id\na,b\n", {"delimiter": ";"}, r"Set data\.options\.delimiter=','"),
        ("user_id|item_id;x|y\na|b;x|y\n", {}, r"Set data\.options\.delimiter='\|'"),
        ("a\x01,b\n1,2\n", {}, r"no column 'user_id' \(it has: a\\x01, b\)"),
        (",".join(f"c{n}" for n in range(20)) + "\n", {}, r"it has: c0, .*, c11 and 8 more\)"),
        ("x" * 99 + ",y\n", {}, r"it has: x{40}…, y\)"),
    ],
)
def test_a_column_that_is_not_there_is_refused_with_what_is(tmp_path, text, options, message):
    (tmp_path / "interactions.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path, **options)


@pytest.mark.parametrize("delimiter", ["\n", "\r", "\r\n", '"', ',"', ""])
def test_a_delimiter_that_parts_nothing_is_refused(tmp_path, delimiter):
    write_items(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.delimiter: a delimiter is .* none of them a line break"):
        read(tmp_path, delimiter=delimiter)


@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_label_of_a_split_is_refused(tmp_path, blank):
    (tmp_path / "interactions.csv").write_text(f"user_id,item_id,fold\nu,a,train\nu,b,{blank}\n")
    with pytest.raises(DataError, match=r"row 2, column 'fold': it is empty, which is no part of a split"):
        read(tmp_path, columns={"part": "fold"})


def test_columns_that_nothing_reads_are_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"log-{name}.csv").write_text("user_id,item_id,device,,price\nu,a,x,,3\n")
    (tmp_path / "log-c.csv").write_text("user_id,item_id,shop\nv,a,x\n")
    (tmp_path / "items.csv").write_text("item_id,title,plot,stock\na,A,P,4\n")
    _, counts = ingest(tmp_path, interactions="log-*.csv", items="items.csv", item_columns={"text": ["plot"]})
    assert {what: given for what, given in counts.items() if "not used" in what} == {
        "columns of log-a.csv and of 1 more not used": (3, "device, '', price"),
        "columns of log-c.csv not used": (1, "shop"),
        "columns of items.csv not used": (1, "stock"),
    }


@pytest.mark.parametrize(
    ("columns", "first", "second"),
    [
        ({"rating": "when", "timestamp": "when"}, "rating", "timestamp"),
        ({"user": "item_id"}, "user", "item"),
        ({"weight": "rating"}, "rating", "weight"),
        ({"part": "when", "timestamp": "when"}, "timestamp", "part"),
    ],
)
def test_one_column_in_two_roles_is_refused(tmp_path, columns, first, second):
    (tmp_path / "interactions.csv").write_text("user_id,item_id,rating,when\nu,a,3,2020-01-01\n")
    with pytest.raises(DataError, match=rf"interactions\.csv, column '.*two things, {first} and {second}.*Set data\."):
        ingest(tmp_path, columns=columns)


@pytest.mark.parametrize("role", ["rating", "timestamp", "weight"])
def test_a_column_that_is_empty_throughout_is_refused_unless_another_file_fills_it(tmp_path, role):
    (tmp_path / "a.csv").write_text(f"user_id,item_id,{role}\nu,a,\nu,b, \nu,c,\\N\n")
    (tmp_path / "b.csv").write_text(f"user_id,item_id,{role}\nv,a,5\n")
    with pytest.raises(
        DataError, match=rf'a\.csv, column .{role}.: it is empty throughout.*columns\.{role} .*or to ""'
    ):
        ingest(tmp_path, interactions="a.csv")
    assert len(ingest(tmp_path, interactions="a.csv", columns={role: ""})[0].interactions) == 3
    assert len(ingest(tmp_path, interactions="*.csv")[0].interactions) == (1 if role == "timestamp" else 4)


def test_the_committed_sample_goes_all_the_way(tmp_path):
    chosen = {
        "interactions": "ratings.csv",
        "items": "items.jsonl",
        "columns": {"user": "reader", "item": "book", "rating": "stars", "timestamp": "when"},
        "item_columns": {"text": ["description"], "attributes": ["topic", "year"]},
        "image_folder": "pictures",
    }
    source = OwnTables(make_settings(OwnTables.Settings, chosen, "data"))
    canonicalise(source.tables(SAMPLES, run=QUIET), CanonicalSettings(min_rating=3), "books", tmp_path, run=QUIET)
    data = load_dataset(tmp_path)
    assert (len(data.users), len(data.items)) == (40, 32)
    assert data.titles([0]) == ["The Small Book of Seeds"]
    assert data.item_table["attributes"][0].to_list() == ["topic:garden", "year:1997"]
    assert sum(Path(path).is_file() for path in data.item_table["image"].drop_nulls()) == 4
    for kind in ("random", "leave_last", "global_time", "cold_items"):
        assert len(make_split(data, SplitSettings(kind=kind), run=QUIET).test) > 0
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 50_000
