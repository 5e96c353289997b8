"""MovieLens latest-small, 1M, 10M, 20M, 25M and 32M in GroupLens's own layouts.

F. M. Harper and J. A. Konstan: The MovieLens Datasets: History and Context. ACM TiiS 5(4), 2015.
"""

from __future__ import annotations

import glob
from pathlib import Path
from typing import ClassVar

import polars as pl
from pydantic import Field

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import Count, Tables
from recsys.data.download import RemoteFile
from recsys.data.reading.files import Layout, need, pick
from recsys.data.reading.tables import scan_table
from recsys.data.reading.times import Time
from recsys.data.sources._columns import interactions
from recsys.data.sources._movies import MovieSettings, enriched, movie_items

_HOME = "https://files.grouplens.org/datasets/movielens/"


class MovieLens:
    """100,836 ratings, 610 users, 9,742 movies (2018).

    The subclasses name the other editions; CSV and ``::`` layouts are told apart by the files.
    """

    class Settings(MovieSettings):
        """What goes into the item texts."""

        tags: bool = Field(
            False, description="add the users' tags to the text; tags of test users then leak into it, so off"
        )
        max_tags: int = Field(20, ge=1, description="tags an item at most, the most given first")
        links: bool = Field(False, description="add imdb: and tmdb: numbers as attributes")

    inner: ClassVar[str] = "ml-latest-small"  # the folder inside the archive
    encoding: ClassVar[str] = "utf-8"  # of the :: layout
    archive: ClassVar[RemoteFile] = RemoteFile(
        _HOME + "ml-latest-small.zip",
        "ml-latest-small.zip",
        sha256="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        size=978_202,
    )

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or self.Settings()

    def downloads(self) -> list[RemoteFile]:
        """The files at GroupLens that make this edition."""
        return [self.archive]

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read ``ratings.csv``/``movies.csv`` or ``ratings.dat``/``movies.dat`` in ``raw`` or one folder below."""
        folder = find_folder(raw, self.inner, ("ratings.csv", "ratings.dat"))
        if folder is None:
            remedy = f"Fetch {self.archive.url} and unpack it there (recsys data --help)."
            raise DataError(f"file {raw / 'ratings.csv'}", "is not there", remedy)
        counts: list[Count] = []
        records: list[int] = []
        if (folder / "ratings.csv").is_file():
            ratings, movies = _csv_ratings(folder, counts, records), _csv_movies(folder, counts)
        else:
            ratings, movies = _dat_ratings(folder, counts, records), _dat_movies(folder, self.encoding)
        movies = enriched(movies, raw, self.settings, counts)
        if self.settings.links:
            movies = _with_links(movies, folder, counts)
        if self.settings.tags:
            movies = _with_tags(movies, folder, self.encoding, self.settings.max_tags, counts)
        return Tables(interactions(ratings), movie_items(movies), counts=counts, records=sum(records))


class MovieLens1M(MovieLens):
    """1,000,209 ratings, 6,040 users, 3,883 movies (2003)."""

    inner, encoding = "ml-1m", "latin-1"
    archive = RemoteFile(
        _HOME + "ml-1m.zip",
        "ml-1m.zip",
        sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        size=5_917_549,
    )


class MovieLens10M(MovieLens):
    """10,000,054 ratings, 95,580 tags (2009)."""

    inner = "ml-10M100K"
    archive = RemoteFile(_HOME + "ml-10m.zip", "ml-10m.zip", md5="ce571fd55effeba0271552578f2648bd")


class MovieLens20M(MovieLens):
    """20,000,263 ratings (2015)."""

    inner = "ml-20m"
    archive = RemoteFile(
        _HOME + "ml-20m.zip",
        "ml-20m.zip",
        sha256="96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        size=198_702_078,
    )


class MovieLens25M(MovieLens):
    """25,000,095 ratings (2019)."""

    inner = "ml-25m"
    archive = RemoteFile(
        _HOME + "ml-25m.zip",
        "ml-25m.zip",
        sha256="8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        size=261_978_986,
    )


class MovieLens32M(MovieLens):
    """32,000,204 ratings (2023)."""

    inner = "ml-32m"
    archive = RemoteFile(_HOME + "ml-32m.zip", "ml-32m.zip", md5="d472be332d4daa821edc399621853b57", size=238_950_008)


def find_folder(raw: Path, inner: str, names: tuple[str, ...]) -> Path | None:
    """Return ``raw``, ``raw/<inner>`` or ``raw/<archive>/<inner>``, whichever holds one of ``names``."""
    folders = [raw, raw / inner, *sorted(raw.glob(f"*/{glob.escape(inner)}"))]
    return next((folder for folder in folders if pick(folder, *names)), None)


def _csv_ratings(folder: Path, counts: list[Count], records: list[int]) -> pl.LazyFrame:
    types = {"userId": pl.String, "movieId": pl.String, "rating": pl.Float32, "timestamp": Time()}
    table = scan_table(folder / "ratings.csv", types, counts=counts, records=records)
    return table.rename({"userId": "user_id", "movieId": "item_id"})


def _csv_movies(folder: Path, counts: list[Count]) -> pl.LazyFrame:
    types = {"movieId": pl.String, "title": pl.String, "genres": pl.String}
    table = scan_table(folder / "movies.csv", types, optional=("title", "genres"), counts=counts)
    genres = pl.col("genres").str.split("|")
    return table.select("title", genres, item_id="movieId", movie_id="movieId")


def _dat_ratings(folder: Path, counts: list[Count], records: list[int]) -> pl.LazyFrame:
    # "::" read as ":" with an empty column between: polars separates by one byte only, and this needs no rewrite.
    layout = Layout(":", quote=None, names=("user_id", "", "item_id", "", "rating", "", "timestamp"))
    types = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float32, "timestamp": Time()}
    return scan_table(folder / "ratings.dat", types, layout, counts=counts, records=records)


def _dat_movies(folder: Path, encoding: str) -> pl.LazyFrame:
    rows = read_cells(folder / "movies.dat", encoding)
    table = pl.LazyFrame(rows, schema=dict.fromkeys(("item_id", "title", "genres"), pl.String), orient="row")
    return table.with_columns(pl.col("genres").str.split("|"), movie_id="item_id")


def read_cells(path: Path, encoding: str) -> list[tuple[str, str, str]]:
    """Read ``first::middle::last`` lines of a small table; the middle (a title, a tag) may hold ``::`` too.

    Raises:
        DataError: no such file, wrong encoding or too few cells; names file and row.
    """
    rows = []
    for row, line in enumerate(need(path, "Unpack the whole archive there.").read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            first, _, rest = line.rstrip(b"\r").decode(encoding).partition("::")
        except UnicodeDecodeError:
            raise DataError(f"{path}, row {row}", f"is not {encoding}", "Fetch the archive again.") from None
        middle, separator, last = rest.rpartition("::")
        if not separator or not first:
            raise DataError(f"{path}, row {row}", "has no three columns separated by '::'", "Mend or remove it.")
        rows.append((first, middle, last))
    return rows


def _with_links(movies: pl.LazyFrame, folder: Path, counts: list[Count]) -> pl.LazyFrame:
    types = {"movieId": pl.String, "imdbId": pl.String, "tmdbId": pl.String}
    table = scan_table(folder / "links.csv", types, optional=("imdbId", "tmdbId"), counts=counts)
    marks = pl.concat_list("imdb:" + pl.col("imdbId"), "tmdb:" + pl.col("tmdbId")).list.drop_nulls()
    table = table.unique("movieId", keep="first").select(item_id="movieId", links=marks)
    return movies.join(table, on="item_id", how="left", maintain_order="left")


def _with_tags(movies: pl.LazyFrame, folder: Path, encoding: str, most: int, counts: list[Count]) -> pl.LazyFrame:
    if (folder / "tags.csv").is_file():
        types = {"movieId": pl.String, "tag": pl.String}
        table = scan_table(folder / "tags.csv", types, optional=("tag",), counts=counts).rename({"movieId": "item_id"})
    else:
        rows = [middle.partition("::") for _, middle, _ in read_cells(folder / "tags.dat", encoding)]
        pairs = [(movie, tag) for movie, _, tag in rows]  # user::movie::tag::time
        table = pl.LazyFrame(pairs, schema={"item_id": pl.String, "tag": pl.String}, orient="row")
    tag = pl.col("tag").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    table = table.select("item_id", tag=tag).filter(pl.col("tag").str.len_bytes() > 0)
    ranked = table.group_by("item_id", "tag").len().sort("item_id", "len", "tag", descending=[False, True, False])
    tags = ranked.group_by("item_id", maintain_order=True).agg(tags=pl.col("tag").head(most))
    return movies.join(tags, on="item_id", how="left", maintain_order="left")
