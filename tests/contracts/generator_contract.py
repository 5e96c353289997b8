"""What every visual generator must do, whatever it is: inherited once for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recsys.core.errors import ConfigError, DataError
from recsys.core.runtime import Run
from recsys.visuals.likeness import psnr
from recsys.visuals.pixels import fitted, to_signed
from recsys.visuals.request import GeneratedVisual, VisualItem, VisualTaste

QUIET = Run(seed=0, log=lambda message: None)


def poster(seed: int) -> Image.Image:
    """A smooth picture: what an autoencoder that was hardly trained can keep."""
    small = Image.fromarray(np.random.default_rng(seed).integers(256, size=(4, 3, 3), dtype=np.uint8))
    return small.resize((182, 268), Image.Resampling.BICUBIC)


def item(item_id: str = "7", **given: Any) -> VisualItem:
    """An item whose vectors are known, so that no encoder is needed."""
    rng = np.random.default_rng(int(item_id))
    text, picture = rng.standard_normal(384).astype(np.float32), rng.random(1280).astype(np.float32)
    known = {"picture": poster(int(item_id)), "vectors": {"minilm": text, "efficientnet": picture}}
    return VisualItem(item_id, **{"title": "A title", **known, **given})


TASTE = VisualTaste((), tuple(item(str(number)) for number in (11, 12, 13)))


def likeness(target: VisualItem, made: Sequence[GeneratedVisual]) -> float:
    """Return the mean PSNR of pictures to the target's own."""
    drawn = to_signed(np.stack([fitted(one.image) for one in made]))
    return float(psnr(drawn, to_signed(fitted(target.picture)[None]).expand_as(drawn)).mean())


class GeneratorContract:
    """Subclasses give a fixture ``make`` that returns a function without arguments: a fresh generator each time."""

    @pytest.fixture
    def make(self) -> Any:
        raise NotImplementedError

    def test_as_many_pictures_as_asked_for_that_say_what_they_are_from(self, make: Any) -> None:
        generator = make()
        made = generator.generate(item(), TASTE, n=5, dial=0.5, run=QUIET)
        assert len(made) == 5
        assert len({one.image.size for one in made}) == 1
        assert {(one.image.mode, one.item_id, one.dial) for one in made} == {("RGB", "7", 0.5)}
        assert {one.generator for one in made} == {generator.identity()}
        assert len({one.seed for one in made}) == len({one.image.tobytes() for one in made}) == 5
        json.dumps(dict(made[0].given))

    def test_same_seed_same_bytes_and_another_seed_others(self, make: Any) -> None:
        one, two = (make().generate(item(), TASTE, n=2, dial=0.7, run=QUIET) for _ in range(2))
        assert [each.seed for each in one] == [each.seed for each in two]
        assert [each.image.tobytes() for each in one] == [each.image.tobytes() for each in two]
        other = make().generate(item(), TASTE, n=2, dial=0.7, run=Run(1))
        assert other[0].image.tobytes() != one[0].image.tobytes()

    def test_the_noise_is_the_same_for_everybody_and_the_pictures_are_not(self, make: Any) -> None:
        generator = make()
        own, nobody = (generator.generate(item(), who, n=2, dial=0.8, run=QUIET) for who in (TASTE, VisualTaste()))
        assert [one.seed for one in own] == [one.seed for one in nobody]
        assert own[0].image.tobytes() != nobody[0].image.tobytes()

    def test_the_dial_leads_away_from_the_target(self, make: Any) -> None:
        generator, target = make(), item()
        near, far = (likeness(target, generator.generate(target, TASTE, n=3, dial=dial, run=QUIET)) for dial in (0, 1))
        assert near > far + 1

    def test_a_target_without_a_picture_is_drawn_too(self, make: Any) -> None:
        bare = item(picture=None, vectors={"minilm": item().vectors["minilm"]})
        assert len(make().generate(bare, VisualTaste(), n=1, dial=0.0, run=QUIET)) == 1

    @pytest.mark.parametrize(
        ("n", "dial", "words"), [(0, 0.5, "number"), (1, -0.1, "dial"), (1, 1.1, "dial"), (1, float("nan"), "dial")]
    )
    def test_what_cannot_be_asked_for_is_refused(self, make: Any, n: int, dial: float, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            make().generate(item(), TASTE, n=n, dial=dial, run=QUIET)

    @pytest.mark.parametrize("name", ["none.jpg", "bad.jpg"])
    def test_missing_and_damaged_pictures_are_named(self, make: Any, tmp_path: Any, name: str) -> None:
        (tmp_path / "bad.jpg").write_bytes(b"no picture")
        with pytest.raises(DataError, match=name):
            make().generate(item(picture=str(tmp_path / name)), TASTE, n=1, dial=0.5, run=QUIET)

    def test_nothing_to_go_by_is_an_error(self, make: Any) -> None:
        with pytest.raises(DataError, match="'9'"):
            make().generate(VisualItem("9"), VisualTaste(), n=1, dial=0.5, run=QUIET)
