"""What a person reads: text, page, colours, words."""

from __future__ import annotations

import base64
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from profiles.made import a_profile, profile, statement
from profiles.tastes import N_ITEMS, QUIET, SETTINGS, causes, history, made, make_world

from recsys.core.values import Interactions
from recsys.profiles.builder import ProfileBuilder
from recsys.profiles.colours import measures, pixels_of, to_hex, to_lab
from recsys.profiles.concepts import Concept, ItemWorld
from recsys.profiles.naming import capital, clean_title, head, joined, of_different_series, spoken_title
from recsys.profiles.page import _bar, _number, profile_page, shelves, thumbnail
from recsys.profiles.render import profile_text
from recsys.profiles.schema import Change, Colour, Evidence, Interest, Support, VisualTaste
from recsys.profiles.space import item_factors, k_means, silhouette, truncated_svd, unit_rows
from recsys.profiles.telling import (
    change_text,
    interest_name,
    leaning,
    percent,
    query_texts,
    statement_text,
    summary_text,
    told_edits,
    told_first,
)

VOID = {"meta", "img", "br", "line", "circle", "rect"}


class Tags(HTMLParser):
    """Checks that every tag that opens is closed, and notes attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.attributes = [], []

    def handle_starttag(self, tag, attrs) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def painted(folder) -> ProfileBuilder:
    """Return a builder of a world whose pictures of group 1 are dark red, the others light grey; some are broken."""
    world = make_world()
    group, paths = causes()["pictures"], []
    for name, colour in (("red", (120, 10, 20)), ("grey", (210, 210, 210))):
        Image.new("RGB", (40, 60), colour).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    for item in range(N_ITEMS):
        name = "broken" if item % 10 == 0 else "red" if group[item] == 1 else "grey"
        paths.append(None if item % 10 == 1 else str(folder / f"{name}.png"))
    table = world.table.with_columns(image=np.array(paths, dtype=object))
    return ProfileBuilder(SETTINGS).fit(ItemWorld(table, world.features, world.train), run=QUIET)


def test_pictures_give_palette_style_and_thumbnails(tmp_path) -> None:
    builder = painted(tmp_path)
    profile = builder.build(history("pictures"))
    (liked,) = profile.statements
    assert liked.modality == "image"
    assert "warm, colourful pictures" in liked.text
    red = [one for one in profile.visual.palette if one.hex == "#780a14"]
    assert sum(one.share for one in red) > 0.5
    assert sum(one.share for one in profile.visual.palette) == pytest.approx(1.0, abs=0.01)
    assert profile.visual.style
    paths = dict(zip(builder.ids, builder.world.table["image"], strict=True))
    page = profile_page(profile, pictures=paths.get)
    assert "data:image/jpeg;base64," in page
    assert builder.build(history("pictures")).visual == profile.visual


def test_without_pictures_the_visual_taste_is_empty(tmp_path) -> None:
    assert made().build(history("pictures")).visual == VisualTaste()
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert pixels_of(str(tmp_path / "x.png")) is thumbnail(str(tmp_path / "x.png")) is thumbnail(None) is None


def test_text_tells_everything_within_its_width() -> None:
    profile = made().build(history("genre"), times=10**9 + 86400 * np.arange(40), user_id="7")
    text = profile_text(profile, width=80)
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for part in (profile.summary, profile.statements[0].text, profile.statements[0].concept, profile.interests[0].name):
        assert " ".join(part.split()) in flat
    assert profile.statements[0].evidence[0].date in text
    assert "user 7" in text
    assert "somebody new" in profile_text(made().build([]))


def test_the_page_is_whole_and_fetches_nothing() -> None:
    profiles = [made().build(history("genre", seed=seed), user_id=f"u{seed}<i>") for seed in range(3)]
    edited = profiles[0].replacing(statement("genre:G2", 0.4, polarity="dislike", forbidden=True, locked=True))
    page = profile_page([edited, *profiles[1:]])
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "default-src 'none'" in page
    ids = [value for name, value in tags.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert not [
        value for name, value in tags.attributes if name in ("src", "href") and not value.startswith(("#", "data:"))
    ]
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert "<i>" not in page
    assert "Never shown" in page
    assert re.search(r"[Uu]ser u1&lt;i&gt;", page)


def test_colours_are_those_of_the_standard() -> None:
    lab = to_lab(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(lab, [[100, 0, 0], [53.24, 80.09, 67.20], [0, 0, 0]], atol=0.05)
    for hexed in ("#780a14", "#d2d2d2", "#0b5c66"):
        rgb = np.array([[int(hexed[place : place + 2], 16) / 255 for place in (1, 3, 5)]])
        assert to_hex(to_lab(rgb)[0]) == hexed


def test_groups_and_factors_are_those_of_the_matrix() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 40))
    found = truncated_svd(matrix, 8, np.random.default_rng(1))
    assert found.shape == (40, 5)  # its rank
    np.testing.assert_allclose(found @ found.T, matrix.T @ matrix, rtol=1e-3, atol=1e-2)
    rows = np.concatenate([rng.normal(size=(20, 3)) + 9 * np.eye(3)[group] for group in range(3)]).astype(np.float32)
    groups, centres = k_means(rows, 3, rng, tries=3)
    assert len(centres) == 3
    assert [len(set(groups[start : start + 20])) for start in (0, 20, 40)] == [1, 1, 1]
    distance = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    from sklearn.metrics import silhouette_score

    assert silhouette(distance, groups) == pytest.approx(silhouette_score(rows, groups), abs=1e-5)


def test_popularity_is_left_out_of_the_factors_of_items_and_nothing_of_the_parts_of_the_graph() -> None:
    """Four parts that no user links: popularity is one of four factors of equal weight, and only it may go."""
    train = Interactions(*(rows.astype(np.int32) for rows in np.nonzero(np.kron(np.eye(4), np.ones((9, 6))))), 36, 24)
    factors = item_factors(train, 8, np.random.default_rng(0))
    assert factors.shape == (24, 3)
    np.testing.assert_allclose(factors @ factors.T, np.kron(4 / 3 * np.eye(4) - 1 / 3, np.ones((6, 6))), atol=1e-5)


def test_lists_are_joined_as_people_do() -> None:
    assert [joined(list("abc"[:n])) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


# -- sentences -----------------------------------------------------------------------------------------------


def share(observed: float, expected: float) -> Support:
    n_with = round(10 * observed)
    return Support(kind="share", n=10, n_with=n_with, observed=observed, expected=expected, low=0.35, high=0.8)


def rating(observed: float, expected: float) -> Support:
    return Support(kind="rating", n=10, n_with=4, observed=observed, expected=expected, low=1.0, high=3.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 %"), (0.004, "0.4 %"), (0.006, "0.6 %"), (0.0095, "1 %"), (0.012, "1 %"), (0.5, "50 %"), (1, "100 %")],
)
def test_shares_are_whole_per_cent_and_small_ones_have_a_decimal(value, text) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("observed", "expected", "verb"),
    [
        (0.4, 0.25, "leans to"), (0.4375, 0.25, "leans clearly to"), (0.7, 0.25, "leans clearly to"),
        (0.75, 0.25, "leans strongly to"), (0.1, 0.0, "leans strongly to"),
    ],
)  # fmt: skip
def test_the_verb_tells_how_many_times_what_popularity_gives(observed, expected, verb) -> None:
    assert leaning(share(observed, expected)) == verb


@pytest.mark.parametrize(
    ("polarity", "support", "text"),
    [
        ("like", share(0.6, 0.3), "Leans clearly to dramas: 6 of 10 items (60 %), popularity gives 30 %."),
        ("like", rating(4.5, 3.0),
         "Rates dramas higher than the rest: 4.5 on average over 4 items, above the 3.0 to be expected."),
        ("dislike", rating(2.0, 3.0),
         "Rates dramas lower than the rest: 2.0 on average over 4 items, below the 3.0 to be expected."),
    ],
)  # fmt: skip
def test_a_statement_is_a_sentence_with_its_numbers(polarity, support, text) -> None:
    assert statement_text("dramas", polarity, support) == text


def test_a_change_is_a_sentence_with_its_numbers() -> None:
    assert change_text("dramas", 0.1, 0.3) == "Lately takes dramas more often: 30 % of the latest third, 10 % before."
    assert change_text("dramas", 0.3, 0.1) == "Lately takes dramas less often: 10 % of the latest third, 30 % before."


def interests(*names: str) -> list[Interest]:
    return [Interest(name=name, share=0.2, concepts=(), examples=()) for name in names]


STARS, SHARES = (rating(4.5, 3.0), "musicals"), [(share(0.6, 0.3), name) for name in ("a", "b", "c", "d", "e")]
LIKED = "This user leans clearly to a (60 % where popularity gives 30 %)"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"n": 0}, "Nothing is known of this user yet."),
        ({"n": 1}, "Of this user 1 item is known, too few to tell a taste from chance."),
        ({"n": 19}, "Of this user 19 items are known, too few to tell a taste from chance."),
        ({"n": 20, "dates": ("1997-01-02", "1997-11-30")}, "Of this user 20 items taken in 1997 are known, "
         "and none of it differs clearly from what is popular."),
        ({"n": 1200, "dates": ("1997-01-02", "1998-01-01"), "likes": SHARES[:1]},
         f"{LIKED}, judging by 1,200 items taken from 1997 to 1998."),
        ({"likes": SHARES}, f"{LIKED}, and also to b, c and d, judging by 30 items."),
        ({"likes": [STARS, *SHARES[:2]]}, f"{LIKED}, and also to b, judging by 30 items."),
        ({"likes": [STARS] * 4},
         "This user rates musicals, musicals and musicals above the rest, judging by 30 items."),
        ({"dislikes": ["p", "q", "r", "s"]},
         "No likes stand out among 30 items. This user rates p, q and r lower than the rest."),
        ({"likes": SHARES[:1], "interests": interests("One")}, f"{LIKED}, judging by 30 items."),
        ({"likes": SHARES[:1], "interests": interests("One", "Two", "Three")},
         f"{LIKED}, judging by 30 items. "
         "Three interests can be told apart: “One” (20 %), “Two” (20 %) and “Three” (20 %)."),
        ({"likes": SHARES[:1], "interests": interests("One", "Two", "Three", "Four")},
         f"{LIKED}, judging by 30 items. Four interests can be told apart: "
         "the largest “One” (20 %), “Two” (20 %) and “Three” (20 %)."),
        ({"likes": SHARES[:1], "interests": interests(*"1234567")},
         f"{LIKED}, judging by 30 items. "
         "7 interests can be told apart: the largest “1” (20 %), “2” (20 %) and “3” (20 %)."),
        ({"likes": SHARES[:1], "changes": [("p", True), ("q", True), ("r", True), ("war films", False)]},
         f"{LIKED}, judging by 30 items. This user has lately taken more p and q and less war films."),
        ({"likes": SHARES[:1], "changes": [("dramas", False), ("comedies of old", False), ("w", False)]},
         f"{LIKED}, judging by 30 items. This user has lately taken fewer dramas and comedies of old."),
        ({"likes": SHARES[:1], "dislikes": ["p"], "changes": [("dramas", False), ("film noir", False)]},
         f"{LIKED}, judging by 30 items. "
         "This user rates p lower than the rest and has lately taken less dramas and film noir."),
    ],
)  # fmt: skip
def test_a_summary_tells_likes_interests_dislikes_and_changes(given, text) -> None:
    usual = {"n": 30, "dates": None, "likes": [], "dislikes": [], "interests": [], "changes": []}
    assert summary_text(**usual | given) == text


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ([("genre:Drama", "like", 0.6)], ""),
        ([("genre:Drama", "like", 0.8)], "wants more Drama"),
        ([("genre:Drama", "like", 0.2)], "wants less Drama"),
        ([("genre:Drama", "like", 0.0)], "wants less Drama"),
        ([("genre:Drama", "dislike", 0.1)], "dislikes Drama"),
        ([("genre:Horror", "dislike", 0.1)], "wants more Horror"),
        ([("genre:Horror", "dislike", 0.3)], ""),
        ([("genre:Horror", "dislike", 0.5)], "dislikes Horror"),
        ([("genre:War", "like", 0.5), ("genre:Crime", "like", 0.1)], "likes War and Crime"),
        ([("genre:War", "dislike", 0.5)], "dislikes War"),
        ([("genre:War", "like", 0.0)], ""),
        ([("genre:Drama", "like", 0.8), ("genre:War", "like", 0.5)], "likes War and wants more Drama"),
    ],
)
def test_edits_are_told_against_what_was_built(now, said) -> None:
    after = profile(*(statement(key, weight, polarity=polarity) for key, polarity, weight in now))
    told = told_edits(a_profile(), after, lambda key: key.partition(":")[2])
    assert told == (f"By own account this user {said}." if said else "")
    forbidden = profile(statement("genre:Drama", 0.6, forbidden=True))
    assert told_edits(a_profile(), forbidden, str) == "By own account this user never wants genre:Drama."


def worded(*words: str) -> list[Concept]:
    return [Concept(f"k:{number}", "", "text", word) for number, word in enumerate(words)]


@pytest.mark.parametrize(
    ("words", "titles", "name"),
    [
        (("1980s", "horror", "", "space", "war", "1990s"), ["Heat"], "Horror and space of the 1980s"),
        (("horror",), [], "Horror"),
        (("1980s",), ["Heat: One", "Heat: Two", "Alien", "Speed"], "Items of the 1980s like Heat: One and Alien"),
        (("1980s",), [], "Items of the 1980s"),
        (("",), ["Heat"], "Items like Heat"),
        ((), [], "Items of all kinds"),
    ],
)
def test_an_interest_is_named_by_words_and_times_or_by_examples(words, titles, name) -> None:
    assert interest_name(worded(*words), titles) == name


def test_searches_are_the_words_of_interests_and_then_of_other_likes() -> None:
    subjects = [worded("1980s", "horror"), worded("1990s"), worded("", "war"), worded("war")]
    likes = worded("horror", "comedy", "1970s", "")
    assert query_texts(subjects, likes, 6) == ("horror 1980s", "war", "comedy")
    assert query_texts(subjects, likes, 2) == ("horror 1980s", "war")
    assert [told_first(one) for one in worded("drama", "1980s", "")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("title", "spoken"),
    [
        ("Heat", "Heat"),
        ("Fish Called Wanda, A (1988)", "A Fish Called Wanda"),
        ("(500) Days of Summer (2009)", "Days of Summer"),
        ("(Untitled)", "Untitled"),
        ("x" * 48, "x" * 48),
        ("x" * 60, "x" * 47 + "…"),
        ("A series: " + "with a long name " * 4, "A series"),
        ("one two three four five six seven eight nine tens eleven", "one two three four five six seven eight nine…"),
        ("Say “yes” [twice]; ok", "Say yes twice ok"),
    ],
)
def test_titles_are_spoken_within_a_sentence(title, spoken) -> None:
    assert spoken_title(title) == spoken


def test_words_are_put_together_as_people_do() -> None:
    assert clean_title(" a\x00b\t\u202ec ") == "a b c"
    assert (head(": so it begins"), head("Alien: Covenant")) == (": so it begins", "Alien")
    assert of_different_series(["A: 1", "B", "C", "A: 2"]) == ["A: 1", "B"]  # the best known stays first
    assert of_different_series(["A: 1", "B", "A: 2", "C"], most=3) == ["A: 1", "B", "C"]
    assert joined(["a", "b", "c"], "or") == "a, b or c"
    assert (capital("of All"), capital("")) == ("Of All", "")


# -- the whole of a profile ----------------------------------------------------------------------------------

ONE, TWO = Evidence(item_id="i0", title="Heat", date="1997-04-01"), Evidence(item_id="i1", title="Alien")
FULL = profile(
    statement("genre:Drama", 0.5, evidence=(ONE, TWO, TWO, TWO, TWO, TWO)),
    statement(
        "genre:War", 0.25, polarity="dislike", support=rating(2.0, 4.0), evidence=(), locked=True, forbidden=True
    ),
    statement("said:dogs", 1.0, support=None, evidence=(TWO, TWO, TWO, ONE), modality="user-stated"),
    interests=[Interest(name="Crime", share=0.07, concepts=(), examples=(ONE,))],
).model_copy(
    update={
        "changes": (Change(text="Lately more.", concept="x", before=0, lately=1, evidence=()),),
        "visual": VisualTaste(palette=(Colour(hex="#780a14", share=0.9), Colour(hex="#d2d2d2", share=0.1)),
                              style=("dark pictures",)),
        "queries": ("crime 1990s", "war"),
    }
)  # fmt: skip
TOLD = """\
Profile of user u1, from 10 items

