"""The training step by hand, the losses by hand, and a run that was interrupted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.core.errors import ArtifactError, RankerError
from recsys.core.runtime import Run
from recsys.core.values import Histories, ItemFeatures, Query
from recsys.graph.interaction import InteractionGraph
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from recsys.rankers.lightgcn import LightGCN, LightGCNModule, _pair_batches, _user_batches
from recsys.rankers.losses import CHUNK_NUMBERS, weighted_logsumexp
from recsys.rankers.sampling import NegativeSampler
from recsys.rankers.sasrec import SASRec, SASRecModule, Windows
from recsys.rankers.training import make_optimizer

from worlds import blocks, chain

QUIET = Run(seed=5, log=lambda message: None)


def lightgcn(**settings) -> tuple[LightGCNModule, LightGCN.Settings, torch.Tensor]:
    train = blocks().train
    chosen = LightGCN.Settings(embedding_dim=4, num_layers=2, similarity="dot", temperature=1.0, **settings)
    graph = InteractionGraph(train)
    torch.manual_seed(0)
    module = LightGCNModule(graph, SparseMatrix(graph.normalised(), symmetric=True), chosen)
    return module, chosen, torch.from_numpy(graph.normalised().toarray())


def by_hand(module: LightGCNModule, dense: torch.Tensor) -> torch.Tensor:
    return (module.embedding + dense @ module.embedding + dense @ dense @ module.embedding) / 3


def test_folding_in_a_users_own_history_gives_all_of_the_user_but_the_own_embedding() -> None:
    """Layer ``l + 1`` of a user is ``sum_i e_i^(l) / sqrt(|H| d_i)``: the same for a newcomer with that history."""
    module, settings, dense = lightgcn()
    ranker, train = LightGCN(settings), blocks().train
    ranker.restore({name: tensor.detach().numpy() for name, tensor in module.final().items()})
    assert len(set(train.item_counts.tolist())) > 3, "items of unlike degree"
    folded = ranker.query_vectors(Query.of_histories([train.histories[user] for user in range(8)], train.n_items))
    wanted = by_hand(module, dense)[:8] - module.embedding[:8] / 3
    np.testing.assert_allclose(folded, wanted.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_one_lightgcn_step_equals_the_step_by_hand(loss: str) -> None:
    """Loss, gradient and the Adam update, against dense matrices and autograd of plain formulas."""
    module, settings, dense = lightgcn(loss=loss, regularisation=0.01, learning_rate=0.1)
    make = _pair_batches if loss == "bpr" else _user_batches
    batch = next(iter(make(blocks().train, 16, QUIET, torch.device("cpu"))(0)))
    nodes = by_hand(module, dense)
    users, items = nodes[: module.n_users], nodes[module.n_users :]
    if loss == "bpr":
        user, positive, negative = users[batch[0]], items[batch[1]], items[batch[2]]
        value = -torch.log(torch.sigmoid((user * (positive - negative)).sum(1))).mean()
        touched = torch.cat([batch[0], batch[1] + module.n_users, batch[2] + module.n_users])
        n_examples = len(batch[0])
    else:
        logits = users[batch[0]] @ items.T
        value = -torch.log_softmax(logits, 1)[batch[2], batch[3]].mean()
        touched, n_examples = torch.cat([batch[0], batch[3] + module.n_users]), len(batch[3])
    value = value + 0.01 * (module.embedding[touched] ** 2).sum() / (2 * n_examples)
    (expected,) = torch.autograd.grad(value, module.embedding)

    ours = getattr(module, loss)(batch)
    torch.testing.assert_close(ours, value)
    before = module.embedding.detach().clone()
    optimizer = make_optimizer(module, settings)
    ours.backward()
    torch.testing.assert_close(module.embedding.grad, expected, rtol=1e-4, atol=1e-7)
    optimizer.step()
    # Adam's first step: m / (1 - b1) = g and v / (1 - b2) = g^2, so the move is lr * g / (|g| + eps).
    moved = before - 0.1 * expected / (expected.abs() + 1e-8)
    torch.testing.assert_close(module.embedding.detach(), moved, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["lightgcn", "sasrec"])
def test_every_parameter_is_registered_and_gets_a_finite_gradient(kind: str) -> None:
    if kind == "lightgcn":
        module, _, _ = lightgcn()
        batch = next(iter(_user_batches(blocks().train, 200, QUIET, torch.device("cpu"))(0)))
        value = module.softmax(batch)
    else:
        train = chain().train
        module = SASRecModule(train.n_items, SASRec.Settings(embedding_dim=8, max_length=20, dropout=0.0))
        windows = Windows.of(train.histories, 20)
        value = module.loss(next(iter(windows.batches(500, QUIET.rng("x")))))
    value.backward()
    held = {id(parameter) for parameter in module.parameters()}
    plain = [name for name, item in vars(module).items() if isinstance(item, torch.Tensor) and id(item) not in held]
    assert not plain, f"tensors that would never train: {plain}"
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_weighted_logsumexp_value_and_gradient_over_several_chunks() -> None:
    n_items = CHUNK_NUMBERS // 3  # three rows a chunk
    queries = torch.randn(8, 2, requires_grad=True)
    items = torch.randn(n_items, 2, requires_grad=True)
    weights = torch.rand(8)
    expected = (weights * torch.logsumexp(queries @ items.T, 1)).sum()
    wanted = torch.autograd.grad(2.0 * expected, (queries, items))
    value = weighted_logsumexp(queries, items, weights)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(torch.autograd.grad(2.0 * value, (queries, items)), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_large_logits_do_not_overflow() -> None:
    value = weighted_logsumexp(torch.full((1, 1), 200.0), torch.tensor([[1.0], [1.0]]), torch.ones(1))
    torch.testing.assert_close(value, torch.tensor(200.0 + np.log(2.0), dtype=torch.float32))


def test_negatives_are_never_positives_and_cover_the_rest() -> None:
    train = blocks().train
    sampler, rng = NegativeSampler(train), np.random.default_rng(0)
    users = np.repeat(np.arange(train.n_users), 200)
    drawn = sampler.draw(users, rng)
    taken = train.matrix.toarray()
    assert not taken[users, drawn].any()
    counts = np.bincount(drawn[users == 0], minlength=train.n_items)
    assert (counts[taken[0] == 0] > 0).mean() > 0.9


def test_negatives_of_users_who_left_one_item_or_none() -> None:
    from recsys.core.values import Interactions

    items = np.concatenate([np.arange(499), np.arange(500)])
    users = np.repeat([0, 1], [499, 500])
    train = Interactions(users.astype(np.int32), items.astype(np.int32), 2, 500)
    drawn = NegativeSampler(train).draw(np.array([0, 0, 1]), np.random.default_rng(0))
    assert drawn[0] == drawn[1] == 499
    assert 0 <= drawn[2] < 500


def test_windows_hold_every_next_item_once_and_nothing_crosses_users() -> None:
    histories = Histories.of([[1, 2, 3, 4, 5, 6], [], [7], [8, 9]], 10)
    windows = Windows.of(histories, 3)
    pieces = np.split(windows.inputs, windows.indptr[1:-1]), np.split(windows.targets, windows.indptr[1:-1])
    assert [list(piece) for piece in pieces[0]] == [[1, 2], [3, 4, 5], [8]]
    assert [list(piece) for piece in pieces[1]] == [[2, 3], [4, 5, 6], [9]]
    batches = list(windows.batches(2, np.random.default_rng(0)))
    seen = sorted(int(target) for _, targets in batches for target in targets.flatten() if target != 10)
    assert seen == [2, 3, 4, 5, 6, 9]


def test_sasrec_sees_only_the_past() -> None:
    """Changing a later item changes nothing before it; padding on the right changes nothing at all."""
    module = SASRecModule(20, SASRec.Settings(embedding_dim=8, max_length=6)).eval()
    first = module(torch.tensor([[1, 2, 3, 4]]))
    other = module(torch.tensor([[1, 2, 9, 4]]))
    padded = module(torch.tensor([[1, 2, 3, 4, 20, 20]]))
    torch.testing.assert_close(first[:, :2], other[:, :2])
    assert not torch.allclose(first[:, 2:], other[:, 2:])
    torch.testing.assert_close(padded[:, :4], first)


def test_order_world_needs_order() -> None:
    """Where only the last item tells the next one, SASRec wins and EASE and popularity cannot."""
    from recsys.evaluation.evaluator import EvaluationSettings, evaluate, make_validator
    from recsys.rankers.ease import EASE
    from recsys.rankers.popularity import Popularity

    world, measure = chain(), EvaluationSettings(ks=(1,), metric="ndcg@1", resamples=200)
    settings = SASRec.Settings(
        epochs=40, batch_size=16, learning_rate=0.01, embedding_dim=16, max_length=8, dropout=0.1
    )
    recall = {}
    for ranker in (SASRec(settings), EASE(EASE.Settings()), Popularity(Popularity.Settings())):
        ranker.fit(world.train, ItemFeatures(), valid=make_validator(world, measure), run=QUIET)
        recall[type(ranker).__name__] = evaluate(ranker, world, measure, run=QUIET).summary["recall@1"]
    assert recall["SASRec"] > 0.9
    assert recall["EASE"] < 0.7
    assert recall["Popularity"] < 0.3


class Stop(Exception):
    pass


class Counting:
    """A validator that counts, and stops the run at a given call as a crash would."""

    metric = "ndcg@2"

    def __init__(self, crash_at: int | None = None) -> None:
        from recsys.evaluation.evaluator import EvaluationSettings, make_validator

        self.inner = make_validator(chain(), EvaluationSettings(ks=(2,), metric="ndcg@2"))
        self.calls, self.crash_at = 0, crash_at

    def __call__(self, ranker):
        self.calls += 1
        if self.calls == self.crash_at:
            raise Stop
        return self.inner(ranker)


@pytest.mark.parametrize("crash_at", [1, 3, 6])
@pytest.mark.parametrize("kind", ["sasrec", "lightgcn"])
def test_an_interrupted_run_ends_with_the_same_weights(kind: str, crash_at: int, tmp_path) -> None:
    """Dropout, order, negatives, Adam's moments, the best weights so far: all as if nothing had happened."""
    common = {"epochs": 8, "patience": 3, "learning_rate": 0.05, "embedding_dim": 8}
    if kind == "sasrec":
        make = lambda: SASRec(SASRec.Settings(**common, batch_size=32, max_length=8))  # noqa: E731
    else:
        make = lambda: LightGCN(LightGCN.Settings(**common, loss="bpr", batch_size=256))  # noqa: E731
    train = chain().train
    whole = make()
    log = whole.fit(train, ItemFeatures(), valid=Counting(), run=QUIET.at(tmp_path / "whole"))
    broken = make()
    with pytest.raises(Stop):
        broken.fit(train, ItemFeatures(), valid=Counting(crash_at), run=QUIET.at(tmp_path / "broken"))
    again, counting = make(), Counting()
    resumed = again.fit(train, ItemFeatures(), valid=counting, run=QUIET.at(tmp_path / "broken"))
    assert counting.calls == len(log.rows) - (crash_at - 1), "epochs before the crash must not be done twice"
    assert resumed.best_epoch == log.best_epoch
    assert [row["loss"] for row in resumed.rows] == [row["loss"] for row in log.rows]
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, again.state()[name])


