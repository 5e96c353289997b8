"""The flow as a library: one call from data set to a model that recommends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from recsys.runconfig import config_of, overridden, read_config
from recsys.serving.recommender import Recommender
from recsys.workflow import Workflow


def train(
    config: str | Path | Mapping[str, Any] | None = None,
    *overrides: str,
    known: Literal["all", "train+valid", "train"] = "all",
    progress: bool = False,
) -> Recommender:
    """Prepare the data, split it, train the ranker, and return it ready to recommend.

    Steps that were made before are reused.

    Args:
        config: TOML file of the run, or its sections as plain values; ``None`` for the defaults (EASE on ml-100k).
        overrides: settings on top, such as ``"ranker.name=lightgcn"``.
        known: what users are known to have taken when they are asked for; ``"all"`` in use,
            ``"train+valid"`` to leave the test part to be found.
        progress: show progress bars.

    Raises:
        RecsysError: a setting, a file or a value that cannot be used.
    """
    workflow = _workflow(config, overrides, progress=progress)
    trained = workflow.train()
    workflow.store.renew(trained)
    return Recommender.load(trained.path, artifacts=workflow.store.root, known=known)


def load(
    ranker: str | Path,
    config: str | Path | Mapping[str, Any] | None = None,
    *overrides: str,
    known: Literal["all", "train+valid", "train"] = "all",
) -> Recommender:
    """Open a trained ranker, by the rule of the command line (see ``recsys.ranker_names``).

    Args:
        ranker: a name, which means a ranker trained on the run's data and split, or exactly one artifact: its folder,
            its key, or both as the folder is called (``ease-0123456789ab``).
        config, overrides, known: as in ``train``.

    Raises:
        RecsysError: there is no such ranker, or a setting cannot be used.
    """
    workflow = _workflow(config, overrides)
    return Recommender.load(workflow.find_ranker(ranker).path, artifacts=workflow.store.root, known=known)


def _workflow(config: str | Path | Mapping[str, Any] | None, overrides: Sequence[str], **options: bool) -> Workflow:
    if isinstance(config, Mapping):
        settings = config_of(overridden(dict(config), overrides))
    else:
        settings = read_config(Path(config) if config else None, overrides)
    workflow = Workflow(settings, **options)
    workflow.asked = overrides
    return workflow
