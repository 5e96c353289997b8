"""MMRec's layouts: ``.inter`` with ``x_label`` and ``*_feat.npy``; or the split as three arrays.

Format: https://github.com/enoche/MMRec (X. Zhou: MMRec, 2023).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import ITEM_SCHEMA, Count, Tables
from recsys.data.reading.files import TABS, need, only
from recsys.data.reading.tables import scan_table
from recsys.data.reading.times import Time
from recsys.data.sources._columns import PARTS, interactions, no_items, of_part, part_of
from recsys.data.sources._items import find_features, last_number, load_array, read_items
from recsys.data.sources._movies import chosen, with_posters


class MMRec:
    """``<name>.inter`` with userID, itemID, x_label; row ``r`` of each ``*_feat.npy`` is item ``r``."""

    class Settings(Settings):
        """Which files and columns to read."""

        name: str | None = Field(None, description="stem of the .inter file; default: the only one in the raw folder")
        items: Path | None = Field(None, description="item table in CSV, relative to the raw folder; default items.csv")
        item_column: str | None = Field(None, description="its column of itemID; default: itemID, item_id, item or id")
        item_offset: int = Field(0, description="subtracted from that column (1 where it counts from 1)")
        title_column: str | None = Field(None, description="its column of the title; default: title or name")
        text_columns: tuple[str, ...] = Field((), description="its columns for the text; default: text, description …")
        genre_columns: tuple[str, ...] = Field((), description="its 0/1 columns that become attributes genre:<column>")

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or self.Settings()

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read the interactions with their part, the item table and the features of ``raw``."""
        counts: list[Count] = []
        path = self._inter_path(raw)
        types = {
            "userID": pl.String, "itemID": pl.String, "rating": pl.Float32, "timestamp": Time(), "x_label": pl.Int64,
        }  # fmt: skip
        records: list[int] = []
        frame = scan_table(path, types, TABS, optional=("rating", "timestamp"), counts=counts, records=records)
        frame = frame.with_columns(part_of(frame, "x_label", path))
        frame = interactions(frame.rename({"userID": "user_id", "itemID": "item_id"}), "part")
        has_features = any(raw.glob("*_feat.npy"))
        features = find_features(raw, last_number(frame, path) + 1) if has_features else {}
        return Tables(frame, self._items(raw, counts), features, counts, sum(records))

    def _inter_path(self, raw: Path) -> Path:
        if self.settings.name:
            return need(raw / f"{self.settings.name}.inter", "Set the setting name to the stem of the .inter file.")
        found = sorted(path.name for path in raw.glob("*.inter"))
        return raw / only(raw, found, ".inter file", "Put one there, or set the setting name.")

    def _items(self, raw: Path, counts: list[Count]) -> pl.LazyFrame:
        chosen = self.settings
        path = raw / (chosen.items or "items.csv")
        if not path.is_file() and chosen.items is None:
            return no_items()
        return read_items(
            need(path, "Mend the setting items, or leave it out."),
            key=chosen.item_column,
            offset=chosen.item_offset,
            title=chosen.title_column,
            texts=chosen.text_columns,
            genres=chosen.genre_columns,
            counts=counts,
        )


class MovieLens100KMMRec(MMRec):
    """ml-100k in this layout, as in a published benchmark: items.csv counts movies from 1, itemID from 0."""

    class Settings(MMRec.Settings):
        """The same settings with that folder's columns as defaults."""

        item_column: str | None = Field("movie id", description="its column of itemID")
        item_offset: int = Field(1, description="subtracted from that column")
        title_column: str | None = Field("movie title", description="its column of the title")
        text_columns: tuple[str, ...] = Field(("Summary",), description="its columns for the text")
        genre_columns: tuple[str, ...] = Field(
            (
                "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
                "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
            ),
            description="its 0/1 columns that become attributes genre:<column>",
        )  # fmt: skip
        posters: Path | None = Field(None, description="folder of <movieId>.jpg, from the raw folder")
        movie_ids: Path | None = Field(None, description="CSV ml100k_item_id, movieId that links posters")

    def _items(self, raw: Path, counts: list[Count]) -> pl.LazyFrame:
        items = super()._items(raw, counts)
        folder = chosen(raw, self.settings.posters, "posters", Path.is_dir, "posters")
        path = chosen(raw, self.settings.movie_ids, "ml100k_to_movieId.csv", Path.is_file, "movie_ids")
        if folder is None or path is None:
            if self.settings.posters:
                raise DataError(
                    "posters of ml-100k", "are named by movieId, which this edition lacks", "Give movie_ids too."
                )
            return items
        types = {"ml100k_item_id": pl.Int64, "movieId": pl.String}
        table = scan_table(path, types, counts=counts).unique("ml100k_item_id", keep="first")
        item_id = (pl.col("ml100k_item_id") - 1).cast(pl.String)  # that file counts movies from 1, as ml-100k does
        linked = items.drop("image").join(
            table.select(item_id=item_id, movie_id="movieId"), on="item_id", how="left", maintain_order="left"
        )
        return with_posters(linked, folder).select(list(ITEM_SCHEMA))


class MMRecArrays:
    """``<name>_train.npy``, ``_valid.npy``, ``_test.npy``: int ``[2, n]``, row 0 user numbers, row 1 item numbers."""

    class Settings(Settings):
        """Which arrays to read."""

        name: str | None = Field(None, description="text before _train.npy; default: the only one in the raw folder")

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or self.Settings()

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read the three arrays; features are ``<modality>_feat.npy`` in the same folder, if there are any."""
        prefix = self._prefix(raw)
        frames, n_items = [], 0
        for part, label in enumerate(PARTS):
            path = raw / f"{prefix}{label}.npy"
            pairs = _pairs(path)
            n_items = max(n_items, int(pairs[1].max(initial=-1)) + 1)
            frame = pl.LazyFrame({"user_id": pairs[0], "item_id": pairs[1]})
            frames.append(of_part(frame, part))
        return Tables(pl.concat(frames), no_items(), find_features(raw, n_items))

    def _prefix(self, raw: Path) -> str:
        if self.settings.name:
            return f"{self.settings.name}_"
        found = sorted(path.name for path in raw.glob("*train.npy"))
        return only(raw, found, "*_train.npy", "Set the setting name to the one to read.").removesuffix("train.npy")


def _pairs(path: Path) -> np.ndarray:
    array = load_array(path)
    if array.ndim != 2 or array.shape[0] != 2 or array.dtype.kind not in "iu" or array.shape[1] == 0:
        cause = f"is {array.dtype} {list(array.shape)}"
        raise DataError(f"file {path}", cause, "It must be whole numbers [2, n]: users, then items.")
    if array.min() < 0:
        raise DataError(f"file {path}", f"holds a negative number {array.min()}", "Row numbers start at 0.")
    return np.array(array)
