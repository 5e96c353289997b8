"""Training examples: a poster, what is known of it, and somebody who liked it, by the rest of what they liked.

Nothing of a held-out item is ever in an example: targets and histories are both items of the training part (of the
validation part only as targets, and only for validation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import DataError
from recsys.core.values import Interactions
from recsys.data.item_parts import Part, part_of
from recsys.visuals.conditions import CONDITIONS, LAYOUT, Conditions
from recsys.visuals.taste import TasteSpace, nearest


class ExampleSettings(BaseSettings):
    """How examples are drawn."""

    rating: float = Field(4.0, description="From this rating on an item is liked.")
    history: int = Field(4, ge=1, description="Pictures of the history at most.")
    known: int = Field(
        24, ge=1, description="Liked items that a user is known by in one example, drawn anew each time."
    )
    keywords: int = Field(6, ge=1, description="Keywords at most.")
    own_words: float = Field(0.5, ge=0, le=1, description="How often each of the target's own words is a keyword.")
    alone: float = Field(0.1, ge=0, le=1, description="How often an example has no user.")


@dataclass(frozen=True)
class Shelf:
    """What is known of items, in rows of its own (not of the data set).

    Attributes:
        ids: the outside ids of the items.
        latents: float16 ``[n, channels, rows, columns]``.
        text, picture: vectors, a NaN row where there is none, ``[n, dim]``.
        layout: float32 ``[n, 3, 6, 4]``.
        words: numbers of the words that describe each item.
        vocabulary: vectors of all words, ``[n_words, text_dim]``.
    """

    ids: Sequence[str]
    latents: np.ndarray
    text: np.ndarray
    picture: np.ndarray
    layout: np.ndarray
    words: Sequence[np.ndarray]
    vocabulary: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """Who and what an example was made of, for those that need it in words.

    Attributes:
        target: its row of the shelf.
        user: the user's number, -1: nobody.
        near: rows of the liked items that are most like the target, the most like it first, int64 ``[<= history]``.
    """

    target: int
    user: int
    near: np.ndarray


def layouts(pictures: np.ndarray) -> np.ndarray:
    """Return the colours of 6 × 4 fields, float32 ``[n, 3, 6, 4]`` from -1 to 1, of uint8 ``[n, H, W, 3]``."""
    n, height, width = pictures.shape[:3]
    rows, columns = LAYOUT
    cut = pictures.reshape(n, rows, height // rows, columns, width // columns, 3)
    return (cut.mean(axis=(2, 4), dtype=np.float32) / 127.5 - 1).transpose(0, 3, 1, 2)


class Examples:
    """Draws batches.

    Args:
        shelf: the items.
        train: interactions of the train part; rows of ``place`` lead from its items to the shelf.
        place: the shelf's row of each of the data set's items, int64 ``[n_items]``, -1 where it has none.
        space: of user vectors.
        part: of the targets.
        settings: see there.

    Raises:
        DataError: no target.
    """

    def __init__(
        self,
        shelf: Shelf,
        train: Interactions,
        place: np.ndarray,
        space: TasteSpace,
        part: Part,
        settings: ExampleSettings | None = None,
    ) -> None:
        self.shelf, self.space, self.settings = shelf, space, settings or ExampleSettings()
        parts = np.array([part_of(one) for one in shelf.ids])
        self.targets = np.flatnonzero(parts == part)
        if part == "held_out" or not len(self.targets):
            raise DataError(f"part {part!r}", "has no pictures to learn from", "Take 'train' or 'validation'.")
        liked = train if train.rating is None else train.select(train.rating >= self.settings.rating)
        rows = place[liked.item_idx]
        there = rows >= 0
        users, rows = liked.user_idx[there], rows[there]
        may = parts[rows] == "train"  # of histories
        self.likes: Mapping[int, np.ndarray] = _grouped(users[may], rows[may])
        fans = _grouped(rows, users)
        self.fans = {row: fans[row] for row in self.targets.tolist() if row in fans}
        self.rows = space.rows(shelf.text, shelf.picture)  # [n, dim / 2]
        self._overall = self._counts(range(len(shelf.ids))) / len(shelf.ids)  # how often each word is told of an item
        self.habits = {user: self._habits(items) for user, items in self.likes.items()}

    def _habits(self, items: np.ndarray) -> np.ndarray:
        """Return the words that somebody's items have more often than all items, the most telling first."""
        counts = self._counts(items)
        lift = (counts / max(len(items), 1) - self._overall) / np.sqrt(self._overall + 1e-3)
        return np.argsort(-lift, kind="stable")[:12][np.sort(-lift)[:12] < 0]

    def _counts(self, items: Sequence[int] | np.ndarray) -> np.ndarray:
        flat = np.concatenate([np.zeros(0, np.int64), *(self.shelf.words[one] for one in items)]).astype(np.int64)
        return np.bincount(flat, minlength=len(self.shelf.vocabulary))

    def batch(self, n: int, rng: np.random.Generator) -> tuple[torch.Tensor, Conditions]:
        """Return latents float32 ``[n, channels, rows, columns]`` and their conditions, drawn by ``rng`` alone."""
        return self.of(self.targets[rng.integers(len(self.targets), size=n)], rng)

    def of(self, targets: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, Conditions]:
        """Return the same for these rows of the shelf; users, histories and keywords are drawn."""
        return self.drawn(targets, rng)[:2]

    def drawn(self, targets: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, Conditions, list[Drawn]]:
        """Return the same, and what each was made of."""
        shelf, chosen, n = self.shelf, self.settings, len(targets)
        picture_dim, text_dim = shelf.picture.shape[1], shelf.text.shape[1]
        made = {
            "on": np.ones((n, len(CONDITIONS)), dtype=bool), "soft": np.zeros((n, 1, self.space.dim), np.float32),
            "history": np.zeros((n, chosen.history, picture_dim), np.float32),
            "history_weights": np.zeros((n, chosen.history), np.float32),
            "keywords": np.zeros((n, chosen.keywords, text_dim), np.float32),
            "keyword_weights": np.zeros((n, chosen.keywords), np.float32),
        }  # fmt: skip
        drawn = [self._fill(made, row, target, rng) for row, target in enumerate(targets.tolist())]
        made |= {name: np.nan_to_num(getattr(shelf, name)[targets]) for name in ("text", "picture", "layout")}
        latents = torch.from_numpy(shelf.latents[targets].astype(np.float32))
        return latents, Conditions(**{name: torch.from_numpy(value) for name, value in made.items()}), drawn

    def _fill(self, made: Mapping[str, np.ndarray], row: int, target: int, rng: np.random.Generator) -> Drawn:
        """Write what one example is given."""
        shelf, chosen = self.shelf, self.settings
        user, items = self._somebody(target, rng)
        order = nearest(shelf.text[target], shelf.text[items], chosen.history)
        near = np.sort(order)
        pictures = [one for one in items[near] if np.isfinite(shelf.picture[one]).all()]
        made["history"][row, : len(pictures)] = shelf.picture[pictures]
        made["history_weights"][row, : len(pictures)] = 1
        made["soft"][row, 0] = self.space.user(self.rows[items], near)
        words, weights = self._keywords(target, user, rng)
        made["keywords"][row, : len(words)] = shelf.vocabulary[words]
        made["keyword_weights"][row, : len(words)] = weights
        told, seen = np.isfinite(shelf.text[target]).all(), np.isfinite(shelf.picture[target]).all()
        made["on"][row] = (told, seen, True, len(words) > 0, len(items) > 0, len(pictures) > 0)
        return Drawn(target, user, items[order])

    def _somebody(self, target: int, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        """Return a user who liked the target, and some of what else they liked, sorted; -1 and nothing: nobody."""
        fans, nobody = self.fans.get(target), (-1, np.zeros(0, dtype=np.int64))
        if fans is None or rng.random() < self.settings.alone:
            return nobody
        user = int(fans[rng.integers(len(fans))])
        items = self.likes.get(user, nobody[1])
        items = items[items != target]
        drawn = rng.permutation(len(items))[: self.settings.known]
        return (user, np.sort(items[drawn])) if len(drawn) else nobody

    def _keywords(self, target: int, user: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return words and weights: some of the target's own, and some of the user's.

        The own ones teach what a word looks like; the user's, that a word may also have little to do with the target.
        """
        own = self.shelf.words[target]
        own = own[rng.random(len(own)) < self.settings.own_words]
        habits = self.habits.get(user, own[:0])
        habits = habits[rng.permutation(len(habits))[:2]]
        found = np.unique(np.concatenate([own, habits]).astype(np.int64))
        found = found[rng.permutation(len(found))[: self.settings.keywords]]
        strong, weak = rng.uniform(0.4, 1.0, len(found)), rng.uniform(0.1, 0.6, len(found))
        return found, np.where(np.isin(found, own), strong, weak)


def _grouped(keys: np.ndarray, values: np.ndarray) -> dict[int, np.ndarray]:
    """Return the sorted, distinct values of each key."""
    order = np.lexsort((values, keys))
    keys, values = keys[order], values[order]
    names, starts = np.unique(keys, return_index=True)
    return {int(name): np.unique(part) for name, part in zip(names, np.split(values, starts[1:]), strict=True)}
