"""MMSSL's parameters, its graphs, and its losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from recsys.core.values import Interactions, ItemFeatures
from recsys.graph.interaction import InteractionGraph
from recsys.graph.layers import LightConv
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.losses import bpr_loss, weighted_logsumexp
from recsys.rankers.mmssl_batches import Batch
from recsys.rankers.mmssl_parts import (
    Content,
    Critic,
    CrossModalAttention,
    augmented,
    contrast,
    gradient_penalty,
    modality_graphs,
    search_neighbours,
)

if TYPE_CHECKING:
    from recsys.rankers.mmssl import MMSSL

CONTRASTED = 1024  # users of a batch that are told from each other at most: the cost grows with their square


class MMSSLModule(nn.Module):
    """The parameters: one embedding a node (users first), projections, attention, critic; and the graphs found."""

    def __init__(self, train: Interactions, features: ItemFeatures, settings: MMSSL.Settings, device) -> None:
        super().__init__()
        graph = InteractionGraph(train)
        self.settings, self.train_data, self.train_matrix = settings, train, train.matrix
        self.n_users, self.n_items, dim = train.n_users, train.n_items, settings.embedding_dim
        self.adjacency, self.conv = SparseMatrix(graph.normalised(), symmetric=True, device=device), LightConv()
        self.uses_graphs = bool(settings.id_residual or settings.contrast)
        embedding = torch.randn(graph.n_nodes, dim) * settings.init_std
        embedding[self.n_users :][torch.from_numpy(train.item_counts == 0)] = 0.0  # nothing is known of them
        self.embedding = nn.Parameter(embedding)
        self.content = Content(train, features, dim, settings.dropout, device)
        self.content.requires_grad_(bool(settings.modality_residual or settings.adversarial))
        joins = settings.attention and settings.id_residual
        self.attention = CrossModalAttention(len(features.matrices), dim, settings.heads) if joins else None
        self.critic = Critic(self.n_items, settings.critic_dim) if settings.adversarial else None
        self.critic_optimizer = self._critic_optimizer()
        shape = (len(features.matrices), self.n_users, settings.neighbours) if self.uses_graphs else (0,)
        self.register_buffer("neighbours", torch.full(shape, -1, dtype=torch.int32))  # of the last search
        self.graphs: SparseMatrix | None = None  # of ``neighbours``
        self.register_load_state_dict_post_hook(lambda module, keys: setattr(module, "graphs", None))
        degrees = np.maximum(train.item_counts, 1).astype(np.float32)
        self.register_buffer("fold_scale", torch.from_numpy(degrees**-0.5).unsqueeze(1), persistent=False)
        self.register_buffer("trained", torch.from_numpy(np.flatnonzero(train.item_counts)), persistent=False)
        place = np.cumsum(train.item_counts > 0) - 1
        self.register_buffer("place", torch.from_numpy(place), persistent=False)  # of an item among those trained

    def _critic_optimizer(self) -> torch.optim.Optimizer | None:
        if self.critic is None:
            return None
        rate = self.settings.critic_learning_rate
        return torch.optim.Adam(self.critic.parameters(), lr=rate, betas=(0.5, 0.9), fused=True)

    @torch.no_grad()
    def refresh(self, rng: np.random.Generator) -> None:
        """Search each user's neighbours in every modality with the current projections (eq. 4)."""
        if not self.uses_graphs:
            return
        was_training = self.training
        users, items = self.eval().content()
        self.train(was_training)
        wanted = min(self.settings.candidates, self.n_items)
        candidates = np.sort(rng.choice(self.n_items, wanted, replace=False)).astype(np.int64)
        for index in range(users.shape[1]):
            u, i = users[:, index].contiguous(), items[:, index].contiguous()
            self.neighbours[index] = search_neighbours(u, i, candidates, self.train_data, self.settings.neighbours)
        self.graphs = None

    def views(self) -> torch.Tensor:
        """Return each modality's embeddings ``e``, ``[M, n_nodes, dim]`` (eq. 5)."""
        if self.graphs is None:
            self.graphs = modality_graphs(self.neighbours, self.n_items, self.embedding.device)
        return (self.graphs @ self.embedding).view(len(self.neighbours), *self.embedding.shape)

    def layers(self, views: torch.Tensor | None) -> list[torch.Tensor]:
        """Return ``[n_nodes, dim]`` for each layer 0 … L (eq. 7)."""
        start = self.embedding
        if self.settings.id_residual:
            joined = self.attention(views) if self.attention is not None else views.mean(0)
            start = start + self.settings.id_residual * F.normalize(joined, dim=1)
        result = [start]
        for _ in range(self.settings.num_layers):
            result.append(self.conv(result[-1], self.adjacency))
        return result

    def behaviour(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return LightGCN's user and item vectors, and what each history item adds to a folded-in user."""
        layers = self.layers(self.views() if self.uses_graphs else None)
        mean = sum(layers) / len(layers)
        below = sum(layers[:-1]) / len(layers) if self.settings.num_layers else layers[0]
        return mean[: self.n_users], mean[self.n_users :], below[self.n_users :] * self.fold_scale

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the sum of all terms; the critic learns first, from the same rows."""
        settings = self.settings
        views = self.views() if self.uses_graphs else None
        layers = self.layers(views)
        final, content = sum(layers) / len(layers), None
        if settings.modality_residual or settings.adversarial:
            content = self.content()
        if settings.modality_residual:
            final = final + settings.modality_residual * torch.cat(content).sum(1)
        value = self.main(final, batch) + self._penalty(batch)
        if settings.contrast:
            users = batch.users[:CONTRASTED]
            ours = final.index_select(0, users)
            terms = [contrast(ours, view.index_select(0, users), settings.contrast_temperature) for view in views]
            value = value + settings.contrast * sum(terms)
        if settings.adversarial:
            value = value + settings.adversarial * self.adversary(final.detach(), content, batch)
        return value

    def main(self, final: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the BPR loss of the pairs, or the cross-entropy of the positives against all trained items."""
        vectors = F.normalize(final, dim=1) if self.settings.similarity == "cosine" else final
        users = vectors.index_select(0, batch.users) / self.settings.temperature  # [B, dim]
        if self.settings.loss == "bpr":
            takers = users.index_select(0, batch.rows)  # [P, dim]
            pairs = (vectors.index_select(0, self.n_users + items) for items in (batch.positives, batch.negatives))
            return bpr_loss(*((takers * items).sum(1) for items in pairs))
        catalogue = vectors.index_select(0, self.n_users + self.trained)  # [n_trained, dim]
        shares = torch.bincount(batch.rows, minlength=len(users)) / len(batch.rows)
        positives = catalogue.index_select(0, self.place[batch.positives])
        agreement = (users.index_select(0, batch.rows) * positives).sum() / len(batch.rows)
        return weighted_logsumexp(users, catalogue, shares) - agreement

    def adversary(self, final: torch.Tensor, content: tuple[torch.Tensor, torch.Tensor], batch: Batch) -> torch.Tensor:
        """Train the critic a step, and return how little it takes the generated rows for observed ones (eq. 7-9)."""
        users = batch.users[: len(batch.taken)]
        fake = generated(content[0].index_select(0, users), content[1].index_select(0, batch.columns))  # [M * b, C]
        real = self._observed(final, users, batch)  # [b, C]
        loss = self.critic_loss(real, fake.detach(), batch.columns)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        frozen = {name: parameter.detach() for name, parameter in self.critic.named_parameters()}
        return -functional_call(self.critic, frozen, (fake, batch.columns)).mean()

    @torch.no_grad()
    def _observed(self, final: torch.Tensor, users: torch.Tensor, batch: Batch) -> torch.Tensor:
        ours, theirs = (F.normalize(final.index_select(0, x), dim=1) for x in (users, self.n_users + batch.columns))
        temperature = self.settings.gumbel_temperature if self.settings.gumbel else 0.0
        agreement = self.settings.agreement * (ours @ theirs.T)  # [b, C]
        return augmented(batch.taken, agreement, scale=self.settings.gumbel_scale, temperature=temperature)

    def critic_loss(self, real: torch.Tensor, fake: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Return what the critic minimises: fake rows low, observed high, slope 1 between them.

        Args:
            real: ``[b, C]``.
            fake: ``[M * b, C]``, the same users once a modality.
            columns: which items those are, ``[C]``.
        """
        told = self.critic(fake, columns).mean() - self.critic(real, columns).mean()
        penalty = gradient_penalty(self.critic, real.repeat(len(fake) // len(real), 1), fake, columns)
        return told + self.settings.gradient_penalty * penalty

    def _penalty(self, batch: Batch) -> torch.Tensor | float:
        if not self.settings.regularisation:
            return 0.0
        # as often as they occur: a user once with the softmax, and once a pair with bpr
        users = batch.users if self.settings.loss == "softmax" else batch.users[batch.rows]
        nodes = torch.cat([users, self.n_users + batch.positives, self.n_users + batch.negatives])
        squares = self.embedding.index_select(0, nodes).square().sum()
        return self.settings.regularisation * squares / (2 * len(batch.positives))


def generated(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Return each modality's row of cosines for each user, of unit length, ``[M * b, C]`` (eq. 3).

    Args:
        users: unit vectors ``[b, M, dim]``.
        items: unit vectors ``[C, M, dim]``.
    """
    rows = users.transpose(0, 1) @ items.permute(1, 2, 0)  # [M, b, C]
    return F.normalize(rows.flatten(0, 1), dim=1)
