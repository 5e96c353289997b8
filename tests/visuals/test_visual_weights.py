"""The weights in the package: what they say of themselves, and what they draw."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from recsys.data.item_parts import RULE
from recsys.visuals import make_generator
from recsys.visuals.pixels import HEIGHT, WIDTH
from recsys.visuals.shipped import FOLDER, load_weights

from contracts.generator_contract import TASTE, GeneratorContract, item, likeness


def test_they_say_what_they_are_and_are_small() -> None:
    weights = load_weights()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 40e6
    for name in ("autoencoder", "flow"):
        facts = weights.facts[name]
        assert facts["held_out_rule"] == RULE
        assert facts["steps"] > 0
        assert {"trained_on", "commit", "training", "seed", "id"} <= set(facts)


class TestShipped(GeneratorContract):
    @pytest.fixture
    def make(self) -> Any:
        return partial(make_generator, "embedded", {"steps": 6})

    def test_near_the_target_when_asked_to_be(self, make, run) -> None:
        made = make().generate(item(), TASTE, n=2, dial=0.0, run=run)
        assert made[0].image.size == (WIDTH, HEIGHT)
        assert likeness(item(), made) > 18
