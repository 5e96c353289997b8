"""Other libraries as rankers: handed over whole, refused when broken, and their own scores when they are there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from toypeer import toy_environment

from recsys.core.errors import ConfigError, RankerError
from recsys.core.runtime import Run
from recsys.core.values import Histories, ItemFeatures, Query
from recsys.evaluation.evaluator import evaluate, make_validator
from recsys.rankers import peer
from recsys.rankers.peers import process, work
from recsys.rankers.peers.handed import HandedOver
from recsys.rankers.peers.process import PeerError, python_of
from recsys.rankers.store import make_ranker

from contracts.ranker_contract import MEASURE, QUIET, RankerContract
from waiting import LONG, wait_until
from worlds import blocks

ROOT = Path(__file__).resolve().parents[2]
PINNED = Path(os.environ.get(process.PLACE) or ROOT / "data" / "peers")


@pytest.fixture(scope="module", autouse=True)
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with toy_environment(tmp_path_factory.mktemp("peers")) as folder:
        yield folder


def fitted(model: str, library: str = "toy", run: Run = QUIET, **params: Any) -> Any:
    world = blocks()
    ranker = make_ranker({"name": "peer", "library": library, "model": model, "params": params})
    log = ranker.fit(world.train, ItemFeatures(), valid=make_validator(world, MEASURE), run=run)
    return ranker, log


class TestTogether(RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "peer", "library": "toy", "model": "Together"}


class TestVectors(RankerContract):
    config: ClassVar[dict[str, Any]] = {"name": "peer", "library": "toy", "model": "Vectors"}
    knows_newcomers: ClassVar[bool] = False


def test_seconds_and_validation_are_told() -> None:
    _, log = fitted("Together")
    assert log.best["ndcg@2"] > 0.5
    assert log.wall_s > 0


def test_another_seed_is_another_start() -> None:
    first, second = (fitted("Vectors", run=Run(seed=seed, log=lambda message: None))[0] for seed in (0, 1))
    assert not np.allclose(first.state()["item"], second.state()["item"])


def test_who_is_not_known_is_refused_and_shown_what_is_popular() -> None:
    ranker, _ = fitted("Vectors")
    strangers = Query.of_histories([[0, 4]], blocks().train.n_items)
    assert not ranker.can_score(strangers)[0]
    with pytest.raises(RankerError, match="not a user of the training data"):
        ranker.score(strangers)


def test_seen_items_are_left_out_of_lists_though_they_score_highest() -> None:
    world, (ranker, _) = blocks(), fitted("Together")
    scores = ranker.score(Query.of_users(world.train, np.array([0])))[0]
    assert np.argmax(scores) in world.train.histories[0]
    result = evaluate(ranker, world, MEASURE, run=QUIET)
    for row, user in zip(result.top_items, result.per_user["user_idx"], strict=True):
        assert not set(row) & set(world.train_valid.histories[user])


# -- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"library": "implict"}, "Did you mean 'implicit'"),
        ({"library": "implicit", "model": "ASL"}, "Did you mean 'ALS'"),
        ({"library": "cornac", "model": "EASE", "params": {"lam": 3.0}}, "Did you mean 'lamb'"),
    ],
)
def test_unknown_names(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_ranker({"name": "peer", **config})


def test_no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(process.PLACE, str(tmp_path))
    with pytest.raises(PeerError, match="make peers"):
        fitted("Together")


def test_another_version_than_pinned(toy: Path) -> None:
    about = toy / "package" / "toy-1.0.dist-info" / "METADATA"
    text = about.read_text()
    about.write_text(text.replace("1.0", "1.1"))
    process.end_all()
    try:
        with pytest.raises(PeerError, match=r"version 1\.1, and 1\.0 is pinned"):
            fitted("Together")
    finally:
        about.write_text(text)


def test_a_broken_library(toy: Path) -> None:
    library = toy / "package" / "toylib.py"
    text = library.read_text()
    library.write_text("import no_such_module_at_all\n" + text)
    process.end_all()
    try:
        with pytest.raises(PeerError, match="no_such_module_at_all"):
            fitted("Together")
    finally:
        library.write_text(text)


@pytest.mark.parametrize(
    ("model", "said"), [("Fails", "does not converge"), ("Infinite", "not finite"), ("Dies", "ended with status 9")]
)
def test_a_model_that_fails_is_a_fault_of_the_point(model: str, said: str) -> None:
    with pytest.raises(RankerError, match=said):
        fitted(model)


def test_the_next_fit_asks_the_same_process_and_one_that_died_is_started_again() -> None:
    python = python_of("toy")
    fitted("Together")
    first = process._running[python].pid
    with pytest.raises(RankerError, match="converge"):
        fitted("Fails")
    fitted("Together")
    assert process._running[python].pid == first
    process._running[python].kill()
    process._running[python].wait(LONG)
    fitted("Together")
    assert process._running[python].pid != first


def test_a_library_ends_with_whoever_asked_it(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(
        json.dumps({"model": "Sleeps", "params": {"note": str(tmp_path / "sleeps")}, "seed": 0, "shape": [1, 1]})
    )
    np.savez(tmp_path / "train.npz", indices=np.zeros(1, np.int32), indptr=np.array([0, 1], np.int32))
    command = [sys.executable, work.__file__, "toy", "toy_worker", str(toy / "package")]
    library = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert library.stdin is not None
    library.stdin.write(f"{tmp_path}\n")
    library.stdin.flush()
    wait_until((tmp_path / "sleeps").exists)
    assert library.poll() is None
    with library:
        library.stdin.close()
        assert library.wait(timeout=LONG) == 1


# -- scores of what was handed over ----------------------------------------------------------------------------------


def test_a_user_is_folded_in_by_the_least_squares_of_the_library() -> None:
    rng = np.random.default_rng(0)
    item, weight, ridge = rng.normal(size=(12, 3)), 4.0, 2.0
    fold = np.array([weight, ridge])
    user = rng.normal(size=(2, 3))
    handed = HandedOver({"item": item, "user": user, "fold": fold, "lengths": np.array([2, 0])})
    query = Query(Histories.of([[3, 7], [3, 7, 9], [1]], 12), np.array([0, 0, -1]))
    scores = handed.score(query)
    np.testing.assert_allclose(scores[0], user[0] @ item.T, rtol=1e-5)  # with just the history of train: as trained
    for row, taken in ((1, [3, 7, 9]), (2, [1])):
        confidence, wanted = np.ones(12), np.zeros(12)
        confidence[taken], wanted[taken] = 1 + weight, 1.0
        rows = np.sqrt(confidence)[:, None] * item  # argmin sum c (y - x item)^2 + ridge |x|^2, as one regression
        stacked = np.vstack([rows, np.sqrt(ridge) * np.eye(3)])
        x = np.linalg.lstsq(stacked, np.concatenate([np.sqrt(confidence) * wanted, np.zeros(3)]), rcond=None)[0]
        np.testing.assert_allclose(scores[row], x @ item.T, rtol=1e-5)
    assert handed.knows(query).all()


def test_only_the_nearest_of_a_history_count() -> None:
    import scipy.sparse as sp

    rng = np.random.default_rng(1)
    dense = np.round(rng.random((8, 8)), 3) * (rng.random((8, 8)) < 0.7)
    parts = sp.csr_array(dense.astype(np.float32))
    arrays = {"data": parts.data, "indices": parts.indices, "indptr": parts.indptr, "nearest": np.array([2])}
    lists = [[0, 3, 5, 6], [1], []]
    scores = HandedOver({**arrays, "lengths": np.zeros(0)}).score(Query.of_histories(lists, 8))
    for row, taken in enumerate(lists):
        best = [sum(sorted(dense[taken, item], reverse=True)[:2]) if taken else 0.0 for item in range(8)]
        np.testing.assert_allclose(scores[row], best, rtol=1e-5)


# -- the real libraries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["implicit", "cornac", "lenskit"])
def test_versions_are_those_of_the_lock_files(library: str) -> None:
    lock = (ROOT / "requirements" / "peers" / f"{library}.txt").read_text()
    assert f"\n{library}=={peer.WORKERS[library].VERSION} " in lock


REAL = [
    ("implicit", "ALS", {"factors": 8}), ("implicit", "BPR", {"factors": 8}), ("implicit", "Cosine", {"K": 8}),
    ("implicit", "TFIDF", {"K": 8}), ("implicit", "BM25", {"K": 8}), ("cornac", "BPR", {"k": 8, "learning_rate": 0.05}),
    ("cornac", "EASE", {"lamb": 10.0}), ("cornac", "VAECF", {"k": 8, "learning_rate": 0.01}),
    ("cornac", "BiVAECF", {"k": 8, "learning_rate": 0.01}), ("lenskit", "ImplicitMF", {"embedding_size": 8}),
    ("lenskit", "ItemKNN", {"max_nbrs": 5}),
]  # fmt: skip
OWN_SCORES = '''
"""Train as the adapter does, and write the scores that the library itself gives to users of train."""
import importlib, json, sys
from pathlib import Path
import numpy as np
import scipy.sparse as sp

folder, place = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, place)
job = json.loads((folder / "job.json").read_text())
library = sys.argv[3]
worker = importlib.import_module(library + "_worker")
with np.load(folder / "train.npz") as file:
    parts = (np.ones(len(file["indices"]), np.float32), file["indices"], file["indptr"])
    train = sp.csr_matrix(parts, shape=job["shape"])
made = []


def keep(module, name):
    own = getattr(module, name)
    setattr(module, name, lambda **given: (made.append(own(**given)), made[-1])[1])


n_users, n_items = train.shape
if library == "implicit":
    from implicit import als, bpr, nearest_neighbours
    keep(als, "AlternatingLeastSquares")
    keep(bpr, "BayesianPersonalizedRanking")
    if job["model"] not in ("ALS", "BPR"):
        keep(nearest_neighbours, job["model"] + "Recommender")
    worker.fit(job["model"], job["params"], train, job["seed"])
    found = np.full(train.shape, -np.inf)
    for user in range(n_users):
        items, scores = made[-1].recommend(user, train[user], N=n_items, filter_already_liked_items=False)
        found[user, items[items >= 0]] = scores[items >= 0]
elif library == "cornac":
    from cornac import models
    keep(models, job["model"])
    worker.fit(job["model"], job["params"], train, job["seed"])
    found = np.stack([np.asarray(made[0].score(user)).ravel() for user in range(n_users)])
else:
    from lenskit import als, knn
    from lenskit.data import ItemList, RecQuery
    keep(als, "ImplicitMFScorer")
    keep(knn, "ItemKNNScorer")
    worker.fit(job["model"], job["params"], train, job["seed"])
    everything = ItemList(item_ids=np.arange(n_items))
    queries = [RecQuery(user_id=user, user_items=ItemList(item_ids=train[user].indices)) for user in range(n_users)]
    found = np.stack([np.asarray(made[0](query, everything).scores()) for query in queries])
np.save(folder / "scores.npy", found)
'''


@pytest.mark.slow
@pytest.mark.parametrize(("library", "model", "params"), REAL, ids=lambda value: str(value))
def test_real_libraries_learn_and_their_order_is_kept(
    library: str, model: str, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(process.PLACE, str(PINNED))
    try:
        python = python_of(library)
    except PeerError as error:
        pytest.skip(str(error))
    world, (ranker, log) = blocks(), fitted(model, library, **params)
    assert log.best["recall@2"] > 0.8
    ranker._hand_over(tmp_path, world.train, QUIET)
    (tmp_path / "own.py").write_text(OWN_SCORES)
    place = str(Path(work.__file__).parent)
    command = [str(python), str(tmp_path / "own.py"), str(tmp_path), place, library]
    subprocess.run(command, check=True, env=process.environment(), capture_output=True)
    own, ours = np.load(tmp_path / "scores.npy"), ranker.score(Query.of_users(world.train, np.arange(96)))
    own = np.nan_to_num(own, nan=0.0, neginf=0.0)
    if model in ("VAECF", "BiVAECF"):  # handed over before the last function, which keeps the order
        own, ours = (np.argsort(np.argsort(scores, axis=1), axis=1) for scores in (own, ours))
        assert np.corrcoef(own.ravel(), ours.ravel())[0, 1] > 0.999
        return
    np.testing.assert_allclose(ours, own, rtol=2e-3, atol=2e-3)
