"""From a trained ranker to answers: top-k with reasons for a known user, a batch, or a list of likes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from recsys.core.amounts import amount
from recsys.core.artifact import Artifact, ArtifactStore
from recsys.core.errors import ArtifactError, DataError
from recsys.core.protocols import Ranker
from recsys.core.registry import name_plugins
from recsys.core.values import Dataset, Interactions, Query, Split
from recsys.data.canonical import load_dataset
from recsys.data.splits import load_split
from recsys.evaluation.topk import top_k
from recsys.rankers.store import load_ranker
from recsys.serving.catalogue import Catalogue, Names, as_list, id_of, is_one
from recsys.serving.reasons import Reason, Reasons

SCORES = 6 << 20  # numbers that are made at a time: more do not stay near the processor


@dataclass(slots=True)  # not frozen, as its reasons
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
        trained: which users the ranker was trained on, bool ``[n_users]``; ``None``: all with a known history.
            The others are newcomers to it: it goes by their history, not by a vector that was never trained.

    Raises:
        DataError: ``trained`` is not one value a user.
    """

    def __init__(
        self, dataset: Dataset, ranker: Ranker, known: Interactions, *, trained: np.ndarray | None = None
    ) -> None:
        self.dataset, self.ranker, self.known = dataset, ranker, known
        self.trained = _present(known) if trained is None else np.asarray(trained, dtype=bool)
        if self.trained.shape != (len(dataset.users),):
            cause = f"shape {self.trained.shape} for {len(dataset.users):,} users"
            raise DataError("trained", cause, "Give one truth value a user of the data set.")
        self.catalogue = Catalogue(dataset)
        self.reasoning = Reasons(dataset, ranker, known)

    def __repr__(self) -> str:
        data, name = self.dataset, type(self.ranker).__name__
        return (
            f"Recommender({name} on {data.name}: {amount(len(data.users), 'user')}, {amount(len(data.items), 'item')})"
        )

    @classmethod
    def load(
        cls,
        ranker: str | Path,
        *,
        artifacts: str | Path = "data/artifacts",
        known: Literal["all", "train+valid", "train"] = "all",
        plugins: Sequence[str] = (),
    ) -> Recommender:
        """Open a trained ranker by folder or key; every file that is read has its recorded hash.

        ``recsys.load`` opens one by its name, which depends on the run.

        Args:
            ranker: folder or key.
            artifacts: the folder of all results.
            known: what users are known to have taken.
            plugins: your own code that the ranker needs, ``"my_file:MyRanker"``; code that only the folder names is not
                imported, as the folder may come from someone else.

        Raises:
            ArtifactError: no such ranker; a step that it was made from is gone; a file is missing, changed or
                damaged; or it is made by code that is not named.
        """
        name_plugins([*plugins, str(ranker)])
        store = ArtifactStore(Path(artifacts))
        trained = store.open(ranker)
        if trained.kind != "ranker":
            raise ArtifactError(f"artifact {ranker}", f"is of kind {trained.kind!r}, not a ranker", "Name a ranker.")
        split = load_parents(store, trained)
        history = {"all": split.dataset.interactions, "train+valid": split.train_valid, "train": split.train}[known]
        return cls(split.dataset, load_ranker(trained.path), history, trained=_present(split.train))

    def recommend(
        self,
        user: Names | None = None,
        *,
        history: Names | Iterable[Names] | None = None,
        k: int = 10,
        exclude: Names = (),
        filter: str | Iterable[str] = (),
        reasons: bool = True,
    ) -> list[Recommendation] | list[list[Recommendation]]:
        """Return the best ``k`` unseen items, best first.

        Wherever several names are taken, one alone will do, and a number stands for the id that reads the same.

        Args:
            user: an id, or several of any kind of sequence for a batch (then a list of lists is returned).
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
        query, single = self._of_users(user) if user is not None else self._of_histories(history)
        banned = ~self.catalogue.allowed(filter)
        banned[self.catalogue.find(exclude)] = True
        step = self._step
        lists = [
            row
            for start in range(0, len(query), step)
            for row in self._lists(query.take(np.arange(start, min(start + step, len(query)))), k, banned, reasons)
        ]
        return lists[0] if single else lists

    def best(self, users: np.ndarray, k: int, filter: Names = ()) -> tuple[np.ndarray, np.ndarray]:
        """Return the best unseen items of many users, without reasons.

        Args:
            users: row numbers, ``[n]``.
            k: length of lists.
            filter: conditions, as in ``recommend``.

        Returns:
            Item numbers, int64 ``[n, k]``, -1 where none is left, and scores, float32 ``[n, k]``.

        Raises:
            DataError: a filter that is not understood.
        """
        banned = ~self.catalogue.allowed(filter)
        items = np.full((len(users), k), -1, dtype=np.int64)
        values = np.full((len(users), k), -np.inf, dtype=np.float32)
        for start in range(0, len(users), self._step):
            rows = users[start : start + self._step]
            query = Query(self.known.histories.take(rows), np.where(self.trained[rows], rows, -1))
            found = self._best(query, k, banned)
            items[start : start + len(rows), : found[0].shape[1]] = found[0]
            values[start : start + len(rows), : found[1].shape[1]] = found[1]
        return items, values

    @property
    def _step(self) -> int:
        """How many people are answered at a time."""
        return int(np.clip(SCORES // max(len(self.dataset.items), 1), 16, 512))

    def _of_users(self, user: Names) -> tuple[Query, bool]:
        """Return the query and whether one list is asked for, not a batch."""
        ids = [id_of(one, self.dataset.users) for one in as_list(user)]
        users = self.dataset.users.index(ids)
        if (users < 0).any():
            missing = ids[int(np.argmax(users < 0))]
            raise DataError(
                f"user {missing!r}", "not in the data set", "For a new user give a history: --liked 'TITLE' --liked …"
            )
        histories = self.known.histories.take(users)
        return Query(histories, np.where(self.trained[users], users, -1)), is_one(user)

    def _of_histories(self, history: Names | Iterable[Names]) -> tuple[Query, bool]:
        liked = as_list(history)
        single = all(is_one(item) for item in liked)
        rows = [self.catalogue.find(items) for items in ([liked] if single else liked)]
        return Query.of_histories(rows, len(self.dataset.items)), single

    def _lists(self, query: Query, k: int, banned: np.ndarray, reasons: bool) -> list[list[Recommendation]]:
        items, values = self._best(query, k, banned)
        return [self._list(query.take(np.array([row])), items[row], values[row], reasons) for row in range(len(query))]

    def _best(self, query: Query, k: int, banned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = self.ranker.score(query)  # [n, n_items]
        popular = query.undecided(scores)
        if popular.any():  # nothing to go on: what most people take
            scores = np.where(popular[:, None], self.known.item_counts.astype(np.float32), scores)
        name, seen = type(self.ranker).__name__, query.histories.matrix()
        return top_k(scores, min(k, scores.shape[1]), seen=seen, banned=banned, name=name)

    def _list(self, query: Query, items: np.ndarray, values: np.ndarray, reasons: bool) -> list[Recommendation]:
        items, values = items[items >= 0], values[items >= 0]
        why = self.reasoning.of(query, items) if reasons else [()] * len(items)
        data = self.dataset
        return [
            Recommendation(data.items[item], data.all_titles[item], score, data.all_attributes[item], because)
            for item, score, because in zip(items.tolist(), values.tolist(), why, strict=True)
        ]

    def reasons(self, query: Query, item: int) -> tuple[Reason, ...]:
        """Return what in the history speaks most for ``item`` (the query holds one user; see ``Reasons.of``)."""
        return self.reasoning.of(query, np.array([item]))[0]


def _present(interactions: Interactions) -> np.ndarray:
    """Return which users have an interaction, bool ``[n_users]``."""
    return np.bincount(interactions.user_idx, minlength=interactions.n_users) > 0


def load_parents(store: ArtifactStore, trained: Artifact) -> Split:
    """Return the split (with its data set) that an artifact was made from.

    Raises:
        ArtifactError: it is gone.
    """
    split = store.parent(trained, "split")
    return load_split(load_dataset(store.parent(split, "data").path), split.path)
