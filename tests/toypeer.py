"""A library of another environment whose answers are known: a folder with a Python, and a worker that trains there."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from recsys.rankers import peer
from recsys.rankers.peers import process

WORKER = '''
"""Toy models: who took what together, by seed, or not at all."""
import os
import time
import numpy as np

VERSION, IMPORTS = "1.0", ("toylib",)
MODELS = {"Together": ("power",), "Vectors": ("dim",), "Fails": (), "Infinite": (), "Sleeps": ("note",), "Dies": ()}


def fit(model, params, train, seed):
    import toylib
    if model == "Fails":
        raise ValueError("it does not converge")
    if model == "Dies":
        os._exit(9)
    if model == "Sleeps":
        open(params["note"], "w").close()
        time.sleep(3600)
    if model == "Infinite":
        return {"weights": np.full((train.shape[1],) * 2, np.inf, dtype=np.float32)}
    if model == "Together":
        together = toylib.together(train) ** params.get("power", 1.0)
        return {"weights": together.astype(np.float32)}
    start = np.random.default_rng(seed).normal(size=(train.shape[1], params.get("dim", 4)))
    item = toylib.together(train) @ start
    return {"user": train @ item, "item": item}
'''
LIBRARY = '''
def together(train):
    """Items that the same people took, themselves included: seen items score highest."""
    return (train.T @ train).toarray()
'''


@contextmanager
def toy_environment(folder: Path) -> Iterator[Path]:
    """Make the environment of a library ``toy`` below a folder, and let ``peer`` know it for the while."""
    package, place = folder / "package", folder / "toy" / "bin" / "python"
    for path, text in {
        package / "toy_worker.py": WORKER,
        package / "toylib.py": LIBRARY,
        package / "toy-1.0.dist-info" / "METADATA": "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n",
        place: f'#!/bin/sh\nexec "{sys.executable}" "$@"\n',
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    place.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(process.PLACE, str(folder))
        patch.setitem(peer.WORKERS, "toy", _module(package / "toy_worker.py"))
        yield folder
        process.end_all()


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("toy_worker", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
