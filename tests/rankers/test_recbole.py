"""RecBole's models through the adapter, in a small world of four tastes where popularity is no help."""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.core.config import make_settings
from recsys.core.errors import ConfigError, RankerError
from recsys.core.runtime import Run
from recsys.core.values import Interactions, ItemFeatures, Query, Split
from recsys.evaluation.evaluator import EvaluationSettings, evaluate, make_validator
from recsys.evaluation.topk import top_k
from recsys.rankers import RANKERS
from recsys.rankers import recbole_compat as compat

pytest.importorskip("torch")
if compat.importlib.util.find_spec("recbole") is None:
    pytest.skip("needs RecBole: pip install --no-deps recbole==1.2.1", allow_module_level=True)

import pandas
import torch
import yaml

from recsys.rankers.recbole import RecBole

from contracts.ranker_contract import RankerContract
from worlds import split_of


def libraries() -> dict[str, object]:
    """Return what must be the same before RecBole is first imported and ever after."""
    return {
        "numpy": {name: vars(np).get(name) for name in ("float", "float_", "int", "object", "bool", "unicode_")},
        "scipy": (hasattr(sp.dok_matrix, "_update"), sp.dok_matrix),
        "torch": (torch.load, torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "pandas": (pandas.Series.fillna, pandas.Series.agg, tuple(vars(pandas))),
        "yaml": {first: len(found) for first, found in yaml.FullLoader.yaml_implicit_resolvers.items()},
        "ray": "ray" in sys.modules,
    }


PRISTINE = libraries()
N_USERS, N_ITEMS, TASTES = 60, 40, 4
CHANCE = 1 / TASTES
SMALL = {"hidden_size": 32, "inner_size": 32, "n_layers": 1, "n_heads": 1, "MAX_ITEM_LIST_LENGTH": 8}
MODELS = {
    "BPR": {"params": {"learning_rate": 0.05, "embedding_size": 16}, "epochs": 15},
    "LightGCN": {"params": {"learning_rate": 0.02, "embedding_size": 16, "n_layers": 2}, "epochs": 4},
    "EASE": {"params": {"reg_weight": 10.0}},
    "ItemKNN": {"params": {"k": 10, "shrink": 1.0}},
    "SASRec": {"params": {"learning_rate": 0.01, **SMALL}, "epochs": 6},
}


@pytest.fixture(scope="module")
def train() -> Interactions:
    """User u likes items of taste u mod 4, takes 7 of them in random order and one item of anywhere, last."""
    rng = np.random.default_rng(3)
    users, items = [], []
    for user in range(N_USERS):
        liked = rng.permutation(np.arange(user % TASTES, N_ITEMS - TASTES, TASTES))[:7]
        stray = rng.choice(np.setdiff1d(np.arange(N_ITEMS - TASTES), liked))
        items += [stray, *liked]
        users += [user] * 8
    times = 880_000_000 + np.tile(np.arange(8), N_USERS)  # a second apart: equal in float32
    order = rng.permutation(len(users))
    columns = (np.array(users, np.int32)[order], np.array(items, np.int32)[order])
    return Interactions(*columns, N_USERS, N_ITEMS, timestamp=times[order])  # the last four items are never taken


class Taste:
    """Share of the two best unseen items that are of the user's taste."""

    metric = "taste"

    def __init__(self, train: Interactions) -> None:
        self.train, self.calls = train, 0

    def __call__(self, ranker: RecBole) -> dict[str, float]:
        self.calls += 1
        query = Query.of_users(self.train, np.arange(N_USERS))
        scores = np.where(self.train.matrix.toarray() > 0, -np.inf, ranker.score(query))
        scores[:, -TASTES:] = -np.inf  # nothing can be known of items that nobody took
        best = np.argsort(-scores, axis=1)[:, :2]
        return {self.metric: float((best % TASTES == np.arange(N_USERS)[:, None] % TASTES).mean())}


def fitted(model: str, train: Interactions, run: Run, valid: Taste | None = None, **settings: object) -> RecBole:
    options = {"train_batch_size": 64, **MODELS.get(model, {}), **settings}
    ranker = RecBole(RecBole.Settings(model=model, **options))
    ranker.log = ranker.fit(train, ItemFeatures(), valid=valid, run=run)
    return ranker


@pytest.fixture(scope="module")
def rankers(train: Interactions) -> dict[str, RecBole]:
    run = Run(seed=0, log=lambda message: None)
    return {model: fitted(model, train, run, Taste(train)) for model in MODELS}


def everyone(train: Interactions) -> Query:
    return Query.of_users(train, np.arange(N_USERS))


# ---------------------------------------------------------------------------------------- the protocol


@pytest.mark.parametrize("model", MODELS)
def test_learns_tastes_and_says_how(model: str, rankers: dict[str, RecBole], train: Interactions) -> None:
    ranker = rankers[model]
    assert Taste(train)(ranker)["taste"] > 0.7 > CHANCE
    log = ranker.log
    assert log.best == {"taste": max(row["taste"] for row in log.rows)} == Taste(train)(ranker)
    assert set(log.rows[0]) == {"epoch", "loss", "taste", "wall_s"}
    assert [row["wall_s"] for row in log.rows] == sorted(row["wall_s"] for row in log.rows)
    assert 0 < log.rows[-1]["wall_s"] <= log.wall_s
    assert log.cpu_s > 0
    if model in ("EASE", "ItemKNN"):
        assert log.best_epoch == 0
    else:
        assert log.rows[log.best_epoch - 1]["taste"] == log.best["taste"]


def test_popularity_fails_this_world(train: Interactions) -> None:
    class Popular:
        def score(self, query: Query) -> np.ndarray:
            return np.tile(train.item_counts.astype(np.float32), (len(query), 1))

    assert Taste(train)(Popular())["taste"] < 2 * CHANCE


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_float32_one_column_an_item(model: str, rankers: dict[str, RecBole], train: Interactions) -> None:
    scores = rankers[model].score(everyone(train))
    assert scores.shape == (N_USERS, N_ITEMS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    one = rankers[model].score(Query.of_users(train, np.array([7])))
    np.testing.assert_allclose(one[0], scores[7], rtol=1e-4, atol=1e-5)
    assert rankers[model].score(everyone(train).take(np.zeros(0, np.int64))).shape == (0, N_ITEMS)


@pytest.mark.parametrize("model", MODELS)
def test_restores_from_arrays_alone(model: str, rankers: dict[str, RecBole], train: Interactions, tmp_path) -> None:
    from safetensors.numpy import load_file, save_file

    state = rankers[model].state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in state.values())
    save_file({key: np.ascontiguousarray(array) for key, array in state.items()}, tmp_path / "state.safetensors")
    other = RecBole(rankers[model].settings)
    other.restore(load_file(tmp_path / "state.safetensors"))
    np.testing.assert_array_equal(other.score(everyone(train)), rankers[model].score(everyone(train)))
    assert other.state().keys() == state.keys()


@pytest.mark.parametrize("model", ["BPR", "SASRec"])
def test_same_seed_same_result(model: str, train: Interactions, run: Run) -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    first = fitted(model, train, run, epochs=1)
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    again = fitted(model, train, run, epochs=1)
    other = fitted(model, train, Run(seed=1), epochs=1)
    np.testing.assert_array_equal(first.score(everyone(train)), again.score(everyone(train)))
    assert not np.array_equal(first.score(everyone(train)), other.score(everyone(train)))


class TestContractGeneral(RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "recbole", "model": "EASE", "params": {"reg_weight": 20.0}}
    knows_newcomers = False


class TestContractSequential(RankerContract):
    config: ClassVar[dict[str, Any]] = {
        "name": "recbole", "model": "SASRec", "params": MODELS["SASRec"]["params"], "epochs": 9,
        "train_batch_size": 64, "eval_every": 3,
    }  # fmt: skip


# ----------------------------------------------------------------------------------- the numbers agree


def test_ease_is_the_closed_form(rankers: dict[str, RecBole], train: Interactions) -> None:
    seen = train.matrix.toarray().astype(np.float64)
    inverse = np.linalg.inv(seen.T @ seen + 10.0 * np.eye(N_ITEMS))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    np.testing.assert_allclose(rankers["EASE"].score(everyone(train)), seen @ weights, atol=1e-4)


def test_item_knn_is_shrunk_cosine(rankers: dict[str, RecBole], train: Interactions) -> None:
    seen = train.matrix.toarray().astype(np.float64)
    norm = np.sqrt(seen.sum(axis=0))
    cosine = (seen.T @ seen) * (1 - np.eye(N_ITEMS)) / (np.outer(norm, norm) + 1.0 + 1e-6)
    kept = np.sort(cosine, axis=0)[-10]
    near = np.where(cosine > kept + 1e-9, cosine, 0)  # ties at the edge are RecBole's to break
    scores = rankers["ItemKNN"].score(everyone(train))
    assert (scores >= seen @ near - 1e-4).all()
    assert (scores <= seen @ np.where(cosine >= kept - 1e-9, cosine, 0) + 1e-4).all()


def test_lightgcn_adjacency_has_every_edge_normalised(rankers: dict[str, RecBole], train: Interactions) -> None:
    """The graph goes through the repaired ``dok_matrix._update``."""
    model = rankers["LightGCN"]._fitted.model
    padded = sp.csr_array((N_USERS + 1, N_ITEMS + 1), dtype=np.float32).tolil()
    padded[1:, 1:] = train.matrix
    seen = padded.toarray()
    with np.errstate(divide="ignore"):
        user, item = (np.where(d > 0, (d + 1e-7) ** -0.5, 0) for d in (seen.sum(1), seen.sum(0)))
    block = model.norm_adj_matrix.to_dense().numpy()[: N_USERS + 1, N_USERS + 1 :]
    np.testing.assert_allclose(block, user[:, None] * seen * item, rtol=1e-5, atol=1e-7)


def test_lightgcn_scores_follow_from_its_weights(rankers: dict[str, RecBole], train: Interactions) -> None:
    state = rankers["LightGCN"].state()
    adjacency = rankers["LightGCN"]._fitted.model.norm_adj_matrix.to_dense().numpy()
    layer = np.vstack([state["weights/user_embedding.weight"], state["weights/item_embedding.weight"]])
    mean = (layer + adjacency @ layer + adjacency @ (adjacency @ layer)) / 3
    expected = mean[1 : N_USERS + 1] @ mean[N_USERS + 2 :].T
    np.testing.assert_allclose(rankers["LightGCN"].score(everyone(train)), expected, rtol=1e-3, atol=1e-5)


def test_each_prefix_is_one_training_row_in_time_order(train: Interactions) -> None:
    from recsys.rankers import recbole_parts as parts

    config = parts.make_config("SASRec", {"MAX_ITEM_LIST_LENGTH": 3}, 0, torch.device("cpu"))
    dataset = parts.make_dataset(config, train.histories)
    rows = dataset.inter_feat
    assert len(rows) == N_USERS * 7
    assert (dataset.user_num, dataset.item_num) == (N_USERS + 1, N_ITEMS + 1)
    history = train.histories[4] + 1
    mine = np.flatnonzero(rows["user_id"].numpy() == 5)
    assert rows["item_id"][mine].tolist() == history[1:].tolist()
    assert rows["item_id_list"][mine[0]].tolist() == [history[0], 0, 0]
    assert rows["item_id_list"][mine[-1]].tolist() == history[4:7].tolist()
    assert rows["item_length"][mine].tolist() == [1, 2, 3, 3, 3, 3, 3]


# --------------------------------------------------------------------- early stopping by our validator


def test_the_best_validation_is_kept_and_training_stops(train: Interactions, run: Run) -> None:
    class Scripted(Taste):
        values = (0.1, 0.5, 0.4, 0.3, 0.2, 0.9)

        def __call__(self, ranker: RecBole) -> dict[str, float]:
            seen.append(ranker.score(everyone(train)))
            return {"taste": self.values[len(seen) - 1], "other": 1.0}

    seen: list[np.ndarray] = []
    ranker = fitted("BPR", train, run, Scripted(train), epochs=12, eval_every=2, stopping_step=2)
    assert [row["epoch"] for row in ranker.log.rows] == [2, 4, 6, 8, 10]  # stops before .9: three without gain
    assert (ranker.log.best_epoch, ranker.log.best) == (4, {"taste": 0.5, "other": 1.0})
    np.testing.assert_array_equal(ranker.score(everyone(train)), seen[1])


def test_validation_does_not_change_training(train: Interactions, run: Run) -> None:
    class Rising(Taste):
        def __call__(self, ranker: RecBole) -> dict[str, float]:
            np.random.random(5), torch.rand(5)
            ranker.score(everyone(train))
            return {"taste": float(self.__dict__.setdefault("n", 0))}

    with_valid = fitted("LightGCN", train, run, Rising(train), epochs=1)
    without = fitted("LightGCN", train, run, epochs=1)
    np.testing.assert_array_equal(with_valid.score(everyone(train)), without.score(everyone(train)))
    assert without.log.rows == []
    assert without.log.best_epoch == 1


def test_an_error_of_the_validator_is_not_blamed_on_recbole(train: Interactions, run: Run) -> None:
    class Broken(Taste):
        def __call__(self, ranker: RecBole) -> dict[str, float]:
            raise ValueError("mine")

    ranker = RecBole(RecBole.Settings(epochs=1))
    with pytest.raises(ValueError, match=r"^mine$"):
        ranker.fit(train, ItemFeatures(), valid=Broken(train), run=run)
    with pytest.raises(RankerError, match="not fitted"):  # nothing half-trained is left
        ranker.score(everyone(train))


# ----------------------------------------------------------------------------------- who can be scored


def test_general_models_know_their_users_alone(rankers: dict[str, RecBole]) -> None:
    with pytest.raises(RankerError, match="query 1 is not a user of the training data") as caught:
        rankers["BPR"].score(Query.of_histories([[], [0, 4]], N_ITEMS))
    assert "folds users in" in caught.value.remedy
    nobody = Query.of_histories([[], []], N_ITEMS)
    assert (rankers["BPR"].score(nobody) == 0).all()
    assert (rankers["BPR"].score(Query(nobody.histories, np.array([N_USERS, -1]))) == 0).all()


def time_split(n_late: int = 20) -> Split:
    """Forty users with train, valid and test; the others are first seen in validation, as in a split by time."""
    rng, rows = np.random.default_rng(7), []
    for user in range(40 + n_late):
        taken = rng.permutation(np.arange(user % TASTES, N_ITEMS, TASTES))[:6]
        parts = [0, 0, 0, 0, 1, 2] if user < 40 else [1, 1, 1, 1, 1, 2]
        rows += [(user, int(item), part, place) for place, (item, part) in enumerate(zip(taken, parts, strict=True))]
    return split_of(rows, 40 + n_late, N_ITEMS, "global_time")


@pytest.mark.parametrize("size", [5, None])  # in batches of five, some hold nobody whom the model knows
def test_general_models_are_measured_on_splits_by_time(size: int | None) -> None:
    split, lines = time_split(), []
    run = Run(seed=0, log=lines.append)
    settings = EvaluationSettings(ks=(5,), metric="ndcg@5", batch_size=size, resamples=100)
    ranker = RecBole(RecBole.Settings(model="EASE", params={"reg_weight": 10.0}))
    log = ranker.fit(split.train, ItemFeatures(), valid=make_validator(split, settings), run=run)
    assert log.best["ndcg@5"] > 0
    lines.clear()
    found = evaluate(ranker, split, settings, run=run, name="EASE")
    assert found.protocol["n_users"] == 60
    assert found.protocol["users_by_popularity"] == 20
    assert lines == ["EASE cannot score 20 users: what is most popular in train is shown instead"]
    counts, seen = split.train.item_counts.astype(np.float32), split.train_valid.matrix[np.arange(40, 60)]
    popular = top_k(np.tile(counts, (20, 1)), 5, seen=seen)[0]
    np.testing.assert_array_equal(found.top_items[40:], popular)
    own = np.where(
        split.train_valid.matrix.toarray()[:40] > 0, -np.inf, ranker.score(Query.of_users(split.train, np.arange(40)))
    )
    best = np.take_along_axis(own, found.top_items[:40].astype(np.int64), axis=1)
    np.testing.assert_allclose(best, -np.sort(-own, axis=1)[:, :5], rtol=1e-4, atol=1e-5)


def test_a_row_that_was_never_learned_is_not_asked(run: Run) -> None:
    """In serving, a user of the vocabulary without train interactions has a row in the model, and it is noise."""
    split = time_split()
    ranker = fitted("BPR", split.train, run, epochs=1)
    served = Query.of_users(split.dataset.interactions, np.array([3, 45]))
    assert ranker.can_score(served).tolist() == [True, False]
    with pytest.raises(RankerError, match="query 1 is not a user of the training data"):
        ranker.score(served)
    sequential = fitted("SASRec", split.train, run, epochs=1)
    assert sequential.can_score(served).all()


def test_sequential_models_score_never_seen_users(rankers: dict[str, RecBole]) -> None:
    ranker = rankers["SASRec"]
    scores = ranker.score(Query.of_histories([[1, 5, 9, 13], [], [1] * 20 + [2, 6, 10, 14, 18, 22, 26, 30]], N_ITEMS))
    assert set(scores[0].argsort()[::-1][:3] % TASTES) == {1}
    assert (scores[1] == 0).all()
    last_eight = ranker.score(Query.of_histories([[2, 6, 10, 14, 18, 22, 26, 30]] * 3, N_ITEMS))
    np.testing.assert_allclose(scores[2], last_eight[0], rtol=1e-4, atol=1e-5)


def test_sequential_models_that_embed_users_refuse_strangers(train: Interactions, run: Run) -> None:
    ranker = fitted("FPMC", train, run, epochs=1)
    assert ranker.score(everyone(train)).shape == (N_USERS, N_ITEMS)
    with pytest.raises(RankerError, match="not a user"):
        ranker.score(Query.of_histories([[1]], N_ITEMS))


def test_models_that_score_pairs_and_autoencoders_run_too(train: Interactions, run: Run) -> None:
    pairs = fitted("NeuMF", train, run, epochs=1)
    scores = pairs.score(everyone(train))
    model = pairs._fitted.model
    user, items = torch.full((N_ITEMS,), 6), torch.arange(1, N_ITEMS + 1)
    with torch.no_grad():
        batch = {"user_id": user, "item_id": items}
        expected = model.predict(sys.modules["recbole.data.interaction"].Interaction(batch)).numpy()
    np.testing.assert_allclose(scores[5], expected, rtol=1e-4, atol=1e-6)
    auto = fitted("MultiDAE", train, run, Taste(train), epochs=30, params={"learning_rate": 0.01})
    assert auto.log.best["taste"] > 0.7


# -------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("model", "hint"),
    [("LightGNC", "Did you mean 'LightGCN'?"), ("sasrec", "Did you mean 'SASRec'?"), ("zzz", "Known: ADMMSLIM")],
)
def test_unknown_model(model: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="no such general or sequential model") as caught:
        RecBole(RecBole.Settings(model=model))
    assert hint in caught.value.remedy


