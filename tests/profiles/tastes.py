"""A world in which taste has one cause at a time: a genre, a word, a kind of picture, or what others take along."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl

from recsys.core.runtime import Run
from recsys.core.values import Interactions, ItemFeatures
from recsys.profiles.builder import ProfileBuilder, ProfileSettings
from recsys.profiles.concepts import ItemWorld

N_ITEMS, N_USERS, GROUPS = 480, 160, 4
WORDS = ("vampire", "submarine", "orchestra", "dragon", "lighthouse", "robot", "desert", "circus", "glacier", "garden")
SETTINGS = ProfileSettings(options={"pictures": {"groups": GROUPS}, "neighbourhoods": {"groups": GROUPS, "dim": 8}})
QUIET = Run(seed=0, log=lambda message: None)


def causes(seed: int = 0) -> dict[str, np.ndarray]:
    """Return, for each cause, the group of each item; the causes are independent of each other."""
    rng = np.random.default_rng(seed)
    sizes = {"genre": GROUPS, "pictures": GROUPS, "neighbours": GROUPS, "term": len(WORDS) + 3}
    return {name: rng.permutation(np.arange(N_ITEMS) % size) for name, size in sizes.items()}


def make_world(seed: int = 0) -> ItemWorld:
    """Users of train take items of one neighbourhood each, with some noise; nothing else moves them."""
    group, rng = causes(seed), np.random.default_rng(seed + 1)
    pairs = []
    for user in range(N_USERS):
        near = np.flatnonzero(group["neighbours"] == user % GROUPS)
        items = {*rng.choice(near, 36, replace=False).tolist(), *rng.choice(N_ITEMS, 6, replace=False).tolist()}
        pairs += [(user, item) for item in sorted(items)]
    users, items = np.array(pairs).T
    n = len(pairs)
    train = Interactions(
        users.astype(np.int32), items.astype(np.int32), N_USERS, N_ITEMS,
        rating=rng.choice([2.0, 3.0, 4.0, 5.0], n).astype(np.float32),
        timestamp=(10**9 + rng.integers(0, 10**8, n)).astype(np.int64),
    )  # fmt: skip
    centres = 4.0 * rng.normal(size=(GROUPS, 16))
    image = (centres[group["pictures"]] + rng.normal(size=(N_ITEMS, 16))).astype(np.float32)
    return ItemWorld(table(group), ItemFeatures({"image": image}), train)


def table(group: dict[str, np.ndarray]) -> pl.DataFrame:
    """Return the items: titles that no other text contains, a genre each, and a telling word in some texts."""
    words = [WORDS[place] if place < len(WORDS) else "" for place in group["term"]]
    return pl.DataFrame(
        {
            "item_id": [f"i{item}" for item in range(N_ITEMS)],
            "title": [f"Zq{item:03d}x ({1980 + item % 2})" for item in range(N_ITEMS)],
            "text": [f"A tale of the {word} and its people." if word else "A tale." for word in words],
            "attributes": [[f"genre:G{place}"] for place in group["genre"]],
            "image": [None] * N_ITEMS,
        },
        schema_overrides={"image": pl.String},
    )


@cache
def made() -> ProfileBuilder:
    """Return a builder fitted on the world."""
    return ProfileBuilder(SETTINGS).fit(make_world(), run=QUIET)


def history(cause: str, group: int = 1, n: int = 40, share: float = 0.8, seed: int = 0) -> list[int]:
    """Return items of somebody whom one cause alone moves: ``share`` of them are of its group, the others anyhow."""
    rng, own = np.random.default_rng(seed), np.flatnonzero(causes()[cause] == group)
    some = rng.permutation(own)[: min(int(share * n), len(own))]
    rest = rng.permutation(np.setdiff1d(np.arange(N_ITEMS), own))[: n - len(some)]
    return rng.permutation(np.concatenate([some, rest])).tolist()


def anyhow(n: int, seed: int) -> list[int]:
    """Return items drawn by popularity alone, each at most once."""
    rng, weights = np.random.default_rng(seed), made().contrasts.popularity
    return np.argsort(-(np.log(weights) + rng.gumbel(size=N_ITEMS)))[:n].tolist()
