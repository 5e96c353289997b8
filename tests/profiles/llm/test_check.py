"""What is borne out passes, what is not is caught: one sentence at a time."""

from __future__ import annotations

import pytest
from fakes import CONCEPTS, a_profile, cited, statement

from recsys.profiles.llm.budget import Budget, BudgetError, BudgetSettings, Usage
from recsys.profiles.llm.check import LONGEST, LONGEST_QUERY, check_text, fault, query_fault, sentences
from recsys.profiles.llm.draft import agreeing
from recsys.profiles.llm.facts import Facts
from recsys.profiles.llm.phrasing import (
    closing,
    keyword_candidates,
    merged,
    query_choices,
    sentence_choices,
    told_facts,
)
from recsys.profiles.llm.untrusted import json_object, plain, quoted
from recsys.profiles.schema import Interest

FACTS = Facts(a_profile(), CONCEPTS, "films")

TRUE = [
    "This user likes horror of the 1980s.",
    "Enjoys horror, films about vampires and films of the 1980s.",
    "Horror is what this viewer enjoys; comedies are disliked.",
    "Likes horror but avoids comedies.",
    "They love horror and dislike comedies.",
    "Comedies are rated lower than the rest.",
    "Rates comedies lower than the rest.",
    "Enjoys horror such as “Film 1” and “Film 2”.",
    "Also drawn to films that others take along with “Jaws” and “Big!”.",
    "Lately takes more films about vampires.",
    "Likes films with dark, muted pictures, like those of horror and war.",
    "Fond of “vampire” stories.",
    "Likes horror, particularly stories of vampires.",  # not “horror of vampires”
    "Horror is liked",
]
FALSE = [
    ("Likes horror and westerns.", "western"),  # in the catalogue, not in the profile
    ("Likes horror and romance.", "romance"),
    ("Likes comedies.", "not told as a like"),
    ("They enjoy comedies and dislike horror.", "not told as a"),
    ("Avoids horror.", "not told as a dislike"),
    ("Does not like horror.", "'does'"),
    ("Likes no horror.", "'no'"),
    ("Never enjoys horror.", "'never'"),
    ("Hates horror.", "'hates'"),
    ("Likes horror and comedies.", "not told as a like"),
    ("Dislikes comedies and horror.", "not told as a dislike"),
    ("Rates horror lower than the rest.", "not told as a dislike"),
    ("Rates comedies higher than the rest.", "not told as a like"),
    ("Horror is rated lower than the rest.", "not told as a dislike"),
    ("Likes horror more than films about vampires.", "'more'"),
    ("Only likes horror.", "'only'"),
    ("Likes horror in 90 of films.", "'90'"),
    ("Horror of the 1980s.", "liked or disliked"),
    ("Horror of the 1980s", "liked or disliked"),
    ("Lately likes horror", "which way it turned"),
    ("Likes horror about vampires.", "no items are cited"),
    ("Likes horror, comedies.", "not told as a like"),
    ("Lower than the rest.", "compares what was not measured"),
    ("This user has a taste.", "names nothing"),
    ("Likes films about vampires of the 1980s.", "no items are cited"),  # no film is cited for both
    ("Enjoys horror such as “Film 9”.", "not cited"),  # a comedy's
    ("Enjoys horror such as Film 1.", "'1'"),  # a title without quotes
    ("Dislikes films that others take along with “Jaws”.", "not told as a dislike"),
    ("Lately takes less films about vampires.", "less lately"),
    ("Lately takes more horror.", "more lately"),
    ("Lately likes horror.", "which way it turned"),
    ("Likes horror. \u202eevil", "printable"),
    ("Likes h\u00f3rror.", "'h\u00f3rror'"),
    ("Likes horror " + "and horror " * 60, "too long"),
    ("Likes horror <b>.", "'<'"),
]


@pytest.mark.parametrize("sentence", TRUE)
def test_true_sentences_pass(sentence) -> None:
    assert fault(sentence, FACTS) is None


@pytest.mark.parametrize(("sentence", "reason"), FALSE, ids=[text for text, _ in FALSE])
def test_false_ones_are_caught(sentence, reason) -> None:
    assert reason in str(fault(sentence, FACTS))


