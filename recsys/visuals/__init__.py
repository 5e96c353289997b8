"""Pictures of items for somebody: conditions, generators, and what they learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.core.config import make_settings
from recsys.core.protocols import VisualGenerator
from recsys.core.registry import Registry

NAMES = {
    "embedded": "recsys.visuals.generators.embedded:EmbeddedGenerator",
    "catalogue": "recsys.visuals.generators.catalogue:CatalogueGenerator",
    "diffusers": "recsys.visuals.generators.diffusers:DiffusersGenerator",
    "prior": "recsys.visuals.generators.prior:PriorGenerator",
}
GENERATORS = Registry("visual generator", NAMES)
ROOM = "recsys.visuals."  # where the code lies that pictures rest on, beyond a generator's own file


def make_generator(name: str, options: Mapping[str, Any]) -> VisualGenerator:
    """Build a generator; its model is not loaded yet.

    Raises:
        ConfigError: an unknown name, or a setting that does not fit.
    """
    kind = GENERATORS.load(name)
    return kind(make_settings(kind.Settings, options, f"visuals.options.{name}", f"visuals.{name}"))
