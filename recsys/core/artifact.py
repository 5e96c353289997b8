"""Results as folders that describe themselves: ``<root>/<kind>/<name>-<key>/``.

The key is a hash of kind, schema, configuration and parents' keys, so a stale
result cannot be read by mistake, and the same work is not done twice. A folder is written
as a draft, its manifest last, then renamed: what has a manifest is whole. Whoever reads one compares its files with
their hashes first (``verified``), once a process. What a bare name means is not decided here, where no run is known,
but in ``recsys.ranker_names``.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from recsys.core.errors import ArtifactError, did_you_mean
from recsys.core.hashing import file_hash, known_hash
from recsys.core.manifest import PARENT, artifact_key, fault, sealed
from recsys.core.runtime import peak_memory_mb, stopwatch

MANIFEST, CARD, DRAFT = "manifest.json", "card.md", ".draft-"
RENEWED = ".renewed.json"  # when artifacts that were there already were asked for again, by key
SHORTEST = 6  # digits of a key that stand for it
LONG = 5  # entries of a list that a card still shows
VERSIONED = ("recsys", "numpy", "scipy", "polars", "torch", "torch-geometric", "lightning", "transformers", "recbole")


@dataclass(frozen=True)
class Artifact:
    """A finished folder and its manifest."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return self.manifest["kind"]

    @property
    def key(self) -> str:
        return self.manifest["key"]

    @property
    def config(self) -> Mapping[str, Any]:
        return self.manifest["config"]

    def verify(self) -> None:
        """Compare every file with its hash in the manifest; a file that did not change since is not read again.

        Raises:
            ArtifactError: a file is missing or was changed.
        """
        for name, digest in self.manifest["files"].items():
            file = self.path / name
            try:
                cause = None if known_hash(file) == digest else f"{name} was changed or damaged"
            except FileNotFoundError:
                cause = f"{name} is missing"
            except (OSError, ValueError) as error:  # ValueError: a NUL in its name
                cause = f"{name} cannot be read ({getattr(error, 'strerror', None) or error})"
            if cause:
                raise ArtifactError(f"artifact {self.path}", cause, "Delete the folder and make it again.")


