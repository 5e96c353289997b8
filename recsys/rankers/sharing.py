"""What a ranker says so that several processes can train it, and how rows are divided among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from recsys.core.runtime import Run
from recsys.core.values import Interactions, ItemFeatures

Tensors = tuple[torch.Tensor, ...]
Divide = Callable[[Any, int, int], tuple[Any, float]]


@dataclass(frozen=True)
class Sharing:
    """What several processes need of a ranker whose loss is a mean over the rows of a batch.

    Attributes:
        ranker: not fitted; each process fits a copy of its own.
        train, features: what it is fitted on.
        divide: ``batch, rank, size -> the rank's rows of it, their share``: the losses of all parts, times their
            shares, sum to the loss of the batch.
    """

    ranker: Any
    train: Interactions
    features: ItemFeatures
    divide: Divide


class Line(Protocol):
    """Between the leader and another process: what one sends, the other receives, in order."""

    def send(self, what: Any) -> None: ...

    def recv(self) -> Any: ...


@dataclass(frozen=True)
class Seat:
    """Whose place a process takes that was started to be one of several.

    Attributes:
        rank, size: its number, and how many there are; 0 leads.
        lines: to the leader, or the leader's to all others, in their order.
        meeting: the file where they meet; ``None``: who started them has seen to that.
        placement: what Lightning's trainer is told; ``None``: what fits processes of one machine.
    """

    rank: int
    size: int
    lines: tuple[Line, ...] = ()
    meeting: Path | None = None
    placement: Callable[[], dict[str, Any]] | None = None


@dataclass(frozen=True)
class SeatedRun(Run):
    """The run of a process that was started to be one of several."""

    seat: Seat = Seat(0, 1)


def rows_of(n_rows: int, rank: int, size: int) -> slice | None:
    """Return the rows of a rank; ``None`` when there are fewer than ranks: each then takes all, for a like share."""
    return slice(n_rows * rank // size, n_rows * (rank + 1) // size) if n_rows >= size else None


def divided_pairs(batch: Tensors, rank: int, size: int) -> tuple[Tensors, float]:
    """Divide arrays of one row an example (``pair_batches``)."""
    rows = rows_of(len(batch[0]), rank, size)
    if rows is None:
        return batch, 1 / size
    return tuple(array[rows] for array in batch), (rows.stop - rows.start) / len(batch[0])


def divided_users(batch: Tensors, rank: int, size: int) -> tuple[Tensors, float]:
    """Divide users with all their items (``user_batches``); shares are those of items, each of which is an example."""
    users, counts, owner, items = batch
    rows = rows_of(len(users), rank, size)
    if rows is None:
        return batch, 1 / size
    start, stop = torch.searchsorted(owner, owner.new_tensor([rows.start, rows.stop])).tolist()
    part = (users[rows], counts[rows], owner[start:stop] - rows.start, items[start:stop])
    return part, (stop - start) / len(items)


class RowDropout(torch.nn.Dropout):
    """Dropout that several processes draw alike: each for the whole batch, of which it keeps its rows.

    Attributes:
        part: the rows of this process, and how many there are; ``None``: all are here.
    """

    part: tuple[slice, int] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.part is None or not self.training:
            return super().forward(x)
        rows, n_rows = self.part
        return x * F.dropout(x.new_ones(n_rows, *x.shape[1:]), self.p)[rows]
