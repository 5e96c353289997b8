"""Top 20 of 50,000 items × 64 numbers for 10,000 users in one process: ours, or implicit's; prints users a second.

python batch.py ours|implicit
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from world import N_USERS, taken, vectors

N_ITEMS, K = 50_000, 20


def ours():
    """Return what makes lists: numbers of users to items and scores."""
    import polars as pl

    from recsys.core.values import Dataset, Interactions, Vocabulary
    from recsys.rankers.lightgcn import LightGCN
    from recsys.serving.recommender import Recommender

    users, items = vectors(N_ITEMS)
    known = Interactions(*(array.astype(np.int32) for array in taken(N_ITEMS)), N_USERS, N_ITEMS)
    ids = Vocabulary(f"i{item}" for item in range(N_ITEMS))
    table = pl.DataFrame({"item_id": ids.ids, "title": ids.ids, "attributes": [[]] * N_ITEMS})
    data = Dataset("world", Vocabulary(f"u{user}" for user in range(N_USERS)), ids, known, table)
    ranker = LightGCN(LightGCN.Settings())
    ranker.restore({"user": users, "item": items, "fold": items})
    model = Recommender(data, ranker, known)
    return lambda numbers: model.best(numbers, K)


def implicit():
    """Return the same of implicit's matrix factorisation, its own kernels and threads."""
    import scipy.sparse as sp
    from implicit.cpu.als import AlternatingLeastSquares

    users, items = vectors(N_ITEMS)
    model = AlternatingLeastSquares(factors=64)
    model.user_factors, model.item_factors = users, items
    rows, columns = taken(N_ITEMS)
    matrix = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(N_USERS, N_ITEMS))
    return lambda numbers: model.recommend(numbers, matrix[numbers], N=K, filter_already_liked_items=True)


def main() -> None:
    """Measure and print."""
    lists = {"ours": ours, "implicit": implicit}[sys.argv[1]]()
    lists(np.arange(512))  # threads, caches
    wall, cpu = time.perf_counter(), time.process_time()
    items, _ = lists(np.arange(N_USERS))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    first = [int(item) for item in items[7][:5]]
    print(json.dumps({"users_a_s": N_USERS / wall, "users_a_cpu_s": N_USERS / cpu, "first_of_user_7": first}))


if __name__ == "__main__":
    main()