def test_without_its_evidence_a_sentence_falls() -> None:
    profile = a_profile()
    for one in profile.statements:
        left = Facts(profile.without(one.id).model_copy(update={"interests": (), "changes": ()}), CONCEPTS, "films")
        told = {"genre:Horror": "Likes horror.", "year:1980s": "Likes films of the 1980s.",
                "term:vampire": "Likes films about vampires.", "genre:Comedy": "Dislikes comedies.",
                "neighbours:1": "Likes films that others take along with “Jaws”.",
                "pictures:1": "Likes dark, muted pictures, like those of horror and war."}[one.concept]  # fmt: skip
        assert fault(told, FACTS) is None
        assert fault(told, left) is not None


def test_faithfulness_is_the_share_before_filtering() -> None:
    verdict = check_text("Likes horror. Likes westerns! Avoids comedies; likes horror. And “Jaws. Big!” too?", FACTS)
    assert verdict.kept == ("Likes horror.", "Avoids comedies; likes horror.")
    assert verdict.faithfulness == 0.5
    assert all(fault(one, FACTS) is None for one in verdict.kept)
    assert check_text("", FACTS).faithfulness == 1.0


def test_sentences_do_not_end_within_a_title() -> None:
    assert sentences("Likes “What? No! Yes.” and “A. B”. Then more.\nEnd") == [
        "Likes “What? No! Yes.” and “A. B”.", "Then more.", "End",
    ]  # fmt: skip


def test_searches_name_likes_and_interests_only() -> None:
    for good in ("horror 1980s", "1980s horror films", "films about vampires", "horror films of the 1980s"):
        assert query_fault(good, FACTS) is None
    for bad in (
        "comedy",
        "western horror",
        "films",
        "",
        "horror " * 20,
        "horror; drop table",
        "best horror",
        "horror\n",
    ):
        assert query_fault(bad, FACTS) is not None


def test_all_that_code_offers_for_choice_is_borne_out() -> None:
    told, same = merged(FACTS)
    assert told[0] == "horror of the 1980s"
    assert same == [("s-genre:Horror", "s-year:1980s")]
    offered = [one for choices in sentence_choices(FACTS, told) for one in choices]
    assert len(offered) >= 8
    assert [fault(one, FACTS) for one in offered] == [None] * len(offered)
    searches = [one for choices in query_choices(FACTS) for one in choices]
    assert searches
    assert [query_fault(one, FACTS) for one in searches] == [None] * len(searches)


PICTURES = "films with dark, muted pictures, like those of horror and war"
NEIGHBOURS = "films that others take along with “Jaws” and “Big!”"


def test_what_is_offered_for_choice_word_for_word() -> None:
    told, _ = merged(FACTS)
    assert told == ["horror of the 1980s", "films about “vampire”", PICTURES]
    what = f"horror of the 1980s, films about “vampire” and {PICTURES}"
    first, also, dislikes, turns = sentence_choices(FACTS, told)
    assert first == [f"This user likes {what}.", f"This user enjoys {what}.", f"Likes {what}.", f"Drawn to {what}."]
    assert also == [f"Also likes {NEIGHBOURS}.", f"Also drawn to {NEIGHBOURS}."]
    assert dislikes == ["Rates comedies lower than the rest.", "Comedies are rated lower than the rest."]
    assert turns == ["Lately takes more vampire.", "Has lately taken more vampire."]
    assert sentence_choices(FACTS, [])[0] == [f"Likes {NEIGHBOURS}.", f"Drawn to {NEIGHBOURS}."]
    assert query_choices(FACTS) == [["horror 1980s", "1980s horror films", "horror films of the 1980s"]]
    assert keyword_candidates(FACTS) == {"genre": ["horror"], "period": ["1980s"], "theme": ["vampire"]}
    assert closing(FACTS) == "Going by 40 films."
    assert told_facts(FACTS, most=5).splitlines() == [
        "likes horror (“Film 1”, “Film 2” and “Film 3”)", "likes films of the 1980s (“Film 1”, “Film 2” and “Film 5”)",
        "likes films about “vampire” (“Film 6”, “Film 7” and “Film 8”)", "dislikes comedies (“Film 9” and “Film 10”)",
        f"likes {NEIGHBOURS}",
    ]  # fmt: skip


