"""Models by name, from a hub that runs here: fetched once, known by commit, and never with what could run as code."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import tiny_models

from recsys.core.errors import EncoderError
from recsys.items.encoders.sentence import Sentence

OLD, NEW, NAME = "a" * 40, "b" * 40, "somebody/tiny"


class Hub:
    """Serves the files of one model at two commits; the branch main is the newer one."""

    def __init__(self, files: dict[str, dict[str, bytes]]) -> None:
        self.files, self.asked, self.gated = files, [], False
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0].strip("/")
        self.asked.append(path)
        status, body, headers = self.find(path)
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)

    def find(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        if self.gated:
            return 403, b"", {"X-Error-Code": "GatedRepo"}
        if NAME not in path:
            return 404, b"", {"X-Error-Code": "RepoNotFound"}
        kind, _, rest = path.replace(f"api/models/{NAME}", "api").replace(NAME, "files").partition("/")
        parts = rest.split("/")
        revision = {"main": NEW, "": NEW}.get(parts[1] if len(parts) > 1 else "", parts[1] if len(parts) > 1 else NEW)
        if revision not in self.files:
            return 404, b"", {"X-Error-Code": "RevisionNotFound"}
        files = self.files[revision]
        if kind == "api" and parts[0] != "tree":
            return 200, json.dumps({"id": NAME, "sha": revision, "siblings": []}).encode(), {}
        marks = {name: hashlib.sha1(data).hexdigest() for name, data in files.items()}
        if kind == "api":
            tree = [{"type": "file", "path": n, "size": len(d), "oid": marks[n]} for n, d in files.items()]
            return 200, json.dumps(tree).encode(), {}
        name = "/".join(parts[2:])
        return 200, files[name], {"ETag": f'"{marks[name]}"', "X-Repo-Commit": revision}


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    model = tmp_path / "made"
    tiny_models.bert(model, "cls_token")
    files = {str(file.relative_to(model)): file.read_bytes() for file in model.rglob("*") if file.is_file()}
    files |= {"pytorch_model.bin": b"pickled", "modeling_own.py": b"raise SystemExit", "onnx/config.json": b"{}"}
    older = files | {"1_Pooling/config.json": json.dumps({"pooling_mode_mean_tokens": True}).encode()}
    hub = Hub({OLD: older, NEW: files})
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def sentence(**options) -> Sentence:
    return Sentence(Sentence.Settings(model=NAME, **options))


def test_a_model_is_fetched_once_and_known_by_its_commit(hub, tmp_path, run, monkeypatch) -> None:
    first = sentence()
    assert first.identity() == f"{NAME}@{NEW}"
    assert not any("resolve" in path for path in hub.asked)  # nothing is fetched to know which it is
    rows = first.encode(["red shoe"], run=run)
    here = Sentence(Sentence.Settings(model=str(tmp_path / "made"))).encode(["red shoe"], run=run)
    np.testing.assert_array_equal(rows, here)
    fetched = {path.rpartition("/")[2] for path in hub.asked if "resolve" in path}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= fetched
    assert not fetched & {"pytorch_model.bin", "modeling_own.py"}
    assert not any("onnx" in path for path in hub.asked)
    hub.server.shutdown()
    hub.server.server_close()
    later = sentence(revision=NEW)
    np.testing.assert_array_equal(later.encode(["red shoe"], run=run), rows)  # without a network
    assert later.identity() == first.identity()


def test_a_revision_is_another_model(hub, run) -> None:
    old, new = sentence(revision=OLD), sentence()
    assert old.identity() != new.identity()
    assert not np.allclose(old.encode(["red shoe"], run=run), new.encode(["red shoe"], run=run))  # pools otherwise


def test_what_the_hub_refuses_is_explained(hub) -> None:
    with pytest.raises(EncoderError, match="has no revision 'nowhere'"):
        sentence(revision="nowhere").identity()
    with pytest.raises(EncoderError, match="not on the hub, or is private"):
        Sentence(Sentence.Settings(model="somebody/else")).identity()
    hub.gated = True
    with pytest.raises(EncoderError, match="accepted its licence"):
        sentence().identity()


def test_a_cached_model_is_found_by_name_without_a_network(hub, run) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(NAME)  # as "hf download" does
    hub.server.shutdown()
    hub.server.server_close()
    found = sentence()
    assert found.identity() == f"{NAME}@{NEW}"
    assert found.encode(["red shoe"], run=run).shape == (1, 16)
