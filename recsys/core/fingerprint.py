"""What a result depends on, beyond its settings: the content of raw files and the source of plug-ins."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from recsys.core.artifact import file_hash, write_json

DIGESTS = ".digests.json"


def fingerprint(content: Any) -> str:
    """Return a hash of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def raw_files(raw: Path, options: Mapping[str, Any], skip: Path) -> Iterator[Path]:
    """Yield the files below ``raw``, and those that an option names elsewhere, absolutely or from ``raw``.

    Hidden files and those below ``skip`` (results kept inside of the raw folder) are nobody's data.
    """
    named = (Path(os.path.normpath(raw / value)) for value in _texts(options))
    for root in (raw, *(path for path in named if not path.is_relative_to(os.path.normpath(raw)))):
        for file in [root] if root.is_file() else sorted(root.rglob("*")) if root.is_dir() else ():
            hidden = any(part.startswith(".") for part in file.relative_to(root.parent).parts[1:])
            if file.is_file() and not hidden and not file.is_relative_to(skip):
                yield file


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def content_key(files: Iterable[Path], base: Path, cache: Path) -> str:
    """Return a hash over names (relative to ``base``) and contents.

    A file's digest is remembered in ``cache`` by path, size and time of change, so that
    gigabytes are read once and a copy of the same data is the same data.
    """
    known = _read(cache / DIGESTS)
    total, fresh = hashlib.sha256(), {}
    for file in files:
        facts = file.stat()
        mark = f"{file.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
        fresh[mark] = known.get(mark) or file_hash(file)
        name = file.relative_to(base) if file.is_relative_to(base) else file.name
        total.update(f"{name}\x00{fresh[mark]}\x00".encode())
    if not fresh.keys() <= known.keys():
        with contextlib.suppress(OSError):  # only a memory: where nothing can be written, the artifact itself says so
            cache.mkdir(parents=True, exist_ok=True)
            write_json(cache / DIGESTS, known | fresh)
    return total.hexdigest()[:16]


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def source_key(kind: type) -> str:
    """Return a hash of the file that a plug-in is written in: changed code is another result.

    What the file imports is not in it: see ``schema`` of ``ArtifactStore.build`` for that.
    """
    try:
        return hashlib.sha256(inspect.getsource(inspect.getmodule(kind)).encode()).hexdigest()[:16]
    except (OSError, TypeError):
        return "no source"  # typed in at a prompt
