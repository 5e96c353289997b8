"""Item text and pictures to vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.core.config import make_settings
from recsys.core.errors import ConfigError
from recsys.core.protocols import ItemEncoder
from recsys.core.registry import Registry

MODALITIES = ("text", "image")  # that encoders make; sources may bring others, such as "audio"

NAMES = {
    "minilm": "recsys.items.encoders.minilm:MiniLM",
    "efficientnet": "recsys.items.encoders.efficientnet:EfficientNetLite",
    "efficientnet2": "recsys.items.encoders.efficientnet2:EfficientNetLite2",
    "sentence": "recsys.items.encoders.sentence:Sentence",
    "vision": "recsys.items.encoders.vision:Vision",
    "dual": "recsys.items.encoders.dual:Dual",
}
ENCODERS = Registry("item encoder", NAMES)
DESCRIBERS = Registry("item describer", {"xreflect": "recsys.items.describers.xreflect:XReflect"})


def make_encoder(name: str, modality: str, options: Mapping[str, Any]) -> ItemEncoder:
    """Build an encoder; its model is not loaded yet.

    Raises:
        ConfigError: an unknown name, a setting that does not fit, or a modality that it does not read.
    """
    kind = ENCODERS.load(name)
    if modality not in kind.modalities:
        fit = [known for known in NAMES if modality in ENCODERS.load(known).modalities]
        raise ConfigError(
            f"setting items.{modality}", f"{name!r} does not read {modality}", "One of: " + ", ".join(fit)
        )
    return kind(make_settings(kind.Settings, options, f"items.options.{name}", f"items.{name}"))


def make_describer(name: str, options: Mapping[str, Any]) -> Any:
    """Build a describer (see ``recsys.items.describe``); its model is not loaded yet.

    Raises:
        ConfigError: an unknown name, or a setting that does not fit.
    """
    kind = DESCRIBERS.load(name)
    return kind(make_settings(kind.Settings, options, f"items.options.{name}", f"items.{name}"))
