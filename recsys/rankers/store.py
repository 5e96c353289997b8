"""A fitted ranker in a folder: its name and settings as JSON, its state as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys.core.artifact import plain_name, read_arrays, verified, write_arrays, write_json
from recsys.core.config import make_settings
from recsys.core.errors import ArtifactError, ConfigError, did_you_mean
from recsys.core.protocols import Ranker
from recsys.core.registry import UnnamedPluginError, only_named
from recsys.rankers import RANKERS

ABOUT, STATE = "ranker.json", "state.safetensors"


def make_ranker(config: Mapping[str, Any], where: str = "ranker") -> Ranker:
    """Build an unfitted ranker from ``{"name": …, setting: …}``.

    Raises:
        ConfigError: no name, an unknown name, or a setting that does not fit.
    """
    settings = {key: value for key, value in config.items() if key != "name"}
    if "name" not in config:
        raise ConfigError(f"setting {where}.name", "missing", "One of: " + ", ".join(RANKERS))
    kind = RANKERS.load(config["name"])
    known = ["name", *kind.Settings.model_fields]
    for key in settings:
        if key not in known:
            cause = f"no such setting of {config['name']}"
            raise ConfigError(f"setting {where}.{key}", cause, did_you_mean(str(key), known))
    return kind(make_settings(kind.Settings, settings, where, f"ranker.{config['name']}"))


def resolved(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ranker's configuration with every default filled in."""
    settings = make_ranker(config).settings.model_dump(mode="json")
    return {"name": config["name"], **settings}


def title(config: Mapping[str, Any]) -> str:
    """Return what an artifact of the ranker is named: its name, a plug-in's class, and the model it wraps, if any."""
    return plain_name("-".join([config["name"], *([config["model"]] if "model" in config else [])]))


def uses_features(config: Mapping[str, Any]) -> bool:
    """Return whether the ranker, or a member of it, reads item features: only then are items encoded for it."""
    members = config.get("members", ())
    return getattr(RANKERS.load(config["name"]), "uses_features", False) or any(map(uses_features, members))


def learns_by_gradient(config: Mapping[str, Any]) -> bool:
    """Return whether a ranker of that (resolved) configuration is trained on devices (``TrainingSettings``)."""
    return "devices" in config


def save_ranker(ranker: Ranker, config: Mapping[str, Any], folder: Path) -> None:
    """Write a fitted ranker into ``folder``."""
    write_arrays(folder / STATE, ranker.state())
    write_json(folder / ABOUT, dict(config))


def load_ranker(folder: Path) -> Ranker:
    """Read what ``save_ranker`` wrote; its scores are those of the saved ranker.

    Code that the folder names, ``"my_pkg.my_mod:Class"``, is imported only if the run names it, too (``name_plugins``).

    Raises:
        ArtifactError: a file is missing, changed or damaged, or the ranker is made by other code.
    """
    folder = verified(folder)
    try:
        config = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"ranker {folder}", f"{ABOUT} cannot be read ({error})", "Train it again.") from None
    try:
        with only_named():
            ranker = make_ranker(config)
            ranker.restore(read_arrays(folder / STATE))
    except UnnamedPluginError as error:
        raise unnamed(folder, error) from None
    return ranker


def unnamed(folder: Path, error: UnnamedPluginError) -> ArtifactError:
    """Return the error of a ranker that is made by code which the run does not name."""
    cause = f"is made by {error.thing}, code that this run does not name, so it is not imported"
    return ArtifactError(f"ranker {folder}", cause, error.remedy)
