"""What a picture is made from, and how each of it can be left out, strengthened and weighted.

Six conditions, as in PMG (Shen et al., WWW 2024), GReCF (2026) and IP-Adapter (Ye et al. 2023):

    text      the target's title, plot and genres           ┐
    picture   what the target's picture shows               ├ the target
    layout    the target's colours, 4 × 6 of them           ┘
    keywords  words of the user's taste, with weights       ┐
    soft      the user as learned tokens (PMG's soft half)  ├ the taste
    history   pictures of items that the user liked         ┘

Each has a learned "nothing" of its own. Training drops each at random, on its own, so that any subset is a condition
the model knows, and the difference that one makes can be measured and multiplied (classifier-free guidance, Ho &
Salimans 2022).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError, did_you_mean

CONDITIONS = ("text", "picture", "layout", "keywords", "soft", "history")
GROUPS: Mapping[str, tuple[str, ...]] = {
    "target": ("text", "picture", "layout"),
    "taste": ("keywords", "soft", "history"),
    "all": CONDITIONS,
}
LAYOUT = (6, 4)  # rows and columns of colours


class ConditionSettings(BaseSettings):
    """Sizes of the conditions."""

    text_dim: int = Field(384, ge=1, description="Of vectors of texts and keywords.")
    picture_dim: int = Field(1280, ge=1, description="Of vectors of pictures.")
    soft_dim: int = Field(256, ge=1, description="Of the vectors that soft tokens are made from.")
    soft_tokens: int = Field(4, ge=1, description="Soft tokens that one such vector becomes.")
    picture_tokens: int = Field(4, ge=1, description="Tokens that the target's picture becomes.")
    soft_hidden: int = Field(256, ge=1, description="Width of the soft tokens' projector.")


@dataclass(frozen=True)
class Conditions:
    """The conditions of a batch; ``None``: none in it has that one.

    Attributes:
        on: which conditions count, bool ``[B, 6]``, in the order of ``CONDITIONS``.
        text: ``[B, text_dim]``.
        picture: ``[B, picture_dim]``.
        layout: RGB from -1 to 1, ``[B, 3, 6, 4]``.
        keywords: ``[B, K, text_dim]``.
        keyword_weights: ``[B, K]`` from 0 (absent) to 1.
        soft: what soft tokens are made from, ``[B, M, soft_dim]``: one user vector, or a language model's states.
        history: ``[B, H, picture_dim]``.
        history_weights: ``[B, H]`` from 0 (absent) to 1.
    """

    on: torch.Tensor
    text: torch.Tensor | None = None
    picture: torch.Tensor | None = None
    layout: torch.Tensor | None = None
    keywords: torch.Tensor | None = None
    keyword_weights: torch.Tensor | None = None
    soft: torch.Tensor | None = None
    history: torch.Tensor | None = None
    history_weights: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.on)

    @classmethod
    def of(cls, **given: torch.Tensor) -> Conditions:
        """Return conditions that are all on where they are given; lists may come without weights, which are then 1.

        Raises:
            ConfigError: nothing is given, or a name that is no condition.
        """
        known = {field.name for field in fields(cls)} - {"on"}
        for name in given:
            if name not in known:
                raise ConfigError(f"condition {name!r}", "no such condition", did_you_mean(name, known))
        if not given:
            raise ConfigError("conditions", "none is given", "Give at least one, or Conditions.nothing(n).")
        for name in ("keywords", "history"):
            if name in given and (weights := f"{name.removesuffix('s')}_weights") not in given:
                given[weights] = given[name].new_ones(given[name].shape[:2])
        first = next(iter(given.values()))
        on = torch.zeros(len(first), len(CONDITIONS), dtype=torch.bool, device=first.device)
        for column, name in enumerate(CONDITIONS):
            on[:, column] = name in given
        return cls(on, **given)

    @classmethod
    def nothing(cls, n: int, device: torch.device | str = "cpu") -> Conditions:
        """Return ``n`` times no condition at all."""
        return cls(torch.zeros(n, len(CONDITIONS), dtype=torch.bool, device=device))

    def without(self, names: Iterable[str]) -> Conditions:
        """Return the same with these off; names of ``GROUPS`` stand for their members.

        Raises:
            ConfigError: no such condition.
        """
        on = self.on.clone()
        on[:, [CONDITIONS.index(name) for name in members(names)]] = False
        return replace(self, on=on)

    def only(self, names: Iterable[str]) -> Conditions:
        """Return the same with all others off.

        Raises:
            ConfigError: no such condition.
        """
        kept = members(names)
        return self.without([name for name in CONDITIONS if name not in kept])

    def typical(self, user: np.ndarray | None) -> Conditions | None:
        """Return somebody average in the place of the taste, and nothing else; ``None`` where one of them is unknown.

        Args:
            user: the mean user vector, ``[soft_dim]``.
        """
        if self.soft is None or user is None:
            return None
        return replace(self.only(["soft"]), soft=torch.from_numpy(user).to(self.soft).expand_as(self.soft))

    def dropped(
        self, rates: Mapping[str, float], everything: float, generator: torch.Generator, target: float = 0.0
    ) -> Conditions:
        """Return the same with conditions off at random: each on its own, now and then all, or all of the target."""
        draw = torch.rand(len(self), len(CONDITIONS), generator=generator)
        all_at_once = torch.rand(len(self), 1, generator=generator) < everything
        off = (draw < torch.tensor([rates.get(name, 0.0) for name in CONDITIONS])) | all_at_once
        if target:
            whole = torch.rand(len(self), 1, generator=generator) < target
            off |= whole & torch.tensor([name in GROUPS["target"] for name in CONDITIONS])
        return replace(self, on=self.on & ~off.to(self.on.device))

    def take(self, rows: torch.Tensor | np.ndarray | list[int]) -> Conditions:
        """Return the conditions at ``rows``."""
        return self._each(lambda value: value[rows])

    def repeat(self, times: int) -> Conditions:
        """Return the whole batch ``times`` times, one after the other."""
        return self._each(lambda value: value.repeat(times, *[1] * (value.ndim - 1)))

    def to(self, device: torch.device | str) -> Conditions:
        return self._each(lambda value: value.to(device))

    @staticmethod
    def joined(parts: list[Conditions]) -> Conditions:
        """Return batches with the same conditions (on or off) as one."""
        names = [field.name for field in fields(parts[0]) if getattr(parts[0], field.name) is not None]
        return Conditions(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def _each(self, change) -> Conditions:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Conditions(**{name: change(value) for name, value in values.items() if value is not None})


def members(names: Iterable[str]) -> list[str]:
    """Return conditions by name, those of a group for its name.

    Raises:
        ConfigError: no such condition.
    """
    found: list[str] = []
    for name in names:
        if name not in CONDITIONS and name not in GROUPS:
            raise ConfigError(f"condition {name!r}", "no such condition", did_you_mean(name, [*CONDITIONS, *GROUPS]))
        found += [one for one in GROUPS.get(name, (name,)) if one not in found]
    return found
