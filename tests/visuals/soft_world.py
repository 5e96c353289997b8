"""A tiny language model, a tiny soft half, and pairs of users and targets for them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from recsys.visuals.soft_half import START, SoftHalf, SoftHalfSettings, Told, Trunk

WIDTH, DIM = 32, 8
SPECIAL = ("<pad>", "<unk>", "</s>")
SIZES = SoftHalfSettings(width=WIDTH, layers=1, prefix=2, queries=2, items=3, hidden=16, soft_dim=DIM)


def language_model(seed: int = 0) -> tuple[Any, Any]:
    """A random Llama of two layers and a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    said = f"{START} This person likes: . They liked: A poster of for this person: war love space , pictures".split()
    numbers = {word: place for place, word in enumerate(dict.fromkeys([*SPECIAL, *said, ":", "."]))}
    raw = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", pad_token="<pad>", eos_token="</s>")
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(numbers), hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.2, bos_token_id=None,
        eos_token_id=numbers["</s>"], pad_token_id=numbers["<pad>"],
    )  # fmt: skip
    return LlamaForCausalLM(config), tokenizer


def told(n: int = 6, seed: int = 0) -> Told:
    """Pairs with prompts and histories of different lengths."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(seed))
    there = torch.arange(3)[None] < (torch.arange(n) % 4)[:, None]
    keywords = [["war", "love", "space"][: row % 4] for row in range(n)]
    titles = [" ".join(["war love"] * (1 + row % 3)) for row in range(n)]
    return Told(keywords, titles, draw(n, DIM), draw(n, 3, DIM // 2), there)


def started(trunk: Trunk, sizes: SoftHalfSettings = SIZES, seed: int = 0) -> SoftHalf:
    torch.manual_seed(seed)
    half = SoftHalf(sizes)
    half.begin(trunk, told(24, seed=9))
    return half
