"""Train, validation and test: six ways to split, each seeded, saved and checked to be what it claims."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from recsys.core.artifact import verified
from recsys.core.config import Settings
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import TEST, TRAIN, VALID, Dataset, Split
from recsys.data.filters import stable_order
from recsys.data.item_parts import part_of
from recsys.data.partition import MIN_INTERACTIONS, PARTS, check_partition, times_of

__all__ = ["SplitSettings", "check_partition", "load_split", "make_split", "save_split"]

Kind = Literal["random", "leave_last", "global_time", "cold_items", "item_parts", "given"]
FORMAT = 1


class SplitSettings(Settings):
    """Which interactions are learned from, chosen by, and tested on.

    ``random``: per user, shuffled; ``leave_last``: each user's last is test and the one
    before is valid; ``global_time``: everything before a moment is train; ``cold_items``:
    whole items are held out, drawn; ``item_parts``: whole items, by a hash of their ids: those that the embedded
    generator of pictures never saw are test; ``given``: the split that came with the data.
    """

    kind: Kind = Field("random", description="random, leave_last, global_time, cold_items, item_parts or given")
    ratios: tuple[float, float, float] = Field(
        (0.8, 0.1, 0.1), description="train, valid and test share (random, global_time); 8:1:1 works too"
    )
    cold_share: float = Field(0.2, gt=0, lt=1, description="share of the items taken out whole (cold_items)")
    seed: int = Field(0, ge=0, description="of the split alone, so that models with other seeds share it")

    @field_validator("ratios")
    @classmethod
    def _shares(cls, ratios: tuple[float, float, float]) -> tuple[float, float, float]:
        total = sum(ratios)
        if not (min(ratios) >= 0 and ratios[0] > 0 and ratios[2] > 0 and np.isfinite(total)):
            raise ValueError("ratios must be three shares, those of train and test above 0")
        return tuple(ratio / total for ratio in ratios)


def make_split(dataset: Dataset, settings: SplitSettings, *, run: Run) -> Split:
    """Split a data set; the same data set and settings always give the same split.

    Returns:
        a split that has passed ``check_partition``; what is worth knowing of it goes to ``run.log``.

    Raises:
        DataError: the data set lacks what this kind needs (times, a given split, enough items).
    """
    if not len(dataset.interactions):
        raise DataError(f"data set {dataset.name!r}", "it has no interactions to split", "Make the data set again.")
    rng = replace(run, seed=settings.seed).rng("split", settings.kind)
    part = _MAKERS[settings.kind](dataset, settings, rng)
    split = Split(dataset, part, settings.kind)
    for count in check_partition(split):
        run.log(f"split {settings.kind}: {count.what}: {count.rows:,}")
    return split


def _random(dataset: Dataset, settings: SplitSettings, rng: np.random.Generator) -> np.ndarray:
    """Per user: of ``n`` shuffled interactions, floor(share * n) are test, as many valid, at least one each.

    That is RecBole's rule (its ``RS`` split by user), but for users with fewer than
    3 interactions, who stay in train here.
    """
    user = dataset.interactions.user_idx
    size = np.bincount(user, minlength=dataset.interactions.n_users)
    # 1e-9: a share such as 0.1 is not exact, and 0.1 * 30 must count as 3.
    wanted = [np.floor(share * size + 1e-9).astype(np.int64) for share in settings.ratios[1:]]
    n_valid, n_test = (np.maximum(n, int(share > 0)) for n, share in zip(wanted, settings.ratios[1:], strict=True))
    # One stays in train whatever the shares are.
    n_test = np.minimum(n_test, size - 1 - (n_valid > 0))
    n_valid = np.minimum(n_valid, size - 1 - n_test)
    few = size < MIN_INTERACTIONS
    n_valid[few], n_test[few] = 0, 0
    from_end = _from_end(user, np.zeros(len(user), dtype=np.int64), rng)
    return _label(from_end < n_test[user], from_end < (n_test + n_valid)[user])


def _leave_last(dataset: Dataset, settings: SplitSettings, rng: np.random.Generator) -> np.ndarray:
    """Each user's last interaction is test, the one before valid; equal times are shuffled by the seed."""
    user = dataset.interactions.user_idx
    from_end = _from_end(user, times_of(dataset, "leave_last"), rng)
    enough = np.bincount(user, minlength=dataset.interactions.n_users)[user] >= MIN_INTERACTIONS
    return _label((from_end == 0) & enough, (from_end <= 1) & enough)


def _global_time(dataset: Dataset, settings: SplitSettings, rng: np.random.Generator) -> np.ndarray:
    """Cut time where the shares are met most nearly; equal times fall on the same side."""
    time = times_of(dataset, "global_time")
    ordered = np.sort(time)
    train, valid, _ = settings.ratios
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # where each distinct time begins
    needed = 2 + (valid > 0)
    if len(starts) < needed:
        raise DataError(
            f"data set {dataset.name!r}",
            f"only {len(starts)} distinct times, too few to cut {needed} parts",
            "Choose another split, for example random.",
        )
    # A cut is the number of a distinct time; each part gets at least one.
    test_from = np.abs(starts[needed - 1 :] - (train + valid) * len(time)).argmin() + needed - 1
    valid_from = test_from if not valid else np.abs(starts[1:test_from] - train * len(time)).argmin() + 1
    return _label(time >= ordered[starts[test_from]], time >= ordered[starts[valid_from]])


