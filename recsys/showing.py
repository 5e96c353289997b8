"""What there is: the artifacts with their lineage, and the data sources."""

from __future__ import annotations

import json
from typing import Any

from recsys.console import columns
from recsys.core.artifact import Artifact, card
from recsys.workflow import Workflow


def show_text(workflow: Workflow, reference: str | None, *, verify: bool, as_json: bool) -> str:
    """Return the list of artifacts, or one artifact's description with its lineage."""
    store, root = workflow.store, workflow.store.root
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
    artifact = _meant(workflow, reference)
    if verify:
        artifact.verify()
    if as_json:
        return json.dumps({"path": str(artifact.path), **artifact.manifest}, indent=2, default=str)
    lineage = [
        f"{'  ' * depth}{entry['kind']} {entry['name']} ({entry['key']})" for depth, entry in store.lineage(artifact)
    ]
    checked = ["", "Every file has its recorded hash."] if verify else []
    return "\n".join([card(artifact.manifest).rstrip(), "", "## Lineage", *lineage, *checked, "", str(artifact.path)])


def _meant(workflow: Workflow, reference: str) -> Artifact:
    """Return what is asked for: rankers go by the rule of all verbs, of other results the last made is taken.

    Raises:
        ArtifactError: there is none.
    """
    store = workflow.store
    if found := store.find(reference):
        return found
    others = [one for one in store.named(reference) if one.kind != "ranker"]
    if not others or ":" in reference or store.named(reference, "ranker"):
        return workflow.find_ranker(reference)
    if len(others) > 1:
        workflow.run.log(f"{reference}: the last made of {len(others)}, {others[-1].path.name}; others: recsys show")
    return others[-1]


def source_rows(name: str | None) -> list[dict[str, Any]]:
    """Return the data sources, or the settings of one."""
    from recsys.data import SOURCES
    from recsys.health import settings_rows

    if name is not None:
        return settings_rows(f"source.{name}")
    return [{"source": key, "what": _first_line(SOURCES.load(key))} for key in SOURCES]


def _first_line(kind: type) -> str:
    """Return what a class is, as it is read outside of code."""
    return (kind.__doc__ or "").strip().splitlines()[0].replace("`", "")
