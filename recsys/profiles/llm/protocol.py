"""What a language model takes and gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from recsys.core.errors import RecsysError

if TYPE_CHECKING:
    from recsys.core.config import Settings
    from recsys.core.runtime import Run


class LanguageModelError(RecsysError):
    """A language model that cannot be loaded or reached, or that answers with what cannot be used."""


@dataclass(frozen=True)
class Message:
    """One turn of a talk."""

    role: Literal["system", "user", "assistant"]
    content: str


Chat = tuple[Message, ...]
Prompt = str | Chat  # a plain text is continued, a chat is answered


def ask(system: str, *turns: str) -> Chat:
    """Return a chat: the user's question, or examples (question, answer, …) and then the question."""
    roles = ("user", "assistant")
    return (Message("system", system), *(Message(roles[place % 2], text) for place, text in enumerate(turns)))


@dataclass(frozen=True)
class Answer:
    """What a model wrote, and how much it read and wrote for it."""

    text: str
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True)
class Likelihoods:
    """Log-probabilities of choices after a prompt, float64 ``[n_choices]``, with each choice's number of tokens."""

    log: np.ndarray
    lengths: np.ndarray
    tokens_in: int

    def mean(self) -> np.ndarray:
        """Return the log-probability a token, by which long choices can be compared with short ones."""
        return self.log / np.maximum(self.lengths, 1)


class LanguageModel(Protocol):
    """A backend: one file in ``llm/backends``, made as ``Plugin(settings)``; making one is cheap."""

    Settings: ClassVar[type[Settings]]
    settings: Settings
    writes_freely: bool  # whether its free text is worth asking for; else it only chooses

    def identity(self) -> str:
        """Return what answers depend on besides prompt and parameters: the weights, by version or hash."""
        ...

    def answers(
        self, prompts: Sequence[Prompt], *, max_tokens: int, seed: int | None, run: Run
    ) -> Iterator[tuple[int, Answer]]:
        """Yield ``(place of the prompt, answer)`` as they come, in any order.

        ``seed`` none: the likeliest token each time; else drawn, the same for the same seed and prompt.

        Raises:
            LanguageModelError: it cannot be loaded or reached; answers that were yielded before stay good.
        """
        ...

    def score(self, prompt: Prompt, choices: Sequence[str], *, run: Run) -> Likelihoods:
        """Return how likely each choice follows the prompt.

        Raises:
            LanguageModelError: it cannot be loaded or reached, or does not tell likelihoods.
        """
        ...

    def count_tokens(self, prompt: Prompt) -> int:
        """Return how many tokens a prompt has; an estimate where the tokenizer is elsewhere."""
        ...


@runtime_checkable
class HasModule(Protocol):
    """A model in this process, for what works on its embeddings (soft tokens)."""

    def module(self) -> tuple[Any, Any]:
        """Return ``(model, tokenizer)`` of transformers, loaded once; float32, ready to infer, on the CPU."""
        ...
