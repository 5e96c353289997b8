"""Any sentence encoder of ``transformers``, pooled as its authors say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import EncoderError
from recsys.core.runtime import Run
from recsys.items.hub import Pretrained, batched, longer_than, pooled, to_rows, token_states

# ``word_embedding_dimension`` and the like aside, what a ``1_Pooling/config.json`` may turn on.
POOLINGS = {
    "pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last", "pooling_mode_max_tokens": "max",
}  # fmt: skip
KNOWN_MODULES = ("Transformer", "Pooling", "Dense", "Normalize")
ACTIVATIONS = ("Identity", "Tanh")


class Sentence:
    """Token states pooled to one vector a text, as sentence-transformers does (Reimers & Gurevych, EMNLP 2019)."""

    modalities = ("text",)

    class Settings(BaseSettings):
        model: str = Field(description="Name on the hub, such as intfloat/multilingual-e5-small, or a folder.")
        revision: str | None = Field(None, description="Commit, tag or branch; unset: the cached one, else the newest.")
        pooling: Literal["auto", "mean", "cls", "last", "max"] = Field(
            "auto", description="How token states become one vector; auto: as the model's 1_Pooling says, else mean."
        )
        prefix: str = Field("", description="Put before every text, where the model was trained so: 'passage: '.")
        normalise: bool = Field(True, description="Scale vectors to length 1.")
        max_tokens: int | None = Field(None, ge=8, description="Longer texts are cut there; unset: as the model says.")
        batch_size: int = Field(32, ge=1, description="Texts encoded at a time.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pretrained = Pretrained(settings.model, settings.revision)

    def identity(self) -> str:
        return self._pretrained.identity

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = self._pretrained.tokenizer()
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def _loaded(self) -> tuple[Any, list[Any]]:
        model, _ = self._pretrained.weights(optional="pooler")
        if model.config.is_encoder_decoder:
            model = model.get_encoder()
        return model, self._dense()

    @cached_property
    def _pooling(self) -> str:
        if self.settings.pooling != "auto":
            return self.settings.pooling
        told = self._read("1_Pooling/config.json", {})
        if not told:
            return "mean"
        modes = [POOLINGS.get(name, name) for name, on in told.items() if name.startswith("pooling_mode_") and on]
        modes = [told["pooling_mode"]] if "pooling_mode" in told else modes
        if len(modes) != 1 or modes[0] not in POOLINGS.values():
            raise EncoderError(
                f"model {self.settings.model!r}", f"pools by {' and '.join(map(str, modes)) or 'nothing known'}",
                "Set options.sentence.pooling to mean, cls, last or max, or choose another model.",
            )  # fmt: skip
        return modes[0]

    def _dense(self) -> list[Any]:
        """Return the layers after pooling; a kind that is not known is refused rather than left out."""
        modules = self._read("modules.json", [])
        unknown = [m["type"] for m in modules if m["type"].rpartition(".")[2] not in KNOWN_MODULES]
        if unknown:
            raise EncoderError(
                f"model {self.settings.model!r}", f"has a part {unknown[0]}, which is not known here", "Choose another."
            )
        with self._pretrained.explained("dense layer"):
            folder = self._pretrained.folder
            return [_dense(folder / m["path"]) for m in modules if m["type"].rpartition(".")[2] == "Dense"]

    def _read(self, name: str, default: Any) -> Any:
        file = self._pretrained.folder / name
        with self._pretrained.explained(name):
            return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else default

    @cached_property
    def _longest(self) -> int:
        """Where texts are cut: never beyond the model's own positions."""
        recorded, config = self._read("sentence_bert_config.json", {}).get("max_seq_length"), self._pretrained.config()
        positions = getattr(config, "max_position_embeddings", None)
        if positions and getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "mpnet", "camembert"):
            positions -= 2  # counted from behind the padding's position
        wanted = self.settings.max_tokens or recorded or 512
        return min(number for number in (wanted, self._tokenizer.model_max_length, positions) if number)

    def cut(self, texts: Sequence[str]) -> tuple[int, np.ndarray]:
        """Return how many tokens are read of a text, and which are longer."""
        prefixed = [self.settings.prefix + text for text in texts]
        return self._longest, longer_than(self._tokenizer, prefixed, self._longest)

    def encode(self, contents: Sequence[str], modality: str = "text", *, run: Run) -> np.ndarray:
        """Return float32 ``[n_texts, dim]``, rows of length 1 unless ``normalise`` is off.

        Raises:
            EncoderError: the model cannot be loaded.
        """
        tokenizer, (model, dense) = self._tokenizer, self._loaded
        device, parts, longest = run.torch_device(), [], self._longest
        model.to(device)
        for batch in batched([self.settings.prefix + text for text in contents], self.settings.batch_size):
            tokens = tokenizer(batch, padding=True, truncation=True, max_length=longest, return_tensors="pt").to(device)
            rows = pooled(token_states(model, tokens), tokens["attention_mask"], self._pooling)  # [B, hidden]
            for layer in dense:
                rows = layer(rows)
            parts.append(to_rows(rows, normalise=self.settings.normalise))
        return np.concatenate(parts)


def _dense(folder: Path) -> Any:
    """Return one dense layer of sentence-transformers, as a function of ``[B, in]``."""
    import torch
    from safetensors.torch import load_file

    config, state = json.loads((folder / "config.json").read_text("utf-8")), load_file(folder / "model.safetensors")
    name = config.get("activation_function", "Identity").rpartition(".")[2]
    if name not in ACTIVATIONS:
        raise ValueError(f"its activation {name} is not known here")
    weight, bias = state["linear.weight"], state.get("linear.bias")

    def layer(rows: Any) -> Any:
        made = torch.nn.functional.linear(rows, weight.to(rows), None if bias is None else bias.to(rows))  # [B, out]
        return made.tanh() if name == "Tanh" else made

    return layer
