"""Unpacking archives that are not trusted: all of it inside the folder, or nothing at all.

Written by hand because the filters of CPython's tarfile before 3.11.13 can be
led outside. Only plain files and folders are made; links of any kind are
refused, so no later member can be written through an earlier one.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from recsys.core.errors import DataError

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
_CHUNK = 1 << 20
_LONG_HEADER = 1 << 20  # bytes; a member's extra header (long name, pax) is read into memory at once


@dataclass(frozen=True)
class Caps:
    """What an archive may grow to.

    Attributes:
        max_bytes: all files together.
        max_ratio: unpacked to packed size; not asked below ``free_bytes``, as tiny texts pack very well.
        max_files: members, folders included.
    """

    max_bytes: int = 64 * 2**30
    max_ratio: float = 100.0
    free_bytes: int = 64 * 2**20
    max_files: int = 200_000


class _Refused(Exception):
    pass


@dataclass
class _Writer:
    """Writes members below ``root`` and keeps count."""

    root: Path
    packed: int
    caps: Caps
    total: int = 0
    members: int = 0
    seen: dict[tuple[str, ...], tuple[tuple[str, ...], bool]] = field(default_factory=dict)

    def add(self, name: str, content: IO[bytes] | None, declared: int = 0) -> None:
        """Write one file, or make a folder where ``content`` is ``None``."""
        self.members += 1
        if self.members > self.caps.max_files:
            raise _Refused(f"holds more than {self.caps.max_files:,} members")
        if declared < 0:
            raise _Refused(f"member {name!r:.80} has a negative size")
        self._check_total(self.total + declared)
        parts = _safe_parts(name)
        self._claim(parts, is_folder=content is None, name=name)
        if content is not None and (not parts or name.endswith("/")):
            raise _Refused(f"member {name!r:.80} has an unsafe name")
        path = self.root.joinpath(*parts)
        if content is None:  # "." is the root itself
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            while chunk := content.read(_CHUNK):
                self.total += len(chunk)
                self._check_total(self.total)
                out.write(chunk)

    def _check_total(self, total: int) -> None:
        if total > self.caps.max_bytes:
            raise _Refused(f"unpacks to more than {self.caps.max_bytes:,} bytes")
        if total > max(self.caps.free_bytes, self.caps.max_ratio * self.packed):
            raise _Refused(f"unpacks to more than {self.caps.max_ratio:g} times its size")

    def _claim(self, parts: tuple[str, ...], is_folder: bool, name: str) -> None:
        """Refuse names that are one on a file system that folds case or Unicode forms, and files used as folders."""
        for depth in range(1, len(parts) + 1):
            here, file = parts[:depth], depth == len(parts) and not is_folder
            key = tuple(unicodedata.normalize("NFKC", part).casefold() for part in here)
            before = self.seen.get(key)
            if before is not None and (file or before != (here, True)):
                raise _Refused(f"member {name!r:.80} collides with {'/'.join(before[0])!r:.80}")
            self.seen[key] = here, not file


def safe_unpack(archive: Path, folder: Path, caps: Caps | None = None) -> Path:
    """Unpack a .zip, .tar, .tar.gz, .tgz or single .gz file into the new folder ``folder``.

    The files are written into a draft beside ``folder`` that is renamed at the end;
    on refusal or failure the draft is deleted.

    Raises:
        DataError: a damaged archive, an unsafe name, a link or device, names that collide, or more than
            ``caps`` allows. Nothing is left behind.
    """
    caps = caps or Caps()
    if folder.exists():
        raise DataError(f"folder {folder}", "exists already", "Delete it, or unpack elsewhere.")
    try:
        packed = archive.stat().st_size
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.draft-", dir=folder.parent))
    except OSError as error:
        raise DataError(f"archive {archive}", error.strerror or str(error), "Check the path and permissions.") from None
    try:
        _unpack(archive, _Writer(draft, packed, caps))
        draft.chmod(0o755)
        os.rename(draft, folder)
    except _Refused as error:
        raise DataError(f"archive {archive}", str(error), "It is refused as a whole; fetch it from its home.") from None
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise _damaged(archive, error) from None
        raise DataError(f"archive {archive}", error.strerror or str(error), "Check space and permissions.") from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise _damaged(archive, error) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _damaged(archive: Path, error: Exception) -> DataError:
    cause = f"cannot be read: {error or type(error).__name__}"
    return DataError(f"archive {archive}", cause, "It is damaged or of another kind; delete it and fetch it again.")


def _unpack(archive: Path, writer: _Writer) -> None:
    name = archive.name.lower()
    if name.endswith(".zip"):
        _unpack_zip(archive, writer)
    elif name.endswith((".tar.gz", ".tgz")):
        with gzip.open(archive, "rb") as stream:
            _unpack_tar(stream, writer)
    elif name.endswith(".tar"):
        with archive.open("rb") as stream:
            _unpack_tar(stream, writer)
    elif name.endswith(".gz"):
        with gzip.open(archive, "rb") as stream:
            writer.add(archive.name[:-3], stream)
    else:
        raise _Refused("is of a kind that is not unpacked (.zip, .tar, .tar.gz, .tgz and .gz are)")


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    with zipfile.ZipFile(archive) as source:
        members = source.infolist()
        if len(members) > writer.caps.max_files:
            raise _Refused(f"holds more than {writer.caps.max_files:,} members")
        writer._check_total(sum(member.file_size for member in members))
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _Refused(f"member {member.filename!r:.80} is a link or a device")
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _Refused(f"member {member.filename!r:.80} is encrypted or packed in an unusual way")
            if "\0" in member.orig_filename:  # zipfile cuts names there
                raise _Refused(f"member {member.orig_filename!r:.80} has an unsafe name")
            if member.is_dir() or kind == stat.S_IFDIR:
                if member.file_size:
                    raise _Refused(f"member {member.filename!r:.80} is a folder with content")
                writer.add(member.filename, None)
            else:
                with source.open(member) as content:
                    writer.add(member.filename, content, member.file_size)


class _Member(tarfile.TarInfo):
    """Refuses extra headers that would fill the memory before any member is seen."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        extra = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
                 tarfile.SOLARIS_XHDTYPE)  # fmt: skip
        if self.type in extra and not 0 <= self.size <= _LONG_HEADER:
            raise _Refused("has an oversized header")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise _Refused(f"member {self.name!r:.80} is a sparse file")
        return super()._proc_member(archive)  # type: ignore[misc]


