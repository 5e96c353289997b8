"""Training by steps, for long runs on small machines: killed at any time, it goes on where it was.

What a step sees depends on (seed, step) alone, so that an interrupted run ends, on a CPU, with the weights of one that
was not. Weights are averaged on the way (EMA); validation and everything later use the average. The step size falls
only at the end, when somebody decides that it is the end: until then a run can be made longer without a seam.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import RankerError
from recsys.core.fingerprint import fingerprint
from recsys.core.runtime import Run
from recsys.rankers.checkpoint import flatten, load_checkpoint, restore_optimizer, save_checkpoint
from recsys.visuals.muon import Muon

MUON_LEAST = 64  # rows and columns of matrices that Muon steps; smaller ones, and all vectors, are Adam's


class StepSettings(BaseSettings):
    """How long and in what strides."""

    steps: int = Field(2000, ge=1, description="Steps in all; raise it to go on with a finished run.")
    batch_size: int = Field(32, ge=1, description="Examples a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Step size of Adam, after the warm-up.")
    muon_rate: float = Field(0.0, ge=0, description="Step size of Muon for the inner matrices; 0: Adam has them, too.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of Adam.")
    warmup: int = Field(100, ge=0, description="Steps in which the step size grows to its full length.")
    cooldown: int = Field(0, ge=0, description="Last steps, in which it falls to zero; 0: the run may go on.")
    clip: float = Field(1.0, gt=0, description="Most length of a gradient.")
    ema: float = Field(0.999, ge=0, lt=1, description="How much of the average stays at each step, in the long run.")
    eval_every: int = Field(250, ge=1, description="Steps between validations.")
    save_every: int = Field(100, ge=1, description="Steps between checkpoints: what a kill can cost.")

    def rate(self, step: int) -> float:
        """Return the part of the full step size that step number ``step`` (from 0) is made with."""
        rise = min(1.0, (step + 1) / (self.warmup + 1))
        left = self.steps - step
        return rise if left > self.cooldown else rise * left / (self.cooldown + 1)


class Training:
    """One training: the module, its average, its optimizers and the log.

    Args:
        module: holds all parameters.
        settings: see there.
        loss: ``(module, step) -> scalar``; must depend on the seed and the step alone.
        validate: ``(average) -> named numbers``, ``None`` for none.
        run: seed, device; with a folder, a checkpoint is kept there and continued from.
        title: of the run, in the log and in the checkpoint's identity.
        data: digest of what is learned from: a checkpoint of other data is not continued.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: StepSettings,
        *,
        loss: Callable[[nn.Module, int], torch.Tensor],
        validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
        run: Run,
        title: str,
        data: str = "",
    ) -> None:
        self.module, self.settings, self.loss, self.validate = module.to(run.torch_device()), settings, loss, validate
        self.run, self.title, self.data = run, title, data
        self.average = copy.deepcopy(self.module).requires_grad_(False).eval()
        self.learned = [one for one in self.module.parameters() if one.requires_grad]
        self.optimizers = make_optimizers(self.module, settings)
        self.rows: list[dict[str, Any]] = []
        self.step, self.cpu_s, self.since, self.parts = 0, 0.0, time.process_time(), {"sum": 0.0, "n": 0}

    def fit(self) -> list[dict[str, Any]]:
        """Train up to ``settings.steps``; return the log, one row a validation.

        Raises:
            RankerError: the loss is not finite.
            ArtifactError: the checkpoint cannot be written.
        """
        chosen = self.settings
        self.resume()
        self.since = time.process_time()
        while self.step < chosen.steps:
            self.take_step()
            last = self.step == chosen.steps
            if self.step % chosen.eval_every == 0 or last:
                self._log()
            if self.step % chosen.save_every == 0 or last:
                self.save()
        return self.rows

    def take_step(self) -> float:
        """Make one step and return its loss."""
        self.module.train()
        value = self.loss(self.module, self.step)
        if not torch.isfinite(value):
            raise RankerError(
                f"training {self.title}", f"the loss became {value.item()} in step {self.step}", "Lower learning_rate."
            )
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(self.learned, self.settings.clip)
        part = self.settings.rate(self.step)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["full"] * part
            optimizer.step()
        self.step += 1
        self._average()
        self.parts = {"sum": self.parts["sum"] + float(value.detach()), "n": self.parts["n"] + 1}
        return float(value.detach())

    @torch.no_grad()
    def _average(self) -> None:
        """Move the average: quickly at first, so that random beginnings are soon forgotten."""
        keep = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for slow, fast in zip(self.average.parameters(), self.module.parameters(), strict=True):
            slow.lerp_(fast, 1 - keep)
        for slow, fast in zip(self.average.buffers(), self.module.buffers(), strict=True):
            slow.copy_(fast)

    def spent(self) -> float:
        """Return CPU seconds so far, those of interrupted runs included."""
        return self.cpu_s + time.process_time() - self.since

    def _log(self) -> None:
        row = {"step": self.step, "loss": self.parts["sum"] / max(self.parts["n"], 1), "cpu_s": round(self.spent(), 1)}
        if self.validate is not None:
            with torch.no_grad():
                row |= {name: float(value) for name, value in self.validate(self.average).items()}
        self.parts = {"sum": 0.0, "n": 0}
        self.rows.append(row)
        self.run.log(self.title + ": " + ", ".join(f"{key} {value:.5g}" for key, value in row.items()))

    # -- checkpoint ------------------------------------------------------------------------------------------

    def _identity(self) -> str:
        shapes = {key: list(value.shape) for key, value in self.module.state_dict().items()}
        return fingerprint([self.title, self.run.seed, shapes, self.data])

    def save(self) -> None:
        """Write the checkpoint, if the run has a folder."""
        if self.run.folder is None:
            return
        groups = {"model": self.module.state_dict(), "average": self.average.state_dict()}
        groups |= {f"optimizer{place}": flatten(one) for place, one in enumerate(self.optimizers)}
        facts = {"step": self.step, "cpu_s": self.spent(), "rows": self.rows, "parts": self.parts}
        save_checkpoint(self.run.folder, groups, facts, self._identity())

    def resume(self) -> bool:
        """Become what the folder's checkpoint holds, if it is of this very run."""
        folder: Path | None = self.run.folder
        found = load_checkpoint(folder, self._identity(), self.run.log) if folder else None
        if found is None:
            return False
        groups, facts = found
        self.module.load_state_dict(groups["model"])
        self.average.load_state_dict(groups["average"])
        for place, optimizer in enumerate(self.optimizers):
            restore_optimizer(optimizer, groups.get(f"optimizer{place}", {}))
        self.step, self.cpu_s, self.rows, self.parts = facts["step"], facts["cpu_s"], facts["rows"], facts["parts"]
        self.run.log(f"continuing {self.title} after step {self.step}")
        return True


def make_optimizers(module: nn.Module, settings: StepSettings) -> list[torch.optim.Optimizer]:
    """Return AdamW and, where it is asked for, Muon for the inner matrices of transformer blocks."""
    inner, rest = [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        matrix = parameter.ndim == 2 and min(parameter.shape) >= MUON_LEAST and ".blocks." in f".{name}"
        (inner if matrix and settings.muon_rate else rest).append(parameter)
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay)
    ]
    if inner:
        made.append(Muon(inner, lr=settings.muon_rate))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["full"] = group["lr"]
    return made
