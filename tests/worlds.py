"""Small worlds with known answers: what reveals taste is known, so a right ranker must win and popularity must fail."""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.core.values import TEST, TRAIN, VALID, Dataset, Interactions, ItemFeatures, Split, Vocabulary


def blocks(n_blocks: int = 4, users_each: int = 24, items_each: int = 12, seed: int = 0) -> Split:
    """Users take all items of their own block and nothing else; one is test and one valid, at random.

    With the others masked, a ranker that knows the block puts the test item first. The order is random,
    so time says nothing, and all items are taken equally often, so popularity cannot tell the blocks apart.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_blocks * users_each):
        block = user % n_blocks
        taken = rng.permutation(items_each) * n_blocks + block
        parts = [TEST, VALID] + [TRAIN] * (len(taken) - 2)
        rows += [(user, item, part, place) for place, (item, part) in enumerate(zip(taken, parts, strict=True))]
    return split_of(rows, n_blocks * users_each, n_blocks * items_each, "random")


def chain(n_users: int = 120, n_items: int = 30, length: int = 14, step: int = 7, seed: int = 0) -> Split:
    """The next item follows from the last one alone (``+ step``, around a circle); the last two are held out.

    Every item is taken equally often and sets of items overlap at random: only the order tells.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        start = rng.integers(n_items)
        for place in range(length):
            part = TEST if place == length - 1 else VALID if place == length - 2 else TRAIN
            rows.append((user, (start + step * place) % n_items, part, place))
    return split_of(rows, n_users, n_items, "leave_last")


def content_world(
    reveals: str, n_blocks: int = 4, users_each: int = 24, warm_each: int = 10, cold_each: int = 6, seed: int = 0
) -> tuple[Split, ItemFeatures]:
    """Users take all warm items of their block; valid and test are items that nobody took in train.

    Only features can tell those apart. ``reveals`` (``"text"``, ``"image"``) is the one modality in which items of
    a block lie together; the other is noise. ``"graph"``: both are noise, so nobody can do better than chance here
    (use ``blocks`` for what a graph alone tells), and ``ItemFeatures`` can be shuffled to lose the gain.
    """
    rng = np.random.default_rng(seed)
    n_items = n_blocks * (warm_each + cold_each)
    block, is_cold = np.arange(n_items) % n_blocks, np.arange(n_items) >= n_blocks * warm_each
    rows = []
    for user in range(n_blocks * users_each):
        warm, cold = (np.flatnonzero((block == user % n_blocks) & (is_cold == flag)) for flag in (False, True))
        parts = [TRAIN] * warm_each + [VALID if place < cold_each // 2 else TEST for place in range(cold_each)]
        rows += [(user, item, part, 0) for item, part in zip([*warm, *cold], parts, strict=True)]
    centres = rng.normal(size=(n_blocks, 16))
    matrices = {
        name: (rng.normal(size=(n_items, 16)) + (3.0 * centres[block] if name == reveals else 0.0)).astype(np.float32)
        for name in ("image", "text")
    }
    return split_of(rows, n_blocks * users_each, n_items, "cold_items"), ItemFeatures(matrices)


def block_features(world: Split, n_blocks: int = 4, seed: int = 0) -> ItemFeatures:
    """Vectors in which items of a block (``item % n_blocks``) lie together; some items lack one, or both."""
    rng = np.random.default_rng(seed)
    n_items = world.train.n_items
    centres, block = rng.normal(size=(n_blocks, 12)), np.arange(n_items) % n_blocks
    matrices = {name: rng.normal(size=(n_items, 12)) + 3.0 * centres[block] for name in ("image", "text")}
    matrices["image"][:3], matrices["text"][2:4] = np.nan, np.nan
    return ItemFeatures({name: matrix.astype(np.float32) for name, matrix in matrices.items()})


def shuffled(features: ItemFeatures, seed: int = 0) -> ItemFeatures:
    """Give every item the vectors of another: whatever features told is gone, their statistics are not."""
    order = np.random.default_rng(seed).permutation(len(next(iter(features.matrices.values()))))
    return ItemFeatures({name: matrix[order] for name, matrix in features.matrices.items()})


def split_of(rows: list[tuple[int, int, int, int]], n_users: int, n_items: int, kind: str) -> Split:
    """Build a split from ``(user_idx, item_idx, part, time)``."""
    user, item, part, time = (np.array(column) for column in zip(*rows, strict=True))
    interactions = Interactions(
        user.astype(np.int32), item.astype(np.int32), n_users, n_items, timestamp=time.astype(np.int64)
    )
    ids = [f"i{idx}" for idx in range(n_items)]
    table = pl.DataFrame(
        {
            "item_id": ids,
            "title": [f"Title {idx} ({1990 + idx % 20})" for idx in range(n_items)],
            "text": [None] * n_items,
            "attributes": [[f"genre:G{idx % 4}", f"year:{1990 + idx % 20}"] for idx in range(n_items)],
            "image": [None] * n_items,
        },
        schema_overrides={"text": pl.String, "image": pl.String},
    )
    users = Vocabulary(f"u{idx}" for idx in range(n_users))
    dataset = Dataset("world", users, Vocabulary(ids), interactions, table, part.astype(np.uint8))
    return Split(dataset, part.astype(np.uint8), kind)
