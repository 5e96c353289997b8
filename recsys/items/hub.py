"""Models of ``transformers``, from a folder or by name from the hub: safetensors only, none of their code is run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recsys.core.errors import EncoderError
from recsys.core.fingerprint import fingerprint
from recsys.core.hashing import file_hash
from recsys.core.runtime import Run

# What is fetched and hashed: weights, configurations, tokenizers. Never pickles, never code.
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
SPECIAL, WORD = 8, 32  # tokens that are put around a text, and of one word, at most
BEGINNING = 8  # characters a token: seldom are there more
UNUSED = ("onnx/*", "openvino/*", "*.fp16.safetensors", "*/checkpoint-*", "checkpoint-*")


class Pretrained:
    """One model, by folder or by hub name; nothing is read or fetched before it is asked for.

    Args:
        model: a folder that holds a model, or a name on the hub such as ``"openai/clip-vit-base-patch32"``.
        revision: commit, tag or branch on the hub; unset: what the local cache holds, else the newest.
    """

    def __init__(self, model: str, revision: str | None = None) -> None:
        self.model, self.revision = model, revision

    @property
    def is_folder(self) -> bool:
        return Path(self.model).is_dir()

    @cached_property
    def identity(self) -> str:
        """The commit of a hub model, or a hash of a folder's configuration, weights and tokenizer.

        Raises:
            EncoderError: no such folder or hub model, or the hub cannot be reached and the cache has none.
        """
        if not self.is_folder:
            return f"{self.model}@{self.commit}"
        root = Path(self.model)
        files = {str(file.relative_to(root)): file_hash(file) for pattern in FILES for file in root.rglob(pattern)}
        return f"folder {fingerprint(files)}"

    @cached_property
    def commit(self) -> str:
        """The 40 hex digits that the name and revision stand for; a known one is not asked for again."""
        if re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
            return self.revision
        with self.explained():
            from huggingface_hub import HfApi, try_to_load_from_cache

            kept = try_to_load_from_cache(self.model, "config.json", revision=self.revision)
            return Path(kept).parent.name if isinstance(kept, str) else self._asked(HfApi())

    def _asked(self, api: Any) -> str:
        return api.model_info(self.model, revision=self.revision).sha

    @cached_property
    def folder(self) -> Path:
        """Where its files lie, fetched now if need be.

        Raises:
            EncoderError: it cannot be fetched.
        """
        if self.is_folder:
            return Path(self.model)
        with self.explained(), quiet_transformers():
            from huggingface_hub import snapshot_download

            kept = snapshot_download(self.model, revision=self.commit, allow_patterns=FILES, ignore_patterns=UNUSED)
            return Path(kept)

    def tokenizer(self) -> Any:
        """Return the model's tokenizer."""
        from transformers import AutoTokenizer

        with self.explained("tokenizer"), quiet_transformers():
            return AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True, trust_remote_code=False)

    def config(self) -> Any:
        """Return the model's configuration, without its weights."""
        from transformers import AutoConfig

        with self.explained("configuration"), quiet_transformers():
            return AutoConfig.from_pretrained(str(self.folder), local_files_only=True, trust_remote_code=False)

    def pixels(self) -> Any:
        """Return the model's image processor, called as ``(images=[…], return_tensors="pt")``; needs Pillow only."""
        from recsys.items.pixels import image_processor

        with self.explained("image processor"), quiet_transformers():
            return image_processor(self.folder)

    def weights(self, kind: str = "AutoModel", optional: str = "$^", **options: Any) -> tuple[Any, set[str]]:
        """Return the model, ready to infer in float32, and which of its parameters the file did not hold.

        Args:
            kind: class of ``transformers`` that opens it.
            optional: pattern of parameters that may be missing, for they are not used then.
            options: handed on to ``from_pretrained``.

        Raises:
            EncoderError: no safetensors, damaged ones, an architecture that is not known here, or parameters missing.
        """
        import torch
        import transformers

        with self.explained("weights"), quiet_transformers():
            model, told = getattr(transformers, kind).from_pretrained(
                str(self.folder), local_files_only=True, trust_remote_code=False, use_safetensors=True,
                output_loading_info=True, **{"dtype": torch.float32, **options},
            )  # fmt: skip
        missing = set(told["missing_keys"])
        needed = sorted(name for name in missing if not re.search(optional, name))
        if needed:
            raise EncoderError(
                f"model {self.model!r}",
                f"its weights lack {len(needed)} parameters of a {type(model).__name__}, such as {needed[0]}",
                "Name a model that is complete, or an encoder of another kind (sentence, vision, dual).",
            )
        return model.eval(), missing

    @contextlib.contextmanager
    def explained(self, part: str = "") -> Iterator[None]:
        """Turn whatever the hub's and the model's readers raise into an error that names model, cause and remedy."""
        try:
            yield
        except EncoderError:
            raise
        except Exception as error:  # the libraries raise OSError, ValueError, KeyError, ImportError, their own …
            raise self._error(error, part) from error

    def _error(self, error: Exception, part: str) -> EncoderError:
        thing = f"{part} of model {self.model!r}" if part else f"model {self.model!r}"
        names = {kind.__name__ for kind in type(error).__mro__}
        download = f"Where there is a network run: hf download {self.model}; or give a folder that holds the model."
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:300]
        if part and isinstance(error, ImportError):
            remedy = "Install what it needs (for a model that also reads video: torchvision), or choose another model."
            return EncoderError(thing, f"cannot be loaded ({first})", remedy)
        if part:
            return EncoderError(thing, f"cannot be loaded ({first})", "Check that the model is of the right kind.")
        if "HFValidationError" in names or self.model.startswith((".", "/", "~")):
            return EncoderError(thing, "is no folder here and no name on the hub", "Check the path or the name.")
        if "GatedRepoError" in names:
            remedy = "Accept it on the model's page, then run: hf auth login; or choose another model."
            return EncoderError(thing, "is given only to those who accepted its licence", remedy)
        if "RevisionNotFoundError" in names:
            return EncoderError(thing, f"has no revision {self.revision!r}", "Check the setting revision.")
        if "RepositoryNotFoundError" in names:
            remedy = "Check the spelling; for a private one run: hf auth login."
            return EncoderError(thing, "is not on the hub, or is private", remedy)
        return EncoderError(
            thing, f"is no folder, not in the local cache, and the hub does not give it ({first})", download
        )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back progress bars and advice of transformers and its hub: they go to standard error, asked or not."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging

    shown, level, hub = logging.is_progress_bar_enabled(), logging.get_verbosity(), not are_progress_bars_disabled()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
        if hub:
            enable_progress_bars()


