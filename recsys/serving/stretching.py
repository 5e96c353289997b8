"""How far up new items stand: as often in lists as trained items that play new ones are by scores of their own.

A mean of neighbours' scores is nearer to the middle than any score, so that new items would hardly ever be shown, by
some rankers at all (experiments/new_items).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from recsys.core.runtime import Run
from recsys.core.values import ItemFeatures
from recsys.evaluation.topk import top_k
from recsys.serving.engine import Engine
from recsys.serving.fresh import FreshItems, Neighbourhood
from recsys.serving.person import Person

K, USERS, SHARE, ITEMS = 20, 128, 0.1, 512  # lists that are looked at; part of the items that play new ones, at most
MOST, STEPS = 8.0, 12


def fair_stretch(engine: Engine, places: Neighbourhood, features: ItemFeatures, run: Run) -> float:
    """Return the stretch of new items' scores (``FreshItems.extended``) with which they get their share of the lists.

    Args:
        engine: scores.
        places: where new items are placed.
        features: of the trained items.
        run: its seed says who plays.

    Returns:
        From 1, the mean itself, to ``MOST``; 1 too where the items that play are in nobody's list.
    """
    n, known = len(engine.dataset.items), engine.recommender.known
    players = run.rng("stretch items").permutation(np.flatnonzero(known.item_counts > 0))
    players = np.sort(players[: min(ITEMS, max(1, round(SHARE * len(players))))])
    users = np.sort(run.rng("stretch users").permutation(np.flatnonzero(known.user_counts > 0))[:USERS])
    if not len(users):
        return 1.0
    people = [Person(known.histories[user], np.unique(known.histories[user]), row=int(user)) for user in users]
    scores = engine.scores(people, FreshItems(n))
    seen = known.histories.take(users).matrix()
    wanted = _shown(scores, players, seen)
    mixed = _as_new(places, features, players, n).mixed(scores.T).T  # [n_users, n_players]
    middle = scores.mean(axis=1, keepdims=True)
    if not wanted or not mixed.any():
        return 1.0
    played, low, high = np.array(scores), 1.0, MOST
    for _ in range(STEPS):
        factor = (low * high) ** 0.5
        played[:, players] = middle + factor * (mixed - middle)
        low, high = (factor, high) if _shown(played, players, seen) < wanted else (low, factor)
    return float(low) if low > 1 else 1.0


def _as_new(places: Neighbourhood, features: ItemFeatures, players: np.ndarray, n: int) -> FreshItems:
    placed, there = [], {name: features.present(name) for name in features.matrices}
    for item in players.tolist():
        rows = {name: features[name][item] for name in there if there[name][item]}
        placed.append(places.place(str(item), "", (), rows, apart=item))
    return FreshItems(n, placed)


def _shown(scores: np.ndarray, items: np.ndarray, seen: sp.csr_array) -> int:
    """Return how often these items are in the lists of those rows."""
    found, _ = top_k(scores, min(K, scores.shape[1]), seen=seen, name="stretch")
    return int(np.isin(found, items).sum())
