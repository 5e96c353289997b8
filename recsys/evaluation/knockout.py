"""Knockouts: item features altered so that a modality tells nothing. What a ranker then loses is what it was worth."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recsys.core.runtime import Run
from recsys.core.values import ATTRIBUTES, ItemFeatures
from recsys.rankers import RANKERS
from recsys.rankers.store import uses_features

How = Literal["shuffle", "zero", "noise"]
HOWS: Mapping[How, str] = {
    "shuffle": "every item has the vector of another",
    "zero": "no item has one",
    "noise": "normal numbers with the mean and spread of each column",
}


@dataclass(frozen=True)
class Knockout:
    """Which modalities are altered, and how: a key of ``HOWS``."""

    how: How
    modalities: tuple[str, ...]

    @property
    def label(self) -> str:
        """As in ``shuffle-image+text``: part of names of artifacts."""
        return f"{self.how}-{'+'.join(self.modalities)}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for keys of artifacts."""
        return {"how": self.how, "modalities": list(self.modalities)}

    def met(self, config: Mapping[str, Any]) -> Knockout | None:
        """Return what of it concerns a ranker, by its configuration; ``None`` where it reads nothing that is altered.

        So a ranker that does not look at pictures is not trained once more because they were shuffled.
        """
        concerned = reads(config, self.modalities)
        kept = tuple(name for name in self.modalities if name in concerned)
        return Knockout(self.how, kept) if kept else None


def reads(config: Mapping[str, Any], there: Collection[str]) -> set[str]:
    """Return which of the modalities that are there a ranker, or a member of it, reads."""
    own: set[str] = set()
    kind = RANKERS.load(config["name"])
    if getattr(kind, "uses_features", False):
        own = set(config.get("modalities") or set(there) - {ATTRIBUTES}) & set(there)
    if uses_features(config):
        own |= set(getattr(kind, "reads_besides", ())) & set(there)
    return own.union(*(reads(member, there) for member in config.get("members", ())))


def knocked_out(features: ItemFeatures, knockout: Knockout, run: Run) -> ItemFeatures:
    """Return features whose named modalities tell nothing any more; the others are the same arrays.

    ``shuffle``: rows are permuted, absent ones too, so that not even having a picture tells something; what vectors
    there are and how they are spread stays. ``zero``: every row is absent (NaN). ``noise``: rows that are there
    become independent normal numbers with the mean and the standard deviation of their columns.

    Args:
        features: ``[n_items, dim]`` a modality; modalities that are not there are passed over.
        knockout: what to alter.
        run: its seed decides on the order and the noise, each modality by itself.
    """
    matrices = dict(features.matrices)
    for name in knockout.modalities:
        if name in matrices:
            matrices[name] = _altered(features, name, knockout.how, run.rng("knockout", knockout.how, name))
    return ItemFeatures(matrices)


def _altered(features: ItemFeatures, name: str, how: How, rng: np.random.Generator) -> np.ndarray:
    matrix = features[name]
    if how == "shuffle":
        return matrix[rng.permutation(len(matrix))]
    result = np.full_like(matrix, np.nan)
    present = features.present(name)
    if how == "noise" and present.any():
        values = matrix[present].astype(np.float64)
        drawn = rng.normal(values.mean(axis=0), values.std(axis=0), values.shape)
        result[present] = drawn.astype(matrix.dtype)
    return result