class ArtifactStore:
    """All artifacts below one folder.

    Args:
        root: the folder; made when the first artifact is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def build(
        self,
        kind: str,
        name: str,
        *,
        config: Mapping[str, Any],
        parents: Sequence[Artifact] = (),
        schema: int = 1,
        write: Callable[[Path], Mapping[str, Any] | None],
        resumable: bool = False,
    ) -> Artifact:
        """Return the artifact of this configuration, made by ``write(draft_folder)`` if it is not there yet.

        ``write`` may return figures, kept under ``"results"`` in the manifest. With
        ``resumable`` a draft left by an interrupted run is handed to ``write`` again.

        Raises:
            ArtifactError: the disk is full or read-only; earlier artifacts stay as they were.
        """
        from filelock import FileLock

        key = artifact_key(kind, schema, config, [parent.key for parent in parents])
        name = plain_name(name)
        folder = self.root / kind / f"{name}-{key}"
        draft = self.root / kind / f"{DRAFT}{name}-{key}"
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(str(draft) + ".lock"):
                if (folder / MANIFEST).is_file():
                    return _whole(folder)
                if draft.exists() and not resumable:
                    shutil.rmtree(draft)
                draft.mkdir(exist_ok=True)
                with stopwatch() as times:
                    results = write(draft) or {}
                manifest = describe(kind, name, key, schema, config, parents, draft) | times
                manifest["results"], manifest["peak_memory_mb"] = results, round(peak_memory_mb(), 1)
                (draft / CARD).write_text(card(manifest), encoding="utf-8")
                write_json(draft / MANIFEST, sealed(manifest))
                if folder.exists():
                    shutil.rmtree(folder)  # has no manifest: somebody's unfinished copy
                os.replace(draft, folder)
        except OSError as error:
            if not resumable:
                shutil.rmtree(draft, ignore_errors=True)
            if isinstance(error.filename, str) and not Path(error.filename).is_relative_to(self.root):
                raise  # of a file that the step reads, not of one that it writes
            raise ArtifactError(
                f"artifact {folder}",
                error.strerror or str(error),
                "Check its permissions and the space left, or choose another artifacts folder.",
            ) from error
        return read_artifact(folder)

    def open(self, reference: str | Path) -> Artifact:
        """Open by folder, key, ``name-key`` or ``kind/name-key``.

        Raises:
            ArtifactError: nothing matches, it is a bare name, or the folder is not a finished artifact.
        """
        if found := self.find(reference):
            return found
        if named := self.named(str(reference)):
            cause = f"is a name, and what it means depends on the run ({len(named)} below {self.root} have it)"
            raise ArtifactError(f"artifact {str(reference)!r}", cause, f"Name one exactly: {named[-1].path.name}")
        raise self._not_found(str(reference))

    def find(self, reference: str | Path) -> Artifact | None:
        """Return what a folder, a key, ``name-key`` or ``kind/name-key`` means exactly; ``None`` for anything else.

        Six digits of a key will do. Names of artifacts go before folders of the same spelling.

        Raises:
            ArtifactError: a part of a key that several have, or a folder that is not a finished artifact.
        """
        text, items = str(reference), self.list()
        found = [item for item in items if _is_exactly(item, text)]
        if len(found) > 1:
            several = ", ".join(f"{item.kind}/{item.path.name}" for item in found)
            raise ArtifactError(f"artifact {text!r}", f"begins the keys of {several}", "Give more of the key.")
        if found or any(text in _names(item) for item in items):
            return found[0] if found else None
        # os.path's, for pathlib's raises where a name is longer than any file's can be
        return read_artifact(Path(reference)) if os.path.isdir(reference) else None

    def named(self, name: str, kind: str | None = None) -> list[Artifact]:
        """Return the artifacts of a name or ``kind/name``, the last made or renewed at the end."""
        return self.by_age(item for item in self.list(kind) if name in _names(item))

    def by_age(self, artifacts: Iterable[Artifact]) -> list[Artifact]:
        """Return artifacts in the order in which they were made or renewed."""
        renewed = self._renewed()
        return sorted(artifacts, key=lambda item: max(item.manifest["created"], renewed.get(item.key, "")))

    def renew(self, artifact: Artifact) -> None:
        """Note that an artifact was asked for anew, so that it is the newest of its name again."""
        if self.named(artifact.manifest["name"], artifact.kind)[-1:] == [artifact]:
            return
        with contextlib.suppress(OSError):  # where nothing can be written, nothing new is made either
            write_json(self.root / RENEWED, self._renewed() | {artifact.key: _now()})

    def _renewed(self) -> dict[str, str]:
        try:
            found = json.loads((self.root / RENEWED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def parent(self, artifact: Artifact, kind: str) -> Artifact:
        """Open what an artifact was made from.

        Raises:
            ArtifactError: it is gone, or damaged.
        """
        for entry in artifact.manifest["parents"]:
            if entry["kind"] == kind:
                folder = self.root / kind / f"{entry['name']}-{entry['key']}"
                if not (folder / MANIFEST).is_file():
                    raise ArtifactError(
                        f"{kind} {entry['name']!r}, which {artifact.path.name} was made from",
                        f"is not in {folder}",
                        "Make it again with the same configuration: recsys data",
                    )
                return _whole(folder)
        raise ArtifactError(f"artifact {artifact.path}", f"was made from no {kind}", "Name another artifact.")

    def damaged(self, text: str) -> ArtifactError | None:
        """Return the error of a damaged folder that a name or an exact reference would mean, where there is one."""
        for manifest in sorted(self.root.glob(f"*/[!.]*/{MANIFEST}")):
            folder = manifest.parent
            name = folder.name.rpartition("-")[0]
            if plain_name(text) in (folder.name, name) or text == f"{folder.parent.name}/{name}":
                try:
                    read_artifact(folder)
                except ArtifactError as error:
                    return error
        return None

    def _not_found(self, text: str) -> ArtifactError:
        """Return the error of a damaged folder of that name where there is one, else what comes near."""
        if error := self.damaged(text):
            return error
        near = did_you_mean(text, {item.manifest["name"] for item in self.list()})
        remedy = f"{near} " if near.startswith("Did") else ""
        return ArtifactError(
            f"artifact {text!r}",
            f"no such artifact below {self.root}",
            f"{remedy}List what there is with: recsys show --artifacts {self.root}",
        )

    def list(self, kind: str | None = None) -> list[Artifact]:
        """Return the finished artifacts, oldest first; damaged folders are left out."""
        return sorted(self._readable(kind), key=lambda item: item.manifest["created"])

    def _readable(self, kind: str | None) -> Iterator[Artifact]:
        for manifest in self.root.glob(f"{kind or '*'}/[!.]*/{MANIFEST}"):
            try:
                yield read_artifact(manifest.parent)
            except ArtifactError:
                continue

    def lineage(self, artifact: Artifact) -> list[tuple[int, Mapping[str, Any]]]:
        """Return ``(depth, {kind, name, key})`` of the artifact and all it was made from."""
        by_key = {item.key: item for item in self.list()}
        rows: list[tuple[int, Mapping[str, Any]]] = []

        def visit(entry: Mapping[str, Any], depth: int) -> None:
            rows.append((depth, entry))
            known = by_key.get(entry["key"])
            for parent in known.manifest["parents"] if known else ():
                visit(parent, depth + 1)

        visit({name: artifact.manifest[name] for name in ("kind", "name", "key")}, 0)
        return rows


def _names(item: Artifact) -> tuple[str, str]:
    name = item.manifest["name"]
    return name, f"{item.kind}/{name}"


def _is_exactly(item: Artifact, text: str) -> bool:
    whole = [f"{name}-{item.key}" for name in _names(item)]
    return text in whole or (len(text) >= SHORTEST and item.key.startswith(text))


def plain_name(name: str) -> str:
    """Return a name as artifacts have it: of a plug-in, ``module:Class``, the class, wherever its file lies."""
    return re.sub(r"[^\w.+-]+", "-", re.sub(r"[\w.]+:", "", name))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_artifact(folder: Path) -> Artifact:
    """Read the manifest of one folder, and check it; its other files are left to ``Artifact.verify``.

    Raises:
        ArtifactError: there is no manifest, or it is damaged, or of a version of recsys that writes others.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        cause = fault(manifest)
    except FileNotFoundError:
        raise ArtifactError(
            f"artifact {folder}", f"it has no {MANIFEST}", "Name a finished artifact; list them with: recsys show"
        ) from None
    except json.JSONDecodeError as error:
        cause = "was changed or damaged: " + (
            f"line {error.lineno} is not JSON" if error.doc.strip() else "it is empty"
        )
    except RecursionError:
        cause = "was changed or damaged: it is nested too deeply"
    except ValueError:
        cause = "was changed or damaged: it is not UTF-8 text"
    except OSError as error:
        cause = f"cannot be read: {error.strerror or error}"
    if cause:
        raise ArtifactError(f"artifact {folder}", f"its {MANIFEST} {cause}", "Delete the folder and make it again.")
    return Artifact(folder, manifest)


