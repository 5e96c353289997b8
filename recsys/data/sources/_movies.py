"""What the MovieLens editions share: titles, years, texts, overviews, tags and posters."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.errors import DataError
from recsys.core.values import Count
from recsys.data.reading.tables import scan_table
from recsys.data.sources._columns import items
from recsys.data.sources._items import joined_text, sentence

_ARTICLES = "The|A|An|Le|La|Les|Un|Une|Il|Lo|Gli|El|Los|Las|Una|Der|Die|Das|Ein|Eine|Den|Det|De|Het|Os"
_PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
_UNKNOWN = ("", "unknown", "unkonwn", "(no genres listed)", "\\N")  # "unkonwn": so spelled in RecBole's file


class MovieSettings(Settings):
    """What goes into a movie's text and picture. Paths are relative to the raw folder."""

    overviews: Path | None = Field(None, description="CSV movieId, overview (and check); default overviews.csv")
    posters: Path | None = Field(None, description="folder of <movieId>.jpg; default posters/")


def clean_title(title: pl.Expr) -> pl.Expr:
    """Put the article in front: ``"Matrix, The (1999)"`` becomes ``"The Matrix (1999)"``."""
    title = title.str.strip_chars()
    title = title.str.replace(r"^(.+?), (L')( \(.*|)$", "${2}${1}${3}")
    title = title.str.replace(rf"^(.+?), ({_ARTICLES})( \(.*|)$", "${2} ${1}${3}")
    title = title.str.replace_all(r"\((a\.k\.a\. )?([^()]+?), (L')\)", "(${1}${3}${2})")
    return title.str.replace_all(rf"\((a\.k\.a\. )?([^()]+?), ({_ARTICLES})\)", "(${1}${3} ${2})")


def year_of(title: pl.Expr) -> pl.Expr:
    """Return the (first) year at the end of a title, ``"(1995)"`` or ``"(2006–2007)"``, as text."""
    return title.str.extract(r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$")


def known(text: pl.Expr) -> pl.Expr:
    """Null where a text stands for "not known"."""
    return pl.when(~text.str.strip_chars().is_in(_UNKNOWN)).then(text)


def movie_items(movies: pl.LazyFrame) -> pl.LazyFrame:
    """Canonical item table of movies.

    Args:
        movies: ``item_id``, ``title`` (with the year at its end), ``genres`` (list), and where there are
            any ``overview``, ``tags`` (list), ``links`` (list of attributes), ``image``.
    """
    have = movies.collect_schema().names()
    extra = {name: pl.List(pl.String) if name in ("tags", "links") else pl.String
             for name in ("overview", "tags", "links", "image") if name not in have}  # fmt: skip
    movies = movies.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in extra.items())
    genres = pl.col("genres").list.eval(known(pl.element())).list.drop_nulls()
    movies = movies.with_columns(title=clean_title(known(pl.col("title"))), genres=genres)
    year = year_of(pl.col("title"))
    marks = [
        pl.col("genres").list.eval("genre:" + pl.element()),
        pl.concat_list("year:" + year).list.drop_nulls(),
        pl.col("links").fill_null([]),
    ]
    text = joined_text(
        sentence(pl.col("title")),
        pl.when(pl.col("genres").list.len() > 0).then("Genres: " + pl.col("genres").list.join(", ") + "."),
        pl.col("overview"),
        pl.when(pl.col("tags").list.len() > 0).then("Tags: " + pl.col("tags").list.join(", ") + "."),
    )
    return items(movies.select("item_id", "title", "image", text=text, attributes=pl.concat_list(marks)))


def with_overviews(movies: pl.LazyFrame, path: Path, counts: list[Count]) -> pl.LazyFrame:
    """Join plots by ``movie_id``; those found by title search only (``check`` not ``id_match``) are left out."""
    types = {"movieId": pl.String, "overview": pl.String, "check": pl.String}
    table = scan_table(path, types, optional=("overview", "check"), counts=counts)
    sure = pl.col("check").is_null() | (pl.col("check") == "id_match")
    doubtful = table.filter(~sure).select(pl.len()).collect(engine="streaming").item()
    if doubtful:
        counts.append(Count("overviews found by title search only, left out", doubtful))
    table = table.filter(sure).unique("movieId", keep="first", maintain_order=True)
    return movies.join(
        table.select(movie_id="movieId", overview="overview"), on="movie_id", how="left", maintain_order="left"
    )


def with_posters(movies: pl.LazyFrame, folder: Path) -> pl.LazyFrame:
    """Join pictures named ``<movie_id>.jpg`` (or .jpeg, .png, .webp)."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    table = pl.LazyFrame(
        {"movie_id": [path.stem for path in paths], "image": [str(path) for path in paths]},
        schema={"movie_id": pl.String, "image": pl.String},
    ).unique("movie_id", keep="first", maintain_order=True)
    return movies.join(table, on="movie_id", how="left", maintain_order="left")


def enriched(movies: pl.LazyFrame, raw: Path, settings: MovieSettings, counts: list[Count]) -> pl.LazyFrame:
    """Add overviews and posters, from the settings' paths or where they usually lie in ``raw``.

    Args:
        movies: has ``movie_id``, the number in GroupLens's large editions (null where not known).

    Raises:
        DataError: a path that the settings name does not exist.
    """
    overviews = chosen(raw, settings.overviews, "overviews.csv", Path.is_file, "overviews")
    posters = chosen(raw, settings.posters, "posters", Path.is_dir, "posters")
    if overviews:
        movies = with_overviews(movies, overviews, counts)
    return with_posters(movies, posters) if posters else movies


def chosen(raw: Path, given: Path | None, usual: str, exists, setting: str) -> Path | None:
    """Return the given path (it must exist) or the usual one if it is there."""
    path = raw / (given or usual)
    if exists(path):
        return path
    if given:
        raise DataError(f"{setting} {path}", "is not there", f"Mend the setting {setting!r}, or leave it out.")
    return None
