"""What is said where a name means no ranker of the run: what comes near, or whose that name is instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys.core.artifact import Artifact
from recsys.core.errors import ArtifactError, did_you_mean
from recsys.data.splits import SplitSettings
from recsys.ranker_names import Names
from recsys.rankers import RANKERS
from recsys.runconfig import DataSettings

CONFIG_OPTION = re.compile(r"^(?:recsys|__main__\.py) .*?(?:-c|--config)[ =](\S+)")  # in a manifest's command


def not_a_ranker(reference: str | Path, found: Artifact) -> ArtifactError:
    """Return the error of an artifact of another kind."""
    cause = f"is of kind {found.kind!r}, not a ranker"
    return ArtifactError(f"artifact {str(reference)!r}", cause, "List the rankers with: recsys show")


def unknown(names: Names, name: str, data: Mapping[str, Any], raw: Path) -> ArtifactError:
    """Return the error of a name that no ranker of the run has.

    Args:
        names: of the run.
        name: what was asked for.
        data: configuration of the run's data artifact.
        raw: the run's raw files.
    """
    store = names.store
    if damaged := store.damaged(name):
        return damaged
    if elsewhere := names.named(name):
        return _elsewhere(names, name, elsewhere[-1], data, raw)
    if others := store.named(name):
        return not_a_ranker(name, others[-1])
    here = {one.manifest["name"] for one in names.here(store.list("ranker"))}
    if name in RANKERS or ":" in name:
        cause = f"is not trained yet on {data['source']} with this split"
        return ArtifactError(f"ranker {name!r}", cause, f"Train it: {_train(names, name)}")
    near = did_you_mean(name, {*here, *RANKERS})
    near = f"{near} " if near.startswith("Did") else ""
    return _error(
        name, "there is no ranker of that name", f"{near}List what there is with: recsys show --artifacts {store.root}"
    )


def _elsewhere(names: Names, name: str, other: Artifact, ours: Mapping[str, Any], raw: Path) -> ArtifactError:
    """Return the error of a name that only rankers of other data, or of another split, have."""
    store = names.store
    try:
        split = store.parent(other, "split")
        data = store.parent(split, "data")
    except ArtifactError as error:
        return error
    exactly, again = f"name that one exactly: {other.path.name}", _train(names, name)
    theirs, their_split = data.config, f"{split.config['kind']} split, seed {split.config.get('seed', 0)}"
    apart = {key for key in {*theirs, *ours} if theirs.get(key) != ours.get(key)}
    if not apart:
        cause = f"was trained on another split than this configuration's ({their_split})"
        return _error(
            name, cause, f"Give the same -c and --set as when it was trained, {exactly}, or train it: {again}"
        )
    place = str(data.manifest["results"].get("raw", ""))
    if place == str(raw.absolute()) and "source" not in apart:
        return _same_place(name, apart, place, data.manifest["created"], exactly, again)
    found = CONFIG_OPTION.match(other.manifest["command"])
    by_config = f"Give its configuration (-c {found[1]}), " if found else "Give the configuration of its data (-c), "
    cause = f"is trained in {store.root} on other data alone: {theirs['source']} in {place}"
    return _error(name, cause, f"{by_config}{exactly}, or train it on {ours['source']}: {again}")


def _same_place(name: str, apart: set[str], place: str, made: str, exactly: str, again: str) -> ArtifactError:
    """Return the error of a name that a ranker has which was trained on what lay, or was read, otherwise there."""
    if "files" in apart and not Path(place).exists():
        cause = f"was trained on {place}, which is not there any more"
        return _error(name, cause, f"Put the files back, or {exactly}")
    if apart & {"options", "prepare"}:
        cause = f"was trained on {place} with other settings of data ({', '.join(sorted(apart - {'code'}))})"
        return _error(
            name, cause, f"Give the same -c and --set as when it was trained, {exactly}, or train it: {again}"
        )
    if "files" in apart:
        cause = f"was trained on data of {made[:10]}, and the files in {place} have changed since"
    elif "erased" in apart:
        cause = f"was trained on data of {made[:10]}, and users were erased from it since"
    else:
        cause = f"was trained on data of {made[:10]}, and the code that reads it has changed since"
    return _error(name, cause, f"Train it on what it is now: {again}; or {exactly}")


def _train(names: Names, name: str) -> str:
    command = f"recsys train --set ranker.name={name.removeprefix('ranker/')}"
    config = names.config
    plain = (config.data, config.split, list(names.asked)) == (DataSettings(), SplitSettings(), [])
    return command if plain else f"{command}, with the -c and --set of this run"


def _error(name: str, cause: str, remedy: str) -> ArtifactError:
    return ArtifactError(f"ranker {name!r}", cause, remedy)
