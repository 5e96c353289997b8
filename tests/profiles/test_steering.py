"""Steering: no edit, no change, to the last bit; an edit moves its own items, as far for rare things as for common."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from profiles.made import N_ITEMS, a_profile, concepts, profile, statement

from recsys.core.errors import DataError
from recsys.core.values import Histories, Query, Vocabulary
from recsys.evaluation.topk import top_k
from recsys.profiles.edits import Edit, apply
from recsys.profiles.matching import SAID, Matcher, content_words, strength
from recsys.profiles.schema import Evidence, Interest, UserProfile
from recsys.profiles.steering import Edited, ProfileMatch, Steered, signed_weights, statement_keys

KNOWN = concepts()
TEXTS = {3: "A dog learns to talk.", 4: "The dogs of war", 5: "Space: a talking dog on the moon", 7: "spacious rooms"}


def table(n_items: int = N_ITEMS, texts=TEXTS) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": [f"i{idx}" for idx in range(n_items)],
            "title": [f"Title {idx}" for idx in range(n_items)],
            "text": [texts.get(idx) for idx in range(n_items)],
        },
        schema_overrides={"text": pl.String},
    )


MATCHER = Matcher(KNOWN, table())


class Fixed:
    """A ranker whose scores are random numbers of each user."""

    def __init__(self, n_items: int = N_ITEMS, constant: bool = False) -> None:
        self.n_items, self.constant = n_items, constant

    def score(self, query: Query) -> np.ndarray:
        rows = [np.random.default_rng(int(user) + 1).normal(size=self.n_items) for user in query.user_idx]
        return np.array(rows, dtype=np.float32) * (0 if self.constant else 1)


def query(*users: int, n_items: int = N_ITEMS, taken: int = 3) -> Query:
    rows = [np.random.default_rng(user + 50).permutation(n_items)[:taken] for user in users]
    return Query(Histories.of(rows, n_items), np.array(users, dtype=np.int64))


def edited(*texts: str, built: UserProfile | None = None, known=KNOWN) -> Edited:
    now = built or a_profile()
    for text in texts:
        now = apply(now, Edit.parse(text), known)
    return Edited(built or a_profile(), now)


def share(scores: np.ndarray, key: str, k: int = 20, known=KNOWN) -> np.ndarray:
    items, _ = top_k(scores, k)
    return np.isin(items, known.items(key)).mean(axis=1)


# -- what words mean -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("films about space", ["space"]),
        ("Talking dogs, and more of the DOG", ["talking", "dog"]),
        ("stories of witches, boxes and a boss", ["story", "witch", "box", "boss"]),
        ("the films", []),
    ],
)
def test_what_tells_of_a_phrase(text: str, words: list[str]) -> None:
    assert content_words(text) == words


@pytest.mark.parametrize(
    ("words", "items"),
    [("dogs", [3, 4, 5]), ("films about talking dogs", [5]), ("space", [5]), ("a talking dog", [5]), ("cats", [])],
)
def test_words_mean_the_items_that_have_them(words: str, items: list[int]) -> None:
    found = MATCHER.membership(SAID + words)
    assert found.dtype == np.float32
    assert list(np.flatnonzero(found == 1)) == items or not items
    assert MATCHER.finds(words) == bool(items)
    assert found.max() <= 1


def test_an_item_with_few_of_the_words_is_not_meant() -> None:
    found = MATCHER.membership(SAID + "a talking moon dog in space")
    assert found[5] == 1
    assert found[4] == 0  # dogs alone are not enough
    assert MATCHER.membership(SAID + "dogs zzyzx")[4] == 1  # what nobody has tells nothing


def test_a_text_encoder_finds_what_words_do_not() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(N_ITEMS, 64)).astype(np.float32)
    wanted = np.ones(64, dtype=np.float32)
    vectors[[10, 11]] = wanted + 0.01 * rng.normal(size=(2, 64))
    vectors[12] = np.nan
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.array([wanted])

    matcher = Matcher(KNOWN, table(), vectors, encode)
    found = matcher.membership(SAID + "hounds")
    assert list(np.flatnonzero(found == 1)) == [10, 11]
    assert found[12] == 0
    assert np.isfinite(found).all()
    assert (found > 0).mean() < 0.05
    matcher.membership(SAID + "hounds")
    assert asked == ["hounds"]  # once


def test_a_concept_that_is_gone_means_nothing() -> None:
    assert not MATCHER.membership("genre:Gone").any()
    assert MATCHER.columns(["genre:Gone", "genre:Drama"]).shape == (N_ITEMS, 2)
    assert MATCHER.columns([]).shape == (N_ITEMS, 0)


# -- steering ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [[], ["lock genre:Drama"], ["raise genre:Drama", "lower genre:Drama"]])
def test_who_edited_nothing_that_counts_has_the_same_bits(texts: list[str]) -> None:
    asked = query(0, 1, 2)
    found = Steered(Fixed(), {1: edited(*texts), 7: edited("raise genre:Drama")}, MATCHER).score(asked)
    assert np.array_equal(found, Fixed().score(asked))


def test_only_the_user_who_edited_is_moved() -> None:
    asked = query(0, 1, 2)
    found = Steered(Fixed(), {1: edited("raise genre:Film-Noir")}, MATCHER).score(asked)
    plain = Fixed().score(asked)
    assert np.array_equal(found[[0, 2]], plain[[0, 2]])
    assert not np.array_equal(found[1], plain[1])
    assert found.dtype == np.float32


def test_scores_do_not_depend_on_who_else_is_asked_for() -> None:
    steered = Steered(Fixed(), {user: edited("raise film noir", "forbid horror") for user in (0, 2)}, MATCHER)
    together = steered.score(query(0, 1, 2))
    for row, user in enumerate((0, 1, 2)):
        assert np.array_equal(steered.score(query(user))[0], together[row])


@pytest.mark.parametrize("key", ["genre:Drama", "genre:Horror", "genre:Film-Noir"])
def test_more_and_less_of_a_thing(key: str) -> None:
    built = profile(statement(key, 0.5))
    asked = query(*range(30))
    plain = share(Fixed().score(asked), key)
    moved = {}
    for text in (f"raise {key}", f"reweight {key} 1", f"lower {key}", f"dislike {key}"):
        pairs = {user: edited(text, built=built) for user in range(30)}
        moved[text] = share(Steered(Fixed(), pairs, MATCHER, dial=2.0).score(asked), key)
    up, most, down, least = (one.mean() for one in moved.values())
    assert most > up > plain.mean() > down >= least
    assert (moved[f"raise {key}"] >= plain).all()
    assert (moved[f"lower {key}"] <= plain).all()


def test_a_full_weight_takes_a_rare_and_a_common_thing_to_about_half_of_the_list() -> None:
    """The odds of a concept's share are multiplied: what ``strength`` promises, on random lists."""
    n_items, users = 20_000, range(20)
    known = concepts(n_items, {f"every:{every}": ("", every) for every in (3, 20, 100)})
    matcher = Matcher(known, table(n_items))
    asked = query(*users, n_items=n_items)
    found = []
    for concept in known.all:
        pairs = {user: edited(f"reweight {concept.key} 1", built=profile(statement(concept.key, 0))) for user in users}
        pairs = {
            user: Edited(one.built, one.built.replacing(statement(concept.key, 1.0))) for user, one in pairs.items()
        }
        scores = Steered(Fixed(n_items), pairs, matcher, dial=1.0).score(asked)
        found.append(share(scores, concept.key, k=200, known=known).mean())
    assert found == pytest.approx([2 / 3, 0.525, 0.505], abs=0.04)  # (1 + p) / 2


