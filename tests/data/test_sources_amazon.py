"""The three Amazon editions on tiny files in their exact layouts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from source_fixtures import (
    META_2014,
    META_2018,
    META_2023,
    NEW_REVIEWS,
    OLD_REVIEWS,
    amazon_2014,
    amazon_2018,
    amazon_2023,
    rows,
    write_lines,
)  # fmt: skip

from recsys.core.errors import ConfigError, DataError
from recsys.data.sources.amazon import Amazon2014, Amazon2018, Amazon2023

_ALL = ("user_id", "item_id", "rating", "timestamp", "weight")


@pytest.mark.parametrize(("cls", "fixture"), [(Amazon2014, amazon_2014), (Amazon2018, amazon_2018)])
def test_reviews_of_2014_and_2018(cls, fixture, tmp_path: Path, run) -> None:
    fixture(tmp_path)
    tables = cls().tables(tmp_path, run=run)
    assert rows(tables.interactions, *_ALL) == [
        ("A1", "B0", 5.0, 1369699200, 1.0),
        ("A1", "B1", 3.0, 1369699300, 1.0),
        ("A2", "B0", 4.0, 1369699400, 1.0),
    ]


def test_items_of_2014(tmp_path: Path, run) -> None:
    amazon_2014(tmp_path)
    tables = Amazon2014().tables(tmp_path, run=run)
    assert rows(tables.items, "item_id", "title", "text", "attributes", "image") == [
        (
            "B0",
            "Bear & friends",
            "Bear & friends. Brand: O'Neil. Categories: Baby, Toys, Gifts. A soft bear",
            ["category:Baby", "category:Toys", "category:Gifts", "brand:O'Neil", "price:12.5"],
            "http://x.test/b.jpg",
        ),
        ("B1", None, "Categories: Baby.", ["category:Baby"], None),
    ]


def test_scripts_brands_and_picture_lists_of_2018(tmp_path: Path, run) -> None:
    amazon_2018(tmp_path)
    script = "var aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();"
    lines = [
        {"asin": "B0", "title": script, "brand": "\n    by\n    Acme", "price": ".a-box-inner{background-color:#fff}",
         "category": ["Women", "</span></span>"], "image": ["https://x.test/1.jpg", "https://x.test/2.jpg"]},
        {"asin": "B1", "title": "Dress &amp; <em>belt</em>", "brand": "by Terry", "rank": "5",
         "description": [".a-box{color:#fff}", "Made <script>f(1 < 2)</script>of silk."]},
    ]  # fmt: skip
    write_lines(tmp_path / "meta_Baby.json.gz", list(map(json.dumps, lines)))
    for _ in range(2):  # parsed, then from the kept pieces
        tables = Amazon2018().tables(tmp_path, run=run)
        assert rows(tables.items, "item_id", "title", "text", "attributes", "image") == [
            ("B0", None, "Brand: Acme. Categories: Women.", ["category:Women", "brand:Acme"], "https://x.test/1.jpg"),
            ("B1", "Dress & belt", "Dress & belt. Brand: by Terry. Made of silk.", ["brand:by Terry"], None),
        ]
        assert [(count.what, count.rows, count.example) for count in tables.counts] == [
            ("columns of Baby.json.gz not used", 2, "reviewText, helpful"),
            ("columns of meta_Baby.json.gz not used", 1, "rank"),
            (
                "items of meta_Baby.json.gz with scripts or style sheets for texts: those texts dropped",
                2,
                "first: 'B0'",
            ),
        ]


@pytest.mark.parametrize("title", ["Function Over Form (New Edition)", "var. alba", "C#: {a: b}", "The .NET Way: 1"])
def test_titles_that_only_look_like_scripts_are_titles(title: str, tmp_path: Path, run) -> None:
    amazon_2018(tmp_path)
    write_lines(tmp_path / "meta_Baby.json.gz", [json.dumps({"asin": "B0", "title": title})])
    assert rows(Amazon2018().tables(tmp_path, run=run).items, "title") == [(title,)]


def test_items_of_2018(tmp_path: Path, run) -> None:
    amazon_2018(tmp_path)
    tables = Amazon2018().tables(tmp_path, run=run)
    assert rows(tables.items, "item_id", "title", "text", "attributes", "image") == [
        (
            "B0",
            "Bear",
            "Bear. Brand: Softy. Categories: Baby, Toys. Soft A bear. Washable.",
            ["category:Baby", "category:Toys", "brand:Softy", "price:12.5"],
            "https://x.test/l.jpg",
        ),
        ("B1", None, None, [], None),
    ]


def test_2023(tmp_path: Path, run) -> None:
    amazon_2023(tmp_path)
    tables = Amazon2023().tables(tmp_path, run=run)
    assert rows(tables.interactions, *_ALL) == [
        ("A1", "B0", 5.0, 1588687728, 1.0),
        ("A1", "B1", 3.0, 1588687729, 1.0),
        ("A2", "B0", 4.0, 1588687730, 1.0),
    ]
    assert rows(tables.items, "title", "attributes", "image") == [
        ("Bear", ["category:Baby", "category:Toys", "brand:Softy", "price:12.5"], "https://x.test/l.jpg"),
        ("Ball", [], None),
    ]


def test_2023_as_parquet_is_the_same(tmp_path: Path, run) -> None:
    lines, parquet = tmp_path / "lines", tmp_path / "parquet"
    lines.mkdir()
    parquet.mkdir()
    amazon_2023(lines)
    pl.DataFrame(NEW_REVIEWS).write_parquet(parquet / "Baby_Products.parquet")
    # in parquet the pictures of an item are one list a size
    meta = [row | {"images": {key: [image.get(key) for image in row["images"]] for key in ("hi_res", "large", "thumb")},
                   "price": str(row["price"])} for row in META_2023]  # fmt: skip
    pl.DataFrame(meta).write_parquet(parquet / "meta_Baby_Products.parquet")
    one, two = Amazon2023().tables(lines, run=run), Amazon2023().tables(parquet, run=run)
    assert rows(one.interactions, *_ALL) == rows(two.interactions, *_ALL)
    assert rows(one.items, "item_id", "title", "text", "attributes", "image") == rows(
        two.items, "item_id", "title", "text", "attributes", "image"
    )


def test_2023_ratings_with_their_own_split(tmp_path: Path, run) -> None:
    head = "user_id,parent_asin,rating,timestamp\n"
    for place, part in enumerate(("train", "valid", "test")):
        text = f"{head}A,B{place},4.0,158868772892{place}\n"
        (tmp_path / f"Games.{part}.csv.gz").write_bytes(gzip.compress(text.encode()))
    tables = Amazon2023().tables(tmp_path, run=run)
    assert rows(tables.interactions, "item_id", "timestamp", "part") == [
        ("B0", 1588687728, 0),
        ("B1", 1588687728, 1),
        ("B2", 1588687728, 2),
    ]
    (tmp_path / "Games.test.csv.gz").unlink()
    with pytest.raises(DataError, match=r"Games\.test\.csv\.gz: is not there"):
        Amazon2023().tables(tmp_path, run=run)


def test_meta_is_never_executed(tmp_path: Path, run) -> None:
    amazon_2014(tmp_path)
    canary = tmp_path / "canary"
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    write_lines(tmp_path / "meta_Baby.json.gz", [repr(META_2014[0]), f"{{'asin': {code}}}"])
    with pytest.raises(DataError, match=r"meta_Baby\.json\.gz, row 2"):
        Amazon2014().tables(tmp_path, run=run)
    assert not canary.exists()


def test_bad_meta_lines_are_dropped_and_counted_on_request(tmp_path: Path, run) -> None:
    amazon_2018(tmp_path)
    lines = [json.dumps(META_2018[0]), "{half", '["no object"]', '{"title": "no id"}', json.dumps(META_2018[0]),
             '{"asin": "B1", "title": "\\ud800half a character"}']  # fmt: skip
    write_lines(tmp_path / "meta_Baby.json.gz", lines)
    with pytest.raises(DataError, match=r"meta_Baby\.json\.gz, row 2: cannot be read"):
        Amazon2018().tables(tmp_path, run=run)
    for _ in range(2):  # parsed, then from the kept pieces
        tables = Amazon2018(Amazon2018.Settings(bad_lines="drop")).tables(tmp_path, run=run)
        assert rows(tables.items, "item_id", "title") == [("B0", "Bear"), ("B1", "?half a character")]
        counts = {count.what.split(" ", 1)[0]: count for count in tables.counts}
        assert (counts["lines"].rows, counts["items"].rows) == (3, 1)
        assert counts["lines"].example.startswith("first: row 2: cannot be read")


def test_a_changed_meta_file_is_parsed_again(tmp_path: Path, run) -> None:
    amazon_2014(tmp_path)
    Amazon2014().tables(tmp_path, run=run)
    write_lines(tmp_path / "meta_Baby.json.gz", [repr({"asin": "B0", "title": "Another title"})])
    tables = Amazon2014().tables(tmp_path, run=run)
    assert rows(tables.items, "title") == [("Another title",)]


def test_without_meta_there_are_no_items(tmp_path: Path, run) -> None:
    amazon_2014(tmp_path)
    (tmp_path / "meta_Baby.json.gz").unlink()
    assert rows(Amazon2014().tables(tmp_path, run=run).items, "item_id") == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("not json", "row 4: cannot be read"),
        ('{"asin": "B0", "overall": 5.0, "unixReviewTime": 1}', "row 4: column 'reviewerID' is empty"),
        ('{"reviewerID": "A", "asin": "B0", "overall": "five", "unixReviewTime": 1}', "row 4: column 'overall'.*five"),
        ('{"reviewerID": "A", "asin": "B0", "overall": 5.0}', "row 4: column 'unixReviewTime' is empty"),
        ("[1]", "row 4: cannot be read: is list"),
    ],
)
def test_bad_reviews_are_named(bad: str, words: str, tmp_path: Path, run) -> None:
    write_lines(tmp_path / "reviews_Baby.json.gz", [*(json.dumps(row) for row in OLD_REVIEWS), bad])
    with pytest.raises(DataError, match=rf"reviews_Baby\.json\.gz, {words}"):
        Amazon2014().tables(tmp_path, run=run)


def test_a_cut_gzip_is_named(tmp_path: Path, run) -> None:
    write_lines(
        tmp_path / "reviews_Baby.json.gz", [json.dumps(row | {"n": n}) for n in range(500) for row in OLD_REVIEWS]
    )
    whole = (tmp_path / "reviews_Baby.json.gz").read_bytes()
    (tmp_path / "reviews_Baby.json.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"reviews_Baby\.json\.gz.*damaged"):
        Amazon2014().tables(tmp_path, run=run)


def test_one_of_several_categories_has_to_be_named(tmp_path: Path, run) -> None:
    amazon_2018(tmp_path)
    write_lines(tmp_path / "Music.json.gz", [json.dumps(OLD_REVIEWS[0])])
    with pytest.raises(DataError, match="Baby, Music"):
        Amazon2018().tables(tmp_path, run=run)
    tables = Amazon2018(Amazon2018.Settings(category="Music")).tables(tmp_path, run=run)
    assert len(rows(tables.interactions, "user_id")) == 1
    with pytest.raises(DataError, match="Did you mean 'Music'"):
        Amazon2018(Amazon2018.Settings(category="Musik")).tables(tmp_path, run=run)


@pytest.mark.parametrize("cls", [Amazon2014, Amazon2018, Amazon2023])
def test_downloads_are_the_files_that_are_read(cls, tmp_path: Path, run) -> None:
    with pytest.raises(ConfigError, match="category"):
        cls().downloads()
    files = cls(cls.Settings(category="Baby")).downloads()
    contents = (NEW_REVIEWS, META_2023) if cls is Amazon2023 else (OLD_REVIEWS, META_2014)
    for file, content in zip(files, contents, strict=True):
        dump = repr if cls is Amazon2014 and file.name.startswith("meta_") else json.dumps
        write_lines(tmp_path / file.name, [dump(row) for row in content])
    tables = cls().tables(tmp_path, run=run)
    assert len(rows(tables.interactions, "user_id")) == 3
    assert len(rows(tables.items, "item_id")) == 2
