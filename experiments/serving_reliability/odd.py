"""Odd ids, deep JSON and oversized bodies at every door: rejected or harmless, and no id becomes a file."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from server import HOME, Client, Server

ODD = {
    "dots": "../../../../tmp/odd-canary", "dots encoded": "%2e%2e%2f%2e%2e%2fodd-canary", "absolute": "/tmp/odd-canary",
    "file": "file:///tmp/odd-canary", "backslashes": "..\\..\\odd-canary", "NUL": "1\0odd-canary",
    "newline": "1\nodd-canary", "escape": "\x1b[2Jodd-canary", "right to left": "\u202eodd-canary",
    "emoji": "😀" * 200, "combining": "e\u0301" * 128, "bytes over the limit of names": "ü" * 256,
    "a MB": "x" * (1 << 20), "257": "x" * 257, "empty": "", "space": " ", "dot": ".", "two dots": "..",
    "tilde": "~root", "quote": "'; DROP TABLE events; --", "star": "*", "device": "CON", "template": "{{7*7}}${7*7}",
    "number": "-1", "large": "9" * 200, "null": "null", "true": "true", "percent": "%00",
    "not a letter": "\ufffe\uffff", "surrogate": "\ud800", "zero width": "1\u200b", "full width": "１",
}  # fmt: skip
TIMEOUT = 120.0


def odd() -> dict[str, Any]:
    """Send them, and compare what lies in the folders before and after."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "state.sqlite", full=True) as server:
        doors = _doors(Client(server.port).get("/openapi.json")[1])
        Client(server.port).get("/v1/profile", user_id="1")
        before = _listing(Path(folder))
        found: Counter[str] = Counter()
        faults = []
        for kind, method, path, place, name, other in doors:
            for label, value in ODD.items():
                status = _send(server.port, method, path, place, name, value, other)
                found[status] += 1
                if status not in ("200", "201", "307", "400", "404", "405", "413", "422", "431", "501"):
                    faults.append(f"{method} {path} {kind} {name}={label}: {status}")
        bodies = {name: _raw(server.port, method, path, body) for name, method, path, body in _bodies()}
        heads = _heads(server)
        appeared = sorted(_listing(Path(folder)) - before)
        memory, well = server.memory("VmHWM"), Client(server.port).get("/v1/recommendations", user_id="1")[0]
    faults += [f"{name}: {status}" for name, status in bodies.items() if status[0] != "4"]
    return {
        "doors": len(doors), "odd_values": len(ODD), "requests": sum(found.values()), "answers": dict(found),
        "bodies": bodies, "heads": heads, "files_that_appeared": appeared, "mib_at_most": round(memory),
        "answers_after": well, "faults": faults,
        "ok": not faults and not appeared and well == 200 and all(one["mib_more"] < 20 for one in heads.values()),
    }  # fmt: skip


def _doors(schema: dict[str, Any]) -> list[tuple[str, str, str, str, str, Any]]:
    """Return every parameter and every text of a body, with what else its request needs."""
    found = []
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            parameters = about.get("parameters", [])
            needed = {one["name"]: "1" for one in parameters if one.get("required")}
            body = _example(schema, about)
            for one in parameters:
                found.append(("parameter", method.upper(), path, one["in"], one["name"], (needed, body)))
            for name, value in (body or {}).items():
                if isinstance(value, str | list):
                    found.append(("body", method.upper(), path, "body", name, (needed, body)))
    return found


def _example(schema: dict[str, Any], about: dict[str, Any]) -> dict[str, Any] | None:
    content = about.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    kept = schema["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    examples = {"user_id": "1", "item_id": "1", "kind": "like", "edits": ["raise genre:Drama"], "title": "A",
                "name": "a", "artifact": "nowhere", "split": {}, "text": "", "attributes": [], "filter": [],
                "history": [], "only": [], "never": [], "model": "", "key": "k", "picture": ""}  # fmt: skip
    return {name: examples[name] for name in kept["properties"] if name in examples}


def _send(port: int, method: str, path: str, place: str, name: str, value: str, other: Any) -> str:
    query, body = dict(other[0]), other[1] and dict(other[1])
    if place == "path":
        path = path.replace("{" + name + "}", quote(value.encode("utf-8", "surrogatepass"), safe=""))
    elif place == "query":
        query[name] = value
    elif body:
        body[name] = [value] if isinstance(body[name], list) else value
    path = path.replace("{name}", "a").replace("{album}", "a")
    pairs = [f"{key}={quote(text.encode('utf-8', 'surrogatepass'), safe='')}" for key, text in query.items()
             if "{" + key + "}" not in path]  # fmt: skip
    return _raw(port, method, f"{path}?{'&'.join(pairs)}", None if body is None else json.dumps(body).encode())


def _raw(port: int, method: str, path: str, body: bytes | None) -> str:
    """Return the status, or what became of the connection; wait where the server says so."""
    client = Client(port, hash((method, path[:60])) % 1000, TIMEOUT)
    for _ in range(50):
        try:
            status, _, headers = client.ask(method, path, body)
        except (BrokenPipeError, ConnectionResetError):
            return "400"  # it was told so and did not listen: the server closes what is too large
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        if status != 429:
            return str(status)
        client.connection.close()
        time.sleep(float(headers["retry-after"]))
    return "429"


def _bodies() -> Iterator[tuple[str, str, str, bytes]]:
    for path in ("/v1/recommendations", "/v1/feedback", "/v1/users", "/v1/items", "/v1/profile", "/v1/models"):
        yield f"{path}: 100,000 deep lists", "POST", path, b"[" * 100_000 + b"]" * 100_000
        yield f"{path}: 100,000 deep objects", "POST", path, b'{"a":' * 100_000 + b"1" + b"}" * 100_000
        yield f"{path}: 13 MiB", "POST", path, b'{"user_id":"' + b"x" * (13 << 20) + b'"}'
        yield f"{path}: a long number", "POST", path, b'{"k":' + b"9" * 900_000 + b"}"
        yield f"{path}: not UTF-8", "POST", path, b'{"user_id":"\xff\xfe"}'
        yield f"{path}: half", "POST", path, b'{"user_id":"'
        yield f"{path}: NaN", "POST", path, b'{"user_id":NaN,"k":Infinity}'


def _heads(server: Server) -> dict[str, dict[str, float]]:
    """Send up to 50 MB of a head that does not end; return what was sent, and what it left in memory."""
    found = {}
    for name, start in {"address": b"GET /", "header": b"GET / HTTP/1.1\r\nhost: x\r\na: "}.items():
        before, sent = server.memory(), 0
        with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as there:
            with contextlib.suppress(OSError):
                there.sendall(start)
                while sent < 50_000_000:
                    there.sendall(b"x" * 50_000)
                    sent += 50_000
            found[name] = {"bytes_sent": sent, "mib_more": round(server.memory() - before, 1)}
    return found


def _listing(folder: Path) -> set[str]:
    """Return the names of all files that a server has anything to do with."""
    there = [path for root in (HOME, folder) for path in root.resolve().rglob("*")]
    there += list((HOME / "artifacts").resolve().rglob("*"))
    there += list(Path(tempfile.gettempdir()).glob("*canary*")) + list(Path.cwd().glob("*canary*"))
    return {str(path) for path in there if not path.name.startswith("state.")}
