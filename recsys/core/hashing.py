"""Hashes of files, remembered for as long as a file is certainly the one that was hashed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

SETTLED_NS = 2_000_000_000  # a change within the same tick of a clock leaves no mark: FAT has the longest, two seconds
_seen: dict[tuple[int, ...], str] = {}  # of this process


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def mark(facts: os.stat_result) -> tuple[int, ...]:
    """Return what no change of a file leaves as it was: device, inode, size, and times of change.

    The time of the inode's change counts, too, for ``touch -r`` and copying tools set the other one back.
    """
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def is_settled(facts: os.stat_result, now_ns: int) -> bool:
    """Return whether a change from ``now_ns`` on would show in the file's mark.

    A file that was changed a moment ago may be changed again within the same tick of its clock.
    """
    changed = facts.st_ctime_ns if os.name == "posix" else facts.st_mtime_ns  # elsewhere ctime is when it was made
    return changed < now_ns - SETTLED_NS


def known_hash(path: Path) -> str:
    """Return the sha256 of a file, read once by a process unless it may have changed since.

    Raises:
        OSError: it cannot be read.
    """
    now, facts = time.time_ns(), path.stat()
    seen = mark(facts)
    if seen not in _seen:
        digest = file_hash(path)
        if not is_settled(facts, now) or mark(path.stat()) != seen:
            return digest
        _seen[seen] = digest
    return _seen[seen]


def digest_of(path: Path) -> Path:
    """Return the file beside a file that holds its sha256."""
    return path.with_name(f"{path.name}.sha256")


def keep_digest(path: Path) -> None:
    """Write the sha256 of a file beside it.

    Raises:
        OSError: the disk is full or read-only.
    """
    digest_of(path).write_text(f"{file_hash(path)}\n", encoding="ascii")


def is_whole(path: Path) -> bool | None:
    """Return whether a file has the sha256 that lies beside it; ``None``: none does.

    Raises:
        OSError: a file cannot be read.
    """
    beside = digest_of(path)
    return known_hash(path).encode() == beside.read_bytes().strip() if beside.is_file() else None
