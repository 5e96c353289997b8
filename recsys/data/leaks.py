"""What a split lets a ranker know beforehand: times that run backwards, pairs seen twice, items that nobody knows."""

from __future__ import annotations

import numpy as np

from recsys.core.values import TEST, TRAIN, Split

LATER = "older than the user's newest in train", "older than the newest in train"


def leaks(split: Split) -> dict[str, float | None]:
    """Return shares of the test interactions, 0 to 1.

    Keys: ``"older than the user's newest in train"`` and ``"older than the newest in train"`` (``None`` without
    times): what somebody did later helps to tell what they did before, as it never can in use. ``"pair in train"``:
    the answer itself is known. ``"item not in train"``: no leak; nobody can know such an item by behaviour.
    """
    train, test = split.train, split.test
    found: dict[str, float | None] = dict.fromkeys(LATER)
    if train.timestamp is not None:
        newest = np.full(train.n_users, np.iinfo(np.int64).min)
        time = split.dataset.interactions.instants
        trained, tested = time[split.part == TRAIN], time[split.part == TEST]
        np.maximum.at(newest, train.user_idx, trained)
        shares = tested < newest[test.user_idx], tested < trained.max()
        found |= {what: float(share.mean()) for what, share in zip(LATER, shares, strict=True)}
    known = np.asarray(train.matrix[test.user_idx, test.item_idx]).ravel() > 0
    found["pair in train"] = float(known.mean())
    found["item not in train"] = float((train.item_counts[test.item_idx] == 0).mean())
    return found
