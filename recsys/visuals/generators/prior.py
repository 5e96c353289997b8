"""The embedded generator with the picture condition sampled for the user (REBECA, 2025, arXiv 2502.18477)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError
from recsys.core.runtime import Run
from recsys.visuals import make_generator
from recsys.visuals.request import GeneratedVisual, VisualItem, VisualTaste


class PriorGeneratorSettings(BaseSettings):
    """How pictures are sampled and drawn."""

    weights: str = Field("", description="Folder of other weights than the package's, of both.")
    user: float = Field(3.0, ge=0, description="Guidance of the sample by the user, at the dial's 1; none at its 0.")
    text: float = Field(1.0, ge=0, description="Its guidance by the item's text.")
    steps: int = Field(16, ge=1, le=1000, description="Steps from noise to a vector.")
    embedded: dict[str, Any] = Field({}, description="Settings of the embedded generator, which draws.")


class PriorGenerator:
    """Samples what a picture of the item that the user would like looks like, as a vector, and draws that.

    In the place of the vector of the item's own picture comes (1 - dial) own + dial sampled, a sample a picture; all
    else is as the embedded generator has it, start picture and strength included. Users are their histories: states of
    a language model (``VisualTaste.soft``, and the embedded generator's ``soft``) are not read.
    """

    Settings = PriorGeneratorSettings

    def __init__(self, settings: PriorGeneratorSettings | None = None) -> None:
        self.settings = settings or PriorGeneratorSettings()
        if self.settings.embedded.get("soft", "vector") != "vector":
            raise ConfigError("setting embedded.soft of prior", "the prior knows users as vectors", "Leave it out.")
        self.embedded: Any = make_generator("embedded", {**self.settings.embedded, "weights": self.settings.weights})
        self.embedded.revise = self._revised

    def identity(self) -> str:
        """Return name and version of both weights."""
        return f"prior {self._prior[1].get('id', 'unnamed')}, {self.embedded.identity()}"

    @cached_property
    def _prior(self) -> Any:
        from recsys.visuals.prior_weights import load_prior
        from recsys.visuals.shipped import FOLDER

        return load_prior(Path(self.settings.weights) if self.settings.weights else FOLDER)

    def generate(
        self, target: VisualItem, taste: VisualTaste, *, n: int, dial: float, run: Run
    ) -> Sequence[GeneratedVisual]:
        """Return ``n`` pictures; the same seed gives the same bytes.

        Raises:
            ConfigError: ``n`` below 1 or a dial outside 0 to 1.
            DataError: a picture that cannot be read, or nothing to go by.
            ArtifactError: weights are missing or damaged, or do not belong together.
        """
        made = self.embedded.generate(target, replace(taste, soft=None), n=n, dial=dial, run=run)
        sampled = {"sampled": dial, "by_user": self._guidance(dial)["user"], "by_text": self.settings.text}
        return [replace(one, generator=self.identity(), given={**one.given, **sampled}) for one in made]

    def _guidance(self, dial: float) -> dict[str, float]:
        return {"user": self.settings.user * dial, "text": self.settings.text}

    def _revised(self, given: Any, seeds: Sequence[int], dial: float) -> Any:
        """Return conditions of each picture: those of one, with a vector of a picture sampled for each seed."""
        from recsys.visuals.drawing import blended, sampled_pictures

        vectors = sampled_pictures(self._prior[0], given, seeds, self._guidance(dial), self.settings.steps)
        return blended(given, vectors, dial)
