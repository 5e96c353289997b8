"""The embedded generator, with small weights made here."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from recsys.core.errors import ArtifactError, ConfigError, DataError
from recsys.core.runtime import Run
from recsys.visuals import GENERATORS, make_generator
from recsys.visuals.autoencoder import Autoencoder, AutoencoderSettings
from recsys.visuals.conditions import CONDITIONS, ConditionSettings
from recsys.visuals.generators.embedded import EmbeddedGenerator, EmbeddedSettings
from recsys.visuals.likeness import psnr
from recsys.visuals.parts import RULE
from recsys.visuals.pixels import HEIGHT, WIDTH, fitted, to_signed
from recsys.visuals.reader import Reader
from recsys.visuals.request import VisualItem, VisualTaste
from recsys.visuals.shipped import AUTOENCODER, FLOW, load_weights, read_weights, save_weights
from recsys.visuals.taste import TasteSpace, nearest
from recsys.visuals.transformer import FlowTransformer, TransformerSettings

RNG = np.random.default_rng(0)


def vectors() -> dict[str, np.ndarray]:
    return {"minilm": RNG.standard_normal(384).astype(np.float32), "efficientnet": RNG.random(1280).astype(np.float32)}


def poster(seed: int = 0) -> Image.Image:
    """A smooth picture: what an autoencoder that was hardly trained can keep."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(256, size=(4, 3, 3), dtype=np.uint8)).resize(
        (182, 268), Image.Resampling.BICUBIC
    )


