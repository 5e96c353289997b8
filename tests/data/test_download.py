"""Fetching against a server on this machine that misbehaves on request."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recsys.core.errors import DownloadError
from recsys.core.runtime import Run
from recsys.data.download import Patience, RemoteFile, fetch, fetch_and_unpack

from waiting import LONG

CONTENT = bytes(range(256)) * 4_000  # about 1 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
QUICK = Patience(timeout=LONG, attempts=3, pause=0.01, lock=LONG)


@dataclass
class Manners:
    """How the server behaves, and what it saw."""

    content: bytes = CONTENT
    etag: str | None = '"one"'
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)  # bytes sent before the connection is cut, request by request
    failures: list[int] = field(default_factory=list)  # status codes of the first requests
    redirect: str | None = None
    declare_length: bool = True
    wait: float = 0.0
    asked: list[str | None] = field(default_factory=list)  # the Range header of each request


@pytest.fixture
def manners() -> Manners:
    return Manners()


@pytest.fixture
def address(manners: Manners) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            serve(self, manners)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def serve(request: BaseHTTPRequestHandler, manners: Manners) -> None:
    if manners.redirect and request.path != "/moved":
        request.send_response(302)
        request.send_header("Location", manners.redirect)
        request.end_headers()
        return
    manners.asked.append(request.headers.get("Range"))
    if manners.failures:
        request.send_error(manners.failures.pop(0))
        return
    start = 0
    wanted = request.headers.get("Range")
    fresh = request.headers.get("If-Range") in (None, manners.etag)
    if wanted and manners.ranges and fresh:
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(manners.content):
            request.send_error(416)
            return
    body = manners.content[start:]
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(manners.content) - 1}/{len(manners.content)}")
    if manners.etag:
        request.send_header("ETag", manners.etag)
    if manners.declare_length:
        request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    time.sleep(manners.wait)
    request.wfile.write(body[: manners.cut_after.pop(0)] if manners.cut_after else body)


def left(raw: Path) -> set[str]:
    """Names in the folder, locks set aside."""
    return {path.name for path in raw.iterdir() if not path.name.endswith(".lock")}


@pytest.mark.parametrize("pin", [{"sha256": SHA256}, {"md5": MD5}, {"sha256": SHA256, "size": len(CONTENT)}])
def test_a_file_is_fetched_once(pin: dict, address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    file = RemoteFile(address + "/a.zip", "a.zip", **pin)
    for _ in range(2):
        assert fetch([file], tmp_path / "raw", run=run, patience=QUICK) == [tmp_path / "raw" / "a.zip"]
    assert (tmp_path / "raw" / "a.zip").read_bytes() == CONTENT
    assert left(tmp_path / "raw") == {"a.zip"}
    assert manners.asked == [None]


def test_a_cut_connection_is_resumed(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    manners.cut_after = [300_000, 200_000]
    fetch([RemoteFile(address + "/a", "a", sha256=SHA256)], tmp_path, run=run, patience=QUICK)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert manners.asked == [None, "bytes=300000-", "bytes=500000-"]
    assert left(tmp_path) == {"a"}


def test_a_later_call_resumes_too(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    manners.cut_after = [300_000]
    once = Patience(timeout=LONG, attempts=1, pause=0.01)
    file = RemoteFile(address + "/a", "a", sha256=SHA256)
    with pytest.raises(DownloadError, match=r"cut at 300,000 of 1,024,000 bytes"):
        fetch([file], tmp_path, run=run, patience=once)
    assert left(tmp_path) == {"a.part", "a.part.json"}
    fetch([file], tmp_path, run=run, patience=once)
    assert manners.asked == [None, "bytes=300000-"]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    manners.cut_after, manners.ranges = [300_000], False
    fetch([RemoteFile(address + "/a", "a", sha256=SHA256)], tmp_path, run=run, patience=QUICK)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert len(manners.asked) == 2


def test_a_file_that_changed_in_between_starts_over(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    manners.cut_after = [300_000]
    file = RemoteFile(address + "/a", "a")
    with pytest.raises(DownloadError):
        fetch([file], tmp_path, run=run, patience=Patience(timeout=LONG, attempts=1))
    manners.content, manners.etag = CONTENT[::-1], '"two"'
    fetch([file], tmp_path, run=run, patience=QUICK)
    assert (tmp_path / "a").read_bytes() == CONTENT[::-1]


def test_without_checksum_and_etag_halves_are_not_joined(address, manners: Manners, tmp_path: Path, run: Run) -> None:
    manners.cut_after, manners.etag = [300_000], None
    fetch([RemoteFile(address + "/a", "a")], tmp_path, run=run, patience=QUICK)
    assert manners.asked == [None, None]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_dropped(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT + b"more")
    fetch([RemoteFile(address + "/a", "a", sha256=SHA256)], tmp_path, run=run, patience=QUICK)
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(("kind", "good"), [("sha256", SHA256), ("md5", MD5)])
def test_a_wrong_checksum_deletes_the_file(kind: str, good: str, address: str, tmp_path: Path, run: Run) -> None:
    wrong = "0" * len(good)
    with pytest.raises(DownloadError) as caught:
        fetch([RemoteFile(address + "/a", "a", **{kind: wrong})], tmp_path, run=run, patience=QUICK)
    assert good in str(caught.value)
    assert wrong in str(caught.value)
    assert left(tmp_path) == set()


def test_a_wrong_size_deletes_the_file(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    with pytest.raises(DownloadError, match="1,024,000 bytes, not the 2,000,000"):
        fetch([RemoteFile(address + "/a", "a", size=2_000_000)], tmp_path, run=run, patience=QUICK)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("declared", [True, False])
def test_too_long_an_answer_is_refused(
    declared: bool, address: str, manners: Manners, tmp_path: Path, run: Run
) -> None:
    manners.declare_length = declared
    with pytest.raises(DownloadError, match=r"1,000 (bytes )?allowed"):
        fetch([RemoteFile(address + "/a", "a", max_bytes=1_000)], tmp_path, run=run, patience=QUICK)
    assert not (tmp_path / "a").exists()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_000


def test_the_first_use_is_recorded_and_held_to(address: str, tmp_path: Path, manners: Manners) -> None:
    said: list[str] = []
    run = Run(log=said.append)
    file = RemoteFile(address + "/a", "a")
    fetch([file], tmp_path, run=run, patience=QUICK)
    assert any(SHA256 in line for line in said)
    assert (tmp_path / "a.sha256").read_text() == f"{SHA256}  a\n"
    (tmp_path / "a").write_bytes(b"changed")
    with pytest.raises(DownloadError, match=SHA256):
        fetch([file], tmp_path, run=run, patience=QUICK)
    (tmp_path / "a").unlink()  # fetched anew, it is held to what was recorded
    manners.content = CONTENT[::-1]
    with pytest.raises(DownloadError, match=SHA256):
        fetch([file], tmp_path, run=run, patience=QUICK)


def test_a_file_put_there_by_hand_is_checked_and_kept(tmp_path: Path, run: Run) -> None:
    file = RemoteFile("http://127.0.0.1:9/a", "a", sha256=SHA256)
    (tmp_path / "a").write_bytes(b"another")
    with pytest.raises(DownloadError, match="Delete it"):
        fetch([file], tmp_path, run=run, patience=QUICK)
    assert (tmp_path / "a").read_bytes() == b"another"
    (tmp_path / "a").write_bytes(CONTENT)
    assert fetch([file], tmp_path, run=run, patience=QUICK) == [tmp_path / "a"]


def test_a_redirect_is_followed(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    manners.redirect = "/moved"
    fetch([RemoteFile(address + "/a", "a", sha256=SHA256)], tmp_path, run=run, patience=QUICK)
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a"])
def test_a_redirect_elsewhere_is_refused(target: str, address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    manners.redirect = target
    with pytest.raises(DownloadError, match=r"refused|not allowed"):
        fetch([RemoteFile(address + "/a", "a")], tmp_path, run=run, patience=QUICK)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://x.test/a", "/etc/hostname", "data:text/plain,x"])
def test_only_http_is_fetched(url: str, tmp_path: Path, run: Run) -> None:
    with pytest.raises(DownloadError, match="refused"):
        fetch([RemoteFile(url, "a")], tmp_path, run=run, patience=QUICK)


@pytest.mark.parametrize("name", ["../a", "a/b", "/a", "", ".", "..", ".hidden", "a\0b", "a b"])
def test_odd_names_are_refused(name: str, tmp_path: Path, run: Run) -> None:
    with pytest.raises(DownloadError, match="plain name"):
        fetch([RemoteFile("http://127.0.0.1:9/a", name)], tmp_path / "raw", run=run, patience=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_busy_servers_are_asked_again(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    manners.failures = [503, 429]
    fetch([RemoteFile(address + "/a", "a", sha256=SHA256)], tmp_path, run=run, patience=QUICK)
    assert len(manners.asked) == 3


def test_a_missing_file_is_not_asked_for_again(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    manners.failures = [404, 404]
    with pytest.raises(DownloadError, match="404"):
        fetch([RemoteFile(address + "/a", "a", sha256=SHA256)], tmp_path, run=run, patience=QUICK)
    assert len(manners.asked) == 1


def test_attempts_are_bounded(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    manners.failures = [500] * 10
    with pytest.raises(DownloadError, match="500"):
        fetch([RemoteFile(address + "/a", "a")], tmp_path, run=run, patience=QUICK)
    assert len(manners.asked) == QUICK.attempts


def test_offline_says_what_to_do(tmp_path: Path, run: Run) -> None:
    file = RemoteFile("http://127.0.0.1:9/ml-1m.zip", "ml-1m.zip", sha256=SHA256)
    with pytest.raises(DownloadError) as caught:
        fetch([file], tmp_path / "raw", run=run, patience=QUICK)
    message = str(caught.value)
    for part in ("ml-1m.zip", SHA256, str(tmp_path / "raw"), "curl -L -o", file.url, "run the same command again"):
        assert part in message


def test_a_read_only_folder_is_named(tmp_path: Path, run: Run) -> None:
    (tmp_path / "raw").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch([RemoteFile("http://127.0.0.1:9/a", "a")], tmp_path / "raw", run=run, patience=QUICK)


def test_two_processes_fetch_once(address: str, manners: Manners, tmp_path: Path) -> None:
    manners.wait = 0.5
    code = (
        "from pathlib import Path; from recsys.core.runtime import Run; from recsys.data.download import *\n"
        f"fetch([RemoteFile({address + '/a'!r}, 'a', sha256={SHA256!r})], Path({str(tmp_path)!r}), run=Run())"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=LONG)
        assert process.returncode == 0, errors
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert manners.asked == [None]
    assert left(tmp_path) == {"a"}


def test_archives_are_unpacked_once(address: str, manners: Manners, tmp_path: Path, run: Run) -> None:
    archive = tmp_path / "there.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("ml-1m/ratings.dat", "1::1::5::1\n")
    manners.content = archive.read_bytes()
    raw = tmp_path / "raw"
    for _ in range(2):
        assert fetch_and_unpack([RemoteFile(address + "/x", "ml-1m.zip")], raw, run=run, patience=QUICK) == raw
    assert (raw / "ml-1m" / "ml-1m" / "ratings.dat").read_text() == "1::1::5::1\n"
    assert len(manners.asked) == 1
