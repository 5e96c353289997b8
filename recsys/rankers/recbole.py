"""Any general or sequential model of RecBole 1.2.1, trained on our split, its epoch chosen by our validator.

Zhao et al., "RecBole: Towards a Unified, Comprehensive and Efficient
Framework for Recommendation Algorithms", CIKM 2021. Data loading, model,
loss, optimiser and early stopping are RecBole's; split, seen items, ties and
metrics are ours. What RecBole needs to run today is in ``recbole_compat``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError, RankerError
from recsys.core.protocols import Validator
from recsys.core.runtime import Run, stopwatch
from recsys.core.values import FitLog, Histories, Interactions, ItemFeatures, Query
from recsys.rankers import recbole_compat as compat
from recsys.rankers import recbole_parts as parts

if TYPE_CHECKING:
    import torch


class RecBole:
    """A RecBole model as a ranker.

    General models know the users of their training data and no others: they
    are told apart by ``Query.user_idx`` and ``Query.histories`` is not looked at.
    Sequential models read the last ``MAX_ITEM_LIST_LENGTH`` items of the history,
    so never-seen users work, except in the few that embed users as well (Caser,
    FPMC, HGN, …). An unknown user without history has given nothing to go by, nor has an
    empty sequence: all items then score 0.

    ``score`` refuses whom the model does not know, as a list from elsewhere would pass for
    the model's own; ``can_score`` says who that is. Evaluation asks it, shows those users the
    train's most popular items and counts them: in splits by time, users first seen in validation.

    Item features are not used. A restored ranker runs on the CPU.
    """

    class Settings(BaseSettings):
        model: str = Field("BPR", description="RecBole's name of a general or sequential model (LightGCN, SASRec, …).")
        params: dict[str, Any] = Field(default_factory=dict, description="RecBole's parameters of that model.")
        epochs: int = Field(300, ge=1, description="At most this many passes over the training data.")
        train_batch_size: int = Field(2048, ge=1, description="Interactions a training step, negatives included.")
        eval_every: int = Field(1, ge=1, description="Validate after every so many epochs.")
        stopping_step: int = Field(10, ge=0, description="Stop after more than this many validations without gain.")
        score_batch_size: int = Field(512, ge=1, description="Queries scored at a time.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kind = compat.check_model(settings.model)
        compat.check_params(settings.model, settings.params)
        self._fitted: _Fitted | None = None

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None = None, run: Run) -> FitLog:
        """Train; keep the weights of the best validation (of the last epoch without ``valid``).

        Raises:
            ConfigError: a parameter value that RecBole refuses.
            RankerError: nothing to learn from, or RecBole gives up (a loss that is NaN).
        """
        settings, seed = self.settings, run.key("recbole", self.settings.model)
        with stopwatch() as times, compat.recbole_session(seed):
            started = time.perf_counter()
            fitted, dataset = self._build(self._rows(train), seed, run.torch_device())
            compat.seed_all(seed)
            trainer = parts.make_trainer(fitted.config, fitted.model, _Validated)
            ticks = run.bar(range(trainer.epochs), f"RecBole {settings.model}", trainer.epochs)
            trainer.follow(self, valid, ticks, started)
            self._fitted, done = fitted, False  # set already, for the validator to score
            try:
                trainer.fit(parts.make_loader(fitted.config, dataset), valid, verbose=False)
                done = True
            except (ValueError, RuntimeError, ModuleNotFoundError) as error:  # RuntimeError: torch, NotImplemented
                if trainer.validating:
                    raise
                raise self._gave_up(error) from error
            finally:
                self._fitted = fitted if done else None
            if trainer.best_state:
                parts.load_model(fitted.model, trainer.best_state)
        one_shot = fitted.config["MODEL_TYPE"].name == "TRADITIONAL"
        return FitLog(trainer.rows, 0 if one_shot else trainer.best_epoch or trainer.last_epoch, trainer.best, **times)

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n, n_items]``.

        Raises:
            RankerError: a query that it cannot score, or scores that are not finite.
        """
        fitted = self._require_fitted()
        query = self._known_users(query, fitted)
        n = len(query)
        scores = np.empty((n, fitted.rows.n_items), dtype=np.float32)
        n_batches = -(-n // self.settings.score_batch_size)
        with compat.recbole_session(fitted.seed):
            fitted.model.eval()
            for rows in np.array_split(np.arange(n), n_batches) if n else ():  # no small rest: it would round otherwise
                scores[rows] = self._score_batch(fitted, query.take(rows))
        if not np.isfinite(scores).all():
            raise RankerError(
                f"RecBole {self.settings.model}", "it gives scores that are not finite", "Lower its learning_rate."
            )
        return scores

    def can_score(self, query: Query) -> np.ndarray:
        """Return which queries ``score`` does not refuse, bool ``[n]``.

        Refused is whoever has a history that a model with a row for each user has not been trained on: in general
        models all newcomers, and users of the data set without train interactions (their row was never learned).
        """
        fitted = self._require_fitted()
        if self.kind == compat.SEQUENTIAL and not compat.embeds_users(self.settings.model):
            return np.ones(len(query), dtype=bool)
        return _trained(query, fitted) | (np.diff(query.histories.indptr) == 0)

    def state(self) -> dict[str, np.ndarray]:
        fitted = self._require_fitted()
        rows = {"rows/indptr": fitted.rows.indptr, "rows/items": fitted.rows.items}
        numbers = {"seed": np.array([fitted.seed]), "n_items": np.array([fitted.rows.n_items])}
        return {**rows, **numbers, **parts.dump_model(fitted.model)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Rebuild the model as it was built for training, then load what it had learned.

        Closed forms are computed once more on the way, because RecBole does so where it makes the model.
        """
        import torch

        rows = Histories(state["rows/indptr"], state["rows/items"], int(state["n_items"][0]))
        seed = int(state["seed"][0])
        with compat.recbole_session(seed):
            self._fitted, _ = self._build(rows, seed, torch.device("cpu"))
            parts.load_model(self._fitted.model, state)

    def _rows(self, train: Interactions) -> Histories:
        """Sequences in time order; for general models, each pair once."""
        if self.kind == compat.SEQUENTIAL:
            rows = train.histories
        else:
            matrix = train.matrix
            rows = Histories(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), train.n_items)
        needed = 2 if self.kind == compat.SEQUENTIAL else 1
        if not (np.diff(rows.indptr) >= needed).any():
            what = "no user has two interactions in sequence" if needed == 2 else "there are no train interactions"
            raise RankerError(f"RecBole {self.settings.model}", what, "Check the split and the filters of the data.")
        return rows

    def _build(self, rows: Histories, seed: int, device: torch.device) -> tuple[_Fitted, Any]:
        """Return the untrained model, and the data set that it trains on."""
        settings = self.settings
        params = {
            **settings.params,
            "epochs": settings.epochs,
            "train_batch_size": settings.train_batch_size,
            "eval_step": settings.eval_every,
            "stopping_step": settings.stopping_step,
        }
        try:
            config = parts.make_config(settings.model, params, seed, device)
            dataset = parts.make_dataset(config, rows)
            compat.seed_all(seed)
            model = parts.make_model(config, dataset)
        except ModuleNotFoundError as error:
            raise self._gave_up(error) from error
        except (ValueError, TypeError, KeyError, AssertionError, RuntimeError) as error:
            raise ConfigError(
                f"RecBole {settings.model}", f"it refuses its parameters: {error}", "See ranker.params."
            ) from error
        return _Fitted(rows, seed, config, model), dataset

    def _gave_up(self, error: Exception) -> RankerError:
        remedy = "See ranker.params: a smaller learning_rate, other negatives."
        if isinstance(error, ModuleNotFoundError):
            remedy = f"Install it: pip install {compat.PACKAGES.get(error.name, error.name)}"
        return RankerError(f"RecBole {self.settings.model}", str(error), remedy)

    def _require_fitted(self) -> _Fitted:
        if self._fitted is None:
            raise RankerError(f"RecBole {self.settings.model}", "it is not fitted", "Call fit or restore first.")
        return self._fitted

    def _known_users(self, query: Query, fitted: _Fitted) -> Query:
        """Return the query with -1 for every user without a row in the model; refuse them where a row is needed."""
        refused = np.flatnonzero(~self.can_score(query))
        if len(refused):
            raise RankerError(
                f"RecBole {self.settings.model}",
                f"query {refused[0]} is not a user of the training data, and this model knows those alone",
                "Train again with that user, or use a ranker that folds users in: ease, item_knn, sasrec.",
            )
        return Query(query.histories, np.where(_trained(query, fitted), query.user_idx, -1))

    def _score_batch(self, fitted: _Fitted, query: Query) -> np.ndarray:
        """Return ``[n, n_items]``, RecBole's column of the padding item taken away."""
        import torch

        batch = parts.make_batch(fitted.config, query, sequential=self.kind == compat.SEQUENTIAL)
        with torch.no_grad():
            scores = parts.full_scores(fitted.model, batch, fitted.rows.n_items + 1)  # [n, n_items + 1]
        scores = scores[:, 1:].float().cpu().numpy()
        nothing = np.diff(query.histories.indptr) == 0
        if self.kind != compat.SEQUENTIAL:
            nothing &= query.user_idx < 0
        return np.where(nothing[:, None], np.float32(0.0), scores)


@dataclass(frozen=True)
class _Fitted:
    """All that is needed to score, and to build the same again."""

    rows: Histories
    seed: int
    config: Any
    model: Any


def _trained(query: Query, fitted: _Fitted) -> np.ndarray:
    """Return which users have interactions in the training data, bool ``[n]``."""
    idx, lengths = query.user_idx, np.diff(fitted.rows.indptr)
    inside = (idx >= 0) & (idx < len(lengths))
    return inside & (lengths[np.where(inside, idx, 0)] > 0)


class _Validated:
    """Put before a RecBole trainer: validates with our evaluator and keeps the best state in memory."""

    def follow(self, ranker: RecBole, valid: Validator | None, ticks: Any, started: float) -> None:
        self.ranker, self.valid, self.ticks, self.started = ranker, valid, iter(ticks), started
        self.rows: list[dict[str, Any]] = []
        self.best_state: dict[str, np.ndarray] = {}
        self.best: dict[str, float] = {}
        self.best_epoch = self.last_epoch = 0
        self.validating = False

    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        next(self.ticks, None)
        self.last_epoch = epoch_idx + 1
        return super()._train_epoch(train_data, epoch_idx, *args, **kwargs)  # type: ignore[misc]

    def _valid_epoch(self, valid_data: Validator, show_progress: bool = False) -> tuple[float, dict[str, float]]:
        self.validating = True
        metrics = dict(valid_data(self.ranker))
        self.validating = False
        loss = self.train_loss_dict[self.last_epoch - 1]  # type: ignore[attr-defined]
        wall = time.perf_counter() - self.started
        self.rows.append({"epoch": self.last_epoch, "loss": float(loss), **metrics, "wall_s": wall})
        return metrics[valid_data.metric], metrics

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        if self.valid is not None and self.rows:
            row = self.rows[-1]
            self.best = {key: row[key] for key in row if key not in ("epoch", "loss", "wall_s")}
            self.best_epoch, self.best_state = epoch + 1, parts.dump_model(self.model)  # type: ignore[attr-defined]
