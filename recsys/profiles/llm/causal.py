"""Writing and scoring with a causal model of ``transformers``: batches padded on the left, prompts read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from recsys.core.runtime import Run
from recsys.items.hub import quiet_transformers
from recsys.profiles.llm.protocol import Answer, LanguageModelError, Likelihoods, Prompt

AT_ONCE = 16  # choices scored in one pass


class Causal:
    """A causal model and its tokenizer.

    Args:
        model: of ``transformers``, ready to infer.
        tokenizer: its tokenizer; a chat template is used where there is one.
        name: for messages.
        batch_size: prompts answered at a time.
        repetition_penalty: above 1 the model says less again what it read or said.
        temperature: of drawn answers.
    """

    def __init__(
        self, model: Any, tokenizer: Any, name: str, batch_size: int, repetition_penalty: float, temperature: float
    ) -> None:
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.batch_size, self.repetition_penalty, self.temperature = batch_size, repetition_penalty, temperature

    @cached_property
    def pad(self) -> int:
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, self.tokenizer.unk_token_id, 0)
        return next(one for one in known if one is not None)

    @cached_property
    def stops(self) -> list[int]:
        """Tokens that end an answer: what the tokenizer, and what the model's own settings say."""
        told = getattr(self.model.generation_config, "eos_token_id", None)
        found = [*(told if isinstance(told, list) else [told]), self.tokenizer.eos_token_id]
        return list(dict.fromkeys(one for one in found if one is not None))

    @cached_property
    def longest(self) -> int:
        """Tokens that the model can look at."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 2**31)

    def text(self, prompt: Prompt) -> str:
        """Return what the model reads; a chat without a template becomes plain lines."""
        if isinstance(prompt, str):
            return prompt
        turns = [{"role": one.role, "content": one.content} for one in prompt]
        if self.tokenizer.chat_template:
            return self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return "\n".join([*(f"{one.role}: {one.content}" for one in prompt), "assistant:"])

    def tokens(self, prompt: Prompt) -> list[int]:
        """Return a prompt's tokens; a chat's template has its own beginning, so none is added."""
        templated = not isinstance(prompt, str) and bool(self.tokenizer.chat_template)
        return self.tokenizer(self.text(prompt), add_special_tokens=not templated)["input_ids"] or [self.pad]

    def answers(
        self, prompts: Sequence[Prompt], *, max_tokens: int, seed: int | None, run: Run
    ) -> Iterator[tuple[int, Answer]]:
        """Yield answers batch by batch, prompts of like length together."""
        rows = [self.tokens(prompt) for prompt in prompts]
        for row in rows:
            self._check_length(len(row) + max_tokens)
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        size = self.batch_size if seed is None else 1  # drawn alone, an answer does not depend on its neighbours
        for start in range(0, len(order), size):
            places = order[start : start + size]
            written = self._write([rows[place] for place in places], max_tokens, seed, run)
            for place, tokens in zip(places, written, strict=True):
                text = self.tokenizer.decode(tokens, skip_special_tokens=True).strip()
                yield place, Answer(text, len(rows[place]), len(tokens))

    def _write(self, rows: Sequence[list[int]], max_tokens: int, seed: int | None, run: Run) -> list[list[int]]:
        """Return the tokens that follow each row, without what stopped them."""
        import torch

        device = run.torch_device()
        longest = max(map(len, rows))
        ids = torch.tensor([[self.pad] * (longest - len(row)) + row for row in rows], device=device)  # [B, length]
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
        how: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if seed is not None:
            how = {"do_sample": True, "temperature": self.temperature, "top_p": 0.9, "top_k": 0}
        state = torch.random.get_rng_state()
        with torch.inference_mode(), quiet_transformers():
            if seed is not None:
                torch.manual_seed(run.key("llm", seed, *rows[0]))
            whole = self.model.to(device).generate(
                ids, attention_mask=mask, max_new_tokens=max_tokens, use_cache=True, pad_token_id=self.pad,
                eos_token_id=self.stops or None, repetition_penalty=self.repetition_penalty, **how,
            )  # fmt: skip
        torch.random.set_rng_state(state)
        return [self._until_stop(row) for row in whole[:, longest:].tolist()]

    def _until_stop(self, tokens: list[int]) -> list[int]:
        ends = [place for place, token in enumerate(tokens) if token in self.stops]
        return tokens[: ends[0]] if ends else tokens

    def score(self, prompt: Prompt, choices: Sequence[str], *, run: Run) -> Likelihoods:
        """Return likelihoods of choices; the prompt is read once and its keys and values serve all of them."""
        import torch

        read = self.tokens(prompt)
        rows = [self.tokenizer(choice, add_special_tokens=False)["input_ids"] for choice in choices]
        if not rows or not all(rows):
            raise LanguageModelError(f"choices for {self.name}", "one is empty", "Give choices of at least one token.")
        self._check_length(len(read) + max(map(len, rows)))
        device = run.torch_device()
        self.model.to(device)
        log = []
        with torch.inference_mode():
            seen = self.model(torch.tensor([read], device=device), use_cache=True)
            first = seen.logits[0, -1].float().log_softmax(-1)  # [vocabulary]
            for start in range(0, len(rows), AT_ONCE):
                log += self._follow(seen.past_key_values, first, rows[start : start + AT_ONCE], len(read))
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        return Likelihoods(np.array(log, dtype=np.float64), lengths, len(read) + int(lengths.sum()))

    def _follow(self, cache: Any, first: Any, rows: Sequence[list[int]], n_read: int) -> list[float]:
        """Return the log-probability of each row after what ``cache`` holds; ``first`` is that of first tokens."""
        import copy

        import torch

        longest, device = max(map(len, rows)), first.device
        told = [first[row[0]].item() for row in rows]
        if longest == 1:
            return told
        ids = torch.tensor([row + [self.pad] * (longest - len(row)) for row in rows], device=device)  # [B, longest]
        own = copy.deepcopy(cache)  # a pass writes into it
        own.batch_repeat_interleave(len(rows))
        mask = torch.tensor([[1] * (n_read + len(row)) + [0] * (longest - len(row)) for row in rows], device=device)
        logits = self.model(ids, attention_mask=mask, past_key_values=own, use_cache=True).logits.float()
        log = logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0].tolist()  # [B, longest - 1]
        return [start + sum(rest[: len(row) - 1]) for start, rest, row in zip(told, log, rows, strict=True)]

    def _check_length(self, n_tokens: int) -> None:
        if n_tokens > self.longest:
            cause = f"{n_tokens} tokens to read and write, and it looks at {self.longest} at most"
            raise LanguageModelError(f"language model {self.name}", cause, "Shorten the prompt, or use another model.")