@pytest.mark.parametrize("model", sorted(compat.UNSUPPORTED))
def test_models_that_cannot_work_say_why(model: str) -> None:
    assert model in compat.model_files()
    with pytest.raises(ConfigError, match=r"pickled|features|knowledge graph|click"):
        RecBole(RecBole.Settings(model=model))


@pytest.mark.parametrize("key", ["learning_rat", "epochs", "seed", "data_path", "pretrain_path", "eval_args"])
def test_unknown_or_forbidden_parameter(key: str) -> None:
    with pytest.raises(ConfigError, match=f"params.{key}: NeuMF has no such parameter"):
        RecBole(RecBole.Settings(model="NeuMF", params={key: 1}))


def test_unknown_setting() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'epochs'"):
        make_settings(RecBole.Settings, {"epoch": 3}, "ranker")


def test_parameter_values_that_recbole_refuses(train: Interactions, run: Run) -> None:
    with pytest.raises(ConfigError, match=r"refuses its parameters.*loss_type"):
        fitted("SASRec", train, run, epochs=1, params={**SMALL, "loss_type": "XX"})


def test_strings_are_never_evaluated(train: Interactions, run: Run, tmp_path: Path) -> None:
    mark = tmp_path / "evaluated"
    with pytest.raises(ConfigError):
        fitted("NeuMF", train, run, epochs=1, params={"mlp_hidden_size": f"open({str(mark)!r}, 'w')"})
    assert not mark.exists()


