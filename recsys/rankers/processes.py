"""Training by several processes, one a device, with Lightning's DDP.

The process that was asked to fit leads: it starts the others, validates, keeps the best weights and the checkpoint,
and says when to stop. The others fit the same ranker from the same seed, so that all see the same batches; each
computes the loss of its own rows, and DDP adds the gradients up (gloo on CPUs, NCCL on GPUs). Everything else goes
through lines of their own: nobody waits in a collective while the leader validates, and a process that is gone is
noticed. Where somebody else started all of them, on a cluster, each has a seat (``SeatedRun``), the leader too.
"""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from recsys.core.errors import RankerError
from recsys.core.runtime import Run
from recsys.rankers.helpers import PARTING_S, Helper
from recsys.rankers.sharing import Divide, Seat, SeatedRun, Sharing

STEP = timedelta(minutes=30)  # that processes wait for each other within a step
ENDING_S = 30.0  # that a process whose line or collective broke may take to end, on a busy machine


class Dismissed(Exception):
    """Nothing is left to do for a process that was seated to help."""


@contextlib.contextmanager
def gathered(size: int, sharing: Sharing | None, run: Run, title: str) -> Iterator[Team | None]:
    """Give this process its place among ``size``, the others started here unless it has a seat; ``None``: it is alone.

    Raises:
        RankerError: the ranker cannot be divided, devices are missing, or a process ended before its time.
        Dismissed: the leader has nothing left to do.
    """
    if size == 1:
        yield None
        return
    _check(size, sharing, run, title)
    if not isinstance(run, SeatedRun):
        with _started(size, sharing, run, title) as leader:
            yield leader
        return
    seat, device = run.seat, run.torch_device()
    team = (Follower if seat.rank else Leader)(seat, sharing.divide, device)
    if seat.meeting is None:
        yield team
        return
    (line,) = seat.lines
    line.send("ready")
    with _group(seat.rank, size, seat.meeting, device):
        yield team


def dismiss(run: Run) -> None:
    """Tell those who were seated to help that nothing is left to do."""
    if isinstance(run, SeatedRun) and run.seat.rank == 0:
        for line in run.seat.lines:
            line.send(None)


def _check(size: int, sharing: Sharing | None, run: Run, title: str) -> None:
    device, cause = run.torch_device(), ""
    if sharing is None:
        cause = f"its loss is no mean over the rows of a batch, so that devices = {size} would train another model"
    elif isinstance(run, SeatedRun):
        return
    elif torch.distributed.is_initialized():
        cause = "this process is one of several already (torch.distributed is in use)"
    elif device.type not in ("cpu", "cuda"):
        cause = f"devices = {size} needs CPUs or CUDA, not {device.type}"
    elif device.type == "cuda" and (found := torch.cuda.device_count() - (device.index or 0)) < size:
        cause = f"devices = {size}, and from {device} on there are {found}"
    if cause:
        raise RankerError(f"ranker {title}", cause, "Set ranker.devices = 1.")


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _group(rank: int, size: int, meeting: Path, device: torch.device) -> Iterator[None]:
    """Be one of the processes that add gradients up; they meet by a file, so that no port has to be free."""
    from torch import distributed

    store = distributed.FileStore(str(meeting), size)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=STEP)
    try:
        yield
    finally:
        distributed.destroy_process_group()