def verified(folder: Path) -> Path:
    """Return a folder once its files have their recorded hashes; one that is no artifact, such as a draft, as it is.

    Raises:
        ArtifactError: the manifest or a file is missing, changed or damaged.
    """
    folder = Path(folder)
    if (folder / MANIFEST).exists():
        _whole(folder)
    return folder


def _whole(folder: Path) -> Artifact:
    found = read_artifact(folder)
    found.verify()
    return found


def describe(
    kind: str, name: str, key: str, schema: int, config: Mapping[str, Any], parents: Sequence[Artifact], draft: Path
) -> dict[str, Any]:
    """Return the manifest of a draft, without its times and results."""
    files = {
        str(file.relative_to(draft)): file_hash(file)
        for file in sorted(draft.rglob("*"))
        if file.is_file() and file.name not in (MANIFEST, CARD)
    }
    return {
        "kind": kind, "name": name, "key": key, "schema": schema, "config": config,
        "parents": [{field: parent.manifest[field] for field in PARENT} for parent in parents],
        "files": files, "created": _now(),
        "commit": commit(), "versions": versions(), "python": platform.python_version(),
        "platform": platform.platform(), "command": command_line(),
    }  # fmt: skip


def command_line() -> str:
    """Return the command that this process was started with."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


@cache
def commit() -> str:
    """Return the commit of the code, ``+dirty`` when it was changed since, or ``"unknown"``."""
    here = Path(__file__).resolve().parents[2]
    git = ["git", "-C", str(here)]
    try:
        revision = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=10)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    if revision.returncode:
        return "unknown"
    return revision.stdout.strip() + ("+dirty" if changed.stdout.strip() else "")


def versions() -> dict[str, str]:
    """Return the installed versions of the packages that results depend on."""
    found = {}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def card(manifest: Mapping[str, Any]) -> str:
    """Return the folder's description in Markdown."""
    made_from = ", ".join(f"{parent['kind']} {parent['name']} ({parent['key']})" for parent in manifest["parents"])
    lines = [
        f"# {manifest['kind']} · {manifest['name']}", "",
        f"Made {manifest['created']} at commit {manifest['commit']} in {manifest['wall_s']:.1f} s "
        f"({manifest['cpu_s']:.1f} CPU s) by `{manifest['command']}`.", "",
        f"Made from: {made_from or 'raw files'}",
        "", "## Configuration", "```json", json.dumps(manifest["config"], indent=2, default=str), "```",
        "", "## Results", "```json", json.dumps(_brief(manifest["results"]), indent=2, default=str), "```",
        "", "## Files", *[f"- `{name}` sha256 {digest[:16]}…" for name, digest in manifest["files"].items()], "",
    ]  # fmt: skip
    return "\n".join(lines)


def _brief(value: Any) -> Any:
    """Long lists (a log of all epochs) are counted; the manifest has them."""
    if isinstance(value, Mapping):
        return {key: _brief(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) > LONG:
        return f"{len(value)} entries, in {MANIFEST}"
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(value, indent=2, default=str), encoding="utf-8")
    os.replace(draft, path)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named numpy arrays as safetensors, atomically.

    Raises:
        OSError: the disk is full or read-only.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    draft = path.with_name(path.name + ".part")
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, draft)
    except SafetensorError as error:  # a full disk
        raise OSError(str(error)) from error
    os.replace(draft, path)


def read_arrays(path: Path) -> dict[str, Any]:
    """Read what ``write_arrays`` wrote.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise ArtifactError(
            f"file {path}", f"cannot be read ({error})", "Delete the artifact and make it again."
        ) from None
