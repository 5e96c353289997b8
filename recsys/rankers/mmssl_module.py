"""MMSSL's parameters, its graphs, and its losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from recsys.core.values import Interactions
from recsys.graph.interaction import InteractionGraph
from recsys.graph.layers import LightConv
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.losses import bpr_loss
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
from recsys.rankers.multimodal import ContentModule

if TYPE_CHECKING:
    from recsys.rankers.mmssl import MMSSL

CONTRASTED = 512  # users of a batch that are told from each other at most: the cost grows with their square


class MMSSLModule(ContentModule):
    """The parameters: one embedding a node (users first), projections, attention, critic; and the graphs found."""

    def __init__(
        self, train: Interactions, content: Mapping[str, np.ndarray], settings: MMSSL.Settings, device: torch.device
    ) -> None:
        super().__init__(train, content, settings)
        graph, dim, self.n_items = InteractionGraph(train), settings.embedding_dim, train.n_items
        self.adjacency, self.conv = SparseMatrix(graph.normalised(), symmetric=True, device=device), LightConv()
        self.uses_graphs = bool(settings.id_residual or settings.contrast)
        counts = torch.from_numpy(np.concatenate([train.user_counts, train.item_counts]))
        self.register_buffer("known", (counts > 0).float().unsqueeze(1), persistent=False)  # [n_nodes, 1]
        self.embedding = nn.Parameter(torch.randn(graph.n_nodes, dim) * settings.init_std * self.known)
        # Who is in no interaction stays 0. The modality graphs alone would move them, towards the users linked to them,
        # at Adam's full step however small the gradient, and no term would push them back: on TikTok 7 % of the items
        # are new, and they were a third of all lists.
        self.embedding.register_hook(lambda gradient: gradient * self.known)
        self.content = Content(train, content, dim, settings.dropout, device)
        self.content.requires_grad_(bool(settings.modality_residual or settings.adversarial))
        joins = settings.attention and settings.id_residual
        self.attention = CrossModalAttention(len(content), dim, settings.heads) if joins else None
        self.critic = Critic(self.n_items, settings.critic_dim) if settings.adversarial else None
        self.critic_optimizer = self._critic_optimizer()
        shape = (len(content), self.n_users, settings.neighbours) if self.uses_graphs else (0,)
        self.register_buffer("neighbours", torch.full(shape, -1, dtype=torch.int32))  # of the last search
        self.graphs: SparseMatrix | None = None  # of ``neighbours``
        self.register_load_state_dict_post_hook(lambda module, keys: setattr(module, "graphs", None))

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

    def final(self) -> dict[str, torch.Tensor]:
        """Return user and item vectors, what each history item adds to a folded-in user, and projected features."""
        layers = self.layers(self.views() if self.uses_graphs else None)
        vectors = sum(layers) / len(layers)
        if self.settings.modality_residual:
            vectors = vectors + self.settings.modality_residual * torch.cat(self.content()).sum(1)
        user, item = self.unit(vectors).split([self.n_users, self.n_items])
        below = sum(layers[:-1]) / len(layers) if self.settings.num_layers else layers[0]
        fold = below[self.n_users :] * self.fold_scale
        return {"user": user, "item": item, "fold": fold, "projected": self.content.projected()}

    def penalised(self, nodes: torch.Tensor) -> torch.Tensor:
        return self.embedding.index_select(0, nodes)

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
        value = self.main(final, batch) + self._penalty(self._occurring(batch), len(batch.positives))
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
        vectors = self.unit(final)
        users, items = vectors.index_select(0, batch.users), vectors[self.n_users :]
        if self.settings.loss == "softmax":
            counts = torch.bincount(batch.rows, minlength=len(users))
            return self._cross_entropy(users, items, (batch.users, counts, batch.rows, batch.positives))
        takers = users.index_select(0, batch.rows) / self.settings.temperature  # [P, dim]
        pairs = (items.index_select(0, chosen) for chosen in (batch.positives, batch.negatives))
        return bpr_loss(*((takers * chosen).sum(1) for chosen in pairs))

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

    def _occurring(self, batch: Batch) -> torch.Tensor:
        """Return the nodes of the examples: a user once with the softmax, and once a pair with bpr."""
        users = batch.users if self.settings.loss == "softmax" else batch.users[batch.rows]
        return torch.cat([users, self.n_users + batch.positives, self.n_users + batch.negatives])


def generated(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Return each modality's row of cosines for each user, of unit length, ``[M * b, C]`` (eq. 3).

    Args:
        users: unit vectors ``[b, M, dim]``.
        items: unit vectors ``[C, M, dim]``.
    """
    rows = users.transpose(0, 1) @ items.permute(1, 2, 0)  # [M, b, C]
    return F.normalize(rows.flatten(0, 1), dim=1)
