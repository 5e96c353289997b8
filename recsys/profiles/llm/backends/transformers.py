"""Any causal language model of ``transformers``, from a folder or by name from the hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.runtime import Run
from recsys.items.hub import Pretrained
from recsys.profiles.llm.causal import Causal
from recsys.profiles.llm.protocol import Answer, Likelihoods, Prompt


class CausalLM:
    """A causal model by folder or hub name; safetensors only, none of its code is run."""

    class Settings(BaseSettings):
        model: str = Field(description="Folder of a model, or its name on the hub.")
        revision: str | None = Field(
            None, description="Commit, tag or branch on the hub [what the cache has, or newest]."
        )
        batch_size: int = Field(8, ge=1, description="Prompts answered at a time.")
        repetition_penalty: float = Field(1.0, ge=1, description="Above 1 it says less again what it read or said.")
        temperature: float = Field(0.7, gt=0, description="Of answers that are drawn with a seed.")
        dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="What it computes in.")
        writes: bool = Field(
            True, description="Whether it is asked for text; else it only chooses among what code wrote."
        )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._files = Pretrained(settings.model, settings.revision)

    @property
    def writes_freely(self) -> bool:
        return self.settings.writes

    def identity(self) -> str:
        settings = self.settings
        how = f"{settings.dtype}, {settings.repetition_penalty:g}, {settings.temperature:g}"
        return f"{self._files.identity} ({how})"

    def module(self) -> tuple[Any, Any]:
        """Return ``(model, tokenizer)``."""
        return self._causal.model, self._causal.tokenizer

    @cached_property
    def _causal(self) -> Causal:
        import torch

        settings = self.settings
        model = self._files.weights("AutoModelForCausalLM", dtype=getattr(torch, settings.dtype))[0]
        return Causal(
            model, self._files.tokenizer(), settings.model, settings.batch_size, settings.repetition_penalty,
            settings.temperature,
        )  # fmt: skip

    def answers(
        self, prompts: Sequence[Prompt], *, max_tokens: int, seed: int | None, run: Run
    ) -> Iterator[tuple[int, Answer]]:
        yield from self._causal.answers(prompts, max_tokens=max_tokens, seed=seed, run=run)

    def score(self, prompt: Prompt, choices: Sequence[str], *, run: Run) -> Likelihoods:
        return self._causal.score(prompt, choices, run=run)

    def count_tokens(self, prompt: Prompt) -> int:
        return len(self._causal.tokens(prompt))
