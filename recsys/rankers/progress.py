"""The epochs' ends of a training: validation, early stopping, the best weights, the checkpoint, the bar."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from recsys.core.errors import RankerError
from recsys.core.fingerprint import fingerprint
from recsys.core.runtime import Run
from recsys.rankers.checkpoint import flatten, load_checkpoint, restore_optimizer, save_checkpoint

if TYPE_CHECKING:
    from recsys.rankers.training import TrainingSettings

FACTS = ("epoch", "waited", "done", "rows", "best", "best_epoch")  # what a checkpoint holds besides tensors


class Progress:
    """Where a training is, and what is kept of it; see ``fit_module`` for the arguments."""

    def __init__(
        self, module, settings: TrainingSettings, validate, metric, run: Run, title: str, data: str, second
    ) -> None:
        from tqdm import tqdm

        self.module, self.settings, self.validate, self.metric, self.run = module, settings, validate, metric, run
        self.second = second
        self.data, self.wall_s, self.cpu_s = data, 0.0, 0.0  # what earlier runs of an interrupted training took
        self.helpers_s = 0.0  # CPU seconds of other processes in this run
        self.title, self.start, self.epoch, self.waited, self.done = title, 0, 0, 0, False
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, float] = {}
        self.best_epoch = 0
        self.best_state: dict[str, torch.Tensor] | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.moments: Mapping[str, torch.Tensor] | None = None  # of an interrupted run
        self.began, self.losses, self.steps, self.loggers = (time.perf_counter(), time.process_time()), 0.0, 0, []
        self.bar = tqdm(total=settings.epochs, desc=title, unit="epoch", disable=not run.progress, dynamic_ncols=True)

    def spent(self) -> tuple[float, float]:
        """Return wall and CPU seconds so far, those of interrupted runs included."""
        wall, cpu = self.began
        return self.wall_s + time.perf_counter() - wall, self.cpu_s + self.helpers_s + time.process_time() - cpu

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        if self.moments is not None:
            restore_optimizer(optimizer, self.moments)

    def add_loss(self, value: torch.Tensor) -> None:
        self.losses, self.steps = self.losses + value, self.steps + 1

    def end_epoch(self) -> bool:
        """Return whether training should stop here."""
        loss = float(self.losses) / max(self.steps, 1)
        self.losses, self.steps, self.epoch = 0.0, 0, self.epoch + 1
        if not loss == loss or abs(loss) == float("inf"):
            raise RankerError(
                f"ranker {self.title}", f"the loss became {loss} in epoch {self.epoch}", "Lower ranker.learning_rate."
            )
        last = self.epoch >= self.settings.epochs
        if self.epoch % self.settings.eval_every == 0 or last:
            self._validate(loss)
            self.done = last or self.waited >= self.settings.patience
            self._save()
        self.bar.update()
        return self.done

    def _validate(self, loss: float) -> None:
        row = {"epoch": self.epoch, "loss": loss, "wall_s": round(self.spent()[0], 3)}
        if self.validate is not None:
            self.module.eval()
            with torch.no_grad():
                row |= {name: float(value) for name, value in self.validate().items()}
            self.module.train()
        self.rows.append(row)
        self.log(row)
        if self.validate is None or not self.best or row[self.metric] > self.best[self.metric]:
            self.best = {key: value for key, value in row.items() if key not in ("epoch", "loss", "wall_s")}
            self.best_epoch, self.waited = self.epoch, 0
            self.best_state = {key: value.detach().clone() for key, value in self.module.state_dict().items()}
        else:
            self.waited += 1
        shown = {"loss": f"{loss:.4f}"}
        if self.validate is not None:
            shown |= {self.metric: f"{row[self.metric]:.4f}", "best": f"{self.best[self.metric]:.4f}"}
        self.bar.set_postfix(shown, refresh=False)

    def log(self, row: Mapping[str, float]) -> None:
        for logger in self.loggers:
            logger.log_metrics({key: value for key, value in row.items() if key != "epoch"}, step=row["epoch"])

    def finish(self) -> None:
        if self.best_state is not None:
            self.module.load_state_dict(self.best_state)
        self.module.eval()

    # -- checkpoint ------------------------------------------------------------------------------------------

    def _identity(self) -> str:
        shapes = {key: list(value.shape) for key, value in self.module.state_dict().items()}
        settings = self.settings.model_dump(mode="json", exclude={"devices"})  # who goes on need not be as many
        return fingerprint([self.title, settings, self.run.seed, shapes, self.metric, self.data])

    def _save(self) -> None:
        if self.run.folder is None:
            return
        parts = {"model": self.module.state_dict(), "best": self.best_state, "optimizer": flatten(self.optimizer)}
        if self.second is not None:
            parts["second"] = flatten(self.second)
        facts = {name: getattr(self, name) for name in FACTS}
        facts["wall_s"], facts["cpu_s"] = self.spent()
        save_checkpoint(self.run.folder, parts, facts, self._identity())

    def resume(self) -> None:
        """Continue from the folder's checkpoint, if it is of this very run."""
        self.module.train()
        found = load_checkpoint(self.run.folder, self._identity(), self.run.log) if self.run.folder else None
        if found is None:
            return
        parts, facts = found
        self.module.load_state_dict(parts["model"])
        self.best_state, self.moments = parts["best"], parts["optimizer"]
        if self.second is not None:
            restore_optimizer(self.second, parts["second"])
        for name in (*FACTS, "wall_s", "cpu_s"):
            setattr(self, name, facts[name])
        self.start = self.epoch
        self.bar.update(self.epoch)
        self.run.log(f"continuing {self.title} after epoch {self.epoch}")


def open_logger(kind: str, run: Run, progress: Progress) -> Any:
    """Return Lightning's logger of that kind, or ``False``; rows of an interrupted run are written again."""
    if kind == "none" or run.folder is None:
        return False
    from lightning.pytorch import loggers

    maker = loggers.CSVLogger if kind == "csv" else loggers.TensorBoardLogger
    logger = maker(save_dir=str(run.folder), name="log", version="")
    progress.loggers.append(logger)
    for row in progress.rows:  # of an interrupted run
        progress.log(row)
    return logger
