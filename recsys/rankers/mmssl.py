"""MMSSL: multi-modal self-supervised learning (Wei, Huang, Xia, Zhang, WWW 2023)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from recsys.core.errors import RankerError
from recsys.core.protocols import Scorer, Validator
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Interactions, ItemFeatures, Query
from recsys.rankers.mmssl_batches import Batch, Batches
from recsys.rankers.mmssl_module import MMSSLModule
from recsys.rankers.mmssl_parts import Content
from recsys.rankers.training import TrainingSettings, fit_module


class MMSSL:
    """LightGCN whose embeddings know what content says of who may like what.

    Content is passed over the interactions (``f``), finds each user the items most like it (modality graphs), and
    those graphs give every node one more embedding a modality (``e``). Attention over the modalities joins them:

        E0 = E + id_residual * unit(attention(e)),  h = LightGCN(E0) + modality_residual * sum_m unit(f_m)

    Losses besides the main one: a critic (WGAN-GP) that the rows of ``f`` should take for observed rows, and a
    contrast between users' ``h`` and ``e``. The paper's main term is ``loss="bpr", similarity="dot", temperature=1``.
    Unlike the released code nothing here is a dense user-item matrix: the critic sees sampled columns, and
    neighbours are searched chunk by chunk. Generated rows keep the places of the observed interactions (which would
    be told from observed ones by the holes), and are left out where neighbours are chosen.
    """

    uses_features = True

    class Settings(TrainingSettings):
        batch_size: int = Field(512, ge=1, description="A step: users with all their items (softmax), or pairs (bpr).")
        learning_rate: float = Field(0.01, gt=0, description="Step size of Adam.")
        modalities: tuple[str, ...] = Field((), description="Item features to read; empty: all there are.")
        embedding_dim: int = Field(64, ge=1, description="Numbers in an embedding.")
        num_layers: int = Field(2, ge=0, description="Propagation steps over the interactions.")
        loss: Literal["bpr", "softmax"] = Field(
            "softmax", description="bpr: pairs, as in the paper; softmax: each positive against all trained items."
        )
        similarity: Literal["dot", "cosine"] = Field(
            "cosine", description="dot, as in the paper; cosine ignores the lengths of vectors."
        )
        temperature: float = Field(0.2, gt=0, description="Scores are divided by it in the loss; 1 with dot.")
        regularisation: float = Field(1e-4, ge=0, description="L2 on the batch's initial embeddings.")
        init_std: float = Field(0.1, gt=0, description="Standard deviation of the initial embeddings.")
        dropout: float = Field(0.2, ge=0, lt=1, description="Share of projected features dropped in training.")
        modality_residual: float = Field(0.55, ge=0, description="Weight of content in the final vectors; 0: none.")
        id_residual: float = Field(0.36, ge=0, description="Weight of the modality graphs in the embeddings; 0: none.")
        attention: bool = Field(True, description="Join modalities by attention; otherwise by their mean.")
        heads: int = Field(4, ge=1, description="Attention heads; divides embedding_dim.")
        neighbours: int = Field(10, ge=1, description="Items a user is linked to in each modality graph.")
        refresh: int = Field(5, ge=1, description="Epochs between two searches for those items.")
        candidates: int = Field(8192, ge=1, description="Items looked at in a search, drawn anew where there are more.")
        contrast: float = Field(0.03, ge=0, description="Weight of the contrast with the modality graphs; 0: none.")
        contrast_temperature: float = Field(0.5, gt=0, description="Cosines are divided by it in the contrast.")
        adversarial: float = Field(1e-3, ge=0, description="Weight of pleasing the critic; 0: no critic.")
        critic_users: int = Field(128, ge=1, description="Rows that the critic is shown a step.")
        critic_columns: int = Field(2048, ge=1, description="Items in a row, those that its users took first.")
        critic_dim: int = Field(64, ge=2, description="Width of the critic.")
        critic_learning_rate: float = Field(3e-4, gt=0, description="Step size of the critic's Adam.")
        gradient_penalty: float = Field(1.0, ge=0, description="Weight that keeps the critic's slope at 1.")
        gumbel: bool = Field(True, description="Make observed rows dense by a softmax with Gumbel noise.")
        gumbel_temperature: float = Field(0.2, gt=0, description="Temperature of that softmax.")
        gumbel_scale: float = Field(0.1, ge=0, description="Scale of the noise.")
        agreement: float = Field(0.01, ge=0, description="Weight of the ranker's own cosines in observed rows.")

        @model_validator(mode="after")
        def _heads_divide(self) -> MMSSL.Settings:
            if self.embedding_dim % self.heads:
                raise ValueError(f"heads {self.heads} must divide embedding_dim {self.embedding_dim}")
            return self

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Learn by mini-batches; the critic is trained a step before each.

        Raises:
            RankerError: there is no item feature, or not the ones wanted.
        """
        settings, device = self.settings, run.torch_device()
        chosen = _chosen(features, settings.modalities)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.key("init"))
            module = MMSSLModule(train, chosen, settings, device)
        batches = Batches(
            train, size=settings.batch_size, pairs=settings.loss == "bpr", run=run, device=device,
            critic_users=settings.critic_users if settings.adversarial else 0, columns=settings.critic_columns,
        )  # fmt: skip

        def epoch(number: int) -> Iterator[Batch]:
            if number % settings.refresh == 0:
                module.refresh(run.rng("candidates", number))
            return batches(number)

        def validate() -> Mapping[str, float]:
            self._keep(module)
            return valid(self)

        log = fit_module(
            module, settings=settings, batches=epoch, loss=module.loss, second=module.critic_optimizer,
            validate=validate if valid else None, metric=valid.metric if valid else None,
            run=run, title="mmssl", data=train.digest + _digest(chosen),
        )  # fmt: skip
        self._keep(module)
        return log

    @torch.no_grad()
    def _keep(self, module: MMSSLModule) -> None:
        users, items, fold = (tensor.cpu().numpy() for tensor in module.behaviour())
        matrix = module.train_matrix
        self._state = {"user_id": users, "item_id": items, "fold": fold}
        self._state |= {"indptr": matrix.indptr.astype(np.int64), "indices": matrix.indices.astype(np.int32)}
        for name in module.content.names:
            self._state[f"weight/{name}"] = module.content.weights[name].detach().cpu().numpy()
            self._state[f"bias/{name}"] = module.content.biases[name].detach().cpu().numpy()
        self._state |= _content_state(module.content)
        self._assemble()

    def _assemble(self) -> None:
        state, weight = self._state, self.settings.modality_residual
        self._user = state["user_id"] + weight * state["user_content"]
        self._item = self._scaled(state["item_id"] + weight * state["item_content"])

    def _scaled(self, vectors: np.ndarray) -> np.ndarray:
        if self.settings.similarity == "dot":
            return vectors
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``; users unknown to the model are folded in from their history.

        A new user linked to the items of the history gets their layers, as in LightGCN, and their content.
        """
        vectors = self._user[np.maximum(query.user_idx, 0)]  # [n, dim]
        unknown = np.flatnonzero(query.user_idx < 0)
        if len(unknown):
            vectors[unknown] = self._folded(query.take(unknown))
        return (torch.from_numpy(self._scaled(vectors)) @ torch.from_numpy(self._item).T).numpy()

    def _folded(self, query: Query) -> np.ndarray:
        history, projected = query.histories.matrix(), self._state["projected"]
        lengths = np.maximum(np.diff(history.indptr), 1)[:, None]
        content = _unit_sum(history @ projected, self._state["fold"].shape[1])
        return (history @ self._state["fold"]) / np.sqrt(lengths) + self.settings.modality_residual * content

    def with_features(self, features: ItemFeatures) -> Scorer:
        """Return the same ranker reading other features; the graphs that it found while learning stay.

        Raises:
            RankerError: a modality it learned is missing, or has another size.
        """
        names = [name.removeprefix("weight/") for name in self._state if name.startswith("weight/")]
        chosen = _chosen(features, names)
        for name in names:
            wanted = (len(self._state["item_id"]), len(self._state[f"weight/{name}"]))
            if chosen[name].shape != wanted:
                cause = f"{name} features are {chosen[name].shape}, and it learned from {wanted}"
                raise RankerError("ranker mmssl", cause, "Give features of the same items from the same encoder.")
        other = MMSSL(self.settings)
        other._state = {**self._state, **self._content_of(chosen)}
        other._assemble()
        return other

    @torch.no_grad()
    def _content_of(self, features: ItemFeatures) -> dict[str, np.ndarray]:
        indptr, items = self._state["indptr"], self._state["indices"]
        users = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
        train = Interactions(users, items, len(indptr) - 1, len(self._state["item_id"]))
        with torch.random.fork_rng(devices=[]):
            content = Content(train, features, self.settings.embedding_dim, 0.0, "cpu")
        for name in content.names:
            content.weights[name].copy_(torch.from_numpy(self._state[f"weight/{name}"]))
            content.biases[name].copy_(torch.from_numpy(self._state[f"bias/{name}"]))
        return _content_state(content)

    def embeddings(self) -> Mapping[str, np.ndarray]:
        """Return the final ``user`` ``[n_users, dim]`` and ``item`` ``[n_items, dim]`` vectors."""
        return {"user": self._scaled(self._user), "item": self._item}

    def state(self) -> dict[str, np.ndarray]:
        return dict(self._state)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._state = dict(state)
        self._assemble()


def _chosen(features: ItemFeatures, names: tuple[str, ...] | list[str]) -> ItemFeatures:
    missing = [name for name in names if name not in features]
    if missing or not features.matrices:
        cause = f"there are no {' and '.join(missing) or 'item'} features"
        remedy = "Give the data set texts, pictures or ready-made features, or use ranker lightgcn."
        raise RankerError("ranker mmssl", cause, remedy)
    return features.only(names)


def _digest(features: ItemFeatures) -> str:
    total = hashlib.blake2b(digest_size=16)
    for name, matrix in features.matrices.items():
        total.update(name.encode() + np.ascontiguousarray(matrix).tobytes())
    return total.hexdigest()


def _content_state(content: Content) -> dict[str, np.ndarray]:
    was_training = content.training
    content.eval()
    users, items = (side.sum(1).cpu().numpy() for side in content())
    projected = content.projected().cpu().numpy()
    content.train(was_training)
    return {"user_content": users, "item_content": items, "projected": projected}


def _unit_sum(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Scale each modality of ``[n, M * dim]`` to length 1 and return their sum ``[n, dim]``."""
    parts = vectors.reshape(len(vectors), -1, dim)
    return (parts / np.maximum(np.linalg.norm(parts, axis=2, keepdims=True), 1e-12)).sum(1)
