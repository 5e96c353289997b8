"""Users who asked to be forgotten: hashes of their ids, so that the next training leaves them out."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from recsys.core.errors import DataError

FILE = "erased.txt"  # beside the results
DIGITS = 32  # of a hash


def id_hash(user_id: str) -> str:
    """Return a hash of an id: whoever has the id, or guesses it, can tell that it is meant."""
    text = user_id.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16, person=b"recsys-erased").hexdigest()


def erased(root: Path) -> frozenset[str]:
    """Return the hashes that the file beside the results holds.

    Raises:
        DataError: a line is damaged, so that an erased user would come back.
    """
    path = root / FILE
    lines = path.read_text(encoding="latin-1").split() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        digits, check = line[:DIGITS], line[DIGITS:]  # those of earlier versions have no check
        if not re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", digits) or check not in ("", _check(digits)):
            cause = f"line {number} was changed or damaged, and with it who asked to be left out"
            raise DataError(f"file {path}", cause, "Put a backup in its place, or erase that user again.")
    return frozenset(line[:DIGITS] for line in lines)


def _check(digits: str) -> str:
    return hashlib.blake2b(digits.encode("ascii"), digest_size=4).hexdigest()


def add_erased(root: Path, user_id: str) -> None:
    """Let trainings from now on leave a user out."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / FILE).open("a", encoding="ascii") as file:
        digits = id_hash(user_id)
        file.write(f"{digits}{_check(digits)}\n")
