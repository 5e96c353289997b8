"""Weights that come inside installed packages: no hub is asked."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path

from recsys.core.errors import EncoderError


def package_folder(package: str, distribution: str) -> Path:
    """Return where an installed package lies.

    Raises:
        EncoderError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EncoderError(f"package {distribution}", "is not installed", "Run: make setup")
    return Path(spec.submodule_search_locations[0])


def package_version(distribution: str) -> str:
    """Return the installed version.

    Raises:
        EncoderError: it is not installed.
    """
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        raise EncoderError(f"package {distribution}", "is not installed", "Run: make setup") from None