def test_nothing_to_learn_from(run: Run) -> None:
    alone = Interactions(np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32), 3, 3)
    with pytest.raises(RankerError, match="no user has two interactions"):
        fitted("SASRec", alone, run)
    with pytest.raises(RankerError, match="no train interactions"):
        fitted("BPR", alone.select(np.zeros(0, np.int64)), run)


def test_a_user_who_took_everything_is_reported(run: Run) -> None:
    full = Interactions(np.zeros(3, np.int32), np.arange(3, dtype=np.int32), 2, 3)
    with pytest.raises(RankerError, match="interacted with all items"):
        fitted("BPR", full, run)


def test_not_fitted() -> None:
    ranker = RecBole(RecBole.Settings())
    with pytest.raises(RankerError, match="not fitted"):
        ranker.score(Query.of_histories([[0]], 1))
    with pytest.raises(RankerError, match="not fitted"):
        ranker.state()


def test_scores_that_are_not_finite_are_refused(train: Interactions, run: Run) -> None:
    ranker = fitted("BPR", train, run, epochs=1)
    with torch.no_grad():
        ranker._fitted.model.item_embedding.weight[3] = float("nan")
    with pytest.raises(RankerError, match="not finite"):
        ranker.score(everyone(train))


# --------------------------------------------------------------- the rest of the program is left alone


