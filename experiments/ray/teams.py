"""The same work by one process, by two, and by two Ray workers: each case measured, and compared with the first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from processes import cpu_of

from recsys import batch
from recsys.batch import recommend_all
from recsys.core.runtime import Run
from recsys.executing import Executor, Serial, make_executor
from recsys.runconfig import read_config
from recsys.tuning.outcome import Tuned
from recsys.tuning.rounds import Tuning
from recsys.tuning.searchfile import read_search
from recsys.workflow import Workflow

HERE = Path(__file__).resolve().parent
CASES = (("local", 1), ("local", 2), ("ray", 2))
QUIET = Run(log=lambda message: None)
MIN_ITEM = 20  # interactions of an item of latest-small that is encoded


def nothing(number: int) -> int:
    """A piece of work that costs nothing."""
    return number


@contextmanager
def measured(name: str, workers: int, told: dict[str, Any]) -> Iterator[Executor]:
    """An executor whose start (until workers have answered) and work are measured apart, in seconds."""
    before, started = cpu_of(os.getpid()), time.monotonic()
    with make_executor(name, workers) as team:
        list(team.map(nothing, range(workers)))
        told["start_s"], told["start_cpu_s"] = time.monotonic() - started, cpu_of(os.getpid()) - before
        begun, busy = time.monotonic(), cpu_of(os.getpid())
        yield team
        told["work_s"], told["work_cpu_s"] = time.monotonic() - begun, cpu_of(os.getpid()) - busy
        ended = time.monotonic()
    told["stop_s"], told["all_s"] = time.monotonic() - ended, time.monotonic() - started


def compared(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add what each case gains over the first: in the work alone, and with start and stop."""
    first = next(iter(found.values()))
    for told in found.values():
        told["speed_up_of_work"] = first["work_s"] / told["work_s"]
        told["speed_up"] = first["all_s"] / told["all_s"]
    return found


def flow(root: Path, *overrides: str) -> Workflow:
    return Workflow(read_config(None, (f"run.artifacts={str(root)!r}", *overrides)), log=lambda message: None)


def overhead(root: Path) -> dict[str, Any]:
    """Seconds until the first result, and milliseconds of a task that does nothing."""
    found = {}
    for name in ("local", "ray", "ray-data"):
        told: dict[str, Any] = {}
        with measured(name, 2, told) as team:
            same = list(team.map(nothing, range(200))) == list(range(200))
        found[name] = {**told, "ms_a_task": 1000 * told["work_s"] / 200, "in_order": same}
    return {"cases": found, "tasks": 200, "equal": all(told["in_order"] for told in found.values())}


def everybody(root: Path) -> dict[str, Any]:
    """Lists of all users of ml-100k by EASE, in ten parts."""
    ranker, batch.USERS = flow(root, "items.text=none", "ranker.name=ease").train().path, 100
    found, files = {}, {}
    for name, workers in (*CASES, ("ray-data", 2)):
        told: dict[str, Any] = {}
        out = root / f"{name}{workers}.parquet"
        with measured(name, workers, told) as team:
            recommend_all(ranker, root, out, k=20, filters=(), executor=team, run=QUIET)
        found[f"{name} {workers}"], files[name, workers] = told, out.read_bytes()
    same = len(set(files.values())) == 1
    config = {"data": "ml-100k", "ranker": "ease", "k": 20, "users_a_part": batch.USERS}
    return {"cases": compared(found), "config": config, "bytes": len(files["local", 1]), "equal": same}


def encode(root: Path) -> dict[str, Any]:
    """Texts of the items of latest-small that enough people took, by MiniLM; nothing is kept from before."""
    raw = Path(os.environ["RECSYS_DATA"]) / "movielens-latest-small"
    options = ("data.source=ml-latest-small", f"data.raw={str(raw)!r}", f"data.prepare.min_item={MIN_ITEM}",
               "items.image=none", "ranker={name='content_knn'}")  # fmt: skip
    found, made = {}, []
    for name, workers in (("serial", 1), *CASES):
        told: dict[str, Any] = {}
        run = flow(root / f"{name}{workers}", *options)
        run.data()
        with measured(name, workers, told) as team:
            run.spread = None if name == "serial" else team.map  # as the command line does without --workers
            artifact = run.items(["text"])["text"]
        vectors = np.load(artifact.path / "text.npy")  # [n_items, 384]
        made.append((artifact, vectors, _lists(run, root / f"{name}{workers}")))
        found[f"{name} {workers}"] = {**told, "fresh": artifact.manifest["results"]["fresh"]}
    first = made[0]
    apart = max(float(np.abs(vectors - first[1]).max()) for _, vectors, _ in made)
    same_key = len({artifact.key for artifact, _, _ in made}) == 1
    same_lists = all(lists.equals(first[2]) for _, _, lists in made)
    return {
        "cases": compared(found), "items": len(first[1]), "dim": first[1].shape[1],
        "config": {"data": "ml-latest-small", "min_item": MIN_ITEM, "encoder": "minilm"},
        "largest_difference": apart, "same_key": same_key, "lists": len(first[2]), "same_lists": same_lists,
        "equal": same_key and same_lists and apart < 1e-6,
    }  # fmt: skip


def _lists(run: Workflow, root: Path) -> pl.DataFrame:
    """Everybody's ten best items by the nearest vectors, without their scores."""
    out = root / "lists.parquet"
    recommend_all(run.train().path, root, out, k=10, filters=(), executor=Serial(), run=QUIET)
    return pl.read_parquet(out).drop("score")


def sweep(root: Path) -> dict[str, Any]:
    """Eight trials each of LightGCN and RP3beta on ml-100k, as ``recsys tune`` does them."""
    found, trials = {}, []
    for name, workers in CASES:
        told: dict[str, Any] = {}
        where = root / f"{name}{workers}"
        run = flow(where, "items.text=none")
        run.split()
        with measured(name, workers, told) as team:
            tuning = Tuning(run, read_search(HERE), where / "trials.journal", team)
            tuning.run()
        best = Tuned(tuning)
        rows = [(one.key, one.settings, one.value) for each in best.trials.values() for one in each]
        found[f"{name} {workers}"], trials = {**told, "trials": len(rows)}, [*trials, (rows, best.best.key)]
    config = {"data": "ml-100k", "search": (HERE / "search.toml").read_text().splitlines()}
    same = all(one == trials[0] for one in trials)
    return {"cases": compared(found), "config": config, "best": trials[0][1], "equal": same}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "overhead": overhead, "batch": everybody, "encode": encode, "sweep": sweep,
}  # fmt: skip
