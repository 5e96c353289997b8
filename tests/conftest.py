"""Shared fixtures. Tests that need the real data read the folder named by RECSYS_DATA and skip elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
from hypothesis import HealthCheck, settings

from recsys.core.runtime import Run

# The same examples everywhere and always, however slow the machine is.
settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
settings.load_profile("tests")


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
