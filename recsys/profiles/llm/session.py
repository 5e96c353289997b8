"""A language model with its cache and its budget: what everything that asks goes through."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recsys.core.runtime import Run
from recsys.profiles.llm.budget import Budget
from recsys.profiles.llm.cache import AnswerCache, question_key
from recsys.profiles.llm.protocol import Answer, LanguageModel, Likelihoods, Prompt


@dataclass
class Session:
    """Asks a model what the cache does not know, within the budget.

    Attributes:
        model: the backend; loaded only when the cache does not know an answer.
        cache: of answers.
        budget: limits and sums.
    """

    model: LanguageModel
    cache: AnswerCache = field(default_factory=AnswerCache)
    budget: Budget = field(default_factory=Budget)

    def identity(self) -> str:
        return self.model.identity()

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        seed: int | None = None,
        run: Run,
        owners: Sequence[str | None] | None = None,
    ) -> list[str]:
        """Return one text a prompt.

        Args:
            prompts: the same one twice is asked once.
            max_tokens: of each answer.
            seed: none: the likeliest answer.
            run: seed of drawing, device, progress bar.
            owners: whose profile each prompt is about.

        Raises:
            BudgetError: used up; what came before is in the cache, so that the next run goes on from there.
            LanguageModelError: the model cannot be loaded or reached.
        """
        drawn = {"seed": None} if seed is None else {"seed": seed, "run": run.seed}
        told = {"kind": "text", "max_tokens": max_tokens, **drawn}
        keys = [question_key(self.identity(), prompt, told) for prompt in prompts]
        owned = owners or [None] * len(prompts)
        texts = {}
        for key, owner in zip(keys, owned, strict=True):
            found = self.cache.get(key, owner)
            if isinstance(found, dict) and isinstance(found.get("text"), str):
                texts[key] = found["text"]
                self.budget.hit()
        missing = list({key: place for place, key in enumerate(keys) if key not in texts}.values())
        size = max(1, int(getattr(self.model.settings, "batch_size", 1)))
        bar = run.bar(range(0, len(missing), size), "asking the language model")
        for start in bar if missing else ():
            places = missing[start : start + size]
            counts = sum(self.model.count_tokens(prompts[place]) for place in places)
            self.budget.check(counts, max_tokens * len(places))
            for place, answer in self._timed([prompts[place] for place in places], max_tokens, seed, run):
                key = keys[places[place]]
                texts[key] = answer.text
                self.cache.put(key, {"text": answer.text}, owned[places[place]])
        return [texts[key] for key in keys]

    def _timed(self, prompts: Sequence[Prompt], max_tokens: int, seed: int | None, run: Run):
        """Yield answers as they come, each charged for with the time since the one before."""
        before = time.perf_counter()
        for place, answer in self.model.answers(prompts, max_tokens=max_tokens, seed=seed, run=run):
            now = time.perf_counter()
            self._charge(answer, now - before)
            before = now
            yield place, answer

    def _charge(self, answer: Answer, seconds: float) -> None:
        self.budget.charge(answer.tokens_in, answer.tokens_out, seconds)

    def score(self, prompt: Prompt, choices: Sequence[str], *, run: Run, owner: str | None = None) -> Likelihoods:
        """Return how likely each choice follows the prompt.

        Raises:
            BudgetError: used up.
            LanguageModelError: the model cannot be loaded or reached, or tells no likelihoods.
        """
        key = question_key(self.identity(), prompt, {"kind": "likelihoods", "choices": list(choices)})
        found = _read(self.cache.get(key, owner), len(choices))
        if found is not None:
            self.budget.hit()
            return found
        self.budget.check(self.model.count_tokens(prompt) + sum(map(self.model.count_tokens, choices)), 0)
        before = time.perf_counter()
        found = self.model.score(prompt, choices, run=run)
        self.budget.charge(found.tokens_in, 0, time.perf_counter() - before)
        value = {"log": found.log.tolist(), "lengths": found.lengths.tolist(), "tokens_in": found.tokens_in}
        self.cache.put(key, value, owner)
        return found


def _read(value: object, n: int) -> Likelihoods | None:
    """Return kept likelihoods, ``None`` for what is not a row of ``n`` numbers."""
    try:
        log, lengths = np.array(value["log"], dtype=np.float64), np.array(value["lengths"], dtype=np.int64)
        good = log.shape == lengths.shape == (n,) and bool(np.isfinite(log).all())
        return Likelihoods(log, lengths, int(value["tokens_in"])) if good else None
    except (TypeError, KeyError, ValueError):
        return None
