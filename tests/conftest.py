"""Shared fixtures. Tests that need the real data read the folder named by RECSYS_DATA and skip elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest

from recsys.core.runtime import Run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets."""
    folder = os.environ.get("RECSYS_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the real data sets: set RECSYS_DATA to their folder")
    return Path(folder).resolve()


@pytest.fixture
def run() -> Run:
    """A quiet run with seed 0 on the CPU."""
    return Run(seed=0, log=lambda message: None)
