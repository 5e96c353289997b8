"""Drawing with the soft half: its weights, its language model, and what is said when either is missing."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn
from visuals.soft_world import DIM, SIZES, language_model, started, told
from visuals.test_embedded import folder as drawing  # noqa: F401 - a fixture

from recsys.core.errors import ArtifactError, ConfigError
from recsys.core.runtime import Run
from recsys.profiles.llm.protocol import LanguageModelError
from recsys.visuals import make_generator
from recsys.visuals.request import VisualTaste
from recsys.visuals.shipped import read_weights, save_weights
from recsys.visuals.soft_half import SoftHalf, Trunk
from recsys.visuals.soft_reading import SOFT_HALF

from contracts.generator_contract import TASTE, GeneratorContract, item


@pytest.fixture(scope="module")
def model() -> tuple[Any, Any]:
    return language_model()


@pytest.fixture(scope="module")
def folder(drawing, model, tmp_path_factory) -> Path:  # noqa: F811
    """Weights of a small generator with a soft half that says something, and the language model."""
    made = tmp_path_factory.mktemp("soft") / "weights"
    shutil.copytree(drawing, made)
    model[0].save_pretrained(made / "language-model")
    model[1].save_pretrained(made / "language-model")
    half = started(Trunk(*model, layers=1))
    nn.init.normal_(half.head.weight, std=0.1)
    save_weights(made / SOFT_HALF, half, {"id": "tiny", "flow": {"id": "test", "steps": 3}})
    return made


def options(folder: Path, **given: Any) -> dict[str, Any]:
    told = {"language_model": "causal", "language_options": {"model": str(folder / "language-model")}}
    return {"weights": str(folder), "steps": 4, "soft": "llm", **told, **given}


class TestSoft(GeneratorContract):
    @pytest.fixture
    def make(self, folder) -> Any:
        return partial(make_generator, "embedded", options(folder))

    def test_its_name_tells_and_its_pictures_are_others(self, make, folder, run) -> None:
        plain = make_generator("embedded", options(folder, soft="vector"))
        own, other = (each.generate(item(), TASTE, n=1, dial=1.0, run=run)[0] for each in (make(), plain))
        assert own.generator == "embedded test (3 steps, soft half tiny)"
        assert own.image.tobytes() != other.image.tobytes()

    def test_vectors_that_are_given_are_taken(self, make, folder, run) -> None:
        given = VisualTaste(TASTE.keywords, TASTE.history, np.ones((2, DIM), np.float32))
        plain = make_generator("embedded", options(folder, soft="vector"))
        own, other = (each.generate(item(), given, n=1, dial=1.0, run=run)[0] for each in (make(), plain))
        assert own.image.tobytes() == other.image.tobytes()


def test_weights_come_back_and_are_small(folder, model) -> None:
    half = read_weights(folder / SOFT_HALF, SoftHalf)[0]
    assert half.settings == SIZES
    assert half(told(), Trunk(*model, layers=1)).shape == (6, 2, DIM)
    assert 2 * sum(value.numel() for value in SoftHalf().state_dict().values()) < 3e6  # as shipped


def test_another_flow_is_told_of(folder, model, tmp_path) -> None:
    made, heard = tmp_path / "weights", []
    shutil.copytree(folder, made)
    save_weights(made / SOFT_HALF, started(Trunk(*model, layers=1)), {"id": "tiny", "flow": {"id": "older"}})
    generator = make_generator("embedded", options(made))
    for _ in range(2):
        generator.generate(item(), TASTE, n=1, dial=1.0, run=Run(log=heard.append))
    assert heard == ["the soft half was learned with flow older, not with test: train it anew"]


def test_what_is_missing_is_named(folder, drawing, model, tmp_path, run) -> None:  # noqa: F811
    none = make_generator("embedded", options(folder, weights=str(drawing)))
    with pytest.raises(ArtifactError, match="train it"):
        none.generate(item(), TASTE, n=1, dial=0.5, run=run)
    made = tmp_path / "weights"
    shutil.copytree(folder, made)
    save_weights(made / SOFT_HALF, SoftHalf(SIZES.model_copy(update={"width": 16})), {"flow": {"id": "test"}})
    with pytest.raises(ConfigError, match="smollm"):
        make_generator("embedded", options(made)).generate(item(), TASTE, n=1, dial=0.5, run=run)
    with pytest.raises(ConfigError, match="soft"):
        make_generator("embedded", {"soft": "both"})


def test_a_language_model_that_is_not_installed_is_named(folder, run, monkeypatch) -> None:
    monkeypatch.setattr("recsys.profiles.llm.backends.smollm.DISTRIBUTION", "no-such-package")
    made = make_generator("embedded", options(folder, language_model="smollm", language_options={}))
    with pytest.raises(LanguageModelError, match="no-such-package"):
        made.generate(item(), TASTE, n=1, dial=0.5, run=run)
