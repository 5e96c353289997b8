"""Any endpoint that speaks the OpenAI chat protocol: hosted, or a server of one's own (vLLM, llama.cpp, Ollama, …)."""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.runtime import Run
from recsys.profiles.llm.protocol import Answer, LanguageModelError, Likelihoods, Prompt

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # statuses that may pass
LARGEST = 8 * 2**20  # bytes of a reply
CHARACTERS_A_TOKEN = 3.5  # of English; on the safe side for budgets


class OpenAI:
    """A chat endpoint; the key is read from the environment and is in no file, log or message."""

    writes_freely = True

    class Settings(BaseSettings):
        base_url: str = Field(description="Such as http://localhost:8000/v1; /chat/completions is added.")
        model: str = Field(description="The endpoint's name of the model.")
        key_variable: str = Field(
            "OPENAI_API_KEY", description="Environment variable that holds the key; may be unset."
        )
        batch_size: int = Field(32, ge=1, description="Prompts between two looks at the budget.")
        concurrency: int = Field(4, ge=1, le=64, description="Requests under way at once.")
        timeout: float = Field(60.0, gt=0, description="Seconds without a byte, then a request counts as failed.")
        retries: int = Field(5, ge=0, description="Times that a request is tried again.")
        wait: float = Field(1.0, gt=0, description="Seconds before the second try; doubled each time, with jitter.")
        longest_wait: float = Field(60.0, gt=0, description="Seconds between two tries, at most.")
        temperature: float = Field(0.7, ge=0, description="Of answers that are drawn with a seed; else 0.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._sleep: Callable[[float], None] = time.sleep

    def identity(self) -> str:
        """The endpoint and model by name: what lies behind them is not ours to hash.

        Raises:
            LanguageModelError: the address cannot be read.
        """
        try:
            where = urlsplit(self.settings.base_url)
            host, port = where.hostname or "", f":{where.port}" if where.port else ""
        except ValueError as error:
            raise LanguageModelError("setting base_url", str(error), "Such as http://localhost:8000/v1.") from None
        return f"{host}{port}{where.path.rstrip('/')} {self.settings.model} ({self.settings.temperature:g})"

    def count_tokens(self, prompt: Prompt) -> int:
        texts = [prompt] if isinstance(prompt, str) else [one.content for one in prompt]
        return sum(math.ceil(len(text) / CHARACTERS_A_TOKEN) + 4 for text in texts)

    def score(self, prompt: Prompt, choices: Sequence[str], *, run: Run) -> Likelihoods:
        """Chat endpoints do not tell the likelihood of a given text.

        Raises:
            LanguageModelError: always.
        """
        raise LanguageModelError(
            f"language model {self.settings.model!r}",
            "a chat endpoint tells no likelihood of a given text",
            "Use a local model (smollm, causal) for choices.",
        )

    def answers(
        self, prompts: Sequence[Prompt], *, max_tokens: int, seed: int | None, run: Run
    ) -> Iterator[tuple[int, Answer]]:
        """Yield answers as they come; after a failure those under way are still yielded, then it is raised."""
        failed: LanguageModelError | None = None
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            waiting = {
                pool.submit(
                    self._one, prompt, max_tokens, None if seed is None else run.key("llm", seed) % 2**31
                ): place
                for place, prompt in enumerate(prompts)
            }
            try:
                for done in as_completed(waiting):
                    if done.cancelled():
                        continue
                    try:
                        answer = done.result()
                    except LanguageModelError as error:
                        failed = failed or error
                        for other in waiting:
                            other.cancel()
                        continue
                    yield waiting[done], answer
            finally:
                for other in waiting:
                    other.cancel()
        if failed:
            raise failed

    def _one(self, prompt: Prompt, max_tokens: int, seed: int | None) -> Answer:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else None
        body = {
            "model": self.settings.model, "max_tokens": max_tokens,
            "messages": turns or [{"role": one.role, "content": one.content} for one in prompt],
            "temperature": 0 if seed is None else self.settings.temperature,
            **({} if seed is None else {"seed": seed}),
        }  # fmt: skip
        for attempt in range(self.settings.retries + 1):
            try:
                return self._answer(self._post(body), prompt)
            except _Passing as error:
                if attempt == self.settings.retries:
                    raise self._error(f"{error.cause}, {attempt + 1} times", "Try again later.") from None
                self._sleep(self._pause(attempt, error.after))
        raise AssertionError  # the loop ends by return or raise

    def _pause(self, attempt: int, after: float | None) -> float:
        """Return how long to wait: what the server asks for, else twice as long each time, a random part of it off."""
        grown = self.settings.wait * 2**attempt * random.uniform(0.5, 1.0)
        return min(self.settings.longest_wait, max(grown, after or 0.0))

    def _post(self, body: Mapping[str, Any]) -> bytes:
        where = urlsplit(self.settings.base_url)
        if where.scheme not in ("http", "https") or not where.hostname:
            raise self._error("base_url is no http address", "Such as http://localhost:8000/v1.")
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.settings.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        url = self.settings.base_url.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        try:
            with _OPENER.open(request, timeout=self.settings.timeout) as reply:
                found = reply.read(LARGEST + 1)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _Passing(f"no answer ({getattr(error, 'reason', None) or error or type(error).__name__})") from None
        if len(found) > LARGEST:
            raise self._error("the reply is longer than 8 MiB", "Check that base_url is a chat endpoint.")
        return found

    def _refused(self, error: urllib.error.HTTPError) -> None:
        if error.code in AGAIN:
            raise _Passing(f"status {error.code}", _seconds(error.headers.get("Retry-After")))
        if error.code in (401, 403):
            raise self._error(f"status {error.code}", f"Set {self.settings.key_variable} to a key that is valid there.")
        if error.code == 404:
            raise self._error("status 404", "Check base_url and the model's name.")
        raise self._error(f"status {error.code}", "See what the endpoint says of its protocol and limits.")

    def _answer(self, reply: bytes, prompt: Prompt) -> Answer:
        """Read a reply.

        Raises:
            _Passing: it is not what the protocol says; a proxy's page, or one that was cut.
        """
        try:
            found = json.loads(reply)
            text = found["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise _Passing("a reply that is not of the chat protocol") from None
        if not isinstance(text, str):
            raise _Passing("a reply without text")
        usage = found.get("usage") if isinstance(found.get("usage"), dict) else {}
        told = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        counts = [one if isinstance(one, int) and one >= 0 else None for one in told]
        tokens_in = self.count_tokens(prompt) if counts[0] is None else counts[0]
        tokens_out = math.ceil(len(text) / CHARACTERS_A_TOKEN) if counts[1] is None else counts[1]
        return Answer(text.strip(), tokens_in, tokens_out)

    def _error(self, cause: str, remedy: str) -> LanguageModelError:
        return LanguageModelError(f"endpoint {self.identity()}", cause, remedy)


class _Passing(Exception):
    """A failure that may pass."""

    def __init__(self, cause: str, after: float | None = None) -> None:
        super().__init__(cause)
        self.cause, self.after = cause, after


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key to another server: it is an error."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _seconds(text: str | None) -> float | None:
    """Return ``Retry-After`` in seconds; dates and nonsense count as not told."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
