"""Whether statements are borne out by the history, and whether they rest on what they cite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recsys.profiles.builder import ProfileBuilder
from recsys.profiles.history import History
from recsys.profiles.schema import Evidence, Statement, Support, UserProfile
from recsys.profiles.statistics import wilson
from recsys.profiles.verifying import verify

SEED = 0


def unfiltered(builder: ProfileBuilder, taken: History, profile: UserProfile) -> UserProfile:
    """Return a profile that says of every concept which the history has more of than popularity that it is liked."""
    has, n = builder.contrasts.holding(taken), len(taken)
    k, expected = has.sum(axis=0), builder.contrasts.expected(n)
    low, high = wilson(k.astype(np.float64), n)
    said = []
    for column in np.flatnonzero((k >= builder.settings.contrast.least) & (k / n > expected)):
        concept, places = builder.concepts.all[column], np.flatnonzero(has[:, column])[: builder.settings.evidence]
        cited = [
            Evidence(item_id=builder.ids[item], title=builder.titles[item], date=taken.date(int(place)))
            for place, item in zip(places, taken.items[places], strict=True)
        ]
        support = Support(
            kind="share", n=n, n_with=int(k[column]), observed=k[column] / n, expected=expected[column],
            low=low[column], high=high[column],
        )  # fmt: skip
        said.append(Statement(
            id=f"c{column}", text=concept.phrase, polarity="like", weight=0.5, modality=concept.modality,
            concept=concept.key, evidence=tuple(cited), support=support,
        ))  # fmt: skip
    return profile.model_copy(update={"statements": tuple(said)})


def proof(builder: ProfileBuilder, histories: Sequence[History], profiles: Sequence[UserProfile]) -> dict[str, Any]:
    """Return the shares of statements that are borne out: after the filter, before it, by somebody else's history."""
    neighbours = [*histories[1:], histories[0]]
    after, before, others = [], [], []
    for taken, other, profile in zip(histories, neighbours, profiles, strict=True):
        all_said = unfiltered(builder, taken, profile)
        after.append((len(profile.statements), len(verify(profile, builder, taken))))
        before.append((len(all_said.statements), len(verify(all_said, builder, taken))))
        others.append((len(profile.statements), len(verify(profile, builder, other))))
    return {"filtered": borne_out(after), "unfiltered": borne_out(before), "history_of_another": borne_out(others)}


def borne_out(counts: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return statements, and the share borne out with its interval over users, of counts ``(said, refused)``."""
    said, refused = np.array(counts, dtype=np.float64).T
    return {"statements": int(said.sum()), "borne_out": ratio(said - refused, said)}


def ratio(part: np.ndarray, whole: np.ndarray) -> list[float]:
    """Return ``part.sum() / whole.sum()`` and its 95 % interval, percentile bootstrap over users."""
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, len(whole), (2000, len(whole)))
    means = part[drawn].sum(axis=1) / np.maximum(whole[drawn].sum(axis=1), 1)
    return [round(float(x), 4) for x in (part.sum() / whole.sum(), *np.quantile(means, [0.025, 0.975]))]


# -- evidence ------------------------------------------------------------------------------------------------


def without_evidence(
    builder: ProfileBuilder, histories: Sequence[History], profiles: Sequence[UserProfile]
) -> dict[str, Any]:
    """Return what becomes of statements when what they cite, or as much at random, is not in the history."""
    rng = np.random.default_rng(SEED)
    fates: dict[str, list[dict[str, int]]] = {"cited": [], "random": []}
    for taken, profile in zip(histories, profiles, strict=True):
        mine: dict[str, dict[str, int]] = {kind: dict.fromkeys(("gone", "weaker", "said"), 0) for kind in fates}
        for one in profile.statements:
            cited = np.isin([builder.ids[item] for item in taken.items], [each.item_id for each in one.evidence])
            drawn = np.isin(np.arange(len(taken)), rng.permutation(len(taken))[: cited.sum()])
            for kind, out in (("cited", cited), ("random", drawn)):
                fate = after_removal(builder, taken, one, ~out)
                mine[kind]["said"] += 1
                if fate in mine[kind]:
                    mine[kind][fate] += 1
        for kind, counts in mine.items():
            fates[kind].append(counts)
    told = {}
    for kind, counts in fates.items():
        columns = {
            name: np.array([one[name] for one in counts], dtype=np.float64) for name in ("gone", "weaker", "said")
        }
        either = columns["gone"] + columns["weaker"]
        told[kind] = {name: ratio(columns[name], columns["said"]) for name in ("gone", "weaker")}
        told[kind]["either"] = ratio(either, columns["said"])
    return told


def after_removal(builder: ProfileBuilder, taken: History, one: Statement, kept: np.ndarray) -> str:
    """Return ``gone`` where the statement is not found any more, ``weaker`` where it has less strength, ``stays``."""
    pick = lambda array: None if array is None else array[kept]  # noqa: E731
    left = History(taken.items[kept], pick(taken.times), pick(taken.ratings))
    if not len(left):
        return "gone"
    has = builder.contrasts.holding(left)
    found = builder.contrasts.shares(left, has) if one.support.kind == "share" else builder.contrasts.ratings(left, has)
    column = builder.concepts.place[one.concept]
    now = [each.support for each in found if (each.column, each.polarity) == (column, one.polarity)]
    if not now:
        return "gone"
    before, after = (abs(each.observed - each.expected) for each in (one.support, now[0]))
    return "weaker" if after < before else "stays"
