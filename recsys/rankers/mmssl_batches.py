"""The batches of MMSSL: examples of a step, and what its critic is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from recsys.core.runtime import Run
from recsys.core.values import Interactions
from recsys.rankers.sampling import NegativeSampler


class Batch(NamedTuple):
    """One step's examples: each user once, in random order; ``rows`` says whose each positive is.

    Attributes:
        users: int64 ``[B]``.
        rows, positives: place in ``users`` and item, int64 ``[P]``.
        negatives: int64 ``[P]`` for pairs, empty for the softmax.
        columns: items that the critic is shown, int64 ``[C]``; all positives of its users are among them.
        taken: which of them the first users took, float32 ``[b, C]``.
    """

    users: torch.Tensor
    rows: torch.Tensor
    positives: torch.Tensor
    negatives: torch.Tensor
    columns: torch.Tensor
    taken: torch.Tensor


class Batches:
    """The batches of an epoch, a function of the seed and the epoch's number.

    Args:
        train: the positives.
        size: pairs a batch, or users with all their items.
        pairs: draw a negative for each positive.
        critic_users, columns: size of what the critic is shown; 0 users: nothing.
        run: the seed.
        device: where the tensors go.
    """

    def __init__(
        self, train: Interactions, *, size: int, pairs: bool, critic_users: int, columns: int,
        run: Run, device: torch.device,
    ) -> None:  # fmt: skip
        self.train, self.size, self.run, self.device = train, size, run, device
        self.critic_users, self.columns = critic_users, columns
        self.sampler = NegativeSampler(train, trained_only=True) if pairs else None
        self.trained = np.flatnonzero(train.item_counts)

    def __call__(self, epoch: int) -> Iterator[Batch]:
        whole = len(self.train) if self.sampler else np.flatnonzero(self.train.user_counts)
        order = self.run.rng("order", epoch).permutation(whole)
        for index, start in enumerate(range(0, len(order), self.size)):
            rng = self.run.rng("batch", epoch, index)
            part = order[start : start + self.size]
            arrays = self._pairs(part, rng) if self.sampler else self._users(part)
            arrays += self._shown(arrays[0][: self.critic_users], rng)
            yield Batch(*(torch.from_numpy(array).to(self.device) for array in arrays))

    def _pairs(self, part: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        taker = self.train.user_idx[part].astype(np.int64)
        positives = self.train.item_idx[part].astype(np.int64)
        users, rows = np.unique(taker, return_inverse=True)
        order = rng.permutation(len(users))
        return users[order], np.argsort(order)[rows], positives, self.sampler.draw(taker, rng)

    def _users(self, users: np.ndarray) -> tuple[np.ndarray, ...]:
        part = self.train.matrix[users]
        rows = np.repeat(np.arange(len(users)), np.diff(part.indptr))
        return users, rows, part.indices.astype(np.int64), np.zeros(0, np.int64)

    def _shown(self, users: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """All items that the users took, filled up to ``columns`` with others of the trained items."""
        part = self.train.matrix[users]
        taken = np.unique(part.indices).astype(np.int64)
        others = np.setdiff1d(self.trained, taken, assume_unique=True) if self.critic_users else self.trained[:0]
        n_more = min(max(self.columns - len(taken), 0), len(others))
        columns = np.concatenate([taken, rng.choice(others, n_more, replace=False)])
        return columns, part[:, columns].toarray()
