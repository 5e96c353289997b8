"""A language model that writes searches: fine-tuned to go on from a history's titles with the next one.

GPT4Rec (Li et al. 2023): what beam search writes are queries, and BM25 finds items by them (``queries``). Here only
LoRA weights are trained (Hu et al. 2022), and a history's own titles may be learned from, too: each of them followed
those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from recsys.core.errors import ConfigError, DataError
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Histories, Interactions, Query
from recsys.profiles.llm.beams import Beam, beam_search
from recsys.profiles.llm.lora import twin, with_lora
from recsys.profiles.llm.untrusted import plain
from recsys.profiles.preference import Examples, first_held_out
from recsys.profiles.title_prompts import TitlePrompts
from recsys.rankers.training import TrainingSettings, fit_module


class QueryWriterSettings(TrainingSettings):
    """What is read, how that is learned, and how many searches are written."""

    epochs: int = Field(4, ge=1, description="Passes at most; each is as long as epoch_tokens says.")
    batch_size: int = Field(4, ge=1, description="Histories a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Step size of Adam.")
    patience: int = Field(2, ge=1, description="Validations without a new best before training stops.")
    noun: str = Field("items", min_length=1, description="What the items are; stands for {noun} in the wording.")
    opening: str = Field("Previously, the user has taken these {noun}:", description="Read before the titles.")
    closing: str = Field("Next, the user wants to take:", description="Read after the titles, on a line of its own.")
    titles: int = Field(12, ge=1, description="Latest titles of a history that are read.")
    title_tokens: int = Field(16, ge=1, description="Tokens of a title that are read or written.")
    rank: int = Field(8, ge=1, description="Rank of the LoRA weights.")
    alpha: float = Field(16.0, gt=0, description="What LoRA adds is multiplied by alpha / rank.")
    targets: str = Field("all-linear", description="Layers that get LoRA weights: all-linear, or a pattern of names.")
    windows: int = Field(2, ge=1, description="Pieces of each user's train history to learn from, back from its end.")
    history_weight: float = Field(
        1.0, ge=0, description="What a title of the history counts in the loss; the next one counts 1."
    )
    epoch_tokens: int = Field(10_000, ge=1, description="Tokens that the model reads in a pass at most.")
    valid_users: int = Field(64, ge=1, description="Users of the validation part that epochs are chosen by.")
    beams: int = Field(20, ge=1, description="Width of the beam search.")
    queries: int = Field(10, ge=1, description="Searches a user at most.")
    catalogue: bool = Field(False, description="Only titles of items are written; else any text, as in GPT4Rec.")
    popularity: float = Field(
        0.0, ge=0, description="Weight of log popularity beside likelihood, where only titles of items are written."
    )
    repeats: bool = Field(False, description="Whether a title of the history may be searched for.")
    users_at_once: int = Field(8, ge=1, description="Users written for at a time.")


class QueryWriter:
    """Writes searches for anybody with a history.

    Args:
        model: a causal model of ``transformers``; it stays as it is.
        tokenizer: its tokenizer.
        settings: see there.

    Attributes:
        read, wrote: tokens of prompts read and of searches written so far.
    """

    Settings = QueryWriterSettings

    def __init__(self, model: Any, tokenizer: Any, settings: QueryWriterSettings | None = None) -> None:
        self.base, self.tokenizer, self.settings = model, tokenizer, settings or QueryWriterSettings()
        self.prompts: TitlePrompts | None = None
        self.model: Any = None
        self.read = self.wrote = 0

    # -- learning --------------------------------------------------------------------------------------------

    def fit(self, train: Interactions, titles: Sequence[str], *, valid: Interactions | None, run: Run) -> FitLog:
        """Learn to write the next title; the validation part chooses the epoch, and a checkpoint is continued.

        Args:
            train: histories that are learned from.
            titles: one an item, in vocabulary order.
            valid: the validation part; none: all epochs are made.
            run: seed, device, folder of the checkpoint.

        Raises:
            DataError: nobody took two items.
            ConfigError: ``peft`` is not installed, or the model cannot be used.
        """
        chosen = self.settings
        examples = windows(train, chosen.windows, chosen.titles)
        if not len(examples):
            raise DataError("query writer", "nobody took two items", "There is nothing to learn from.")
        self._prepare(self._prompts(titles, train.item_counts), seed=run.key("query writer"))
        self.model.to(run.torch_device())
        return fit_module(
            nn.ParameterList(self._learned().values()), settings=chosen, run=run, title="query writer",
            data=train.digest, metric="fit", loss=lambda rows: self.loss(examples.take(rows)),
            batches=lambda epoch: self._batches(examples, run.rng("query writer", epoch)),
            validate=self._validation(train, valid, run) if valid is not None and len(valid) else None,
        )  # fmt: skip

    def _prompts(self, titles: Sequence[str], counts: np.ndarray) -> TitlePrompts:
        chosen = self.settings
        opening, closing = (text.replace("{noun}", chosen.noun) for text in (chosen.opening, chosen.closing))
        return TitlePrompts.of(self.tokenizer, titles, counts, opening, closing, chosen.title_tokens)

    def _prepare(self, prompts: TitlePrompts, seed: int) -> None:
        self.prompts, chosen = prompts, self.settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = with_lora(twin(self.base), chosen.rank, chosen.alpha, chosen.targets)

    def _learned(self) -> dict[str, nn.Parameter]:
        return {name: one for name, one in sorted(self.model.named_parameters()) if one.requires_grad}

    def _batches(self, examples: Examples, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield rows of examples in random order, as many as a pass may read."""
        budget, size = self.settings.epoch_tokens, self.settings.batch_size
        order = rng.permutation(len(examples))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            budget -= sum(len(self._example(examples, row, 0.0)[0]) for row in rows)
            if budget < 0 and start:
                return
            yield rows

    def _example(self, examples: Examples, row: int, history_weight: float) -> tuple[list[int], list[float]]:
        return self.prompts.example(
            examples.histories[row], int(examples.items[row]), self.settings.titles, history_weight
        )

    def loss(self, batch: Examples) -> torch.Tensor:
        """Return the mean negative log-likelihood of the titles' tokens, each title's end included."""
        values, weights = self._likelihood(batch, self.settings.history_weight)
        return -(values * weights).sum() / weights.sum()

    def _likelihood(self, batch: Examples, history_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-likelihoods of the tokens that count, and how much, ``[n_tokens]`` each."""
        rows = [self._example(batch, row, history_weight) for row in range(len(batch))]
        longest, device = max(len(tokens) for tokens, _ in rows), next(self.model.parameters()).device
        pad = [self.prompts.mark]  # on the right: looked at by nobody
        ids = torch.tensor([tokens + pad * (longest - len(tokens)) for tokens, _ in rows], device=device)  # [n, t]
        weights = torch.tensor([each + [0.0] * (longest - len(each)) for _, each in rows], device=device)[:, 1:]
        counts = weights > 0
        logits = self.model(input_ids=ids, use_cache=False).logits[:, :-1][counts].float()  # [n_tokens, vocabulary]
        return -cross_entropy(logits, ids[:, 1:][counts], reduction="none"), weights[counts]

    def _validation(self, train: Interactions, valid: Interactions, run: Run) -> Callable[[], dict[str, float]] | None:
        examples = first_held_out(train, valid)
        drawn = run.rng("query writer", "validation").permutation(len(examples))[: self.settings.valid_users]
        examples = examples.take(np.sort(drawn))
        return (lambda: {"fit": self.likelihood(examples)}) if len(examples) else None

    def likelihood(self, examples: Examples) -> float:
        """Return the mean log-likelihood a token of the next titles."""
        size = self.settings.users_at_once
        with torch.inference_mode():
            parts = [
                self._likelihood(examples.take(np.arange(start, min(start + size, len(examples)))), 0.0)[0]
                for start in range(0, len(examples), size)
            ]
        return float(torch.cat(parts).mean())

    # -- writing ---------------------------------------------------------------------------------------------

    def ask(self, query: Query) -> list[list[str]]:
        """Return the searches of each user of a ``Query``: what ``QueryRanker`` takes."""
        return self.queries(query.histories)

    def queries(self, histories: Histories) -> list[list[str]]:
        """Return each user's searches, the likeliest first, none twice; a user without a history asks nothing."""
        if self.model is None:
            raise ConfigError("query writer", "has learned nothing yet", "Call fit or restore first.")
        lists = [tuple(histories[row].tolist()) for row in range(len(histories))]
        prompts = {one: self.prompts.prompt(one, self.settings.titles) for one in lists if one}
        each = sorted(prompts, key=lambda one: (len(prompts[one]), one))  # those of like length together
        written: dict[tuple[int, ...], list[str]] = {(): []}
        for start in range(0, len(each), self.settings.users_at_once):
            part = each[start : start + self.settings.users_at_once]
            written |= dict(zip(part, self._write(part, [prompts[one] for one in part]), strict=True))
        return [written[one] for one in lists]

    def _write(self, lists: Sequence[tuple[int, ...]], prompts: Sequence[Sequence[int]]) -> list[list[str]]:
        chosen, mark = self.settings, self.prompts.mark
        taken = [set() if chosen.repeats else {tuple(self.prompts.titles[item]) for item in one} for one in lists]
        found = beam_search(
            self.model, prompts, beams=chosen.beams, longest=chosen.title_tokens + 1, pad=mark, taken=taken,
            ends={mark, self.tokenizer.eos_token_id} - {None}, allowed=self._allowed if chosen.catalogue else None,
        )  # fmt: skip
        self.read += sum(map(len, prompts))
        self.wrote += sum(len(one.tokens) for row in found for one in row)
        return [self._texts(row) for row in found]

    def _allowed(self, begun: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        tokens, shares = self.prompts.following(begun)
        return tokens, self.settings.popularity * shares

    def _texts(self, beams: Sequence[Beam]) -> list[str]:
        """Return what beams say, made harmless; of those that differ in capitals alone the first."""
        first: dict[str, str] = {}
        for one in beams:
            text = plain(self.tokenizer.decode(one.tokens, skip_special_tokens=True))
            first.setdefault(text.casefold(), text)
        return [text for text in first.values() if text][: self.settings.queries]

    # -- keeping ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """Return what ``restore`` needs besides language model and settings, as plain arrays."""
        learned = {name: one.detach().cpu().numpy() for name, one in self._learned().items()}
        return {**self.prompts.state(), **learned}

    def restore(self, state: Mapping[str, np.ndarray]) -> QueryWriter:
        """Become the one that ``state`` came from, over the same language model and settings."""
        self._prepare(TitlePrompts.restored(state), seed=0)
        with torch.no_grad():
            for name, one in self._learned().items():
                one.copy_(torch.from_numpy(np.array(state[name])))
        return self


def windows(train: Interactions, each: int, titles: int) -> Examples:
    """Return up to ``each`` pieces of a user's history, none overlapping: ``titles`` items, and the one that followed.

    The last piece ends with the last item; the first may be shorter.
    """
    histories = train.histories
    lists, items, users = [], [], []
    for user in range(train.n_users):
        row = histories[user]
        for end in range(len(row) - 1, 0, -(titles + 1))[:each]:
            lists.append(row[max(0, end - titles) : end])
            items.append(row[end])
            users.append(user)
    return Examples(Histories.of(lists, train.n_items), np.array(items, np.int64), np.array(users, np.int64))
