"""The embedded generator, with small weights made here."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from recsys.core.errors import ArtifactError, ConfigError
from recsys.core.runtime import Run
from recsys.data.item_parts import RULE
from recsys.visuals import GENERATORS, make_generator
from recsys.visuals.autoencoder import Autoencoder, AutoencoderSettings
from recsys.visuals.conditions import CONDITIONS, ConditionSettings
from recsys.visuals.pixels import HEIGHT, WIDTH, fitted, to_signed
from recsys.visuals.reader import Reader
from recsys.visuals.request import VisualTaste
from recsys.visuals.shipped import AUTOENCODER, FLOW, FOLDER, load_weights, read_weights, save_weights
from recsys.visuals.taste import TasteSpace, nearest
from recsys.visuals.transformer import FlowTransformer, TransformerSettings

from contracts.generator_contract import TASTE, GeneratorContract, item, poster


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Weights of a small generator: a PCA of smooth pictures and a transformer that learned nothing."""
    made, rng = tmp_path_factory.mktemp("weights"), np.random.default_rng(0)
    torch.manual_seed(0)
    autoencoder = Autoencoder(AutoencoderSettings(channels=8, width=16, encoder_blocks=0, decoder_blocks=0))
    pictures = to_signed(np.stack([fitted(poster(seed)) for seed in range(8)]))
    autoencoder.start_linear(pictures)
    autoencoder.measure(autoencoder.encoder(pictures))
    sizes = ConditionSettings(soft_dim=8, soft_hidden=8)
    flow = FlowTransformer(
        TransformerSettings(channels=8, width=32, depth=1, heads=2, steering=16, conditions=sizes)
    )  # fmt: skip
    for parameter in flow.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    space = TasteSpace.fitted(rng.standard_normal((30, 384)), rng.random((30, 1280)), dim=2)
    save_weights(made / AUTOENCODER, autoencoder, {"id": "small"})
    save_weights(made / FLOW, flow, {"id": "test", "steps": 3, "autoencoder": "small"}, space.state())
    return made


class TestEmbedded(GeneratorContract):
    @pytest.fixture
    def make(self, folder) -> Any:
        return partial(make_generator, "embedded", {"weights": str(folder), "steps": 4})

    def test_size_and_what_is_told(self, make, run) -> None:
        (made,) = make().generate(item(), TASTE, n=1, dial=1.0, run=run)
        assert made.image.size == (WIDTH, HEIGHT)
        assert made.generator == "embedded test (3 steps)"
        assert made.given["history"] == ["11", "12", "13"]
        assert made.given["strength"] == pytest.approx(0.65)
        bare = item(picture=None, vectors={"minilm": item().vectors["minilm"]})
        (made,) = make().generate(bare, TASTE, n=1, dial=0.0, run=run)
        assert made.given["strength"] == 1.0

    def test_a_picture_does_not_depend_on_how_many_are_asked_for(self, make, run) -> None:
        few, many = (make().generate(item(), TASTE, n=n, dial=0.5, run=run) for n in (1, 5))
        apart = np.abs(np.asarray(few[0].image, dtype=int) - np.asarray(many[0].image, dtype=int))
        assert apart.max() <= 1  # batches of other sizes round otherwise


def test_the_balance_guides_and_reads_only_what_is_not_left_out(folder, run) -> None:
    def drawn(taste: VisualTaste, **options: Any) -> np.ndarray:
        chosen = {"weights": str(folder), "steps": 2, "eye": 64, "taste": 0.0, **options}
        (made,) = make_generator("embedded", chosen).generate(item(), taste, n=1, dial=0.9, run=run)
        return np.asarray(made.image, dtype=int)

    own, other = TASTE, VisualTaste((), (item("21"),))
    apart = np.abs(drawn(own, without=["taste"]) - drawn(other, without=["taste"])).max()
    assert apart == 0  # the history is left out, of conditions and of guidance
    left = ["keywords", "soft"]
    assert np.abs(drawn(own, without=left) - drawn(own, without=left, balance=0.0)).max() > 0
    assert np.abs(drawn(own, without=left) - drawn(other, without=left)).max() > 0
    unlike = item(vectors=item("8").vectors)  # pixels are the same, the vector is not
    (bare,) = make_generator("embedded", {"weights": str(folder), "steps": 2, "eye": 64, "without": ["all"]}).generate(
        unlike, TASTE, n=1, dial=0.9, run=run
    )
    assert np.abs(np.asarray(bare.image, dtype=int) - drawn(own, without=["all"])).max() == 0


