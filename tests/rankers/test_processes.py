"""Two processes train what one does; who cannot says so; nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.core.errors import RankerError
from recsys.core.runtime import Run
from recsys.core.values import FitLog, ItemFeatures, Split
from recsys.evaluation.evaluator import EvaluationSettings, make_validator
from recsys.graph.interaction import InteractionGraph
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.lightgcn import LightGCN, LightGCNModule
from recsys.rankers.sasrec import SASRec, SASRecModule, Windows
from recsys.rankers.sharing import RowDropout, SeatedRun, divided_pairs, divided_users, rows_of
from recsys.rankers.store import make_ranker
from recsys.rankers.vectors import pair_batches, user_batches

from waiting import LONG, alive, wait_until
from worlds import block_features, blocks, chain

QUIET = Run(seed=5, log=lambda message: None)
SMALL = {"epochs": 4, "embedding_dim": 16, "learning_rate": 0.02}


class Valid:
    """A validator that does something else at its third call."""

    metric = "ndcg@2"

    def __init__(self, world: Split, meanwhile=lambda: None) -> None:
        self.inner, self.calls, self.meanwhile = (
            make_validator(world, EvaluationSettings(ks=(2,), metric="ndcg@2")),
            0,
            meanwhile,
        )

    def __call__(self, ranker: Any) -> Mapping[str, float]:
        self.calls += 1
        if self.calls == 3:
            self.meanwhile()
        return self.inner(ranker)


def fit(config: Mapping[str, Any], world: Split, *, run: Run = QUIET, **valid: Any) -> tuple[Any, FitLog]:
    ranker = make_ranker({**SMALL, **config})
    features = block_features(world) if config["name"] in ("freedom", "vbpr", "stair", "mmssl") else ItemFeatures()
    return ranker, ranker.fit(world.train, features, valid=Valid(world, **valid), run=run)


def assert_alike(one: tuple[Any, FitLog], other: tuple[Any, FitLog]) -> None:
    assert one[1].best_epoch == other[1].best_epoch
    assert len(one[1].rows) == len(other[1].rows)
    for left, right in zip(one[1].rows, other[1].rows, strict=True):
        assert left.keys() == right.keys()
        for name in left.keys() - {"wall_s"}:
            assert left[name] == pytest.approx(right[name], abs=1e-6), name
    for name, array in one[0].embeddings().items():
        np.testing.assert_allclose(array, other[0].embeddings()[name], rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    ("config", "world"),
    [
        ({"name": "lightgcn", "batch_size": 31}, chain),
        ({"name": "lightgcn", "loss": "bpr", "batch_size": 101}, chain),
        ({"name": "sasrec", "batch_size": 17, "max_length": 8, "dropout": 0.3}, chain),
    ],
    ids=["softmax", "pairs", "sequence with dropout"],
)
def test_two_processes_learn_what_one_does(config: dict[str, Any], world: Any) -> None:
    """The last batches are small and odd, so that shares are unequal."""
    assert_alike(fit(config, world()), fit({**config, "devices": 2}, world()))
    assert not active_children()
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        {"name": "freedom", "keep_edges": 0.7, "modality_weight": 0.1},
        {"name": "freedom", "loss": "bpr", "modality_weight": 0.1},
        {"name": "vbpr", "loss": "bpr", "similarity": "dot"},
        {"name": "vbpr", "id_term": False},
        {"name": "stair"},
    ],
    ids=str,
)
def test_three_processes_learn_what_one_does_from_features(config: dict[str, Any]) -> None:
    one, three = (fit({**config, "devices": devices, "batch_size": 31}, blocks()) for devices in (1, 3))
    for left, right in zip(one[1].rows, three[1].rows, strict=True):
        for name in left.keys() - {"wall_s"}:
            assert left[name] == pytest.approx(right[name], abs=1e-6), name
    for name, array in one[0].embeddings().items():
        apart = np.abs(array - three[0].embeddings()[name])
        assert np.quantile(apart, 0.99) < 1e-5, name
        assert apart.max() < 0.1 * SMALL["learning_rate"], name  # where a gradient is nearly 0, Adam moves by its sign


class Stop(Exception):
    pass


def test_a_training_that_one_began_is_continued_by_two(tmp_path: Path) -> None:
    def stop() -> None:
        raise Stop

    config = {"name": "lightgcn", "batch_size": 31}
    notes: list[str] = []
    with pytest.raises(Stop):
        fit(config, chain(), run=QUIET.at(tmp_path), meanwhile=stop)
    run = Run(seed=5, folder=tmp_path, log=notes.append)
    assert_alike(fit(config, chain()), fit({**config, "devices": 2}, chain(), run=run))
    assert any("after epoch 2" in note for note in notes)


def test_a_killed_process_ends_all_and_one_goes_on(tmp_path: Path) -> None:
    def kill() -> None:
        (helper,) = active_children()
        os.kill(helper.pid, signal.SIGKILL)

    config = {"name": "lightgcn", "batch_size": 31}
    with pytest.raises(RankerError, match=r"process 1 was killed \(SIGKILL\)"):
        fit({**config, "devices": 2}, chain(), run=QUIET.at(tmp_path), meanwhile=kill)
    assert not active_children()
    assert not torch.distributed.is_initialized()
    notes: list[str] = []
    run = Run(seed=5, folder=tmp_path, log=notes.append)
    assert_alike(fit(config, chain()), fit(config, chain(), run=run))
    assert any("after epoch" in note for note in notes)


class Breaking(LightGCN):
    """Fails in every process but the first."""

    def fit(self, train, features, *, valid=None, run):
        if isinstance(run, SeatedRun):
            raise KeyError("lost")
        return super().fit(train, features, valid=valid, run=run)


def test_an_error_of_another_process_is_told() -> None:
    ranker = Breaking(LightGCN.Settings(devices=2))
    with pytest.raises(RankerError, match=r"process 1 failed .*lost"):
        ranker.fit(chain().train, ItemFeatures(), valid=Valid(chain()), run=QUIET)
    assert not active_children()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.parametrize(
    "number",
    ["SIGKILL", pytest.param("SIGTERM", marks=pytest.mark.slow), pytest.param("SIGINT", marks=pytest.mark.slow)],
)
def test_who_began_ends_and_nobody_is_left(number: str, tmp_path: Path) -> None:
    """Validating, when the other process waits."""
    script = tmp_path / "script.py"
    script.write_text(f"""
