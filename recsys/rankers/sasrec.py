"""SASRec (Kang & McAuley, ICDM 2018) trained with cross-entropy over the whole catalogue.

The full softmax in place of one sampled negative is what makes SASRec strong
(Klenitskiy & Vasilev, RecSys 2023; Petrov & Macdonald, RecSys 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from recsys.core.errors import RankerError
from recsys.core.protocols import Validator
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Histories, Interactions, ItemFeatures, Query
from recsys.rankers.losses import weighted_logsumexp
from recsys.rankers.sharing import RowDropout, Sharing, rows_of
from recsys.rankers.training import TrainingSettings, fit_module

SCORE_ROWS = 512


class SASRec:
    """A causal transformer reads a history, oldest first, and predicts the next item at every place."""

    class Settings(TrainingSettings):
        batch_size: int = Field(128, ge=1, description="Windows of a history a step.")
        embedding_dim: int = Field(64, ge=1, description="Numbers in an embedding.")
        num_layers: int = Field(2, ge=1, description="Transformer blocks.")
        num_heads: int = Field(2, ge=1, description="Attention heads; must divide embedding_dim.")
        feedforward: int = Field(4, ge=1, description="Width of the feed-forward layer, in embedding_dim.")
        dropout: float = Field(0.3, ge=0, lt=1, description="On embeddings and on the output of each sub-layer.")
        max_length: int = Field(50, ge=1, description="Items read at most; longer histories train as several windows.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Learn every next item of every history; needs the order of time.

        Raises:
            RankerError: no timestamps, or no user with two interactions.
        """
        if train.timestamp is None:
            cause = "it learns from the order in time, and these interactions have no timestamps"
            raise RankerError("ranker sasrec", cause, "Name the source's column of times, or choose another ranker.")
        windows = Windows.of(train.histories, self.settings.max_length)
        if not len(windows):
            raise RankerError("ranker sasrec", "no user has two train interactions", "Use another ranker or split.")
        device = run.torch_device()
        self._module = self._new_module(train.n_items, run)

        def batches(epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for inputs, targets in windows.batches(self.settings.batch_size, run.rng("order", epoch)):
                yield inputs.to(device), targets.to(device)

        return fit_module(
            self._module, settings=self.settings, batches=batches, loss=self._module.loss,
            validate=(lambda: valid(self)) if valid else None, metric=valid.metric if valid else None,
            run=run, title="sasrec", data=train.digest,
            sharing=Sharing(SASRec(self.settings), train, ItemFeatures(), self._module.divided),
        )  # fmt: skip

    def _new_module(self, n_items: int, run: Run) -> SASRecModule:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.key("init"))
            return SASRecModule(n_items, self.settings)

    @torch.no_grad()
    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]`` from the last ``max_length`` items; zeros for an empty history."""
        device = self._module.item.device
        scores = np.zeros((len(query), query.histories.n_items), dtype=np.float32)
        lengths = np.diff(query.histories.indptr)
        order = np.argsort(lengths, kind="stable")  # histories of like length together: little padding
        order = order[lengths[order] > 0]
        for start in range(0, len(order), SCORE_ROWS):
            rows = order[start : start + SCORE_ROWS]
            inputs, last = _last_items(query.histories.take(rows), self.settings.max_length)
            hidden = self._module(inputs.to(device))[torch.arange(len(rows)), last]  # [rows, dim]
            scores[rows] = (hidden @ self._module.item[:-1].T).cpu().numpy()
        return scores

    def embeddings(self) -> Mapping[str, np.ndarray]:
        """Return the ``item`` vectors ``[n_items, dim]``; users have none of their own."""
        return {"item": self._module.item[:-1].detach().cpu().numpy()}

    def state(self) -> dict[str, np.ndarray]:
        return {name: tensor.detach().cpu().numpy() for name, tensor in self._module.state_dict().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._module = self._new_module(len(state["item"]) - 1, Run())
        self._module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})
        self._module.eval()


class SASRecModule(torch.nn.Module):
    """The parameters. Row ``n_items`` of ``item`` pads short windows and is never read by a real place."""

    def __init__(self, n_items: int, settings: SASRec.Settings) -> None:
        super().__init__()
        dim = settings.embedding_dim
        if dim % settings.num_heads:
            raise RankerError(
                "setting ranker.num_heads",
                f"{settings.num_heads} does not divide embedding_dim {dim}",
                "Use a divisor.",
            )
        self.n_items = n_items
        self.item = torch.nn.Parameter(torch.randn(n_items + 1, dim) * dim**-0.5)
        self.position = torch.nn.Parameter(torch.randn(settings.max_length, dim) * 0.02)
        self.blocks = torch.nn.ModuleList(Block(settings) for _ in range(settings.num_layers))
        self.norm = torch.nn.LayerNorm(dim)
        self.dropout = RowDropout(settings.dropout)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return ``[B, length, dim]`` for int64 ``[B, length]``; padding on the right, so causality hides it."""
        x = self.item[inputs] + self.position[: inputs.shape[1]]
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the mean cross-entropy of the real places: ``-log softmax_i(h_t . e_i)`` at the next item."""
        inputs, targets = batch  # [B, length] each
        real = (targets != self.n_items).flatten().nonzero().squeeze(1)
        hidden = self(inputs).flatten(0, 1).index_select(0, real)  # [n_real, dim]
        catalogue, wanted = self.item[:-1], targets.flatten()[real]
        weights = torch.full((len(real),), 1.0 / len(real), device=hidden.device)
        agreement = (hidden * catalogue.index_select(0, wanted)).sum() / len(real)
        return weighted_logsumexp(hidden, catalogue, weights) - agreement

    def divided(
        self, batch: tuple[torch.Tensor, torch.Tensor], rank: int, size: int
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], float]:
        """Return a rank's windows of a batch, and its share of the real places; dropout is then that of those."""
        inputs, targets = batch
        rows = rows_of(len(inputs), rank, size)
        for layer in self.modules():
            if isinstance(layer, RowDropout):
                layer.part = rows and (rows, len(inputs))
        if rows is None:
            return batch, 1 / size
        real = targets != self.n_items
        return (inputs[rows], targets[rows]), float(real[rows].sum() / real.sum())


