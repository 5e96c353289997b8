"""Building: from train alone, the same from the same, for anybody; every statement stands on what it cites."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from profiles.tastes import N_ITEMS, QUIET, SETTINGS, causes, history, made, make_world

import recsys.profiles.builder as builder_module
from recsys.core.config import make_settings
from recsys.core.errors import ConfigError, DataError
from recsys.core.values import Interactions, ItemFeatures
from recsys.profiles.builder import ProfileBuilder, ProfileSettings
from recsys.profiles.concepts import Concept, Concepts, ItemWorld, columns_of
from recsys.profiles.contrast import Contrasts, ContrastSettings
from recsys.profiles.history import History
from recsys.profiles.interests import Group, InterestSettings, distinguishing, divide, named_apart
from recsys.profiles.schema import Evidence, Interest, UserProfile
from recsys.profiles.sources.attributes import Attributes, AttributesSettings
from recsys.profiles.sources.pictures import _about, _named, _standing_out
from recsys.profiles.sources.terms import Terms, TermsSettings, telling
from recsys.profiles.space import unit_rows
from recsys.profiles.verifying import verify

TIMES = 10**9 + 86400 * np.arange(40)


def rated(cause: str = "genre", seed: int = 0) -> History:
    items = history(cause, seed=seed)
    stars = np.where(causes()["term"][items] < 4, 2.0, 4.0) + np.random.default_rng(seed).normal(0, 0.4, 40)
    return History.of(items, N_ITEMS, TIMES, stars)


def split_in_three(world: ItemWorld) -> tuple[Interactions, np.ndarray]:
    """Give each user five more items than train has, later than all of it, for validation and test."""
    train, rng = world.train, np.random.default_rng(9)
    taken = train.matrix.toarray() > 0
    more = [
        (user, item) for user in range(train.n_users) for item in rng.choice(np.flatnonzero(~taken[user]), 5, False)
    ]
    users, items = np.array(more, dtype=np.int32).T
    join = lambda one, other: np.concatenate([one, other.astype(one.dtype)])  # noqa: E731
    everything = Interactions(
        join(train.user_idx, users), join(train.item_idx, items), train.n_users, train.n_items,
        join(train.rating, np.full(len(users), 5.0)), join(train.timestamp, 2 * 10**9 + np.arange(len(users)) * 86400),
    )  # fmt: skip
    return everything, np.arange(len(everything.user_idx)) < len(train)


def test_nothing_of_validation_or_test_is_in_any_profile() -> None:
    world = make_world()
    everything, is_train = split_in_three(world)
    builder = ProfileBuilder(SETTINGS).fit(
        ItemWorld(world.table, world.features, everything.select(is_train)), run=QUIET
    )
    only_train = ProfileBuilder(SETTINGS).fit(world, run=QUIET)  # never saw the others
    for user in range(0, world.train.n_users, 4):
        profile = builder.build(builder.history(user), user_id=f"u{user}")
        told = profile.model_dump_json()
        assert told == only_train.build(only_train.history(user), user_id=f"u{user}").model_dump_json()
        held = everything.item_idx[~is_train & (everything.user_idx == user)]
        titles = [f"Zq{item:03d}x" for item in held]
        assert not [title for title in titles if title in told]
        assert "2033-" not in told  # the year of what is held out
        taken = {f"i{item}" for item in builder.history(user).items}
        assert {one["item_id"] for one in _evidence(profile)} <= taken
    assert profile.origin.data == world.train.digest


def _evidence(profile: UserProfile) -> list[dict]:
    parts = [*profile.statements, *profile.changes]
    shown = [*profile.interests, profile.visual]
    return [one.model_dump() for part in parts for one in part.evidence] + [
        one.model_dump() for part in shown for one in part.examples
    ]


def test_the_same_history_gives_the_same_profile_and_another_one_does_not() -> None:
    one, builder = made(), ProfileBuilder(SETTINGS).fit(make_world(), run=QUIET)
    assert one.build(rated()) == builder.build(rated())
    assert one.build(rated(seed=1)).summary != one.build(rated()).summary


def test_state_brings_the_builder_back() -> None:
    builder = made()
    again = ProfileBuilder(SETTINGS).restore(builder.state(), make_world())
    assert again.identity == builder.identity
    assert again.build(rated("neighbours")) == builder.build(rated("neighbours"))


def test_settings_and_seed_are_part_of_who_built_it() -> None:
    world = make_world()
    strict = SETTINGS.model_copy(update={"evidence": 3})
    found = {ProfileBuilder(one).fit(world, run=run).identity for one in (SETTINGS, strict) for run in (QUIET,)}
    assert len(found | {made().identity}) == 2
    with pytest.raises(ConfigError, match=r"profiles\.options\.terms\.wrods"):
        ProfileBuilder(ProfileSettings(options={"terms": {"wrods": 3}})).fit(world, run=QUIET)
    with pytest.raises(ConfigError, match="concept source"):
        ProfileBuilder(make_settings(ProfileSettings, {"sources": ["term"]}, "profiles")).fit(world, run=QUIET)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_little_is_known_of_short_histories(n) -> None:
    profile = made().build(list(range(n)), times=TIMES[:n], ratings=np.full(n, 4.0))
    assert profile.statements == ()
    assert profile.origin.history == n
    assert ("Nothing is known" if n == 0 else "too few to tell") in profile.summary


def test_a_world_without_texts_attributes_pictures_and_times_is_no_reason_to_fail() -> None:
    world = make_world()
    bare = world.table.with_columns(
        pl.lit(None, dtype=pl.String).alias("title"), pl.lit(None, dtype=pl.String).alias("text"),
        pl.lit(None, dtype=pl.List(pl.String)).alias("attributes"),
    )  # fmt: skip
    train = Interactions(world.train.user_idx, world.train.item_idx, world.train.n_users, world.train.n_items)
    builder = ProfileBuilder(SETTINGS).fit(ItemWorld(bare, ItemFeatures(), train), run=QUIET)
    assert {one.kind for one in builder.concepts.all} == {"neighbours"}
    profile = builder.build(history("neighbours"))
    assert [one.modality for one in profile.statements] == ["behaviour"]
    assert profile.statements[0].evidence[0].title.startswith("i")  # the id where there is no title


def test_a_world_where_nobody_took_anything() -> None:
    world, none = make_world(), np.zeros(0, dtype=np.int32)
    builder = ProfileBuilder(SETTINGS).fit(
        ItemWorld(world.table, world.features, Interactions(none, none, 0, N_ITEMS)), run=QUIET
    )
    assert "genre:G1" in {one.concept for one in builder.build(history("genre")).statements}


@pytest.mark.parametrize("cause", ["genre", "pictures", "neighbours", "term"])
@pytest.mark.parametrize("seed", range(3))
def test_statements_are_borne_out_and_fall_with_their_evidence(cause, seed) -> None:
    builder, taken = made(), rated(cause, seed)
    profile = builder.build(taken)
    assert profile.statements
    assert verify(profile, builder) == verify(profile, builder, taken) == []
    for one in profile.statements:
        cited = {each.item_id for each in one.evidence}
        kept = np.array([f"i{item}" not in cited for item in taken.items])
        left = History(taken.items[kept], taken.times[kept], taken.ratings[kept])
        after = {each.concept: each for each in builder.build(left).statements if each.polarity == one.polarity}
        again = after.get(one.concept)
        gap = lambda each: abs(each.support.observed - each.support.expected)  # noqa: E731
        assert again is None or (again.weight <= one.weight and gap(again) < gap(one))
        assert verify(profile.model_copy(update={"origin": profile.origin}), builder, left)  # the rest does not bear it


def test_of_what_is_liked_as_much_the_latest_is_cited() -> None:
    items = history("genre", n=16)
    taken = History.of(items, N_ITEMS, 10**9 + 90 * 86400 * np.arange(16), np.full(16, 4.0))
    (liked,) = [one for one in made().build(taken).statements if one.concept == "genre:G1"]
    having = [f"i{item}" for item in items if causes()["genre"][item] == 1]
    assert len(having) > 8
    assert [one.item_id for one in liked.evidence] == having[::-1][:8]


def lies(profile: UserProfile) -> dict[str, UserProfile]:
    one = profile.statements[0]
    support = one.support
    foreign = next(
        item for item in made().ids if item not in {f"i{each}" for each in made().concepts.items(one.concept)}
    )
    changes = {
        "more items": {"support": support.model_copy(update={"n_with": support.n_with + 1})},
        "less expected": {"support": support.model_copy(update={"expected": support.expected / 2})},
        "a closer interval": {"support": support.model_copy(update={"low": support.low + 0.05})},
        "no numbers": {"support": None},
        "no evidence": {"evidence": ()},
        "one item twice": {"evidence": one.evidence[:-1] + one.evidence[:1]},
        "an item without it": {
            "evidence": (one.evidence[0].model_copy(update={"item_id": foreign}), *one.evidence[1:])
        },
        "an unknown item": {"evidence": (one.evidence[0].model_copy(update={"item_id": "x"}), *one.evidence[1:])},
        "another concept": {"concept": "genre:G2" if one.concept != "genre:G2" else "genre:G3"},
        "an unknown concept": {"concept": "genre:Nothing"},
        "the contrary": {"polarity": "dislike"},
    }
    return {name: profile.replacing(one.model_copy(update=change)) for name, change in changes.items()}


@pytest.mark.parametrize("lie", lies(made().build(rated())))
def test_lies_are_found(lie) -> None:
    taken = rated()
    told = lies(made().build(taken))[lie]
    assert verify(told, made()) == verify(told, made(), taken) == [told.statements[0].id]


def test_a_wrong_date_and_an_item_that_was_not_taken_are_found() -> None:
    builder, taken = made(), rated()
    profile = builder.build(taken)
    one = profile.statements[0]
    others = np.setdiff1d(builder.concepts.items(one.concept), taken.items)
    for change in ({"date": "1999-01-01"}, {"item_id": f"i{others[0]}"}):
        told = profile.replacing(
            one.model_copy(update={"evidence": (one.evidence[0].model_copy(update=change), *one.evidence[1:])})
        )
        assert verify(told, builder, taken) == [one.id]


def test_what_a_person_said_needs_no_proof_and_other_data_cannot_be_checked() -> None:
    builder = made()
    profile = builder.build(rated())
    said = profile.statements[0].model_copy(
        update={"id": "u1", "concept": "said:ghosts", "modality": "user-stated", "support": None, "evidence": ()}
    )
    assert verify(profile.replacing(said), builder) == []
    other = profile.model_copy(update={"origin": profile.origin.model_copy(update={"data": "0" * 32})})
    with pytest.raises(DataError, match="Build the profile anew"):
        verify(other, builder)


def test_several_interests_are_told_apart() -> None:
    builder = made()
    two = [*history("neighbours", group=0, n=30, share=1.0), *history("neighbours", group=2, n=20, share=1.0)]
    profile = builder.build(two)
    assert [one.share for one in profile.interests] == [0.6, 0.4]
    for one, group in zip(profile.interests, (0, 2), strict=True):
        assert {causes()["neighbours"][int(each.item_id[1:])] for each in one.examples} == {group}
    assert len({one.name for one in profile.interests}) == 2


def test_the_number_of_interests_is_that_of_the_groups_there_are() -> None:
    rng, settings = np.random.default_rng(0), InterestSettings()
    noise = rng.normal(size=(90, 24))
    assert [len(one.places) for one in divide(unit_rows(noise), settings, rng)] == [90]
    for n in (2, 3, 4):
        rows = unit_rows(noise / 2 + 4 * np.eye(24)[np.arange(90) % n])
        found = divide(rows, settings, rng)
        assert [len(set((one.places % n).tolist())) for one in found] == [1] * n
    assert divide(noise[:0], settings, rng) == []


def test_the_builder_is_known_by_all_of_its_code() -> None:
    folder, found, waiting = Path(builder_module.__file__).parent, set(), ["builder"]
    waiting += [f"sources/{path.stem}" for path in folder.glob("sources/*.py")]
    while waiting:
        name = waiting.pop()
        found.add(name)
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        used = set(re.findall(r"from recsys\.profiles\.(\w+) import", text))
        waiting += sorted(used - found)
    assert {name for name in found if not name.startswith("sources/")} == set(builder_module.CODE)


# -- where concepts come from --------------------------------------------------------------------------------


def world_of(attributes=None, texts=None, n: int = 12, taken: list[tuple[int, int]] = ()) -> ItemWorld:
    users, items = np.array([*taken], dtype=np.int32).reshape(-1, 2).T
    columns = {"title": [None] * n, "text": texts or [None] * n, "attributes": attributes or [[]] * n}
    types = {"title": pl.String, "text": pl.String, "attributes": pl.List(pl.String)}
    return ItemWorld(pl.DataFrame(columns, types), ItemFeatures(), Interactions(users, items, 4, n))


def told(found: Concepts) -> dict[str, tuple[str, str, list[int]]]:
    return {one.key: (one.phrase, one.words, found.items(one.key).tolist()) for one in found.all}


def test_attributes_are_named_as_people_do_and_must_be_neither_rare_nor_common() -> None:
    rows = [["genre:Drama", "genre: Drama ", "genre:All"] for _ in range(3)] + [["genre:SF", "brand:Acme"]] * 2
    rows += [["genre:Western", "brand:<b>", "genre:"], ["genre:Western"], None, ["genre:Rare"]] + [["genre:All"]] * 3
    found = Attributes(AttributesSettings(least=2, most=0.5)).find(world_of(rows), run=QUIET)
    assert told(found) == {
        "genre:All": ("all", "all", [0, 1, 2, 9, 10, 11]), "genre:Drama": ("dramas", "drama", [0, 1, 2]),
        "genre:SF": ("SF", "SF", [3, 4]), "genre:Western": ("westerns", "western", [5, 6]),
        "brand:Acme": ("items of brand Acme", "Acme", [3, 4]),
    }  # fmt: skip
    assert "genre:All" not in told(Attributes(AttributesSettings(least=2, most=0.49)).find(world_of(rows), run=QUIET))


@pytest.mark.parametrize(
    ("values", "concepts"),
    [
        ([1979, 1980, 1989, 1990], {"n:1970s": [0, 4, 8], "n:1980s": [1, 2, 5, 6, 9, 10], "n:1990s": [3, 7, 11]}),
        ([1, 2, 3, 4], {"n:1-2": [0, 4, 8], "n:2-3": [1, 5, 9], "n:3-4": [2, 3, 6, 7, 10, 11]}),
        ([999, 1000, 1000, 1000], {"n:999-1000": list(range(12))}),  # no years
        ([7, 7, 7, 7], {}),
        ([1, 2, 3, "x"], {f"n:{value}": list(range(place, 12, 4)) for place, value in enumerate([1, 2, 3, "x"])}),
        ([1, 1, "inf", "inf"], {"n:1": [0, 1, 4, 5, 8, 9], "n:inf": [2, 3, 6, 7, 10, 11]}),
    ],
)
def test_numbers_become_decades_or_ranges_of_like_size(values, concepts) -> None:
    rows = [[f"n:{values[item % 4]}"] for item in range(12)]
    found = told(Attributes(AttributesSettings(least=1, most=1.0, bins=3)).find(world_of(rows), run=QUIET))
    assert {key: items for key, (_, _, items) in found.items()} == concepts
    if "n:1-2" in found:
        assert found["n:1-2"][:2] == ("items with n from 1 to 2", "n from 1 to 2")
    if "n:1980s" in found:
        assert found["n:1980s"][:2] == ("items of the 1980s", "1980s")


TEXTS = ["Two vampires, a vampire's kiss"] * 3 + ["One Vampire and <b>robots</b> at www.robots.example"] * 2
TEXTS += ["A drama of robots"] * 2 + ["zebra"] + ["the and of"] * 4


def test_words_of_texts_are_counted_by_their_singular_once_an_item() -> None:
    rows = [["genre:Drama"]] * 12
    settings = TermsSettings(least=2, least_share=0.0, most=0.5)
    found = told(Terms(settings).find(world_of(rows, TEXTS), run=QUIET))
    assert found["term:vampire"] == ("items about “vampire”", "vampire", [0, 1, 2, 3, 4])
    assert found["term:robots"][2] == [3, 4, 5, 6]
    assert not {"term:drama", "term:zebra", "term:the", "term:example", "term:www"} & set(found)
    few = told(Terms(settings.model_copy(update={"least_share": 0.4})).find(world_of(rows, TEXTS), run=QUIET))
    assert set(few) == {"term:vampire"}
    few = told(Terms(settings.model_copy(update={"most": 0.4})).find(world_of(rows, TEXTS), run=QUIET))
    assert "term:vampire" not in few
    assert "term:robots" in few
    assert len(Terms(settings.model_copy(update={"words": 1})).find(world_of(rows, TEXTS), run=QUIET)) == 1


def test_how_far_a_word_divides_users_is_chi_square_a_user() -> None:
    """Two of three users take items with the word only, one takes none; nobody takes anything of the last column."""
    taken = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 3), (2, 4)]
    members = columns_of([(Concept("a:1", "", "text"), [0, 1, 2]), (Concept("a:2", "", "text"), [9])], 12).members
    world = world_of(taken=taken)
    share = 4 / 6
    chi = (2 * 2 * (1 - share) ** 2 + 2 * share**2) / (share * (1 - share))
    assert telling(world, members) == pytest.approx([chi / 3, 0.0])
    assert telling(world_of(), members).tolist() == [0.0, 0.0]  # nobody took anything
    texts = np.full((12, 2), np.nan, np.float32)
    texts[:6] = [[1, 0], [0, 1], [1, 0], [-1, 0], [0, -1], [-1, 0]]
    vectors = ItemWorld(world.table, ItemFeatures({"text": texts}), world.train)
    assert telling(vectors, members) == pytest.approx([chi / 3 / 3, 0.0], abs=1e-6)  # of three pairs one is alike


def test_groups_of_pictures_are_named_by_what_stands_out() -> None:
    assert _standing_out(np.array([0.3, -2.0, 0.29, 0.1])) == ["cool", "bright"]
    assert _standing_out(np.array([-0.4, 0.0, 0.9, -1.0])) == ["soft", "colourful"]
    assert _standing_out(np.array([0.29, 0.1, -0.2, 0.0])) == []
    assert _named(["dark", "cool"], ["horror", "war"]) == "dark, cool pictures, like those of horror and war"
    assert _named([], []) == "pictures of one kind"
    rows = [["genre:War", "year:1980", "brand:A1"] if item < 20 else ["genre:Love"] if item < 98 else None
            for item in range(100)]  # fmt: skip
    groups = [np.arange(20), np.arange(20, 100), np.array([0, 30, 31, 32, 33]), np.arange(10, 60)]
    assert _about(world_of(rows, n=100), groups) == [["war"], [], [], []]


# -- what interests are named by -----------------------------------------------------------------------------


def test_an_interest_is_named_by_what_it_has_more_than_the_rest_and_than_popularity_gives() -> None:
    """Of 40 items, 20 in the group: a is the group's, b its half, c everywhere, d one item, e like a."""
    having = {"a": range(20), "b": range(10), "c": range(40), "d": [3], "e": range(19), "f": range(20, 40)}
    found = columns_of([(Concept(f"k:{name}", "", "text"), list(items)) for name, items in having.items()], 200)
    contrasts = Contrasts.of_counts(found, np.full(200, 5), ContrastSettings())
    taken, group = History.of(range(40), 200), Group(np.arange(20))
    assert distinguishing(contrasts, taken, group) == [0, 1]
    assert distinguishing(contrasts, taken, group, most=1) == [0]
    assert distinguishing(contrasts, taken, Group(np.arange(20, 40))) == [5]
    whole = History.of(range(20), 200)
    assert distinguishing(contrasts, whole, Group(np.arange(20))) == [0, 1]  # what c tells, a has told


