"""Does Ray give what one process gives, and at which price?

    python experiments/ray/measure.py overhead
    python experiments/ray/measure.py batch
    RECSYS_DATA=… python experiments/ray/measure.py encode
    python experiments/ray/measure.py sweep
    python experiments/ray/measure.py serving      with a PostgreSQL of its own, or --state postgresql://USER@HOST/EMPTY
    python experiments/ray/measure.py scaling
    python experiments/ray/measure.py table        writes nothing: the table of the README from results.json

Each part writes its own figures into results.json, and ends with status 1 where results are not equal. Wall and CPU
seconds are those of all processes together, Ray's own included.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from database import own_database
from serving import measure_scaling, measure_serving
from teams import HERE, PARTS

from recsys.core.artifact import commit, versions, write_json

SERVED = {"serving": measure_serving, "scaling": measure_scaling}
RESULTS = HERE / "results.json"


def write(part: str, figures: dict[str, Any], load: tuple[float, ...], root: Path) -> None:
    """Keep the figures of one part beside those of the others; no path of this machine is among them."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    made = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "cores": os.cpu_count(),
        "load_before": load, "load_after": os.getloadavg(), "versions": versions() | {"ray": version("ray")},
    }  # fmt: skip
    told = json.dumps(figures)
    assert not any(place in told for place in (str(root), str(HERE), os.environ.get("RECSYS_DATA") or str(root)))
    write_json(RESULTS, {**kept, part: {**figures, "made": made}})


def table() -> str:
    """Return the cases of all parts as lines of Markdown."""
    lines = ["| | start | work | with start and stop | CPU of the work | speed-up of the work | in all |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for part, figures in json.loads(RESULTS.read_text()).items():
        for name, told in figures.get("cases", {}).items():
            gains = [f"× {told[key]:.2f}" if key in told else "" for key in ("speed_up_of_work", "speed_up")]
            seconds = [f"{told[key]:.1f} s" for key in ("start_s", "work_s", "all_s", "work_cpu_s")]
            lines.append(f"| {part}: {name} | " + " | ".join([*seconds, *gains]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, *SERVED, "table"])
    parser.add_argument("--state", help="of serving and scaling: an empty PostgreSQL database [one started here]")
    asked, load = parser.parse_args(), os.getloadavg()
    if asked.part == "table":
        print(table())
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if asked.part in PARTS:
            figures = PARTS[asked.part](root)
        else:
            with own_database(asked.state) as state:
                figures = SERVED[asked.part](root, state)
        write(asked.part, figures, load, root)
    print(json.dumps(figures, indent=2))
    if not figures["equal"]:
        raise SystemExit(f"{asked.part}: the results are not equal")


if __name__ == "__main__":
    main()
