"""Trainings and test metrics, written as well to where one already looks: TensorBoard's files, or MLflow.

The artifacts hold all of it, so this copies from finished ones: what was trained before is copied when it is next asked
for, nothing is copied twice, and no result depends on it. Of users, paths, hosts and accounts it writes nothing.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from recsys.core.artifact import Artifact
from recsys.core.errors import ConfigError

Kind = Literal["none", "tensorboard", "mlflow"]
PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboard"),
    "mlflow": ("mlflow", '"recsys[mlflow]"'),
}  # what to install
COUNTED = ("fit_wall_s", "fit_cpu_s", "n_parameters")


@dataclass(frozen=True)
class Training:
    """What is written of a trained ranker.

    Attributes:
        name, key, kind: of its artifact.
        experiment: the split and its key: rankers of one experiment were tested on the same.
        settings: of the ranker, data and split, ``"ranker.num_layers" -> 3``.
        curve: one row an evaluated epoch, with ``epoch`` and ``wall_s``.
        best: validation metrics and epoch of the weights that were kept, and what the fit cost.
        began, ended: seconds since 1970.
    """

    name: str
    key: str
    kind: str
    experiment: str
    settings: Mapping[str, str | float]
    curve: list[Mapping[str, float]]
    best: Mapping[str, float]
    began: float
    ended: float

    @classmethod
    def of(cls, trained: Artifact, split: Artifact, data: Artifact) -> Training:
        """Read it from finished artifacts."""
        config, results = trained.config, trained.manifest["results"]
        told = {
            "ranker": config["ranker"], "seed": config["seed"], "metric": config["metric"], "split": split.config,
            "data": {"source": data.config["source"], "prepare": data.config["prepare"]},
            "commit": trained.manifest["commit"],
        }  # fmt: skip
        told |= {"knockout": config["knockout"]} if "knockout" in config else {}
        best = {**results["best"], "epoch": results["best_epoch"]} | {name: results[name] for name in COUNTED}
        experiment = f"{split.manifest['name']}-{split.key}"
        names = trained.manifest["name"], trained.key, trained.kind, experiment
        ended = datetime.fromisoformat(trained.manifest["created"]).timestamp()
        began = ended - results["fit_wall_s"]
        return cls(*names, dict(_flat(told)), results["rows"], dict(_numbers(best)), began, ended)

    def points(self) -> Iterator[tuple[str, float, int, float]]:
        """Yield name, value, epoch and seconds since the beginning of the curve's numbers."""
        for row in self.curve:
            for name, value in _numbers(row):
                if name not in ("epoch", "wall_s"):
                    yield f"curve/{name}", value, int(row["epoch"]), float(row.get("wall_s", 0.0))


class Writer(Protocol):
    """Puts numbers somewhere; what is there already is left as it is."""

    def training(self, one: Training) -> None: ...

    def evaluation(self, one: Training, label: str, metrics: Mapping[str, float]) -> None: ...


class Tracking:
    """Copies what a run makes; its failure is told once, and is no failure of the run.

    Args:
        kind: where to.
        root: folder for what is written to files.
        uri: of MLflow; empty: what the environment says (``MLFLOW_TRACKING_URI``), else a database below ``root``.
        log: receives a line of text where something cannot be written.

    Raises:
        ConfigError: the package it takes is not installed.
    """

    def __init__(self, kind: Kind, root: Path, uri: str = "", *, log: Callable[[str], None]) -> None:
        module, install = PACKAGES[kind]
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"setting run.track {kind!r}", f"{module} is not installed", f"Install it with: pip install {install}"
            )
        self.kind, self.log = kind, log
        self._open = lambda: _writer(kind, root, uri)
        self._writer: Writer | None = None
        self._done: set[str] = set()

    def training(self, trained: Artifact, split: Artifact, data: Artifact) -> None:
        """Write settings, learning curve and best validation metrics of a trained ranker."""
        self._write(trained.key, lambda to: to.training(Training.of(trained, split, data)))

    def evaluation(self, made: Artifact, trained: Artifact, split: Artifact, data: Artifact) -> None:
        """Write metrics on test (or on validation) of a trained ranker, and the training if it is not there."""
        self.training(trained, split, data)
        label = _plain(made.manifest["name"].removeprefix(f"{trained.manifest['name']}-"))  # test, test-shuffle-text
        metrics = dict(_numbers(made.manifest["results"]))
        self._write(made.key, lambda to: to.evaluation(Training.of(trained, split, data), label, metrics))

    def _write(self, key: str, write: Callable[[Writer], None]) -> None:
        if key in self._done:
            return
        try:
            self._writer = self._writer or self._open()
            write(self._writer)
        except Exception as error:  # a full disk, a server out of reach, a store of another version: all the same here
            self.log(f"tracking by {self.kind} is off from here on: {_brief(error)}; the results are not affected")
            self._writer = _Nowhere()
        self._done.add(key)


class _Nowhere:
    """Takes the place of a writer that failed, so that an unreachable server is waited for once."""

    def training(self, one: Training) -> None:
        return

    def evaluation(self, one: Training, label: str, metrics: Mapping[str, float]) -> None:
        return


def _writer(kind: Kind, root: Path, uri: str) -> Writer:
    from recsys.trackers import MLflow, TensorBoard

    return MLflow(uri, root) if kind == "mlflow" else TensorBoard(root / "tensorboard")


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str | float]]:
    """Yield settings as one level of names with dots; lists as JSON; unset ones are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, (list, tuple)):
            yield before + name, json.dumps(value, default=str)
        elif value is not None:
            yield before + name, value if isinstance(value, (int, float, str)) else str(value)


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what is a finite number; ``ndcg@20`` as ``ndcg_at_20``, since neither of the two takes an @."""
    for name, value in values.items():
        if isinstance(value, (int, float)) and math.isfinite(value):
            yield _plain(name.replace("@", "_at_")), float(value)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
