"""Plug-ins by name: a folder lists ``"name": "module:Class"``; nothing is imported before use."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from recsys.core.errors import ConfigError, did_you_mean


class Registry:
    """Names of one kind of plug-in, resolved on demand.

    Args:
        kind: the word used in messages, for example ``"ranker"``.
        names: ``name -> "module:attribute"``.
    """

    def __init__(self, kind: str, names: Mapping[str, str]) -> None:
        self.kind, self.names = kind, dict(names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def load(self, name: str) -> Any:
        """Import and return the plug-in called ``name``, or ``"my_pkg.my_mod:Class"``.

        Raises:
            ConfigError: unknown name, or a module or attribute that does not exist.
        """
        target = self.names.get(name, name)
        if ":" not in target:
            raise ConfigError(f"{self.kind} {name!r}", "no such name", did_you_mean(name, self.names))
        module, _, attribute = target.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name and not module.startswith(error.name):
                raise ConfigError(
                    f"{self.kind} {name!r}",
                    f"it needs the package {error.name!r}, which is not installed",
                    f"Install it: pip install {error.name}",
                ) from error
            raise ConfigError(
                f"{self.kind} {name!r}", f"module {module!r} was not found", "Check the spelling and PYTHONPATH."
            ) from error
        except AttributeError as error:
            raise ConfigError(
                f"{self.kind} {name!r}", f"{module} has no {attribute!r}", "Name it as 'module:Class'."
            ) from error
        if not hasattr(found, "Settings"):
            raise ConfigError(
                f"{self.kind} {name!r}", "is not a plug-in: it has no Settings", "Name a class as 'module:Class'."
            )
        return found
