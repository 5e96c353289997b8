"""What there is: the artifacts with their lineage, and the data sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recsys.console import columns
from recsys.core.artifact import ArtifactStore, card


def show_text(root: Path, reference: str | None, *, verify: bool, as_json: bool) -> str:
    """Return the list of artifacts, or one artifact's description with its lineage."""
    store = ArtifactStore(root)
    if reference is None:
        rows = [
            {
                "kind": item.kind,
                "name": item.manifest["name"],
                "key": item.key,
                "made": item.manifest["created"][:19],
                "folder": str(item.path),
            }
            for item in store.list()
        ]
        if as_json:
            return json.dumps(rows, indent=2)
        return columns(rows) if rows else f"nothing below {root} yet; a first result: recsys train --artifacts {root}"
    artifact = store.open(reference)
    if verify:
        artifact.verify()
    if as_json:
        return json.dumps({"path": str(artifact.path), **artifact.manifest}, indent=2, default=str)
    lineage = [
        f"{'  ' * depth}{entry['kind']} {entry['name']} ({entry['key']})" for depth, entry in store.lineage(artifact)
    ]
    checked = ["", "Every file has its recorded hash."] if verify else []
    return "\n".join([card(artifact.manifest).rstrip(), "", "## Lineage", *lineage, *checked, "", str(artifact.path)])


def source_rows(name: str | None) -> list[dict[str, Any]]:
    """Return the data sources, or the settings of one."""
    from recsys.data import SOURCES
    from recsys.health import settings_rows

    if name is not None:
        return settings_rows(f"source.{name}")
    return [{"source": key, "what": (SOURCES.load(key).__doc__ or "").strip().splitlines()[0]} for key in SOURCES]
