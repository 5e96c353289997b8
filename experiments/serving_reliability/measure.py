"""Does the service keep its promises? Each subcommand tries one of them on a real server and counts what it broke.

    python experiments/serving_reliability/measure.py kill
    python experiments/serving_reliability/measure.py all

Every server is a child process (`recsys serve`) on the packaged ml-100k, with a state file of its own, reached on
127.0.0.1 only. Rankers are trained once, into a folder of the temporary directory, and reused. Prints figures, keeps
them in results.json beside this file, and ends with status 1 if a promise was broken. What is proven is counted, not
timed; seconds are told, because they were measured, and depend on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from recsys.core.artifact import commit, versions, write_json

RESULTS = Path(__file__).with_name("results.json")
CHECKS = {
    "start": "starting:start",
    "read_your_writes": "writes:read_your_writes",
    "swap": "swapping:swap",
    "stop": "stopping:stop",
    "overload": "overload:overload",
    "schema": "requests_by_schema:schema",
    "odd": "odd:odd",
    "untrusted_items": "untrusted:items",
    "untrusted_edits": "untrusted:edits",
    "kill": "writes:kill",
}


def run(name: str) -> bool:
    """Measure one promise and keep its figures; return whether it was kept."""
    module, _, function = CHECKS[name].partition(":")
    found = getattr(importlib.import_module(module), function)()
    told = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1), **found}  # fmt: skip
    print(name, json.dumps({key: value for key, value in told.items() if key != "rounds"}), flush=True)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results.update(date=told["date"], commit=told["commit"], versions=versions())
    results.setdefault("checks", {})[name] = told
    write_json(RESULTS, results)
    return bool(found["ok"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", nargs="+", choices=[*CHECKS, "all"])
    wanted = parser.parse_args().check
    broken = [name for name in (CHECKS if "all" in wanted else wanted) if not run(name)]
    print(json.dumps({"broken": broken}))
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
