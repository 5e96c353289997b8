"""Soft tokens: a user as a few input embeddings of a frozen language model.

The tokens and their learned prefix follow PMG (Shen et al., WWW 2024), RA-Rec (2024) and CoLLM (Zhang et al., TKDE
2025); those learn from pictures or answers, these from likelihoods of titles: InfoNCE over the matrix of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn.functional import cross_entropy, gelu

from recsys.core.errors import ConfigError, DataError
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Histories, Interactions, ItemFeatures
from recsys.profiles.likelihood import TitleLikelihood
from recsys.profiles.preference import (
    Examples,
    first_held_out,
    last_steps,
    matched_batches,
    popularity_matched,
    wins,
)
from recsys.profiles.user_vectors import UserSpace
from recsys.rankers.training import TrainingSettings, fit_module

NEAR = 0.2  # first weights of what tells users apart, beside the usual ones


class SoftTokenSettings(TrainingSettings):
    """How a user becomes tokens, and how that is learned."""

    epochs: int = Field(8, ge=1, description="Passes at most; each is as long as epoch_tokens says.")
    batch_size: int = Field(8, ge=2, description="Users a step: each title is read under each user's tokens.")
    learning_rate: float = Field(2e-3, gt=0, description="Step size of Adam.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay (AdamW).")
    patience: int = Field(3, ge=1, description="Validations without a new best before training stops.")
    tokens: int = Field(4, ge=1, description="Tokens that stand for a user.")
    prefix: int = Field(2, ge=0, description="Learned tokens before them, the same for all users.")
    hidden: int = Field(256, ge=1, description="Width of the projector.")
    dim: int = Field(64, ge=1, description="Directions of graph, texts and pictures each that a user is known by.")
    lately: int = Field(5, ge=1, description="Latest items, which a user is known by once more.")
    prompt: str = Field("\nThe next title is:", description="Read between a user's tokens and a title.")
    title_tokens: int = Field(8, ge=1, description="Tokens of a title that are read.")
    examples: int = Field(4, ge=1, description="Last items of each user's train history to learn from.")
    epoch_tokens: int = Field(8_000, ge=1, description="Tokens that the model reads in a pass at most.")
    temperature: float = Field(1.0, gt=0, description="Of the preferences; log-likelihood a token is divided by it.")
    over_titles: float = Field(1.0, ge=0, description="Weight of: the own next title before others as popular.")
    over_users: float = Field(1.0, ge=0, description="Weight of: the title under the own tokens before other users'.")
    relative: bool = Field(
        True, description="Preference is what the tokens add to a title's likelihood, not the likelihood itself."
    )
    valid_users: int = Field(64, ge=1, description="Users of the validation part that epochs are chosen by.")
    valid_others: int = Field(7, ge=1, description="Items as popular that each one's next item is put against.")

    @model_validator(mode="after")
    def _something_to_learn(self) -> SoftTokenSettings:
        if not self.over_titles + self.over_users:
            raise ConfigError("soft tokens", "both terms of the loss are off", "Set over_titles or over_users above 0.")
        return self


class Projector(nn.Module):
    """From a user vector to input embeddings, ``[n, prefix + tokens, width]``.

    Args:
        dim: of user vectors.
        settings: sizes.
        start: what tokens are before anything is learned, ``[prefix + tokens, width]``: real words, so that the model
            is at home from the first step on.
        seed: of the weights.
    """

    def __init__(self, dim: int, settings: SoftTokenSettings, start: torch.Tensor, seed: int) -> None:
        super().__init__()
        width, self.n_prefix = start.shape[1], settings.prefix
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.inner = nn.Linear(dim, settings.hidden)
            self.outer = nn.Linear(settings.hidden, settings.tokens * width)
        with torch.no_grad():
            self.outer.weight.mul_(NEAR)  # users begin close to each other: far apart, the first steps unlearn noise
            self.outer.bias.zero_()
        self.prefix = nn.Parameter(start[: settings.prefix].clone())
        self.base = nn.Parameter(start[settings.prefix :].clone())
        self.register_buffer("size", start.square().mean().sqrt())  # of the numbers in a word's embedding

    def forward(self, users: torch.Tensor) -> torch.Tensor:
        moved = self.outer(gelu(self.inner(users))).view(len(users), *self.base.shape)  # [n, tokens, width]
        own = self.base + self.size * moved
        return torch.cat([self.prefix.expand(len(users), -1, -1), own], dim=1)


class SoftTokens:
    """Users as tokens of a language model, by their history alone: somebody never seen in training is no exception.

    Args:
        titles: how likely the frozen model finds the items' titles; made with this class's ``prompt`` and
            ``title_tokens`` (``likelihood`` does so).
        settings: see there.
    """

    Settings = SoftTokenSettings

    def __init__(self, titles: TitleLikelihood, settings: SoftTokenSettings | None = None) -> None:
        self.titles, self.settings = titles, settings or SoftTokenSettings()
        self.space: UserSpace | None = None
        self.projector: Projector | None = None

    @classmethod
    def likelihood(
        cls, model: Any, tokenizer: Any, titles: list[str], settings: SoftTokenSettings | None = None
    ) -> TitleLikelihood:
        """Return the likelihoods that these settings ask for."""
        chosen = settings or SoftTokenSettings()
        return TitleLikelihood(model, tokenizer, titles, prompt=chosen.prompt, longest=chosen.title_tokens)

    def fit(
        self,
        train: Interactions,
        features: ItemFeatures,
        *,
        valid: Interactions | None,
        vectors: np.ndarray | None = None,
        run: Run,
    ) -> FitLog:
        """Learn from train's last steps; the validation part chooses the epoch, and a checkpoint is continued.

        Args:
            train: what is learned from.
            features: item vectors.
            valid: the validation part; none: all epochs are made.
            vectors: item vectors of a ranker with embeddings; none: factors of train.
            run: seed, device, folder of the checkpoint.

        Raises:
            DataError: fewer than two users with two items.
        """
        chosen = self.settings
        examples = last_steps(train, chosen.examples)
        if len(np.unique(examples.users)) < 2:
            raise DataError("soft tokens", "fewer than two users took two items", "There is nothing to learn from.")
        self.space = UserSpace.of(train, features, dim=chosen.dim, lately=chosen.lately, vectors=vectors, run=run)
        self.projector = Projector(self.space.dim, chosen, self._start(examples, run), run.key("soft tokens"))
        self.titles.model.to(run.torch_device())
        self.titles.plain(np.unique(examples.items))  # all at once: rounding must not depend on where a run was killed
        return fit_module(
            self.projector, settings=chosen, run=run, title="soft tokens", data=train.digest,
            batches=lambda epoch: self._batches(train, examples, run.rng("soft tokens", epoch)),
            loss=lambda rows: self.loss(train, examples.take(rows)),
            validate=self._validation(train, valid, run) if valid is not None and len(valid) else None,
            metric="fit",
        )  # fmt: skip

    def _start(self, examples: Examples, run: Run) -> torch.Tensor:
        words = self.titles.words(np.unique(examples.items)).float().cpu()
        drawn = run.rng("soft tokens", "start").integers(len(words), size=self.settings.prefix + self.settings.tokens)
        return words[torch.from_numpy(drawn)]

    def _batches(self, train: Interactions, examples: Examples, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield rows of examples, batches in which no user occurs twice, as many as a pass may read."""
        chosen, budget = self.settings, self.settings.epoch_tokens
        order = rng.permutation(len(examples))
        each = np.sort(order[np.unique(examples.users[order], return_index=True)[1]])  # one example a user
        items = examples.items[each]
        for rows in matched_batches(train.item_counts, items, chosen.batch_size, rng):
            titles = int(self.titles.lengths[items[rows]].sum())
            cost = len(rows) * (chosen.prefix + chosen.tokens + len(self.titles.prompt) + titles)
            if cost > budget and budget < chosen.epoch_tokens:
                return
            budget -= cost
            yield each[rows]

    def loss(self, train: Interactions, batch: Examples) -> torch.Tensor:
        """Return the InfoNCE of a batch: its titles' likelihoods under its users' tokens are one matrix.

        A row puts a user's next title against the others' (as popular), a column puts a title under the own tokens
        against the same one under other users'. What a user took at any time in train is no counterexample.
        """
        chosen, n = self.settings, len(batch)
        matrix = self.preference(batch.histories, np.tile(batch.items, (n, 1)))  # [n users, n titles]
        known = train.matrix[batch.users][:, batch.items].toarray() > 0
        np.fill_diagonal(known, False)
        logits = (matrix / chosen.temperature).masked_fill(torch.from_numpy(known).to(matrix.device), -torch.inf)
        own = torch.arange(n, device=matrix.device)
        total = logits.new_zeros(())
        if chosen.over_titles:
            total = total + chosen.over_titles * cross_entropy(logits, own)
        if chosen.over_users:
            total = total + chosen.over_users * cross_entropy(logits.T, own)
        return total

    def _validation(self, train: Interactions, valid: Interactions, run: Run) -> Any:
        chosen, rng = self.settings, run.rng("soft tokens", "validation")
        examples = first_held_out(train, valid)
        examples = examples.take(np.sort(rng.permutation(len(examples))[: chosen.valid_users]))
        if not len(examples):
            return None
        known = Interactions(
            np.concatenate([train.user_idx, valid.user_idx]), np.concatenate([train.item_idx, valid.item_idx]),
            train.n_users, train.n_items,
        )  # fmt: skip
        others = popularity_matched(train, examples, chosen.valid_others, known, rng)
        candidates = np.column_stack([examples.items, others])

        def validate() -> Mapping[str, float]:
            scores = self.scores(examples.histories, candidates)
            likelihood = torch.from_numpy(scores / chosen.temperature).log_softmax(1)[:, 0].mean()
            return {"fit": float(likelihood), "wins": float(wins(scores).mean())}

        return validate

    # -- what it gives ---------------------------------------------------------------------------------------

    def tokens(self, histories: Histories) -> torch.Tensor:
        """Return what stands for the users of these histories, float32 ``[n, prefix + tokens, width]``."""
        device = next(self.projector.parameters()).device
        return self.projector(torch.from_numpy(self.space(histories)).to(device))

    def preference(self, histories: Histories, items: np.ndarray) -> torch.Tensor:
        """Return how much each user prefers candidates, ``[n, c]``, with gradients."""
        found = self.titles.after(self.tokens(histories), items)
        return found - torch.from_numpy(self.titles.plain(items)).to(found) if self.settings.relative else found

    def scores(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        """Return how much each user prefers candidates ``[n, c]``, float32, without gradients."""
        with torch.inference_mode():
            found = self.titles.scores(self.tokens(histories), items)
        return found - self.titles.plain(items) if self.settings.relative else found

    def state(self) -> dict[str, np.ndarray]:
        """Return what ``restore`` needs besides the language model, as plain arrays."""
        learned = {f"projector.{key}": value.cpu().numpy() for key, value in self.projector.state_dict().items()}
        return {**self.space.state(), **learned}

    def restore(self, state: Mapping[str, np.ndarray]) -> SoftTokens:
        """Become the one that ``state`` came from, over the same language model and settings."""
        self.space = UserSpace.restored(state)
        learned = {
            key.removeprefix("projector."): torch.from_numpy(np.array(value))
            for key, value in state.items()
            if key.startswith("projector.")
        }
        start = torch.cat([learned["prefix"], learned["base"]])
        self.projector = Projector(self.space.dim, self.settings, start, seed=0)
        self.projector.load_state_dict(learned)
        self.projector.eval()
        return self
