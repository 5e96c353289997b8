"""What a result depends on, beyond its settings: the content of raw files and the source of plug-ins."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import inspect
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from recsys.core.artifact import write_json
from recsys.core.captured import Captured
from recsys.core.config import texts
from recsys.core.hashing import file_hash, is_settled, mark

DIGESTS = ".digests.json"
THIS_PROCESS = uuid.uuid4().hex
PACKAGE = Path(__file__).resolve().parents[1]
SHARED = ("recsys.rankers.", "recsys.items.", "recsys.graph.", "recsys.core.values")  # what is learned and encoded


def fingerprint(content: Any) -> str:
    """Return a hash of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def raw_files(source: Any, raw: Path, skip: Path) -> list[Path]:
    """Return the files that a source reads, in order: those it lists (``ListsFiles``), else all that may be data.

    Args:
        source: a data source.
        raw: its folder.
        skip: results, which may lie in the raw folder and are not data.
    """
    listed = source.files(raw) if hasattr(source, "files") else _all_files(raw, source.settings.model_dump(mode="json"))
    results = os.path.abspath(skip)
    return sorted(
        file for file in set(listed) if file.is_file() and not Path(os.path.abspath(file)).is_relative_to(results)
    )


def _all_files(raw: Path, options: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files below ``raw``, and those that an option names elsewhere, absolutely or from ``raw``."""
    folder = Path(os.path.abspath(raw))
    named = (Path(os.path.abspath(folder / value)) for value in texts(options))
    for root in (raw, *(path for path in named if not path.is_relative_to(folder) and not folder.is_relative_to(path))):
        for file in [root] if root.is_file() else root.rglob("*") if root.is_dir() else ():
            if not any(part.startswith(".") for part in file.relative_to(root).parts):
                yield file


def content_key(files: Iterable[Path], base: Path, cache: Path) -> str:
    """Return a hash over names (relative to ``base``) and contents.

    A file's digest is remembered in ``cache`` by path, inode, size and times of change, so that
    gigabytes are read once and a copy of the same data is the same data. A file that was changed
    a moment ago is read again: a further change might leave no mark.
    """
    known = _read(cache / DIGESTS)
    total, fresh = hashlib.sha256(), {}
    for file in files:
        now, facts, place = time.time_ns(), file.stat(), str(file.resolve())
        seen = "|".join(map(str, mark(facts)[1:]))  # a device may have another number after a restart
        if known.get(place, ("", ""))[0] == seen:
            digest = known[place][1]
        else:
            digest = file_hash(file)
            if is_settled(facts, now):
                fresh[place] = [seen, digest]
        name = file.relative_to(base) if file.is_relative_to(base) else file.name
        total.update(f"{name}\x00{digest}\x00".encode())
    if fresh:
        with contextlib.suppress(OSError):  # only a memory: where nothing can be written, the artifact itself says so
            cache.mkdir(parents=True, exist_ok=True)
            write_json(cache / DIGESTS, known | fresh)
    return total.hexdigest()[:16]


def _read(path: Path) -> dict[str, list[str]]:
    """Return mark and digest by path; entries of earlier versions, whose marks were weaker, are left out."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        pairs = {place: pair for place, pair in found.items() if isinstance(pair, list) and len(pair) == 2}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
    return {place: pair for place, pair in pairs.items() if all(isinstance(part, str) for part in pair)}


def source_key(kind: type, *rooms: str, now: str = THIS_PROCESS, log: Callable[[str], None] | None = None) -> str:
    """Return a hash of the code that a plug-in is made of: changed code is another result.

    That is its own file and, of this package, what it imports, at once or later, below ``rankers``, ``items`` and
    ``graph``, the values that flow between them, and what those import. Registries (``__init__``) are left out: one
    more name in them changes nobody's numbers. For other code see ``schema`` of ``ArtifactStore.build``.

    Of a class that is not of this package, the values count, too, that it refers to, such as a DataFrame
    (``Captured``), and where it has no file, as in a notebook, the text of its functions. Plain values of a class with
    a file, which may be counters, count as they are when this process first asks.

    Args:
        kind: its class.
        rooms: prefixes of further modules that its results rest on, such as ``"recsys.visuals."``.
        now: stands for what cannot be compared, such as a connection; by default no earlier process had the same.
        log: receives a line on what cannot be compared.
    """
    try:
        own = inspect.getsource(inspect.getmodule(kind))
    except (OSError, TypeError):
        own = ""  # typed in at a prompt, or in a notebook
    total = hashlib.sha256(own.encode())
    for module, source in sorted(_shared_sources(own, kind.__module__, (*SHARED, *rooms)).items()):
        total.update(f"\x00{module}\x00{source}".encode())
    if not kind.__module__.startswith("recsys."):
        held = _first_held(kind) if own else Captured(kind, text=True)
        tables = Captured(kind, text=False, plain=False).digest if own else ""
        total.update(f"\x00{held.digest}{tables}{now if held.unknown else ''}".encode())
        if held.unknown and log:
            what = ", ".join(dict.fromkeys(held.unknown))
            log(f"{kind.__qualname__} refers to what cannot be compared ({what}): nothing made before is reused for it")
    return total.hexdigest()[:16]


@functools.cache
def _first_held(kind: type) -> Captured:
    return Captured(kind, text=False)


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
