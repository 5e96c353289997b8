"""From a trained ranker to answers: top-k with reasons for a known user, a batch, or a list of likes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.sparse as sp

from recsys.core.artifact import Artifact, ArtifactStore
from recsys.core.errors import ArtifactError, DataError
from recsys.core.protocols import Explains, HasEmbeddings, Ranker
from recsys.core.values import Dataset, Interactions, Query, Split
from recsys.data.canonical import load_dataset
from recsys.data.splits import load_split
from recsys.evaluation.topk import top_k
from recsys.rankers.store import load_ranker
from recsys.serving.catalogue import Catalogue

N_REASONS = 3
BATCH = 512


@dataclass(frozen=True)
class Reason:
    """One item of the history and its share of the score (0 to 1), or a sentence of its own."""

    text: str
    item_id: str | None = None
    share: float | None = None


@dataclass(frozen=True)
class Recommendation:
    """One line of a list."""

    item_id: str
    title: str
    score: float
    attributes: tuple[str, ...]
    reasons: tuple[Reason, ...]


class Recommender:
    """Answers for one ranker.

    Args:
        dataset: users, items and titles.
        ranker: fitted on that data set's items.
        known: what each user is known to have taken: left out of lists, and the history to reason from.
    """

    def __init__(self, dataset: Dataset, ranker: Ranker, known: Interactions) -> None:
        self.dataset, self.ranker, self.known = dataset, ranker, known
        self.catalogue = Catalogue(dataset)

    @classmethod
    def load(
        cls,
        ranker: str | Path,
        *,
        artifacts: str | Path = "data/artifacts",
        known: Literal["all", "train+valid", "train"] = "all",
    ) -> Recommender:
        """Open a trained ranker by folder, name or key.

        Raises:
            ArtifactError: no such ranker, or a step that it was made from is gone.
        """
        store = ArtifactStore(Path(artifacts))
        trained = store.open(ranker)
        if trained.kind != "ranker":
            raise ArtifactError(f"artifact {ranker}", f"is of kind {trained.kind!r}, not a ranker", "Name a ranker.")
        split = load_parents(store, trained)
        history = {"all": split.dataset.interactions, "train+valid": split.train_valid, "train": split.train}[known]
        return cls(split.dataset, load_ranker(trained.path), history)

    def recommend(
        self,
        user: str | Sequence[str] | None = None,
        *,
        history: Sequence[str] | Sequence[Sequence[str]] | None = None,
        k: int = 10,
        exclude: Iterable[str] = (),
        filter: Iterable[str] = (),
        reasons: bool = True,
    ) -> list[Recommendation] | list[list[Recommendation]]:
        """Return the best ``k`` unseen items, best first.

        Args:
            user: an id, or several for a batch (then a list of lists is returned).
            history: instead of a user: ids or titles somebody likes, oldest first; or several such lists.
            k: length of the list; shorter when fewer items are left.
            exclude: ids or titles never to show.
            filter: conditions such as ``genre:Comedy``, ``!genre:Horror``, ``year>=1990``.
            reasons: say why; costs little.

        Raises:
            DataError: an unknown user, item or filter; neither or both of user and history.
        """
        if (user is None) == (history is None):
            raise DataError("recommend", "needs a user or a history, one of the two", "Give one.")
        if k < 1:
            raise DataError("recommend", f"k is {k}", "Ask for at least one item.")
        single = isinstance(user, str) if user is not None else all(isinstance(item, str) for item in history)
        if user is not None:
            query = Query.of_users(self.known, self._users([user] if single else user))
        else:
            lists = [history] if single else history
            query = Query.of_histories([self.catalogue.find(items) for items in lists], len(self.dataset.items))
        banned = ~self.catalogue.allowed(filter)
        banned[self.catalogue.find(exclude)] = True
        lists = [
            row
            for start in range(0, len(query), BATCH)
            for row in self._lists(query.take(np.arange(start, min(start + BATCH, len(query)))), k, banned, reasons)
        ]
        return lists[0] if single else lists

    def _users(self, ids: Sequence[str]) -> np.ndarray:
        users = self.dataset.users.index(ids)
        if (users < 0).any():
            missing = ids[int(np.argmax(users < 0))]
            raise DataError(
                f"user {missing!r}", "not in the data set", "For a new user give a history: --liked 'TITLE' --liked …"
            )
        return users

    def _lists(self, query: Query, k: int, banned: np.ndarray, reasons: bool) -> list[list[Recommendation]]:
        scores = self.ranker.score(query)  # [n, n_items]
        empty = np.diff(query.histories.indptr) == 0
        nothing_known = empty & (query.user_idx < 0)
        scores[nothing_known] = self.known.item_counts  # nothing to go on: what most people take
        seen = query.histories.matrix() + sp.csr_array(np.broadcast_to(banned.astype(np.float32), scores.shape))
        items, values = top_k(scores, min(k, scores.shape[1]), seen=sp.csr_array(seen), name=type(self.ranker).__name__)
        return [
            [
                self._line(query.take(np.array([row])), int(item), float(value), reasons, bool(nothing_known[row]))
                for item, value in zip(items[row], values[row], strict=True)
                if item >= 0
            ]
            for row in range(len(query))
        ]

    def _line(self, query: Query, item: int, score: float, reasons: bool, popular: bool) -> Recommendation:
        row = self.dataset.item_table.row(item, named=True)
        why = self.reasons(query, item, popular=popular) if reasons else ()
        return Recommendation(row["item_id"], row["title"] or row["item_id"], score, tuple(row["attributes"]), why)

    def reasons(self, query: Query, item: int, *, popular: bool = False) -> tuple[Reason, ...]:
        """Return what in the history speaks most for ``item`` (the query holds one user).

        For linear rankers the shares are exact parts of the score; for others they are the history's
        nearest items in the ranker's own space, and say so; where a ranker has neither, how many took it.
        """
        history = query.histories[0]
        taken = Reason(f"{self.known.item_counts[item]:,} of {self.known.n_users:,} users took it")
        if popular or not len(history):
            return (taken,)
        if isinstance(self.ranker, Explains):
            parts = self.ranker.contributions(query, item)
            total = float(np.maximum(parts, 0).sum())
            return self._name(history, parts / total if total > 0 else parts, "because of", exact=True) or (taken,)
        if isinstance(self.ranker, HasEmbeddings):
            vectors = self.ranker.embeddings()["item"]
            near = _cosine(vectors[history], vectors[item])
            return self._name(history, near, "close to", exact=False) or (taken,)
        return (taken,)

    def _name(self, history: np.ndarray, parts: np.ndarray, word: str, *, exact: bool) -> tuple[Reason, ...]:
        best = [place for place in np.argsort(-parts, kind="stable")[:N_REASONS] if parts[place] > 0]
        titles = self.dataset.titles(history[best])
        return tuple(
            Reason(
                f"{word} {title}" + (f" ({parts[place]:.0%})" if exact else ""),
                self.dataset.items[history[place]],
                float(parts[place]) if exact else None,
            )
            for place, title in zip(best, titles, strict=True)
        )


def _cosine(vectors: np.ndarray, target: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(target)
    return (vectors @ target) / np.maximum(norms, 1e-12)


def load_parents(store: ArtifactStore, trained: Artifact) -> Split:
    """Return the split (with its data set) that an artifact was made from.

    Raises:
        ArtifactError: it is gone.
    """
    parents = {parent["kind"]: parent["key"] for parent in trained.manifest["parents"]}
    split = store.open(parents["split"])
    data = store.open({parent["kind"]: parent["key"] for parent in split.manifest["parents"]}["data"])
    return load_split(load_dataset(data.path), split.path)
