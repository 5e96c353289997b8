"""How the soft half is learned and judged: by the denoising loss of a flow that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from recsys.visuals.conditions import CONDITIONS, Conditions
from recsys.visuals.examples import Drawn, Examples
from recsys.visuals.flow import FlowSettings, Velocity, flow_loss, noised
from recsys.visuals.soft_half import SoftHalf, Told, Trunk
from recsys.visuals.training import StepSettings

SOFT = CONDITIONS.index("soft")


class SoftTrainingSettings(StepSettings):
    """How the soft half is learned."""

    steps: int = Field(200, ge=1, description="Steps in all; raise it to go on with a finished run.")
    batch_size: int = Field(8, ge=1, description="Pairs of user and target a step, each read once.")
    draws: int = Field(4, ge=1, description="Noises and times that each is learned from: they cost less than reading.")
    cooldown: int = Field(50, ge=0, description="Last steps, in which the step size falls to zero.")
    warmup: int = Field(10, ge=0, description="Steps in which the step size grows to its full length.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay of Adam.")
    ema: float = Field(0.98, ge=0, lt=1, description="How much of the average stays at each step, in the long run.")
    eval_every: int = Field(100, ge=1, description="Steps between validations.")
    save_every: int = Field(25, ge=1, description="Steps between checkpoints: what a kill can cost.")
    drop: dict[str, float] = Field(
        {"text": 0.15, "picture": 0.5, "layout": 0.4, "keywords": 0.5, "history": 0.5},
        description="How often each other condition is left out: keywords and history often, to leave it something.",
    )
    drop_target: float = Field(0.5, ge=0, le=1, description="How often all that tells of the target is left out.")
    flow_from: Literal["package", "training"] = Field(
        "package", description="The flow: the exported one, or what the checkpoint of its training holds now."
    )


@dataclass(frozen=True)
class Named:
    """What items and words of a shelf are called.

    Attributes:
        titles: of the items.
        words: of the vocabulary.
    """

    titles: Sequence[str]
    words: Sequence[str]

    def told(self, examples: Examples, given: Conditions, drawn: Sequence[Drawn], most: int) -> Told:
        """Return examples in words and vectors, with ``most`` liked items each.

        Keywords are what the user's items have more of than others, as a profile says it: none is the target's own.
        """
        users = given.soft[:, 0]
        items, there = users.new_zeros(len(drawn), most, users.shape[1] // 2), torch.zeros(len(drawn), most).bool()
        for row, one in enumerate(drawn):
            near = one.near[:most]
            items[row, : len(near)] = torch.from_numpy(examples.rows[near])
            there[row, : len(near)] = True
        habits = [examples.habits.get(one.user, ()) for one in drawn]
        keywords = [[self.words[word] for word in each] for each in habits]
        return Told(keywords, [self.titles[one.target] for one in drawn], users, items, there)


def soft_loss(
    half: SoftHalf,
    trunk: Trunk,
    flow: Velocity,
    batch: tuple[torch.Tensor, Conditions, Told],
    settings: SoftTrainingSettings,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return the flow's loss with the soft half's vectors, each under several noises; other conditions are dropped.

    Args:
        half: what learns.
        trunk: the language model.
        flow: the velocity.
        batch: latents ``[B, channels, rows, columns]``, their conditions, and the pairs in words.
        settings: see there.
        generator: of times, noise and what is dropped, on the CPU.
    """
    latents, given, told = batch
    often = settings.draws
    given = replace(given, soft=half(told, trunk)).repeat(often)
    how = FlowSettings(drop=settings.drop, drop_all=0.0, drop_target=settings.drop_target)
    return flow_loss(flow, latents.repeat(often, 1, 1, 1), given, how, generator)


class Comparison:
    """Errors of the velocity with the soft half, and with what it is put against: same pictures, noises and times.

    ``llm`` its own vectors, ``vector`` the user vector alone, ``off`` neither, ``other`` and ``other_vector`` the same
    two of another user (another's keywords and items, the own target's title).

    Args:
        flow: the velocity.
        trunk: the language model.
        batch: latents, conditions and pairs; those of nobody are left out.
        times: that errors are averaged over.
        key: of the noise.
        without: conditions that are off, such as those that tell of the taste, too.
        at_once: pictures.
    """

    def __init__(
        self, flow: Velocity, trunk: Trunk, batch: tuple[torch.Tensor, Conditions, Told], *, times: Sequence[float],
        key: int, without: Sequence[str] = (), at_once: int = 16,
    ) -> None:  # fmt: skip
        latents, given, told = batch
        kept = torch.nonzero(given.on[:, SOFT])[:, 0].tolist()
        self.flow, self.trunk, self.times, self.at_once = flow, trunk, times, at_once
        self.latents, self.given, self.told = latents[kept], given.take(kept).without(without), told.take(kept)
        self.strangers = self.told.strangers()
        self.noise = torch.randn(self.latents.shape, generator=torch.Generator().manual_seed(key))
        self._fixed: dict[str, np.ndarray] = {}

    def __call__(self, half: SoftHalf) -> dict[str, float]:
        """Return the mean error of each."""
        return {name: float(errors.mean()) for name, errors in self.errors(half).items()}

    @torch.no_grad()
    def errors(self, half: SoftHalf) -> dict[str, np.ndarray]:
        """Return the error of each with every picture, float64 ``[n]``."""
        if not self._fixed:
            self._fixed = {
                "vector": self._errors(self.told.users[:, None]), "off": self._errors(None),
                "other_vector": self._errors(self.strangers.users[:, None]),
            }  # fmt: skip
        own, others = (self._read(half, told) for told in (self.told, self.strangers))
        return {"llm": self._errors(own), "other": self._errors(others), **self._fixed}

    @staticmethod
    def gains(found: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """Return how much less errors are with the own vectors: mean and standard error over pictures, and share."""
        pairs: Mapping[str, tuple[str, str]] = {
            "over_vector": ("vector", "llm"), "over_off": ("off", "llm"), "over_other": ("other", "llm"),
            "vector_over_off": ("off", "vector"), "vector_over_other": ("other_vector", "vector"),
        }  # fmt: skip
        return {name: _gain(found[worse] - found[better]) for name, (worse, better) in pairs.items()}

    def _read(self, half: SoftHalf, told: Told) -> torch.Tensor:
        parts = range(0, len(told), self.at_once)
        return torch.cat([half(told.take(range(len(told))[at : at + self.at_once]), self.trunk) for at in parts])

    def _errors(self, soft: torch.Tensor | None) -> np.ndarray:
        given = self.given.without(["soft"]) if soft is None else replace(self.given, soft=soft)
        found = []
        for at in range(0, len(given), self.at_once):
            rows = list(range(len(given))[at : at + self.at_once])
            some, latents, noise = given.take(rows), self.latents[rows], self.noise[rows]
            total = torch.zeros(len(rows))
            for time in self.times:
                now = torch.full((len(rows),), time)
                velocity = self.flow(noised(latents, noise, now), now, some)
                total += (velocity - (noise - latents)).square().flatten(1).mean(dim=1) / len(self.times)
            found.append(total.double().numpy())
        return np.concatenate(found)


def _gain(values: np.ndarray) -> dict[str, float]:
    spread = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")
    return {"mean": float(values.mean()), "standard_error": spread, "share": float((values > 0).mean())}
