"""Training on Lightning, shared by every ranker that learns by gradient.

Lightning runs the steps, in this process or (``processes``) in several; this file adds what a resumed run needs to end
with the very same weights: batches and dropout are functions of (seed, epoch), and a checkpoint (``progress``) holds
weights, optimizer, the best weights so far and the log in one file.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from pydantic import Field

from recsys.core.config import Settings as BaseSettings
from recsys.core.runtime import Run
from recsys.core.values import FitLog
from recsys.rankers.processes import Team, dismiss, gathered
from recsys.rankers.progress import Progress, open_logger
from recsys.rankers.sharing import Sharing


class TrainingSettings(BaseSettings):
    """Settings that every learned ranker has."""

    epochs: int = Field(300, ge=1, description="Passes over the training data at most.")
    batch_size: int = Field(2048, ge=1, description="Examples a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Step size of Adam.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay (AdamW) on every parameter.")
    eval_every: int = Field(1, ge=1, description="Epochs between validations.")
    patience: int = Field(10, ge=1, description="Validations without a new best before training stops.")
    devices: int = Field(1, ge=1, description="Processes that divide each batch: on CPU cores, or a GPU each.")
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
    sharing: Sharing | None = None,
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
        sharing: how several processes divide a batch; ``None``: they cannot, and ``devices`` must be 1.

    Raises:
        RankerError: the loss is not finite, or ``devices`` cannot be had or ended before their time.
        ArtifactError: the checkpoint cannot be written.
    """
    device = run.torch_device()
    module.to(device)
    progress = Progress(module, settings, validate, metric, run, title, data, second)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _quiet():
        progress.resume()
        if progress.done:
            dismiss(run)
        else:
            with gathered(settings.devices, sharing, run, title) as team:
                _fit(module, settings, batches, loss, progress, run, team)
    progress.finish()
    module.to(device)  # Lightning leaves it on the CPU
    n_parameters = sum(parameter.numel() for parameter in module.parameters())
    wall_s, cpu_s = progress.spent()
    return FitLog(progress.rows, progress.best_epoch, progress.best, wall_s, cpu_s, n_parameters)


def _fit(
    module: torch.nn.Module, settings: TrainingSettings, batches, loss, progress: Progress, run: Run, team: Team | None
) -> None:
    import lightning

    if team:
        team.begin(progress)
        loss = team.part_of(loss)
    trainer = lightning.Trainer(
        **(team.placement() if team else _alone(run.torch_device())),
        max_epochs=settings.epochs - progress.start,
        logger=open_logger(settings.logger, run, progress),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
    )
    with progress.bar, _interruptible():
        trainer.fit(_loop(module, settings, batches, loss, progress, run, team))


def _alone(device: torch.device) -> dict[str, Any]:
    gpu = device.type == "cuda"
    return {"accelerator": "gpu" if gpu else "cpu", "devices": [device.index or 0] if gpu else 1}


def _loop(
    module: torch.nn.Module, settings: TrainingSettings, batches, loss, progress: Progress, run: Run, team: Team | None
) -> Any:
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

        def on_train_start(self) -> None:
            if team:
                team.take_signals()

        def on_train_epoch_start(self) -> None:
            torch.manual_seed(run.key("epoch", progress.start + self.current_epoch))

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            value = loss(batch)
            progress.add_loss(value.detach())
            return value * team.size if team else value  # DDP takes the mean of what the processes return

        def on_train_epoch_end(self) -> None:
            if team.end_epoch(progress) if team else progress.end_epoch():
                self.trainer.should_stop = True

    return Loop()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Hand Ctrl-C on to the caller: Lightning would leave the process with status 1 and SIGINT ignored."""
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


def make_optimizer(
    module: torch.nn.Module, settings: TrainingSettings, second: torch.optim.Optimizer | None = None
) -> torch.optim.Optimizer:
    """Return Adam, or AdamW when there is weight decay, for all parameters that ``second`` does not have."""
    kind = torch.optim.AdamW if settings.weight_decay else torch.optim.Adam
    others = {id(parameter) for group in second.param_groups for parameter in group["params"]} if second else set()
    parameters = [parameter for parameter in module.parameters() if id(parameter) not in others]
    return kind(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


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
