"""Models are swapped under load: every list is wholly of one version, and what is damaged never answers."""

from __future__ import annotations

import http.client
import json
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server import Client, Server, trained

USERS = [str(user) for user in range(1, 41)]
CLIENTS = 8


class Asker(threading.Thread):
    """Asks for lists until told to stop, and compares each with what either version alone gives.

    Args:
        port, number: of the client.
        expected: by variant and user, the whole answer.
        stop: is set when there has been enough.
    """

    def __init__(self, port: int, number: int, expected: dict[str, dict[str, Any]], stop: threading.Event) -> None:
        super().__init__()
        self.client, self.number, self.expected, self.stop_now = Client(port, number), number, expected, stop
        self.found: Counter[str] = Counter()

    def run(self) -> None:
        place = self.number
        while not self.stop_now.is_set():
            user, place = USERS[place % len(USERS)], place + 1
            try:
                status, body, _ = self.client.get("/v1/recommendations", user_id=user, k=20)
            except (OSError, http.client.HTTPException):
                self.found["no answer"] += 1
                continue
            self.found[str(status)] += 1
            if status == 200:
                self.found[f"by {body['model']}"] += 1
                self.found["mixed"] += body != self.expected.get(body["model"], {}).get(user)


def swap(activations: int = 50) -> dict[str, Any]:
    """Activate one model and the other under load; roll back now and then; offer damaged ones."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "state.sqlite") as server:
        admin = Client(server.port)
        assert admin.patient("POST", "/v1/models", {"name": "other", "artifact": str(trained("popularity"))})[0] == 201
        names = ("ease", "other")
        expected = {
            name: {user: admin.get("/v1/recommendations", user_id=user, k=20, model=name)[1] for user in USERS}
            for name in names
        }
        differ = sum(expected["ease"][user]["items"] != expected["other"][user]["items"] for user in USERS)
        stop = threading.Event()
        askers = [Asker(server.port, number, expected, stop) for number in range(1, CLIENTS + 1)]
        for asker in askers:
            asker.start()
        seconds = [_change(admin, names[(number + 1) % 2], number % 5 == 4) for number in range(activations)]
        refused = {name: _offer_damaged(admin, Path(folder), damage) for name, damage in DAMAGES.items()}
        current = admin.get("/v1/about")[1]["model"]
        stop.set()
        for asker in askers:
            asker.join()
        left = admin.get("/v1/models")[1]["variants"]
        logged = server.log.read_text()
    found = sum((asker.found for asker in askers), Counter())
    answers = {name: count for name, count in found.items() if name.isdigit()}
    inside = _inside(logged)
    back = [one for number, one in enumerate(seconds) if number % 5 == 4]
    failed = found["no answer"] + sum(count for code, count in answers.items() if code != "200")
    return {
        "activations": activations, "clients": CLIENTS, "users_whose_lists_differ": f"{differ} of {len(USERS)}",
        "answers": answers, "by_ease": found["by ease"], "by_other": found["by other"], "mixed": found["mixed"],
        "no_answer": found["no answer"], "rollbacks": len(back), "slowest_rollback_seconds": round(max(inside), 3),
        "slowest_list_after_rollback_seconds": round(max(back), 3),
        "slowest_list_after_activation_seconds": round(max(seconds), 3), "damaged_offers": refused,
        "current_after": current, "variants_after": sorted(left),
        "ok": not failed and not found["mixed"] and max(inside) <= 1 and set(refused.values()) == {"refused, 422"}
        and found["by ease"] > 0 < found["by other"] and sorted(left) == sorted(names),
    }  # fmt: skip


def _change(admin: Client, name: str, back: bool) -> float:
    """Activate a variant, or roll back to it; return the seconds until a list of it was there.

    Both requests wait for the processor as the load's own do.
    """
    time.sleep(0.1)
    started = time.monotonic()
    path, body = ("/v1/models/rollback", None) if back else ("/v1/models/activate", {"name": name})
    assert admin.patient("POST", path, body)[0] == 200
    answered = admin.get("/v1/recommendations", user_id="1", k=20)[1]["model"]
    assert answered == name, (answered, name)
    return time.monotonic() - started


def _inside(logged: str) -> list[float]:
    """Return the seconds that each roll-back took by the server's own log."""
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    return [one["ms"] / 1000 for one in lines if one["route"] == "/v1/models/rollback"]


def _flip(folder: Path) -> None:
    file = folder / "state.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _cut(folder: Path) -> None:
    file = folder / "state.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _other_settings(folder: Path) -> None:
    found = json.loads((folder / "ranker.json").read_text())
    (folder / "ranker.json").write_text(json.dumps({**found, "more": 1}))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "one bit of the weights": _flip, "half of the weights": _cut, "no manifest": _no_manifest,
    "a changed ranker.json": _other_settings,
}  # fmt: skip


def _offer_damaged(admin: Client, folder: Path, damage: Callable[[Path], None]) -> str:
    copy = folder / f"damaged-{damage.__name__.strip('_')}"
    shutil.copytree(trained("ease"), copy)
    damage(copy)
    status, _ = admin.patient("POST", "/v1/models", {"name": "damaged", "artifact": str(copy)})
    return f"{'taken' if status < 400 else 'refused'}, {status}"
