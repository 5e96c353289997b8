"""Users who asked to be forgotten: hashes of their ids, so that the next training leaves them out."""

from __future__ import annotations

import hashlib
from pathlib import Path

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
