"""Plug-ins by name: a folder lists ``"name": "module:Class"``; nothing is imported before use.

A run's configuration may also name code by ``"my_pkg.my_mod:Class"``. A file that may come from someone else, such as
a trained ranker, may not: from there, only code that the run itself names is imported (``only_named``).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from recsys.core.config import texts
from recsys.core.errors import ConfigError, did_you_mean

_named: set[str] = set()  # by what configured this process
_guarded: ContextVar[bool] = ContextVar("only named plug-ins are imported", default=False)


class UnnamedPluginError(ConfigError):
    """Code that is named by a file, which may come from someone else, but not by the run's configuration."""


def name_plugins(config: Any) -> None:
    """Let the code that a configuration names be imported by this process, also where a file names it."""
    _named.update(plugin_names(config))


@contextmanager
def only_named() -> Iterator[None]:
    """Within the block, registries import only their own plug-ins and those named by a configuration."""
    before = _guarded.set(True)
    try:
        yield
    finally:
        _guarded.reset(before)


def check_named(config: Any) -> None:
    """Refuse a configuration, as a file has it, that names code which none of this process does.

    Raises:
        UnnamedPluginError: it does.
    """
    for name in plugin_names(config):
        if name not in _named:
            raise _unnamed("plug-in", name)


def _unnamed(kind: str, name: str) -> UnnamedPluginError:
    remedy = f"If you trust that code, name it: --set ranker.name={name}, or in the library plugins=[{name!r}]."
    return UnnamedPluginError(f"{kind} {name!r}", "is code that this run does not name", remedy)


def plugin_names(config: Any) -> Iterator[str]:
    """Yield the texts in a configuration that name code, ``"my_pkg.my_mod:Class"``, however deep."""
    for text in texts(config):
        module, colon, attribute = text.partition(":")
        if colon and attribute.isidentifier() and all(part.isidentifier() for part in module.split(".")):
            yield text


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
            UnnamedPluginError: code that may not be imported here (``only_named``).
        """
        if _guarded.get() and ":" in name and name not in self.names and name not in _named:
            raise _unnamed(self.kind, name)
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
