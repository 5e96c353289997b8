"""Vectors kept by what they were made of: nothing is encoded twice, and an interrupted encoding goes on.

A folder an encoder; in it shards, each a batch of content hashes and their vectors,
written whole or not at all. Two processes that encode at once at worst do the same work twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
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

    def find(self, digests: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """Return the vectors that are known among ``digests``; a damaged shard is as good as none."""
        wanted, found = set(digests), {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                shard = read_arrays(path)
                keys, vectors = shard["digests"], shard["vectors"]
            except (ArtifactError, KeyError):
                continue
            for row, key in enumerate(keys):
                if (digest := key.tobytes()) in wanted:
                    found[digest] = vectors[row]
        return found

    def add(self, digests: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep a batch of vectors ``[n, dim]``.

        Raises:
            OSError: the disk is full or read-only.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        joined = b"".join(digests)
        keys = np.frombuffer(joined, dtype=np.uint8).reshape(len(digests), DIGEST_BYTES)
        path = self.folder / f"{content_digest(joined).hex()}.safetensors"
        write_arrays(path, {"digests": keys, "vectors": np.asarray(vectors, dtype=np.float32)})
