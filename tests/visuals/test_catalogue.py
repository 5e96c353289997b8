"""The catalogue's own pictures, in a catalogue of blends: what looks alike has vectors that are alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recsys.core.errors import ConfigError, DataError
from recsys.core.protocols import ReadsCatalogue
from recsys.visuals import make_generator
from recsys.visuals.request import VisualItem, VisualTaste

from contracts.generator_contract import TASTE, GeneratorContract, item, poster

SHARES = np.linspace(0.05, 0.95, 19)  # of the item, in a blend


def blend(number: int, share: float, liked: int) -> VisualItem:
    """An item between the contract's item 7 and one that its taste holds."""
    own, other = item("7"), item(str(liked))
    vectors = {
        name: share * own.vectors[name] + (1 - share) * other.vectors[name] for name in ("minilm", "efficientnet")
    }
    return VisualItem(f"b{number}", f"Blend {number}", "", Image.blend(poster(liked), poster(7), share), vectors)


def blends() -> list[VisualItem]:
    return [
        blend(19 * place + number, float(share), liked)
        for place, liked in enumerate((11, 12, 13))
        for number, share in enumerate(SHARES)
    ]


def made(items: list[VisualItem], **options):
    generator = make_generator("catalogue", options)
    assert isinstance(generator, ReadsCatalogue)
    generator.read_catalogue(items)
    return generator


class TestCatalogue(GeneratorContract):
    @pytest.fixture
    def make(self) -> Callable:
        everything = [item("7"), *TASTE.history, *blends()]
        return lambda: made(everything)


def ids(found) -> list[str]:
    return [one.given["catalogue_item"] for one in found]


@pytest.mark.parametrize("dial", [0.0, 0.5, 1.0])
def test_neither_the_target_nor_its_copies_nor_the_history_are_ever_returned(run, dial: float) -> None:
    copy = replace(item("7"), item_id="copy")
    small = replace(item("7"), item_id="small", picture=poster(7).resize((91, 134)))
    generator = made([item("7"), copy, small, *TASTE.history, *blends()], pool=1)
    found = ids(generator.generate(item("7"), TASTE, n=40, dial=dial, run=run))
    assert not {"7", "copy", "small", "11", "12", "13"} & set(found)
    assert len(set(found)) == 40


def test_pictures_say_that_they_are_real(run) -> None:
    (one,) = made(blends()).generate(item(), TASTE, n=1, dial=0.5, run=run)
    assert one.given["generated"] is False
    assert one.given["title"].startswith("Blend")
    assert "nothing is generated" in one.generator
    assert "generated" not in TASTE.history[0].vectors


def test_the_nearest_are_shown_by_the_dial(run) -> None:
    generator = made(blends(), pool=1)
    share = lambda name: float(SHARES[int(name[1:]) % 19])  # noqa: E731
    near, far = (ids(generator.generate(item(), TASTE, n=3, dial=dial, run=run)) for dial in (0.0, 1.0))
    assert min(map(share, near)) > 0.8
    assert max(map(share, far)) < 0.5
    alone = VisualTaste((), TASTE.history[:1])
    assert all(int(name[1:]) < 19 for name in ids(generator.generate(item(), alone, n=3, dial=1.0, run=run)))


def test_damaged_pictures_of_others_are_passed_over_and_too_few_are_told(run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    bad = replace(blend(99, 0.99, 11), picture=str(tmp_path / "bad.png"))
    unseen = replace(blend(98, 0.98, 11), vectors={})
    few = made([bad, unseen, *blends()[:2]])
    assert set(ids(few.generate(item(), TASTE, n=2, dial=0.0, run=run))) == {"b0", "b1"}
    with pytest.raises(DataError, match="has 2 others"):
        few.generate(item(), TASTE, n=3, dial=0.0, run=run)
    with pytest.raises(DataError, match="has 0 others"):
        made([]).generate(item(), TASTE, n=1, dial=0.0, run=run)


def test_a_setting_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match="pools"):
        make_generator("catalogue", {"pools": 3})
