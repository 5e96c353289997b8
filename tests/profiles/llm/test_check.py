"""What is borne out passes, what is not is caught: one sentence at a time."""

from __future__ import annotations

import pytest
from fakes import CONCEPTS, a_profile

from recsys.profiles.llm.check import check_text, fault, query_fault, sentences
from recsys.profiles.llm.facts import Facts
from recsys.profiles.llm.phrasing import merged, query_choices, sentence_choices

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
