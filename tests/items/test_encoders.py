"""Encoders of transformers give what the model itself gives; pooling, spaces and errors are right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from tiny_models import SIGHT, picture

from recsys.core.errors import ConfigError, EncoderError
from recsys.items import make_encoder
from recsys.items.encoders.dual import Dual
from recsys.items.encoders.sentence import Sentence
from recsys.items.encoders.vision import Vision
from recsys.items.pixels import PlainPixels, image_processor

TEXTS = ["red shoe", "a quiet film of the garden", "kettle"]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def states(folder: Path, model, text: str) -> np.ndarray:
    """Last hidden states ``[length, hidden]`` of one text alone, without padding."""
    import torch
    from transformers import AutoTokenizer

    with torch.inference_mode():
        tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
        return model(**tokens).last_hidden_state[0].numpy()


# -- sentences ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "set_to", "expected"),
    [
        (None, "auto", "mean"), ("cls_token", "auto", "cls"), ("lasttoken", "auto", "last"),
        ("mean_tokens", "auto", "mean"), ("cls_token", "last", "last"),
    ],
)  # fmt: skip
def test_sentence_pools_as_the_model_says(tmp_path, run, told, set_to, expected) -> None:
    model = tiny_models.bert(tmp_path / "m", told)
    rows = Sentence(Sentence.Settings(model=str(tmp_path / "m"), pooling=set_to)).encode(TEXTS, run=run)
    take = {"mean": lambda x: x.mean(0), "cls": lambda x: x[0], "last": lambda x: x[-1]}[expected]
    wanted = np.stack([take(states(tmp_path / "m", model, text)) for text in TEXTS])
    np.testing.assert_allclose(rows, unit(wanted), atol=1e-6)
    assert rows.dtype == np.float32


def test_sentence_prefix_and_length(tmp_path, run) -> None:
    folder = tmp_path / "m"
    model = tiny_models.bert(folder)
    settings = Sentence.Settings(model=str(folder), prefix="passage ", normalise=False)
    rows = Sentence(settings).encode(["red shoe"], run=run)
    np.testing.assert_allclose(rows[0], states(folder, model, "passage red shoe").mean(0), atol=1e-6)
    long = Sentence(settings.model_copy(update={"max_tokens": 8})).encode(["red " * 50, "red " * 5], run=run)
    np.testing.assert_allclose(long[0], long[1], atol=1e-6)  # both are cut to [CLS] passage red … [SEP]


def test_texts_longer_than_is_read_are_known_without_the_weights(tmp_path) -> None:
    folder = tmp_path / "m"
    tiny_models.bert(folder)
    tiny_models.save_tokenizer(folder, length=512)
    (folder / "model.safetensors").unlink()
    encoder = Sentence(Sentence.Settings(model=str(folder), prefix="passage ", max_tokens=10))
    texts = ["red " * 7, "red " * 8, "", "red" * 500, "red " * 5000, "kettle " + " " * 5000 + "film"]
    read, longer = encoder.cut(texts)  # [CLS] passage … [SEP]: seven words are read
    assert read == 10
    assert longer.tolist() == [False, True, False, False, True, False]


def test_a_dual_encoder_reads_as_many_tokens_as_it_has_positions(tmp_path) -> None:
    folder = tmp_path / "m"
    model = tiny_models.dual(folder, "CLIP")
    read, longer = Dual(Dual.Settings(model=str(folder))).cut(["red " * 200, "red"])
    assert read == model.config.text_config.max_position_embeddings
    assert longer.tolist() == [True, False]


def test_sentence_left_padding_does_not_matter(tmp_path, run) -> None:
    folder = tmp_path / "m"
    model = tiny_models.bert(folder, "lasttoken")
    tiny_models.save_tokenizer(folder, padding_side="left")
    encoder = Sentence(Sentence.Settings(model=str(folder)))
    tokens = encoder._tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert tokens["attention_mask"][0, 0] == 0  # so padding is on the left indeed
    from recsys.items.hub import pooled, token_states

    for how, place in (("last", -1), ("cls", 0)):
        hidden = token_states(model, tokens)
        rows = pooled(hidden, tokens["attention_mask"], how)
        start = int(tokens["attention_mask"][0].argmax())
        np.testing.assert_array_equal(rows[0], hidden[0, start:][place])


def test_sentence_dense_layers_are_part_of_the_model(tmp_path, run) -> None:
    from safetensors.numpy import save_file

    folder = tmp_path / "m"
    model = tiny_models.bert(folder, "mean_tokens")
    weight = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    (folder / "2_Dense").mkdir()
    save_file({"linear.weight": weight, "linear.bias": np.ones(4, np.float32)}, folder / "2_Dense/model.safetensors")
    config = {"in_features": 16, "out_features": 4, "activation_function": "torch.nn.modules.activation.Tanh"}
    (folder / "2_Dense/config.json").write_text(json.dumps(config))
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    rows = Sentence(Sentence.Settings(model=str(folder))).encode(["red hat"], run=run)
    wanted = np.tanh(weight @ states(folder, model, "red hat").mean(0) + 1)
    np.testing.assert_allclose(rows, unit(wanted[None]), atol=1e-6)
    (folder / "modules.json").write_text(json.dumps([*modules, {"path": "3", "type": "x.models.LSTM"}]))
    with pytest.raises(EncoderError, match="LSTM"):
        Sentence(Sentence.Settings(model=str(folder))).encode(["red hat"], run=run)


# -- one space for both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["CLIP", "Siglip", "Siglip2"])
def test_dual_gives_what_the_model_gives(tmp_path, run, kind) -> None:
    import torch
    from transformers import AutoTokenizer

    folder = tmp_path / "m"
    model = tiny_models.dual(folder, kind)
    encoder = Dual(Dual.Settings(model=str(folder), batch_size=2))
    texts, pictures = encoder.encode(TEXTS, "text", run=run), [picture("red"), picture("blue"), picture("green")]
    images = encoder.encode(pictures, "image", run=run)
    assert texts.shape == images.shape  # one space
    np.testing.assert_allclose(np.linalg.norm(np.vstack([texts, images]), axis=1), 1.0, rtol=1e-5)
    tokenizer, padding = AutoTokenizer.from_pretrained(folder), kind != "CLIP" and "max_length"
    tokens = tokenizer(TEXTS[0], padding=padding, max_length=12, return_tensors="pt")
    mask = {"attention_mask": tokens["attention_mask"]} if kind == "CLIP" else {}
    with torch.inference_mode():
        text = model.get_text_features(input_ids=tokens["input_ids"], **mask).pooler_output.numpy()
        image = model.get_image_features(**image_processor(folder)(images=pictures[:1], return_tensors="pt"))
    np.testing.assert_allclose(texts[0], unit(text)[0], atol=1e-5)
    np.testing.assert_allclose(images[0], unit(image.pooler_output.numpy())[0], atol=1e-5)
    assert abs(images[0] - images[1]).max() > 1e-4  # they tell pictures apart


def test_dual_refuses_a_model_without_a_shared_space(tmp_path, run) -> None:
    tiny_models.bert(tmp_path / "m")
    with pytest.raises(EncoderError, match="no space that texts and pictures share"):
        Dual(Dual.Settings(model=str(tmp_path / "m"))).encode(TEXTS, "text", run=run)


# -- pictures ----------------------------------------------------------------------------------------------------

TOKENS = {"mean": lambda x, n: x[:, n:].mean(1), "cls": lambda x, n: x[:, 0]}


@pytest.mark.parametrize(
    ("kind", "pixels", "options", "leading"),
    [
        ("ViT", "ViTImageProcessor", SIGHT, 1),
        ("Dinov2", "BitImageProcessor", SIGHT, 1),
        ("DINOv3ViT", "DINOv3ViTImageProcessor", {**SIGHT, "num_register_tokens": 4}, 5),
    ],
)
def test_vision_pools_tokens(tmp_path, run, kind, pixels, options, leading) -> None:
    import torch

    folder, pictures = tmp_path / "m", [picture("red"), picture("blue", (30, 50))]
    model = tiny_models.backbone(folder, kind, pixels, **options)
    given = image_processor(folder)(images=pictures, return_tensors="pt")
    assert given["pixel_values"].shape == (2, 3, 32, 32)
    with torch.inference_mode():
        output = model(**given)
    for how in ("cls", "mean", "auto"):
        rows = Vision(Vision.Settings(model=str(folder), pooling=how, batch_size=1)).encode(pictures, run=run)
        wanted = output.pooler_output if how == "auto" else TOKENS[how](output.last_hidden_state, leading)
        np.testing.assert_allclose(rows, unit(wanted.numpy()), atol=1e-5)


def test_vision_convolutions(tmp_path, run) -> None:
    folder = tmp_path / "m"
    sizes = {"hidden_sizes": [4, 8, 8, 16], "depths": [1, 1, 1, 1]}
    tiny_models.backbone(folder, "ConvNext", "ViTImageProcessor", **sizes)
    rows = Vision(Vision.Settings(model=str(folder))).encode([picture()], run=run)
    assert rows.shape == (1, 16)
    with pytest.raises(EncoderError, match="no trained cls"):
        Vision(Vision.Settings(model=str(folder), pooling="cls")).encode([picture()], run=run)


def test_vision_never_uses_a_pooler_that_was_not_trained(tmp_path, run) -> None:
    import transformers

    folder = tmp_path / "m"
    tiny_models.backbone(folder, "ViT", "ViTImageProcessor", **SIGHT)
    bare = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False)
    bare.save_pretrained(folder)
    wanted = Vision(Vision.Settings(model=str(folder), pooling="cls")).encode([picture()], run=run)
    np.testing.assert_array_equal(Vision(Vision.Settings(model=str(folder))).encode([picture()], run=run), wanted)
    with pytest.raises(EncoderError, match="no trained pooler"):
        Vision(Vision.Settings(model=str(folder), pooling="pooler")).encode([picture()], run=run)


def test_vision_takes_the_seeing_half_of_a_dual_encoder(tmp_path, run) -> None:
    tiny_models.dual(tmp_path / "m", "Siglip")
    rows = Vision(Vision.Settings(model=str(tmp_path / "m"))).encode([picture()], run=run)
    assert rows.shape == (1, 16)


def test_plain_pixels_are_those_of_transformers() -> None:
    """Where both can do it: the same sizes, crops and numbers (but for 8-bit rounding between the steps)."""
    from transformers import CLIPImageProcessorPil

    theirs = CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 20, "width": 28})
    ours = PlainPixels(json.loads(theirs.to_json_string()))
    for size in ((60, 40), (33, 70), (24, 24)):
        wanted = np.asarray(theirs(images=[picture(size=size)], return_tensors="np")["pixel_values"])
        made = ours(images=[picture(size=size)])["pixel_values"].numpy()
        assert made.shape == wanted.shape == (1, 3, 20, 28)
        np.testing.assert_allclose(made, wanted, atol=1.1 / 255 / 0.26)  # two roundings


# -- loading -----------------------------------------------------------------------------------------------------


def test_identity_follows_the_content_of_a_folder(tmp_path) -> None:
    tiny_models.bert(tmp_path / "a")
    tiny_models.bert(tmp_path / "b")
    first, second = (Sentence(Sentence.Settings(model=str(tmp_path / name))).identity() for name in "ab")
    assert first == second
    config = tmp_path / "b" / "tokenizer_config.json"
    config.write_text(config.read_text() + " ")
    assert Sentence(Sentence.Settings(model=str(tmp_path / "b"))).identity() != first


def test_weights_that_lack_parameters_are_refused(tmp_path, run) -> None:
    from safetensors.numpy import load_file, save_file

    tiny_models.bert(tmp_path)
    file = tmp_path / "model.safetensors"
    kept = {name: x for name, x in load_file(file).items() if "layer.1.attention" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"lack \d+ parameters of a BertModel"):
        Sentence(Sentence.Settings(model=str(tmp_path))).encode(TEXTS, run=run)


def test_pickled_weights_and_code_are_refused(tmp_path, run) -> None:
    import torch

    model = tiny_models.bert(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="weights of model"):
        Sentence(Sentence.Settings(model=str(tmp_path / "m"))).encode(TEXTS, run=run)
    tiny_models.bert(tmp_path / "n")
    config = json.loads((tmp_path / "n" / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (tmp_path / "n" / "config.json").write_text(json.dumps(config))
    (tmp_path / "n" / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(EncoderError):
        Sentence(Sentence.Settings(model=str(tmp_path / "n"))).encode(TEXTS, run=run)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["sentence", "vision", "dual"])
def test_an_unknown_model_is_explained(name, monkeypatch, run) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    encoder = make_encoder(name, "image" if name == "vision" else "text", {"model": "nobody/nothing-at-all"})
    with pytest.raises(EncoderError) as caught:
        encoder.identity()
    assert "nobody/nothing-at-all" in str(caught.value)
    assert "hf download nobody/nothing-at-all" in caught.value.remedy
    with pytest.raises(EncoderError, match="no folder here"):
        make_encoder("sentence", "text", {"model": "./not/here"}).identity()


def test_a_model_must_be_named() -> None:
    with pytest.raises(ConfigError, match=r"items\.options\.dual\.model"):
        make_encoder("dual", "image", {})


def test_a_real_model_gives_what_the_packaged_encoder_gives(run) -> None:
    from recsys.items.embedded import package_folder
    from recsys.items.encoders.minilm import DISTRIBUTION, PACKAGE, MiniLM

    folder = package_folder(PACKAGE, DISTRIBUTION) / "model"
    texts = ["Space horror", "A tender love story in Paris, told twice"]
    rows = Sentence(Sentence.Settings(model=str(folder))).encode(texts, run=run)
    np.testing.assert_allclose(rows, MiniLM(MiniLM.Settings()).encode(texts, run=run), atol=1e-6)
