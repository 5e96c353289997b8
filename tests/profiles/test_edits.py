"""Edits: each does what it says and nothing else, and what cannot be done is refused with the nearest that can."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles.made import a_profile, concepts, profile, statement

from recsys.core.errors import DataError
from recsys.core.values import Dataset, Vocabulary
from recsys.profiles.edit_names import Names, find_concept, near_concepts
from recsys.profiles.edits import ACTIONS, LONGEST, STEP, Edit, apply, merge
from recsys.profiles.matching import Matcher, singular
from recsys.profiles.schema import Interest, Statement, UserProfile
from recsys.serving.catalogue import Catalogue

KNOWN = concepts()


def after(text: str, before: UserProfile | None = None, **names) -> UserProfile:
    return apply(before or a_profile(), Edit.parse(text), Names(KNOWN, **names))


def of(found: UserProfile, key: str) -> Statement:
    (one,) = [each for each in found.statements if each.concept == key]
    return one


@pytest.mark.parametrize(
    ("text", "action", "target", "weight"),
    [
        ("raise genre:Drama", "raise", "genre:Drama", None),
        ("  ADD   films about\tspace ", "add", "films about space", None),
        ("reweight s-genre:Drama 0.8", "reweight", "s-genre:Drama", 0.8),
        ("forbid genre:Film-Noir", "forbid", "genre:Film-Noir", None),
        ("add a\x1b[31mred\x00 thing", "add", "a[31mred thing", None),
    ],
)
def test_edits_are_read_as_people_type_them(text: str, action: str, target: str, weight: float | None) -> None:
    edit = Edit.parse(text)
    assert (edit.action, edit.target, edit.weight) == (action, target, weight)
    assert Edit.parse(str(edit)) == edit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rise genre:Drama", "Did you mean 'raise'"),
        ("", "no action"),
        ("raise", "raise what"),
        ("reweight genre:Drama", "needs a statement and a weight"),
        ("reweight genre:Drama much", "'much' is not a number"),
        ("add " + "x" * 300, "Say it in 200"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Edit.parse(text)


def test_the_profile_that_is_edited_stays_as_it_is() -> None:
    before = a_profile()
    kept = before.model_dump_json()
    for text in ("raise genre:Drama", "remove genre:Drama", "add film noir", "forbid genre:Horror", "lock genre:Drama"):
        assert after(text, before) != before
        assert before.model_dump_json() == kept


@pytest.mark.parametrize(
    ("text", "key", "polarity", "weight"),
    [
        ("raise genre:Drama", "genre:Drama", "like", 0.6 + STEP),
        ("raise s-genre:Drama", "genre:Drama", "like", 0.6 + STEP),
        ("raise GENRE:DRAMA", "genre:Drama", "like", 0.6 + STEP),
        ("raise dramas", "genre:Drama", "like", 0.6 + STEP),
        ("lower genre:Drama", "genre:Drama", "like", 0.6 - STEP),
        ("raise genre:Horror", "genre:Horror", "dislike", 0.3 - STEP),
        ("lower genre:Horror", "genre:Horror", "dislike", 0.3 + STEP),
        ("raise film noir", "genre:Film-Noir", "like", STEP),
        ("lower film noir", "genre:Film-Noir", "dislike", STEP),
        ("reweight genre:Drama 0", "genre:Drama", "like", 0.0),
        ("reweight s-genre:Horror 1", "genre:Horror", "dislike", 1.0),
        ("add film noir", "genre:Film-Noir", "like", 0.5),
        ("add drama", "genre:Drama", "like", 0.6),
        ("dislike drama", "genre:Drama", "dislike", 0.5),
        ("add films about trains", "said:films about trains", "like", 0.5),
        ("dislike talking dogs", "said:talking dogs", "dislike", 0.5),
    ],
)
def test_each_edit_moves_one_statement(text: str, key: str, polarity: str, weight: float) -> None:
    before, found = a_profile(), after(text)
    one = of(found, key)
    assert (one.polarity, one.locked, one.forbidden) == (polarity, True, False)
    assert one.weight == pytest.approx(weight)
    assert [each for each in found.statements if each.concept != key] == [
        each for each in before.statements if each.concept != key
    ]
    assert UserProfile.model_validate_json(found.model_dump_json()) == found


def test_lowering_stops_at_nothing_before_it_turns_into_dislike() -> None:
    found, seen = a_profile(), []
    for _ in range(8):
        found = after("lower genre:Drama", found)
        one = of(found, "genre:Drama")
        seen.append((one.polarity, one.weight))
    weights = [weight for _, weight in seen]
    assert weights == pytest.approx([0.35, 0.1, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0])
    assert [polarity for polarity, _ in seen] == ["like"] * 3 + ["dislike"] * 5
    assert one.id == "s-genre:Drama"  # the same statement
    assert (one.evidence, one.support, one.modality) == ((), None, "user-stated")  # evidence of a liking is none of it
    assert "not like dramas" in one.text
    for _ in range(5):
        found = after("raise genre:Drama", found)
    assert (of(found, "genre:Drama").polarity, of(found, "genre:Drama").weight) == ("like", STEP)


def test_evidence_stays_where_it_agrees() -> None:
    assert of(after("add drama"), "genre:Drama").evidence == of(a_profile(), "genre:Drama").evidence
    turned = of(after("dislike drama"), "genre:Drama")
    assert (turned.id, turned.evidence, turned.modality) == ("s-genre:Drama", (), "user-stated")


def test_forbidding_and_allowing() -> None:
    found = after("forbid genre:Film-Noir")
    one = of(found, "genre:Film-Noir")
    assert (one.forbidden, one.weight, one.polarity, one.modality) == (True, 0.0, "dislike", "user-stated")
    assert after("allow genre:Film-Noir", found) == a_profile()
    found = after("forbid genre:Drama")
    assert of(found, "genre:Drama").forbidden
    allowed = of(after("allow genre:Drama", found), "genre:Drama")
    assert (allowed.forbidden, allowed.weight) == (False, 0.6)
    with pytest.raises(DataError, match="no such statement"):
        after("allow genre:Film-Noir")


def test_removing_and_locking() -> None:
    assert [one.concept for one in after("remove s-genre:Drama").statements] == ["genre:Horror"]
    locked = after("lock genre:Drama")
    assert of(locked, "genre:Drama").locked
    assert after("unlock genre:Drama", locked) == a_profile()


@pytest.mark.parametrize("action", ["remove", "lock", "unlock", "allow"])
def test_an_unknown_statement_is_named_with_the_nearest(action: str) -> None:
    with pytest.raises(DataError, match=r"'s-genre:Drma'.*no such statement.*Did you mean 's-genre:Drama'"):
        after(f"{action} s-genre:Drma")
    with pytest.raises(DataError, match="add one"):
        after(f"{action} anything", profile())


def test_a_weight_out_of_range_is_refused() -> None:
    for weight in ("1.5", "-0.1", "nan", "inf"):
        with pytest.raises(DataError, match=r"from 0 .* to 1"):
            after(f"reweight genre:Drama {weight}")


@pytest.mark.parametrize("action", ["add", "dislike", "raise", "lower", "forbid"])
def test_a_concept_that_does_not_exist_is_named_with_the_nearest(action: str) -> None:
    with pytest.raises(DataError, match=r"'genre:Dramma'.*there is no such genre.*Did you mean 'genre:Drama'"):
        after(f"{action} genre:Dramma")


ODD = ["Cat.:Comedy", "genre:Film: Noir", "genre:Sci-Fi [hard] (50 %)", "brand:" + 50 * "x", "year:1995", "genre:Rare"]


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    rows = [[ODD[place % len(ODD)], "genre:Drama"] for place in range(12)]
    return pl.DataFrame({"title": ["Title"] * 12, "text": [None] * 12, "attributes": rows})


@pytest.mark.parametrize("action", ["raise", "lower", "add", "dislike", "forbid"])
@pytest.mark.parametrize("name", ODD)
def test_edits_know_every_attribute_that_filters_know(table: pl.DataFrame, action: str, name: str) -> None:
    ids = pl.Series("item_id", [f"i{place}" for place in range(12)])
    data = Dataset("odd", Vocabulary([]), Vocabulary(ids), None, table.with_columns(ids))
    matcher = Matcher(KNOWN, table)
    wanted = np.flatnonzero(Catalogue(data).allowed([name.upper()]))
    assert len(wanted) == 2
    one = of(after(f"{action} {name.upper()}", attributes=matcher.attributes), name)
    assert one.forbidden == (action == "forbid")
    assert np.flatnonzero(matcher.membership(one.concept)).tolist() == wanted.tolist()
    kind, _, value = name.partition(":")
    assert f"items of {kind} {value}" in one.text


@pytest.mark.parametrize("action", ["raise", "forbid", "add"])
@pytest.mark.parametrize(
    ("target", "cause", "remedy"),
    [
        ("genre:Comedy", "there is no such genre", "Did you mean 'Cat.:Comedy'"),
        ("Genre:Film Noir", "there is no such Genre", "'genre:Film: Noir'"),
        ("kind:comedy", "no item has the attribute 'kind:comedy'", "Did you mean 'Cat.:Comedy'"),
        ("colour:blue", "no item has the attribute 'colour:blue'", "Say it in words of titles and texts"),
    ],
)
def test_an_attribute_that_no_item_has_is_refused_not_taken_for_words(
    table: pl.DataFrame, action: str, target: str, cause: str, remedy: str
) -> None:
    attributes = Matcher(KNOWN, table).attributes
    with pytest.raises(DataError) as failed:
        after(f"{action} {target}", attributes=attributes, finds=lambda words: True)
    assert cause in failed.value.cause
    assert remedy in failed.value.remedy


@pytest.mark.parametrize("words", ["Star Trek: the next one", "11:14", "a story: of dogs"])
def test_words_with_a_colon_stay_words(table: pl.DataFrame, words: str) -> None:
    found = after(f"add {words}", attributes=Matcher(KNOWN, table).attributes, finds=lambda words: True)
    assert of(found, f"said:{words}").polarity == "like"


def test_words_that_mean_nothing_are_refused_and_words_that_mean_items_are_kept() -> None:
    with pytest.raises(DataError, match=r"no item is like that.*Did you mean 'genre:Horror'"):
        after("add horro movies", finds=lambda words: False)
    found = after("add films about space", finds=lambda words: words == "films about space")
    assert of(found, "said:films about space").text == "Likes films about space."


def test_a_wish_not_to_see_is_not_taken_for_a_wish_to_see() -> None:
    with pytest.raises(DataError, match="dislike gore, or forbid gore"):
        after("add no gore")
    assert of(after("add nosferatu and other vampires"), "said:nosferatu and other vampires").polarity == "like"


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("genre:Drama", "genre:Drama"),
        ("genre:drama", "genre:Drama"),
        ("Drama", "genre:Drama"),
        ("dramas", "genre:Drama"),
        ("films about drama", "genre:Drama"),
        ("horror", "genre:Horror"),
        ("Horror Films", "genre:Horror"),
        ("FILM-NOIR", "genre:Film-Noir"),
        ("noir", "genre:Film-Noir"),
        ("dram", None),
        ("drama and horror", None),
        ("films", None),
        ("", None),
    ],
)
def test_names_of_concepts(words: str, key: str | None) -> None:
    found = find_concept(words, KNOWN)
    assert (found.key if found else None) == key


def test_near_names() -> None:
    assert near_concepts("dramma", KNOWN)[0] == "genre:Drama"
    assert near_concepts("zzzzzz", KNOWN) == []


def test_an_interest_is_moved_by_its_name() -> None:
    about = Interest(name="Dark stories", share=0.5, concepts=("genre:Film-Noir", "genre:Drama"), examples=())
    found = after("raise dark stories", profile(statement("genre:Drama", 0.6), interests=[about]))
    assert {one.concept: round(one.weight, 2) for one in found.statements} == {
        "genre:Drama": 0.85, "genre:Film-Noir": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize("action", ["forbid", "add", "dislike"])
def test_an_interest_is_no_one_thing_to_forbid(action: str) -> None:
    about = Interest(name="Dark stories", share=0.5, concepts=("genre:Film-Noir", "genre:Drama"), examples=())
    with pytest.raises(DataError, match="one of its concepts: genre:Film-Noir, genre:Drama"):
        after(f"{action} Dark Stories", profile(interests=[about]))


def test_building_anew_keeps_what_a_person_said_locked_forbade_and_removed() -> None:
    kept = a_profile()
    for text in ("add film noir", "lock genre:Drama", "forbid genre:Horror", "add talking dogs"):
        kept = after(text, kept)
    kept = kept.replacing(statement("genre:Old", 0.2))  # neither: the new build decides
    rebuilt = profile(
        statement("genre:Drama", 0.9), statement("genre:Horror", 0.4, polarity="dislike"), statement("genre:New", 0.3),
        statement("genre:Gone", 0.3), statement("genre:Film-Noir", 0.7, id="another"),
    ).model_copy(update={"summary": "Built anew."})  # fmt: skip
    found = merge(rebuilt, kept, removed=["s-genre:Gone"])
    assert found.summary == "Built anew."
    assert sorted(one.concept for one in found.statements) == [
        "genre:Drama", "genre:Film-Noir", "genre:Horror", "genre:New", "said:talking dogs",
    ]  # fmt: skip
    for key in ("genre:Drama", "genre:Film-Noir", "genre:Horror"):
        assert of(found, key) == of(kept, key)


def test_building_anew_without_edits_is_the_new_build() -> None:
    rebuilt = profile(statement("genre:New"))
    assert merge(rebuilt, a_profile()) == rebuilt


TARGETS = ["genre:Drama", "genre:Horror", "genre:Film-Noir", "s-genre:Drama", "films about space", "talking dogs", "x"]


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(TARGETS), st.floats(0, 1)), max_size=12))
def test_any_edits_leave_a_valid_profile(edits: list[tuple[str, str, float]]) -> None:
    found = a_profile()
    for action, target, weight in edits:
        with contextlib.suppress(DataError):
            found = apply(found, Edit(action=action, target=target, weight=weight), KNOWN)
    assert UserProfile.model_validate(json.loads(found.model_dump_json())) == found
    assert len({one.id for one in found.statements}) == len(found.statements)
    assert len({one.concept for one in found.statements}) == len(found.statements)
    kept = [one for one in found.statements if one.locked or one.forbidden or one.modality == "user-stated"]
    assert list(merge(a_profile(), found).statements)[: len(kept)] == kept


def test_edits_have_a_longest_and_weights_their_ends() -> None:
    assert Edit.parse("add " + "x" * LONGEST).target == "x" * LONGEST
    for weight in (0.0, 1.0):
        found = apply(a_profile(), Edit(action="add", target="film noir", weight=weight), KNOWN)
        assert of(found, "genre:Film-Noir").weight == weight
    for weight in (-0.01, 1.01, math.nan, math.inf):
        with pytest.raises(DataError, match="the weight is"):
            apply(a_profile(), Edit(action="add", target="film noir", weight=weight), KNOWN)
    with pytest.raises(DataError, match="has no weight"):
        apply(a_profile(), Edit(action="reweight", target="genre:Drama"), KNOWN)
    assert str(Edit(action="reweight", target="x", weight=0.50)) == "reweight x 0.5"


@pytest.mark.parametrize(
    ("texts", "weight", "polarity"),
    [
        (["raise genre:Drama"] * 3, 1.0, "like"), (["lower genre:Drama"] * 3, 0.0, "like"),
        (["lower genre:Drama"] * 9, 1.0, "dislike"), (["reweight genre:Drama 0", "raise genre:Drama"], STEP, "like"),
        (["forbid genre:Drama", *["lower genre:Drama"] * 4], STEP, "dislike"),
    ],
)  # fmt: skip
def test_weights_stay_within_their_ends_and_what_is_forbidden_stays_so(texts, weight, polarity) -> None:
    found = a_profile()
    for text in texts:
        found = after(text, found)
    one = of(found, "genre:Drama")
    assert (one.weight, one.polarity, one.forbidden) == (pytest.approx(weight), polarity, "forbid" in texts[0])
    assert one.id == "s-genre:Drama"


def test_what_was_said_and_forbidden_stays_when_it_is_allowed_if_it_counts() -> None:
    found = after("forbid film noir", after("add film noir"))
    assert of(after("allow genre:Film-Noir", found), "genre:Film-Noir").weight == 0.5
    assert not of(after("allow genre:Film-Noir", found), "genre:Film-Noir").forbidden
    turned = after("dislike drama", after("forbid drama"))
    assert of(turned, "genre:Drama").forbidden


def test_an_interest_moves_its_three_first_concepts() -> None:
    keys = ("genre:Film-Noir", "genre:Horror", "genre:Drama", "said:x")
    about = Interest(name="Dark", share=0.5, concepts=keys, examples=())
    nameless = Interest(name="Empty", share=0.5, concepts=(), examples=())
    found = after("lower DARK", profile(interests=[nameless, about]))
    assert [one.concept for one in found.statements] == list(keys[:3])
    assert {(one.polarity, one.weight) for one in found.statements} == {("dislike", STEP)}
    assert of(after("add empty", profile(interests=[nameless])), "said:empty").weight == 0.5


def test_what_a_person_changed_comes_first_when_built_anew() -> None:
    kept = after("raise genre:Horror", after("add film noir"))
    rebuilt = profile(statement("genre:New"), statement("genre:Horror", 0.9, polarity="dislike"))
    assert [one.concept for one in merge(rebuilt, kept).statements] == ["genre:Horror", "genre:Film-Noir", "genre:New"]
    forbidden = profile(statement("genre:Old", forbidden=True))
    assert merge(rebuilt, forbidden).statements[0].concept == "genre:Old"
    assert [one.concept for one in merge(rebuilt, profile(), ["s-genre:New"]).statements] == ["genre:Horror"]


def test_names_that_come_nearest() -> None:
    names = Names(KNOWN)
    assert names.phrase("genre:Drama") == "dramas"
    assert names.phrase("said:talking dogs") == "talking dogs"
    assert names.phrase("brand: Acme") == "items of brand Acme"
    assert names.near("mood:Drama")[0] == "genre:Drama"  # the same value
    assert names.near("mood:") == []
    assert names.near("Dramma") == ["genre:Drama"]
    assert len(names.near("genre:X", n=2)) <= 2
    assert (names.has_kind("genre"), names.has_kind("GENRE"), names.has_kind("gen")) == (True, True, False)
    assert near_concepts("genre:Horor", KNOWN, 1) == ["genre:Horror"]
    assert near_concepts("horror film", KNOWN)[0] == "genre:Horror"


@pytest.mark.parametrize(
    ("word", "single"),
    [
        ("stories", "story"), ("ties", "tie"), ("churches", "church"), ("dishes", "dish"), ("bosses", "boss"),
        ("boxes", "box"), ("axes", "axe"), ("dogs", "dog"), ("gas", "gas"), ("bus", "bus"), ("this", "this"),
        ("glass", "glass"), ("cats", "cat"),
    ],
)  # fmt: skip
def test_words_are_compared_in_the_singular(word, single) -> None:
    assert singular(word) == single
