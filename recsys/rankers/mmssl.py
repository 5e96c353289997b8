"""MMSSL: multi-modal self-supervised learning (Wei, Huang, Xia, Zhang, WWW 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from pydantic import Field, model_validator

from recsys.core.protocols import Validator
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Histories, Interactions, ItemFeatures
from recsys.rankers.mmssl_batches import Batch, Batches
from recsys.rankers.mmssl_module import MMSSLModule
from recsys.rankers.multimodal import ContentRanker, _digest, read_content
from recsys.rankers.training import fit_module
from recsys.rankers.vectors import VectorSettings


class MMSSL(ContentRanker):
    """LightGCN whose embeddings know what content says of who may like what.

    Content is passed over the interactions (``f``), finds each user the items most like it (modality graphs), and
    those graphs give every node one more embedding a modality (``e``). Attention over the modalities joins them:

        E0 = E + id_residual * unit(attention(e)),  h = LightGCN(E0) + modality_residual * sum_m unit(f_m)

    Losses besides the main one: a critic (WGAN-GP) that the rows of ``f`` should take for observed rows, and a
    contrast between users' ``h`` and ``e``. The paper's main term is ``loss="bpr", similarity="dot", temperature=1``.
    An item that nobody took has no embedding of its own: content and the users who are linked to it speak for it.
    Unlike the released code nothing here is a dense user-item matrix: the critic sees sampled columns, and
    neighbours are searched chunk by chunk. Generated rows keep the places of the observed interactions (which would
    be told from observed ones by the holes), and are left out where neighbours are chosen.
    """

    title = "mmssl"

    class Settings(VectorSettings):
        modalities: tuple[str, ...] = Field((), description="Item features to read; empty: all there are.")
        num_layers: int = Field(2, ge=0, description="Propagation steps over the interactions.")
        dropout: float = Field(0.2, ge=0, lt=1, description="Share of projected features dropped in training.")
        modality_residual: float = Field(
            0.2, ge=0, description="Weight of content in the final vectors (paper: 0.55); 0: none."
        )
        id_residual: float = Field(0.36, ge=0, description="Weight of the modality graphs in the embeddings; 0: none.")
        attention: bool = Field(True, description="Join modalities by attention; otherwise by their mean.")
        heads: int = Field(1, ge=1, description="Attention heads (paper: 4); divides embedding_dim.")
        neighbours: int = Field(10, ge=1, description="Items a user is linked to in each modality graph.")
        refresh: int = Field(5, ge=1, description="Epochs between two searches for those items.")
        candidates: int = Field(8192, ge=1, description="Items looked at in a search, drawn anew where there are more.")
        contrast: float = Field(
            0.003, ge=0, description="Weight of the contrast with the modality graphs (paper: 0.03); 0: none."
        )
        contrast_temperature: float = Field(0.5, gt=0, description="Cosines are divided by it in the contrast.")
        adversarial: float = Field(1e-3, ge=0, description="Weight of pleasing the critic; 0: no critic.")
        critic_users: int = Field(64, ge=1, description="Rows that the critic is shown a step.")
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

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Learn by mini-batches; the critic is trained a step before each.

        Raises:
            RankerError: there is no item feature, or not the ones wanted.
        """
        settings, device = self.settings, run.torch_device()
        content = read_content(features, settings.modalities, train.n_items, self.title)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.key("init"))
            module = self._module(train, content, device)
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
            run=run, title=self.title, data=train.digest + _digest(content),
        )  # fmt: skip
        self._keep(module)
        return log

    def _module(self, train: Interactions, content: Mapping[str, np.ndarray], device: torch.device) -> MMSSLModule:
        return MMSSLModule(train, content, self.settings, device)

    def _fold_in(self, histories: Histories) -> np.ndarray:
        """A new user linked to the items of the history gets their layers, as in LightGCN, and their content."""
        content = self._by_modality(histories.matrix() @ self._arrays["projected"])
        return super()._fold_in(histories) + self._weighed(content, content)

    def _brought(self, item_idx: np.ndarray, length: int) -> np.ndarray:
        content = self._by_modality(self._arrays["projected"][item_idx])
        first = np.unique(item_idx, return_index=True)[1]
        return super()._brought(item_idx, length) + self._weighed(content, content[first].sum(0, keepdims=True))

    def _by_modality(self, projected: np.ndarray) -> np.ndarray:
        dim = self.settings.embedding_dim
        return projected.reshape(len(projected), projected.shape[1] // dim, dim)  # [n, M, dim]

    def _weighed(self, content: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Return what ``content`` adds to final vectors where each modality is scaled by the length of ``whole``."""
        lengths = np.maximum(np.linalg.norm(whole, axis=2, keepdims=True), 1e-12)
        return self.settings.modality_residual * (content / lengths).sum(1)  # [n, dim]
