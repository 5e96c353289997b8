"""Does Ray give what one process gives, and at which price?

    python experiments/ray/measure.py overhead
    python experiments/ray/measure.py batch
    RECSYS_DATA=… python experiments/ray/measure.py encode
    python experiments/ray/measure.py sweep
    python experiments/ray/measure.py serving --state postgresql://USER@HOST/EMPTY

Each part writes its own figures into results.json. Wall and CPU seconds are those of all processes together.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from processes import cpu_of
from serving import measure_serving

from recsys import batch
from recsys.batch import recommend_all
from recsys.core.artifact import commit, versions, write_json
from recsys.core.runtime import Run
from recsys.executing import Executor, make_executor
from recsys.items import make_encoder, parts
from recsys.items.parts import encode_items_by
from recsys.searchfile import read_search
from recsys.tuned import Tuned
from recsys.tuning import Tuning
from recsys.workflow import Workflow, read_config

HERE = Path(__file__).resolve().parent
CASES = (("local", 1), ("local", 2), ("ray", 2))
QUIET = Run(log=lambda message: None)
ITEMS = 1000  # of latest-small that are encoded


def nothing(number: int) -> int:
    """A piece of work that costs nothing."""
    return number


@contextmanager
def measured(name: str, workers: int, told: dict[str, Any]) -> Iterator[Executor]:
    """An executor whose start and work are measured apart."""
    before, started = cpu_of(os.getpid()), time.monotonic()
    with make_executor(name, workers) as team:
        list(team.map(nothing, range(workers)))
        told["start_s"], begun = time.monotonic() - started, time.monotonic()
        yield team
        told["work_s"], told["cpu_s"] = time.monotonic() - begun, cpu_of(os.getpid()) - before
    told["all_s"] = time.monotonic() - started


def flow(root: Path, *overrides: str) -> Workflow:
    return Workflow(read_config(None, (f"run.artifacts={str(root)!r}", *overrides)), log=lambda message: None)


def overhead(root: Path) -> dict[str, Any]:
    """Seconds until the first result, and milliseconds of a task that does nothing."""
    found = {}
    for name in ("local", "ray", "ray-data"):
        told: dict[str, Any] = {}
        with measured(name, 2, told) as team:
            list(team.map(nothing, range(200)))
        found[name] = {**told, "ms_a_task": 1000 * told["work_s"] / 200}
    return found


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
    return {**found, "same_bytes": len(set(files.values())) == 1, "bytes": len(files["local", 1])}


def encode(root: Path) -> dict[str, Any]:
    """Texts of the first items of latest-small by MiniLM, in eight parts."""
    raw = Path(os.environ["RECSYS_DATA"]) / "movielens-latest-small"
    items = flow(root, "data.source=ml-latest-small", f"data.raw={str(raw)!r}").dataset.item_table.head(ITEMS)
    encoder, parts.ROWS = make_encoder("minilm", "text", {}), {"text": ITEMS // 8}
    found, vectors = {}, {}
    for name, workers in CASES:
        told: dict[str, Any] = {}
        with measured(name, workers, told) as team:
            made = encode_items_by(team.map, items, encoder, "text", root / f"{name}{workers}", run=QUIET)
        found[f"{name} {workers}"], vectors[name, workers] = {**told, "fresh": made.fresh}, made.vectors
    first = vectors["local", 1]
    return {
        **found,
        "items": ITEMS,
        "largest_difference": max(float(np.abs(x - first).max()) for x in vectors.values()),
    }


def sweep(root: Path) -> dict[str, Any]:
    """Ten trials of LightGCN and RP3beta on ml-100k."""
    found, trials = {}, []
    for name, workers in CASES:
        told: dict[str, Any] = {}
        where = root / f"{name}{workers}"
        with measured(name, workers, told) as team:
            tuning = Tuning(flow(where, "items.text=none"), read_search(HERE), where / "trials.journal", team)
            tuning.run()
            best = Tuned(tuning)
        rows = [(one.key, one.settings, one.value) for each in best.trials.values() for one in each]
        found[f"{name} {workers}"], trials = {**told, "trials": len(rows)}, [*trials, (rows, best.best.key)]
    return {**found, "same_trials": all(one == trials[0] for one in trials), "best": trials[0][1]}


def write(part: str, figures: dict[str, Any], load: tuple[float, ...]) -> None:
    path = HERE / "results.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    made = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "cores": os.cpu_count(),
            "load_before": load, "load_after": os.getloadavg(), "versions": versions() | _ray()}  # fmt: skip
    write_json(path, {**kept, part: {**figures, "made": made}})


def _ray() -> dict[str, str]:
    from importlib.metadata import version

    return {"ray": version("ray")}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "overhead": overhead, "batch": everybody, "encode": encode, "sweep": sweep,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "serving"])
    parser.add_argument("--state", help="of serving: an empty PostgreSQL database")
    asked, load = parser.parse_args(), os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        figures = measure_serving(root, asked.state) if asked.part == "serving" else PARTS[asked.part](root)
    write(asked.part, figures, load)
    print(figures)


if __name__ == "__main__":
    main()
