"""From a user's vector to input embeddings of a language model, and the settings of how that is learned."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import nn

from recsys.core.errors import ConfigError
from recsys.rankers.training import TrainingSettings


class SoftTokenSettings(TrainingSettings):
    """How a user becomes tokens, and how that is learned."""

    epochs: int = Field(0, ge=0, description="Passes with the model in the loop at most; 0: the start is all.")
    batch_size: int = Field(8, ge=2, description="Users a step: each title is read under each user's tokens.")
    learning_rate: float = Field(2e-5, gt=0, description="Step size of Adam, with the model in the loop.")
    patience: int = Field(1, ge=1, description="Validations without a new best before training stops.")
    tokens: int = Field(4, ge=1, description="Tokens that stand for a user.")
    prefix: int = Field(2, ge=0, description="Learned tokens before them, the same for all users.")
    dim: int = Field(64, ge=1, description="Directions of graph, texts and pictures each that a user is known by.")
    lately: int = Field(3, ge=1, description="Latest items, which a user is known by once more.")
    prompt: str = Field("\nThe next title is:", description="Read between a user's tokens and a title.")
    title_tokens: int = Field(8, ge=1, description="Tokens of a title that are read.")
    examples: int = Field(100, ge=1, description="Last items of each user's train history to learn from.")
    most_examples: int = Field(50_000, ge=2, description="Drawn from them where there are more.")
    titles: int = Field(4_000, ge=2, description="Most taken items whose titles the start is learned with.")
    steps: int = Field(800, ge=1, description="Steps of the start.")
    rate: float = Field(0.1, gt=0, description="Step size of the start, for slopes of length 1.")
    decay: float = Field(1e-5, ge=0, description="Penalty on the start's squared weights.")
    evening: float = Field(0.005, gt=0, description="Titles' differences smaller than this share are not blown up.")
    scales: tuple[float, ...] = Field(
        (0.01, 0.03, 0.1), min_length=1, description="How far tokens may move at the start, tried on validation."
    )
    epoch_tokens: int = Field(8_000, ge=1, description="Tokens that the model reads in a pass at most.")
    over_titles: float = Field(1.0, ge=0, description="Weight of: the own next title before others as popular.")
    over_users: float = Field(1.0, ge=0, description="Weight of: the title under the own tokens before other users'.")
    valid_users: int = Field(120, ge=1, description="Users of the validation part that all is chosen by.")
    valid_others: int = Field(7, ge=1, description="Items as popular that each one's next item is put against.")

    @model_validator(mode="after")
    def _something_to_learn(self) -> SoftTokenSettings:
        if not self.over_titles + self.over_users:
            raise ConfigError("soft tokens", "both terms of the loss are off", "Set over_titles or over_users above 0.")
        return self


class Projector(nn.Module):
    """From a user vector to input embeddings, ``[n, prefix + tokens, width]``: words, moved a little.

    ``start + reach * (shared + own)``: what is learned is of size 1 or so, however far tokens may move.

    Args:
        dim: of user vectors.
        settings: sizes.
        start: what tokens are of nobody in particular, ``[prefix + tokens, width]``: real words, so that the model is
            at home from the first step on.
    """

    def __init__(self, dim: int, settings: SoftTokenSettings, start: torch.Tensor) -> None:
        super().__init__()
        self.n_prefix = settings.prefix
        self.own = nn.Linear(dim, settings.tokens * start.shape[1], bias=False)
        self.shared = nn.Parameter(torch.zeros_like(start))
        self.register_buffer("start", start.clone())
        self.register_buffer("reach", torch.ones(()))
        self.register_buffer("temperature", torch.ones(()))  # log-likelihood a token that one logit stands for

    def begin(self, weights: torch.Tensor, users: torch.Tensor, scale: float, unit: float) -> None:
        """Start with a map ``[dim, tokens * width]``, of such a size that tokens move by ``scale`` times a word's size.

        Args:
            weights: the map.
            users: vectors of users, ``[n, dim]``.
            scale: see above.
            unit: log-likelihood a token that a logit of the map stands for.
        """
        device, length = self.start.device, (users @ weights).square().mean().sqrt().clamp_min(1e-12)
        with torch.no_grad():
            self.own.weight.copy_((weights.T / length).to(device))
            self.shared.zero_()
            self.reach.copy_(scale * self.start.square().mean().sqrt())
            self.temperature.copy_(self.reach / length.to(device) * unit)

    def forward(self, users: torch.Tensor) -> torch.Tensor:
        own = self.own(users).view(len(users), -1, self.start.shape[1])  # [n, tokens, width]
        moved = self.shared + nn.functional.pad(own, (0, 0, self.n_prefix, 0))  # [n, prefix + tokens, width]
        return self.start + self.reach * moved