class _Metered:
    """A decompressed stream that stops at the caps, so that skipped bytes count too."""

    def __init__(self, stream: IO[bytes], writer: _Writer) -> None:
        self.stream, self.writer, self.total = stream, writer, 0

    def read(self, size: int) -> bytes:
        chunk = self.stream.read(size)
        self.total += len(chunk)
        headers = 2048 * self.writer.caps.max_files
        self.writer._check_total(max(0, self.total - headers))
        return chunk


def _tar_members(source: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := source.next()) is not None:
        yield member
        source.members = []  # tarfile keeps every header otherwise


def _unpack_tar(stream: IO[bytes], writer: _Writer) -> None:
    metered = _Metered(stream, writer)
    with tarfile.open(fileobj=metered, mode="r|", tarinfo=_Member) as source:  # type: ignore[call-overload]
        for member in _tar_members(source):
            if member.isdir():
                writer.add(member.name, None)
            elif member.isreg() and not member.issparse():
                content = source.extractfile(member)
                if content is None:
                    raise _Refused(f"member {member.name!r:.80} has no content")
                before = writer.total
                writer.add(member.name, content, member.size)
                if writer.total - before != member.size:
                    raise EOFError(f"member {member.name!r:.80} is cut off")
            else:
                raise _Refused(f"member {member.name!r:.80} is a link or a device")
    while metered.read(_CHUNK):  # gzip's checksum comes last
        pass


def _safe_parts(name: str) -> tuple[str, ...]:
    """Split a member's name; only names that stay below the root on every system are let through."""
    parts = name.rstrip("/").split("/")
    if parts[0] == ".":
        parts = parts[1:]
    unsafe = (
        name.startswith("/")
        or any(part in ("", ".", "..") for part in parts)
        or any(char in name for char in "\\\0:")
        or any(ord(char) < 32 for char in name)
        or any(0xD800 <= ord(char) < 0xE000 for char in name)
    )
    if unsafe:
        raise _Refused(f"member {name!r:.80} has an unsafe name")
    return tuple(parts)
