"""The flow as a library: one call from data set to a model that recommends."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from recsys.runconfig import read_config
from recsys.serving.recommender import Recommender
from recsys.workflow import Workflow


def train(
    config: str | Path | None = None,
    *overrides: str,
    known: Literal["all", "train+valid", "train"] = "all",
    progress: bool = False,
) -> Recommender:
    """Prepare the data, split it, train the ranker, and return it ready to recommend.

    Steps that were made before are reused.

    Args:
        config: TOML file of the run; ``None`` for the defaults (EASE on ml-100k).
        overrides: settings on top, such as ``"ranker.name=lightgcn"``.
        known: what users are known to have taken when they are asked for; ``"all"`` in use,
            ``"train+valid"`` to leave the test part to be found.
        progress: show progress bars.

    Raises:
        RecsysError: a setting, a file or a value that cannot be used.
    """
    workflow = Workflow(read_config(Path(config) if config else None, overrides), progress=progress)
    trained = workflow.train()
    return Recommender.load(trained.path, artifacts=workflow.store.root, known=known)
