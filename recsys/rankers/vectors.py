"""What rankers with one vector a user and an item share: losses over batches, fitting, scoring, folding in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from recsys.core.protocols import Validator
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Histories, Interactions, ItemFeatures, Query
from recsys.rankers.losses import bpr_loss, weighted_logsumexp
from recsys.rankers.sampling import NegativeSampler
from recsys.rankers.sharing import Sharing, divided_pairs, divided_users
from recsys.rankers.training import TrainingSettings, fit_module

Batch = tuple[torch.Tensor, ...]


class VectorSettings(TrainingSettings):
    """Settings that every ranker of this kind has."""

    batch_size: int = Field(512, ge=1, description="A step: users with all their items (softmax), or pairs (bpr).")
    learning_rate: float = Field(0.01, gt=0, description="Step size of Adam.")
    embedding_dim: int = Field(64, ge=1, description="Numbers in an embedding.")
    loss: Literal["bpr", "softmax"] = Field(
        "softmax",
        description="bpr: pairs, as in the paper; softmax: each positive against the whole catalogue.",
    )
    similarity: Literal["dot", "cosine"] = Field(
        "cosine", description="dot, as in the paper; cosine ignores the lengths of embeddings."
    )
    temperature: float = Field(0.2, gt=0, description="Scores are divided by it in the loss; 1 with dot.")
    regularisation: float = Field(1e-4, ge=0, description="L2 on the batch's initial embeddings.")
    init_std: float = Field(0.1, gt=0, description="Standard deviation of the initial embeddings.")


class VectorModule(torch.nn.Module):
    """The parameters. Subclasses give ``propagated`` and ``final``, and ``penalised`` or a ``_penalty`` of their own.

    Attributes:
        catalogue: item row numbers int64 that the softmax is over; ``None``: all.
        separable: the losses are means over examples, each a function of its own example and the parameters alone, so
            that several processes can divide a batch.
    """

    separable: ClassVar[bool] = False
    catalogue: torch.Tensor | None
    n_users: int
    settings: VectorSettings

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("catalogue", None, persistent=False)

    def propagated(self) -> torch.Tensor:
        """Return ``[n_users + n_items, dim]``, users first; a score is the product of two rows."""
        raise NotImplementedError

    def final(self) -> dict[str, torch.Tensor]:
        """Return ``user`` and ``item`` vectors, ``fold`` (what a history item adds to a new user), and other state."""
        raise NotImplementedError

    def penalised(self, nodes: torch.Tensor) -> torch.Tensor:
        """Return the initial embeddings of ``nodes``, which the L2 term is on."""
        raise NotImplementedError

    def rows(self, nodes: torch.Tensor) -> torch.Tensor:
        """Return ``propagated()[nodes]``; for modules that need not compute the others."""
        return self.propagated().index_select(0, nodes)

    def unit(self, x: torch.Tensor) -> torch.Tensor:
        """Return rows of length 1 for cosine, ``x`` itself for dot."""
        return F.normalize(x, dim=1) if self.settings.similarity == "cosine" else x

    def only_trained(self, train: Interactions) -> None:
        """Compare with items of train alone: others, told apart by content, must not be learned to be disliked."""
        trained = np.flatnonzero(train.item_counts)
        if len(trained) < train.n_items:
            self.catalogue = torch.from_numpy(trained)

    def bpr(self, batch: Batch) -> torch.Tensor:
        """Return the BPR loss of ``(users, positives, negatives)``, each int64 ``[B]``."""
        nodes = torch.cat([batch[0], batch[1] + self.n_users, batch[2] + self.n_users])
        user, positive, negative = self.rows(nodes).chunk(3)  # [B, dim] each
        scale = 1.0 / self.settings.temperature
        value = bpr_loss((user * positive).sum(1) * scale, (user * negative).sum(1) * scale)
        return value + self._penalty(nodes, len(batch[0]))

    def softmax(self, batch: Batch) -> torch.Tensor:
        """Return the mean catalogue cross-entropy of the positives of a batch of users.

        Args:
            batch: users int64 ``[B]``, their numbers of items ``[B]``, positives: row in the batch and item ``[P]``.
        """
        users, items = batch[0], batch[3]
        propagated = self.propagated()
        value = self._cross_entropy(propagated.index_select(0, users), propagated[self.n_users :], batch)
        return value + self._penalty(torch.cat([users, self.n_users + items]), len(items))

    def _cross_entropy(self, vectors: torch.Tensor, items_of: torch.Tensor, batch: Batch) -> torch.Tensor:
        _, counts, rows, items = batch
        vectors = vectors / self.settings.temperature  # [B, dim]
        share = counts / len(items)
        offered = items_of if self.catalogue is None else items_of.index_select(0, self.catalogue)
        normaliser = weighted_logsumexp(vectors, offered, share)
        return normaliser - (vectors.index_select(0, rows) * items_of.index_select(0, items)).sum() / len(items)

    def _penalty(self, nodes: torch.Tensor, n_examples: int) -> torch.Tensor | float:
        if not self.settings.regularisation:
            return 0.0
        return self.settings.regularisation * self.penalised(nodes).square().sum() / (2 * n_examples)


class VectorRanker:
    """Scores by the product of a user's and an item's vector; new users are folded in from their history."""

    settings: VectorSettings

    def _learn(
        self, module: VectorModule, train: Interactions, *, valid: Validator | None, run: Run, title: str,
        data: str = "", trained_only: bool = False, begin: Callable[[int], None] | None = None,
        features: ItemFeatures | None = None,
    ) -> FitLog:  # fmt: skip
        """Train ``module`` by mini-batches and keep its vectors.

        Args:
            data: digest of what it learns from besides ``train``.
            trained_only: draw negatives among the items of train alone.
            begin: called with the number of each epoch before its first batch.
            features: what other processes, who fit the same, read besides ``train``.
        """
        make = pair_batches if self.settings.loss == "bpr" else user_batches
        batches = make(train, self.settings.batch_size, run, run.torch_device(), trained_only)

        def epoch(number: int) -> Iterator[Batch]:
            if begin:
                begin(number)
            yield from batches(number)

        def validate() -> Mapping[str, float]:
            self._keep(module)
            return valid(self)

        divide = divided_pairs if self.settings.loss == "bpr" else divided_users
        same = Sharing(type(self)(self.settings), train, features or ItemFeatures(), divide)
        log = fit_module(
            module, settings=self.settings, batches=epoch,
            loss=module.bpr if self.settings.loss == "bpr" else module.softmax,
            validate=validate if valid else None, metric=valid.metric if valid else None,
            run=run, title=title, data=train.digest + data,
            sharing=same if module.separable else None,
        )  # fmt: skip
        self._keep(module)
        return log

    @torch.no_grad()
    def _keep(self, module: VectorModule) -> None:
        self._arrays = {name: tensor.cpu().numpy() for name, tensor in module.final().items()}

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``; users unknown to the model are folded in from their history."""
        vectors = self.query_vectors(query)
        if len(vectors) == 1:  # what a server asks most: the items are read once, row by row
            return (self._arrays["item"] @ vectors[0])[None]
        return (torch.from_numpy(vectors) @ torch.from_numpy(self._arrays["item"]).T).numpy()

    def query_vectors(self, query: Query) -> np.ndarray:
        """Return what the items' vectors are multiplied with, float32 ``[n_queries, dim]``."""
        vectors = self._arrays["user"][np.maximum(query.user_idx, 0)]  # [n, dim]
        unknown = np.flatnonzero(query.user_idx < 0)
        if len(unknown):
            vectors[unknown] = self._fold_in(query.histories.take(unknown))
        if self.settings.similarity == "cosine":
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def item_vectors(self) -> np.ndarray:
        """Return float32 ``[n_items, dim]``."""
        return self._arrays["item"]

    def _fold_in(self, histories: Histories) -> np.ndarray:
        """Return the sum of what the items of each history bring, ``[n, dim]``."""
        history = histories.matrix()
        lengths = np.maximum(np.diff(history.indptr), 1)
        return (history @ self._arrays["fold"]) / np.sqrt(lengths)[:, None]

    def _brought(self, item_idx: np.ndarray, length: int) -> np.ndarray:
        """Return what each item adds to a new user with ``length`` items, ``[len(item_idx), dim]``."""
        return self._arrays["fold"][item_idx] / np.sqrt(length)

    def contributions_to(self, query: Query, item_idx: np.ndarray) -> np.ndarray:
        """Return what each history item brings to each score, float32 ``[n, len(history)]``.

        A folded-in user is nothing but the history, so the parts sum to the score (less the item's bias, where
        there is one). A trained user has an embedding of their own besides, which is nobody's part, and the
        train items alone as neighbours: for them the parts are those of the same history folded in (``adds_up``).
        """
        history = query.histories[0]
        first = np.zeros(len(history), dtype=bool)
        first[np.unique(history, return_index=True)[1]] = True
        brought = np.where(first[:, None], self._brought(history, max(first.sum(), 1)), 0.0)  # [n_history, dim]
        if self.settings.similarity == "cosine":
            brought = brought / max(float(np.linalg.norm(brought.sum(axis=0))), 1e-12)
        return (self._arrays["item"][item_idx] @ brought.T).astype(np.float32)

    def adds_up(self, query: Query) -> bool:
        """Return whether contributions sum to the score: for newcomers, not for users with a trained vector."""
        return bool(query.user_idx[0] < 0)

    def contributions(self, query: Query, item_idx: int) -> np.ndarray:
        """Return the parts of one score, ``[len(history)]``."""
        return self.contributions_to(query, np.array([item_idx]))[0]

    def embeddings(self) -> Mapping[str, np.ndarray]:
        """Return the ``user`` ``[n_users, dim]`` and ``item`` ``[n_items, dim]`` vectors."""
        return {"user": self._arrays["user"], "item": self._arrays["item"]}

    def state(self) -> dict[str, np.ndarray]:
        return dict(self._arrays)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._arrays = dict(state)


