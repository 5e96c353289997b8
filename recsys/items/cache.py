"""Vectors kept by what they were made of: nothing is encoded twice, and an interrupted encoding goes on.

A folder an encoder; in it shards, each a batch of content hashes and their vectors,
written whole or not at all. Two processes that encode at once at worst do the same work twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from recsys.core.artifact import read_arrays, write_arrays
from recsys.core.errors import ArtifactError

DIGEST_BYTES = 16


def content_digest(content: str | bytes) -> bytes:
    """Return 16 bytes that stand for a text or for the bytes of a picture."""
    data = content.encode() if isinstance(content, str) else content
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


class VectorCache:
    """The shards of one encoder.

    Args:
        folder: made when the first shard is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def index(self) -> set[bytes]:
        """Return the digests of all contents whose vectors are kept; a damaged shard is as good as none."""
        return {digest for path in self._paths() for digest, _ in _shard(path)}

    def find(self, digests: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """Return the vectors that are known among ``digests``."""
        wanted = set(digests)
        pairs = (pair for path in self._paths() if wanted for pair in _shard(path))
        return {digest: vector for digest, vector in pairs if digest in wanted}

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"))

    def add(self, digests: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep a batch of vectors ``[n, dim]``.

        Raises:
            OSError: the disk is full or read-only.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        joined, vectors = b"".join(digests), np.ascontiguousarray(vectors, dtype=np.float32)
        keys = np.frombuffer(joined, dtype=np.uint8).reshape(len(digests), DIGEST_BYTES)
        path = self.folder / f"{content_digest(joined).hex()}.safetensors"
        own = path.with_name(f"{path.stem}-{os.getpid()}.draft")  # somebody else may write the same shard now
        try:
            write_arrays(own, {"digests": keys, "vectors": vectors, "check": _check(keys, vectors)})
            os.replace(own, path)
        finally:
            own.unlink(missing_ok=True)
            own.with_name(own.name + ".part").unlink(missing_ok=True)


def _check(keys: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.frombuffer(content_digest(keys.tobytes() + vectors.tobytes()), dtype=np.uint8)


def _shard(path: Path) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yield what a shard holds, nothing if it cannot be trusted."""
    try:
        shard = read_arrays(path)
        keys, vectors, check = shard["digests"], shard["vectors"], shard.get("check")
    except (ArtifactError, KeyError):
        return
    shaped = keys.ndim == vectors.ndim == 2 and len(keys) == len(vectors) and keys.shape[1] == DIGEST_BYTES
    if shaped and (check is None or np.array_equal(check, _check(keys, vectors))):
        yield from zip(map(np.ndarray.tobytes, keys), vectors, strict=True)
