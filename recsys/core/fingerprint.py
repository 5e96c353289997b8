"""What a result depends on, beyond its settings: the content of raw files and the source of plug-ins."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from recsys.core.artifact import file_hash, write_json

DIGESTS = ".digests.json"
PACKAGE = Path(__file__).resolve().parents[1]
SHARED = ("recsys.rankers.", "recsys.items.", "recsys.graph.", "recsys.core.values")  # what is learned and encoded


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


def source_key(kind: type, *rooms: str) -> str:
    """Return a hash of the code that a plug-in is made of: changed code is another result.

    That is its own file and, of this package, what it imports, at once or later, below ``rankers``, ``items`` and
    ``graph``, the values that flow between them, and what those import. Registries (``__init__``) are left out: one
    more name in them changes nobody's numbers. For other code see ``schema`` of ``ArtifactStore.build``.

    Args:
        kind: its class.
        rooms: prefixes of further modules that its results rest on, such as ``"recsys.visuals."``.
    """
    try:
        own = inspect.getsource(inspect.getmodule(kind))
    except (OSError, TypeError):
        return "no source"  # typed in at a prompt
    total = hashlib.sha256(own.encode())
    for module, source in sorted(_shared_sources(own, kind.__module__, (*SHARED, *rooms)).items()):
        total.update(f"\x00{module}\x00{source}".encode())
    return total.hexdigest()[:16]


def _shared_sources(source: str, own: str, rooms: tuple[str, ...]) -> dict[str, str]:
    """Return the code of all modules that ``source``, of module ``own``, rests on, by name."""
    found: dict[str, str] = {}
    waiting = [source]
    while waiting:
        for module in _imported(waiting.pop(), rooms):
            if module != own and module not in found and (text := _module_source(module)):
                found[module] = text
                waiting.append(text)
    return found


def _imported(source: str, rooms: tuple[str, ...]) -> set[str]:
    """Return the modules below ``rooms`` that ``source`` imports, anywhere in it; among them may be mere names."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith(rooms)}


@functools.cache  # as it was when this process first asked: edits made since are not what runs in it
def _module_source(module: str) -> str:
    path = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return path.read_text(encoding="utf-8") if path.is_file() else ""
