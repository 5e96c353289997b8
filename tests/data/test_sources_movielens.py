"""MovieLens in its layouts: tiny files in the exact layout, and the real ones where they are at hand."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest
from source_fixtures import ml_100k, ml_csv, ml_dat, rows

from recsys.core.errors import DataError
from recsys.data import SOURCES
from recsys.data.sources._movies import clean_title, year_of
from recsys.data.sources.movielens import MovieLens, MovieLens1M, MovieLens10M
from recsys.data.sources.movielens_100k import MovieLens100K, embedded_folder


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Matrix, The (1999)", "The Matrix (1999)"),
        ("  Heat (1995) ", "Heat (1995)"),
        ("Avventura, L' (1960)", "L'Avventura (1960)"),
        ("Birdcage, The", "The Birdcage"),
        ("City of Lost Children, The (Cité des enfants perdus, La) (1995)",
         "The City of Lost Children (La Cité des enfants perdus) (1995)"),
        ("Good, the Bad and the Ugly, The (Buono, il brutto, il cattivo, Il) (1966)",
         "The Good, the Bad and the Ugly (Il Buono, il brutto, il cattivo) (1966)"),
        ("Thing, The (a.k.a. Other Thing, The) (1982)", "The Thing (a.k.a. The Other Thing) (1982)"),
        ("I, Robot (2004)", "I, Robot (2004)"),
        ("", ""),
    ],
)  # fmt: skip
def test_titles_have_their_article_in_front(raw: str, clean: str) -> None:
    assert pl.select(clean_title(pl.lit(raw))).item() == clean


@pytest.mark.parametrize(
    ("title", "year"),
    [("Heat (1995)", "1995"), ("Fawlty Towers (1975-1979)", "1975"), ("Lost (2004–)", "2004"), ("2001", None)],
)
def test_years_are_taken_from_the_end(title: str, year: str | None) -> None:
    assert pl.select(year_of(pl.lit(title))).item() == year


def test_csv_edition(tmp_path: Path, run) -> None:
    ml_csv(tmp_path)
    tables = MovieLens().tables(tmp_path, run=run)
    assert rows(tables.interactions, "user_id", "item_id", "rating", "timestamp", "weight") == [
        ("1", "1", 4.0, 964982703, 1.0),
        ("1", "11", 4.5, 964982704, 1.0),
        ("2", "1", 0.5, 964982705, 1.0),
    ]
    assert rows(tables.items, "item_id", "title", "text", "attributes", "image") == [
        ("1", "Toy Story (1995)", "Toy Story (1995). Genres: Adventure, Comedy.",
         ["genre:Adventure", "genre:Comedy", "year:1995"], None),
        ("11", "The American President (1995)", "The American President (1995). Genres: Comedy, Drama.",
         ["genre:Comedy", "genre:Drama", "year:1995"], None),
        ("12", "Untitled", "Untitled.", [], None),
    ]  # fmt: skip


def test_tags_links_overviews_and_posters_are_joined(tmp_path: Path, run) -> None:
    ml_csv(tmp_path)
    (tmp_path / "overviews.csv").write_text(
        'movieId,overview,check\n1,"Led by Woody,\nAndy\'s toys",id_match\n11,Doubtful,title_search_only\n'
    )
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "11.jpg").write_bytes(b"x")
    (tmp_path / "posters" / "notes.txt").write_bytes(b"x")
    tables = MovieLens(MovieLens.Settings(tags=True, links=True)).tables(tmp_path, run=run)
    first, second, third = rows(tables.items, "text", "attributes", "image")
    # "pixar" is given twice, so it comes before "fun"
    assert first[0] == "Toy Story (1995). Genres: Adventure, Comedy. Led by Woody, Andy's toys Tags: pixar, fun."
    assert first[1][-2:] == ["imdb:0114709", "tmdb:862"]
    assert first[2] is None
    assert second == (
        "The American President (1995). Genres: Comedy, Drama. Tags: politics, love.",
        ["genre:Comedy", "genre:Drama", "year:1995", "imdb:0112346"],
        str(tmp_path / "posters" / "11.jpg"),
    )
    assert third[1] == ["imdb:0000001", "tmdb:1"]
    assert [(count.what, count.rows) for count in tables.counts] == [
        ("overviews found by title search only, left out", 1)
    ]


def test_fewer_tags_when_asked(tmp_path: Path, run) -> None:
    ml_csv(tmp_path)
    tables = MovieLens(MovieLens.Settings(tags=True, max_tags=1)).tables(tmp_path, run=run)
    assert rows(tables.items, "text")[0][0].endswith("Tags: pixar.")


@pytest.mark.parametrize(("cls", "encoding"), [(MovieLens1M, "latin-1"), (MovieLens10M, "utf-8")])
def test_double_colon_edition(cls, encoding: str, tmp_path: Path, run) -> None:
    folder = tmp_path / cls.archive.name.removesuffix(".zip") / cls.inner  # as fetched and unpacked
    folder.mkdir(parents=True)
    ml_dat(folder, encoding)
    tables = cls(cls.Settings(tags=True)).tables(tmp_path, run=run)
    assert rows(tables.interactions, "user_id", "item_id", "rating", "timestamp") == [
        ("1", "1", 5.0, 978300760),
        ("1", "661", 3.0, 978302109),
        ("2", "1", 4.0, 978298413),
    ]
    assert rows(tables.items, "item_id", "title", "text") == [
        ("1", "Toy Story (1995)", "Toy Story (1995). Genres: Animation, Comedy. Tags: a::b, pixar."),
        ("661", "Misérables, Les: a::b (1995)", "Misérables, Les: a::b (1995). Genres: Drama."),
    ]


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("ratings.dat", "3::1::five::978300760", ["ratings.dat, row 4", "'rating'", "five"]),
        ("ratings.dat", "3::1::5", ["ratings.dat, row 4", "'timestamp'", "empty"]),
        ("ratings.dat", "3::1::5::978300760::9", ["ratings.dat, row 4", "columns"]),
        ("ratings.dat", "::1::5::978300760", ["ratings.dat, row 4", "'user_id'", "empty"]),
        ("movies.dat", "7::no genres", ["movies.dat, row 3", "three columns"]),
    ],
)
def test_bad_lines_are_named(name: str, line: str, words: list[str], tmp_path: Path, run) -> None:
    ml_dat(tmp_path)
    with (tmp_path / name).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError) as caught:
        MovieLens1M().tables(tmp_path, run=run)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_ten_million_titles_are_utf_8(tmp_path: Path, run) -> None:
    ml_dat(tmp_path, "latin-1")
    with pytest.raises(DataError, match=r"movies\.dat, row 2.*utf-8"):
        MovieLens10M().tables(tmp_path, run=run)


def test_missing_files_name_the_address(tmp_path: Path, run) -> None:
    with pytest.raises(DataError, match=r"ratings\.csv.*files\.grouplens\.org/.*/ml-1m\.zip"):
        MovieLens1M().tables(tmp_path, run=run)


def test_posters_that_are_not_there_are_an_error(tmp_path: Path, run) -> None:
    ml_csv(tmp_path)
    with pytest.raises(DataError, match="posters"):
        MovieLens(MovieLens.Settings(posters=Path("nowhere"))).tables(tmp_path, run=run)


def test_grouplens_100k(tmp_path: Path, run) -> None:
    ml_100k(tmp_path)
    tables = MovieLens100K().tables(tmp_path, run=run)
    assert rows(tables.interactions, "user_id", "item_id", "rating", "timestamp") == [
        ("196", "242", 3.0, 881250949),
        ("186", "302", 3.0, 891717742),
        ("196", "302", 5.0, 881250950),
    ]
    assert rows(tables.items, "item_id", "title", "attributes") == [
        ("242", "Kolya (1996)", ["genre:Children's", "genre:Comedy", "year:1996"]),
        ("302", "Les Misérables (1995)", ["genre:Children's", "genre:Comedy", "year:1995"]),
    ]


def test_labels_become_parts(tmp_path: Path, run) -> None:
    ml_100k(tmp_path)
    (tmp_path / "labels.csv").write_text("random_811,leave_last\n0,2\n1,0\n2,1\n")
    settings = MovieLens100K.Settings(labels=Path("labels.csv"), label_column="leave_last")
    tables = MovieLens100K(settings).tables(tmp_path, run=run)
    assert tables.interactions.collect_schema()["part"] == pl.UInt8
    assert rows(tables.interactions, "item_id", "part") == [("242", 2), ("302", 0), ("302", 1)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("random_811\n0\n1\n", "2 labels for 3 interactions"),
        ("random_811\n0\n1\n3\n", "row 3.*not 0, 1 or 2"),
        ("random_811\n0\nx\n2\n", "row 2.*'x'"),
        ("other\n0\n1\n2\n", "no column 'random_811'"),
    ],
)
def test_bad_labels_are_refused(text: str, words: str, tmp_path: Path, run) -> None:
    ml_100k(tmp_path)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        MovieLens100K(MovieLens100K.Settings(labels=Path("labels.csv"))).tables(tmp_path, run=run)


def test_posters_of_100k_need_the_numbers(tmp_path: Path, run) -> None:
    ml_100k(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "7.jpg").write_bytes(b"x")
    settings = MovieLens100K.Settings(posters=Path("pictures"))
    with pytest.raises(DataError, match="movie_ids"):
        MovieLens100K(settings).tables(tmp_path, run=run)
    (tmp_path / "ml100k_to_movieId.csv").write_text("ml100k_item_id,movieId\n302,7\n")
    tables = MovieLens100K(settings).tables(tmp_path, run=run)
    assert rows(tables.items, "image") == [(None,), (str(tmp_path / "pictures" / "7.jpg"),)]


@pytest.mark.skipif(embedded_folder() is None, reason="needs the recbole wheel")
def test_embedded_100k_needs_no_folder_and_no_import(tmp_path: Path, run) -> None:
    loaded = "recbole" in sys.modules
    tables = MovieLens100K().tables(tmp_path / "none", run=run)
    frame, items = tables.interactions.collect(), tables.items.collect()
    assert (len(frame), frame["user_id"].n_unique(), frame["item_id"].n_unique(), len(items)) == (
        100_000, 943, 1_682, 1_682,
    )  # fmt: skip
    title = dict(items.select("item_id", "title").iter_rows())
    assert title["1"] == "Toy Story (1995)"
    assert title["12"] == "The Usual Suspects (1995)"
    assert title["543"] == "Les Misérables (1995)"
    assert title["267"] is None  # "unkonwn" in the file
    assert title["1412"] == "Land Before Time III: The Time of the Great Giving (1995)"
    assert not items["attributes"].explode().is_in(["genre:unknown", "year:V"]).any()
    assert frame["rating"].mean() == pytest.approx(3.52986)
    assert ("recbole" in sys.modules) == loaded


@pytest.mark.skipif(embedded_folder() is None, reason="needs the recbole wheel")
@pytest.mark.parametrize(
    ("column", "sizes"), [("random_811", [80_808, 9_596, 9_596]), ("leave_last", [98_114, 943, 943])]
)
def test_real_labels(column: str, sizes: list[int], shared_data: Path, run) -> None:
    settings = MovieLens100K.Settings(labels=shared_data / "ml100k-peers" / "labels.csv", label_column=column)
    tables = MovieLens100K(settings).tables(shared_data / "ml100k-peers", run=run)
    frame = tables.interactions.collect()
    assert frame["part"].value_counts().sort("part")["count"].to_list() == sizes
    if column == "leave_last":  # aligned with the rows: nobody's test item is older than a training one
        last = frame.group_by("user_id").agg(
            test=pl.col("timestamp").filter(pl.col("part") == 2).min(),
            train=pl.col("timestamp").filter(pl.col("part") == 0).max(),
        )
        assert (last["test"] >= last["train"]).all()


@pytest.mark.skipif(embedded_folder() is None, reason="needs the recbole wheel")
def test_real_posters_of_100k(shared_data: Path, run) -> None:
    settings = MovieLens100K.Settings(
        posters=shared_data / "movielens-posters" / "posters",
        overviews=shared_data / "movielens-latest-small" / "overviews.csv",
    )
    tables = MovieLens100K(settings).tables(shared_data / "movielens-100k", run=run)
    items = tables.items.collect()
    assert items["image"].is_not_null().sum() == 1_474
    assert Path(items["image"].drop_nulls()[0]).is_file()


def test_real_latest_small(shared_data: Path, run) -> None:
    settings = MovieLens.Settings(posters=shared_data / "movielens-posters" / "posters", links=True)
    tables = SOURCES.load("ml-latest-small")(settings).tables(shared_data / "movielens-latest-small", run=run)
    frame, items = tables.interactions.collect(), tables.items.collect()
    assert (len(frame), frame["user_id"].n_unique(), frame["item_id"].n_unique()) == (100_836, 610, 9_724)
    assert len(items) == 9_742
    assert frame["rating"].is_between(0.5, 5.0).all()
    assert items["image"].is_not_null().sum() == 9_520
    assert "Andy's toys" in items.filter(item_id="1")["text"][0]
    assert sum(count.rows for count in tables.counts) == 119
