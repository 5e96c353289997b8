"""The layout of MMSSL and DiffMM: train, valid and test as TSV or JSON, ``*_feat.npy``, ``items.csv``.

W. Wei et al.: Multi-Modal Self-Supervised Learning for Recommendation. WWW 2023.
Y. Jiang et al.: DiffMM. ACM MM 2024. Their original ``.pkl`` matrices and pickled
``train_mat`` are not read: unpickling runs whatever code the file holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import Count, Tables
from recsys.data.reading.files import TABS, need, pick
from recsys.data.reading.tables import scan_table
from recsys.data.sources._columns import no_items, of_part
from recsys.data.sources._items import find_features, last_number, read_items

_FILES = (
    ("train.tsv", "train.json"),
    ("valid.tsv", "val.tsv", "valid.json", "val.json"),
    ("test.tsv", "test.json"),
)
_PICKLES = ("train_mat", "trnMat.pkl", "train.pkl", "train_list.pkl")


class MMSSL:
    """``train|valid|test.tsv`` with user and item, or ``train|val|test.json`` ``{user: [item, …]}``."""

    class Settings(Settings):
        """Which item table to read."""

        items: Path | None = Field(None, description="item table in CSV, relative to the raw folder; default items.csv")

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or self.Settings()

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read the three parts, the item table and the features of ``raw``."""
        counts: list[Count] = []
        records: list[int] = []
        paths = [pick(raw, *names) for names in _FILES]
        if paths[0] is None:
            raise _missing(raw)
        frames = []
        for part, path in enumerate(paths):
            if path is not None:
                frame = _tsv(path, counts, records) if path.suffix == ".tsv" else _json(path, records)
                frames.append(of_part(frame, part))
            else:
                run.log(f"{raw} has none of {', '.join(_FILES[part])}: that part is empty")
        frame = pl.concat(frames)
        has_features = any(raw.glob("*_feat.npy"))
        features = find_features(raw, last_number(frame, paths[0]) + 1) if has_features else {}
        table = raw / (self.settings.items or "items.csv")
        if self.settings.items:
            need(table, "Mend the setting items, or leave it out.")
        items = read_items(table, counts=counts) if table.is_file() else no_items()
        return Tables(frame, items, features, counts, sum(records))


def _missing(raw: Path) -> DataError:
    pickled = pick(raw, *_PICKLES)
    if pickled is None:
        return DataError(
            f"file {raw / 'train.tsv'}", "is not there, nor is train.json", "Put train, valid, test there."
        )
    return DataError(
        f"file {pickled}",
        "is a pickle, which can run any code when read, so it is refused",
        "Where you trust it, write the matrix m out yourself as train.json: "
        "json.dump({str(u): m.tocsr()[u].indices.tolist() for u in range(m.shape[0])}, file)",
    )


def _tsv(path: Path, counts: list[Count], records: list[int]) -> pl.LazyFrame:
    frame = scan_table(path, {"user": pl.String, "item": pl.String}, TABS, counts=counts, records=records)
    return frame.rename({"user": "user_id", "item": "item_id"})


def _json(path: Path, records: list[int]) -> pl.LazyFrame:
    remedy = 'It must be {"user": [item, item, …], …}.'
    try:
        table: Any = json.loads(need(path, remedy).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"file {path}", f"is no JSON: {error}", remedy) from None
    if not isinstance(table, dict) or not table:
        raise DataError(f"file {path}", "is no mapping of users", remedy)
    for user, row in table.items():
        plain = isinstance(row, list) and all(isinstance(item, int | str) and item is not True for item in row)
        if not plain:
            raise DataError(f"file {path}, user {user!r}", "has no list of items", remedy)
    lists = [[str(item) for item in row] for row in table.values()]
    records.append(sum(map(len, lists)))
    schema = {"user_id": pl.String, "item_id": pl.List(pl.String)}
    frame = pl.LazyFrame({"user_id": list(table), "item_id": lists}, schema=schema)
    return frame.filter(pl.col("item_id").list.len() > 0).explode("item_id")  # an empty list is a user without any
