"""Measure the ingest of synthetic interactions: CSV → own tables → canonical data set → splits.

    python experiments/ingest_scale/measure.py --rows 10000000

Prints one JSON object. The work runs in a process of its own, so that the peak
memory is that of the ingest alone (and not of making the CSV file).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recsys.core.runtime import Run, peak_memory_mb

CHUNK = 1_000_000


def write_csv(path: Path, n_rows: int) -> None:
    """Write interactions of n/20 users with items of a long-tailed popularity, in no order."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    n_users, n_items = max(n_rows // 20, 10), max(n_rows // 100, 10)
    with path.open("wb") as file:
        for start in range(0, n_rows, CHUNK):
            n = min(CHUNK, n_rows - start)
            chunk = {
                "user_id": rng.integers(0, n_users, n),
                "item_id": (rng.pareto(1.2, n) * n_items / 300).astype(np.int64) % n_items,
                "rating": rng.integers(1, 11, n) / 2,
                "timestamp": rng.integers(1_500_000_000_000, 1_700_000_000_000, n),
            }
            frame = pl.DataFrame(chunk).select(
                pl.format("u{}", "user_id").alias("user_id"),
                pl.format("item-{}", "item_id").alias("item_id"),
                "rating",
                "timestamp",
            )
            frame.write_csv(file, include_header=start == 0)


def ingest(csv: Path, folder: Path, k_core: int) -> dict[str, object]:
    """Ingest, load and split; return seconds and the peak after each step."""
    import polars as pl

    from recsys.data.canonical import CanonicalSettings, canonicalise, load_dataset
    from recsys.data.sources.own import OwnTables
    from recsys.data.splits import SplitSettings, make_split

    run = Run(log=lambda message: None)
    result: dict[str, object] = {"csv_mb": round(csv.stat().st_size / 2**20, 1), "threads": pl.thread_pool_size()}
    began = time.perf_counter()
    source = OwnTables(OwnTables.Settings(interactions=csv.name))
    settings = CanonicalSettings(k_core=k_core)
    counts = canonicalise(source.tables(csv.parent, run=run), settings, "synthetic", folder, run=run)
    seconds = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result |= {"seconds": round(seconds, 2), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2)}
    result |= {"peak_mb": round(peak_memory_mb(), 1)}
    began = time.perf_counter()
    dataset = load_dataset(folder)
    result |= {"load_seconds": round(time.perf_counter() - began, 2), "kept_rows": len(dataset.interactions)}
    result |= {"users": len(dataset.users), "items": len(dataset.items)}
    for kind in ("random", "leave_last", "global_time", "cold_items"):
        began = time.perf_counter()
        make_split(dataset, SplitSettings(kind=kind), run=run)
        result[f"{kind}_seconds"] = round(time.perf_counter() - began, 2)
    result |= {"peak_mb_with_splits": round(peak_memory_mb(), 1)}
    result["counts"] = {count.what: count.rows for count in counts}
    return result


def main() -> None:
    """Make the CSV file, ingest it in a process of its own, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="interactions to make")
    parser.add_argument("--k-core", type=int, default=5, help="core to keep")
    parser.add_argument("--folder", type=Path, help="where the files go (default: a temporary folder)")
    parser.add_argument("--csv", type=Path, help=argparse.SUPPRESS)  # set for the process that does the work
    args = parser.parse_args()
    if args.csv:
        print(json.dumps(ingest(args.csv, args.csv.parent / "dataset", args.k_core)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        csv = Path(folder) / "interactions.csv"
        write_csv(csv, args.rows)
        command = [sys.executable, __file__, "--csv", str(csv), "--k-core", str(args.k_core)]
        child = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    result = json.loads(child.stdout)
    print(json.dumps({"rows": args.rows, "rows_per_second": round(args.rows / result["seconds"]), **result}, indent=1))


if __name__ == "__main__":
    main()