@pytest.mark.parametrize(("n_with", "named"), [(1, False), (2, True)])
def test_one_item_names_no_interest(n_with, named) -> None:
    found = columns_of([(Concept("k:a", "", "text"), list(range(n_with)))], 400)
    contrasts = Contrasts.of_counts(found, np.full(400, 5), ContrastSettings())
    assert bool(distinguishing(contrasts, History.of(range(12), 400), Group(np.arange(4)))) is named


def test_interests_of_one_name_are_told_apart_by_an_example() -> None:
    example = (Evidence(item_id="i1", title="Matrix, The (1999)"),)
    same = [Interest(name="War", share=0.1, concepts=(), examples=one) for one in (example, example, (), example)]
    assert [one.name for one in named_apart(same)] == ["War", "War, like The Matrix", "War", "War, like The Matrix"]


@pytest.mark.parametrize(
    ("sizes", "changes", "found"),
    [
        ((12, 18), {}, [18, 12]), ((5, 25), {}, [30]), ((6, 24), {}, [24, 6]), ((6, 24), {"least_share": 0.25}, [30]),
        ((6, 24), {"least": 7}, [30]), ((8, 8, 14), {"most": 1}, [30]), ((8, 8, 14), {"clear": 0.99}, [30]),
        ((8, 10, 12), {}, [12, 10, 8]), ((6, 5), {}, [11]), ((6, 6), {}, [6, 6]),
    ],
)  # fmt: skip
def test_groups_have_enough_items_and_stand_apart(sizes, changes, found) -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(len(sizes)), sizes)
    rows = unit_rows(4 * np.eye(8)[group] + 0.3 * rng.normal(size=(len(group), 8)))
    groups = divide(rows, InterestSettings(**changes), rng)
    assert [len(one.places) for one in groups] == found
    for one in groups:  # nearest to the middle first
        near = rows[one.places] @ rows[one.places].mean(axis=0)
        assert (np.diff(near) <= 1e-6).all()
