"""A tiny language model over the titles of a small world, and that world with titles that tell the block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import torch

from recsys.core.values import Split

from worlds import blocks

THEMES = ("space", "love", "crime", "west")
SPECIAL = ("<pad>", "<unk>", "</s>")


def titled(n_blocks: int = 4, **sizes: int) -> Split:
    """``worlds.blocks`` whose titles say the block: ``space 3``, ``love 7``."""
    split = blocks(n_blocks, **sizes)
    n_items = len(split.dataset.items)
    titles = [f"{THEMES[item % n_blocks]} {item // n_blocks}" for item in range(n_items)]
    table = split.dataset.item_table.with_columns(pl.Series("title", titles))
    return replace(split, dataset=replace(split.dataset, item_table=table))


def tiny(split: Split, seed: int = 0, width: int = 32, words: Sequence[str] = ()) -> tuple[Any, Any]:
    """Return a randomly initialised Llama and a word tokenizer that knows the titles' words, and ``words``."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    said = {word for title in split.dataset.item_table["title"] for word in title.split()}
    numbers = {word: place for place, word in enumerate([*SPECIAL, *sorted(said | {"next", ":", *words})])}
    raw = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", pad_token="<pad>", eos_token="</s>", padding_side="left"
    )
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(numbers), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.2,
        bos_token_id=None, eos_token_id=numbers["</s>"], pad_token_id=numbers["<pad>"],
    )  # fmt: skip
    return LlamaForCausalLM(config), tokenizer
