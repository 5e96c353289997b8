"""The prior as it is shipped, and the check that it knows users as the generator beside it does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from recsys.core.errors import ArtifactError
from recsys.visuals.prior import Prior
from recsys.visuals.shipped import FLOW, FOLDER, check_weights, read_weights, save_weights
from recsys.visuals.taste import NAMES, TasteSpace

PRIOR = "prior.safetensors"
ROUGH = 1e-2  # numbers of two spaces that differ by more are two spaces, not one rounded twice


def save_prior(path: Path, prior: Prior, facts: Mapping[str, Any], space: TasteSpace) -> None:
    """Write a prior, and the space that its users lie in.

    Raises:
        ArtifactError: the file cannot be written; an earlier one stays whole.
    """
    save_weights(path, prior, facts, space.state())


def load_prior(folder: Path = FOLDER) -> tuple[Prior, dict[str, Any]]:
    """Return the prior, in evaluation mode, and its facts.

    Raises:
        ArtifactError: missing, damaged, or learned with another space of users than the flow's in that folder.
    """
    prior, facts, space = read_weights(folder / PRIOR, Prior)
    beside = _space_of(folder / FLOW)
    same = set(NAMES) <= space.keys() & beside.keys() and all(
        space[name].shape == beside[name].shape and bool((space[name] - beside[name]).abs().max() < ROUGH)
        for name in NAMES
    )
    if not same:
        raise ArtifactError(
            f"weights {folder / PRIOR}", "the prior was learned with another space of users than the flow",
            "Train it anew: experiments/poster_generator/train.py prior",
        )  # fmt: skip
    return prior, facts


def _space_of(path: Path) -> dict[str, torch.Tensor]:
    """Return the space that the flow's weights carry, without reading the others."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(check_weights(path), "pt") as file:
            names = [name for name in file.keys() if name.startswith("extra/")]  # noqa: SIM118 - not a mapping
            return {name.removeprefix("extra/"): file.get_tensor(name).float() for name in names}
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"weights {path}", f"missing, damaged or of something else ({error})", "Install the package again."
        ) from error
