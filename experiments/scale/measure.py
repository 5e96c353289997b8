"""How do time and memory grow from 0.1 to 10 million interactions? Every stage in a process of its own.

    python experiments/scale/measure.py                       all sizes, about ten minutes on two cores
    python experiments/scale/measure.py --rows 100000         one size (nothing is kept)
    python experiments/scale/measure.py --only ials_round serve_exact    these alone, kept beside the others
    python experiments/scale/measure.py --rows 30000000       a larger size, kept in beyond.json (no fit sees it)

Synthetic, seeded: 2,000 users and 2,000 items at 0.1 million rows, 100,000 and 20,000 at 10 million; the item of rank
r is drawn with probability ~ r^-0.8, and pairs drawn twice are merged by the ingest. Prints one line a stage and the
growth per tenfold (of CPU seconds, which other jobs disturb least), and keeps both in results.json. Peak memory is
the process's largest resident size (getrusage), of which ``start_mb`` was there before the stage began (interpreter
and libraries).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is imported; children inherit it
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from later_stages import LATER
from stages import STAGES as FIRST
from stages import make

from recsys.core.artifact import commit, versions, write_json

SIZES = (100_000, 1_000_000, 10_000_000)
STAGES = FIRST | LATER
NEEDED = ("ingest", "split")  # which write what the others read
RESULTS = Path(__file__).with_name("results.json")


def measured(folder: Path, n_rows: int, only: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run the stages one after the other, each in a new process.

    This one stays small (the table is made in a process too): a child's peak starts at what its parent held.
    """
    for name in ("make", *(name for name in STAGES if name in only or name in NEEDED)):
        load_before = os.getloadavg()[0]
        command = [sys.executable, __file__, "--stage", name, "--folder", str(folder), "--rows", str(n_rows)]
        child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        if name in only:
            yield name, {**json.loads(child.stdout.splitlines()[-1]), "load": round(load_before, 2)}


def growth(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Return how many times the figures grow from each size to the next."""
    steps = list(pairwise(results.values()))
    return {
        name: {
            figure: [round(after[name][figure] / before[name][figure], 2) for before, after in steps]
            for figure in ("cpu_seconds", "peak_mb")
        }
        for name in STAGES
        if all(name in stages for stages in results.values())
    }


def line(n_rows: int, name: str, figures: dict[str, Any]) -> str:
    times = f"{figures['seconds']:8.2f} s {figures['cpu_seconds']:8.2f} CPU s"
    around = f"(before the stage {figures['start_mb']:,} MiB, load {figures['load']})"
    return f"{n_rows:>10,} {name:26} {times} {figures['peak_mb']:7,} MiB   {around}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", type=int, default=SIZES, help="interactions to make")
    parser.add_argument("--folder", type=Path, help="where the files go (default: a temporary folder)")
    # Set for the processes that do the work.
    parser.add_argument("--stage", choices=["make", *STAGES], help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="*", choices=STAGES, default=list(STAGES), help="stages to measure")
    options = parser.parse_args()
    if options.stage:
        print(json.dumps({"make": make, **STAGES}[options.stage](options.folder, options.rows[0])))
        return
    results: dict[str, dict[str, Any]] = {}
    for n_rows in options.rows:
        results[str(n_rows)] = {}
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for name, figures in measured(Path(folder), n_rows, options.only):
                results[str(n_rows)][name] = figures
                print(line(n_rows, name, figures), flush=True)
    if tuple(options.rows) == SIZES:
        keep(results)
    elif min(options.rows) > max(SIZES):
        about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit()}
        write_json(RESULTS.with_name("beyond.json"), {**about, "sizes": results})


def keep(results: dict[str, dict[str, Any]]) -> None:
    """Write results.json: all stages anew, or a few beside what is there, with the time and commit of their own."""
    whole = set(results[str(SIZES[0])]) == set(STAGES)
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit()}
    kept = {} if whole else json.loads(RESULTS.read_text())
    sizes = kept.get("sizes", {})
    for n_rows, stages in results.items():
        own = {name: figures | ({} if whole else about) for name, figures in stages.items()}
        sizes[n_rows] = sizes.get(n_rows, {}) | own
    report = {} if not whole else {
        **about, "versions": versions(),
        "threads": {"OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"], "processors": os.cpu_count()},
    }  # fmt: skip
    report = {**kept, **report, "sizes": sizes, "growth_per_step": growth(sizes)}
    for name, ratios in report["growth_per_step"].items():
        print(f"{name:26} grows: CPU seconds × {ratios['cpu_seconds']}, peak × {ratios['peak_mb']}")
    write_json(RESULTS, report)


if __name__ == "__main__":
    main()
