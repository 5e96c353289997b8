"""The soft half at work: its weights and the embedded language model, loaded when the first picture asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsys.core.errors import ArtifactError
from recsys.core.runtime import Run
from recsys.profiles.llm import make_language_model
from recsys.visuals.request import VisualItem, VisualTaste
from recsys.visuals.shipped import read_weights
from recsys.visuals.soft_half import SoftHalf, Told, Trunk

SOFT_HALF = "soft.safetensors"


def read_soft(folder: Path) -> tuple[SoftHalf, dict[str, Any]]:
    """Return the soft half of a folder of weights, and its facts.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    path = folder / SOFT_HALF
    if not path.is_file():
        remedy = "Set visuals.options.embedded.soft to vector, or train it: experiments/poster_generator/README.md"
        raise ArtifactError(f"weights {path}", "there are none of the soft half", remedy)
    return read_weights(path, SoftHalf)[:2]


class SoftReader:
    """Makes vectors of the condition ``soft`` from a taste and a target.

    Args:
        half: the soft half.
        facts: of it; it is learned with one flow.
        flow: facts of the flow that draws.
        model: name of the language model.
        options: its settings.
        run: device; its log is told when the soft half was learned with another flow.

    Raises:
        ConfigError: no such language model, or setting of one.
    """

    def __init__(
        self, half: SoftHalf, facts: Mapping[str, Any], flow: Mapping[str, Any], model: str,
        options: Mapping[str, Any], *, run: Run,
    ) -> None:  # fmt: skip
        self.half, self.device = half.to(run.torch_device()), run.torch_device()
        self._model = make_language_model(model, options)
        learned, drawn = facts.get("flow", {}).get("id"), flow.get("id")
        if learned != drawn:
            run.log(f"the soft half was learned with flow {learned or 'unnamed'}, not with {drawn}: train it anew")

    @cached_property
    def _trunk(self) -> Trunk:
        trunk = Trunk(*self._model.module(), layers=self.half.settings.layers).to(self.device)
        self.half.check(trunk)
        return trunk

    def __call__(self, target: VisualItem, taste: VisualTaste, user: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return vectors, float32 ``[queries, soft_dim]``.

        Args:
            target: its title is read.
            taste: its keywords are.
            user: the user vector, ``[soft_dim]``.
            rows: liked items in ``TasteSpace``, the most like the target first, ``[n, soft_dim / 2]``.

        Raises:
            LanguageModelError: the language model is not installed.
            ConfigError: it is not the one that the weights were learned with.
        """
        near = rows[: self.half.settings.items]
        words = [word for word, weight in sorted(taste.keywords, key=lambda one: -one[1]) if weight > 0]
        users, items = (torch.from_numpy(one[None]).float().to(self.device) for one in (user, near))
        there = torch.ones(1, len(near), dtype=torch.bool, device=self.device)
        with torch.inference_mode():
            return self.half(Told([words], [target.title], users, items, there), self._trunk)[0].cpu().numpy()
