"""What learned rankers that read item features share: reading them, and scoring with others in their place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch

from recsys.core.errors import RankerError
from recsys.core.protocols import Validator
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Interactions, ItemFeatures
from recsys.rankers.content import chosen_features
from recsys.rankers.vectors import VectorModule, VectorRanker, VectorSettings

LEARNED, SIZE = "learned.", "size."  # of the keys in the state that hold parameters, and numbers in a feature row


class ContentModule(VectorModule):
    """Parameters that item features are read by; made anew from ``train`` and the features, then filled.

    Attributes:
        train_data: what it was made from.
        content_sizes: numbers in a feature row, by modality.
    """

    train_data: Interactions
    content_sizes: Mapping[str, int]

    def __init__(self, train: Interactions, content: Mapping[str, np.ndarray], settings: VectorSettings) -> None:
        super().__init__()
        self.settings, self.train_data, self.n_users = settings, train, train.n_users
        self.content_sizes = {name: matrix.shape[1] for name, matrix in content.items()}
        self.only_trained(train)
        counts = train.item_counts
        scale = torch.from_numpy(np.maximum(counts, 1).astype(np.float32) ** -0.5).unsqueeze(1)
        self.register_buffer("fold_scale", scale, persistent=False)
        self.register_buffer("trained", torch.from_numpy(counts > 0).unsqueeze(1), persistent=False)

    def adopt(self, learned: Mapping[str, np.ndarray]) -> None:
        """Take over what another module of this kind learned."""
        self.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in learned.items()})


class ContentRanker(VectorRanker):
    """Keeps its parameters and the train interactions beside the vectors, so that features can be swapped.

    Subclasses give ``title`` and ``_module``.
    """

    uses_features: ClassVar[bool] = True
    title: ClassVar[str]
    settings: Any

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Learn by mini-batches: pairs for ``bpr``, users with all their items for ``softmax``.

        Raises:
            RankerError: no item features, or none of the modalities of the settings.
        """
        content = read_content(features, self.settings.modalities, train.n_items, self.title)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.key("init"))
            module = self._module(train, content, run.torch_device())
        return self._learn(
            module, train, valid=valid, run=run, title=self.title, data=_digest(content), trained_only=True,
            begin=self._epoch_begin(module, run), features=features.only(tuple(content)),
        )  # fmt: skip

    def _module(self, train: Interactions, content: Mapping[str, np.ndarray], device: torch.device) -> ContentModule:
        raise NotImplementedError

    def _epoch_begin(self, module: ContentModule, run: Run) -> Callable[[int], None] | None:
        return None

    def _keep(self, module: ContentModule) -> None:
        super()._keep(module)
        learned = {LEARNED + name: value.cpu().numpy().copy() for name, value in module.state_dict().items()}
        sizes = {SIZE + name: np.array([size], dtype=np.int64) for name, size in module.content_sizes.items()}
        self._arrays |= learned | sizes | _edges(module.train_data)

    def with_features(self, features: ItemFeatures) -> Self:
        """Return a ranker with the same learned numbers that reads ``features`` instead.

        Raises:
            RankerError: other modalities or sizes than those learned from.
        """
        train = _interactions(self._arrays)
        sizes = {key[len(SIZE) :]: int(value[0]) for key, value in self._arrays.items() if key.startswith(SIZE)}
        for name, size in sizes.items():
            found = features[name].shape if name in features else "none"
            if found != (train.n_items, size):
                raise RankerError(
                    f"item features {name!r}", f"{self.title} learned from {(train.n_items, size)}, here are {found}",
                    "Give the same modalities in the same sizes, NaN rows where an item has none.",
                )  # fmt: skip
        other = type(self)(self.settings)
        with torch.random.fork_rng(devices=[]):  # first numbers are drawn, and overwritten
            module = other._module(train, {name: features.unit(name) for name in sizes}, torch.device("cpu"))
        learned = {key[len(LEARNED) :]: value for key, value in self._arrays.items() if key.startswith(LEARNED)}
        module.adopt(learned)
        module.eval()
        other._keep(module)
        return other


def read_content(features: ItemFeatures, modalities: Sequence[str], n_items: int, title: str) -> dict[str, np.ndarray]:
    """Return unit rows ``[n_items, dim]`` by modality, those of items without it 0.

    Raises:
        RankerError: there are none, one named is not there, or the rows are not the items.
    """
    chosen = chosen_features(features, modalities, title)
    for name, matrix in chosen.matrices.items():
        if len(matrix) != n_items:
            raise RankerError(
                f"item features {name!r}", f"have {len(matrix)} rows for {n_items} items", "Give one row an item."
            )
    return {name: chosen.unit(name) for name in chosen.matrices}


def xavier(n_in: int, n_out: int) -> torch.Tensor:
    """Return initial weights ``[n_in, n_out]``, uniform with variance ``2 / (n_in + n_out)`` (Glorot & Bengio 2010)."""
    bound = (6 / (n_in + n_out)) ** 0.5
    return torch.empty(n_in, n_out).uniform_(-bound, bound)


def _digest(content: Mapping[str, np.ndarray]) -> str:
    total = hashlib.blake2b(digest_size=16)
    for name, matrix in content.items():
        total.update(name.encode())
        total.update(np.ascontiguousarray(matrix).tobytes())
    return total.hexdigest()


def _edges(train: Interactions) -> dict[str, np.ndarray]:
    matrix = train.matrix
    return {"train_indptr": matrix.indptr.astype(np.int64), "train_items": matrix.indices.astype(np.int32)}


def _interactions(state: Mapping[str, np.ndarray]) -> Interactions:
    n_users, n_items = len(state["user"]), len(state["item"])
    users = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(state["train_indptr"]))
    return Interactions(users, state["train_items"], n_users, n_items)
