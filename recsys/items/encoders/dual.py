"""Any dual encoder of ``transformers``: CLIP, SigLIP, SigLIP 2 and others, texts and pictures in one space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from PIL.Image import Image
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import EncoderError
from recsys.core.runtime import Run
from recsys.items.hub import Pretrained, batched, features_of, longer_than, to_rows


class Dual:
    """Joint vectors of length 1 (CLIP: Radford et al., ICML 2021; SigLIP: Zhai et al., ICCV 2023; SigLIP 2, 2025)."""

    modalities = ("text", "image")

    class Settings(BaseSettings):
        model: str = Field(description="Name on the hub, such as openai/clip-vit-base-patch32, or a folder.")
        revision: str | None = Field(None, description="Commit, tag or branch; unset: the cached one, else the newest.")
        prefix: str = Field("", description="Put before every text, such as 'a photo of '.")
        batch_size: int = Field(16, ge=1, description="Texts or pictures encoded at a time.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pretrained = Pretrained(settings.model, settings.revision)

    def identity(self) -> str:
        return self._pretrained.identity

    @cached_property
    def _model(self) -> Any:
        model, _ = self._pretrained.weights()
        if not (hasattr(model, "get_text_features") and hasattr(model, "get_image_features")):
            raise EncoderError(
                f"model {self.settings.model!r}",
                f"is a {type(model).__name__}, which has no space that texts and pictures share",
                "Use the encoder sentence for texts or vision for pictures, or name a CLIP or SigLIP model.",
            )
        return model

    @cached_property
    def _tokenizer(self) -> Any:
        return self._pretrained.tokenizer()

    @cached_property
    def _pixels(self) -> Any:
        return self._pretrained.pixels()

    @cached_property
    def _config(self) -> Any:
        return self._pretrained.config()

    @property
    def _longest(self) -> int:
        return self._config.text_config.max_position_embeddings

    def cut(self, texts: Sequence[str]) -> tuple[int, np.ndarray]:
        """Return how many tokens are read of a text, and which are longer."""
        prefixed = [self.settings.prefix + text for text in texts]
        return self._longest, longer_than(self._tokenizer, prefixed, self._longest)

    def encode(self, contents: Sequence[str] | Sequence[Image], modality: str, *, run: Run) -> np.ndarray:
        """Return float32 ``[n, dim]``, rows of length 1; both modalities of a model lie in one space.

        Raises:
            EncoderError: the model cannot be loaded, or is no dual encoder.
        """
        import torch

        model, device, parts = self._model.to(run.torch_device()), run.torch_device(), []
        inputs, features = (
            (self._tokens, model.get_text_features) if modality == "text" else (self._images, model.get_image_features)
        )
        for batch in batched(contents, self.settings.batch_size):
            given = {name: tensor.to(device) for name, tensor in inputs(batch).items()}
            with torch.inference_mode():
                parts.append(to_rows(features_of(features(**given))))
        return np.concatenate(parts)

    def _tokens(self, texts: list[str]) -> Any:
        """SigLIP was trained on texts padded to full length, without a mask; the others leave padding out."""
        siglip = self._config.model_type.startswith("siglip")
        return self._tokenizer(
            [self.settings.prefix + text for text in texts],
            padding="max_length" if siglip else True, return_attention_mask=not siglip,
            truncation=True, max_length=self._longest, return_tensors="pt",
        )  # fmt: skip

    def _images(self, pictures: list[Image]) -> Any:
        return self._pixels(images=pictures, return_tensors="pt")