import os, signal
from multiprocessing import active_children
from test_processes import chain, fit

def end():
    print(active_children()[0].pid, flush=True)
    os.kill(os.getpid(), signal.{number})

if __name__ == "__main__":
    fit({{"name": "lightgcn", "devices": 2, "epochs": 10**6}}, chain(), meanwhile=end)
""")
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent)))}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=LONG)
    assert done.returncode != 0
    helper = int(done.stdout)
    wait_until(lambda: not alive(helper))


@pytest.mark.parametrize("name", ["mmssl", "visual_prior"])
def test_a_ranker_that_cannot_be_divided_says_so(name: str) -> None:
    ranker = make_ranker({"name": name, "devices": 2})
    with pytest.raises(RankerError, match=r"no mean over the rows.*devices = 2.*Set ranker.devices = 1"):
        ranker.fit(blocks().train, block_features(blocks()), valid=Valid(blocks()), run=QUIET)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_rows_are_divided_without_rest(size: int) -> None:
    for n_rows in range(size, 20):
        parts = [rows_of(n_rows, rank, size) for rank in range(size)]
        assert [row for part in parts for row in range(n_rows)[part]] == list(range(n_rows))
        assert all(part.stop > part.start for part in parts)
    assert rows_of(size - 1, 0, size) is None


@pytest.mark.parametrize("n_users", [2, 3, 50])
def test_parts_of_a_loss_sum_to_the_whole(n_users: int) -> None:
    """Loss and gradient of each kind of batch, three ranks; with two users there are too few rows for all."""
    world, device = chain(), torch.device("cpu")
    settings = LightGCN.Settings(embedding_dim=8, regularisation=0.1)
    graph = InteractionGraph(world.train)
    module = LightGCNModule(graph, SparseMatrix(graph.normalised(), symmetric=True), settings)
    pairs = next(iter(pair_batches(world.train, n_users, QUIET, device)(0)))
    users = next(iter(user_batches(world.train, n_users, QUIET, device)(0)))
    sequences = SASRecModule(world.train.n_items, SASRec.Settings(embedding_dim=8, dropout=0.5))
    windows = next(Windows.of(world.train.histories, 5).batches(n_users, QUIET.rng("x")))
    for model, loss, batch, divide in (
        (module, module.bpr, pairs, divided_pairs),
        (module, module.softmax, users, divided_users),
        (sequences, sequences.loss, windows, sequences.divided),
    ):
        whole, gradient = value_and_gradient(model, loss, divide(batch, 0, 1))
        parts = [value_and_gradient(model, loss, divide(batch, rank, 3)) for rank in range(3)]
        torch.testing.assert_close(sum(value for value, _ in parts), whole)
        torch.testing.assert_close(sum(part for _, part in parts), gradient, rtol=1e-4, atol=1e-6)


def value_and_gradient(model: torch.nn.Module, loss: Any, part: tuple[Any, float]) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)  # as at the beginning of an epoch, in every process
    value = loss(part[0]) * part[1]
    gradients = torch.autograd.grad(value, list(model.parameters()))
    return value.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def test_dropout_of_rows_is_that_of_the_whole() -> None:
    layer, x = RowDropout(0.4), torch.randn(10, 3, 4)
    torch.manual_seed(0)
    whole = layer(x)
    torch.manual_seed(0)
    layer.part = (slice(3, 7), 10)
    torch.testing.assert_close(layer(x[3:7]), whole[3:7])
    assert torch.equal(layer.eval()(x[3:7]), x[3:7])
