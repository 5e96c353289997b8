"""Section ``[benchmark]`` of a TOML file: which data sets, which rankers on each, with which budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from recsys.ablation.plan import with_raw
from recsys.core.config import Settings, apply_overrides, make_settings, read_toml
from recsys.core.errors import ConfigError, did_you_mean
from recsys.core.fingerprint import fingerprint
from recsys.runconfig import RunConfig, config_of
from recsys.tuning.searchfile import Search, read_search
from recsys.tuning.space import Space

SECTION = "benchmark"
OURS, RECBOLE = "ours", "RecBole"
FAMILIES = {"implicit": "implicit", "cornac": "Cornac", "lenskit": "LensKit"}  # of ranker peer, by its library
NAME = r"^[\w.-]+$"


class SetSettings(Settings):
    """One of ``[[benchmark.sets]]``: a data set in a split, and what is tried on it."""

    name: str = Field(pattern=NAME, description="As --only takes it, and files are named.")
    title: str = Field(description="As tables call it.")
    run: Path = Field(description="TOML of the run, from this file: data, split and evaluation are taken from it.")
    search: Path = Field(description="Its rankers and where to look, from this file: as for recsys tune.")
    set: tuple[str, ...] = Field((), description="Settings on top of the run, as --set takes them.")
    trials: int | None = Field(None, ge=1, description="Trials of each ranker; unset: as for all sets.")
    seeds: tuple[int, ...] | None = Field(None, min_length=1, description="Of training; unset: as for all sets.")
    chosen: dict[str, str] = Field(
        {}, description="Rankers whose settings are given, not searched: how they were chosen, in words, by label."
    )


class BenchmarkSettings(Settings):
    """Section ``[benchmark]``: data sets, from cheap to costly, and the budget."""

    sets: tuple[SetSettings, ...] = Field(
        min_length=1, description="Data sets in their splits: see recsys doctor --settings benchmark.sets."
    )
    trials: int = Field(8, ge=1, description="Trials of each ranker on validation: all have the same budget.")
    seeds: tuple[int, ...] = Field(
        (0, 1, 2), min_length=1, description="Of training what was chosen; where two change nothing, no more."
    )

    @field_validator("sets")
    @classmethod
    def _different(cls, sets: tuple[SetSettings, ...]) -> tuple[SetSettings, ...]:
        names = [one.name for one in sets]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(f"setting {SECTION}.sets", f"{twice[0]!r} is there twice", "Give it another name.")
        return sets


@dataclass(frozen=True)
class Contest:
    """One data set, its rankers and the budget, looked at before anything is trained.

    Attributes:
        about: what the file says of it.
        config: the run.
        search: the rankers.
        seeds: of training.
    """

    about: SetSettings
    config: RunConfig
    search: Search
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.about.name

    @property
    def metric(self) -> str:
        return self.config.evaluation.metric

    @cached_property
    def mark(self) -> str:
        """A hash of all that is asked: results of another question are not kept beside those of this one."""
        sections = {
            "data",
            "split",
            "items",
            "evaluation",
        }  # no others decide: a new setting elsewhere asks nothing new
        config = self.config.model_dump(mode="json", include=sections, exclude={"data": {"raw"}})
        spaces = [[one.label, dict(one.fixed), [repr(axis) for axis in one.axes], one.members]
                  for one in self.search.spaces]  # fmt: skip
        tune, about = self.search.settings.model_dump(), self.about.model_dump(include={"title", "chosen"})
        return fingerprint([config, self.config.run.seed, spaces, tune, about, self.seeds])[:12]

    def chosen_how(self, space: Space) -> str:
        """Return in words how the settings of a ranker came about."""
        if space.label in self.about.chosen:
            return self.about.chosen[space.label]
        points = min(self.search.settings.trials, space.size)
        return f"best of {points:.0f} here" if points > 1 else "as given"


def family(ranker: Mapping[str, Any]) -> str:
    """Return whose a ranker is: ours, RecBole, implicit, Cornac or LensKit."""
    if ranker["name"] == "recbole":
        return RECBOLE
    library = ranker.get("library", "implicit")
    return FAMILIES.get(library, library) if ranker["name"] == "peer" else OURS


def read_benchmark(path: Path, overrides: Sequence[str] = (), artifacts: Path | None = None) -> list[Contest]:
    """Read and check a benchmark; ``data.raw`` of its runs may lie in the folder named by RECSYS_DATA.

    Args:
        path: the file.
        overrides: settings on top of every run, as ``--set`` takes them.
        artifacts: folder of results, in place of the runs' own.

    Raises:
        ConfigError: an unknown key, ranker or setting, or a value that does not fit.
    """
    values = read_toml(path)
    if SECTION not in values:
        raise ConfigError(f"config {path}", "it has no section [benchmark]", "Add one with [[benchmark.sets]].")
    settings = _settings(values[SECTION])
    more = (*overrides, *([f"run.artifacts={str(artifacts)!r}"] if artifacts else []))
    return [_contest(path.parent, one, settings, more) for one in settings.sets]


def named(contests: Sequence[Contest], only: Sequence[str]) -> list[Contest]:
    """Return the data sets of those names; of none: all.

    Raises:
        ConfigError: there is none of a name.
    """
    names = [contest.name for contest in contests]
    for name in only:
        if name not in names:
            raise ConfigError(f"data set {name!r}", "the benchmark does not have it", did_you_mean(name, names))
    return [contest for contest in contests if not only or contest.name in only]


def _settings(section: Any) -> BenchmarkSettings:
    """Build the section, each data set by itself, so that a message names what it is about."""
    if not isinstance(section, Mapping) or not isinstance(section.get("sets"), list):
        raise ConfigError(f"setting {SECTION}.sets", "missing, or no list of tables", "Add [[benchmark.sets]] tables.")
    parts = [
        make_settings(SetSettings, one, f"{SECTION}.sets[{place}]", f"{SECTION}.sets")
        for place, one in enumerate(section["sets"])
    ]
    return make_settings(BenchmarkSettings, {**section, "sets": parts}, SECTION)


def _contest(folder: Path, about: SetSettings, settings: BenchmarkSettings, overrides: Sequence[str]) -> Contest:
    values = apply_overrides(read_toml(folder / about.run), (*about.set, *overrides))
    search = read_search(folder / about.search, trials=about.trials or settings.trials)
    _check_chosen(about, {space.label: space for space in search.spaces})
    return Contest(about, config_of(with_raw(values)), search, about.seeds or settings.seeds)


def _check_chosen(about: SetSettings, spaces: Mapping[str, Space]) -> None:
    for label in about.chosen:
        where = f"setting {SECTION}.sets, chosen {label!r}"
        if label not in spaces:
            raise ConfigError(where, f"{about.search} has no such ranker", did_you_mean(label, spaces))
        if spaces[label].axes:
            raise ConfigError(where, f"{spaces[label].axes[0].name} of it is searched", "Give one value, or leave out.")
