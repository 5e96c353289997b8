"""Language models that put profiles into words: small interface, backends by name, nothing believed unchecked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.core.config import make_settings
from recsys.core.registry import Registry

NAMES = {
    "smollm": "recsys.profiles.llm.backends.smollm:SmolLM",
    "causal": "recsys.profiles.llm.backends.transformers:CausalLM",
    "openai": "recsys.profiles.llm.backends.openai:OpenAI",
}
LANGUAGE_MODELS = Registry("language model", NAMES)


def make_language_model(name: str = "smollm", settings: Mapping[str, Any] | None = None) -> Any:
    """Return a language model that is not loaded yet.

    Args:
        name: of ``LANGUAGE_MODELS``, or ``"my_pkg.my_mod:Class"``.
        settings: of that backend, plain values.

    Raises:
        ConfigError: no such backend or setting.
    """
    kind = LANGUAGE_MODELS.load(name)
    return kind(make_settings(kind.Settings, settings or {}, f"llm.options.{name}", f"llm.{name}"))
