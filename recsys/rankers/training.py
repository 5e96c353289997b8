"""Training on Lightning, shared by every ranker that learns by gradient.

Lightning runs the steps; this file adds what a resumed run needs to end with the very
same weights: batches and dropout are functions of (seed, epoch), and a
checkpoint holds weights, optimizer, the best weights so far and the log in one file.
"""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import RankerError
from recsys.core.fingerprint import fingerprint
from recsys.core.runtime import Run
from recsys.core.values import FitLog
from recsys.rankers.checkpoint import flatten, load_checkpoint, restore_optimizer, save_checkpoint

FACTS = ("epoch", "waited", "done", "rows", "best", "best_epoch")  # what a checkpoint holds besides tensors


class TrainingSettings(BaseSettings):
    """Settings that every learned ranker has."""

    epochs: int = Field(300, ge=1, description="Passes over the training data at most.")
    batch_size: int = Field(2048, ge=1, description="Examples a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Step size of Adam.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay (AdamW) on every parameter.")
    eval_every: int = Field(1, ge=1, description="Epochs between validations.")
    patience: int = Field(10, ge=1, description="Validations without a new best before training stops.")
    logger: Literal["none", "csv", "tensorboard"] = Field("none", description="Where Lightning writes its log.")


def fit_module(
    module: torch.nn.Module,
    *,
    settings: TrainingSettings,
    batches: Callable[[int], Iterable[Any]],
    loss: Callable[[Any], torch.Tensor],
    validate: Callable[[], Mapping[str, float]] | None,
    metric: str | None,
    run: Run,
    title: str,
    data: str,
    second: torch.optim.Optimizer | None = None,
) -> FitLog:
    """Train ``module`` in place, keep its best weights by ``metric``, and return the log.

    Args:
        module: holds all parameters.
        settings: epochs, step size, patience.
        batches: ``epoch -> iterable of batches``; must depend on the seed and the epoch alone.
        loss: ``batch -> scalar``.
        validate: returns validation metrics of the current weights; ``None`` trains all epochs.
        metric: which of them to choose by; higher is better.
        run: seed, device, progress; with a folder, a checkpoint is kept there and continued from.
        title: for the progress bar.
        data: digest of the train interactions; a checkpoint of other data is not continued.
        second: an optimizer that ``loss`` steps itself, of a critic, say: its parameters (of ``module`` too) are
            left to it, and its moments are part of the checkpoint.

    Raises:
        RankerError: the loss is not finite.
        ArtifactError: the checkpoint cannot be written.
    """
    device = run.torch_device()
    module.to(device)
    progress = _Progress(module, settings, validate, metric, run, title, data, second)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _quiet():
        _fit(module, settings, batches, loss, progress, run)
    progress.finish()
    module.to(device)  # Lightning leaves it on the CPU
    n_parameters = sum(parameter.numel() for parameter in module.parameters())
    wall_s, cpu_s = progress.spent()
    return FitLog(progress.rows, progress.best_epoch, progress.best, wall_s, cpu_s, n_parameters)


def _fit(module: torch.nn.Module, settings: TrainingSettings, batches, loss, progress: _Progress, run: Run) -> None:
    import lightning

    progress.resume()
    if progress.done:
        return
    device = run.torch_device()
    trainer = lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        max_epochs=settings.epochs - progress.start,
        logger=_logger(settings.logger, run, progress),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
    )
    with progress.bar, _interruptible():
        trainer.fit(_loop(module, settings, batches, loss, progress, run))


def _loop(module: torch.nn.Module, settings: TrainingSettings, batches, loss, progress: _Progress, run: Run) -> Any:
    """Return the LightningModule (its class is made here, so that importing this file does not import Lightning)."""
    import lightning

    class Loop(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def configure_optimizers(self) -> torch.optim.Optimizer:
            optimizer = make_optimizer(module, settings, progress.second)
            progress.attach(optimizer)
            return optimizer

        def train_dataloader(self) -> Iterable[Any]:
            return _Epoch(batches, progress.start + self.current_epoch)

        def on_train_epoch_start(self) -> None:
            torch.manual_seed(run.key("epoch", progress.start + self.current_epoch))

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            value = loss(batch)
            progress.add_loss(value.detach())
            return value

        def on_train_epoch_end(self) -> None:
            if progress.end_epoch():
                self.trainer.should_stop = True

    return Loop()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Hand Ctrl-C on to the caller: Lightning would leave the process with status 1 and SIGINT ignored."""
    import signal

    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        with contextlib.suppress(ValueError):  # not in the main thread: nothing was changed
            signal.signal(signal.SIGINT, before)


class _Epoch:
    """The batches of one epoch, as Lightning wants them."""

    def __init__(self, batches: Callable[[int], Iterable[Any]], epoch: int) -> None:
        self.batches, self.epoch = batches, epoch

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches(self.epoch))


class _Progress:
    """Epoch ends: validation, early stopping, the best weights, the checkpoint, the bar."""

    def __init__(self, module, settings, validate, metric, run: Run, title: str, data: str, second) -> None:
        from tqdm import tqdm

        self.module, self.settings, self.validate, self.metric, self.run = module, settings, validate, metric, run
        self.second = second
        self.data, self.wall_s, self.cpu_s = data, 0.0, 0.0  # what earlier runs of an interrupted training took
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
        return self.wall_s + time.perf_counter() - wall, self.cpu_s + time.process_time() - cpu

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
        self._log(row)
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

    def _log(self, row: Mapping[str, float]) -> None:
        for logger in self.loggers:
            logger.log_metrics({key: value for key, value in row.items() if key != "epoch"}, step=row["epoch"])

    def finish(self) -> None:
        if self.best_state is not None:
            self.module.load_state_dict(self.best_state)
        self.module.eval()

    # -- checkpoint ------------------------------------------------------------------------------------------

    def _identity(self) -> str:
        shapes = {key: list(value.shape) for key, value in self.module.state_dict().items()}
        settings = self.settings.model_dump(mode="json")
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


def make_optimizer(
    module: torch.nn.Module, settings: TrainingSettings, second: torch.optim.Optimizer | None = None
) -> torch.optim.Optimizer:
    """Return Adam, or AdamW when there is weight decay, for all parameters that ``second`` does not have."""
    kind = torch.optim.AdamW if settings.weight_decay else torch.optim.Adam
    others = {id(parameter) for group in second.param_groups for parameter in group["params"]} if second else set()
    parameters = [parameter for parameter in module.parameters() if id(parameter) not in others]
    return kind(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def _logger(kind: str, run: Run, progress: _Progress) -> Any:
    if kind == "none" or run.folder is None:
        return False
    from lightning.pytorch import loggers

    maker = loggers.CSVLogger if kind == "csv" else loggers.TensorBoardLogger
    logger = maker(save_dir=str(run.folder), name="log", version="")
    progress.loggers.append(logger)
    for row in progress.rows:  # of an interrupted run
        progress._log(row)
    return logger


class _quiet(warnings.catch_warnings):
    """Lightning's notes on devices and loaders are not for users of this package."""

    LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")

    def __enter__(self) -> Any:
        result = super().__enter__()
        warnings.simplefilter("ignore")
        self._levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in self.LOGGERS]
        for logger, _ in self._levels:
            logger.setLevel(logging.ERROR)
        return result

    def __exit__(self, *error: object) -> None:
        for logger, level in self._levels:
            logger.setLevel(level)
        super().__exit__(*error)
