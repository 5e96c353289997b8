"""A ranker that is shown another's history knows nothing of the own one."""

from __future__ import annotations

import numpy as np

from recsys.core.values import Interactions, Query
from recsys.profiles.preference import Another


class Counts:
    """Scores items by how often the history has them."""

    def score(self, query: Query) -> np.ndarray:
        assert (query.user_idx == -1).all()  # nobody that a ranker could look up
        histories = query.histories
        return np.stack([np.bincount(histories.take(np.array([row])).items, minlength=3) for row in range(len(query))])


def test_each_user_is_shown_the_others_history() -> None:
    users, items = np.array([0, 1, 2], np.int32), np.array([0, 1, 2], np.int32)
    histories = Interactions(users, items, 3, 3).histories
    asked = Query(histories.take(np.array([2, 0])), np.array([2, 0]))
    found = Another(Counts(), histories, np.array([1, 2, 0])).score(asked)
    assert found.tolist() == [[1, 0, 0], [0, 1, 0]]
