"""Fetching the files of a data set: pinned, resumed, locked, renamed into place when whole.

A file without a published checksum is trusted on first use: its SHA-256 is
printed and kept in ``<name>.sha256`` beside it, and every later use is checked
against that.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from recsys.core.errors import DownloadError
from recsys.core.runtime import Run
from recsys.data.unpack import ARCHIVES, safe_unpack

_CHUNK = 1 << 20
_PERMANENT = range(400, 500)
_TRY_AGAIN = (408, 425, 429)


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set and where it comes from.

    Attributes:
        url: http or https.
        name: of the file in the raw folder; a plain name.
        sha256, md5: published checksum in lower-case hex, or ``None``.
        size: bytes, exact, where it is known.
        max_bytes: a longer answer is refused.
    """

    url: str
    name: str
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    max_bytes: int = 32 * 2**30

    @property
    def checksum(self) -> tuple[str, str] | None:
        """The strongest pinned checksum: (algorithm, hex), or ``None``."""
        if self.sha256:
            return "sha256", self.sha256
        return ("md5", self.md5) if self.md5 else None


@dataclass(frozen=True)
class Patience:
    """How long to try: seconds of silence, attempts, seconds before the second attempt (doubled each time)."""

    timeout: float = 30.0
    attempts: int = 5
    pause: float = 1.0
    lock: float = 3600.0


class _Retry(Exception):
    """A failure that may pass."""


def fetch(files: Sequence[RemoteFile], raw: Path, *, run: Run, patience: Patience | None = None) -> list[Path]:
    """Bring ``files`` into folder ``raw``; those that are there and sound are not fetched again.

    A cut transfer is resumed from ``<name>.part``; two processes that want the
    same file wait for each other; a file has its name only once it is whole.

    Raises:
        DownloadError: no connection, a refused address, a wrong size or checksum; names file, checksum,
            folder and what to do next.
    """
    patience = patience or Patience()
    paths = []
    for file in files:
        path = raw / _plain(file)
        _check_scheme(file.url, file)
        try:
            raw.mkdir(parents=True, exist_ok=True)
            with FileLock(raw / f".{file.name}.lock", timeout=patience.lock):
                if path.exists():
                    _check_kept(file, path)
                else:
                    _download(file, path, run, patience)
        except Timeout:
            raise _error(file, raw, "another process has been fetching it for too long") from None
        except OSError as error:
            raise _error(file, raw, f"it cannot be written: {error.strerror or error}") from None
        paths.append(path)
    return paths


def fetch_and_unpack(files: Sequence[RemoteFile], raw: Path, *, run: Run, patience: Patience | None = None) -> Path:
    """Fetch ``files`` and unpack each archive into ``raw/<name without suffix>``; return ``raw``."""
    for path in fetch(files, raw, run=run, patience=patience):
        suffix = next((suffix for suffix in ARCHIVES if path.name.endswith(suffix)), None)
        folder = raw / path.name.removesuffix(suffix or "")
        if suffix is None:
            continue
        with FileLock(raw / f".{path.name}.lock", timeout=(patience or Patience()).lock):
            if not folder.exists():
                run.log(f"unpacking {path.name}")
                safe_unpack(path, folder)
    return raw


def _plain(file: RemoteFile) -> str:
    if not re.fullmatch(r"[\w][\w.\-]*", file.name, re.ASCII):
        raise DownloadError(f"file name {file.name!r}", "is no plain name", "Use letters, digits, '.', '-' and '_'.")
    return file.name


def _check_scheme(url: str, file: RemoteFile, https_only: bool = False) -> None:
    scheme = urlsplit(url).scheme
    if scheme not in (("https",) if https_only else ("http", "https")):
        raise DownloadError(
            f"file {file.name}", f"its address {url!r} is refused", "Only http and https, and no step back from https."
        )


def _error(file: RemoteFile, raw: Path, cause: str) -> DownloadError:
    sums = "no published checksum" if not file.checksum else "{}: {}".format(*file.checksum)
    remedy = (
        f"Check the connection and run the same command again (what was fetched is kept); or fetch it elsewhere, "
        f"put it at {raw / file.name} ({sums}) and run the same command: curl -L -o {raw / file.name} {file.url}"
    )
    return DownloadError(f"file {file.name} for {raw}", cause, remedy)


def _download(file: RemoteFile, path: Path, run: Run, patience: Patience) -> None:
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.pause * 2 ** (attempt - 1))
        try:
            _transfer(file, part, note, run, patience)
            break
        except _Retry as error:
            cause = str(error)
            run.log(f"{file.name}: {cause}; attempt {attempt + 1} of {patience.attempts}")
    else:
        raise _error(file, path.parent, cause)
    try:
        _check_new(file, part, path, run)
    except DownloadError:
        _remove(part, note)
        raise
    os.replace(part, path)
    _remove(note)


