"""What a run is: ``RunConfig``, its TOML read and checked section by section, before anything is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from recsys.core.config import Settings, apply_overrides, make_settings, read_toml
from recsys.core.errors import ConfigError, did_you_mean
from recsys.data.canonical import CanonicalSettings
from recsys.data.splits import SplitSettings
from recsys.evaluation.picture_cases import JudgeSettings
from recsys.evaluation.task import EvaluationSettings
from recsys.items.describe import BudgetSettings
from recsys.profiles.llm.budget import BudgetSettings as TokenSettings
from recsys.profiles.llm.writer import WriterSettings
from recsys.rankers import RANKERS
from recsys.tracking import Kind as Tracks

DEFAULT_RANKER = "ease"


class DataSettings(Settings):
    """Section ``[data]``: where interactions and items come from."""

    source: str = Field("ml-100k", description="Data set or file format: see recsys data --list.")
    raw: Path | None = Field(None, description="Folder of the raw files, from where you are; unset: data/raw/<source>.")
    options: dict[str, Any] = Field({}, description="Settings of the source: see recsys data --list --source NAME.")
    name: str | None = Field(
        None,
        pattern=r"^\w[\w.+-]{0,79}$",
        description="Of the files that keep feedback and profiles; unset: data is recognised by content, else folder.",
    )
    prepare: CanonicalSettings = Field(CanonicalSettings(), description="Thresholds, k-core, duplicates.")


class DescribeSettings(BudgetSettings):
    """Section ``[items.describe]``: who writes about items whose picture and text disagree, and how often."""

    describer: str = Field("none", description="Such as xreflect, which has settings of its own in items.options.")


class ItemSettings(Settings):
    """Section ``[items]``: how items become vectors."""

    text: str = Field("minilm", description="Encoder of titles, texts and attributes, or 'none'.")
    image: str = Field("efficientnet", description="Encoder of pictures, or 'none'; items without any: not used.")
    replace: tuple[Literal["text", "image"], ...] = Field(
        (), description="Modalities that are encoded for rankers though the source brings vectors of its own."
    )
    options: dict[str, dict[str, Any]] = Field({}, description="Settings by encoder: options.minilm.max_tokens = 64.")
    describe: DescribeSettings = Field(DescribeSettings(), description="Descriptions that are added to the texts.")

    def encoder_of(self, modality: str) -> str:
        return getattr(self, modality)


class LanguageSettings(Settings):
    """Section ``[llm]``: which language model puts profiles into words; no ranking depends on it."""

    model: str = Field("none", description="smollm, causal, openai or my_pkg.my_mod:Class; none: code alone tells.")
    options: dict[str, dict[str, Any]] = Field({}, description="Settings by model: options.causal.model = 'folder'.")
    budget: TokenSettings = Field(TokenSettings(), description="How much may be asked; cached answers are free.")
    writer: WriterSettings = Field(WriterSettings(), description="How much it is asked for.")
    searches: dict[str, Any] = Field(
        {},
        description="Settings of the writer of searches, which is fine-tuned: recsys doctor --settings llm.searches.",
    )
    soft_tokens: dict[str, Any] = Field(
        {}, description="Settings of how it reads users as tokens: recsys doctor --settings llm.soft_tokens."
    )


class VisualSettings(Settings):
    """Section ``[visuals]``: who draws items for users, and from how many candidates the best are chosen."""

    generator: str = Field("embedded", description="embedded, catalogue or my_pkg.my_mod:Class.")
    options: dict[str, dict[str, Any]] = Field({}, description="Settings by generator: options.embedded.steps = 8.")
    candidates: int = Field(2, ge=1, description="Candidates that are drawn for each picture that is kept.")


class RunSettings(Settings):
    """Section ``[run]``: what is not part of a result's meaning, but for the seed."""

    seed: int = Field(0, ge=0, description="Of initial weights, batches and negatives.")
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|auto)$", description="cpu, cuda, cuda:1 or auto.")
    artifacts: Path = Field(Path("data/artifacts"), description="Folder of all results.")
    track: Tracks = Field(
        "none",
        description="tensorboard or mlflow: settings, learning curves and metrics are copied there, too "
        "(tensorboard: to tracking/tensorboard below the artifacts); none: the artifacts alone have them.",
    )
    track_uri: str = Field(
        "", description="MLflow's server, database or folder; unset: MLFLOW_TRACKING_URI, else tracking/mlflow.db."
    )


