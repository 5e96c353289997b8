"""The choice among candidates, on vectors whose order is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recsys.core.runtime import Run
from recsys.visuals.request import GeneratedVisual, VisualItem, VisualTaste
from recsys.visuals.selection import Yardstick, choose, draw, strengths

TARGET, RED, BLUE = np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
NOTHING = np.zeros(3)


def candidate(number: int, shade: int | None = None) -> GeneratedVisual:
    image = Image.new("RGB", (2, 3), (number if shade is None else shade, 0, 0))
    return GeneratedVisual(image, "7", number, 0.5, "test")


FOUR = [candidate(number) for number in range(4)]
VECTORS = np.array([TARGET * 0.9 + RED * 0.1, RED, BLUE, TARGET + RED + BLUE])


def best(dial: float, liked: np.ndarray, target: np.ndarray | None = TARGET, n: int = 1) -> list[int]:
    yardstick = Yardstick(target, liked, NOTHING)
    return [one.seed for one in choose(FOUR, yardstick.scores(VECTORS, dial), n)]


def test_the_dial_chooses_what_is_nearest_the_target_or_the_taste() -> None:
    assert best(0.0, RED[None]) == [0]
    assert best(1.0, RED[None]) == [1]
    assert best(1.0, RED[None], n=4) == [1, 3, 0, 2]


def test_another_user_another_choice() -> None:
    assert best(0.9, RED[None]) == [1]
    assert best(0.9, BLUE[None]) == [2]


def test_without_a_taste_the_target_decides_and_the_other_way_round() -> None:
    assert best(0.8, np.zeros((0, 3))) == [0]
    assert best(0.2, BLUE[None], target=None) == [2]
    assert best(0.5, np.zeros((0, 3)), target=None, n=4) == [0, 1, 2, 3]  # nothing tells: as they were drawn
    assert set(Yardstick(None, BLUE[None], NOTHING).scores(VECTORS, 0.5)[0]) == {"z", "d_pref"}


def test_scores_by_hand() -> None:
    (one,) = Yardstick(TARGET, np.stack([RED, BLUE]), NOTHING).scores(np.array([RED * 3]), 0.25)
    assert one["d_target"] == pytest.approx(0.5)
    assert one["d_pref"] == pytest.approx((1 + 0.5**0.5) / 2, abs=1e-6)  # the direction between red and blue
    assert one["z"] == pytest.approx(0.25 * np.log((1 + 0.5**0.5) / 2) + 0.75 * np.log(0.5), abs=1e-5)


def test_liked_pictures_count_alike_and_what_all_share_does_not() -> None:
    liked = np.stack([RED, BLUE * 9])
    assert Yardstick(TARGET, liked, NOTHING).scores((RED + BLUE)[None], 1.0)[0]["d_pref"] == pytest.approx(1.0)
    common = np.array([0.0, 0.0, 9.0])
    apart = Yardstick(TARGET + common, (RED + common)[None], common).scores((RED + common)[None], 0.5)[0]
    assert (apart["d_pref"], apart["d_target"]) == (pytest.approx(1.0), pytest.approx(0.5))


def test_opposite_pictures_are_the_last_but_no_infinity() -> None:
    (one,) = Yardstick(-RED, BLUE[None], NOTHING).scores(RED[None], 0.0)
    assert np.isfinite(one["z"])
    assert one["d_target"] == 0.0


@pytest.mark.parametrize("dial", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize(("n", "times"), [(1, 1), (1, 2), (4, 2), (3, 4)])
def test_strengths_lie_around_the_dial(dial: float, n: int, times: int) -> None:
    found = strengths(dial, n, times)
    assert found[0] == (dial, n)
    assert sum(share for _, share in found) == n * times
    assert all(0 <= value <= 1 and share > 0 for value, share in found)


class Numbers:
    """Draws the number that the seed gives; with ``one``, always the same picture at a strength."""

    def __init__(self, one: bool = False) -> None:
        self.one = one

    def generate(self, target: VisualItem, taste: VisualTaste, *, n: int, dial: float, run: Run) -> list:
        seeds = [run.key("visual", target.item_id, number) for number in range(n)]
        made = [candidate(seed, number if self.one else seed % 251) for number, seed in enumerate(seeds)]
        return [replace(one, dial=dial) for one in made]


def drawn(generator: Numbers, *words: tuple[str, float], seed: int = 0) -> list[GeneratedVisual]:
    run = Run(seed, log=lambda message: None)
    return draw(generator, VisualItem("7"), VisualTaste(words), n=3, dial=0.5, times=2, run=run)


def test_candidates_have_noise_of_their_own_that_no_user_changes() -> None:
    found = drawn(Numbers())
    assert len({one.seed for one in found}) == 6
    assert {one.dial for one in found} == {0.35, 0.5, 0.65}
    other = drawn(Numbers(), ("war", 1.0))
    assert [one.seed for one in found] == [one.seed for one in other]
    assert [one.seed for one in drawn(Numbers(), seed=1)] != [one.seed for one in found]


def test_no_picture_comes_twice_and_there_are_still_enough() -> None:
    found = drawn(Numbers(one=True))
    assert len(found) == len({one.image.tobytes() for one in found}) == 3
