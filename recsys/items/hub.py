"""Models of ``transformers``, from a folder or by name from the hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsys.core.runtime import Run


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' own progress bars: they go to standard error, asked or not."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_text_model(folder: Path) -> tuple[Any, Any]:
    """Return tokenizer and model of a folder."""
    from transformers import AutoModel, AutoTokenizer

    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        return tokenizer, AutoModel.from_pretrained(str(folder), local_files_only=True).eval()


def mean_pooled(
    tokenizer: Any, model: Any, texts: Sequence[str], batch_size: int, max_tokens: int, *, run: Run
) -> np.ndarray:
    """Return float32 ``[n, hidden]``: the mean of the last hidden states over the tokens, scaled to length 1."""
    import torch

    device = run.torch_device()
    model.to(device)
    parts = []
    for start in range(0, len(texts), batch_size):
        tokens = tokenizer(
            list(texts[start : start + batch_size]), padding=True, truncation=True,
            max_length=max_tokens, return_tensors="pt",
        ).to(device)  # fmt: skip
        with torch.inference_mode():
            hidden = model(**tokens).last_hidden_state  # [B, length, hidden]
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1)  # [B, hidden]
        parts.append(torch.nn.functional.normalize(pooled, dim=1).cpu().numpy())
    return np.concatenate(parts)
