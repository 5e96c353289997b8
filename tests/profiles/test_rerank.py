"""Re-ranking by soft tokens: only the top changes, a useful model helps, a useless one is left out."""

from __future__ import annotations

import numpy as np
import pytest
from profiles.lm import tiny, titled

from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures, Query
from recsys.evaluation.evaluator import evaluate, make_validator
from recsys.evaluation.task import EvaluationSettings
from recsys.profiles.rerank import SoftReranker, _standard
from recsys.profiles.soft_tokens import SoftTokens, SoftTokenSettings

SETTINGS = EvaluationSettings(ks=(5, 20), metric="ndcg@5", resamples=100)


class Noise:
    """Scores at random, the same for the same history, items of all blocks alike."""

    def score(self, query: Query) -> np.ndarray:
        rows = [np.random.default_rng(int(query.histories[row].sum())).random(48) for row in range(len(query))]
        return np.array(rows, dtype=np.float32)


@pytest.fixture(scope="module")
def world():
    return titled()


@pytest.fixture(scope="module")
def soft(world) -> SoftTokens:
    settings = SoftTokenSettings(epochs=1, batch_size=12, dim=8, prompt="next :", epoch_tokens=20_000, steps=100)
    made = SoftTokens(SoftTokens.likelihood(*tiny(world), world.dataset.titles(range(48)), settings), settings)
    made.fit(world.train, ItemFeatures(), valid=world.valid, run=Run())
    return made


def query(world, n: int = 6) -> Query:
    return Query.of_users(world.train, np.arange(n))


def test_only_the_top_changes_places(world, soft) -> None:
    asked, base = query(world), Noise()
    before, after = base.score(asked), SoftReranker(base, soft, top=15, weight=2.0).score(asked)
    changed = 0
    for row in range(len(asked)):
        open_to = np.setdiff1d(np.arange(48), asked.histories[row])
        top = open_to[np.argsort(-before[row, open_to])][:15]
        rest = np.setdiff1d(np.arange(48), top)
        np.testing.assert_array_equal(after[row, rest], before[row, rest])
        assert sorted(after[row, top]) == sorted(before[row, top])
        changed += int((after[row] != before[row]).sum())
    assert changed > 20


def test_without_weight_it_is_the_base_and_the_language_model_reads_nothing(world, soft) -> None:
    asked, read = query(world), soft.titles.read
    np.testing.assert_array_equal(SoftReranker(Noise(), soft, weight=0.0).score(asked), Noise().score(asked))
    assert soft.titles.read == read


def test_what_the_tokens_know_helps_and_is_chosen_on_validation(world, soft) -> None:
    valid = make_validator(world, SETTINGS)
    chosen = SoftReranker(Noise(), soft, top=38).chosen(valid)
    assert chosen.weight > 0
    figures = [evaluate(one, world, SETTINGS, run=Run()).summary["ndcg@5"] for one in (Noise(), chosen)]
    assert figures[1] > figures[0] + 0.3
    assert valid(chosen)["ndcg@5"] >= valid(Noise())["ndcg@5"]


def test_tokens_that_mislead_get_no_weight(world, soft) -> None:
    class Misled:
        titles = soft.titles

        def scores(self, histories, items):
            return -soft.scores(histories, items)

    chosen = SoftReranker(Noise(), Misled(), top=38).chosen(make_validator(world, SETTINGS))
    assert chosen.weight == 0.0


def test_trying_weights_reads_titles_once(world, soft) -> None:
    asked, one = query(world), SoftReranker(Noise(), soft, top=10)
    one.score(asked)
    read = soft.titles.read
    one.with_weight(0.5).score(asked)
    assert soft.titles.read == read


class Known:
    """Stands for a base with given scores and soft tokens with given preferences, and counts what is read."""

    def __init__(self, values: list[list[float]]) -> None:
        self.values, self.asked = np.array(values, np.float32), []

    def score(self, query: Query) -> np.ndarray:
        return self.values

    def scores(self, histories, items) -> np.ndarray:
        self.asked.append(items.tolist())
        return np.array([[-float(item) for item in row] for row in items])  # the smallest number is liked best


@pytest.mark.parametrize(("weight", "after"), [(0.0, [9, 6, 7, 8, 0]), (0.5, [9, 6, 7, 8, 0]), (2.0, [9, 8, 7, 6, 0])])
def test_scores_of_the_top_are_handed_out_in_the_new_order(weight, after) -> None:
    base = Known([[9, 6, 7, 8, 0]])
    asked = Query.of_histories([[0]], 5)
    found = SoftReranker(base, base, top=3, weight=weight).score(asked)
    assert found.tolist() == [after]  # item 0 is of the history, 4 is not of the top
    assert base.asked == ([] if weight == 0 else [[[3, 2, 1]]])
    assert SoftReranker(base, base).score(asked.take(np.zeros(0, np.int64))).shape == base.values.shape


def test_the_smallest_of_equally_good_weights_is_chosen() -> None:
    class Valid:
        metric = "m"

        def __call__(self, one) -> dict[str, float]:
            return {"m": {0.0: 0.1, 0.5: 0.3, 1.0: 0.3}[one.weight]}

    assert SoftReranker(Noise(), None).chosen(Valid(), (1.0, 0.5)).weight == 0.5


def test_rows_in_standard_deviations() -> None:
    np.testing.assert_allclose(_standard(np.array([[1.0, 3.0], [2.0, 2.0]])), [[-1, 1], [0, 0]])
