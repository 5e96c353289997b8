"""Times of interactions, for rankers with a setting that needs them."""

from __future__ import annotations

import numpy as np

from recsys.core.errors import RankerError
from recsys.core.values import Interactions


def required_times(train: Interactions, ranker: str, setting: str, value: float) -> np.ndarray:
    """Return the times of all interactions, ``[n]``.

    Raises:
        RankerError: some have none; names the setting that asked for them.
    """
    missing = len(train) if train.timestamp is None else int(np.isnan(train.timestamp).sum())
    if missing:
        raise RankerError(
            f"{ranker} with {setting} {value:g}",
            f"{missing:,} of {len(train):,} interactions have no timestamp",
            f"Leave ranker.{setting} unset, or name the data's timestamp column.",
        )
    return train.timestamp
