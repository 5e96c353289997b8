"""Low-rank weights beside a language model (LoRA, Hu et al. 2022): they alone learn, the model stays as it is."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from torch import nn

from recsys.core.errors import ConfigError

LORA = "lora_"  # in the names of the weights that peft adds


def twin(model: Any) -> Any:
    """Return a frozen model that shares the numbers of ``model`` and nothing else: what is added is its own."""
    shared: dict[int, Any] = {id(one): nn.Parameter(one.detach(), requires_grad=False) for one in model.parameters()}
    return copy.deepcopy(model, {**shared, **{id(one): one for one in model.buffers()}}).eval()


def with_lora(model: Any, rank: int, alpha: float, targets: str) -> Any:
    """Put LoRA weights into a model.

    Raises:
        ConfigError: ``peft`` is not installed, or no layer is called as ``targets`` says.
    """
    try:
        import peft
    except ModuleNotFoundError:
        raise ConfigError("query writer", "the package 'peft' is not installed", "Run: make setup") from None
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, task_type="CAUSAL_LM")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between the two libraries
            return peft.get_peft_model(model, config).eval()
    except ValueError as error:
        first = str(error).splitlines()[0].rstrip(".")[:300]
        raise ConfigError(f"query writer targets {targets!r}", first, "Such as all-linear.") from None
