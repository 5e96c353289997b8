"""MMSSL's parameters, its graphs, and its losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from recsys.core.values import Interactions
from recsys.graph.interaction import InteractionGraph
from recsys.graph.layers import LightConv
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.losses import bpr_loss
from recsys.rankers.mmssl_attention import CrossModalAttention, unit_rows
from recsys.rankers.mmssl_batches import Batch
from recsys.rankers.mmssl_critic import Critic, augmented, generated_sums, generators, gradient_penalty
from recsys.rankers.mmssl_parts import Content, MeanOfLayers, contrast, modality_graphs, search_neighbours
from recsys.rankers.multimodal import ContentModule

if TYPE_CHECKING:
    from recsys.rankers.mmssl import MMSSL

Vectors = tuple[torch.Tensor, torch.Tensor]  # of users and of items
CONTRASTED = 256  # users of a batch that are told from each other at most: the cost grows with their square


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

    def start(self, views: torch.Tensor | None) -> torch.Tensor:
        """Return layer 0, ``[n_nodes, dim]`` (eq. 7)."""
        if not self.settings.id_residual:
            return self.embedding
        joined = self.attention(views) if self.attention is not None else views.mean(0)
        return torch.add(self.embedding, unit_rows(joined), alpha=self.settings.id_residual)

    def final(self) -> dict[str, torch.Tensor]:
        """Return user and item vectors, what each history item adds to a folded-in user, and projected features."""
        layers = [self.start(self.views() if self.uses_graphs else None)]
        for _ in range(self.settings.num_layers):
            layers.append(self.conv(layers[-1], self.adjacency))
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
        start, content = self.start(views), None
        users, items = MeanOfLayers.apply(start, self.adjacency, settings.num_layers, batch.users, self.n_users)
        if settings.modality_residual or settings.adversarial:
            content = self.content(batch.users)  # [B, M, dim] and [n_items, M, dim]
        if settings.modality_residual:
            users, items = (
                torch.add(ours, theirs.sum(1), alpha=settings.modality_residual)
                for ours, theirs in zip((users, items), content, strict=True)
            )
        value = self.main(users, items, batch) + self._penalty(self._occurring(batch), len(batch.positives))
        if settings.contrast:
            told = batch.users[:CONTRASTED]
            ours, theirs = users[: len(told)], views.index_select(1, told)
            terms = [contrast(ours, view, settings.contrast_temperature) for view in theirs]
            value = value + settings.contrast * sum(terms)
        if settings.adversarial:
            value = value + settings.adversarial * self.adversary((users.detach(), items.detach()), content, batch)
        return value

    def main(self, users: torch.Tensor, items: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the BPR loss of the pairs, or the cross-entropy of the positives against all trained items.

        Args:
            users: of the batch, ``[B, dim]``.
            items: ``[n_items, dim]``.
        """
        if self.settings.similarity == "cosine":
            users, items = unit_rows(users), unit_rows(items)
        if self.settings.loss == "softmax":
            counts = torch.bincount(batch.rows, minlength=len(users))
            return self._cross_entropy(users, items, (batch.users, counts, batch.rows, batch.positives))
        takers = users.index_select(0, batch.rows) / self.settings.temperature  # [P, dim]
        pairs = (items.index_select(0, chosen) for chosen in (batch.positives, batch.negatives))
        return bpr_loss(*((takers * chosen).sum(1) for chosen in pairs))

    def adversary(self, final: Vectors, content: Vectors, batch: Batch) -> torch.Tensor:
        """Train the critic a step, and return how little it takes the generated rows for observed ones (eq. 7-9).

        Args:
            final: vectors of the batch's users ``[B, dim]`` and of all items ``[n_items, dim]``.
            content: likewise, ``[B, M, dim]`` and ``[n_items, M, dim]``, unit vectors.
        """
        shown = len(batch.taken)
        rows = generators(content[0][:shown], content[1].index_select(0, batch.columns))
        real = self._observed(final[0][:shown], final[1].index_select(0, batch.columns), batch.taken)  # [b, C]
        loss = self.critic_loss(real, (rows[0].detach(), rows[1].detach()), batch.columns)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        return -self.critic.frozen(batch.columns, *rows).mean()

    @torch.no_grad()
    def _observed(self, users: torch.Tensor, items: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
        temperature = self.settings.gumbel_temperature if self.settings.gumbel else 0.0
        agreement = self.settings.agreement * (unit_rows(users) @ unit_rows(items).T)  # [b, C]
        return augmented(taken, agreement, scale=self.settings.gumbel_scale, temperature=temperature)

    def critic_loss(self, real: torch.Tensor, rows: Vectors, columns: torch.Tensor) -> torch.Tensor:
        """Return what the critic minimises: fake rows low, observed high, slope 1 between them.

        Args:
            real: ``[b, C]``.
            rows: the ``generators`` of the fake rows, of the same users once a modality.
            columns: which items those are, ``[C]``.
        """
        vectors = self.critic.shown(columns)
        real, fake = real @ vectors, generated_sums(*rows, vectors)  # [b, hidden], [M * b, hidden]
        told = self.critic(fake).mean() - self.critic(real).mean()
        penalty = gradient_penalty(self.critic, real.repeat(len(fake) // len(real), 1), fake, vectors)
        return told + self.settings.gradient_penalty * penalty

    def _occurring(self, batch: Batch) -> torch.Tensor:
        """Return the nodes of the examples: a user once with the softmax, and once a pair with bpr."""
        users = batch.users if self.settings.loss == "softmax" else batch.users[batch.rows]
        return torch.cat([users, self.n_users + batch.positives, self.n_users + batch.negatives])