def test_interests_offer_searches_and_keywords_of_nothing_that_is_disliked() -> None:
    interests = (
        Interest(name="", share=0.5, concepts=("genre:Comedy", "genre:Western", "term:vampire"), examples=()),
        Interest(name="", share=0.5, concepts=("year:1980s",), examples=()),
        Interest(name="", share=0.5, concepts=("genre:Horror",), examples=()),
    )
    one = a_profile(interests=interests, origin=a_profile().origin.model_copy(update={"history": 1}))
    facts = Facts(one, CONCEPTS, "films")
    assert query_choices(facts) == [
        ["western vampire", "western vampire films", "western and vampire films"],
        ["horror", "horror films"],
    ]
    assert keyword_candidates(facts)["genre"] == ["horror", "western"]
    assert closing(facts) == "Going by 1 film."


@pytest.mark.parametrize(("shared", "together"), [(2, False), (3, True)])
def test_two_are_told_as_one_where_three_items_are_cited_for_both(shared, together) -> None:
    statements = (statement("genre:Horror", cited(1, 2, 3)), statement("year:1980s", cited(*range(1, shared + 1), 7)))
    facts = Facts(a_profile(statements=statements, interests=(), changes=()), CONCEPTS, "films")
    assert facts.together("genre:Horror", "year:1980s") is together
    assert (fault("Likes horror of the 1980s.", facts) is None) is together
    assert merged(facts)[0] == (["horror of the 1980s"] if together else ["horror", "films of the 1980s"])
    assert FACTS.together("genre:Horror", "genre:Comedy") is False


def test_groups_of_one_polarity_on_common_items_agree() -> None:
    ids = {name: f"s-{name}" for name in ("genre:Horror", "year:1980s", "term:vampire", "genre:Comedy")}
    horror, period, vampire, comedy = ids.values()
    groups = [[horror, period], [horror, vampire], [horror, comedy], [horror], [horror, horror], [horror, "gone"]]
    assert agreeing([*groups, [period, horror, period]], FACTS) == [(horror, period), (period, horror)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', {"a": 1}), ('So: {"a": {"b": 2}} - done', {"a": {"b": 2}}), ("{}", {}), ("none", None),
        ("} {", None),
        ("{a}", None), ("", None), ("{", None), ('{"a": "' + "x" * 100_000 + '"}', None),
    ],
)  # fmt: skip
def test_the_object_in_an_answer(text, found) -> None:
    assert json_object(text) == found


def test_what_is_not_trusted_is_one_short_line_that_closes_no_quote() -> None:
    assert plain("a <b>\n“c” {d} x&y’s") == "a b c d x&y’s"
    assert (plain("x" * 81), plain("yes no", longest=4)) == ("x" * 80, "yes")
    assert quoted("Matrix, The (1999)") == "“The Matrix”"
    assert quoted("“”") == "“untitled”"


def test_sentences_and_searches_have_a_longest() -> None:
    most = "Likes horror" + " " * (LONGEST - 13) + "."
    assert (fault(most, FACTS), fault(" " + most, FACTS)) == (None, "too long, or not of printable characters")
    most = "horror" + " " * (LONGEST_QUERY - 6)
    assert query_fault(most, FACTS) is None
    assert "too long" in query_fault(most + " ", FACTS)


def test_a_budget_may_be_used_up_to_its_limit() -> None:
    budget = Budget(BudgetSettings(tokens=100, price_in=2.0, price_out=4.0))
    assert budget.price(1_000_000, 500_000) == 4.0
    budget.check(60, 40)
    with pytest.raises(BudgetError, match="0 of 100"):
        budget.check(60, 41)
    budget.charge(30, 20, 1.5)
    budget.charge(10, 5)
    budget.hit()
    budget.check(30, 5)
    with pytest.raises(BudgetError, match="65 of 100"):
        budget.check(30, 6)
    assert budget.used == Usage(2, 1, 40, 25, 1.5, pytest.approx(180e-6))
    told = budget.used.per(4, scale=2)
    assert (told["calls"], told["tokens_in"], told["hit_share"]) == (1.0, 20.0, pytest.approx(1 / 3))
    assert Usage().per(0)["hit_share"] == 0.0
    paid = Budget(BudgetSettings(cost=1.0, price_in=1e6))
    paid.check(1, 0)
    with pytest.raises(BudgetError, match="bring it to 2"):
        paid.check(2, 0)
