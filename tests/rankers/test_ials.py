"""iALS against the textbook: explicit confidence matrices, an objective that only falls."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.core.runtime import Run
from recsys.core.values import Interactions, ItemFeatures, Query
from recsys.rankers import ials
from recsys.rankers.ials import IALS

QUIET = Run(seed=3, log=lambda message: None)


def crowd(n_users: int = 17, n_items: int = 11) -> Interactions:
    """Interactions at random; the last user took nothing, and nobody the last item."""
    taken = np.argwhere(np.random.default_rng(0).random((n_users - 1, n_items - 1)) < 0.4).astype(np.int32)
    return Interactions(taken[:, 0], taken[:, 1], n_users, n_items)


def fitted(train: Interactions, **settings: float) -> IALS:
    ranker = IALS(IALS.Settings(**{"embedding_dim": 4, "alpha": 3.0, "regularisation": 0.7, **settings}))
    ranker.fit(train, ItemFeatures(), run=QUIET)
    return ranker


def one_side(taken: np.ndarray, others: np.ndarray, settings: IALS.Settings) -> np.ndarray:
    """Return ``(Y^T C_u Y + r_u I)^-1 Y^T C_u a_u`` for each row (Hu et al., eq. 4), with ``C_u`` written out."""
    rows = []
    for row in taken:
        confidence = np.diag(np.where(row > 0, 1.0 + settings.alpha, 1.0))
        penalty = settings.regularisation * (row.sum() * settings.alpha + len(others)) ** settings.nu
        system = others.T @ confidence @ others + penalty * np.eye(others.shape[1])
        rows.append(np.linalg.inv(system) @ others.T @ confidence @ row)
    return np.array(rows)


@pytest.mark.parametrize("nu", [0.0, 0.7])
def test_it_alternates_as_in_the_textbook(nu: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ials, "CHUNK_NUMBERS", 5 * 4**2)  # several groups of rows, the last one smaller
    train = crowd()
    ranker, taken = fitted(train, nu=nu, iterations=3), train.matrix.toarray().astype(float)
    items = QUIET.rng("ials").normal(0.0, 0.1, size=(11, 4))
    items[-1] = 0.0
    for _ in range(3):
        users = one_side(taken, items, ranker.settings)
        items = one_side(taken.T, users, ranker.settings)
    np.testing.assert_allclose(ranker.embeddings()["item"], items, rtol=1e-4, atol=1e-6)
    users = one_side(taken, items, ranker.settings)  # a user is solved when scored
    query = Query.of_users(train, np.arange(17))
    np.testing.assert_allclose(ranker.score(query), users @ items.T, rtol=1e-4, atol=1e-5)
    assert not ranker.score(query)[-1].any()
    assert not ranker.score(query)[:, -1].any()


def objective(train: Interactions, ranker: IALS) -> float:
    taken, settings = train.matrix.toarray().astype(float), ranker.settings
    items = ranker.embeddings()["item"].astype(float)
    users = one_side(taken, items, settings)
    fit = (np.where(taken > 0, 1 + settings.alpha, 1.0) * (taken - users @ items.T) ** 2).sum()
    for vectors, counts, n_others in ((users, taken.sum(1), 11), (items, taken.sum(0), 17)):
        penalty = settings.regularisation * (counts * settings.alpha + n_others) ** settings.nu
        fit += (penalty * (vectors**2).sum(axis=1)).sum()
    return float(fit)


@pytest.mark.parametrize("nu", [0.0, 0.5])
def test_each_round_lowers_the_objective(nu: float) -> None:
    train = crowd()
    values = [objective(train, fitted(train, nu=nu, regularisation=0.2, iterations=n)) for n in (1, 2, 3, 5, 8, 20)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.01 * values[-1]
    nudged = fitted(train, nu=nu, regularisation=0.2, iterations=200)  # no small step makes it better: a minimum
    best = objective(train, nudged)
    for seed in range(5):
        step = np.random.default_rng(seed).normal(scale=0.03, size=nudged._items.shape)
        moved = IALS(nudged.settings)
        moved.restore({"item": (nudged._items + step).astype(np.float32)})
        assert objective(train, moved) > best


def test_reasons_sum_to_the_score_and_repeats_count_once() -> None:
    ranker = fitted(crowd())
    query = Query.of_histories([[3, 7, 3, 1]], 11)
    parts = ranker.contributions_to(query, np.arange(11))
    np.testing.assert_allclose(parts.sum(axis=1), ranker.score(query)[0], rtol=1e-4, atol=1e-5)
    assert not parts[:, 2].any()
    assert np.abs(parts).max() > 0.01
    np.testing.assert_array_equal(ranker.contributions(query, 5), parts[5])
    assert ranker.contributions_to(Query.of_histories([[]], 11), np.arange(3)).shape == (3, 0)


def test_a_newcomer_with_the_history_of_a_user_is_that_user() -> None:
    train = crowd()
    ranker = fitted(train)
    known = ranker.score(Query.of_users(train, np.array([4])))
    new = ranker.score(Query.of_histories([train.histories[4]], 11))
    np.testing.assert_allclose(new, known, rtol=1e-5)