def test_ctrl_c_reaches_the_caller_and_stays_usable(tmp_path) -> None:
    import os
    import signal

    class Interrupting(Counting):
        def __call__(self, ranker):
            if self.calls == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().__call__(ranker)

    before = signal.getsignal(signal.SIGINT)
    ranker = LightGCN(LightGCN.Settings(epochs=5, embedding_dim=8))
    with pytest.raises(KeyboardInterrupt):
        ranker.fit(chain().train, ItemFeatures(), valid=Interrupting(), run=QUIET.at(tmp_path))
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / CHECKPOINT).is_file()


def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path) -> None:
    notes: list[str] = []
    run = Run(seed=5, folder=tmp_path, log=notes.append)
    settings = {"epochs": 2, "embedding_dim": 8, "batch_size": 64}
    LightGCN(LightGCN.Settings(**settings)).fit(chain().train, ItemFeatures(), valid=Counting(), run=run)
    other = LightGCN(LightGCN.Settings(**{**settings, "epochs": 3}))
    log = other.fit(chain().train, ItemFeatures(), valid=Counting(), run=run)
    assert len(log.rows) == 3
    assert any("other settings" in note for note in notes)


def test_a_checkpoint_of_other_data_is_not_continued(tmp_path) -> None:
    settings = LightGCN.Settings(epochs=3, embedding_dim=8, batch_size=64)
    first, second = chain(seed=0).train, chain(seed=1).train
    assert first.digest != second.digest
    LightGCN(settings).fit(first, ItemFeatures(), valid=Counting(), run=QUIET.at(tmp_path))
    reused, fresh = LightGCN(settings), LightGCN(settings)
    reused.fit(second, ItemFeatures(), valid=Counting(), run=QUIET.at(tmp_path))
    fresh.fit(second, ItemFeatures(), valid=Counting(), run=QUIET)
    np.testing.assert_array_equal(reused.state()["user"], fresh.state()["user"])


