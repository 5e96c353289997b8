"""Profiles and concepts made by hand, for tests of what keeps, edits and uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp

from recsys.profiles.concepts import Concept, Concepts
from recsys.profiles.schema import Evidence, Interest, Origin, Statement, Support, UserProfile

N_ITEMS = 200
GENRES = {"genre:Drama": ("dramas", 2), "genre:Horror": ("horror films", 10), "genre:Film-Noir": ("film noir", 50)}


def concepts(n_items: int = N_ITEMS, genres: Mapping[str, tuple[str, int]] = GENRES) -> Concepts:
    """Every second item is a drama, every tenth horror, every fiftieth film noir."""
    columns = [np.flatnonzero(np.arange(n_items) % every == 0) for _, every in genres.values()]
    rows, places = np.concatenate(columns), np.repeat(np.arange(len(columns)), [len(one) for one in columns])
    members = sp.csc_array((np.ones(len(rows), np.float32), (rows, places)), shape=(n_items, len(columns)))
    found = tuple(Concept(key, phrase, "behaviour") for key, (phrase, _) in genres.items())
    return Concepts(found, members)


def statement(key: str, weight: float = 0.5, **changes) -> Statement:
    taken = (Evidence(item_id="i0", title="Title 0", date="1997-04-01"),)
    support = Support(kind="share", n=10, n_with=6, observed=0.6, expected=0.3, low=0.35, high=0.8)
    settings = {
        "id": f"s-{key}", "text": f"About {key}.", "polarity": "like", "modality": "behaviour",
        "evidence": taken, "support": support, **changes,
    }  # fmt: skip
    return Statement(concept=key, weight=weight, **settings)


def profile(*statements: Statement, user_id: str | None = "u1", interests: Sequence[Interest] = ()) -> UserProfile:
    origin = Origin(history=10, data="d" * 8, builder="b" * 8)
    return UserProfile(
        user_id=user_id,
        summary="Likes what it likes.",
        statements=statements,
        interests=tuple(interests),
        origin=origin,
    )


def a_profile(user_id: str | None = "u1") -> UserProfile:
    return profile(statement("genre:Drama", 0.6), statement("genre:Horror", 0.3, polarity="dislike"), user_id=user_id)
