"""Checking that a split is a partition and keeps what its kind promises."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from recsys.core.errors import DataError
from recsys.core.values import TEST, TRAIN, VALID, Count, Dataset, Split

MIN_INTERACTIONS = 3  # a user with fewer cannot be in all three parts and stays in train
PARTS = (("train", TRAIN), ("valid", VALID), ("test", TEST))


def times_of(dataset: Dataset, kind: str) -> np.ndarray:
    """Return what orders the interactions in time, ``[n]``, or refuse: this kind of split needs it."""
    if dataset.interactions.timestamp is None:
        raise DataError(
            f"data set {dataset.name!r}",
            f"it has no timestamps, which a {kind} split needs",
            "Choose random, or name the timestamp column.",
        )
    return dataset.interactions.instants


def check_partition(split: Split) -> list[Count]:
    """Check that a split is a partition and keeps what its kind promises.

    Every interaction is in exactly one part, train and test are not empty; then by kind:
    ``random`` and ``leave_last`` leave users with fewer than 3 interactions in train and
    every user something there; ``leave_last`` holds out at most one interaction a part
    and user, none older than what it is tested after; ``global_time`` has no train
    interaction at or after a held-out one; ``cold_items`` and ``item_parts`` share
    no item between parts.

    Returns:
        what is allowed but worth knowing: sizes, interactions of users or items that train
        does not have, pairs that train has as well.

    Raises:
        DataError: a promise is broken; says which.
    """
    part, data = split.part, split.dataset.interactions
    if part.shape != (len(data),) or part.dtype != np.uint8:
        _broken(split, f"labels are {part.dtype} of shape {part.shape} for {len(data):,} interactions")
    if len(part) and part.max() > TEST:
        _broken(split, f"label {part.max()} is none of 0 (train), 1 (valid), 2 (test)")
    for name, label in (("train", TRAIN), ("test", TEST)):
        if not (part == label).any():
            _broken(split, f"the {name} part is empty", "There is too little data for it: choose other ratios or kind.")
    check = _CHECKS.get(split.kind)
    if check:
        check(split)
    return _report(split)


def _check_users(split: Split) -> None:
    user, held_out = split.dataset.interactions.user_idx, split.part != TRAIN
    size = np.bincount(user)
    n_held_out = np.bincount(user[held_out], minlength=len(size))
    if (n_held_out[size < MIN_INTERACTIONS] > 0).any():
        _broken(split, f"a user with fewer than {MIN_INTERACTIONS} interactions is not in train alone")
    if (n_held_out[size > 0] == size[size > 0]).any():
        _broken(split, "a user has no train interaction left")


def _check_leave_last(split: Split) -> None:
    _check_users(split)
    user, time, n_users = (
        split.dataset.interactions.user_idx,
        times_of(split.dataset, split.kind),
        len(split.dataset.users),
    )
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    newest_before = np.full(n_users, low)
    for name, label in PARTS:
        here = split.part == label
        if label != TRAIN and len(user[here]) and np.bincount(user[here]).max() > 1:
            _broken(split, f"a user has more than one {name} interaction")
        oldest = np.full(n_users, high)
        np.minimum.at(oldest, user[here], time[here])
        if (oldest < newest_before).any() and label != TRAIN:
            _broken(split, f"a {name} interaction is older than one of the parts before it")
        np.maximum.at(newest_before, user[here], time[here])


def _check_time(split: Split) -> None:
    time = times_of(split.dataset, split.kind)
    parts = [time[split.part == label] for label in (TRAIN, VALID, TEST)]
    parts = [times for times in parts if len(times)]
    for before, after in pairwise(parts):
        if before.max() >= after.min():
            _broken(split, "an interaction of an earlier part is not older than all of the later part")


def _check_cold(split: Split) -> None:
    item = split.dataset.interactions.item_idx
    first, last = np.full(split.dataset.interactions.n_items, TEST), np.full(split.dataset.interactions.n_items, TRAIN)
    np.minimum.at(first, item, split.part)
    np.maximum.at(last, item, split.part)
    if (first[item] != last[item]).any():
        _broken(split, "an item is in more than one part")


def _check_given(split: Split) -> None:
    if split.dataset.part is None or not np.array_equal(split.part, split.dataset.part):
        _broken(split, "it is not the split that came with the data")


_CHECKS = {
    "random": _check_users,
    "leave_last": _check_leave_last,
    "global_time": _check_time,
    "cold_items": _check_cold,
    "item_parts": _check_cold,
    "given": _check_given,
}


def _report(split: Split) -> list[Count]:
    data, counts = split.dataset.interactions, []
    train = split.part == TRAIN
    known = {
        "users": np.bincount(data.user_idx[train], minlength=data.n_users)[data.user_idx] > 0,
        "items": np.bincount(data.item_idx[train], minlength=data.n_items)[data.item_idx] > 0,
    }
    pair = data.user_idx.astype(np.int64) * data.n_items + data.item_idx
    trained = np.sort(pair[train])
    for name, label in PARTS:
        here = split.part == label
        counts.append(Count(f"{name} interactions", int(here.sum())))
        if label == TRAIN:
            continue
        for of, is_known in known.items():
            if n_cold := int((here & ~is_known).sum()):
                counts.append(Count(f"{name} interactions of {of} that train does not have", n_cold))
        place = np.searchsorted(trained, pair[here])
        repeats = int((trained[np.minimum(place, len(trained) - 1)] == pair[here]).sum())
        if repeats:
            counts.append(Count(f"{name} interactions whose user and item are in train too", repeats))
    return counts


def _broken(split: Split, cause: str, remedy: str = "Delete its folder, then: recsys data") -> None:
    raise DataError(f"{split.kind} split of {split.dataset.name!r}", cause, remedy)
