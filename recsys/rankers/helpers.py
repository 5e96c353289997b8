"""Processes that help another to train: started fresh, told by a pipe, and gone when it is."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import replace
from multiprocessing import get_context, parent_process
from typing import Any

import torch
from tqdm import tqdm

from recsys.core.runtime import Run
from recsys.rankers.sharing import Seat, SeatedRun, Sharing

PARTING_S = 5.0  # that a process may take to be gone


class Gone(RuntimeError):
    """A process that cannot be heard or told any more."""


class Failed(str):
    """The last words of a process that met an error."""


class Helper:
    """Another process, as the one sees it that started it.

    Args:
        sharing: what it fits; but for ``divide``, which it makes itself.
        run: its seed and device.
        seat: its place.
    """

    def __init__(self, sharing: Sharing, run: Run, seat: Seat) -> None:
        context = get_context("spawn")  # a forked one would hold locks of threads that it does not have
        self.rank, self.words = seat.rank, ""
        self.pipe, theirs = context.Pipe()
        seated = SeatedRun(run.seed, run.device, log=run.log, seat=replace(seat, lines=(theirs,)))
        arguments = (sharing.ranker, sharing.train, sharing.features, seated, torch.get_num_threads())
        self.process = context.Process(target=_help, args=arguments, daemon=True)
        self.process.start()
        theirs.close()  # the pipe then ends with the process

    def recv(self) -> Any:
        """Return what it says next.

        Raises:
            Gone: it failed, or is no more.
        """
        with contextlib.suppress(EOFError, OSError):
            message = self.pipe.recv()
            if not isinstance(message, Failed):
                return message
            self.words = message
        raise Gone(f"process {self.rank}")

    def send(self, what: Any) -> None:
        """Say something to it.

        Raises:
            Gone: it is no more.
        """
        try:
            self.pipe.send(what)
        except OSError:
            raise Gone(f"process {self.rank}") from None

    def fate(self) -> tuple[str, str]:
        """Return how it ended and what to do about it."""
        with contextlib.suppress(Gone):
            while not self.words:
                self.recv()
        status = self.process.exitcode or 0
        if status < 0:
            cause, remedy = (
                f"was killed ({signal.Signals(-status).name})",
                "If memory ran out, set fewer ranker.devices.",
            )
            return f"process {self.rank} {cause}", f"{remedy} The same command goes on from the last validation."
        if self.words:
            return f"process {self.rank} failed ({self.words})", "Mend that, or set ranker.devices = 1."
        guard = "A script needs: if __name__ == '__main__'."
        return f"process {self.rank} ended with status {status}", f"See above for what it wrote. {guard}"

    def end(self) -> None:
        """End it, whatever it does: first so that it can put away what it has, then at once."""
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(PARTING_S)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _help(ranker: Any, train: Any, features: Any, run: SeatedRun, threads: int) -> None:
    """Fit as the process does that started this one, up to the training loop, and do a part of it there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starter's to act on
    threading.Thread(target=_end_with_starter, daemon=True).start()
    torch.set_num_threads(threads)
    tqdm.set_lock(threading.RLock())  # its own, between processes, would be left behind if this one is killed
    (line,) = run.seat.lines
    try:
        ranker.fit(train, features, valid=None, run=run)
    except (Exception, KeyboardInterrupt) as error:
        told = isinstance(error, KeyboardInterrupt)  # by SIGTERM
        with contextlib.suppress(OSError):  # nobody is left to hear it
            line.send(Failed("it was told to end" if told else f"{type(error).__name__}: {error}"))
        raise SystemExit(1) from None


def _end_with_starter() -> None:
    parent_process().join()
    os._exit(1)