def test_a_resumed_run_counts_all_its_time_and_logs_all_its_rows(tmp_path) -> None:
    import time

    class Slow(Counting):
        def __call__(self, ranker):
            time.sleep(0.1)
            return super().__call__(ranker)

    settings = LightGCN.Settings(epochs=6, embedding_dim=8, logger="csv")
    with pytest.raises(Stop):
        LightGCN(settings).fit(chain().train, ItemFeatures(), valid=Slow(5), run=QUIET.at(tmp_path))
    log = LightGCN(settings).fit(chain().train, ItemFeatures(), valid=Slow(), run=QUIET.at(tmp_path))
    walls = [row["wall_s"] for row in log.rows]
    assert walls == sorted(walls)
    assert log.wall_s >= 0.6
    assert log.n_parameters == 8 * (120 + 30)
    assert len((tmp_path / "log" / "metrics.csv").read_text().splitlines()) == 1 + 6


def test_a_damaged_checkpoint_is_not_continued(tmp_path) -> None:
    notes: list[str] = []
    (tmp_path / CHECKPOINT).write_bytes(b"\x80\x04not a checkpoint")
    ranker = LightGCN(LightGCN.Settings(epochs=2, embedding_dim=8))
    log = ranker.fit(
        chain().train, ItemFeatures(), valid=Counting(), run=Run(seed=5, folder=tmp_path, log=notes.append)
    )
    assert len(log.rows) == 2
    assert any("cannot be read" in note for note in notes)


