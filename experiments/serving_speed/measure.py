"""How fast are lists over HTTP and in batch, beside the least there can be and beside implicit?

    python experiments/serving_speed/measure.py http 50000          needs wrk
    python experiments/serving_speed/measure.py http 1000000
    python experiments/serving_speed/measure.py batch --peer PYTHON      a Python that has implicit
    python experiments/serving_speed/measure.py index 1000000            needs wrk and usearch

Each pair is measured in turns in one run; ratios count, for other work on the machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.core.artifact import commit, versions

HERE = Path(__file__).parent
PORTS = {"bare": 8461, "ours": 8462, "exact": 8463, "near": 8464}
BARE = {"bare": ("bare", ""), "ours, with reasons": ("ours", ""), "ours, ids and scores": ("ours", "&reasons=false")}
NEAR = {
    "exact, with reasons": ("exact", ""), "index, with reasons": ("near", ""),
    "exact, ids and scores": ("exact", "&reasons=false"), "index, ids and scores": ("near", "&reasons=false"),
}  # fmt: skip
ROUNDS, SECONDS = 3, 4
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def http(n_items: int, asked: Mapping[str, tuple[str, str]] = BARE, more: Sequence[str] = ()) -> dict[str, Any]:
    """Return requests a second, latencies and ratios at 1, 16 and 64 connections; what starting takes.

    Args:
        n_items: of the world.
        asked: who is measured: server, and what is added to the query; the first is what ratios are to.
        more: arguments of the servers.
    """
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed: apt-get install wrk")
    servers, found = {}, {"items": n_items, "starts": {}, "runs": []}
    try:
        for kind in dict.fromkeys(kind for kind, _ in asked.values()):
            port, started = PORTS[kind], time.perf_counter()
            command = [sys.executable, str(HERE / "world.py"), kind, str(port), str(n_items), *more]
            servers[kind] = subprocess.Popen(command, env=ONE_THREAD)
            wait_for(f"http://127.0.0.1:{port}/v1/recommendations?user_id=u1", servers[kind])
            found["starts"][kind] = {
                "ready_s": round(time.perf_counter() - started, 1),
                "rss_mib": rss(servers[kind].pid),
            }
        for connections in (1, 16, 64):
            for number in range(ROUNDS):
                for name, (kind, suffix) in asked.items():
                    figures = wrk(PORTS[kind], connections, suffix)
                    found["runs"].append({"connections": connections, "round": number, "who": name, **figures})
                    print(found["runs"][-1], file=sys.stderr)
        found["after"] = {kind: {"rss_mib": rss(server.pid)} for kind, server in servers.items()}
    finally:
        for server in servers.values():
            server.terminate()
            server.wait(20)
    found["table"] = table(found["runs"], list(asked))
    return found


def index(n_items: int) -> dict[str, Any]:
    """Return what an index takes and finds, and lists and requests a second with and without it."""
    with tempfile.TemporaryDirectory() as folder:
        graph = str(Path(folder) / "graph.usearch")
        command = [sys.executable, str(HERE / "near.py"), str(n_items), graph]
        done = subprocess.run(command, env=ONE_THREAD, stdout=subprocess.PIPE, text=True, check=True)
        return {**json.loads(done.stdout), **http(n_items, NEAR, [graph])}


def table(runs: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return medians over rounds, and the median of each round's ratio to the first of ``names``."""
    rows = []
    for connections in sorted({one["connections"] for one in runs}):
        of = lambda name: [one for one in runs if (one["connections"], one["who"]) == (connections, name)]  # noqa: B023, E731
        least = of(names[0])
        for name in names:
            mine = of(name)
            ratios = [one["rps"] / other["rps"] for one, other in zip(mine, least, strict=True)]
            rows.append({
                "connections": connections, "who": name, "ratio": round(statistics.median(ratios), 2),
                **{key: round(statistics.median(one[key] for one in mine), 1) for key in ("rps", "p50_ms", "p99_ms")},
            })  # fmt: skip
    return rows


def wrk(port: int, connections: int, suffix: str) -> dict[str, float]:
    """Return what wrk measured; any answer but 200 ends the measurement."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "--timeout", "10s",
               "-s", str(HERE / "users.lua"), f"http://127.0.0.1:{port}", "--", suffix]  # fmt: skip
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told:
        sys.exit(f"not all answers were good:\n{told}")
    latency = {share: milliseconds(*re.search(rf"{share}%\s+([\d.]+)(\w+)", told).groups()) for share in (50, 99)}
    return {
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1]), "p50_ms": latency[50], "p99_ms": latency[99],
    }  # fmt: skip


def milliseconds(number: str, unit: str) -> float:
    """Return a time of wrk's as milliseconds."""
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]


def wait_for(url: str, server: subprocess.Popen) -> None:
    """Return when it answers.

    Raises:
        SystemExit: it ended, or takes more than five minutes.
    """
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except OSError:
            if server.poll() is not None:
                sys.exit("the server ended")
            time.sleep(0.5)
    sys.exit("the server does not answer")


def rss(pid: int) -> int:
    """Return a process's resident size in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


def batch(peer: str) -> dict[str, Any]:
    """Return users a second of our batch path and of implicit's recommend, in turns."""
    runs = {"ours": [], "implicit": []}
    for _ in range(ROUNDS):
        for name, python in (("ours", sys.executable), ("implicit", peer)):
            done = subprocess.run([python, str(HERE / "batch.py"), name], capture_output=True, text=True, check=True)
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(name, runs[name][-1], file=sys.stderr)
    ratios = {
        key: round(statistics.median(one[key] / other[key] for one, other in zip(*runs.values(), strict=True)), 2)
        for key in ("users_a_cpu_s", "users_a_s")
    }  # fmt: skip
    return {"runs": runs, "ratio": ratios}


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["http", "batch", "index"])
    parser.add_argument("items", type=int, nargs="?", default=50_000)
    parser.add_argument("--peer", default="python3")
    chosen = parser.parse_args()
    name = "batch" if chosen.what == "batch" else f"{chosen.what}-{chosen.items}"
    found = batch(chosen.peer) if chosen.what == "batch" else {"http": http, "index": index}[chosen.what](chosen.items)
    path = HERE / "results.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    kept[name] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "versions": versions(),
                  **found}  # fmt: skip
    path.write_text(json.dumps(kept, indent=1) + "\n")
    print(json.dumps(found.get("table", found), indent=1))


if __name__ == "__main__":
    main()
