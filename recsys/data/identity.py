"""Data sets that state is kept of: by what they are recognised, and how that is remembered beside the results.

A data set is recognised by ``data.name``, else by the content of its raw files, which a move does not change, else by
their folder, which an update does not change.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from recsys.core.artifact import Artifact, write_json
from recsys.core.errors import ArtifactError
from recsys.core.fingerprint import content_key, fingerprint
from recsys.core.manifest import CHECKSUM, sealed

REGISTRY = "datasets.json"


@dataclass
class Known:
    """What is known of a data set.

    Attributes:
        source: that reads it.
        places: folders that its raw files were read from.
        contents: keys of the contents that they had.
        also: other names that files of it have; they are not opened, and an erasure reaches them.
    """

    source: str
    places: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)

    def add(self, other: Known) -> None:
        """Take over what is known of the same data set."""
        for name in ("places", "contents", "also"):
            mine: list[str] = getattr(self, name)
            mine += [value for value in getattr(other, name) if value not in mine]

    def gone(self) -> bool:
        """Return whether its raw files lie at none of the places any more."""
        return not any(os.path.exists(place) for place in self.places)


def facts_of(data: Artifact, place: str) -> Known:
    """Return what a data artifact tells of its data set."""
    content, options = data.config["files"], data.config["options"]
    if content == content_key((), Path(), Path()):  # a source without files: what it is asked for tells them apart
        content = f"no files, {fingerprint(options)[:16]}"
    return Known(data.config["source"], [place], [content])


def recognised(known: dict[str, Known], here: Known, *, named: bool) -> str | None:
    """Return the data set that has the content, or else the place; by name only one that is here, or no longer there.

    A copy that is given a name of its own is another data set from then on.
    """
    (place,), (content,) = here.places, here.contents
    same = [name for name, entry in known.items() if entry.source == here.source]
    by_content = [name for name in same if content in known[name].contents]
    by_place = [name for name in same if place in known[name].places]
    if named:
        by_content = [name for name in by_content if name in by_place or known[name].gone()]
    both = [name for name in by_content if name in by_place]
    return next(iter((*both, *by_content, *by_place)), None)


def grown_from(here: Known, artifacts: Sequence[Artifact]) -> Known:
    """Return places and contents that earlier runs had for the same data, one following from the other."""
    facts = [
        facts_of(one, str(one.manifest["results"]["raw"]))
        for one in artifacts
        if one.config.get("source") == here.source and "raw" in one.manifest["results"]
    ]
    grown, size = Known(here.source, [*here.places], [*here.contents]), 0
    while size < len(grown.places) + len(grown.contents):
        size = len(grown.places) + len(grown.contents)
        for one in facts:
            if one.places[0] in grown.places or one.contents[0] in grown.contents:
                grown.add(one)
    return grown


def name_of(source: str, place: str) -> str:
    """Return the name that a data set gets by where it was first read from."""
    return f"{plain_name(source)}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def plain_name(source: str) -> str:
    """Return a source's name as part of file names."""
    return re.sub(r"[^\w.+-]+", "-", source)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Let one process at a time read and change what is known."""
    lock = FileLock(root / f".{REGISTRY}.lock")
    with suppress(OSError):  # results that cannot be written
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _plain(known: dict[str, Known]) -> dict[str, Any]:
    return {"datasets": {name: asdict(entry) for name, entry in known.items()}}


def read_known(root: Path) -> dict[str, Known]:
    """Return what is known of data sets, by name.

    Raises:
        ArtifactError: the file is damaged.
    """
    path = root / REGISTRY
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        checksum = found.pop(CHECKSUM)
        if sealed(found)[CHECKSUM] != checksum:
            raise ValueError("it does not have its recorded checksum")
        return {name: Known(**entry) for name, entry in found["datasets"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        remedy = "Put a backup in its place, or delete it: files are then found by the folders that data was read from."
        raise ArtifactError(f"file {path}", f"was changed or damaged ({error})", remedy) from None


def write_known(root: Path, known: dict[str, Known]) -> None:
    """Keep what is known of data sets."""
    with suppress(OSError):  # where nothing can be written, nothing is said either
        write_json(root / REGISTRY, sealed(_plain(known)))