class Block(torch.nn.Module):
    """Causal self-attention and a feed-forward layer, each normalised before and added back."""

    def __init__(self, settings: SASRec.Settings) -> None:
        super().__init__()
        dim = settings.embedding_dim
        self.num_heads = settings.num_heads
        self.attention_norm, self.feedforward_norm = torch.nn.LayerNorm(dim), torch.nn.LayerNorm(dim)
        self.project_in, self.project_out = torch.nn.Linear(dim, 3 * dim), torch.nn.Linear(dim, dim)
        self.widen = torch.nn.Linear(dim, settings.feedforward * dim)
        self.narrow = torch.nn.Linear(settings.feedforward * dim, dim)
        self.dropout = RowDropout(settings.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.dropout(self._attend(self.attention_norm(x)))
        return x + self.dropout(self.narrow(F.relu(self.widen(self.feedforward_norm(x)))))

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        size, length, dim = x.shape
        heads = self.project_in(x).view(size, length, 3, self.num_heads, dim // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # [B, heads, length, head_dim] each
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.project_out(mixed.transpose(1, 2).reshape(size, length, dim))


@dataclass(frozen=True)
class Windows:
    """Histories cut into windows that end where the history ends; every next item is a target once.

    Attributes:
        indptr: int64 ``[n_windows + 1]``.
        inputs, targets: int64 ``[n_targets]``, item row numbers.
        n_items: also the number that pads.
    """

    indptr: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    n_items: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def of(cls, histories: Histories, max_length: int) -> Windows:
        """Cut from the end, so that the newest window of a user is the longest."""
        n_targets = np.maximum(np.diff(histories.indptr) - 1, 0)
        owner = np.repeat(np.arange(len(histories)), n_targets)
        ends = np.cumsum(n_targets)
        place = np.arange(len(owner)) - (ends - n_targets)[owner]  # 0, 1, … within the user
        from_end = n_targets[owner] - 1 - place
        source = histories.indptr[owner] + place
        starts = (place == 0) | ((from_end + 1) % max_length == 0)
        indptr = np.append(np.flatnonzero(starts), len(owner))
        return cls(indptr, histories.items[source], histories.items[source + 1], histories.n_items)

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield ``inputs, targets`` int64 ``[<= size, length]``, windows of like length together, in random order."""
        lengths = np.diff(self.indptr)
        order = rng.permutation(len(self))
        order = order[np.argsort(lengths[order] // 4, kind="stable")]
        for chunk in rng.permutation(-(-len(order) // size)):
            rows = order[chunk * size : (chunk + 1) * size]
            yield _padded(self, rows, self.inputs), _padded(self, rows, self.targets)


def _padded(windows: Windows, rows: np.ndarray, values: np.ndarray) -> torch.Tensor:
    lengths = windows.indptr[rows + 1] - windows.indptr[rows]
    place = np.arange(lengths.max())
    real = place < lengths[:, None]  # [rows, length]
    table = np.full(real.shape, windows.n_items, dtype=np.int64)
    table[real] = values[(windows.indptr[rows][:, None] + place)[real]]
    return torch.from_numpy(table)


def _last_items(histories: Histories, max_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the newest items ``[n, length]``, padded on the right, and the place of the last one ``[n]``."""
    lengths = np.minimum(np.diff(histories.indptr), max_length)
    place = np.arange(lengths.max())
    real = place < lengths[:, None]
    table = np.full(real.shape, histories.n_items, dtype=np.int64)
    first = histories.indptr[1:] - lengths
    table[real] = histories.items[(first[:, None] + place)[real]]
    return torch.from_numpy(table), torch.from_numpy(lengths - 1)