class RunConfig(Settings):
    """A whole run: one TOML file."""

    data: DataSettings = Field(DataSettings(), description="Where interactions and items come from.")
    split: SplitSettings = Field(SplitSettings(), description="What is learned from, chosen by and tested on.")
    items: ItemSettings = Field(ItemSettings(), description="How items become vectors.")
    ranker: dict[str, Any] = Field({"name": DEFAULT_RANKER}, description="name, and the settings of that ranker.")
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="How rankers are measured.")
    llm: LanguageSettings = Field(LanguageSettings(), description="Who puts profiles into words.")
    visuals: VisualSettings = Field(VisualSettings(), description="Who draws items for users.")
    judge: JudgeSettings = Field(JudgeSettings(), description="How pictures for users are judged.")
    run: RunSettings = Field(RunSettings(), description="Seed, device, folder of results.")


def read_config(path: Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run's TOML (or only defaults) with ``--set`` values on top.

    A section ``[ablation]`` is for ``recsys ablate`` alone, and is passed over.

    Raises:
        ConfigError: an unknown section or key, or a value that does not fit.
    """
    values = overridden(read_toml(path) if path else {}, overrides)
    return config_of({name: value for name, value in values.items() if name != "ablation"})


def overridden(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a run's plain values with ``--set`` values on top.

    Where ``ranker.name`` changes, the settings that the values have for their own ranker are left out: they are
    another's, whose settings of the same name may mean something else.

    Raises:
        ConfigError: an override that is not of the form ``a.b=c``.
    """
    set_here, section = apply_overrides({}, overrides).get("ranker"), values.get("ranker")
    name = set_here.get("name") if isinstance(set_here, Mapping) else None
    if name is not None and isinstance(section, Mapping) and section.get("name", DEFAULT_RANKER) != name:
        values = {**values, "ranker": {}}
    return apply_overrides(values, overrides)


def config_of(values: Mapping[str, Any]) -> RunConfig:
    """Build a run from plain values by section, as a TOML file has them.

    Raises:
        ConfigError: an unknown section or key, or a value that does not fit.
    """
    sections = RunConfig.model_fields
    for name in values:
        if name not in sections:
            raise ConfigError(f"setting {name}", "a run has no such section", did_you_mean(name, sections))
    parts = {name: _part(sections[name].annotation, value, name) for name, value in values.items()}
    if "ranker" in parts:
        parts["ranker"] = _ranker_section(parts["ranker"])
    return make_settings(RunConfig, parts, "config")


def _part(kind: Any, value: Any, where: str) -> Any:
    """Build a section and the sections in it, each by itself, so that a message names the innermost."""
    if not (isinstance(kind, type) and issubclass(kind, Settings)):
        return value
    fields = kind.model_fields
    built = {
        name: _part(fields[name].annotation, inner, f"{where}.{name}") if name in fields else inner
        for name, inner in _mapping(value, where).items()
    }
    return make_settings(kind, built, where)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"setting {where}", "is a section, not a value", f"Write [{where}] and keys below it.")
    return value


def _ranker_section(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        raise ConfigError("setting ranker", "is a section, not a value", f"Write ranker.name={value!r}.")
    section = {"name": DEFAULT_RANKER, **_mapping(value, "ranker")}
    if not isinstance(section["name"], str):
        raise ConfigError("setting ranker.name", f"{section['name']!r} is no name", "One of: " + ", ".join(RANKERS))
    return section


def check_device(name: str) -> None:
    """Refuse a device that PyTorch does not find here; imports torch only to look for CUDA.

    Raises:
        ConfigError: CUDA is asked for, and there is none, or fewer devices than that.
    """
    if not name.startswith("cuda"):
        return
    import torch

    found, number = torch.cuda.device_count(), int(name.partition(":")[2] or 0)
    if number >= found:
        raise ConfigError(
            f"setting run.device {name!r}", f"PyTorch finds {found} CUDA devices here", "Set run.device to cpu or auto."
        )
