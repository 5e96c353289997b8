"""Models of other libraries, each trained by itself in an environment of its own, measured like any ranker.

Training is the library's: a process of its own Python (``peers/work.py``) reads who took what and hands over arrays
that its scores follow from: vectors, or item weights. Seen items, ties, metrics and the choice of settings are ours.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError, RankerError, did_you_mean
from recsys.core.protocols import Validator
from recsys.core.runtime import Run
from recsys.core.values import FitLog, Interactions, ItemFeatures, Query
from recsys.rankers.peers import cornac_worker, implicit_worker, lenskit_worker
from recsys.rankers.peers.handed import HandedOver
from recsys.rankers.peers.process import train_in

WORKERS: dict[str, ModuleType] = {"implicit": implicit_worker, "cornac": cornac_worker, "lenskit": lenskit_worker}


class Peer:
    """A model of implicit, Cornac or LensKit, on one thread.

    Neighbour models, EASE and alternating least squares fold in anybody by the history, as their libraries do; of the
    latter, implicit's gives users with just their train history the vector that was trained. The others know only the
    users of train (``can_score``).
    """

    class Settings(BaseSettings):
        library: str = Field("implicit", description="implicit, cornac or lenskit.")
        model: str = Field("ALS", description="A model by the library's own name: ALS, BPR, EASE, VAECF, ItemKNN …")
        params: dict[str, Any] = Field({}, description="Its parameters by the library's own names.")

    def __init__(self, settings: Settings) -> None:
        _check(settings)
        self.settings = settings
        self._fitted: HandedOver | None = None

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Let the library train. Seconds are those of its own fit, without start and hand-over.

        Raises:
            PeerError: its environment is missing or not as pinned.
            RankerError: there is nothing to learn from, the model failed, or made numbers that are not finite.
        """
        if not len(train):
            raise RankerError(self._name, "there are no train interactions", "Check the split and the filters.")
        with tempfile.TemporaryDirectory(prefix="recsys-peer-") as folder:
            self._hand_over(Path(folder), train, run)
            seconds = train_in(self.settings.library, WORKERS[self.settings.library], Path(folder))
            made = _made(Path(folder))
        if bad := [name for name, array in made.items() if not np.isfinite(array).all()]:
            raise RankerError(self._name, f"its {bad[0]} has numbers that are not finite", "Try other ranker.params.")
        self._fitted = HandedOver({**made, "lengths": train.user_counts})
        return FitLog(best=dict(valid(self)) if valid else {}, **seconds)

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n, n_items]``.

        Raises:
            RankerError: a query that it cannot score.
        """
        refused = np.flatnonzero(~self.can_score(query))
        if len(refused):
            cause = f"query {refused[0]} is not a user of the training data, and this model knows those alone"
            raise RankerError(self._name, cause, "Use a model that folds users in: ALS, EASE, neighbours.")
        return self._require_fitted().score(query)

    def can_score(self, query: Query) -> np.ndarray:
        """Return which queries ``score`` does not refuse, bool ``[n]``."""
        return self._require_fitted().knows(query)

    def state(self) -> dict[str, np.ndarray]:
        return dict(self._require_fitted().arrays)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._fitted = HandedOver(dict(state))

    @property
    def _name(self) -> str:
        return f"{self.settings.library} {self.settings.model}"

    def _require_fitted(self) -> HandedOver:
        if self._fitted is None:
            raise RankerError(self._name, "it is not fitted", "Call fit or restore first.")
        return self._fitted

    def _hand_over(self, folder: Path, train: Interactions, run: Run) -> None:
        settings, matrix = self.settings, train.matrix
        seed = run.key("peer", settings.library, settings.model)
        job = {"model": settings.model, "params": settings.params, "seed": seed, "shape": matrix.shape}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        np.savez(folder / "train.npz", indices=matrix.indices.astype(np.int32), indptr=matrix.indptr.astype(np.int32))


def _made(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "made.npz", allow_pickle=False) as file:
        return {name: np.ascontiguousarray(file[name]) for name in file.files}


def _check(settings: Peer.Settings) -> None:
    """Refuse names that the library does not have, before it is asked.

    Raises:
        ConfigError: an unknown library, model or parameter.
    """
    if settings.library not in WORKERS:
        raise ConfigError(f"library {settings.library!r}", "no such peer", did_you_mean(settings.library, WORKERS))
    models = WORKERS[settings.library].MODELS
    if settings.model not in models:
        cause = "is not among its models that can be run here"
        raise ConfigError(f"{settings.library} {settings.model!r}", cause, did_you_mean(settings.model, models))
    for name in settings.params:
        if name not in models[settings.model]:
            remedy = did_you_mean(name, models[settings.model])
            raise ConfigError(f"setting ranker.params.{name}", f"{settings.model} has no such parameter", remedy)
