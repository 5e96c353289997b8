"""What a manifest must be: its fields, the key that follows from them, and a checksum over all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

CHECKSUM, PARENT = "checksum", ("kind", "name", "key")
SCHEMA = 1  # the newest that this version reads; each kind of artifact counts its own from 1
NEEDED = {
    "kind": str, "name": str, "key": str, "schema": int, "config": dict, "parents": list, "files": dict,
    "created": str, "results": dict,
}  # fmt: skip
BESIDES = {
    "commit": str, "versions": dict, "python": str, "platform": str, "command": str, "wall_s": float, "cpu_s": float,
    "peak_memory_mb": float, CHECKSUM: str,
}  # fmt: skip


def artifact_key(kind: str, schema: int, config: Mapping[str, Any], parents: Sequence[str]) -> str:
    """Return 12 hex digits that depend on kind, schema, configuration and the parents' keys."""
    plain = json.loads(json.dumps(config, default=str))  # as it will be read back: a number as a key is a text there
    text = json.dumps([kind, schema, plain, sorted(parents)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest as plain values, with the checksum of all the others."""
    plain = json.loads(json.dumps(manifest, default=str))
    return {**plain, CHECKSUM: _checksum(plain)}


def fault(manifest: Any) -> str | None:
    """Return what is wrong with a manifest as read from a file, after "its manifest"; ``None`` where nothing is.

    Those of earlier versions have no checksum: of them the fields are looked at, and the key.
    """
    if isinstance(manifest, dict) and isinstance(schema := manifest.get("schema"), int) and schema > SCHEMA:
        return f"is of a later version of recsys: it has schema {schema}, and this version reads {SCHEMA}"
    damage = _damage(manifest)
    return f"was changed or damaged: {damage}" if damage else None


def _damage(manifest: Any) -> str | None:
    if not isinstance(manifest, dict):
        return "it holds no JSON object"
    fields = NEEDED | BESIDES
    for name in (*NEEDED, *manifest):
        if name not in manifest:
            return f"it has no {name!r}"
        if name not in fields:
            return f"it has an unknown field {name!r}"
        if not isinstance(manifest[name], (int, float) if fields[name] is float else fields[name]):
            return f"{name!r} is not what it should be"
    if manifest["schema"] < 1:
        return f"it has schema {manifest['schema']}"
    if not all(isinstance(value, str) for value in manifest["files"].values()):
        return "'files' is not what it should be"
    for parent in manifest["parents"]:
        if not isinstance(parent, dict) or not all(isinstance(parent.get(field), str) for field in PARENT):
            return "'parents' is not what it should be"
    return _mismatch(manifest)


def _mismatch(manifest: Mapping[str, Any]) -> str | None:
    if CHECKSUM in manifest and manifest[CHECKSUM] != _checksum(manifest):
        return "it does not have its recorded checksum"
    keys = [parent["key"] for parent in manifest["parents"]]
    if manifest["key"] != artifact_key(manifest["kind"], manifest["schema"], manifest["config"], keys):
        return "its key does not follow from its configuration"
    return None


def _checksum(manifest: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