def test_forbidden_items_come_after_all_others_and_are_named() -> None:
    asked = query(0, 1)
    steered = Steered(Fixed(), {0: edited("forbid genre:Drama", "raise genre:Horror")}, MATCHER)
    assert list(steered.banned(0)) == list(KNOWN.items("genre:Drama"))
    assert not len(steered.banned(1))
    items, _ = top_k(steered.score(asked), N_ITEMS)
    assert set(items[0, N_ITEMS // 2 :]) == set(KNOWN.items("genre:Drama"))
    assert np.isfinite(steered.score(asked)).all()


def test_forbidding_alone_keeps_the_order_of_the_rest() -> None:
    asked = query(0, taken=0)
    scores = Steered(Fixed(), {0: edited("forbid genre:Film-Noir")}, MATCHER).score(asked)[0]
    rest = np.setdiff1d(np.arange(N_ITEMS), KNOWN.items("genre:Film-Noir"))
    plain = Fixed().score(asked)[0]
    top = lambda values: rest[np.argsort(-values[rest], kind="stable")][:50]  # noqa: E731
    assert list(top(scores)) == list(top(plain))


def test_somebody_new_is_steered_and_served_what_is_popular() -> None:
    asked = Query.of_histories([[]], N_ITEMS)
    counts = np.arange(N_ITEMS, dtype=np.float32)
    pair = edited("add genre:Film-Noir", built=profile())
    found = Steered(Fixed(constant=True), {-1: pair}, MATCHER, dial=50, fallback=counts).score(asked)
    items, _ = top_k(found, 6)
    assert list(items[0, :4]) == [150, 100, 50, 0]  # film noir, the popular first
    assert list(items[0, 4:]) == [199, 198]


def test_the_dial_at_nought_leaves_the_order() -> None:
    asked = query(0)
    found = Steered(Fixed(), {0: edited("raise genre:Drama")}, MATCHER, dial=0).score(asked)
    top = lambda scores: list(top_k(scores, 50)[0][0])  # noqa: E731
    seen = set(asked.histories[0])
    before, after = ([item for item in top(scores) if item not in seen] for scores in (Fixed().score(asked), found))
    assert before[:40] == after[:40]


# -- the profile alone ---------------------------------------------------------------------------------------


def test_signed_weights() -> None:
    pair = [a_profile(), profile(statement("genre:Film-Noir", 0.25))]
    keys = statement_keys(pair)
    assert keys == ["genre:Drama", "genre:Horror", "genre:Film-Noir"]
    assert signed_weights(pair, keys).toarray() == pytest.approx(np.array([[0.6, -0.3, 0], [0, 0, 0.25]]))


def test_the_profile_alone_is_the_sum_over_its_statements() -> None:
    one = a_profile()
    found = ProfileMatch({4: one}, MATCHER).score(query(3, 4))
    drama, horror = (MATCHER.membership(f"genre:{name}") for name in ("Drama", "Horror"))
    assert not found[0].any()  # nothing is known of user 3
    assert found[1] == pytest.approx(0.6 * np.log(1 + 2) * drama - 0.3 * np.log(1 + 10) * horror, abs=1e-6)
    assert strength(drama) == pytest.approx(np.log(3))


def test_forbidden_items_come_last_in_the_profile_alone() -> None:
    found = ProfileMatch({0: apply(a_profile(), Edit.parse("forbid genre:Drama"), KNOWN)}, MATCHER).score(query(0))
    items, _ = top_k(found, N_ITEMS)
    assert set(items[0, N_ITEMS // 2 :]) == set(KNOWN.items("genre:Drama"))


def test_a_prior_is_added_for_everybody() -> None:
    prior = np.linspace(0, 1, N_ITEMS).astype(np.float32)
    found = ProfileMatch({4: a_profile()}, MATCHER, prior=prior).score(query(3, 4))
    assert np.array_equal(found[0], prior)
    assert found[1] == pytest.approx(prior + ProfileMatch({4: a_profile()}, MATCHER).score(query(4))[0], abs=1e-6)


def test_with_log_popularity_the_profile_gives_a_concept_the_odds_that_it_claims() -> None:
    """Drawn in proportion to ``exp(score)``, a concept has popularity's odds times ``exp(weight * strength)``."""
    counts = np.random.default_rng(0).integers(1, 50, N_ITEMS).astype(np.float64)
    score = ProfileMatch({0: profile(statement("genre:Horror", 0.4))}, MATCHER, prior=np.log(counts)).score(query(0))[0]
    horror = MATCHER.membership("genre:Horror") > 0
    odds = lambda mass: mass[horror].sum() / mass[~horror].sum()  # noqa: E731
    assert odds(np.exp(score)) / odds(counts) == pytest.approx(np.exp(0.4 * np.log(1 + 10)), rel=1e-4)


def with_interests(*groups: list[int]) -> UserProfile:
    interests = [
        Interest(name="", share=0.5, concepts=(), examples=tuple(Evidence(item_id=f"i{i}", title="") for i in group))
        for group in groups
    ]
    return profile(statement("genre:Drama", 0.5), interests=interests)


def test_interests_match_by_the_nearest_of_them() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N_ITEMS, 64))
    rows[:10], rows[10:20] = rng.normal(size=64) + 0.1 * rows[:10], rng.normal(size=64) + 0.1 * rows[10:20]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    items = Vocabulary(f"i{idx}" for idx in range(N_ITEMS))
    known = {0: with_interests([0, 1], [10, 11]), 1: with_interests([10, 11]), 2: with_interests([99_999])}
    known[3] = profile(statement("genre:Drama", 0.5, evidence=(Evidence(item_id="i12", title=""),)))
    found = ProfileMatch(known, MATCHER, "interests", items=items, rows=rows).score(query(0, 1, 2, 3))
    best = [set(row) for row in top_k(found, 10)[0]]
    assert set(top_k(found[:1], 20)[0][0]) == set(range(20))
    assert best[1] == set(range(10, 20))
    assert not found[2].any()  # its items are not in the catalogue
    assert best[3] == set(range(10, 20))  # no interests: what statements rest on
    both = ProfileMatch(known, MATCHER, "both", items=items, rows=rows).score(query(0))
    assert both == pytest.approx(ProfileMatch(known, MATCHER).score(query(0)) + 2 * found[:1], abs=1e-5)
    with pytest.raises(DataError, match="encoded text"):
        ProfileMatch(known, MATCHER, "interests")


def test_all_users_at_once_are_each_user_alone() -> None:
    rng = np.random.default_rng(1)
    known = {
        user: profile(*(statement(key, float(rng.random())) for key in KNOWN.place if rng.random() < 0.7))
        for user in range(40)
    }
    ranker = ProfileMatch(known, MATCHER)
    together = ranker.score(query(*range(40)))
    for user in (0, 13, 39):
        assert np.array_equal(ranker.score(query(user))[0], together[user])
