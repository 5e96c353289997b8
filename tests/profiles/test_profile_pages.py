"""What a person reads: text, page, colours, words."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from profiles.made import statement
from profiles.tastes import N_ITEMS, QUIET, SETTINGS, causes, history, made, make_world

from recsys.core.values import Interactions
from recsys.profiles.builder import ProfileBuilder
from recsys.profiles.colours import pixels_of, to_hex, to_lab
from recsys.profiles.concepts import ItemWorld
from recsys.profiles.naming import joined
from recsys.profiles.page import profile_page, thumbnail
from recsys.profiles.render import profile_text
from recsys.profiles.schema import VisualTaste
from recsys.profiles.space import item_factors, k_means, silhouette, truncated_svd

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