def longer_than(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> np.ndarray:
    """Return which texts have more tokens than that, special ones included; bool ``[n]``.

    A text with fewer bytes than that has fewer tokens, too, and of a long one the beginning shows it.
    """
    longer = np.zeros(len(texts), dtype=bool)
    asked = [row for row, text in enumerate(texts) if len(text.encode()) + SPECIAL > max_tokens]
    for length in (BEGINNING * max_tokens, None):  # characters looked at
        open_rows = []
        for rows in batched(asked, 1024):
            given = [texts[row][:length] for row in rows]
            sizes = map(len, tokenizer(given, return_attention_mask=False, verbose=False)["input_ids"])
            for row, size, text in zip(rows, sizes, given, strict=True):
                whole = len(text) == len(texts[row])
                # Where a beginning ends inside of a word, that word may have more tokens than it has in the whole text.
                longer[row] = size > max_tokens + (0 if whole else WORD)
                if not (whole or longer[row]):
                    open_rows.append(row)
        asked = open_rows
    return longer


def features_of(output: Any) -> Any:
    """Return the ``[B, dim]`` tensor of what ``get_text_features`` and the like give: a tensor, or an output object."""
    return getattr(output, "pooler_output", output)


def batched(contents: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of ``size`` contents, the last one shorter."""
    for start in range(0, len(contents), size):
        yield list(contents[start : start + size])


def to_rows(features: Any, *, normalise: bool = True) -> np.ndarray:
    """Return a tensor ``[B, dim]`` as float32 rows, of length 1 if so wished."""
    import torch

    features = features.float()
    return (torch.nn.functional.normalize(features, dim=1) if normalise else features).cpu().numpy()


def pooled(hidden: Any, mask: Any, how: str) -> Any:
    """Return ``[B, hidden]`` of token states ``[B, length, hidden]``.

    Args:
        hidden: last hidden states.
        mask: ``[B, length]``, 0 = padding, on whichever side.
        how: ``"mean"``, ``"cls"`` (the first token), ``"last"`` or ``"max"``.
    """
    import torch

    rows, length = torch.arange(len(hidden), device=hidden.device), mask.shape[1]
    if how == "cls":
        return hidden[rows, mask.argmax(1)]
    if how == "last":
        return hidden[rows, length - 1 - mask.flip(1).argmax(1)]
    weight = mask.unsqueeze(-1).to(hidden.dtype)  # [B, length, 1]
    if how == "max":
        return hidden.masked_fill(weight == 0, float("-inf")).amax(1)
    return (hidden * weight).sum(1) / weight.sum(1)


def token_states(model: Any, tokens: Mapping[str, Any]) -> Any:
    """Return the last hidden states ``[B, length, hidden]``."""
    import torch

    with torch.inference_mode():
        return model(**tokens).last_hidden_state


def mean_pooled(
    tokenizer: Any, model: Any, texts: Sequence[str], batch_size: int, max_tokens: int, *, run: Run
) -> np.ndarray:
    """Return float32 ``[n, hidden]``: the mean of the last hidden states over the tokens, scaled to length 1."""
    device = run.torch_device()
    model.to(device)
    parts = []
    for batch in batched(texts, batch_size):
        tokens = tokenizer(batch, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt").to(device)
        parts.append(to_rows(pooled(token_states(model, tokens), tokens["attention_mask"], "mean")))
    return np.concatenate(parts)