Likes what it likes.

Likes
  About genre:Drama.
    genre:Drama · weight 0.50 · behaviour · id s-genre:Drama
    ······│─────●─────··  35.0% … 80.0%, expected 30.0%
    from Heat [1997-04-01]; Alien; Alien; Alien and 2 more
  About said:dogs.
    said:dogs · weight 1.00 · user-stated · id s-said:dogs
    from Alien; Alien; Alien; Heat [1997-04-01]

Dislikes
  About genre:War.
    genre:War · weight 0.25 · behaviour · locked · never shown · id s-genre:War
    ····────●───···│····  1.0 … 3.0, expected 4.0

Interests
    7%  Crime
        such as Heat [1997-04-01]

Lately
  Lately more.

Pictures
  colours #780a14 90%, #d2d2d2 10%
  dark pictures

Searches that would find more
  crime 1990s
  war"""


def test_a_profile_as_text_line_by_line(monkeypatch) -> None:
    assert profile_text(FULL, width=100) == TOLD
    for columns, longest in ((20, 40), (60, 60), (300, 100)):  # a terminal's width, within bounds
        monkeypatch.setenv("COLUMNS", str(columns))
        long = profile_text(FULL.model_copy(update={"summary": "so " * 200}))
        assert longest - 3 < max(len(line) for line in long.splitlines() if line.startswith("so ")) <= longest
    many = FULL.interests[0].model_copy(update={"examples": (ONE,) * 4})
    lines = profile_text(FULL.model_copy(update={"interests": (many,)}), width=60).splitlines()
    place = lines.index("    7%  Crime")
    assert lines[place + 1].startswith("        such as Heat")
    assert lines[place + 2].startswith("          [") or lines[place + 2].startswith("          Heat")


def test_an_interval_is_drawn_to_scale() -> None:
    drawn = str(_bar(share(0.6, 0.3), "b1"))  # from 0 to 1.2 * 0.8
    assert "observed 60.0 %, interval 35.0 % to 80.0 %, expected 30.0 %" in drawn
    for part in ('x1="36.46%" x2="83.33%"', 'x1="31.25%" x2="31.25%"', 'cx="62.50%"', 'id="b1"'):
        assert part in drawn
    drawn = str(_bar(rating(2.0, 4.0), "b2"))  # from 0 to 5
    assert "observed 2.00, interval 1.00 to 3.00, expected 4.00" in drawn
    for part in ('x1="20.00%" x2="60.00%"', 'x1="80.00%" x2="80.00%"', 'cx="40.00%"'):
        assert part in drawn
    high = share(0.6, 0.3).model_copy(update={"high": 0.9})
    assert 'x2="90.00%"' in str(_bar(high, "b3"))  # a share's scale ends at 1
    ten = rating(2.0, 8.0).model_copy(update={"low": -1.0})
    assert 'x1="0.00%"' in str(_bar(ten, "b4"))
    assert 'x1="100.00%" x2="100.00%"' in str(_bar(ten, "b4"))


def test_the_page_shows_five_of_a_kind_and_numbers_as_people_write_them() -> None:
    many = profile(*(statement(f"genre:{name}") for name in "abcdefg"),
                   statement("genre:no", polarity="dislike"), statement("genre:never", forbidden=True))  # fmt: skip
    found = [(one.title, len(one.shown), len(one.more)) for one in shelves(many)]
    assert found == [("Likes", 5, 2), ("Dislikes", 1, 0), ("Never shown", 1, 0)]
    assert _number(math.inf, rating(2, 4)) == "–"
    assert (_number(3.14, rating(2, 4)), _number(0.314, share(0.6, 0.3))) == ("3.1", "31 %")
    assert "<title>Profile of user u1</title>" in profile_page(FULL)
    assert "<title>2 profiles</title>" in profile_page([FULL, FULL])
    assert "<title>Mine</title>" in profile_page([FULL, FULL], title="Mine")


def test_a_thumbnail_fits_its_frame(tmp_path) -> None:
    Image.new("RGB", (1120, 840), (10, 200, 30)).save(tmp_path / "wide.png")
    Image.new("RGB", (100, 1680), (10, 200, 30)).save(tmp_path / "tall.png")
    for name, size in (("wide", (224, 168)), ("tall", (20, 336))):
        coded = thumbnail(str(tmp_path / f"{name}.png")).removeprefix("data:image/jpeg;base64,")
        assert Image.open(io.BytesIO(base64.b64decode(coded))).size == size


# -- colours and groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hexed", "lab"),
    [  # colour-science's figures for sRGB, D65
        ("#00ff00", (87.73, -86.18, 83.18)), ("#0000ff", (32.30, 79.19, -107.86)), ("#808080", (53.59, 0.0, 0.0)),
        ("#050505", (1.37, 0.0, 0.0)), ("#0a0a0a", (2.74, 0.0, 0.0)), ("#0b0b0b", (3.02, 0.0, 0.0)),
    ],
)  # fmt: skip
def test_light_and_dark_colours_are_those_of_the_standard(hexed, lab) -> None:
    rgb = np.array([[int(hexed[place : place + 2], 16) / 255 for place in (1, 3, 5)]])
    np.testing.assert_allclose(to_lab(rgb)[0], lab, atol=0.02)
    assert to_hex(to_lab(rgb)[0]) == hexed
    assert to_hex(np.array([120.0, 0.0, 0.0])) == "#ffffff"  # what no screen shows is clipped


def test_a_picture_is_measured_by_lightness_warmth_colourfulness_and_contrast() -> None:
    pixels = np.array([[20.0, 3.0, 4.0], [60.0, -6.0, 8.0]])
    assert measures(pixels) == pytest.approx([40.0, -1.5 + 6.0, 7.5, 20.0])


def test_rows_are_scaled_and_few_rows_make_few_groups() -> None:
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]], atol=1e-7)
    rows = np.array([[0.0, 1], [0, 1], [5, 5], [5, 5]], np.float32)
    groups, centres = k_means(rows, 3, np.random.default_rng(0))  # two distinct rows
    assert groups[0] == groups[1] != groups[2] == groups[3]
    np.testing.assert_allclose(centres[groups], rows)
    distance = np.abs(np.subtract.outer([0.0, 1.0, 9.0], [0.0, 1.0, 9.0]))
    assert silhouette(distance, np.array([0, 0, 0])) == 0.0
    # a lone item counts 0: (1 - 1/9 + 1 - 1/8) / 3
    assert silhouette(distance, np.array([0, 0, 1])) == pytest.approx((8 / 9 + 7 / 8) / 3)
    assert truncated_svd(np.zeros((0, 3)), 2, np.random.default_rng(0)).shape == (3, 0)
