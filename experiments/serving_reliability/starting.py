"""How long a start takes, and how much memory a server has when it is ready."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from server import Client, Server


def start(times: int = 3) -> dict[str, Any]:
    """Start servers of lists alone, one after the other; processor seconds do not depend on who else is busy."""
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "state.sqlite") as server:
            seconds, spent = server.ready_after, _processor_seconds(server.process.pid)
            ready = server.memory()
            for user in range(1, 201):
                Client(server.port).items(str(user))
            found.append({"seconds": round(seconds, 1), "processor_seconds": round(spent, 1),
                          "mib_when_ready": round(ready), "mib_after_200_lists": round(server.memory()),
                          "mib_at_most": round(server.memory("VmHWM"))})  # fmt: skip
        print(found[-1], flush=True)
    return {"starts": found, "ok": True}


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
