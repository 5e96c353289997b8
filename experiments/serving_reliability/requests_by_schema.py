"""Requests made from the service's own OpenAPI schema, well-formed and not: no 5xx, and no answer it does not declare.

A server of its own counts its 5xx besides, by /metrics: what schemathesis does not look at is not overlooked.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from server import KEYS, Client, Server

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
OFFERED = 'checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "501"]'  # 501: not offered, as declared
EXAMPLES = 25  # of an operation and phase
SECONDS = 900


def schema() -> dict[str, Any]:
    """Run schemathesis against a server with profiles."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "state.sqlite", full=True) as server:
        report = Path(folder) / "events.ndjson"
        (Path(folder) / "schemathesis.toml").write_text(OFFERED)
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json",
            "--checks", ",".join(CHECKS),
            "--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing", "--seed", "7", "--no-shrink",
            "--continue-on-failure", "--header", f"x-api-key:{KEYS[0]}", "--rate-limit", "45/s", "--no-color",
            "--request-timeout", "60", "--suppress-health-check", "all", "--generation-database", "none",
            "--output-sanitize", "false", "--report", "ndjson", "--report-ndjson-path", str(report),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=folder)
        metrics = Client(server.port).get("/metrics")[1].decode()
    answers = _answers(metrics)
    failures = sorted({line.strip() for line in done.stdout.splitlines() if re.match(r"\s*- ST\d", line)})
    print(done.stdout[-6000:], done.stderr[-1000:], flush=True)
    broken = {code: count for code, count in answers.items() if code.startswith("5") and code not in ("501", "503")}
    return {
        "schemathesis": schemathesis.__version__, "checks": list(CHECKS), "examples_of_an_operation": EXAMPLES,
        "requests": sum(answers.values()), "answers": answers, "server_errors": sum(broken.values()),
        "status": done.returncode, "failures": failures, "summary": _summary(done.stdout),
        "ok": done.returncode == 0 and not broken,
    }  # fmt: skip


def _answers(metrics: str) -> dict[str, int]:
    """Return how often the server answered with which status, by its own count."""
    found: Counter[str] = Counter()
    for line in metrics.splitlines():
        match = re.match(r'recsys_requests_total\{.*status="(\d+)".*\} ([0-9.e+]+)', line)
        if match:
            found[match[1]] += int(float(match[2]))
    return dict(sorted(found.items()))


def _summary(printed: str) -> list[str]:
    lines = [line.strip() for line in printed.splitlines()]
    start = next((place for place, line in enumerate(lines) if line.strip("= ") == "SUMMARY"), len(lines))
    return [line for line in lines[start + 1 :] if line.strip("= ") and "events.ndjson" not in line][:30]
