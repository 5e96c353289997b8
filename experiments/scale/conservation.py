"""What does it cost to count the records of a file apart from the parser? The ingest with and without, in turn.

    python experiments/scale/conservation.py                  10 million rows, five pairs, about five minutes
    python experiments/scale/conservation.py --rows 1000000

The same file as measure.py's. Without: nothing looks through the file, polars is left to watch the quotes, and no
number of rows is compared. Prints CPU seconds of each pair and the median of their ratios; kept in conservation.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from stages import QUIET, clock, make

from recsys.core.artifact import commit, write_json


def ingest(folder: Path, counted: bool) -> dict[str, Any]:
    """CSV → canonical tables, with or without the count."""
    from recsys.data.canonical import CanonicalSettings, canonicalise
    from recsys.data.reading import repair, tables
    from recsys.data.reading.records import Survey
    from recsys.data.sources import own

    if not counted:
        repair.survey = lambda *_: Survey(quoted=True)
        own.conserved = tables.conserved = lambda *_: None
    source = own.OwnTables(own.OwnTables.Settings(interactions="interactions.csv"))
    with clock() as figures:
        found = source.tables(folder, run=QUIET)
        found = found if counted else replace(found, records=None)
        canonicalise(found, CanonicalSettings(), "synthetic", folder / "dataset", run=QUIET)
    return figures


def child(folder: Path, counted: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", "with" if counted else "without", "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--child", choices=["with", "without"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(ingest(options.folder, options.child == "with")))
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.rows)
        pairs = []
        for _ in range(options.pairs):
            pair = {name: child(Path(folder), name == "with") for name in ("without", "with")}
            pair["ratio"] = pair["with"]["cpu_seconds"] / pair["without"]["cpu_seconds"]
            print(f"CPU {pair['without']['cpu_seconds']:.2f} s without, {pair['with']['cpu_seconds']:.2f} s with")
            pairs.append(pair)
    ratio = statistics.median(pair["ratio"] for pair in pairs)
    print(f"median of the ratios: {ratio:.3f}")
    about = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "rows": options.rows}
    write_json(Path(__file__).with_suffix(".json"), about | {"median_ratio": ratio, "pairs": pairs})


if __name__ == "__main__":
    main()
