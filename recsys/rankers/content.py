"""What rankers that read item features share: which of them, how much each counts, and one matrix of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recsys.core.errors import RankerError, did_you_mean
from recsys.core.values import ItemFeatures


def chosen_features(features: ItemFeatures, modalities: Sequence[str], title: str) -> ItemFeatures:
    """Return the features of ``modalities`` (empty: all) that some item has.

    Raises:
        RankerError: one named is not there, or nothing is left.
    """
    missing = [name for name in modalities if name not in features]
    if missing:
        raise RankerError(
            f"setting ranker.modalities of {title}", f"no such item features: {', '.join(missing)}",
            "There are: " + (", ".join(sorted(features.matrices)) or "none; set items.text or items.image"),
        )  # fmt: skip
    chosen = features.only(modalities).matrices
    chosen = {name: matrix for name, matrix in chosen.items() if matrix.shape[1] and features.present(name).any()}
    if not chosen:
        raise RankerError(
            f"ranker {title}", "reads item features, and there are none",
            "Set items.text or items.image to an encoder and give items texts or pictures, or take another ranker.",
        )  # fmt: skip
    return ItemFeatures(chosen)


def modality_weights(features: ItemFeatures, weights: Mapping[str, float], title: str) -> dict[str, float]:
    """Return a weight for each modality of ``features``, 1 where none is told.

    Raises:
        RankerError: a weight of a modality that is not there, or a negative one.
    """
    for name, weight in weights.items():
        if name not in features:
            remedy = did_you_mean(name, features.matrices)
            raise RankerError(f"setting ranker.weights.{name} of {title}", "no such item features", remedy)
        if not weight >= 0:
            raise RankerError(f"setting ranker.weights.{name} of {title}", f"is {weight}", "Give a number from 0 up.")
    return {name: float(weights.get(name, 1.0)) for name in features.matrices}


def content_rows(features: ItemFeatures, weights: Mapping[str, float]) -> np.ndarray:
    """Return float32 ``[n_items, sum of dims]`` whose products are ``sum_m w_m cos_m``; absent modalities are 0."""
    return np.concatenate(
        [features.unit(name) * np.float32(weights[name] ** 0.5) for name in features.matrices], axis=1
    )