def item(item_id: str = "7", **given) -> VisualItem:
    return VisualItem(item_id, "A title", "", **{"picture": poster(int(item_id)), "vectors": vectors(), **given})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of a small generator: a PCA of smooth pictures and a transformer that learned nothing."""
    made = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    autoencoder = Autoencoder(AutoencoderSettings(channels=8, width=16, encoder_blocks=0, decoder_blocks=0))
    pictures = to_signed(np.stack([fitted(poster(seed)) for seed in range(8)]))
    autoencoder.start_linear(pictures)
    autoencoder.measure(autoencoder.encoder(pictures))
    flow = FlowTransformer(
        TransformerSettings(
            channels=8, width=32, depth=1, heads=2, steering=16, conditions=ConditionSettings(soft_dim=8, soft_hidden=8)
        )
    )
    for parameter in flow.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    space = TasteSpace.fitted(RNG.standard_normal((30, 384)), RNG.random((30, 1280)), dim=2)
    save_weights(made / AUTOENCODER, autoencoder, {"id": "small"})
    save_weights(made / FLOW, flow, {"id": "test", "steps": 3, "autoencoder": "small"}, space.state())
    return made


@pytest.fixture
def generator(folder) -> EmbeddedGenerator:
    return make_generator("embedded", {"weights": str(folder), "steps": 4})


TASTE = VisualTaste((), tuple(item(str(number)) for number in (11, 12, 13)))


def test_pictures_of_the_right_size_marked_with_what_they_are_from(generator, run) -> None:
    made = generator.generate(item(), TASTE, n=5, dial=0.5, run=run)
    assert len(made) == 5
    assert {one.image.size for one in made} == {(WIDTH, HEIGHT)}
    assert {one.image.mode for one in made} == {"RGB"}
    assert len({one.seed for one in made}) == 5
    assert len({one.image.tobytes() for one in made}) == 5
    assert made[0].generator == "embedded test (3 steps)"
    assert made[0].given["history"] == ["11", "12", "13"]
    json.dumps(dict(made[0].given))


def test_same_seed_same_bytes_and_another_seed_others(generator, folder, run) -> None:
    target, fresh = item(), EmbeddedGenerator(EmbeddedSettings(weights=str(folder), steps=4))
    first, again = (one.generate(target, TASTE, n=2, dial=0.7, run=run) for one in (generator, fresh))
    assert [one.seed for one in first] == [one.seed for one in again]
    assert [one.image.tobytes() for one in first] == [one.image.tobytes() for one in again]
    other = fresh.generate(target, TASTE, n=2, dial=0.7, run=Run(1))
    assert other[0].image.tobytes() != first[0].image.tobytes()


def test_the_noise_is_the_same_for_everybody(generator, run) -> None:
    target = item()
    seeds = [
        [one.seed for one in generator.generate(target, taste, n=2, dial=0.5, run=run)]
        for taste in (TASTE, VisualTaste())
    ]
    assert seeds[0] == seeds[1]


def test_near_the_target_when_asked_to_be(generator, run) -> None:
    target = item()
    own = to_signed(fitted(target.picture)[None])

    def likeness(dial: float) -> float:
        made = generator.generate(target, TASTE, n=2, dial=dial, run=run)
        drawn = to_signed(np.stack([np.asarray(one.image) for one in made]))
        return float(psnr(drawn, own.expand_as(drawn)).mean())

    assert likeness(0.0) > likeness(1.0) + 3


def test_a_target_without_a_picture_is_drawn_from_its_text(generator, run) -> None:
    bare = item(picture=None, vectors={"minilm": vectors()["minilm"]})
    made = generator.generate(bare, VisualTaste(), n=1, dial=0.0, run=run)
    assert made[0].given["strength"] == 1.0


@pytest.mark.parametrize(
    ("n", "dial", "words"), [(0, 0.5, "number"), (1, -0.1, "dial"), (1, 1.1, "dial"), (1, float("nan"), "dial")]
)
def test_what_cannot_be_asked_for_is_refused(generator, run, n, dial, words) -> None:
    with pytest.raises(ConfigError, match=words):
        generator.generate(item(), TASTE, n=n, dial=dial, run=run)


def test_missing_and_damaged_pictures_are_named(generator, run, tmp_path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    for path in (tmp_path / "none.jpg", tmp_path / "bad.jpg"):
        with pytest.raises(DataError, match=path.name):
            generator.generate(item(picture=str(path)), TASTE, n=1, dial=0.5, run=run)
    with pytest.raises(DataError, match="nothing to draw"):
        generator.generate(VisualItem("9"), VisualTaste(), n=1, dial=0.5, run=run)


def test_missing_damaged_and_mixed_weights_are_named(folder, tmp_path, run) -> None:
    empty = make_generator("embedded", {"weights": str(tmp_path)})
    with pytest.raises(ArtifactError, match="Install"):
        empty.generate(item(), TASTE, n=1, dial=0.5, run=run)
    (tmp_path / AUTOENCODER).write_bytes((folder / AUTOENCODER).read_bytes())
    (tmp_path / FLOW).write_bytes((folder / FLOW).read_bytes()[:5000])
    with pytest.raises(ArtifactError, match=FLOW):
        load_weights(tmp_path)
    flow, _, extra = read_weights(folder / FLOW, FlowTransformer)
    save_weights(tmp_path / FLOW, flow, {"autoencoder": "another"}, extra)
    with pytest.raises(ArtifactError, match="another autoencoder"):
        load_weights(tmp_path)


def test_weights_come_back_as_they_were_rounded_to_half(folder) -> None:
    flow, facts, extra = read_weights(folder / FLOW, FlowTransformer)
    assert facts["held_out_rule"] == RULE
    assert set(extra) == {"text_mean", "text_basis", "picture_mean", "picture_basis", "scale"}
    with safe_open(folder / FLOW, "pt") as file:
        for name, value in flow.state_dict().items():
            assert file.get_tensor(f"module/{name}").dtype == torch.float16
            assert value.equal(file.get_tensor(f"module/{name}").float())


class Counting:
    """Stands for both encoders; counts what it is asked."""

    def __init__(self, dim: int) -> None:
        self.dim, self.asked = dim, 0

    def encode(self, contents, modality: str, *, run: Run) -> np.ndarray:
        self.asked += len(contents)
        return np.ones((len(contents), self.dim), np.float32)


def test_the_reader_takes_the_heaviest_words_and_the_likest_pictures(folder, run) -> None:
    text, picture = Counting(384), Counting(1280)
    reader = Reader(load_weights(folder).space, 2, 2, run=run, encoders=(text, picture))
    words = (("war", 0.2), ("love", 0.9), ("", 0.0), ("space", 3.0))
    given, pixels = reader.conditions(item(), VisualTaste(words, TASTE.history))
    assert given.keyword_weights[0].tolist() == pytest.approx([1.0, 0.9])
    assert given.history.shape == (1, 2, 1280)
    assert given.soft.shape == (1, 1, 8)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert given.on.all()
    assert (text.asked, picture.asked) == (2, 0)  # vectors that are known are not made again
    reader.conditions(item(), VisualTaste(words))
    assert text.asked == 2
    alone, _ = reader.conditions(item(), VisualTaste())
    assert alone.on[0].tolist() == [name in ("text", "picture", "layout") for name in CONDITIONS]
    states = np.zeros((3, 8), np.float32)
    assert reader.conditions(item(), VisualTaste(soft=states))[0].soft.shape == (1, 3, 8)


def test_the_nearest_of_a_history_are_found_and_unknown_ones_come_last() -> None:
    texts = np.array([[1.0, 0], [0, 1], [np.nan, np.nan], [0.9, 0.1]])
    assert nearest(np.array([1.0, 0]), texts, 3).tolist() == [0, 3, 1]
    assert nearest(np.array([1.0, 0]), texts, 9).tolist() == [0, 3, 1, 2]


def test_the_registry_knows_it() -> None:
    assert list(GENERATORS) == ["embedded"]
    with pytest.raises(ConfigError, match="stepss"):
        make_generator("embedded", {"stepss": 3})
