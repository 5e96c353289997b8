"""What an index of items costs and finds, in one process and one thread of linear algebra; prints JSON.

python near.py N_ITEMS GRAPH      GRAPH: file of the index, made where there is none
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from world import N_USERS, clustered, dataset, ranker_of

from recsys.core.errors import ConfigError
from recsys.core.values import Query
from recsys.serving.engine import Engine
from recsys.serving.fresh import FreshItems
from recsys.serving.index import ASKED, ItemIndex, gated
from recsys.serving.person import Person
from recsys.serving.recommender import Recommender
from recsys.serving.shortlist import Shortlist
from recsys.serving.wishes import Wish

LEAST = 0.98  # of exact lists' items that the index must find
ROUNDS, OTHERS = 3, 1000  # users that the index was not measured with before it might answer


def engines(n_items: int, graph: Path, log: Callable[[str], None] = lambda _: None) -> tuple[Engine, Engine]:
    """Return the same ranker at work exactly, and with an index that passed its gate."""
    data, ranker = dataset(n_items), ranker_of(*clustered(n_items))
    model = Recommender(data, ranker, data.interactions)
    measured = Query.of_users(data.interactions, np.arange(ASKED))
    index, _ = gated(ranker, measured, least=LEAST, path=graph, log=log)
    return Engine("exact", "key", model), Engine("near", "key", model, shortlist=Shortlist(ranker, index))


def built(n_items: int, graph: Path) -> dict[str, Any]:
    """Return what making the graph takes, and opening it when it is there: seconds, CPU seconds and MiB."""
    items = clustered(n_items)[1]
    found: dict[str, Any] = {}
    for name in ("made", "opened"):
        before, started, cpu = rss(), time.perf_counter(), time.process_time()
        index = ItemIndex(items, graph)
        found[name] = {
            "s": round(time.perf_counter() - started, 1), "cpu_s": round(time.process_time() - cpu, 1),
            "mib": rss() - before,
        }  # fmt: skip
        del index
    return {**found, "file_mib": graph.stat().st_size >> 20, "vectors_mib": items.nbytes >> 20}


def widths(n_items: int, graph: Path) -> list[dict[str, float]]:
    """Return what each width of the search finds of exact lists: until all is found, or the widths end."""
    told: list[str] = []
    data, ranker = dataset(n_items), ranker_of(*clustered(n_items))
    with contextlib.suppress(ConfigError):  # none finds all
        gated(ranker, Query.of_users(data.interactions, np.arange(ASKED)), least=1.0, path=graph, log=told.append)
    pattern = r"recall@(\d+) ([\d.]+) of exact lists with a search of width (\d+)"
    return [{"width": int(one[3]), "recall": float(one[2])} for one in (re.search(pattern, line) for line in told)]


def speed(engine: Engine, people: Sequence[Person], together: int, reasons: bool) -> float:
    """Return lists of 20 a second, ``together`` of them in one call."""
    fresh, rates = FreshItems(len(engine.dataset.items)), []
    for turn in range(ROUNDS + 1):  # the first warms up
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < 3:
            first = (turn * 997 + count) % (len(people) - together)
            engine.answer([Wish(one, reasons=reasons) for one in people[first : first + together]], fresh)
            count += together
        rates.append(count / (time.perf_counter() - started))
    return round(statistics.median(rates[1:]), 1)


def agreement(exact: Engine, near: Engine, people: Sequence[Person]) -> float:
    """Return the share of exact lists' items that the index's lists have, what was seen left out of both."""
    fresh, found = FreshItems(len(exact.dataset.items)), 0
    for start in range(0, len(people), 20):
        wishes = [Wish(one, reasons=False) for one in people[start : start + 20]]
        for one, other in zip(exact.answer(wishes, fresh), near.answer(wishes, fresh), strict=True):
            found += len({line.item_id for line in one} & {line.item_id for line in other})
    return round(found / (20 * len(people)), 4)


def rss() -> int:
    """Return this process's resident size in MiB."""
    pages = int(Path(f"/proc/{os.getpid()}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def main() -> None:
    """Measure and print."""
    n_items, graph = int(sys.argv[1]), Path(sys.argv[2])
    found: dict[str, Any] = {"items": n_items, "least": LEAST, "index": built(n_items, graph)}
    found["widths"] = widths(n_items, graph)
    exact, near = engines(n_items, graph)
    found["width"] = near.shortlist.index.width
    known = exact.recommender.known
    people = [Person(known.histories[row], np.unique(known.histories[row]), row=row) for row in range(N_USERS)]
    found["recall_of_others"] = agreement(exact, near, people[ASKED : ASKED + OTHERS])
    found["lists_a_s"] = [
        {"who": name, "together": together, "reasons": reasons, "lists_a_s": speed(engine, people, together, reasons)}
        for together, reasons in ((1, False), (1, True), (16, False), (16, True))
        for name, engine in (("exact", exact), ("near", near))
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
