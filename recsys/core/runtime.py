"""What a step needs besides its data: seed, device, progress, log and a folder."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

T = TypeVar("T")


def to_stderr(message: str) -> None:
    """The default log: one line on standard error, so that standard output stays data."""
    print(message, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Run:
    """One run of one step.

    Attributes:
        seed: every random number of the step derives from it.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        progress: show progress bars (on standard error).
        folder: where checkpoints and logs of a resumable step go; ``None`` keeps none.
        log: receives one line of text at a time.
        fitted: gives a ranker of a configuration, fitted on the same data, made once; ``None``: whoever needs one
            fits it.
        items: the item table, for a ranker that says ``reads_items = True``.
    """

    seed: int = 0
    device: str = "cpu"
    progress: bool = False
    folder: Path | None = None
    log: Callable[[str], None] = field(default=to_stderr, compare=False)
    fitted: Callable[[Mapping[str, Any]], Any] | None = field(default=None, compare=False)
    items: pl.DataFrame | None = field(default=None, compare=False, repr=False)

    def key(self, *parts: object) -> int:
        """Return a 63-bit integer that depends on the seed and ``parts`` alone."""
        text = "\x1f".join(map(str, (self.seed, *parts)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1

    def rng(self, *parts: object) -> np.random.Generator:
        """Return a generator for the place named by ``parts`` (``"negatives", epoch, batch``)."""
        import numpy as np

        return np.random.default_rng(self.key(*parts))

    def bar(self, items: Iterable[T], title: str, total: int | None = None) -> Iterable[T]:
        """Iterate with a progress bar when ``progress`` is on."""
        from tqdm import tqdm

        return tqdm(items, desc=title, total=total, disable=not self.progress, dynamic_ncols=True, leave=False)

    def at(self, folder: Path | None) -> Run:
        """Return the same run with another folder."""
        return replace(self, folder=folder)

    def torch_device(self) -> Any:
        """Return the torch device; ``"auto"`` is CUDA where there is one, else the CPU."""
        import torch

        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(name)


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Measure a block: ``wall_s`` and ``cpu_s`` (all threads of this process) once it ends."""
    times: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield times
    finally:
        times["wall_s"] = time.perf_counter() - wall
        times["cpu_s"] = time.process_time() - cpu


def forget_peak_memory() -> None:
    """Let the kernel count the process's peak memory from here; where it cannot, the peak is the process's so far."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Return the largest resident size of this process so far (or since ``forget_peak_memory``), in MiB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20


def make_writable(folder: Path) -> Path:
    """Make a folder and see that files can be written there, before hours are spent; return it.

    Raises:
        OSError: it cannot be made, or nothing can be written into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
    return folder


def quiet_threads() -> None:
    """Let idle OpenMP threads sleep: spinning ones make every other process slow.

    Has effect only before torch or scikit-learn are first imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