def pair_batches(
    train: Interactions, size: int, run: Run, device: torch.device, trained_only: bool = False
) -> Callable[[int], Iterator[Batch]]:
    """All interactions once an epoch, shuffled, one negative each."""
    sampler = NegativeSampler(train, trained_only=trained_only)

    def epoch(number: int) -> Iterator[Batch]:
        order = run.rng("order", number).permutation(len(train))
        users, items = train.user_idx[order].astype(np.int64), train.item_idx[order].astype(np.int64)
        for index, start in enumerate(range(0, len(order), size)):
            part = slice(start, start + size)
            negatives = sampler.draw(users[part], run.rng("negatives", number, index))
            yield tuple(torch.from_numpy(array).to(device) for array in (users[part], items[part], negatives))

    return epoch


def user_batches(
    train: Interactions, size: int, run: Run, device: torch.device, trained_only: bool = False
) -> Callable[[int], Iterator[Batch]]:
    """All users with an interaction once an epoch, shuffled, each with all items (``trained_only`` changes nothing)."""
    matrix = train.matrix
    active = np.flatnonzero(train.user_counts)

    def epoch(number: int) -> Iterator[Batch]:
        order = run.rng("order", number).permutation(active)
        for start in range(0, len(order), size):
            users = order[start : start + size]
            part = matrix[users]
            counts = np.diff(part.indptr)
            rows = np.repeat(np.arange(len(users)), counts)
            arrays = (users, counts.astype(np.float32), rows, part.indices.astype(np.int64))
            yield tuple(torch.from_numpy(array).to(device) for array in arrays)

    return epoch
