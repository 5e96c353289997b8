"""Tiny models of transformers with random weights, saved as a hub repository would hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WORDS = ["red", "green", "blue", "shoe", "hat", "film", "a", "the", "of", "quiet", "garden", "kettle", "passage"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SIGHT = {**SIZES, "image_size": 32, "patch_size": 8}


def picture(colour: str | tuple = "red", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture that is not flat: cropping and resizing show."""
    ramp = np.linspace(0, 120, size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0])
    flat = np.asarray(Image.new("RGB", size, colour))
    return Image.fromarray(np.clip(flat.astype(int) // 2 + ramp[..., None], 0, 255).astype(np.uint8))


def save_tokenizer(folder: Path, length: int = 12, extra: tuple[str, ...] = (), **options: Any) -> Any:
    """Whole words; starts with [CLS], ends with [SEP]."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *extra]
    vocabulary = {word: place for place, word in enumerate([*marks, *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        eos_token="[SEP]", model_max_length=length, additional_special_tokens=list(extra), **options,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return tokenizer


def save(model: Any, folder: Path) -> Any:
    """Write a model; its weights are random, but the same every time."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for tensor in model.parameters():
        tensor.data = torch.randn(tensor.shape, generator=generator) * 0.2
    model.eval().save_pretrained(folder)
    return model


def save_pixels(folder: Path, kind: str = "CLIPImageProcessor", size: int = 32) -> None:
    square = {"height": size, "width": size}
    config = {
        "image_processor_type": kind, "do_resize": True, "size": square, "resample": 2,
        "do_center_crop": False, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25],
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(config))


def bert(folder: Path, pooling: str | None = None) -> Any:
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    config = transformers.BertConfig(vocab_size=30, max_position_embeddings=12, **SIZES)
    save_tokenizer(folder)
    if pooling:
        (folder / "1_Pooling").mkdir()
        modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "lasttoken")}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16} | modes))
    return save(transformers.BertModel(config), folder)


def dual(folder: Path, kind: str) -> Any:
    """``kind``: CLIP, Siglip or Siglip2."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    text = {**SIZES, "vocab_size": 30, "max_position_embeddings": 12}
    if kind == "CLIP":
        marks = {"eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
        config = transformers.CLIPConfig(text_config=text | marks, vision_config=SIGHT, projection_dim=8)
    else:
        sight = dict(SIGHT)
        if kind == "Siglip2":
            sight = {**SIZES, "patch_size": 8, "num_patches": 16}
        config = getattr(transformers, f"{kind}Config")(text_config=text, vision_config=sight)
    save_tokenizer(folder)
    save_pixels(folder, f"{kind}ImageProcessor")
    if kind == "Siglip2":
        name = folder / "preprocessor_config.json"
        name.write_text(json.dumps(json.loads(name.read_text()) | {"patch_size": 8, "max_num_patches": 16}))
    return save(getattr(transformers, f"{kind}Model")(config), folder)


def backbone(folder: Path, kind: str, pixels: str, **options: Any) -> Any:
    """``kind``: ViT, Dinov2, DINOv3ViT, ConvNext …"""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    save_pixels(folder, pixels)
    config = getattr(transformers, f"{kind}Config")(**options)
    return save(getattr(transformers, f"{kind}Model")(config), folder)


CHAT = (
    "{% for turn in messages %}{{ '<user> ' if turn['role'] == 'user' else '<bot> ' }}{% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<bot> {% endif %}"
)


def seeing_and_reading(folder: Path) -> Any:
    """A LLaVA that chats, in words of ``WORDS``."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    sizes = {**SIZES, "vocab_size": 30, "max_position_embeddings": 1024, "num_key_value_heads": 2}
    tokenizer = save_tokenizer(folder, 1024, extra=("<image>", "<user>", "<bot>"))
    config = transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(**sizes), vision_config=transformers.CLIPVisionConfig(**SIGHT),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), vision_feature_layer=-2, image_seq_length=16,
    )  # fmt: skip
    save_pixels(folder)
    transformers.LlavaProcessor(
        transformers.AutoImageProcessor.from_pretrained(folder, backend="pil"), tokenizer, chat_template=CHAT,
        patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return save(transformers.LlavaForConditionalGeneration(config), folder)