def program() -> dict[str, object]:
    """All else that RecBole is known to change in the program around it, and what differs from test to test."""
    return {
        **libraries(),
        "environment": dict(os.environ),
        "logging": (list(logging.root.handlers), logging.root.level, list(logging.root.filters)),
        "warnings": list(warnings.filters),
        "python": random.getstate(),
        "legacy": repr(np.random.get_state()),
        "generator": torch.get_rng_state().tolist(),
        "streams": (sys.stdout, sys.stderr),
    }


def test_the_program_is_as_before(
    rankers: dict[str, RecBole], train: Interactions, run: Run, tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["recsys", "--epochs=1000000", "--embedding_size=3", "train"])
    capfd.readouterr()
    before, here = program(), "ray" in sys.modules  # another test may have imported it
    for model in ("LightGCN", "Random"):  # Random seeds torch by itself
        ranker = fitted(model, train, run, Taste(train), epochs=1)
        ranker.score(everyone(train))
        RecBole(ranker.settings).restore(ranker.state())
    with pytest.raises(ConfigError):
        fitted("SASRec", train, run, epochs=1, params={**SMALL, "loss_type": "XX"})
    assert program() == before
    assert libraries() == {**PRISTINE, "ray": here}
    assert not hasattr(np, "float_")
    assert not hasattr(sp.dok_matrix, "_update")
    assert torch.load.__module__ == "torch.serialization"
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert ranker.settings.params == {}


def draws() -> tuple[float, ...]:
    return np.random.random(), torch.rand(1).item(), random.random()


def test_sessions_nest_and_survive_errors() -> None:
    def failing() -> None:
        with compat.recbole_session(6):
            inner.append(draws())
            raise ZeroDivisionError

    before, inner = program(), []
    with compat.recbole_session(5):
        outer = draws()
        with pytest.raises(ZeroDivisionError):
            failing()
        after = draws()
    with compat.recbole_session(5):
        assert [outer, after] == [draws(), draws()]
    assert inner != [outer]
    assert program() == before


def test_threads_score_alike(rankers: dict[str, RecBole], train: Interactions) -> None:
    expected = rankers["LightGCN"].score(everyone(train))
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(rankers["LightGCN"].score(everyone(train)))) for _ in range(4)
    ]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert len(found) == 4
    assert all(np.array_equal(scores, expected) for scores in found)


def test_naming_it_imports_nothing_heavy() -> None:
    import subprocess

    code = "import sys; from recsys.rankers import RANKERS; r = RANKERS.load('recbole'); r(r.Settings(model='EASE'))"
    check = "print(sorted({'torch', 'recbole', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{code}; {check}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert RANKERS.load("recbole") is RecBole