def _check_new(file: RemoteFile, part: Path, path: Path, run: Run) -> None:
    size = part.stat().st_size
    if file.size is not None and size != file.size:
        raise _error(file, path.parent, f"it has {size:,} bytes, not the {file.size:,} expected; it was deleted")
    kind, expected = _expected(file, path) or ("sha256", None)
    found = digest(part, kind)
    if expected is None:
        run.log(f"{file.name}: no published checksum; its sha256 {found} is recorded and asked for from now on")
        _write(_record(path), f"{found}  {file.name}\n")
    elif found != expected:
        raise _error(file, path.parent, f"wrong {kind}: expected {expected}, got {found}; the file was deleted")


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _expected(file: RemoteFile, path: Path) -> tuple[str, str] | None:
    """The published checksum, or the one recorded at the first use."""
    if file.checksum or not _record(path).exists():
        return file.checksum
    recorded = _record(path).read_text().split()
    return "sha256", recorded[0] if recorded else ""


def _transfer(file: RemoteFile, part: Path, note: Path, run: Run, patience: Patience) -> None:
    """One attempt: append to ``part`` where the server allows it, else start over."""
    done, validator = _resume_point(file, part, note)
    headers = {"User-Agent": "recsys", "Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-"} | ({"If-Range": validator} if validator else {})
    request = urllib.request.Request(file.url, headers=headers)
    try:
        with _opener(file).open(request, timeout=patience.timeout) as answer:
            done = _start(answer, done, part)
            _write(note, json.dumps({"url": file.url, "validator": _validator(answer)}))
            length = answer.headers.get("Content-Length", "")
            total = done + int(length) if length.isdigit() else None
            _copy(answer, part, done, total, file, run)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is kept does not fit what is there: start over
            _remove(part, note)
            raise _Retry("the kept part does not fit the file any more") from None
        cause = f"the server answered {error.code} {error.reason}"
        if error.code in _PERMANENT and error.code not in _TRY_AGAIN:
            raise _error(file, part.parent, cause) from None
        raise _Retry(cause) from None
    except urllib.error.URLError as error:
        raise _Retry(f"no connection: {error.reason}") from None
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _Retry(f"the connection broke: {error or type(error).__name__}") from None


def _resume_point(file: RemoteFile, part: Path, note: Path) -> tuple[int, str | None]:
    """How many bytes can be kept. Without a checksum or an ETag nothing proves that two halves belong together."""
    try:
        kept = json.loads(note.read_text())
        validator = kept["validator"] if kept["url"] == file.url else None
    except (OSError, ValueError, KeyError, TypeError):
        validator = None
    size = part.stat().st_size if part.exists() else 0
    return (size, validator) if file.checksum or validator else (0, None)


def _validator(answer: http.client.HTTPResponse) -> str | None:
    etag = answer.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")


def _start(answer: http.client.HTTPResponse, done: int, part: Path) -> int:
    """Return where the answer's first byte belongs; empties ``part`` when that is the beginning."""
    if done and answer.status == 206:
        match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if match and int(match[1]) == done:
            return done
        _remove(part)
        raise _Retry("the server sent another range than asked for")
    part.write_bytes(b"")
    return 0


def _copy(
    answer: http.client.HTTPResponse, part: Path, done: int, total: int | None, file: RemoteFile, run: Run
) -> None:
    from tqdm import tqdm

    limit = file.max_bytes if file.size is None else file.size
    if total is not None and total > limit:
        raise _error(file, part.parent, f"the server offers {total:,} bytes, more than the {limit:,} allowed")
    bar = tqdm(
        total=total, initial=done, desc=file.name, unit="B", unit_scale=True, disable=not run.progress,
        dynamic_ncols=True,
    )  # fmt: skip
    with bar, part.open("ab") as out:
        while chunk := answer.read(_CHUNK):
            done += len(chunk)
            if done > limit:
                out.close()
                _remove(part)
                raise _error(file, part.parent, f"the server sends more than the {limit:,} bytes allowed")
            out.write(chunk)
            bar.update(len(chunk))
        out.flush()
        os.fsync(out.fileno())
    if total is not None and done < total:
        raise _Retry(f"the connection was cut at {done:,} of {total:,} bytes")


def _opener(file: RemoteFile) -> urllib.request.OpenerDirector:
    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
            _check_scheme(newurl, file, https_only=urlsplit(req.full_url).scheme == "https")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return urllib.request.build_opener(Redirects)


def _check_kept(file: RemoteFile, path: Path) -> None:
    """Check a file that is in place; it may be somebody's own, so it is not deleted."""
    pinned = _expected(file, path)
    if pinned and (got := digest(path, pinned[0])) != pinned[1]:
        cause = f"wrong {pinned[0]}: expected {pinned[1]}, got {got}"
        raise DownloadError(f"file {path}", cause, "Delete it and run the same command again.")


def digest(path: Path, algorithm: str) -> str:
    """Return the checksum of a file in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _write(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".draft")
    draft.write_text(text)
    os.replace(draft, path)


def _remove(*paths: Path) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
