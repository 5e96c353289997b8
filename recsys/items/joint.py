"""One space for text and pictures: two small heads over frozen encoders, learned on the catalogue's own pairs.

An item's text and its own picture should agree more than with the others of a batch: the symmetric InfoNCE loss
(Oord et al. 2018, eq. 4; Radford et al., ICML 2021, fig. 3). A tenth of the pairs chooses the epoch, another
tenth is never trained on or chosen by, and tells what the space is worth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from recsys.core.artifact import read_arrays, verified, write_arrays
from recsys.core.config import Settings
from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.core.values import TEST, TRAIN, VALID, FitLog, ItemFeatures
from recsys.items.retrieval import pair_figures

ABSENT = 255  # the part of an item without one of the two
LEAST_PAIRS = 50  # fewer would leave nothing to choose or to measure by
LEAST_STEPS = 8  # an epoch; a small catalogue would hardly move otherwise
LARGEST_GROUP = 0.05  # of the pairs; more that share a picture (such as "no picture yet") would be all of a part
METRIC = "mrr"  # chooses the epoch, as the mean of both directions; recall@10 would not see the places
MAX_SCALE = 100.0  # of the logits, as in CLIP
STATE = "joint.safetensors"


class JointSettings(Settings):
    """How the joint space of text and pictures is learned."""

    dim: int = Field(256, ge=1, description="Numbers in a vector of the joint space.")
    hidden: int = Field(0, ge=0, description="Width of a head's hidden layer; 0: linear heads.")
    dropout: float = Field(0.7, ge=0, lt=1, description="Share of a head's inputs (and hidden numbers) left out.")
    learning_rate: float = Field(1e-3, gt=0, description="Step size of AdamW.")
    weight_decay: float = Field(0.1, ge=0, description="Decoupled weight decay of the heads.")
    batch_size: int = Field(1024, ge=2, description="Pairs a step at most; each is compared with the others.")
    epochs: int = Field(60, ge=1, description="Passes over the pairs at most.")
    patience: int = Field(10, ge=1, description="Epochs without a new best on validation before training stops.")
    temperature: float = Field(0.07, gt=0, description="What agreements are divided by at first; it is learned.")


class JointSpace:
    """Text and pictures as unit vectors whose product says how well they fit.

    Attributes:
        part: uint8 ``[n_items]`` once fitted: ``TRAIN``, ``VALID`` or ``TEST``; 255 for items without text or picture.
    """

    Settings = JointSettings

    def __init__(self, settings: JointSettings) -> None:
        self.settings = settings

    def fit(self, features: ItemFeatures, *, run: Run) -> FitLog:
        """Learn from the items that have both ``"text"`` and ``"image"``; the same seed gives the same space.

        Raises:
            DataError: fewer than 50 items have both.
        """
        began = time.perf_counter(), time.process_time()
        self.part = deal(features, run)
        pairs = {name: self._pairs(features, part) for name, part in (("train", TRAIN), ("valid", VALID))}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.key("joint", "init"))
            self._module = JointModule(*pairs["train"], self.settings)
            rows, best = self._learn(*pairs["train"], lambda: self._both_ways(*pairs["valid"]), run)
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        n_parameters = sum(parameter.numel() for parameter in self._module.parameters())
        kept = {name: value for name, value in rows[best - 1].items() if name not in ("epoch", "loss")}
        return FitLog(rows, best, kept, wall, cpu, n_parameters)

    def _pairs(self, features: ItemFeatures, part: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = np.flatnonzero(self.part == part)
        return torch.from_numpy(features["text"][rows]).float(), torch.from_numpy(features["image"][rows]).float()

    def _learn(
        self, text: torch.Tensor, image: torch.Tensor, validate: Callable[[], dict[str, float]], run: Run
    ) -> tuple[list[dict[str, float]], int]:
        """Train the heads, leave the best weights in them, and return the log and the best epoch."""
        module, settings = self._module, self.settings
        optimizer = torch.optim.AdamW(module.groups(), lr=settings.learning_rate)
        rows, best, state = [], 0, None
        for epoch in run.bar(range(1, settings.epochs + 1), "joint space (epochs)"):
            torch.manual_seed(run.key("joint", epoch))
            loss = self._epoch(optimizer, text, image)
            rows.append({"epoch": epoch, "loss": loss, **validate()})
            if not best or rows[-1][METRIC] > rows[best - 1][METRIC]:
                best, state = epoch, {name: value.clone() for name, value in module.state_dict().items()}
            elif epoch - best >= settings.patience:
                break
        module.load_state_dict(state)
        return rows, best

    def _epoch(self, optimizer: torch.optim.Optimizer, text: torch.Tensor, image: torch.Tensor) -> float:
        """Take one step a batch, all pairs once, and return the mean loss."""
        self._module.train()
        steps = max(round(len(text) / self.settings.batch_size), LEAST_STEPS)
        batches = torch.randperm(len(text)).tensor_split(steps)
        total = 0.0
        for batch in batches:
            optimizer.zero_grad()
            loss = self._module.loss(text[batch], image[batch])
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(batch)
        return total / len(text)

    @torch.no_grad()
    def _vectors(self, modality: Literal["text", "image"], x: np.ndarray) -> np.ndarray:
        self._module.eval()
        return self._module.project(modality, torch.from_numpy(np.asarray(x, dtype=np.float32))).numpy()

    def text_vectors(self, x: np.ndarray) -> np.ndarray:
        """Return float32 ``[n, dim]`` of length 1 for text vectors ``[n, text_dim]``; a NaN row stays one."""
        return self._vectors("text", x)

    def image_vectors(self, x: np.ndarray) -> np.ndarray:
        """Return float32 ``[n, dim]`` of length 1 for picture vectors ``[n, image_dim]``; a NaN row stays one."""
        return self._vectors("image", x)

    def _both_ways(self, text: torch.Tensor, image: torch.Tensor) -> dict[str, float]:
        """Return retrieval figures, the mean of text to image and image to text."""
        found = self._measure(text.numpy(), image.numpy())
        one, other = found["text_to_image"], found["image_to_text"]
        return {name: (one[name] + other[name]) / 2 for name in ("mrr", "recall@1", "recall@10")}

    def _measure(self, text: np.ndarray, image: np.ndarray) -> dict[str, dict[str, float]]:
        scores = self.text_vectors(text) @ self.image_vectors(image).T  # [n, n]
        return {"text_to_image": pair_figures(scores), "image_to_text": pair_figures(scores.T)}

    def measure(self, features: ItemFeatures, part: Literal["valid", "test"] = "test") -> dict[str, dict[str, float]]:
        """Return how well texts find their pictures, and pictures their texts, among the pairs of a part.

        Args:
            features: those that it was fitted on.
            part: ``"test"`` pairs were neither trained on nor chosen by.
        """
        text, image = self._pairs(features, {"valid": VALID, "test": TEST}[part])
        return self._measure(text.numpy(), image.numpy())

    def state(self) -> dict[str, np.ndarray]:
        """Return everything ``restore`` needs besides the settings."""
        weights = {name: value.numpy() for name, value in self._module.state_dict().items()}
        return {**weights, "part": self.part}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Become the space that ``state`` came from; vectors are equal to the last bit."""
        sizes = [len(state[f"mean.{name}"]) for name in ("text", "image")]
        self._module = JointModule(*(torch.zeros(2, size) for size in sizes), self.settings)
        weights = {name: torch.from_numpy(np.array(value)) for name, value in state.items() if name != "part"}
        self._module.load_state_dict(weights)
        self.part = state["part"]

    def save(self, folder: Path) -> None:
        """Write the state into ``folder``.

        Raises:
            OSError: the disk is full or read-only.
        """
        write_arrays(folder / STATE, self.state())

    @classmethod
    def load(cls, folder: Path, settings: JointSettings) -> JointSpace:
        """Read what ``save`` wrote.

        Raises:
            ArtifactError: the file is missing or damaged.
        """
        space = cls(settings)
        space.restore(read_arrays(verified(folder) / STATE))
        return space


