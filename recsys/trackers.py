"""The two places that trainings can be copied to: TensorBoard's files and MLflow."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys.tracking import Training

EVENTS, KEY = "events.out.tfevents.recsys", "recsys.key"
MLFLOW_PARAMS, MLFLOW_METRICS, MLFLOW_LETTERS = 100, 1000, 6000  # a request's limits, and a value's
# Nothing is reported to anybody; and a server that is out of reach is waited for seconds, not minutes.
MLFLOW_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}  # fmt: skip


class TensorBoard:
    """A folder a ranker below ``root``, and one below it for each part that it was measured on.

    Args:
        root: what ``tensorboard --logdir`` takes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def training(self, one: Training) -> None:
        from torch.utils.tensorboard.summary import hparams

        def write(writer: Any) -> None:
            best = {f"best/{name}": value for name, value in one.best.items()}
            for summary in hparams(dict(one.settings), best):
                writer.file_writer.add_summary(summary)
            for name, value, epoch, seconds in one.points():
                writer.add_scalar(name, value, epoch, walltime=one.began + seconds)
            for name, value in best.items():
                writer.add_scalar(name, value, walltime=one.ended)

        self._once(self._folder(one), write)

    def evaluation(self, one: Training, label: str, metrics: Mapping[str, float]) -> None:
        def write(writer: Any) -> None:
            for name, value in metrics.items():
                writer.add_scalar(f"{label}/{name}", value)

        self._once(self._folder(one) / label, write)

    def _folder(self, one: Training) -> Path:
        return self.root / one.experiment / f"{one.name}-{one.key}"

    def _once(self, folder: Path, write: Callable[[Any], None]) -> None:
        """Write a file of events whole, under a name that does not tell the host, as TensorBoard's own would."""
        from torch.utils.tensorboard import SummaryWriter

        target = folder / EVENTS
        if target.exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.root, prefix=".draft-") as draft:
            with SummaryWriter(draft) as writer:
                write(writer)
            os.replace(next(Path(draft).iterdir()), target)


class MLflow:
    """A run a ranker, in an experiment a split.

    Args:
        uri: of a server or a database, or a folder that gets one; empty: as the environment says, else in ``root``.
        root: folder for the default database.
    """

    def __init__(self, uri: str, root: Path) -> None:
        for name, value in MLFLOW_QUIET.items():
            os.environ.setdefault(name, value)  # has to be there before the import
        from mlflow import MlflowClient

        uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "") or str(root)
        if "://" not in uri and uri != "databricks":  # MLflow has given up plain folders of files
            folder = Path(uri).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = MlflowClient(tracking_uri=uri)

    def training(self, one: Training) -> None:
        if self._run(one):
            return
        from mlflow.entities import Metric, Param

        tags = {KEY: one.key, "recsys.kind": one.kind}  # a client, unlike mlflow.start_run, adds neither user nor path
        experiment, began, ended = self._experiment(one.experiment), int(1000 * one.began), int(1000 * one.ended)
        run = self.client.create_run(experiment, began, tags, run_name=one.name).info.run_id
        params = [Param(name, str(value)[:MLFLOW_LETTERS]) for name, value in one.settings.items()]
        metrics = [Metric(name, value, began + int(1000 * at), step) for name, value, step, at in one.points()]
        metrics += [Metric(f"best/{name}", value, ended, 0) for name, value in one.best.items()]
        for some in batched(params, MLFLOW_PARAMS):
            self.client.log_batch(run, params=some)
        for some in batched(metrics, MLFLOW_METRICS):
            self.client.log_batch(run, metrics=some)
        self.client.set_terminated(run, end_time=ended)

    def evaluation(self, one: Training, label: str, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        run = self._run(one)
        if any(name.startswith(f"{label}/") for name in run.data.metrics):
            return
        now = int(1000 * time.time())
        self.client.log_batch(run.info.run_id, [Metric(f"{label}/{name}", x, now, 0) for name, x in metrics.items()])

    def _run(self, one: Training) -> Any:
        """Return the finished run of this very artifact; what an interruption left half written is removed."""
        found = self.client.search_runs([self._experiment(one.experiment)], f"tags.`{KEY}` = '{one.key}'")
        for run in found:
            if run.info.status != "FINISHED":
                self.client.delete_run(run.info.run_id)
        return next((run for run in found if run.info.status == "FINISHED"), None)

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            with contextlib.suppress(Exception):  # another worker was as quick; what is wrong else, the next line says
                return self.client.create_experiment(name)
            found = self.client.get_experiment_by_name(name)
        return found.experiment_id


def batched(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield stretches of at most ``size``: what one request may hold."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
