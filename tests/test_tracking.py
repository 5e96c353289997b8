"""Trainings and metrics are copied to TensorBoard or MLflow as they are, once, and no result depends on it."""

from __future__ import annotations

import getpass
import importlib.util
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from recsys.core.errors import ConfigError
from recsys.runconfig import read_config
from recsys.trackers import MLflow
from recsys.workflow import Workflow

ROWS = [f"u{user},i{(user * 7 + place * 3) % 20},{1 + place % 5},{place}" for user in range(30) for place in range(9)]
EPOCHS = 3


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Return a function that gives a workflow of a tiny data set with settings; what it logs is in ``.said``."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_text("user_id,item_id,rating,timestamp\n" + "\n".join(ROWS) + "\n")

    def made(*overrides: str) -> Workflow:
        settings = (
            "data.source=own", f"data.raw={str(tmp_path / 'raw')!r}", "data.options.interactions=a.csv",
            "items.text=none", "evaluation.ks=[5]", "evaluation.metric=ndcg@5", "ranker.name=lightgcn",
            f"ranker.epochs={EPOCHS}", "ranker.embedding_dim=4", f"run.artifacts={str(tmp_path / 'artifacts')!r}",
        )  # fmt: skip
        said: list[str] = []
        workflow = Workflow(read_config(None, (*settings, *overrides)), log=said.append)
        workflow.said = said
        return workflow

    return made


@pytest.fixture(scope="session")
def _empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow's, whose tables take seconds to make."""
    folder = tmp_path_factory.mktemp("mlflow")
    MLflow(str(folder), folder)._experiment("Default")
    return folder / "mlflow.db"


@pytest.fixture
def store(_empty: Path, tmp_path: Path) -> Any:
    """Return a function that puts an empty database at a path and returns its URI."""

    def put(name: str) -> str:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_empty, tmp_path / name)
        return f"sqlite:///{tmp_path / name}"

    return put


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def curve(rows: list[dict[str, float]], name: str) -> list[tuple[int, Any]]:
    return [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in rows]


def test_tensorboard_has_the_curve_the_best_and_the_test_metrics(make, tmp_path: Path) -> None:
    flow = make("run.track=tensorboard")
    trained = flow.train()
    measured = flow.evaluate(trained).manifest["results"]
    results = trained.manifest["results"]
    folder = tmp_path / f"artifacts/tracking/tensorboard/own-random-{flow.split().key}/lightgcn-{trained.key}"
    found = scalars(folder)
    assert len(results["rows"]) == EPOCHS
    assert found["curve/ndcg_at_5"] == curve(results["rows"], "ndcg@5")
    assert found["curve/loss"] == curve(results["rows"], "loss")
    assert found["best/ndcg_at_5"][0][1] == pytest.approx(results["best"]["ndcg@5"], rel=1e-6)
    assert scalars(folder / "test")["test/ndcg_at_5"][0][1] == pytest.approx(measured["ndcg@5"], rel=1e-6)


def test_tensorboard_has_the_settings_and_names_neither_the_host_nor_a_place(make, tmp_path: Path) -> None:
    flow = make("run.track=tensorboard")
    flow.evaluate(flow.train())
    files = [path for path in (tmp_path / "artifacts/tracking").rglob("*") if path.is_file()]
    assert len(files) == 2  # no draft is left
    written = b"".join(path.read_bytes() for path in files)
    assert b"ranker.embedding_dim" in written
    assert b"split.kind" in written
    assert str(tmp_path).encode() not in written
    assert all(socket.gethostname() not in path.name for path in files)


def test_what_was_trained_before_is_copied_once_it_is_asked_for(make, tmp_path: Path) -> None:
    flow = make()
    trained = flow.train()
    flow.evaluate(trained)
    assert not (tmp_path / "artifacts/tracking").exists()
    later = make("run.track=tensorboard")
    later.evaluate(later.train())
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "artifacts/tracking").rglob("events*")}
    assert len(files) == 2
    again = make("run.track=tensorboard")
    again.evaluate(again.train())
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_tracking_changes_no_key(make, store) -> None:
    flows = [make(), make("run.track=tensorboard"), make("run.track=mlflow", f"run.track_uri={store('m.db')}")]
    trained = [flow.train() for flow in flows]
    assert len({one.path for one in trained}) == 1
    assert len({flow.evaluate(one).path for flow, one in zip(flows, trained, strict=True)}) == 1


def test_mlflow_has_a_run_with_curve_settings_and_test_metrics_and_no_user(make, store, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = store("artifacts/tracking/mlflow.db")
    for _ in range(2):  # the second time nothing is added
        flow = make("run.track=mlflow")
        trained = flow.train()
        measured = flow.evaluate(trained).manifest["results"]
        assert flow.said == [] or not any("tracking" in line for line in flow.said)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(f"own-random-{flow.split().key}")
    (run,) = client.search_runs([experiment.experiment_id])
    history = sorted((one.step, one.value) for one in client.get_metric_history(run.info.run_id, "curve/ndcg_at_5"))
    assert history == curve(trained.manifest["results"]["rows"], "ndcg@5")
    assert run.data.metrics["test/ndcg_at_5"] == pytest.approx(measured["ndcg@5"])
    assert run.data.metrics["best/ndcg_at_5"] == pytest.approx(trained.manifest["results"]["best"]["ndcg@5"])
    assert run.data.params["ranker.epochs"] == str(EPOCHS)
    assert run.info.status == "FINISHED"
    told = [*run.data.tags.values(), *run.data.params.values(), run.info.user_id]
    assert not {getpass.getuser(), socket.gethostname()} & set(told)
    assert not any(str(tmp_path) in one for one in told)


def test_a_run_that_was_interrupted_half_written_is_written_anew(make, store) -> None:
    from mlflow import MlflowClient

    flow = make()
    trained, uri = flow.train(), store("m.db")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment(f"own-random-{flow.split().key}")
    client.create_run(experiment, tags={"recsys.key": trained.key})
    make("run.track=mlflow", f"run.track_uri={uri}").train()
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert "best/ndcg_at_5" in run.data.metrics


def test_mlflow_goes_where_the_environment_says_or_into_a_folder(make, store, tmp_path: Path, monkeypatch) -> None:
    from mlflow import MlflowClient

    uris = [store(name) for name in ("env.db", "here/mlflow.db")]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uris[0])
    make("run.track=mlflow").train()
    make("run.track=mlflow", f"run.track_uri={str(tmp_path / 'here')!r}").train()
    for uri in uris:
        assert len(MlflowClient(tracking_uri=uri).search_experiments()) == 2  # MLflow's own Default, and ours
    assert not (tmp_path / "artifacts/tracking").exists()


@pytest.mark.parametrize("track", ["tensorboard", "mlflow"])
def test_a_place_that_cannot_be_written_is_told_once_and_ruins_nothing(make, tmp_path: Path, track: str) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/tracking").write_text("a file where a folder should be")
    flow = make(f"run.track={track}", "run.track_uri=http://127.0.0.1:9")
    trained = flow.train()
    assert flow.evaluate(trained).manifest["results"]["ndcg@5"] > 0
    assert sum("tracking by" in line for line in flow.said) == 1


def test_a_package_that_is_missing_is_said_before_anything_is_trained(make, tmp_path: Path, monkeypatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "mlflow" else there(name))
    with pytest.raises(ConfigError, match=r'pip install "recsys\[mlflow\]"'):
        make("run.track=mlflow").train()
    assert not list((tmp_path / "artifacts").glob("ranker/lightgcn*"))