def test_a_flipped_bit_of_a_checkpoint_is_not_continued(tmp_path) -> None:
    parts = {"weights": {"a": torch.arange(5.0), "n": torch.tensor(3)}, "other": {"b": torch.ones(2, 2).bool()}}
    save_checkpoint(tmp_path, parts, {"epoch": 3}, "run")
    whole, notes = (tmp_path / CHECKPOINT).read_bytes(), []
    found, facts = load_checkpoint(tmp_path, "run", notes.append)
    assert facts == {"epoch": 3}
    assert torch.equal(found["weights"]["a"], torch.arange(5.0))
    assert torch.equal(found["other"]["b"], torch.ones(2, 2).bool())
    for place in range(len(whole) - 20, len(whole)):  # numbers
        (tmp_path / CHECKPOINT).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert load_checkpoint(tmp_path, "run", notes.append) is None, place
    assert len(notes) == 20


def test_a_checkpoint_that_cannot_be_written_is_said(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    ranker = LightGCN(LightGCN.Settings(epochs=1))
    with pytest.raises(ArtifactError, match="cannot be written"):
        ranker.fit(chain().train, ItemFeatures(), valid=Counting(), run=QUIET.at(tmp_path / "file"))
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_diverging_run_is_stopped_with_a_remedy() -> None:
    ranker = LightGCN(LightGCN.Settings(loss="bpr", similarity="dot", learning_rate=1e30, epochs=3, regularisation=1.0))
    with pytest.raises(RankerError, match=r"learning.rate"):
        ranker.fit(chain().train, ItemFeatures(), valid=Counting(), run=QUIET)


def test_training_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    LightGCN(LightGCN.Settings(epochs=1)).fit(chain().train, ItemFeatures(), valid=None, run=QUIET)
    torch.testing.assert_close(torch.rand(3), expected)


def test_logs_are_written(tmp_path) -> None:
    for kind in ("csv", "tensorboard"):
        ranker = LightGCN(LightGCN.Settings(epochs=2, logger=kind))
        ranker.fit(chain().train, ItemFeatures(), valid=Counting(), run=QUIET.at(tmp_path / kind))
    assert "ndcg@2" in (tmp_path / "csv" / "log" / "metrics.csv").read_text()
    assert list((tmp_path / "tensorboard" / "log").glob("events.out.tfevents.*"))


def test_sasrec_needs_time() -> None:
    train = chain().train
    without = type(train)(train.user_idx, train.item_idx, train.n_users, train.n_items)
    with pytest.raises(RankerError, match="timestamps"):
        SASRec(SASRec.Settings()).fit(without, ItemFeatures(), valid=None, run=QUIET)
