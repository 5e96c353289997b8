"""Runs in a library's own environment and trains what it is asked to: ``python work.py LIBRARY WORKER PATH``.

Asked is by lines on standard input, each a folder with ``job.json`` and ``train.npz``; answered by lines on standard
output, each JSON. ``done``: ``made.npz`` there has the arrays, and the answer the seconds of the fit. ``failed``: the
model did, and ``cause`` says why. ``environment``: it is not the one that is pinned, and this process ends. It also
ends when standard input closes: whoever asked is gone.
"""

import importlib
import json
import os
import queue
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import scipy.sparse as sp


def listen(asked: "queue.Queue[str]") -> None:
    """Pass on what is asked; end the process, in the midst of a fit, too, when nobody can ask any more."""
    with os.fdopen(os.dup(0)) as lines:  # not sys.stdin: a lock held in it would be fatal at the end
        for line in lines:
            asked.put(line.rstrip("\n"))
    os._exit(1)


def load(library: str, worker: str) -> ModuleType:
    """Return the library's file, its modules imported.

    Raises:
        ImportError: something is not there, or of another version than is pinned.
    """
    found = importlib.import_module(worker)
    version = metadata.version(library)
    if version != found.VERSION:
        raise ImportError(f"it has version {version}, and {found.VERSION} is pinned")
    for name in found.IMPORTS:
        importlib.import_module(name)
    return found


def train(library: ModuleType, folder: Path) -> dict[str, float]:
    """Do one job and return its seconds."""
    job = json.loads((folder / "job.json").read_text())
    with np.load(folder / "train.npz") as file:
        ones = np.ones(len(file["indices"]), dtype=np.float32)
        taken = sp.csr_matrix((ones, file["indices"], file["indptr"]), shape=job["shape"])
    wall, cpu = time.perf_counter(), time.process_time()
    made = library.fit(job["model"], job["params"], taken, job["seed"])
    seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    np.savez(folder / "made.npz", **made)
    return seconds


def main(library: str, worker: str, path: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    asked: queue.Queue[str] = queue.Queue()
    threading.Thread(target=listen, args=(asked,), daemon=True).start()
    sys.path.insert(0, path)
    try:
        found = load(library, worker)
    except ImportError as error:
        print(json.dumps({"state": "environment", "cause": str(error)}), file=answers)
        os._exit(0)  # the other thread waits for lines: an ordinary end would wait for it, too
    while True:
        try:
            answer = {"state": "done", **train(found, Path(asked.get()))}
        except Exception as error:  # of whatever library: the next job may be better
            answer = {"state": "failed", "cause": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
