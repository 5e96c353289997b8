"""Text-to-image pipelines of ``diffusers``, from a folder or by name from the hub: safetensors only, no code of theirs.

Importing this imports neither torch nor diffusers.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from recsys.core.errors import ArtifactError, ConfigError
from recsys.items.hub import Pretrained, quiet_transformers

INDEX = "model_index.json"
PLAIN = ("*.fp16*", "*.bf16*", "*.non_ema*", "*onnx*", "*openvino*")  # not fetched where the plain weights are


class Repository(Pretrained):
    """Part of a hub repository, or a folder; nothing is read or fetched before it is asked for.

    Args:
        model: folder, or name on the hub.
        revision: commit, tag or branch on the hub; unset: what the local cache holds, else the newest.
        mark: a file that tells whether the cache holds it.
        patterns: what is fetched.
        unused: of which this is not.
    """

    def __init__(
        self, model: str, revision: str | None, mark: str, patterns: Sequence[str], unused: Sequence[str] = ()
    ) -> None:
        super().__init__(model, revision)
        self.mark, self.patterns, self.unused = mark, patterns, unused

    @classmethod
    def pipeline(cls, model: str, revision: str | None, variant: str) -> Repository:
        """Return a pipeline's: the weights of its components, not the single files that lie beside them."""
        weights = f"*/*.{variant}*.safetensors" if variant else "*/*.safetensors"
        patterns = (INDEX, "*/*.json", "*/*.txt", "*/*.model", weights)
        return cls(model, revision, INDEX, patterns, () if variant else PLAIN)

    @classmethod
    def adapter(cls, model: str, revision: str | None, file: str, encoder: str) -> Repository:
        """Return an IP-Adapter's: its weights and its image encoder."""
        return cls(model, revision, file, (file, f"{encoder}/*.json", f"{encoder}/*.safetensors"))

    @cached_property
    def commit(self) -> str:
        """The 40 hex digits that the name and revision stand for; a known one is not asked for again."""
        if re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
            return self.revision
        with self.explained():
            from huggingface_hub import HfApi, try_to_load_from_cache

            kept = try_to_load_from_cache(self.model, self.mark, revision=self.revision)
            return Path(kept).parents[self.mark.count("/")].name if isinstance(kept, str) else self._asked(HfApi())

    @cached_property
    def folder(self) -> Path:
        """Where its files lie, fetched now if need be.

        Raises:
            ArtifactError: it cannot be fetched.
        """
        if self.is_folder:
            return Path(self.model)
        with self.explained(), quiet_transformers():
            from huggingface_hub import snapshot_download

            kept = snapshot_download(
                self.model, revision=self.commit, allow_patterns=list(self.patterns), ignore_patterns=list(self.unused)
            )
            return Path(kept)

    @contextlib.contextmanager
    def explained(self, part: str = "") -> Iterator[None]:
        """Turn whatever the libraries raise into an error that names model, cause and remedy."""
        try:
            yield
        except ArtifactError:
            raise
        except Exception as error:
            told = self._error(error, part)
            raise ArtifactError(told.thing, told.cause, told.remedy) from error


def diffusers_version() -> str:
    """Return the version of diffusers.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return metadata.version("diffusers")
    except metadata.PackageNotFoundError:
        raise ConfigError(
            "visual generator 'diffusers'",
            "the package diffusers is not installed",
            'Install it: pip install "recsys[diffusers]"',
        ) from None


def load_pipeline(source: Repository, dtype: str, variant: str, device: Any) -> Any:
    """Return the pipeline that draws from text alone.

    Raises:
        ConfigError: diffusers is not installed.
        ArtifactError: it cannot be fetched, is damaged, or draws no pictures from text.
    """
    diffusers_version()
    folder = str(source.folder)
    with source.explained("pipeline"), quiet():
        import torch
        from diffusers import AutoPipelineForText2Image

        return AutoPipelineForText2Image.from_pretrained(
            folder, dtype=getattr(torch, dtype), variant=variant or None,
            use_safetensors=True, local_files_only=True, trust_remote_code=False,
        ).to(device)  # fmt: skip


def add_adapter(pipeline: Any, source: Repository, subfolder: str, weight_name: str, encoder: str) -> None:
    """Give a pipeline an IP-Adapter, which lets it look at pictures.

    Args:
        pipeline: with a U-Net.
        source: of the adapter.
        subfolder: of its weights.
        weight_name: their file.
        encoder: folder of its image encoder, from the repository's root.

    Raises:
        ConfigError: this kind of pipeline takes none.
        ArtifactError: it cannot be fetched, is damaged, or is made for another model.
    """
    if not (hasattr(pipeline, "load_ip_adapter") and hasattr(pipeline, "unet")):
        raise ConfigError(
            f"IP-Adapter {source.model!r}",
            f"a {type(pipeline).__name__} takes none with an image encoder beside it",
            'Set ip_adapter.model = "" in visuals.options.diffusers, or name a model of Stable Diffusion 1.5 or XL.',
        )
    folder = str(source.folder)
    with source.explained("IP-Adapter"), quiet():
        pipeline.load_ip_adapter(
            folder, subfolder=subfolder, weight_name=weight_name,
            image_encoder_folder=f"./{encoder}", local_files_only=True,
        )  # fmt: skip


def from_pictures(pipeline: Any) -> Any:
    """Return the pipeline of the same weights that begins from a picture, by a ``strength``, or ``None``."""
    from diffusers import AutoPipelineForImage2Image

    try:
        with quiet():
            found = AutoPipelineForImage2Image.from_pipe(pipeline)
    except ValueError:  # diffusers knows none for this class
        return None
    return found if "strength" in accepted(found) else None


def accepted(pipeline: Any) -> frozenset[str]:
    """Return the names of what a call of a pipeline takes."""
    return frozenset(inspect.signature(pipeline.__call__).parameters)


def call(pipeline: Any, given: Mapping[str, Any], seeds: Sequence[int]) -> list[Any]:
    """Return one RGB picture a seed, ``None`` in place of one that the pipeline's safety checker flagged.

    Args:
        pipeline: of either kind.
        given: prompt and the like; what the pipeline does not take is left out.
        seeds: each alone makes the noise of its picture, drawn on the CPU, whatever else is in the batch.

    Raises:
        ConfigError: the device's memory does not hold it.
    """
    import torch

    known = accepted(pipeline)
    noise = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    try:
        with quiet():
            made = pipeline(
                **{name: value for name, value in given.items() if name in known},
                num_images_per_prompt=len(seeds), generator=noise,
            )  # fmt: skip
    except torch.OutOfMemoryError as error:
        remedy = "Set batch_size=1, dtype=float16, or a smaller height and width in visuals.options.diffusers."
        raise ConfigError("drawing with diffusers", "the device's memory does not hold it", remedy) from error
    flagged = getattr(made, "nsfw_content_detected", None) or [False] * len(seeds)
    return [None if bad else image.convert("RGB") for image, bad in zip(made.images, flagged, strict=True)]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back progress bars and advice of diffusers and transformers; they would repeat what the prompt says."""
    from diffusers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with quiet_transformers():
            yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
