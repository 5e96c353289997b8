"""Ray Train's workers learn what one process does, say what went wrong, and go on where they were."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.core.errors import RankerError
from recsys.core.runtime import Run
from recsys.core.values import FitLog, ItemFeatures
from recsys.evaluation.evaluator import EvaluationSettings, make_validator
from recsys.executing import ExecutorError, make_executor
from recsys.rankers.lightgcn import LightGCN
from recsys.rankers.store import load_ranker, make_ranker, resolved

from worlds import block_features, blocks, chain

pytest.importorskip("ray")
pytestmark = pytest.mark.slow  # each of Ray Train's groups of workers takes ten seconds and more to start

SMALL = {"epochs": 4, "embedding_dim": 16, "learning_rate": 0.02, "batch_size": 31, "devices": 2}


class Known(LightGCN):
    """Leaves the number of its process in a file, where it is no leader."""

    def fit(self, train, features, *, valid=None, run):
        if valid is None:
            Path("other.txt").write_text(str(os.getpid()))
        return super().fit(train, features, valid=valid, run=run)


class Killing:
    """A validator that kills the other worker at its third call, once."""

    def __init__(self) -> None:
        self.inner = make_validator(chain(), EvaluationSettings(ks=(2,), metric="ndcg@2"))
        self.metric, self.held_out, self.calls = self.inner.metric, self.inner.held_out, 0

    def __call__(self, ranker: Any) -> Mapping[str, float]:
        self.calls += 1
        if self.calls == 3:
            os.kill(int(Path("other.txt").read_text()), signal.SIGKILL)
            time.sleep(1)
        return self.inner(ranker)


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    """Ray, started once: a training then neither starts nor ends it."""
    with make_executor("ray", 2) as executor:
        assert list(executor.map(abs, [-1])) == [1]
        yield


def both(config: Mapping[str, Any], folder: Path, **given: Any) -> tuple[tuple[Any, FitLog], tuple[Any, FitLog], list]:
    """Fit by one process and by Ray's, and return both, and what was said."""
    from recsys.training_ray import train_on_ray

    config, notes = resolved({**SMALL, **config}), []
    world = given.pop("world", chain)()
    features = block_features(world) if config["name"] in ("freedom", "mmssl") else ItemFeatures()
    usual = make_validator(world, EvaluationSettings(ks=(2,), metric="ndcg@2"))
    one = make_ranker({**config, "devices": 1})
    log = one.fit(world.train, features, valid=usual, run=Run(seed=5, log=lambda message: None))
    run = Run(seed=5, folder=folder, log=notes.append)
    return (one, log), train_on_ray(config, world.train, features, valid=given.get("valid", usual), run=run), notes


def assert_alike(one: tuple[Any, FitLog], other: tuple[Any, FitLog]) -> None:
    assert (one[1].best_epoch, len(one[1].rows)) == (other[1].best_epoch, len(other[1].rows))
    for left, right in zip(one[1].rows, other[1].rows, strict=True):
        for name in left.keys() - {"wall_s"}:
            assert left[name] == pytest.approx(right[name], abs=1e-6), name
    for name, array in one[0].embeddings().items():
        np.testing.assert_allclose(array, other[0].embeddings()[name], rtol=1e-5, atol=2e-6, err_msg=name)


def test_two_workers_learn_what_one_process_does_and_a_training_that_is_over_is_not_done_again(tmp_path: Path) -> None:
    one, two, notes = both({"name": "lightgcn"}, tmp_path)
    assert_alike(one, two)
    assert notes[0] == "training by 2 workers of Ray, a CPU each"
    assert notes[1:] == [f"validation {n + 1}: ndcg@2 {row['ndcg@2']:.4f}" for n, row in enumerate(two[1].rows)]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    _, again, notes = both({"name": "lightgcn"}, tmp_path)
    assert_alike(two, again)
    assert [note.partition(":")[0] for note in notes[1:]] == ["continuing lightgcn after epoch 4"]


def test_features_travel(tmp_path: Path) -> None:
    one, two, _ = both({"name": "freedom", "keep_edges": 0.7}, tmp_path, world=blocks)
    assert one[1].rows[-1]["ndcg@2"] == pytest.approx(two[1].rows[-1]["ndcg@2"], abs=1e-6)


def test_one_worker_is_enough(tmp_path: Path) -> None:
    one, alone, _ = both({"name": "sasrec", "devices": 1, "max_length": 8}, tmp_path)
    assert_alike(one, alone)


def test_a_ranker_that_cannot_be_divided_says_so(tmp_path: Path) -> None:
    with pytest.raises(RankerError, match=r"no mean over the rows.*devices = 2.*Set ranker.devices = 1"):
        both({"name": "mmssl"}, tmp_path, world=blocks)
    assert not list(tmp_path.iterdir())


def test_a_killed_worker_is_said_and_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = {"name": "test_training_ray:Known"}
    with pytest.raises(ExecutorError, match=r"a Ray Train worker: .*goes on from the last validation"):
        both(config, tmp_path / "training", valid=Killing())
    one, two, notes = both(config, tmp_path / "training")
    assert_alike(one, two)
    assert any("after epoch" in note for note in notes)


def test_by_the_command_line(tmp_path: Path) -> None:
    settings = ("ranker.name=lightgcn", "ranker.epochs=2", "items.text=none", "items.image=none")

    def trained(devices: int, *given: str) -> Any:
        chosen = [part for one in (*settings, f"ranker.devices={devices}") for part in ("--set", one)]
        done = CliRunner().invoke(main, ["train", "--artifacts", str(tmp_path), "--json", "--quiet", *chosen, *given])
        assert done.exit_code == 0, done.output
        return load_ranker(Path(json.loads(done.stdout)["path"]))

    one, two = trained(1), trained(2, "--executor", "ray")
    for name, array in one.embeddings().items():
        np.testing.assert_allclose(array, two.embeddings()[name], atol=1e-4, err_msg=name)
    assert not list(tmp_path.glob("**/ray"))
