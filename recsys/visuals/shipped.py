"""Weights as they are shipped: float16 safetensors that say what they were learned from."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from recsys.core.config import Settings
from recsys.core.errors import ArtifactError
from recsys.core.hashing import digest_of, is_whole, keep_digest
from recsys.data.item_parts import RULE
from recsys.visuals.autoencoder import Autoencoder
from recsys.visuals.taste import TasteSpace
from recsys.visuals.transformer import FlowTransformer

FOLDER = Path(__file__).parent / "weights"
AUTOENCODER, FLOW = "autoencoder.safetensors", "flow.safetensors"
FORMAT = "1"
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class GeneratorWeights:
    """All that the embedded generator needs.

    Attributes:
        autoencoder, flow: in evaluation mode.
        space: of user vectors.
        facts: of each file: what it was trained on, steps, commit, settings, the held-out rule.
    """

    autoencoder: Autoencoder
    flow: FlowTransformer
    space: TasteSpace
    facts: Mapping[str, Mapping[str, Any]]


def save_weights(
    path: Path, module: nn.Module, facts: Mapping[str, Any], extra: Mapping[str, Any] | None = None
) -> None:
    """Write a module with its settings, the held-out rule and ``facts``; ``extra`` are further arrays.

    Raises:
        ArtifactError: the file cannot be written; an earlier one stays whole.
    """
    from safetensors.torch import save_file

    tensors = {f"module/{key}": value.detach().cpu().half().contiguous() for key, value in module.state_dict().items()}
    tensors |= {f"extra/{key}": torch.as_tensor(value).half().contiguous() for key, value in (extra or {}).items()}
    told = {"settings": module.settings.model_dump(mode="json"), "held_out_rule": RULE, **facts}
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, draft, metadata={"format": FORMAT, "facts": json.dumps(told, sort_keys=True)})
        digest_of(path).unlink(missing_ok=True)
        os.replace(draft, path)
        keep_digest(path)
    except Exception as error:  # safetensors has an error class of its own for a full disk
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise ArtifactError(
            f"weights {path}", f"cannot be written ({error})", "Free some space and try again."
        ) from error


def check_weights(path: Path) -> Path:
    """Return the path of weights that have the hash which lies beside them; those of earlier versions have none.

    Raises:
        ArtifactError: they were changed or damaged.
    """
    try:
        damaged = is_whole(path) is False
    except OSError:
        damaged = True
    if damaged:
        raise ArtifactError(f"weights {path}", "missing, changed or damaged", "Install the package again.")
    return path


def read_weights(path: Path, kind: type[M]) -> tuple[M, dict[str, Any], dict[str, torch.Tensor]]:
    """Return the module in evaluation mode, the facts and the extra arrays, float32.

    Raises:
        ArtifactError: missing, damaged, or of another kind of module.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(check_weights(path), "pt") as file:
            facts = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a mapping
        settings: type[Settings] = kind.Settings
        with torch.random.fork_rng(devices=[]):
            module = kind(settings.model_validate(facts["settings"]))
        module.load_state_dict({name.removeprefix("module/"): t for name, t in tensors.items() if name[:6] == "module"})
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"weights {path}", f"missing, damaged or of something else ({error})", "Install the package again."
        ) from error
    extra = {name.removeprefix("extra/"): tensor for name, tensor in tensors.items() if name.startswith("extra/")}
    return module.eval().requires_grad_(False), facts, extra


def load_weights(folder: Path = FOLDER) -> GeneratorWeights:
    """Return the generator's weights, by default those in the package.

    Raises:
        ArtifactError: a file is missing or damaged, or the two do not belong together.
    """
    autoencoder, about, _ = read_weights(folder / AUTOENCODER, Autoencoder)
    flow, facts, extra = read_weights(folder / FLOW, FlowTransformer)
    if facts.get("autoencoder") != about.get("id"):
        raise ArtifactError(
            f"weights {folder}", "the flow was learned with another autoencoder", "Export both from one training."
        )
    space = TasteSpace({name: value.numpy() for name, value in extra.items()})
    return GeneratorWeights(autoencoder, flow, space, {"autoencoder": about, "flow": facts})
