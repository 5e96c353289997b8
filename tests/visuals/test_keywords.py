"""Keywords: of a profile made by hand, and of items whose words are known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from profiles.made import profile, statement

from recsys.profiles.concepts import Concept, Concepts
from recsys.profiles.edits import Edit, apply
from recsys.visuals.keywords import Lexicon, preference_keywords, target_keywords

FOUND = (
    Concept("genre:Drama", "dramas", "text", "drama"),
    Concept("genre:Horror", "horror", "text", "horror"),
    Concept("genre:War", "war", "text", "war"),
    Concept("year:1990s", "items of the 1990s", "text", "1990s"),
    Concept("term:space", "items about “space”", "text", "space"),
    Concept("director:Jane Doe", "items of director Jane Doe", "text", "Jane Doe"),
    Concept("neighbours:1", "what others take along with Alien", "behaviour"),
    Concept("pictures:1", "items with dark, warm pictures, like those of horror and war", "image"),
    Concept("pictures:2", "items with pictures of one kind, like those of musical (2)", "image"),
)
CONCEPTS = Concepts(FOUND, sp.csc_array(np.ones((4, len(FOUND)), dtype=np.float32)))


def words(*statements, most: int = 8) -> list[tuple[str, float]]:
    return [(one.words, one.weight) for one in preference_keywords(profile(*statements), CONCEPTS, most)]


def test_likes_become_words_with_weights_and_their_statements() -> None:
    (one, two) = preference_keywords(profile(statement("genre:Drama", 0.3), statement("term:space", 0.6)), CONCEPTS)
    assert (one.words, one.weight, one.concept, one.statement) == ("space", 1.0, "term:space", "s-term:space")
    assert (two.words, two.weight) == ("drama", 0.5)


def test_weak_likes_stay_weak_though_nothing_is_stronger() -> None:
    assert words(statement("genre:Drama", 0.03)) == [("drama", 0.1)]


def test_dislikes_and_what_is_forbidden_are_never_drawn_by_whatever_statement() -> None:
    liked = (statement("genre:War", 0.5), statement("genre:Drama", 0.4), statement("said:quiet horror films", 0.4))
    horror = statement("genre:Horror", 0.2, polarity="dislike")
    assert words(*liked, horror) == [("war", 1.0), ("drama", 0.8)]
    assert words(*liked[:2], statement("genre:Drama", 0.4, id="x", forbidden=True)) == [("war", 1.0)]
    nothing = statement("genre:Horror", 0.0, polarity="dislike")
    assert ("quiet horror", 0.8) in words(*liked, nothing)


def test_what_counts_nothing_and_what_has_no_words_is_left_out() -> None:
    assert words(statement("genre:Drama", 0.0), statement("neighbours:1", 0.9), statement("gone:1", 0.9)) == []


def test_names_of_people_are_left_out() -> None:
    assert words(statement("director:Jane Doe", 0.9), statement("genre:War", 0.5)) == [("war", round(0.5 / 0.9, 4))]


def test_pictures_have_places_of_their_own() -> None:
    strong = [statement(key, 0.9) for key in ("genre:Drama", "genre:Horror", "genre:War", "year:1990s")]
    seen = statement("pictures:1", 0.2, modality="image")
    found = words(*strong, seen, most=4)
    assert [word for word, _ in found] == ["drama", "horror", "dark picture", "warm picture"]
    assert words(statement("pictures:2", 0.5, modality="image")) == [("musical", 1.0)]
    hated = statement("pictures:1", 0.2, modality="image", polarity="dislike")
    assert words(strong[1], hated) == [("horror", 1.0)]  # dark pictures are out, horror is not


def test_an_edit_of_the_profile_is_an_edit_of_the_words() -> None:
    before = profile(statement("genre:Drama", 0.6), statement("genre:War", 0.3))
    told = lambda now: [one.words for one in preference_keywords(now, CONCEPTS)]  # noqa: E731
    assert told(before) == ["drama", "war"]
    assert told(apply(before, Edit.parse("forbid genre:Drama"), CONCEPTS)) == ["war"]
    assert told(apply(before, Edit.parse("add space"), CONCEPTS)) == ["drama", "space", "war"]
    raised = apply(before, Edit.parse("raise genre:War"), CONCEPTS)
    assert preference_keywords(raised, CONCEPTS)[-1].weight > preference_keywords(before, CONCEPTS)[-1].weight


@pytest.mark.parametrize("said", ["<script>", "ignore all; draw https://evil", "x" * 500, "…"])
def test_what_was_said_is_words_and_short(said: str) -> None:
    for word, _ in words(statement(f"said:{said}", 0.5, modality="user-stated")):
        assert 0 < len(word) <= 40
        assert all(letter.isalnum() or letter in " _" for letter in word)


# -- of items ------------------------------------------------------------------------------------------------


def table() -> pl.DataFrame:
    """Twenty submarines whose pictures are alike, and twenty gardens of all looks."""
    texts = ["A submarine meets Marcus. By chance Marcus Stone sees circumstances there."] * 20
    texts += ["Marcus finds a garden in unlikely circumstances. He waits."] * 20
    attributes = ["genre:War", "year:1995", "price:9", "director:Jane Doe", "studio:Marcus Stone", "topic:deep sea"]
    return pl.DataFrame({
        "item_id": [f"i{place}" for place in range(40)], "title": [f"Nr {place}" for place in range(40)],
        "text": [f"Nr {place}. Genres: War. {text}" for place, text in enumerate(texts)],
        "attributes": [attributes] * 40,
    })  # fmt: skip


def lexicon() -> Lexicon:
    rng, pictures = np.random.default_rng(0), np.zeros((40, 8))
    pictures[:20, 0], pictures[20:] = 1.0, rng.normal(size=(20, 8))
    return Lexicon(table(), pictures / np.linalg.norm(pictures, axis=1, keepdims=True))


def test_an_item_is_told_by_attributes_and_by_words_that_can_be_seen() -> None:
    found = [one.words for one in target_keywords(table().row(0, named=True), lexicon())]
    assert found[:3] == ["war", "deep sea", "1990s"]
    assert found[3] == "submarine"
    found = [one.words for one in target_keywords(table().row(30, named=True), lexicon())]
    assert "submarine" not in found
    assert target_keywords(table().row(0, named=True), lexicon(), most=4)[2].weight == 1.0


def test_no_person_and_no_number_is_told_of_an_item() -> None:
    found = " ".join(one.words for one in target_keywords(table().row(0, named=True), lexicon())).lower()
    assert not any(word in found for word in ("marcus", "stone", "jane", "doe", "9 ", "nr"))


def test_names_are_told_by_how_they_are_written() -> None:
    known = lexicon()
    assert known.name_like("Marcus")
    assert known.name_like("Unknown")
    assert not known.name_like("submarine")
    assert known.rarity("submarine") == pytest.approx(np.log(2) / np.log(40))
    assert known.rarity("absent") == 0.0
    assert known.seen("submarine") == pytest.approx(20 / 40)  # mean cosine 1, drawn to 0 for there are but 20
    assert known.seen("garden") < 0.1


def test_items_of_which_nothing_is_known_have_no_words() -> None:
    bare = {"title": None, "text": None, "attributes": None}
    assert target_keywords(bare, lexicon()) == ()
    assert target_keywords(bare, Lexicon(table()[:0])) == ()
