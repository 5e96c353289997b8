"""What does a user see when the input is broken? Every case goes through the real command line, in a new process.

    python experiments/broken_input/measure.py
    python experiments/broken_input/measure.py --only "truncated gzip" "NaN rating"

Each case writes small tables of its own into a temporary folder, breaks one thing and runs ``python -m recsys``. Prints
a table: what was done, the exit status, the message, word for word (the temporary folder shortened to …), and keeps it
in results.json. Exit status 1 if a case ends with a traceback, with another status than 2, or, where bad input is
tolerated, without the number of rows it touched. The last column of a failed case says which.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cases import CASES, recsys

from recsys.core.artifact import commit, versions, write_json


def try_case(name: str) -> dict[str, Any]:
    """Break, run, judge."""
    case = CASES[name]
    if case.wrap and shutil.which(case.wrap[0]) is None:
        return {"case": name, "skipped": f"{case.wrap[0]} is not installed", "faults": []}
    folder = Path(tempfile.mkdtemp(prefix="broken-"))
    try:
        case.break_it(folder)
        trained = next((folder / "artifacts" / "ranker").glob("[!.]*"), folder)
        done = recsys(folder, [part.replace("{ranker}", str(trained)) for part in case.command], case.wrap)
        ran = (folder / "RAN").exists()
    finally:
        if (folder / "artifacts").is_dir():
            (folder / "artifacts").chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)
    printed = (done.stdout + done.stderr).replace(str(folder), "…")
    lines = [line.strip() for line in printed.splitlines()]
    found = lines if case.tolerated else printed
    faults = [f"{word!r} is not in the message" for word in case.told if word not in found]
    faults += ["traceback"] * ("Traceback" in printed) + ["the pickle was executed"] * ran
    wanted = 0 if case.tolerated else 2
    if done.returncode != wanted:
        faults.append(f"exit status {done.returncode}, not {wanted}")
    message = [line for line in lines if line in case.told] if case.tolerated else lines
    message = message[next((place for place, line in enumerate(message) if line.startswith("error:")), 0) :]
    shown = " ".join(part.replace(str(folder), "…") for part in case.command).replace("{ranker}", "FOLDER")
    return {"case": name, "command": f"recsys {shown}", "status": done.returncode, "message": message, "faults": faults}


def to_markdown(results: list[dict[str, Any]]) -> str:
    """Return the table of the README."""
    lines = ["| what was done | exit status | message |", "|---|---|---|"]
    for result in results:
        text = "<br>".join(result.get("message", [])) or f"skipped: {result.get('skipped')}"
        text = re.sub(r"\s+", " ", text.replace("|", "\\|")).strip()
        faults = f" **{'; '.join(result['faults'])}**" if result["faults"] else ""
        lines.append(f"| {result['case']} | {result.get('status', '–')} | {text}{faults} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=CASES, metavar="CASE", help="cases to run (nothing is kept)")
    options = parser.parse_args()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(try_case, options.only or CASES))
    print(to_markdown(results))
    failed = [result["case"] for result in results if result["faults"]]
    report = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "versions": versions()}
    if not options.only:
        write_json(Path(__file__).with_name("results.json"), {**report, "cases": results})
    print(json.dumps({"cases": len(results), "skipped": sum("skipped" in r for r in results), "failed": failed}))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
