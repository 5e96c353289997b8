"""What does it cost to turn the posters and plots of MovieLens latest-small into vectors, the first time and again?

    RECSYS_DATA=… python experiments/encoding_cost/measure.py

Encodes everything into a new artifacts folder, then once more with the artifacts gone and the vectors kept,
and writes results.json: wall and CPU seconds, and the largest resident size of the process so far.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.core.artifact import commit, write_json
from recsys.core.runtime import quiet_threads
from recsys.runconfig import read_config
from recsys.workflow import Workflow

HERE = Path(__file__).parent
CONFIG = HERE.parent / "latest_small_random" / "config.toml"


def encode(artifacts: Path, raw: Path) -> dict[str, Any]:
    """Return what encoding costs, by modality."""
    config = read_config(CONFIG, (f"data.raw={str(raw)!r}", f"run.artifacts={str(artifacts)!r}"))
    made = Workflow(config, progress=True).items()
    kept = ("wall_s", "cpu_s", "peak_memory_mb")
    facts = ("items", "encoded", "fresh", "dim")
    return {
        name: {key: artifact.manifest[key] for key in kept} | {key: artifact.manifest["results"][key] for key in facts}
        for name, artifact in made.items()
    }


def main() -> None:
    import os

    import torch

    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    quiet_threads()
    raw = Path(os.environ.get("RECSYS_DATA", "data/raw")) / "movielens-latest-small"
    with tempfile.TemporaryDirectory() as folder:
        artifacts = Path(folder)
        first = encode(artifacts, raw)
        shutil.rmtree(artifacts / "items")
        again = encode(artifacts, raw)
    results = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(),
        "threads": torch.get_num_threads(), "load": os.getloadavg()[0], "first": first, "again": again,
    }  # fmt: skip
    write_json(HERE / "results.json", results)
    for run, rows in (("first", first), ("again", again)):
        for name, row in rows.items():
            told = f"{row['wall_s']:.0f} s ({row['cpu_s']:.0f} CPU s), peak {row['peak_memory_mb']:.0f} MiB"
            print(f"{run} {name}: {row['encoded']:,} of {row['items']:,} items, {row['fresh']:,} new: {told}")


if __name__ == "__main__":
    main()
