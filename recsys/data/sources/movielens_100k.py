"""MovieLens 100K: as it ships inside the recbole wheel (no download), or GroupLens's own files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import polars as pl
from pydantic import Field

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import Count, Tables
from recsys.data.download import RemoteFile
from recsys.data.reading.files import TABS, Layout, need
from recsys.data.reading.tables import scan_table
from recsys.data.reading.times import Time
from recsys.data.sources._columns import interactions, part_of
from recsys.data.sources._movies import MovieSettings, chosen, enriched, known, movie_items

_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


class MovieLens100K:
    """100,000 ratings of 943 users for 1,682 movies (1998)."""

    class Settings(MovieSettings):
        """Where the optional companions lie. Paths are relative to the raw folder."""

        movie_ids: Path | None = Field(
            None, description="CSV ml100k_item_id, movieId that links posters and overviews; default: in the raw folder"
        )
        labels: Path | None = Field(None, description="CSV with one split label (0, 1, 2) an interaction, same order")
        label_column: str = Field("random_811", description="the column of labels to use")

    archive = RemoteFile(
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        "ml-100k.zip",
        sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    )

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or self.Settings()

    def downloads(self) -> list[RemoteFile]:
        """Nothing has to be fetched where recbole is installed; otherwise GroupLens's archive."""
        return [] if embedded_folder() else [self.archive]

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read u.data and u.item, or ml-100k.inter and ml-100k.item, in ``raw``; else the files inside recbole."""
        counts: list[Count] = []
        records: list[int] = []
        folders = [raw, raw / "ml-100k", raw / "ml-100k" / "ml-100k"]
        own = next((folder for folder in folders if (folder / "u.data").is_file()), None)
        atomic = next((folder for folder in folders if (folder / "ml-100k.inter").is_file()), embedded_folder())
        if own is not None:
            ratings, movies = _grouplens(own, counts, records)
        elif atomic is not None:
            ratings, movies = _atomic(atomic, counts, records)
        else:
            remedy = f"pip install recbole==1.2.1 brings them; or unpack {self.archive.url} into {raw}."
            raise DataError("the files of ml-100k", f"are neither in {raw} nor in an installed recbole", remedy)
        movies = enriched(self._with_movie_ids(movies, raw, counts), raw, self.settings, counts)
        ratings = self._with_part(interactions(ratings), raw)
        return Tables(ratings, movie_items(movies), counts=counts, records=sum(records))

    def _with_movie_ids(self, movies: pl.LazyFrame, raw: Path, counts: list[Count]) -> pl.LazyFrame:
        path = chosen(raw, self.settings.movie_ids, "ml100k_to_movieId.csv", Path.is_file, "movie_ids")
        if path is None:
            if self.settings.posters or self.settings.overviews:
                raise DataError(
                    "posters and overviews of ml-100k",
                    "are named by movieId, which this edition lacks",
                    "Give the setting movie_ids too: a CSV with ml100k_item_id and movieId.",
                )
            return movies.with_columns(movie_id=pl.lit(None, dtype=pl.String))
        table = scan_table(path, {"ml100k_item_id": pl.String, "movieId": pl.String}, counts=counts)
        table = table.unique("ml100k_item_id", keep="first").select(item_id="ml100k_item_id", movie_id="movieId")
        return movies.join(table, on="item_id", how="left", maintain_order="left")

    def _with_part(self, ratings: pl.LazyFrame, raw: Path) -> pl.LazyFrame:
        if self.settings.labels is None:
            return ratings
        column, path = self.settings.label_column, raw / self.settings.labels
        labels = scan_table(path, {column: pl.Int64})
        part = part_of(labels, column, path)
        n = labels.select(pl.len()).collect(engine="streaming").item()
        rows = ratings.select(pl.len()).collect(engine="streaming").item()
        if n != rows:
            raise DataError(f"file {path}", f"has {n} labels for {rows} interactions", "Give one row an interaction.")
        return pl.concat([ratings, labels.select(part)], how="horizontal")


def embedded_folder() -> Path | None:
    """Return the folder of ml-100k inside the recbole package, which is found but not imported."""
    spec = find_spec("recbole")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "dataset_example" / "ml-100k"
        if (folder / "ml-100k.inter").is_file():
            return folder
    return None


def _atomic(folder: Path, counts: list[Count], records: list[int]) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    types = {
        "user_id:token": pl.String, "item_id:token": pl.String, "rating:float": pl.Float32, "timestamp:float": Time(),
    }  # fmt: skip
    ratings = scan_table(folder / "ml-100k.inter", types, TABS, counts=counts, records=records)
    types = dict.fromkeys(
        ("item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"), pl.String
    )
    movies = scan_table(folder / "ml-100k.item", types, TABS, optional=list(types)[1:], counts=counts)
    title, year = known(pl.col("movie_title:token_seq")), pl.col("release_year:token")
    dated = pl.when(year.str.contains(r"^\d{4}$")).then(title + " (" + year + ")").otherwise(title)
    return (
        ratings.rename({name: name.split(":")[0] for name in ratings.collect_schema().names()}),
        movies.select(item_id="item_id:token", title=dated, genres=pl.col("class:token_seq").str.split(" ")),
    )


def _grouplens(folder: Path, counts: list[Count], records: list[int]) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    types = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float32, "timestamp": Time()}
    layout = Layout("\t", quote=None, names=tuple(types))
    ratings = scan_table(folder / "u.data", types, layout, counts=counts, records=records)
    path = need(folder / "u.item", "Unpack the whole archive there.")
    rows = []
    for row, line in enumerate(path.read_bytes().decode("latin-1").split("\n"), start=1):
        cells = line.rstrip("\r").split("|")
        if len(cells) == 1 and not cells[0]:
            continue
        if len(cells) != 5 + len(_GENRES):
            cause = f"has {len(cells)} columns, not {5 + len(_GENRES)}"
            raise DataError(f"{path}, row {row}", cause, "Fetch the archive again.")
        genres = [name for name, flag in zip(_GENRES, cells[5:], strict=True) if flag == "1"]
        rows.append((cells[0], cells[1], genres))
    schema = {"item_id": pl.String, "title": pl.String, "genres": pl.List(pl.String)}
    return ratings, pl.LazyFrame(rows, schema=schema, orient="row")
