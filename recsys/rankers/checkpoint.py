"""Checkpoints of a training run: one file, replaced in one step, so that a kill leaves the old one or the new."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from recsys.core.errors import ArtifactError

CHECKPOINT = "checkpoint.safetensors"
Tensors = Mapping[str, torch.Tensor]


def save_checkpoint(folder: Path, parts: Mapping[str, Tensors], facts: Mapping[str, Any], identity: str) -> None:
    """Write named groups of tensors and JSON facts.

    Raises:
        ArtifactError: the folder cannot be written; an earlier checkpoint stays whole.
    """
    from safetensors.torch import save_file

    tensors = {
        f"{part}/{key}": value.contiguous().clone() for part, group in parts.items() for key, value in group.items()
    }
    path, draft = folder / CHECKPOINT, folder / (CHECKPOINT + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(facts)
        check = _checksum(tensors, text)
        save_file(tensors, draft, metadata={"facts": text, "identity": identity, "check": check})
        os.replace(draft, path)
    except Exception as error:  # safetensors has an error class of its own for a full disk
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise ArtifactError(
            f"checkpoint {path}", f"cannot be written ({error})", "Free some space and run the same command again."
        ) from error


def _checksum(tensors: Tensors, facts: str) -> str:
    total = hashlib.sha256(facts.encode())
    for name, value in sorted(tensors.items()):
        total.update(f"\x00{name}\x00{value.dtype}\x00{tuple(value.shape)}\x00".encode())
        total.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def load_checkpoint(
    folder: Path, identity: str, log: Callable[[str], None]
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]] | None:
    """Return groups of tensors and facts; ``None`` when there is no checkpoint of this run."""
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    parts: dict[str, dict[str, torch.Tensor]] = {}
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
            if meta.get("identity") != identity:
                log(f"{path} belongs to other settings: starting afresh")
                return None
            for name in file.keys():  # noqa: SIM118 - not a mapping
                part, _, key = name.partition("/")
                parts.setdefault(part, {})[key] = file.get_tensor(name)
        tensors = {f"{part}/{key}": value for part, group in parts.items() for key, value in group.items()}
        if meta.get("check") != _checksum(tensors, meta["facts"]):
            raise ValueError("it was changed or damaged")
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        log(f"{path} cannot be read ({error}): starting afresh")
        return None
    return parts, json.loads(meta["facts"])


def flatten(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return an optimizer's moments and step counts as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": torch.as_tensor(value) for index, entry in state.items() for key, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: Tensors) -> None:
    """Put back what ``flatten`` returned."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in flat.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