class JointModule(torch.nn.Module):
    """The two heads and the temperature. Inputs are standardised by the training pairs they were made with."""

    def __init__(self, text: torch.Tensor, image: torch.Tensor, settings: JointSettings) -> None:
        super().__init__()
        inputs = {"text": text, "image": image}
        self.heads = torch.nn.ModuleDict({name: _head(x.shape[1], settings) for name, x in inputs.items()})
        self.mean, self.scale = Buffers(), Buffers()
        for name, x in inputs.items():
            self.mean.register_buffer(name, x.mean(0))
            self.scale.register_buffer(name, 1.0 / x.std(0).clamp_min(1e-6))
        self.weight_decay = settings.weight_decay
        self.log_scale = torch.nn.Parameter(torch.tensor(1.0 / settings.temperature).log())

    def groups(self) -> list[dict]:
        """Return the optimizer's groups: only the heads decay."""
        heads = {"params": list(self.heads.parameters()), "weight_decay": self.weight_decay}
        return [heads, {"params": [self.log_scale], "weight_decay": 0.0}]

    def project(self, modality: str, x: torch.Tensor) -> torch.Tensor:
        """Return unit vectors ``[n, dim]`` of inputs ``[n, inputs]``."""
        standard = (x - self.mean.get_buffer(modality)) * self.scale.get_buffer(modality)
        return F.normalize(self.heads[modality](standard), dim=1)

    def loss(self, text: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Return the symmetric InfoNCE loss of a batch of pairs, ``[B, text_dim]`` and ``[B, image_dim]``."""
        scale = self.log_scale.exp().clamp(max=MAX_SCALE)
        logits = self.project("text", text) @ self.project("image", image).T * scale  # [B, B]
        own = torch.arange(len(text))
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


class Buffers(torch.nn.Module):
    """A place for tensors that are kept and not trained."""


def _head(inputs: int, settings: JointSettings) -> torch.nn.Module:
    drop = torch.nn.Dropout(settings.dropout)
    if not settings.hidden:
        return torch.nn.Sequential(drop, torch.nn.Linear(inputs, settings.dim))
    first, last = torch.nn.Linear(inputs, settings.hidden), torch.nn.Linear(settings.hidden, settings.dim)
    return torch.nn.Sequential(drop, first, torch.nn.GELU(), drop, last)


def deal(features: ItemFeatures, run: Run) -> np.ndarray:
    """Return the part of each item, uint8 ``[n_items]``: 8:1:1 of those that have text and picture, else 255.

    Pairs that share a picture or a text go together: the space must not be measured on what it has seen. A group
    that would fill half of a part goes to train.

    Raises:
        DataError: fewer than 50 groups of items have both.
    """
    rows, group = _groups(features)
    sizes = np.bincount(group)
    if len(sizes) < LEAST_PAIRS:
        raise DataError(
            "joint space of text and pictures",
            f"{len(rows)} items have both, of which {len(sizes)} differ, and {LEAST_PAIRS} are needed",
            "Give the items pictures and texts of their own, or search by text alone: --by text",
        )
    small = np.flatnonzero(sizes <= max(1, LARGEST_GROUP * len(rows)))
    place = np.ones(len(sizes))
    place[run.rng("joint", "parts").permutation(small)] = np.arange(len(small)) / len(small)
    part = np.full(len(features["text"]), ABSENT, dtype=np.uint8)
    part[rows] = np.where(place < 0.1, TEST, np.where(place < 0.2, VALID, TRAIN))[group]
    return part


def _groups(features: ItemFeatures) -> tuple[np.ndarray, np.ndarray]:
    """Return the items with both, and the group of each: equal text or picture, and so on from pair to pair."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    both = [features.present(name) for name in ("text", "image") if name in features]
    rows = np.flatnonzero(both[0] & both[1]) if len(both) == 2 else np.zeros(0, dtype=np.int64)
    if not len(rows):
        return rows, rows
    texts, images = (np.unique(features[name][rows], axis=0, return_inverse=True)[1] for name in ("text", "image"))
    size = texts.max() + 1 + images.max() + 1
    links = coo_array((np.ones(len(rows)), (texts, images + texts.max() + 1)), shape=(size, size))
    return rows, np.unique(connected_components(links, directed=False)[1][texts], return_inverse=True)[1]