def _cold_items(dataset: Dataset, settings: SplitSettings, rng: np.random.Generator) -> np.ndarray:
    """Take a share of the items out whole: half of them valid, half test (the odd one test)."""
    item = dataset.interactions.item_idx
    items = np.flatnonzero(np.bincount(item, minlength=dataset.interactions.n_items))
    n_cold = round(settings.cold_share * len(items))
    if n_cold < 2 or n_cold >= len(items):
        raise DataError(
            f"data set {dataset.name!r}",
            f"{settings.cold_share:g} of its {len(items):,} items with interactions is {n_cold}",
            "At least 2 items must be cold and one not: change cold_share.",
        )
    cold = rng.permutation(items)[:n_cold]
    part_of_item = np.full(dataset.interactions.n_items, TRAIN, dtype=np.uint8)
    part_of_item[cold] = TEST
    part_of_item[cold[: n_cold // 2]] = VALID
    return part_of_item[item]


def _item_parts(dataset: Dataset, settings: SplitSettings, rng: np.random.Generator) -> np.ndarray:
    """Items by a hash of their ids, whatever the seed (``item_parts``)."""
    labels = {"train": TRAIN, "validation": VALID, "held_out": TEST}
    part_of_item = np.array([labels[part_of(one)] for one in dataset.items], dtype=np.uint8)
    found = part_of_item[dataset.interactions.item_idx]
    if not {TRAIN, TEST} <= set(np.unique(found).tolist()):
        raise DataError(
            f"data set {dataset.name!r}", "by their ids all items fall into one part", "Choose another split."
        )
    return found


def _given(dataset: Dataset, settings: SplitSettings, rng: np.random.Generator) -> np.ndarray:
    """The split that the source came with."""
    if dataset.part is None:
        remedy = (
            "Choose random, leave_last or global_time; or, for tables of your own, name its files in "
            "data.options.valid and data.options.test, or its column in data.options.columns.part."
        )
        raise DataError(f"data set {dataset.name!r}", "it came without a split", remedy)
    for name, label in PARTS:
        if label != VALID and not (dataset.part == label).any():
            cause = f"no interaction is in the {name} part that it came with"
            remedy = f"Label some as {name}; or see by recsys data whether all of them were dropped, and as what."
            raise DataError(f"data set {dataset.name!r}", cause, remedy)
    return np.array(dataset.part, dtype=np.uint8)


_MAKERS = {
    "random": _random,
    "leave_last": _leave_last,
    "global_time": _global_time,
    "cold_items": _cold_items,
    "item_parts": _item_parts,
    "given": _given,
}


def _from_end(user: np.ndarray, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each interaction's place from the end of its user's, 0 = last; equal times at random."""
    shuffle = rng.permutation(len(user))
    order = shuffle[stable_order(user[shuffle], time[shuffle])]
    ends = np.cumsum(np.bincount(user))
    from_end = np.empty(len(user), dtype=np.int64)
    from_end[order] = ends[user[order]] - 1 - np.arange(len(user))
    return from_end


def _label(is_test: np.ndarray, is_held_out: np.ndarray) -> np.ndarray:
    return np.where(is_test, TEST, np.where(is_held_out, VALID, TRAIN)).astype(np.uint8)


def save_split(split: Split, folder: Path) -> None:
    """Write ``split.parquet`` (one uint8 column, ``part``) and ``split.json`` (kind, sizes, counts)."""
    folder = Path(folder)
    about = {
        "format": FORMAT,
        "kind": split.kind,
        "dataset": split.dataset.name,
        "n_interactions": len(split.part),
        "fingerprint": _fingerprint(split.dataset),
        "counts": {count.what: count.rows for count in check_partition(split)},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"part": split.part}).write_parquet(folder / "split.parquet")
        (folder / "split.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except (OSError, pl.exceptions.ComputeError) as error:  # polars has an error of its own for a full disk
        cause = f"cannot be written: {getattr(error, 'strerror', None) or error}"
        raise DataError(f"folder {folder}", cause, "Check its permissions and the space left on the disk.") from error


def load_split(dataset: Dataset, folder: Path) -> Split:
    """Read a split of ``dataset``.

    Raises:
        ArtifactError: it is an artifact, and a file of it is missing, changed or damaged.
        DataError: missing or damaged files, or the split of another data set.
    """
    path, remedy = verified(folder) / "split.parquet", "Delete its folder, then: recsys data"
    about_path = path.with_name("split.json")
    try:
        about = json.loads(about_path.read_text(encoding="utf-8"))
        kind, length, fingerprint = about["kind"], about["n_interactions"], about["fingerprint"]
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']!r}, this version reads {FORMAT}")
        part = pl.read_parquet(path, columns=["part"], glob=False)["part"].to_numpy()
    except FileNotFoundError as error:
        raise DataError(f"split {error.filename or path}", "no such file", remedy) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"split {about_path}", f"damaged: {error}", remedy) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"split {path}", f"damaged: {str(error).splitlines()[0]}", remedy) from None
    if not length == len(part) == len(dataset.interactions):
        cause = f"{len(part):,} labels for {len(dataset.interactions):,} interactions"
        raise DataError(f"split {path}", cause, remedy)
    if fingerprint != _fingerprint(dataset):
        raise DataError(f"split {path}", f"it was made for another version of {dataset.name!r}", remedy)
    split = Split(dataset, part, kind)
    check_partition(split)
    return split


def _fingerprint(dataset: Dataset) -> str:
    """A hash of who took what, in order: labels fit no other interactions."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (dataset.interactions.user_idx, dataset.interactions.item_idx):
        digest.update(np.ascontiguousarray(array, dtype=np.int32).tobytes())
    return digest.hexdigest()