class Team:
    """One process of several; rank 0 leads."""

    def __init__(self, seat: Seat, divide: Divide, device: torch.device) -> None:
        self.seat, self.rank, self.size = seat, seat.rank, seat.size
        self.divide, self.device = divide, device

    def part_of(self, loss: Callable[[Any], torch.Tensor]) -> Callable[[Any], torch.Tensor]:
        """Return what gives this rank's part of the loss of a batch; those of all ranks sum to the whole."""

        def of_rows(batch: Any) -> torch.Tensor:
            rows, share = self.divide(batch, self.rank, self.size)
            return loss(rows) * share

        return of_rows

    def placement(self) -> dict[str, Any]:
        """Return what Lightning's trainer is told."""
        if self.seat.placement:
            return self.seat.placement()
        from lightning.pytorch.plugins.environments import LightningEnvironment
        from lightning.pytorch.strategies import DDPStrategy

        rank, first = self.rank, (self.device.index or 0) - self.rank

        class Seats(LightningEnvironment):
            creates_processes_externally = True

            def local_rank(self) -> int:
                return rank

        gpu = self.device.type == "cuda"
        return {
            "accelerator": "gpu" if gpu else "cpu",
            "devices": list(range(first, first + self.size)) if gpu else self.size,
            "strategy": DDPStrategy(broadcast_buffers=False),  # a buffer is the same everywhere, and can be large
            "plugins": [Seats()],
            "use_distributed_sampler": False,
        }

    def take_signals(self) -> None:
        """Let SIGTERM end this process: Lightning's handler would wait for others, who may wait for this one."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _leave)


class Follower(Team):
    """Computes its part and does as it is told."""

    def begin(self, progress: Any) -> None:
        """Start where the leader does; the weights come by DDP."""
        (line,) = self.seat.lines
        if (told := line.recv()) is None:
            raise Dismissed
        progress.start, moments = told
        progress.epoch = progress.start
        progress.moments = moments and {name: torch.from_numpy(array) for name, array in moments.items()}

    def end_epoch(self, progress: Any) -> bool:
        """Tell the loss and the CPU seconds so far, and return whether training should stop here."""
        (line,) = self.seat.lines
        line.send((float(progress.losses), time.process_time()))
        progress.losses, progress.steps, progress.epoch = 0.0, 0, progress.epoch + 1
        return line.recv()


class Leader(Team):
    """Keeps all that is kept and decides; the others begin and end with it."""

    def __init__(self, seat: Seat, divide: Divide, device: torch.device, threads: int | None = None) -> None:
        super().__init__(seat, divide, device)
        self.threads = threads or torch.get_num_threads()  # while the others wait

    def begin(self, progress: Any) -> None:
        """Hand on where training begins, and the optimizer's moments if it is continued."""
        moments = progress.moments and {name: tensor.numpy() for name, tensor in progress.moments.items()}
        for line in self.seat.lines:
            line.send((progress.start, moments))

    def end_epoch(self, progress: Any) -> bool:
        """Add up what all parts of the batches lost, and return whether training should stop here, for all."""
        heard = [line.recv() for line in self.seat.lines]
        progress.losses = float(progress.losses) + sum(loss for loss, _ in heard)
        progress.helpers_s = sum(seconds for _, seconds in heard)
        with _threads(self.threads):
            stop = progress.end_epoch()
        for line in self.seat.lines:
            line.send(stop)
        return stop


@contextlib.contextmanager
def _started(size: int, sharing: Sharing, run: Run, title: str) -> Iterator[Leader]:
    """Lead processes of this machine: start them, and end them at the end."""
    device, threads, helpers = run.torch_device(), torch.get_num_threads(), list[Helper]()
    with tempfile.TemporaryDirectory() as folder, _threads(max(1, threads // size)):
        meeting = Path(folder) / "meeting"
        try:
            with _explained(helpers, title):
                for rank in range(1, size):
                    helpers.append(Helper(sharing, _run_of(rank, run, device), Seat(rank, size, meeting=meeting)))
                for helper in helpers:
                    helper.recv()  # that it is ready
            with _group(0, size, meeting, device), _explained(helpers, title):
                yield Leader(Seat(0, size, tuple(helpers)), sharing.divide, device, threads)
            for helper in helpers:
                helper.process.join(PARTING_S)  # nothing is left for it to do
        finally:
            for helper in helpers:
                helper.end()


def _run_of(rank: int, run: Run, device: torch.device) -> Run:
    """Return the run of another rank: the same seed, on the next device, and silent."""
    gpu = device.type == "cuda"
    return Run(run.seed, f"cuda:{(device.index or 0) + rank}" if gpu else "cpu", log=_nothing)


@contextlib.contextmanager
def _explained(helpers: Sequence[Helper], title: str) -> Iterator[None]:
    """Say who is gone when a collective or a pipe breaks."""
    try:
        yield
    except RuntimeError as error:
        gone = wait([helper.process.sentinel for helper in helpers], ENDING_S)
        if ended := [helper for helper in helpers if helper.process.sentinel in gone]:
            for helper in ended:
                helper.process.join()  # its files are closed a moment before its exit code is known
            first = min(ended, key=lambda helper: helper.process.exitcode)  # killed: before those who missed it
            raise RankerError(f"ranker {title}", *first.fate()) from error
        raise  # nobody is gone: the error is this process's own


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _nothing(message: str) -> None:
    pass
