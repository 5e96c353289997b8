"""search.toml, read and checked before anything is trained.

Each ``[[rankers]]`` table is a ranker with its settings: a list of values is a choice, a table with ``low`` and
``high`` is a range, anything else is fixed. ``[tune]`` says how the search goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from recsys.core.config import Settings, make_settings, read_toml
from recsys.core.errors import ConfigError, did_you_mean
from recsys.rankers.store import resolved
from recsys.tuning.space import Axis, Range, Space, code

TOP = ("rankers", "tune", "seeds")  # seeds is for experiments/search.py, which trains what was chosen with several
OWN = ("name", "label", "chosen_members")  # keys of a ranker's table that are no settings of it


class TuneSettings(Settings):
    """Table ``[tune]`` of search.toml: how a search goes; the number of workers changes nothing of it."""

    trials: int = Field(30, ge=1, description="Trials of each ranker: all have the same budget.")
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="tpe or random: who proposes; small spaces are tried out whole."
    )
    startup: int = Field(
        10, ge=1, description="Random trials of a ranker before tpe learns from them: up to the end of their round."
    )
    together: int = Field(4, ge=1, description="Trials proposed at once, from earlier rounds alone; not below workers.")
    pruner: Literal["median", "halving", "none"] = Field(
        "median", description="median, halving or none: who stops trials that fall behind."
    )
    warmup: int = Field(5, ge=1, description="Validations before a trial may be stopped.")


@dataclass(frozen=True)
class Search:
    """What search.toml says."""

    spaces: tuple[Space, ...]
    settings: TuneSettings


def read_search(path: Path, **settings: Any) -> Search:
    """Read and check a search; a folder means the search.toml in it.

    Args:
        path: the file.
        settings: of ``TuneSettings``, before those of the file; ``None`` is none.

    Raises:
        ConfigError: an unknown key, ranker or setting, a bad range, or a value that a ranker does not take.
    """
    path = path / "search.toml" if path.is_dir() else path
    values = read_toml(path)
    for key in values:
        if key not in TOP:
            raise ConfigError(f"{path}, key {key!r}", "no such key", did_you_mean(key, TOP))
    rankers = values.get("rankers", [])
    if not rankers or not all(isinstance(ranker, dict) for ranker in rankers):
        raise ConfigError(f"search {path}", "it names no rankers", "Add a [[rankers]] table with a name.")
    chosen = {**values.get("tune", {}), **{key: value for key, value in settings.items() if value is not None}}
    made = make_settings(TuneSettings, chosen, f"tune ({path})", "tune")
    spaces: dict[str, Space] = {}
    for ranker in rankers:
        space = _space(ranker, path, spaces)
        spaces[space.label] = space
    return Search(tuple(spaces.values()), made)


def _space(ranker: Mapping[str, Any], path: Path, above: Mapping[str, Space]) -> Space:
    if not isinstance(ranker.get("name"), str):
        raise ConfigError(f"{path}, ranker {ranker}", "it has no name", "Such as name = 'ease'.")
    label = str(ranker.get("label") or "-".join([ranker["name"], *_model(ranker)]))
    where = f"{path}, ranker {label!r}"
    if label in above:
        raise ConfigError(where, "two rankers have that label", "Give one of them another label.")
    members = tuple(ranker.get("chosen_members", ()))
    if missing := [name for name in members if name not in above]:
        raise ConfigError(f"{where}, chosen_members {missing[0]!r}", "is not above it", "One of: " + ", ".join(above))
    fixed: dict[str, Any] = {"name": ranker["name"]}
    axes = tuple(_axes({key: value for key, value in ranker.items() if key not in OWN}, fixed, where))
    space = Space(label, fixed, axes, members)
    _check(space, where, above)
    return space


def _model(ranker: Mapping[str, Any]) -> list[str]:
    """Return the model of a ranker that has several, as its artifact is named."""
    return [ranker["model"]] if isinstance(ranker.get("model"), str) else []


def _axes(table: Mapping[str, Any], fixed: dict[str, Any], where: str, prefix: str = "") -> Iterator[Axis]:
    """Yield what is searched in a table and the tables in it; the rest goes into ``fixed``."""
    for key, value in table.items():
        name, named = prefix + key, f"{where}, setting {prefix + key}"
        if isinstance(value, list) and len(value) == 1:
            fixed[key] = value[0]
        elif isinstance(value, list):
            yield Axis(name, choices=_choices(value, named))
        elif isinstance(value, Mapping) and ("low" in value or "high" in value):
            yield Axis(name, range=_range(value, named))
        elif isinstance(value, Mapping):
            yield from _axes(value, fixed.setdefault(key, {}), where, name + ".")
        else:
            fixed[key] = value


def _choices(values: Sequence[Any], where: str) -> tuple[Any, ...]:
    codes = [repr(code(value)) for value in values]
    if len(set(codes)) < len(codes) or not values:
        cause = "a value is there twice" if values else "its list is empty"
        raise ConfigError(where, cause, "Give different values, or one without brackets.")
    return tuple(values)


def _range(table: Mapping[str, Any], where: str) -> Range:
    for key in table:  # before what is missing: it may be there, misspelt
        if key not in Range.model_fields:
            raise ConfigError(f"{where}, {key!r}", "a range has no such key", did_you_mean(key, Range.model_fields))
    try:
        found = make_settings(Range, table, "range")
    except ConfigError as error:
        thing = error.thing.replace("setting range.", "")
        raise ConfigError(f"{where}, {thing}", error.cause, "Such as { low = 0.001, high = 0.1, log = true }") from None
    if fault := found.fault():
        raise ConfigError(where, *fault)
    return found


def _check(space: Space, where: str, above: Mapping[str, Space]) -> None:
    """Let the ranker's own settings refuse what they do not take, at every end of the space."""
    for point in space.corners(_members(space, above)):
        try:
            resolved(point)
        except ConfigError as error:
            raise ConfigError(f"{where}, {error.thing}", error.cause, error.remedy) from error


def _members(space: Space, above: Mapping[str, Space]) -> list[dict[str, Any]]:
    """Return some settings of each member: which will be the best is not known yet."""
    return [next(above[name].corners(_members(above[name], above))) for name in space.members]
