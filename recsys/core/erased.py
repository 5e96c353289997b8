"""Users who asked to be forgotten: hashes of their ids, so that the next training leaves them out."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import polars as pl

from recsys.core.values import Count, Tables

FILE = "erased.txt"  # beside the results


def id_hash(user_id: str) -> str:
    """Return a hash of an id: whoever has the id, or guesses it, can tell that it is meant."""
    text = user_id.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16, person=b"recsys-erased").hexdigest()


def erased(root: Path) -> frozenset[str]:
    """Return the hashes that the file beside the results holds."""
    path = root / FILE
    return frozenset(path.read_text(encoding="ascii").split()) if path.is_file() else frozenset()


def add_erased(root: Path, user_id: str) -> None:
    """Let trainings from now on leave a user out."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / FILE).open("a", encoding="ascii") as file:
        file.write(id_hash(user_id) + "\n")


def without(tables: Tables, hashes: frozenset[str]) -> Tables:
    """Return the tables without the interactions of these users, counted."""
    if not hashes:
        return tables
    users = tables.interactions.select(pl.col("user_id").cast(pl.String)).unique().collect()["user_id"]
    gone = [user_id for user_id in users if user_id is not None and id_hash(user_id) in hashes]
    if not gone:
        return tables
    meant = pl.col("user_id").cast(pl.String).is_in(gone)
    rows = tables.interactions.select(meant.sum()).collect().item()
    counts = [*tables.counts, Count("interactions of users who were erased", int(rows))]
    left = None if tables.records is None else tables.records - int(rows)
    return replace(tables, interactions=tables.interactions.filter(~meant), counts=counts, records=left)
