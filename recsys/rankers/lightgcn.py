"""LightGCN (He et al., SIGIR 2020); with no layers it is matrix factorisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from recsys.core.protocols import Validator
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Interactions, ItemFeatures, Query
from recsys.graph.interaction import InteractionGraph
from recsys.graph.layers import LightConv
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.losses import bpr_loss, weighted_logsumexp
from recsys.rankers.sampling import NegativeSampler
from recsys.rankers.training import TrainingSettings, fit_module

Batch = tuple[torch.Tensor, ...]


class LightGCN:
    """Embeddings averaged over the user-item graph, scored by their product.

    The defaults (catalogue softmax over cosines, Wu et al., TOIS 2024) reach a higher ndcg in a fraction of the
    time; the paper's own model is ``loss="bpr", similarity="dot", temperature=1``.
    """

    class Settings(TrainingSettings):
        batch_size: int = Field(512, ge=1, description="A step: users with all their items (softmax), or pairs (bpr).")
        learning_rate: float = Field(0.01, gt=0, description="Step size of Adam.")
        embedding_dim: int = Field(64, ge=1, description="Numbers in an embedding.")
        num_layers: int = Field(3, ge=0, description="Propagation steps; 0 = matrix factorisation (BPR-MF).")
        loss: Literal["bpr", "softmax"] = Field(
            "softmax",
            description="bpr: pairs, as in the paper; softmax: each positive against the whole catalogue.",
        )
        similarity: Literal["dot", "cosine"] = Field(
            "cosine", description="dot, as in the paper; cosine ignores the lengths of embeddings."
        )
        temperature: float = Field(0.2, gt=0, description="Scores are divided by it in the loss; 1 with dot.")
        regularisation: float = Field(1e-4, ge=0, description="L2 on the batch's initial embeddings (paper, eq. 15).")
        init_std: float = Field(0.1, gt=0, description="Standard deviation of the initial embeddings.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Learn by mini-batches: pairs for ``bpr``, users with all their items for ``softmax``."""
        graph, device = InteractionGraph(train), run.torch_device()
        adjacency = SparseMatrix(graph.normalised(), symmetric=True, device=device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.key("init"))
            module = LightGCNModule(graph, adjacency, self.settings)
        make = _pair_batches if self.settings.loss == "bpr" else _user_batches
        loss = module.bpr if self.settings.loss == "bpr" else module.softmax

        def validate() -> Mapping[str, float]:
            self._keep(module)
            return valid(self)

        log = fit_module(
            module, settings=self.settings, batches=make(train, self.settings.batch_size, run, device), loss=loss,
            validate=validate if valid else None, metric=valid.metric if valid else None,
            run=run, title="lightgcn", data=train.digest,
        )  # fmt: skip
        self._keep(module)
        return log

    @torch.no_grad()
    def _keep(self, module: LightGCNModule) -> None:
        users, items, fold = (tensor.cpu().numpy() for tensor in module.final())
        self._user, self._item, self._fold = users, items, fold

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``; users unknown to the model are folded in from their history.

        A new user linked to the items of the history gets, in layer ``l + 1``, the mean
        ``sum_i e_i^(l) / sqrt(|H| d_i)`` of the trained graph; the layers are averaged as for any other.
        """
        vectors = self._user[np.maximum(query.user_idx, 0)]  # [n, dim]
        unknown = np.flatnonzero(query.user_idx < 0)
        if len(unknown):
            history = query.histories.take(unknown).matrix()
            lengths = np.maximum(np.diff(history.indptr), 1)
            vectors[unknown] = (history @ self._fold) / np.sqrt(lengths)[:, None]
        if self.settings.similarity == "cosine":
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return (torch.from_numpy(vectors) @ torch.from_numpy(self._item).T).numpy()

    def contributions_to(self, query: Query, item_idx: np.ndarray) -> np.ndarray:
        """Return what each history item brings to each score through the graph, float32 ``[n, len(history)]``.

        A folded-in user is nothing but the history, so the parts sum to the score. A trained user has an
        embedding of their own besides, which is nobody's part, and the train items alone as neighbours.
        """
        history = query.histories[0]
        first = np.zeros(len(history), dtype=bool)
        first[np.unique(history, return_index=True)[1]] = True
        brought = np.where(first[:, None], self._fold[history], 0.0) / np.sqrt(max(first.sum(), 1))  # [n_history, dim]
        if self.settings.similarity == "cosine":
            brought = brought / max(float(np.linalg.norm(brought.sum(axis=0))), 1e-12)
        return (self._item[item_idx] @ brought.T).astype(np.float32)

    def contributions(self, query: Query, item_idx: int) -> np.ndarray:
        """Return the parts of one score, ``[len(history)]``."""
        return self.contributions_to(query, np.array([item_idx]))[0]

    def embeddings(self) -> Mapping[str, np.ndarray]:
        """Return the propagated ``user`` ``[n_users, dim]`` and ``item`` ``[n_items, dim]`` vectors."""
        return {"user": self._user, "item": self._item}

    def state(self) -> dict[str, np.ndarray]:
        return {"user": self._user, "item": self._item, "fold": self._fold}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._user, self._item, self._fold = state["user"], state["item"], state["fold"]


class LightGCNModule(torch.nn.Module):
    """The parameters: one embedding a node, users first."""

    def __init__(self, graph: InteractionGraph, adjacency: SparseMatrix, settings: LightGCN.Settings) -> None:
        super().__init__()
        self.settings, self.adjacency, self.n_users = settings, adjacency, graph.n_users
        self.conv = LightConv()
        self.embedding = torch.nn.Parameter(torch.randn(graph.n_nodes, settings.embedding_dim) * settings.init_std)
        degrees = np.maximum(graph.train.item_counts, 1).astype(np.float32)
        self.register_buffer("fold_scale", torch.from_numpy(degrees**-0.5).unsqueeze(1), persistent=False)

    def layers(self) -> list[torch.Tensor]:
        """Return ``[n_nodes, dim]`` for each layer 0 … L."""
        result = [self.embedding]
        for _ in range(self.settings.num_layers):
            result.append(self.conv(result[-1], self.adjacency))
        return result

    def propagated(self) -> torch.Tensor:
        """Return the mean over the layers ``[n_nodes, dim]``, of unit length for cosine."""
        layers = self.layers()
        return self._unit(sum(layers) / len(layers))

    def _unit(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(x, dim=1) if self.settings.similarity == "cosine" else x

    def final(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return user vectors, item vectors, and what each history item adds to a folded-in user."""
        layers = self.layers()
        mean = self._unit(sum(layers) / len(layers))
        below = sum(layers[:-1]) / len(layers) if self.settings.num_layers else self.embedding
        return mean[: self.n_users], mean[self.n_users :], below[self.n_users :] * self.fold_scale

    def bpr(self, batch: Batch) -> torch.Tensor:
        """Return the BPR loss of ``(users, positives, negatives)``, each int64 ``[B]``."""
        nodes = torch.cat([batch[0], batch[1] + self.n_users, batch[2] + self.n_users])
        user, positive, negative = self.propagated().index_select(0, nodes).chunk(3)  # [B, dim] each
        scale = 1.0 / self.settings.temperature
        value = bpr_loss((user * positive).sum(1) * scale, (user * negative).sum(1) * scale)
        return value + self._penalty(nodes, len(batch[0]))

    def softmax(self, batch: Batch) -> torch.Tensor:
        """Return the mean catalogue cross-entropy of the positives of a batch of users.

        Args:
            batch: users int64 ``[B]``, their numbers of items ``[B]``, positives: row in the batch and item ``[P]``.
        """
        users, counts, rows, items = batch
        propagated = self.propagated()
        vectors = propagated.index_select(0, users) / self.settings.temperature  # [B, dim]
        catalogue = propagated[self.n_users :]  # [n_items, dim]
        share = counts / len(items)
        normaliser = weighted_logsumexp(vectors, catalogue, share)
        agreement = (vectors.index_select(0, rows) * catalogue.index_select(0, items)).sum() / len(items)
        return normaliser - agreement + self._penalty(torch.cat([users, self.n_users + items]), len(items))

    def _penalty(self, nodes: torch.Tensor, n_examples: int) -> torch.Tensor | float:
        if not self.settings.regularisation:
            return 0.0
        return self.settings.regularisation * self.embedding.index_select(0, nodes).square().sum() / (2 * n_examples)


def _pair_batches(train: Interactions, size: int, run: Run, device: torch.device) -> Callable[[int], Iterator[Batch]]:
    """All interactions once an epoch, shuffled, one negative each."""
    sampler = NegativeSampler(train)

    def epoch(number: int) -> Iterator[Batch]:
        order = run.rng("order", number).permutation(len(train))
        users, items = train.user_idx[order].astype(np.int64), train.item_idx[order].astype(np.int64)
        for index, start in enumerate(range(0, len(order), size)):
            part = slice(start, start + size)
            negatives = sampler.draw(users[part], run.rng("negatives", number, index))
            yield tuple(torch.from_numpy(array).to(device) for array in (users[part], items[part], negatives))

    return epoch


def _user_batches(train: Interactions, size: int, run: Run, device: torch.device) -> Callable[[int], Iterator[Batch]]:
    """All users with an interaction once an epoch, shuffled, each with all items."""
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
