"""Rectified flow: straight ways from noise to latents, how they are learned and how they are walked.

x_t = (1 - t) x + t ε; the network learns the velocity ε - x (Liu et al., ICLR 2023; Lipman et al., ICLR 2023) at times
drawn from a logit-normal distribution (Esser et al., ICML 2024). Sampling integrates from t = 1 to 0, or from a smaller
t with a noised picture in the place of noise, so that the result stays near that picture (SDEdit, Meng et al. 2022).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError
from recsys.visuals.conditions import Conditions, members

Move = Callable[[torch.Tensor, float], torch.Tensor]  # (clean latents, share of the way that is left) -> others
Velocity = Callable[[torch.Tensor, torch.Tensor, Conditions], torch.Tensor]


class FlowSettings(BaseSettings):
    """How the flow is learned."""

    time_mean: float = Field(0.0, description="Mean of the logit of training times; above 0: rather noise.")
    time_spread: float = Field(1.0, gt=0, description="Deviation of the logit of training times.")
    drop: dict[str, float] = Field(
        {"text": 0.15, "picture": 0.5, "layout": 0.4, "keywords": 0.3, "soft": 0.3, "history": 0.3},
        description="How often each condition is left out in training.",
    )
    drop_all: float = Field(0.05, ge=0, le=1, description="How often all of them are.")
    drop_target: float = Field(
        0.0, ge=0, le=1, description="How often the whole target is, so that the taste is learned by itself."
    )


class SamplerSettings(BaseSettings):
    """How a picture is sampled."""

    steps: int = Field(16, ge=1, le=1000, description="Steps from pure noise; a nearer start takes its part of them.")
    method: Literal["euler", "heun"] = Field("euler", description="Heun looks twice a step.")
    guidance: dict[str, float] = Field(
        {"all": 2.0},
        description="Strength of conditions or groups (target, taste, all): 1 as learned, more exaggerates, 0 none.",
    )
    pull: dict[str, float] = Field(
        {}, description="Strength of what conditions or groups make of pictures by themselves, whatever the target."
    )


def noised(latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Return where the straight way from latents to noise is at ``times`` ``[B]``."""
    at = times.view(-1, 1, 1, 1)
    return (1 - at) * latents + at * noise


def training_times(n: int, settings: FlowSettings, generator: torch.Generator) -> torch.Tensor:
    """Return times ``[n]`` between 0 and 1, logit-normal."""
    return torch.sigmoid(settings.time_mean + settings.time_spread * torch.randn(n, generator=generator))


def flow_loss(
    model: Velocity, latents: torch.Tensor, given: Conditions, settings: FlowSettings, generator: torch.Generator
) -> torch.Tensor:
    """Return the mean squared error of the velocity; conditions are dropped at random.

    Args:
        model: ``(latents, times, conditions) -> velocity``.
        latents: of true pictures, ``[B, channels, rows, columns]``.
        given: what is known of them.
        settings: see there.
        generator: of times, noise and what is dropped, on the CPU.
    """
    times = training_times(len(latents), settings, generator).to(latents)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    kept = given.dropped(settings.drop, settings.drop_all, generator, settings.drop_target)
    return (model(noised(latents, noise, times), times, kept) - (noise - latents)).square().mean()


def guided(
    model: Velocity,
    guidance: Mapping[str, float],
    pull: Mapping[str, float] | None = None,
    typical: Conditions | None = None,
) -> Velocity:
    """Return the velocity with conditions strengthened, each by what is lost without it, or by what it does alone.

    v = v(all) + Σ (strength - 1) (v(all) - v(all but that one)) + Σ pull (v(that one alone) - v(typical)): with
    strength 1 nothing changes, with 0 the condition has no effect, above 1 it has more than was learned. Strengths of
    several groups add up. Beside the target's own picture a taste explains nothing, and the first sum is noise; the
    second leads to pictures that are likelier for that taste than in general (composition of Liu et al., ECCV 2022).

    Raises:
        ConfigError: no such condition.
    """
    used = {name: strength for name, strength in guidance.items() if strength != 1.0}
    alone = {name: strength for name, strength in (pull or {}).items() if strength}
    members([*used, *alone])

    def velocity(latents: torch.Tensor, times: torch.Tensor, given: Conditions) -> torch.Tensor:
        variants = [given, *(given.without([name]) for name in used), *(given.only([name]) for name in alone)]
        variants += [given.without(["all"]) if typical is None else typical] if alone else []
        n = len(variants)
        found = model(latents.repeat(n, 1, 1, 1), times.repeat(n), Conditions.joined(variants)).chunk(n)
        full, total, others = found[0], found[0], iter(found[1:])
        for strength in used.values():
            total = total + (strength - 1) * (full - next(others))
        for strength in alone.values():
            total = total + strength * (next(others) - found[-1])
        return total

    return velocity


@torch.no_grad()
def sample(
    model: nn.Module | Velocity,
    noise: torch.Tensor,
    given: Conditions,
    settings: SamplerSettings,
    *,
    start: torch.Tensor | None = None,
    strength: float = 1.0,
    typical: Conditions | None = None,
    move: Move | None = None,
) -> torch.Tensor:
    """Return latents, like ``noise``.

    Args:
        model: the velocity.
        noise: ``[B, channels, rows, columns]``.
        given: conditions of each.
        settings: steps, method, guidance.
        start: latents of pictures to stay near, like ``noise``; none: pure noise is the start.
        strength: how far to go towards noise before coming back, from 0 (``start`` itself) to 1 (nothing of it).
        typical: conditions of each that a pull leads away from, with the same fields; none: nothing.
        move: what each step makes of its guess of the clean latents; none: nothing.

    Raises:
        ConfigError: a strength outside 0 to 1, or below 1 without a start; conditions of another number.
    """
    if not 0 <= strength <= 1:
        raise ConfigError("strength", f"{strength} is not from 0 to 1", "0 keeps the picture, 1 forgets it.")
    if start is None and strength < 1:
        raise ConfigError("strength", "a picture to stay near is missing", "Give start, or strength 1.")
    if len(given) != len(noise):
        raise ConfigError("conditions", f"{len(given)} for {len(noise)} pictures", "Give one for each.")
    velocity = guided(model, settings.guidance, settings.pull, typical)
    x = noise if start is None else (1 - strength) * start + strength * noise
    steps = max(1, round(settings.steps * strength)) if strength else 0
    times = torch.linspace(strength, 0, steps + 1).tolist()
    for now, then in itertools.pairwise(times):
        slope = velocity(x, x.new_full((len(x),), now), given)
        if settings.method == "heun" and then > 0:
            ahead = x + (then - now) * slope
            slope = (slope + velocity(ahead, x.new_full((len(x),), then), given)) / 2
        if move is not None:
            slope = (x - move(x - now * slope, now / strength)) / now
        x = x + (then - now) * slope
    return x
