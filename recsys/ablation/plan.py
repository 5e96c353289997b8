"""What an ablation is asked for: section ``[ablation]`` of a run's TOML, and the cells that follow from it.

A cell is one training: a set of components switched off, a seed, a variant of data and split. All cells are worked
out, and all settings looked at, before anything is trained.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from recsys.ablation.settings import SECTION, AblationSettings, ComponentSettings, VariantSettings, ablation_of
from recsys.core.config import apply_overrides, read_toml
from recsys.core.errors import ConfigError, did_you_mean
from recsys.evaluation.knockout import Knockout
from recsys.rankers.store import resolved
from recsys.runconfig import RunConfig, config_of, overridden
from recsys.workflow import Part

PLUS, INTACT = "+", "intact"  # between the names of a pair; the name of the run as it is
FIXED = ("split", "evaluation", "run")  # sections that all sets of components must share, or nothing can be paired


@dataclass(frozen=True)
class Cell:
    """One training and its measurement, as plain values that travel to a worker.

    Attributes:
        variant: its name.
        off: components that are switched off; empty: the run as it is.
        seed: of training.
        part: what is measured on.
        config: the run, by section.
        knockout: item features that are altered.
    """

    variant: str
    off: tuple[str, ...]
    seed: int
    part: Part
    config: Mapping[str, Any]
    knockout: Knockout | None = None


@dataclass(frozen=True)
class Plan:
    """An ablation whose settings were found to fit: what is trained, before anything is."""

    settings: AblationSettings
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, overrides: Sequence[str] = (), *, pairs: bool = False) -> Plan:
        """Read a run's TOML with its section ``[ablation]``; ``data.raw`` may lie in the folder named by RECSYS_DATA.

        Raises:
            ConfigError: an unknown key, a value that does not fit, a component that changes nothing.
        """
        values = overridden(read_toml(path), overrides)
        if SECTION not in values:
            cause = "it has no section [ablation]"
            raise ConfigError(f"config {path}", cause, "Add one: recsys doctor --settings ablation")
        settings = ablation_of(values.pop(SECTION))
        if pairs:
            settings = settings.model_copy(update={"pairs": True})
        plan = cls(settings, values)
        plan.check()
        return plan

    @property
    def variants(self) -> Sequence[VariantSettings]:
        return self.settings.variants or (VariantSettings(name="the run as it is"),)

    @property
    def sets(self) -> list[tuple[str, ...]]:
        """Sets of components to switch off: none, each, and of two at once those that can be."""
        return [(), *((name,) for name in self._single), *(pair for pair in self._pairs if pair not in self.skipped)]

    @property
    def _single(self) -> list[str]:
        return [name for name in self.settings.components if not self._is_pair(name)]

    @property
    def _pairs(self) -> list[tuple[str, ...]]:
        pairs = list(itertools.combinations(self._single, 2)) if self.settings.pairs else []
        named = (name.split(PLUS) for name in self.settings.components if self._is_pair(name))
        return list(dict.fromkeys([*pairs, *(tuple(sorted(pair, key=self._single.index)) for pair in named)]))

    @cached_property
    def skipped(self) -> dict[tuple[str, ...], str]:
        """Pairs that cannot be switched off together, and why: a fusion of one member, two values of a setting."""
        faults = {}
        for pair in self._pairs:
            try:
                for variant in self.variants:
                    self._check_set(variant, pair, self.config(variant))
            except ConfigError as error:
                own = error.thing.startswith("component")  # says which pair it is, which the row says already
                faults[pair] = error.cause if own else f"{error.thing}: {error.cause}"
        return faults

    def _is_pair(self, name: str) -> bool:
        parts = name.split(PLUS)
        return len(set(parts)) == 2 and all(part in self.settings.components for part in parts)

    def config(self, variant: VariantSettings, off: Sequence[str] = ()) -> RunConfig:
        """Return the run of a variant without some components.

        Raises:
            ConfigError: a setting does not fit, or a member to leave out is not there.
        """
        parts = self._parts(off)
        values = overridden(dict(self.values), [*variant.set, *(text for part in parts for text in part.set)])
        config = config_of(with_raw(values))
        gone = [name for part in parts for name in part.without]
        return config.model_copy(update={"ranker": resolved(_without(config.ranker, gone))})

    def _parts(self, off: Sequence[str]) -> list[ComponentSettings]:
        """Return what switches a set off: a pair that is named itself, or each of its components."""
        known = self.settings.components
        for pair in filter(self._is_pair, known):
            if set(pair.split(PLUS)) == set(off):
                return [known[pair]]
        return [known[name] for name in off]

    def knockout(self, off: Sequence[str]) -> Knockout | None:
        """Return what of the item features is altered for a set.

        Raises:
            ConfigError: two components alter features in two ways.
        """
        found = [part.knockout for part in self._parts(off) if part.knockout]
        if len({one.how for one in found}) > 1:
            raise _no_pair(off, "they alter item features in two ways")
        names = dict.fromkeys(name for one in found for name in one.modalities)
        return Knockout(found[0].how, tuple(names)) if found else None

    def cells(self, seeds: Sequence[int]) -> Iterator[Cell]:
        """Yield the cells of some seeds: what the others share, the run as it is, first."""
        for variant, off, seed in itertools.product(self.variants, self.sets, seeds):
            config = self.config(variant, off).model_dump(mode="json")
            config["run"] |= {"seed": seed}
            yield Cell(variant.name, off, seed, self.settings.part, config, self.knockout(off))

    def check(self) -> None:
        """Look at every variant and set.

        Raises:
            ConfigError: a setting does not fit, changes nothing, or changes what all must share.
        """
        if not self.settings.components:
            remedy = "Add [ablation.components] with text = {modality = 'text'} or the like."
            raise ConfigError(f"section {SECTION}", "it names no components", remedy)
        if INTACT in self.settings.components:
            raise ConfigError(f"component {INTACT!r}", "so is the run as it is called", "Give it another name.")
        if len({one.name for one in self.variants}) < len(self.variants):
            raise ConfigError(f"setting {SECTION}.variants", "two have the same name", "Give each a name of its own.")
        bases = [self.config(variant) for variant in self.variants]
        for variant, base in zip(self.variants, bases, strict=True):
            self._check_metrics(base, bases[0], variant.name)
            for name in self._single:
                self._check_set(variant, (name,), base)

    def _check_set(self, variant: VariantSettings, off: tuple[str, ...], base: RunConfig) -> None:
        if len(off) > 1 and len(self._parts(off)) > 1:
            _refuse_same_settings(off, self._parts(off))
        config, knockout = self.config(variant, off), self.knockout(off)
        thing = f"component {PLUS.join(off)!r}"
        for section in FIXED:
            if getattr(config, section) != getattr(base, section):
                raise ConfigError(thing, f"it changes {section}, which all must share", "Make a variant of it.")
        if config == base and not knockout:
            cause = f"it switches nothing off: the run of {variant.name!r} has these settings anyway"
            raise ConfigError(thing, cause, "Give settings, a member or a modality that make a difference.")

    def _check_metrics(self, config: RunConfig, first: RunConfig, name: str) -> None:
        known = [f"{metric}@{k}" for metric in config.evaluation.metrics for k in config.evaluation.ks]
        for metric in self.settings.metrics:
            if metric not in known:
                raise ConfigError(
                    f"setting {SECTION}.metrics {metric!r}", "it is not computed", did_you_mean(metric, known)
                )
        if config.evaluation.metric != first.evaluation.metric:
            raise ConfigError(f"variant {name!r}", "it is measured by another metric", "Set evaluation.metric for all.")

    def metrics(self) -> list[str]:
        """Return the metrics that are reported, the one that decides first."""
        settings = self.config(self.variants[0]).evaluation
        k = settings.metric.partition("@")[2]
        others = self.settings.metrics or [f"{name}@{k}" for name in ("recall", "mrr") if name in settings.metrics]
        return list(dict.fromkeys([settings.metric, *others]))


def with_raw(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with ``data.raw`` in the folder named by RECSYS_DATA, if it is there and not where you are."""
    raw, shared = values.get("data", {}).get("raw"), os.environ.get("RECSYS_DATA")
    if not isinstance(raw, str) or not shared or Path(raw).exists() or not (Path(shared) / raw).exists():
        return values
    return apply_overrides(values, [f"data.raw={str(Path(shared) / raw)!r}"])


def _without(ranker: Mapping[str, Any], gone: Sequence[str]) -> dict[str, Any]:
    if not gone:
        return dict(ranker)
    members = ranker.get("members", ())
    names = [member.get("name") for member in members]
    for name in gone:
        if name not in names:
            remedy = did_you_mean(name, names) if names else "Only a fusion has members."
            raise ConfigError(f"member {name!r}", "the ranker has none of that name", remedy)
    return {**ranker, "members": [member for member in members if member["name"] not in gone]}


def _refuse_same_settings(off: Sequence[str], parts: Sequence[ComponentSettings]) -> None:
    """Refuse a pair whose second setting would undo the first one."""
    first, second = ([text.partition("=")[0].strip().split(".") for text in part.set] for part in parts)
    for one, other in itertools.product(first, second):
        shorter = min(len(one), len(other))
        if one[:shorter] == other[:shorter]:
            raise _no_pair(off, f"both set {'.'.join(one)}")


def _no_pair(off: Sequence[str], cause: str) -> ConfigError:
    remedy = f'Say what switches both off: components."{PLUS.join(off)}" = …'
    return ConfigError(f"components {' and '.join(off)} at once", cause, remedy)
