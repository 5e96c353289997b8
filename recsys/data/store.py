"""Data set folders: what canonicalisation writes, and how it is read back.

interactions.parquet   user_idx, item_idx (UInt32), rating, timestamp, weight; nanosecond and part where there are any
users.parquet          user_id; the row number is the idx
items.parquet          the columns of ITEM_SCHEMA; the row number is the idx
features/<name>.npy    float32 [n_items, dim], a NaN row where an item has none
dataset.json           name, sizes, counts; written last
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from recsys.core.amounts import amount
from recsys.core.artifact import verified
from recsys.core.errors import DataError
from recsys.core.values import ITEM_SCHEMA, Count, Dataset, Interactions, ItemFeatures, RawFeatures, Vocabulary

FORMAT = 2
READ = (1, 2)  # 1 had no nanosecond
REMEDY = "Delete that folder, then: recsys data"
ROW_GROUP = 2**19
MODALITIES = ("text", "image", "audio")


def write_dataset(
    folder: Path,
    name: str,
    users: pl.Series,
    items: pl.DataFrame,
    interactions: pl.DataFrame,
    features: Mapping[str, RawFeatures],
    counts: Sequence[Count],
) -> list[Count]:
    """Write a data set folder; return ``counts`` with those of the features added.

    Raises:
        DataError: a feature file that cannot be used, or a folder that cannot be written.
    """
    counts = list(counts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dataset.json").unlink(missing_ok=True)
        interactions.write_parquet(folder / "interactions.parquet", row_group_size=ROW_GROUP)
        pl.DataFrame({"user_id": users}).write_parquet(folder / "users.parquet")
        items.write_parquet(folder / "items.parquet")
        for modality, raw in features.items():
            counts += write_features(folder, modality, raw, items["item_id"])
        about = _describe(name, users, items, interactions, features, counts)
        (folder / "dataset.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except (OSError, pl.exceptions.ComputeError) as error:  # polars has an error of its own for a full disk
        cause = f"cannot be written: {getattr(error, 'strerror', None) or error}"
        raise DataError(f"folder {folder}", cause, "Check its permissions and the space left on the disk.") from error
    return counts


def _describe(
    name: str,
    users: pl.Series,
    items: pl.DataFrame,
    interactions: pl.DataFrame,
    features: Mapping[str, RawFeatures],
    counts: Sequence[Count],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": name,
        "n_users": len(users),
        "n_items": len(items),
        "n_interactions": len(interactions),
        "has_rating": interactions["rating"].null_count() < len(interactions),
        "has_timestamp": interactions["timestamp"].null_count() < len(interactions),
        "has_weight": bool((interactions["weight"] != 1.0).any()),
        "has_nanosecond": "nanosecond" in interactions.columns,
        "has_part": "part" in interactions.columns,
        "features": sorted(features),
        "counts": [{"what": count.what, "rows": count.rows, "example": count.example} for count in counts],
    }


def write_features(folder: Path, modality: str, raw: RawFeatures, item_ids: pl.Series) -> list[Count]:
    """Copy ready-made vectors into vocabulary order; what does not fit is counted or refused."""
    if modality not in MODALITIES:
        raise DataError(f"features {modality!r}", "no such modality", f"Use one of {', '.join(MODALITIES)}.")
    source = _load_array(raw.path, mmap_mode="r")
    if source.ndim != 2 or not np.issubdtype(source.dtype, np.number):
        cause = f"expected numbers in rows and columns, found {source.dtype} of shape {source.shape}"
        raise DataError(f"feature file {raw.path}", cause, "Give one row an item.")
    if len(source) != len(raw.item_ids):
        cause = f"it has {amount(len(source), 'row')} for {amount(len(raw.item_ids), 'item')}"
        raise DataError(f"feature file {raw.path}", cause, "Use the file that was made for this data set.")
    ids = pl.DataFrame({"id": pl.Series(raw.item_ids, dtype=pl.String)}).with_row_index("row")
    first = ids.unique("id", keep="first", maintain_order=True)
    rows = pl.DataFrame({"id": item_ids}).join(first, on="id", how="left", maintain_order="left")["row"]
    has_row = rows.is_not_null().to_numpy()
    matrix = np.full((len(item_ids), source.shape[1]), np.nan, dtype=np.float32)
    matrix[has_row] = source[rows.drop_nulls().to_numpy()]
    broken = has_row & ~np.isfinite(matrix).all(axis=1)
    matrix[broken] = np.nan
    (folder / "features").mkdir(exist_ok=True)
    np.save(folder / "features" / f"{modality}.npy", matrix, allow_pickle=False)
    found = {
        f"items without {modality} features": int((~has_row).sum()),
        f"{modality} feature rows with NaN or infinite numbers: taken as missing": int(broken.sum()),
        f"repeated {modality} feature rows, the first kept: dropped": len(ids) - len(first),
        f"{modality} feature rows of items that are not in the data set: dropped": len(first) - int(has_row.sum()),
    }
    return [Count(what, n_rows) for what, n_rows in found.items() if n_rows]


def load_dataset(folder: Path) -> Dataset:
    """Read a data set folder.

    Raises:
        ArtifactError: it is an artifact, and a file of it is missing, changed or damaged.
        DataError: a file is missing, damaged or does not fit the others; names the file and the remedy.
    """
    folder = verified(folder)
    about = _about(folder)
    users = _parquet(folder / "users.parquet", about["n_users"], ["user_id"])["user_id"]
    items = _parquet(folder / "items.parquet", about["n_items"], list(ITEM_SCHEMA))
    columns = ["user_idx", "item_idx"] + [
        name for name in ("rating", "timestamp", "weight", "nanosecond", "part") if about.get(f"has_{name}")
    ]
    path = folder / "interactions.parquet"
    frame = _parquet(path, about["n_interactions"], columns)
    for column, size in (("user_idx", len(users)), ("item_idx", len(items))):
        if len(frame) and frame[column].max() >= size:
            raise DataError(str(path), f"{column} {frame[column].max()} in a vocabulary of {size}", REMEDY)
    array = lambda name: frame[name].to_numpy() if name in columns else None  # noqa: E731
    interactions = Interactions(
        frame["user_idx"].cast(pl.Int32).to_numpy(),
        frame["item_idx"].cast(pl.Int32).to_numpy(),
        len(users), len(items), array("rating"), array("timestamp"), array("weight"), array("nanosecond"),
    )  # fmt: skip
    counts = tuple(Count(**count) for count in about["counts"])
    return Dataset(
        about["name"], Vocabulary(users), Vocabulary(items["item_id"]), interactions, items, array("part"), counts
    )


def load_features(folder: Path) -> ItemFeatures:
    """Read the ready-made item vectors of a data set folder; empty where the source had none."""
    folder = verified(folder)
    about = _about(folder)
    matrices = {}
    for modality in about["features"]:
        path = folder / "features" / f"{modality}.npy"
        matrices[modality] = _load_array(path)
        if matrices[modality].ndim != 2 or len(matrices[modality]) != about["n_items"]:
            cause = f"shape {matrices[modality].shape} for {about['n_items']:,} items"
            raise DataError(f"feature file {path}", cause, REMEDY)
    return ItemFeatures(matrices)


def read_interactions(folder: Path) -> pl.LazyFrame:
    """Return the interactions with outside ids: ``user_id, item_id``, then as stored."""
    folder = verified(folder)
    about = _about(folder)
    frame = pl.scan_parquet(folder / "interactions.parquet", glob=False)
    for column in ("user_id", "item_id"):
        path = folder / ("users.parquet" if column == "user_id" else "items.parquet")
        ids = _parquet(path, about["n_users" if column == "user_id" else "n_items"], [column])[column]
        frame = frame.with_columns(pl.lit(ids).gather(pl.col(column.replace("_id", "_idx"))).alias(column))
    return frame.select("user_id", "item_id", pl.exclude("user_id", "item_id", "user_idx", "item_idx"))


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        found = about["format"]
    except FileNotFoundError:
        cause = "no such file" if folder.is_dir() else "no such folder"
        raise DataError(f"data set {path}", cause, REMEDY) from None
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise DataError(f"data set {path}", f"damaged: {error}", REMEDY) from None
    if found not in READ:
        raise DataError(f"data set {path}", f"format {found!r}, this version reads {READ[0]} to {READ[-1]}", REMEDY)
    return about


def _parquet(path: Path, n_rows: int, columns: list[str]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, columns=columns, glob=False)
    except FileNotFoundError:
        raise DataError(str(path), "no such file", REMEDY) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(str(path), f"damaged: {str(error).splitlines()[0]}", REMEDY) from None
    if len(frame) != n_rows:
        raise DataError(str(path), f"{len(frame):,} rows where dataset.json says {n_rows:,}", REMEDY)
    return frame


def _load_array(path: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    try:
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"feature file {path}", "no such file", "Fetch it again, or leave that modality out.") from None
    except (ValueError, EOFError, OSError) as error:
        cause = f"not a plain .npy array: {error}"
        raise DataError(f"feature file {path}", cause, "Save it with numpy.save(..., allow_pickle=False).") from None
