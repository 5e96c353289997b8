"""Settings: frozen pydantic classes, one TOML per run, ``--set a.b=c`` on top."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.core.errors import ConfigError, did_you_mean


class Settings(BaseModel):
    """Base of every settings class: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def texts(values: Any) -> Iterator[str]:
    """Yield the texts in plain values, however deep."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for item in values.values():
            yield from texts(item)
    elif isinstance(values, list | tuple):
        for item in values:
            yield from texts(item)


S = TypeVar("S", bound=Settings)


def make_settings(cls: type[S], values: Mapping[str, Any], where: str, section: str | None = None) -> S:
    """Build ``cls`` from plain values.

    Args:
        cls: the settings class.
        values: by field name.
        where: how the user writes the section (``ranker``), for messages.
        section: what explains it to ``recsys doctor --settings`` (``ranker.ease``); default: the first word of where.

    Raises:
        ConfigError: an unknown key, a wrong type or a value out of range.
    """
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            inner = _settings_at(cls, first["loc"][:-1])
            remedy = did_you_mean(str(first["loc"][-1]), inner.model_fields) if inner else "Remove it."
            raise ConfigError(f"setting {where}.{key}", "no such setting", remedy) from None
        raise ConfigError(
            f"setting {where}.{key}",
            f"{first['msg'].removeprefix('Value error, ')} (given: {first.get('input')!r})",
            f"See: recsys doctor --settings {section or where.split('.')[0]}",
        ) from None


def _settings_at(cls: type[Settings], path: Sequence[Any]) -> type[Settings] | None:
    """Return the settings class that lies at a path of field names."""
    for name in path:
        found = cls.model_fields.get(str(name))
        if found is None or not _is_settings(found.annotation):
            return None
        cls = found.annotation
    return cls


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; a syntax error names its line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"config {path}", "no such file", "Check the path, or start from the README's example."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path}", f"not valid TOML: {error}", "Mend that line.") from None
    except OSError as error:
        raise ConfigError(f"config {path}", str(error.strerror), "Check the path and its permissions.") from None


def apply_overrides(config: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return ``config`` with each ``"a.b=c"`` applied; ``c`` is read as a TOML value, else as text.

    Members of a list are named by their number from 0: ``"ranker.members.1.num_layers=0"``.

    Raises:
        ConfigError: not of that form, or a name on the way is no section.
    """
    result = _copy(config)
    for text in overrides:
        path, equals, raw = text.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(
                f"--set {text}", "not of the form section.key=value", "For example: --set ranker.num_layers=3"
            )
        node: Any = result
        for key, below in pairwise(keys):
            node = node.setdefault(key, {}) if isinstance(node, dict) else node[int(key)]
            if isinstance(node, list) and not (below.isdecimal() and int(below) < len(node)):
                cause = f"{key!r} is a list of {len(node)}, and {below!r} is no number in it"
                raise ConfigError(f"--set {text}", cause, "Name a member by its number, from 0.")
            if not isinstance(node, dict | list):
                raise ConfigError(f"--set {text}", f"{key!r} is a value, not a section", "Set the key itself.")
        node[keys[-1] if isinstance(node, dict) else int(keys[-1])] = _toml_value(raw.strip())
    return result


def _toml_value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def _copy(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_copy(item) for item in value]
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def describe_settings(cls: type[Settings], prefix: str = "") -> list[dict[str, Any]]:
    """Return one row a field (inner sections by dotted names): ``name``, ``type``, ``default``, ``text``."""
    rows = []
    for name, field in cls.model_fields.items():
        if _is_settings(field.annotation):
            rows += describe_settings(field.annotation, f"{prefix}{name}.")
            continue
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
        rows.append({"name": prefix + name, "type": kind, "default": default, "text": field.description or ""})
    return rows
