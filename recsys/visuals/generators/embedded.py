"""The embedded generator: its weights come with the package, and a laptop is enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError
from recsys.core.runtime import Run
from recsys.visuals.flow import SamplerSettings
from recsys.visuals.request import GeneratedVisual, VisualItem, VisualTaste

if TYPE_CHECKING:
    from PIL.Image import Image


class EmbeddedSettings(BaseSettings):
    """How the embedded generator draws."""

    weights: str = Field("", description="Folder of other weights than the package's.")
    steps: int = Field(10, ge=1, le=200, description="Steps from pure noise; a nearer start takes its part of them.")
    method: str = Field("euler", pattern="^(euler|heun)$", description="euler or heun, which looks twice a step.")
    nearest: float = Field(0.3, ge=0, le=1, description="How far from the item's picture the dial's 0 goes.")
    farthest: float = Field(0.65, ge=0, le=1, description="How far its 1 does; at 1 nothing of the picture is kept.")
    target: float = Field(1.0, ge=0, description="Guidance by the target, at the dial's 0; 1 at its 1.")
    taste: float = Field(10.0, ge=0, description="Pull of the taste by itself, at the dial's 1; none at its 0.")
    balance: float = Field(
        0.3, ge=0, description="How far steps lead to what is chosen, the balance of taste and item; 0: no guidance."
    )
    lean: float = Field(0.9, ge=0, le=1, description="The balance that it leads to, in dials: at 1 the dial's own.")
    reach: float = Field(2.0, ge=1, description="How many times as far steps lead at the dial's 1; up to .5: once.")
    views: float = Field(
        1.0, ge=0, le=1, description="How often steps see parts, mirrored, at the dial's 1; to .5: never."
    )
    eye: int = Field(160, ge=32, le=512, description="Side of the picture that this guidance looks at; fewer: quicker.")
    history: int = Field(4, ge=1, description="Pictures of the history that are looked at.")
    keywords: int = Field(6, ge=1, description="Keywords that are read.")
    without: tuple[str, ...] = Field((), description="Conditions or groups left out: what each is worth can be seen.")
    batch_size: int = Field(4, ge=1, description="Pictures drawn at a time.")
    soft: str = Field(
        "vector", pattern="^(vector|llm)$", description="The user as a vector, or as a language model's states."
    )
    language_model: str = Field("smollm", description="Of soft = llm: the one that its weights were learned with.")
    language_options: dict[str, Any] = Field({}, description="Settings of that language model.")


class EmbeddedGenerator:
    """A flow-matching transformer over a small autoencoder, learned from film posters (experiments/poster_generator).

    The dial goes from the item to the taste: pictures begin further from the item's own, the taste guides more, and
    each step leads to a better balance of both, as the picture encoder sees them; beyond the dial's middle further.
    """

    Settings = EmbeddedSettings

    def __init__(self, settings: EmbeddedSettings | None = None) -> None:
        self.settings = settings or EmbeddedSettings()
        self._reader: Any = None
        self.revise: Callable[[Any, Sequence[int], float], Any] | None = None  # (conditions, seeds, dial): of each

    def identity(self) -> str:
        """Return name and version of the weights."""
        facts, soft = self._weights.facts["flow"], ""
        if self.settings.soft == "llm":
            soft = f", soft half {self._half[1].get('id', 'unnamed')}"
        return f"embedded {facts.get('id', 'unnamed')} ({facts.get('steps', '?')} steps{soft})"

    @cached_property
    def _folder(self) -> Path:
        from recsys.visuals.shipped import FOLDER

        return Path(self.settings.weights) if self.settings.weights else FOLDER

    @cached_property
    def _weights(self) -> Any:
        from recsys.visuals.shipped import load_weights

        return load_weights(self._folder)

    @cached_property
    def _half(self) -> Any:
        from recsys.visuals.soft_reading import read_soft

        return read_soft(self._folder)

    def strength(self, dial: float) -> float:
        """Return how far towards noise a picture begins, from 0 to 1."""
        return self.settings.nearest + dial * (self.settings.farthest - self.settings.nearest)

    def sampler(self, dial: float) -> SamplerSettings:
        """Return how a dial samples."""
        chosen = self.settings
        guidance, pull = {"target": chosen.target + dial * (1 - chosen.target)}, {"taste": chosen.taste * dial}
        return SamplerSettings(steps=chosen.steps, method=chosen.method, guidance=guidance, pull=pull)

    def generate(
        self, target: VisualItem, taste: VisualTaste, *, n: int, dial: float, run: Run
    ) -> Sequence[GeneratedVisual]:
        """Return ``n`` pictures; the same seed gives the same bytes.

        Raises:
            ConfigError: ``n`` below 1 or a dial outside 0 to 1.
            DataError: a picture that cannot be read, or nothing to go by.
            ArtifactError: the weights are missing or damaged.
            LanguageModelError: ``soft`` is llm and the language model is not installed.
        """
        from recsys.visuals.pixels import to_signed

        check(n, dial)
        device, weights = run.torch_device(), self._weights
        weights.flow.to(device), weights.autoencoder.to(device)
        given, pixels = self._read(run).conditions(target, taste)
        start = None if pixels is None else weights.autoencoder.encode(to_signed(pixels[None]).to(device))
        strength = 1.0 if start is None else self.strength(dial)
        seeds, images = [run.key("visual", target.item_id, number) for number in range(n)], []
        given = self.revise(given, seeds, dial) if self.revise else given.repeat(n)
        given = given.without(self.settings.without).to(device)
        move = self._balance(target, taste, dial, run)
        for first in range(0, n, self.settings.batch_size):
            part = slice(first, first + self.settings.batch_size)
            images += self._drawn(seeds[part], given.take(part), start, dial, strength, move)
        told = {
            "keywords": dict(taste.keywords), "history": [one.item_id for one in taste.history],
            "strength": strength, "guidance": self.sampler(dial).guidance, "pull": self.sampler(dial).pull,
            "balance": dict(zip(("dial", "length", "views"), self.moves(dial), strict=True)),
        }  # fmt: skip
        return [
            GeneratedVisual(image, target.item_id, seed, dial, self.identity(), told)
            for image, seed in zip(images, seeds, strict=True)
        ]

    def _balance(self, target: VisualItem, taste: VisualTaste, dial: float, run: Run) -> Any:
        """Return what leads sampling to the balance of taste and item, or nothing."""
        from recsys.visuals.balance import BalanceGuidance
        from recsys.visuals.conditions import members
        from recsys.visuals.selection import Yardstick

        if not self.settings.balance:
            return None
        left, encoder = members(self.settings.without), self._read(run).encoders[1]
        shown = replace(target, picture=None, vectors={}) if "picture" in left else target
        known = replace(taste, history=()) if "history" in left else taste
        yardstick = Yardstick.of(
            shown, known, lambda pictures: encoder.encode(pictures, "image", run=run), self._weights.space.picture_mean
        )
        eye = self._eye.to(run.torch_device())
        return BalanceGuidance(self._weights.autoencoder, eye, yardstick, *self.moves(dial))

    def moves(self, dial: float) -> tuple[float, float, float]:
        """Return the balance that steps lead to, how far, and how often they see parts of the picture alone.

        Up to the dial's middle the item is to stay what it is; beyond, all three grow evenly.
        """
        chosen, beyond = self.settings, max(0.0, 2 * dial - 1)
        lean = chosen.lean + beyond * (1 - chosen.lean)
        return lean * dial, chosen.balance * (1 + beyond * (chosen.reach - 1)), chosen.views * beyond

    @cached_property
    def _eye(self) -> Any:
        from recsys.visuals.eye import Eye

        return Eye(self.settings.eye)

    def _drawn(
        self, seeds: Sequence[int], given: Any, start: Any, dial: float, strength: float, move: Any
    ) -> list[Image]:
        """Return one picture a seed: the noise of each is its own, whatever else is in the batch."""
        import torch

        from recsys.visuals.flow import sample
        from recsys.visuals.pixels import to_pictures

        flow, n = self._weights.flow, len(seeds)
        shape = (flow.settings.channels, flow.settings.rows, flow.settings.columns)
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        here = None if start is None else start.expand(n, -1, -1, -1)
        latents = sample(
            flow, noise.to(given.on.device), given, self.sampler(dial), start=here, strength=strength,
            typical=given.typical(self._weights.space.typical), move=move,
        )  # fmt: skip
        with torch.inference_mode():
            return to_pictures(self._weights.autoencoder.decode(latents))

    def _read(self, run: Run) -> Any:
        """Return the reader; it keeps its encoders and vectors from call to call."""
        if self._reader is None:
            from recsys.visuals.reader import Reader

            soft, chosen = self._soft(run), self.settings
            self._reader = Reader(self._weights.space, chosen.history, chosen.keywords, run=run, soft=soft)
        return self._reader

    def _soft(self, run: Run) -> Any:
        """Return what makes a user's vectors with the language model, or nothing."""
        if self.settings.soft == "vector":
            return None
        from recsys.visuals.soft_reading import SoftReader

        chosen, flow = self.settings, self._weights.facts["flow"]
        return SoftReader(*self._half, flow, chosen.language_model, chosen.language_options, run=run)


def check(n: int, dial: float) -> None:
    """Refuse what cannot be asked for.

    Raises:
        ConfigError: ``n`` below 1 or a dial outside 0 to 1.
    """
    if n < 1:
        raise ConfigError("number of pictures", f"{n} is none", "Ask for 1 or more.")
    if not 0 <= dial <= 1:  # NaN is refused, too
        raise ConfigError("dial", f"{dial} is not from 0 to 1", "0 is true to the item, 1 to the taste.")
