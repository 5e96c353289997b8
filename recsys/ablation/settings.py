"""Section ``[ablation]`` of a run's TOML: which components, with which seeds, on which data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from recsys.core.config import Settings, make_settings
from recsys.core.errors import ConfigError
from recsys.evaluation.knockout import Knockout
from recsys.workflow import Part

SECTION = "ablation"
HOW: Mapping[str, Literal["shuffle", "zero", "noise"]] = {"shuffled": "shuffle", "absent": "zero", "noise": "noise"}


class ComponentSettings(Settings):
    """One component of ``[ablation.components]``: what switches it off; a bare list is ``set``."""

    set: tuple[str, ...] = Field((), description="Settings, as --set takes them: [\"ranker.modalities=['image']\"].")
    without: tuple[str, ...] = Field((), description="Names of a fusion's members to leave out.")
    modality: tuple[str, ...] = Field((), description="Item features to knock out: text, image, attributes …")
    how: Literal["shuffled", "absent", "noise"] = Field(
        "absent", description="Of modality: vectors of other items, none, or normal numbers of the same spread."
    )

    @field_validator("without", "modality", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def knockout(self) -> Knockout | None:
        return Knockout(HOW[self.how], self.modality) if self.modality else None


class VariantSettings(Settings):
    """One of ``[[ablation.variants]]``: another data set or split."""

    name: str = Field(min_length=1, description="How tables call it.")
    set: tuple[str, ...] = Field((), description="Settings, as --set takes them: [\"split.kind='leave_last'\"].")


class AblationSettings(Settings):
    """Section ``[ablation]``: which components, with which seeds, on which data."""

    components: dict[str, ComponentSettings] = Field(
        {},
        description="By name: settings that switch it off, {without = MEMBER} or {modality = 'text', how = 'absent'}; "
        "see recsys doctor --settings ablation.components.",
    )
    seeds: tuple[int, ...] = Field(
        (0, 1, 2, 3, 4), min_length=1, description="Of training; where two change nothing, the rest is not trained."
    )
    variants: tuple[VariantSettings, ...] = Field(
        (), description="Data sets or splits (ablation.variants); none: the run."
    )
    pairs: bool = Field(False, description="Also switch off any two components at once.")
    metrics: tuple[str, ...] = Field((), description="Reported beside evaluation.metric [recall and mrr at its k].")
    part: Part = Field("test", description="What is measured on; settings are chosen on valid.")
    chosen: str = Field("", description="In words, for the report: on which data the settings were chosen.")

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ConfigError(f"setting {SECTION}.seeds {list(seeds)}", "one is there twice or below 0", "[0, 1, 2]")
        return seeds


PARTS: Mapping[str, type[Settings]] = {"components": ComponentSettings, "variants": VariantSettings}


def ablation_of(values: Any) -> AblationSettings:
    """Build the section and the tables in it, each by itself, so that a message names the innermost.

    Raises:
        ConfigError: an unknown key, or a value that does not fit.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"setting {SECTION}", "is a section, not a value", f"Write [{SECTION}] and keys below it.")
    parts = dict(values)
    if isinstance(parts.get("components"), Mapping):
        parts["components"] = {
            name: _part("components", {"set": value} if isinstance(value, list) else value, f"components.{name}")
            for name, value in parts["components"].items()
        }
    if isinstance(parts.get("variants"), list):
        parts["variants"] = [
            _part("variants", value, f"variants[{place}]") for place, value in enumerate(parts["variants"])
        ]
    return make_settings(AblationSettings, parts, SECTION)


def _part(kind: str, value: Any, where: str) -> Settings:
    if not isinstance(value, Mapping):
        raise ConfigError(f"setting {SECTION}.{where}", f"{value!r} is no table", "Such as {modality = 'text'}.")
    return make_settings(PARTS[kind], value, f"{SECTION}.{where}", f"{SECTION}.{kind}")
