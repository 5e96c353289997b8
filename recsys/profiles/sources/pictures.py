"""Groups of pictures that look alike to the encoder, named by what is measured on them and by what else they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.runtime import Run
from recsys.profiles.colours import LOOKS, measures, pixels_of
from recsys.profiles.concepts import Concept, Concepts, ItemWorld, columns_of
from recsys.profiles.naming import joined
from recsys.profiles.space import k_means, truncated_svd, unit_rows

FAR = 0.3  # standard deviations of all pictures: from there on a group is called dark, warm, …
COMMON = 1.5  # times as often as in the catalogue: from there on an attribute names a group


class PicturesSettings(Settings):
    """How finely pictures are divided."""

    groups: int = Field(24, ge=2, description="Groups at most.")
    dim: int = Field(64, ge=1, description="Principal components of the picture vectors.")
    least: int = Field(8, ge=2, description="Pictures of a group.")
    looked_at: int = Field(
        16, ge=0, description="Pictures of a group, nearest to its middle, whose colours are measured."
    )


class Pictures:
    """Groups of pictures: k-means over picture vectors, named by colours and by telling attributes of their items."""

    Settings: ClassVar[type[Settings]] = PicturesSettings

    def __init__(self, settings: PicturesSettings | None = None) -> None:
        self.settings = settings or PicturesSettings()

    def find(self, world: ItemWorld, *, run: Run) -> Concepts:
        settings, n_items = self.settings, len(world.table)
        there = np.flatnonzero(world.features.present("image")) if "image" in world.features else np.zeros(0, np.int64)
        k = min(settings.groups, len(there) // settings.least)
        if k < 2:
            return columns_of([], n_items)
        rows = world.features.unit("image")[there]
        rows = unit_rows(truncated_svd(rows.T, settings.dim, run.rng("pictures")))  # [n_there, <= dim]
        groups, centres = k_means(rows, k, run.rng("pictures", "groups"), tries=2)
        sizes = np.bincount(groups)
        order = [int(group) for group in np.argsort(-sizes, kind="stable") if sizes[group] >= settings.least]
        nearest = [
            there[groups == group][np.argsort(-rows[groups == group] @ centres[group], kind="stable")]
            for group in order
        ]
        looks = _looks(world.table["image"].to_list(), [items[: settings.looked_at] for items in nearest])
        about = _about(world, nearest)
        found, taken = [], set()
        for number, (items, look, shared) in enumerate(zip(nearest, looks, about, strict=True), start=1):
            name = _named(look, shared)
            name = f"{name} ({number})" if name in taken else name
            taken.add(name)
            found.append((Concept(f"pictures:{number}", f"items with {name}", "image"), np.sort(items)))
        return columns_of(found, n_items)


def _named(look: Sequence[str], shared: Sequence[str]) -> str:
    plain = f"{', '.join(look)} pictures" if look else "pictures of one kind"
    return f"{plain}, like those of {joined(shared)}" if shared else plain


def _looks(paths: Sequence[str | None], groups: Sequence[np.ndarray]) -> list[list[str]]:
    """Return for each group in which ways it stands out of all of them, the strongest first, two at most."""
    seen = [[measures(pixels) for item in items if (pixels := pixels_of(paths[item])) is not None] for items in groups]
    flat = np.array([one for group in seen for one in group])
    if not len(flat):
        return [[] for _ in groups]
    middle, spread = flat.mean(axis=0), np.maximum(flat.std(axis=0), 1e-9)
    return [_standing_out((np.mean(group, axis=0) - middle) / spread) if group else [] for group in seen]


def _standing_out(scores: np.ndarray) -> list[str]:
    order = np.argsort(-np.abs(scores), kind="stable")[:2]
    return [LOOKS[place][int(scores[place] < 0)] for place in order if abs(scores[place]) >= FAR]


def _about(world: ItemWorld, groups: Sequence[np.ndarray]) -> list[list[str]]:
    """Return for each group the genres (or brands, …) that its items have more than the catalogue, two at most."""
    rows = [
        [one.partition(":")[2].lower() for one in row or () if not one[-1:].isdigit()]
        for row in world.table["attributes"].to_list()
    ]
    names = sorted({name for row in rows for name in row if name.replace("-", "").replace(" ", "").isalpha()})
    place = {name: column for column, name in enumerate(names)}
    member = np.zeros((len(rows), len(names)), dtype=np.float32)
    for item, row in enumerate(rows):
        member[item, [place[name] for name in row if name in place]] = 1.0
    overall = member.mean(axis=0)
    found = []
    for items in groups:
        share = member[items].mean(axis=0)
        gain = (share - overall) / np.sqrt(np.maximum(overall * (1 - overall) / len(items), 1e-9))
        told = [
            one for one in np.argsort(-gain, kind="stable")[:2] if share[one] >= COMMON * overall[one] and gain[one] > 3
        ]
        found.append([names[one] for one in told])
    return found