def test_steps_lead_further_beyond_the_dial_s_middle_alone(folder, run) -> None:
    own = {"weights": str(folder), "steps": 2, "eye": 64, "balance": 0.3, "lean": 0.8}
    further, plain = (make_generator("embedded", {**own, **more}) for more in (
        {"reach": 3.0, "views": 0.5}, {"reach": 1.0, "views": 0.0}
    ))  # fmt: skip
    assert further.moves(0.5) == pytest.approx((0.4, 0.3, 0.0))
    assert further.moves(0.75) == pytest.approx((0.675, 0.6, 0.25))
    assert further.moves(1.0) == pytest.approx((1.0, 0.9, 0.5))
    same = []
    for dial in (0.5, 0.9):
        one, other = (generator.generate(item(), TASTE, n=1, dial=dial, run=run)[0] for generator in (further, plain))
        same.append(one.image.tobytes() == other.image.tobytes())
    assert same == [True, False]


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


def test_weights_that_cannot_be_written_leave_nothing_behind(folder, tmp_path) -> None:
    flow, facts, _ = read_weights(folder / FLOW, FlowTransformer)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match="cannot be written"):
        save_weights(tmp_path / "file" / FLOW, flow, facts)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_weights_come_back_as_they_were_rounded_to_half(folder) -> None:
    flow, facts, extra = read_weights(folder / FLOW, FlowTransformer)
    assert facts["held_out_rule"] == RULE
    assert set(extra) == {"text_mean", "text_basis", "picture_mean", "picture_basis", "scale"}
    with safe_open(folder / FLOW, "pt") as file:
        for name, value in flow.state_dict().items():
            assert file.get_tensor(f"module/{name}").dtype == torch.float16
            assert value.equal(file.get_tensor(f"module/{name}").float())


class Counting:
    """Stands for an encoder; counts what it is asked."""

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


def test_what_is_not_known_is_encoded(folder, run) -> None:
    text, picture = Counting(384), Counting(1280)
    reader = Reader(load_weights(folder).space, 2, 2, run=run, encoders=(text, picture))
    given, _ = reader.conditions(item(text="A plot", vectors={}), VisualTaste((), (item("3", text="", vectors={}),)))
    assert (text.asked, picture.asked) == (1, 2)
    assert given.on[0].tolist() == [True, True, True, False, True, True]


def test_the_nearest_of_a_history_are_found_and_unknown_ones_come_last() -> None:
    texts = np.array([[1.0, 0], [0, 1], [np.nan, np.nan], [0.9, 0.1]])
    assert nearest(np.array([1.0, 0]), texts, 3).tolist() == [0, 3, 1]
    assert nearest(np.array([1.0, 0]), texts, 9).tolist() == [0, 3, 1, 2]


def test_the_registry_knows_it() -> None:
    assert "embedded" in list(GENERATORS)
    with pytest.raises(ConfigError, match="stepss"):
        make_generator("embedded", {"stepss": 3})


def test_a_flipped_bit_of_weights_is_said(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    whole = (tmp_path / FLOW).read_bytes()
    load_weights(tmp_path)
    for place in (len(whole) // 2, len(whole) - 1, 200):  # numbers, and the facts
        (tmp_path / FLOW).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ArtifactError, match=rf"{FLOW}: missing, changed or damaged"):
            load_weights(tmp_path)
    (tmp_path / FLOW).write_bytes(whole)
    load_weights(tmp_path)
    assert sorted(path.name for path in FOLDER.glob("*.sha256")) == [
        f"{path.name}.sha256" for path in sorted(FOLDER.glob("*.safetensors"))
    ]
