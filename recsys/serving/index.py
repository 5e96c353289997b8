"""Approximate nearest items for rankers that score by one product: a few candidates in place of a million scores.

A graph of near neighbours (HNSW: Malkov & Yashunin, 2018) by the library usearch. What it finds is measured against
the exact lists before it may answer, and it is refused below the recall that was asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys.core.errors import ConfigError
from recsys.core.hashing import digest_of, is_whole, keep_digest
from recsys.core.protocols import ScoresByVectors
from recsys.core.values import Query
from recsys.evaluation.topk import top_k

K = 20  # length of the lists that recall is measured with
ASKED = 200  # users at most that it is measured with
CONNECTIONS = 32  # edges of an item in the graph
WIDTHS = (64, 128, 256, 512, 1024)  # of the search: the first that finds enough is taken


@dataclass(frozen=True)
class Recall:
    """What an index finds.

    Attributes:
        value: share of the exact lists' items that its own have, mean over ``users``.
        users: that were asked for.
        k: length of the lists.
        width: of the search, in candidates: more find more, and take longer.
    """

    value: float
    users: int
    k: int
    width: int


class ItemIndex:
    """Finds items with a large product of vectors, as they are (ip-NSW: Morozov & Babenko, NeurIPS 2018).

    Making angles of products by one number more (Bachrach et al., RecSys 2014) finds far less with this graph: a half
    of what products find, on vectors whose lengths differ much.

    Args:
        vectors: of the items, float32 ``[n_items, dim]``.
        path: file of the graph; made where there is none, for it takes minutes for a million items.
        threads: that make it; 0: all cores.

    Raises:
        ConfigError: usearch is not installed.
    """

    def __init__(self, vectors: np.ndarray, path: Path | None = None, threads: int = 0) -> None:
        self.vectors, self._index = np.ascontiguousarray(vectors, dtype=np.float32), _new(vectors.shape[1])
        if path is not None and path.is_file():
            with contextlib.suppress(RuntimeError, OSError):  # a damaged file: the graph is made anew
                if is_whole(path):
                    self._index.load(str(path))
        if len(self._index) != len(vectors):
            self._index = _new(vectors.shape[1])
            self._index.add(np.arange(len(vectors)), self.vectors, threads=threads)
            if path is not None:
                _save(self._index, path)

    @property
    def width(self) -> int:
        """Candidates that a search keeps in hand."""
        return int(self._index.expansion_search)

    @width.setter
    def width(self, value: int) -> None:
        self._index.expansion_search = value

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Return ``k`` items with nearly the largest products, int64 ``[n, k]``, in no promised order; -1 where none.

        Args:
            queries: float32 ``[n, dim]``.
            k: how many.
        """
        k = min(k, len(self.vectors))
        found = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), k, threads=1)
        keys = np.asarray(found.keys).astype(np.int64).reshape(len(queries), -1)
        counts = np.atleast_1d(getattr(found, "counts", keys.shape[1]))
        return np.where(np.arange(keys.shape[1]) < counts[:, None], keys, -1)


def gated(
    ranker: Any, query: Query, *, least: float, path: Path | None = None, log: Callable[[str], None] = lambda _: None
) -> tuple[ItemIndex, Recall]:
    """Return an index of a ranker's items that finds at least a share ``least`` of exact lists, and what it finds.

    Args:
        ranker: scores by products of vectors.
        query: of users to measure with; the first ``ASKED`` of them are taken.
        least: from 0 to 1.
        path: see ``ItemIndex``.
        log: told what was measured.

    Raises:
        ConfigError: the ranker does not score by vectors, or the widest search finds less.
    """
    if not isinstance(ranker, ScoresByVectors):
        cause = f"{type(ranker).__name__} does not score by a product of vectors"
        raise ConfigError(
            "index", cause, "Serve it exactly, without --recall, or train one that does, such as lightgcn."
        )
    index = ItemIndex(ranker.item_vectors(), path)
    asked = query.take(np.arange(min(len(query), ASKED)))
    queries, name = ranker.query_vectors(asked), type(ranker).__name__
    values = top_k(ranker.score(asked), min(K, len(index.vectors)), name=name)[1]
    for width in WIDTHS:
        index.width = width
        recall = Recall(_share(index, queries, values), len(asked), values.shape[1], width)
        log(f"index: recall@{recall.k} {recall.value:.4f} of exact lists with a search of width {width}")
        if recall.value >= least:
            return index, recall
    cause = f"recall@{recall.k} is {recall.value:.4f} with the widest search, and {least:g} is asked for"
    raise ConfigError("index", cause, "Serve exactly, without --recall, or ask for less: --recall 0.9")


def _share(index: ItemIndex, queries: np.ndarray, values: np.ndarray) -> float:
    """Return the share of the exact lists that is found; an item as good as the exact list's last one counts as in it.

    Args:
        index: what searches.
        queries: ``[n, dim]``.
        values: scores of the exact lists, best first, ``[n, k]``.
    """
    found = index.search(queries, values.shape[1])
    scores = np.einsum("nkd,nd->nk", index.vectors[found], queries)
    slack = 1e-5 * np.abs(values[:, :1])  # one product, worked out in two ways
    return float(((found >= 0) & (scores >= values[:, -1:] - slack)).mean())


def _new(dim: int) -> Any:
    try:
        from usearch.index import Index
    except ImportError as error:
        raise ConfigError("index", f"usearch cannot be imported ({error})", 'pip install "recsys[ann]"') from error
    return Index(ndim=dim, metric="ip", dtype="f32", connectivity=CONNECTIONS, expansion_add=128)


def _save(index: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    index.save(str(draft))
    digest_of(path).unlink(missing_ok=True)
    draft.replace(path)
    keep_digest(path)
