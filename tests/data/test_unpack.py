"""Hostile archives: nothing outside, nothing left behind."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.core.errors import DataError
from recsys.data.unpack import Caps, safe_unpack

SMALL = Caps(max_bytes=200_000, max_ratio=20, free_bytes=50_000, max_files=50)
UNSAFE = [
    "../out", "a/../../out", "a/..", "/tmp/out", "//out", "a//b", "./../out", "..", "a/./b", "C:/out", "C:out",
    "..\\out", "a\\b", "a\nb", "a\x1fb",
]  # fmt: skip


def make_zip(path: Path, members: dict[str, bytes], **options: object) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:  # type: ignore[arg-type]
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path: Path, members: list[tuple[str, bytes | None, bytes]]) -> Path:
    """Members are (name, content, type)."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as file:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content or b"")
            info.linkname = "../../outside"
            file.addfile(info, io.BytesIO(content) if content is not None else None)
    return path


def make_any(path: Path, content: bytes) -> None:
    """An archive of one file, of the kind that the suffix says."""
    if path.suffix == ".zip":
        make_zip(path, {"a": content})
    elif ".tar" in path.suffixes:
        make_tar(path, [("a", content, tarfile.REGTYPE)])
    else:
        path.write_bytes(gzip.compress(content))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refuse(archive: Path, words: str | None = None, caps: Caps = SMALL) -> None:
    """Unpacking fails with a DataError, and the disk is as it was."""
    before = tree(archive.parent)
    folders = {path for path in archive.parent.rglob("*") if path.is_dir()}
    with pytest.raises(DataError, match=words) as caught:
        safe_unpack(archive, archive.parent / "to", caps)
    assert str(archive) in str(caught.value)
    assert tree(archive.parent) == before
    assert {path for path in archive.parent.rglob("*") if path.is_dir()} == folders


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_good_archives(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    files = {"ml/ratings.dat": b"1::1", "ml/sub/Füße.csv": b"x" * 1000, "top": b""}
    if name.endswith("zip"):
        make_zip(path, {"ml/": b"", **files})
    else:
        make_tar(path, [("./", None, tarfile.DIRTYPE), ("./ml", None, tarfile.DIRTYPE)]
                 + [("./" + key, value, tarfile.REGTYPE) for key, value in files.items()])  # fmt: skip
    assert safe_unpack(path, tmp_path / "to", SMALL) == tmp_path / "to"
    assert tree(tmp_path / "to") == files
    assert {entry.name for entry in tmp_path.iterdir()} == {name, "to"}


def test_a_single_gzip_file(tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"{}"))
    safe_unpack(tmp_path / "a.json.gz", tmp_path / "to", SMALL)
    assert tree(tmp_path / "to") == {"a.json": b"{}"}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_names_in_zip(name: str, tmp_path: Path) -> None:
    refuse(make_zip(tmp_path / "a.zip", {"good": b"1", name: b"2"}), "unsafe name")


@pytest.mark.parametrize("name", [*UNSAFE, "", "."])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE])
def test_unsafe_names_in_tar(name: str, kind: bytes, tmp_path: Path) -> None:
    refuse(make_tar(tmp_path / "a.tar.gz", [("good", b"1", tarfile.REGTYPE), (name, b"2", kind)]))


def test_a_cut_name_in_zip(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"goodX../../out": b"1"})
    path.write_bytes(path.read_bytes().replace(b"goodX..", b"good\0.."))
    refuse(path)


def test_a_folder_with_content_in_zip(tmp_path: Path) -> None:
    refuse(make_zip(tmp_path / "a.zip", {"a/": b"x"}), "folder with content")


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060666, 0o010666, 0o140666])
def test_links_and_devices_in_zip(mode: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = mode << 16
        file.writestr(info, "../../outside")
    refuse(tmp_path / "a.zip", "link or a device")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"]
)
def test_links_and_devices_in_tar(kind: bytes, tmp_path: Path) -> None:
    members = [("d", None, kind), ("d/escaped", b"x", tarfile.REGTYPE)]
    refuse(make_tar(tmp_path / "a.tar", members))
    assert not (tmp_path.parent / "outside").exists()


def test_a_sparse_file_in_tar(tmp_path: Path) -> None:
    refuse(make_tar(tmp_path / "a.tar", [("sparse", b"", tarfile.GNUTYPE_SPARSE)]), "sparse")


@pytest.mark.parametrize(
    "names", [("A.txt", "a.txt"), ("d/x", "D/y"), ("ﬁle", "file"), ("é", "é"), ("a", "a"), ("a", "a/b"), ("a/b", "a")]
)
@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_colliding_names(names: tuple[str, str], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # zipfile notices a name that comes twice
            for name in names:
                file.writestr(name, "x")
    else:
        make_tar(path, [(name, b"x", tarfile.REGTYPE) for name in names])
    refuse(path, "collides")


def test_a_folder_may_come_twice(tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tar", [("d", None, tarfile.DIRTYPE), ("d/x", b"1", tarfile.REGTYPE),
                                  ("d", None, tarfile.DIRTYPE)])  # fmt: skip
    safe_unpack(tmp_path / "a.tar", tmp_path / "to", SMALL)
    assert tree(tmp_path / "to") == {"d/x": b"1"}


@pytest.mark.parametrize("suffix", ["zip", "tar.gz", "gz"])
def test_bombs(suffix: str, tmp_path: Path) -> None:
    path, zeros = tmp_path / f"a.{suffix}", bytes(150_000)
    make_any(path, zeros)
    refuse(path, "times its size")
    refuse(path, "more than 100,000 bytes", Caps(max_bytes=100_000, max_ratio=1e9))
    assert safe_unpack(path, tmp_path / "to", Caps(max_ratio=1e9)).is_dir()


def test_a_zip_that_lies_about_its_size(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"zeros": bytes(150_000)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 150_000), struct.pack("<I", 10)))
    refuse(path)


def test_a_tar_bomb_in_a_skipped_member(tmp_path: Path) -> None:
    refuse(make_tar(tmp_path / "a.tar.gz", [("volume", bytes(150_000), b"V")]))


def test_a_huge_header_in_tar(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    info = tarfile.TarInfo("x" * 5)
    info.type, info.size = tarfile.XHDTYPE, 3 * 2**30
    path.write_bytes(gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + bytes(100_000)))
    refuse(path, "oversized header", Caps())


def test_many_members(tmp_path: Path) -> None:
    refuse(make_zip(tmp_path / "a.zip", {f"f{n}": b"" for n in range(51)}), "more than 50 members")
    (tmp_path / "a.zip").unlink()
    refuse(make_tar(tmp_path / "a.tar", [(f"f{n}", b"", tarfile.REGTYPE) for n in range(51)]), "more than 50 members")


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "gz"])
def test_damaged_archives(suffix: str, tmp_path: Path) -> None:
    path, noise = tmp_path / f"a.{suffix}", os.urandom(40_000)
    path.write_bytes(b"no archive at all" * 100)
    refuse(path, "damaged|is a link or a device")
    path.unlink()
    make_any(path, noise)
    whole = path.read_bytes()
    path.write_bytes(whole[:20_000])
    refuse(path, "damaged")
    if suffix != "tar":  # which has no checksum of its content
        path.write_bytes(whole[:10_000] + bytes(100) + whole[10_100:])
        refuse(path, "damaged")


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": b"x"})
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(content)
    refuse(path, "encrypted")


def test_other_kinds_and_places(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"x")
    refuse(tmp_path / "a.rar", "not unpacked")
    good = make_zip(tmp_path / "a.zip", {"a": b"x"})
    with pytest.raises(DataError, match="No such file"):
        safe_unpack(tmp_path / "none.zip", tmp_path / "to")
    (tmp_path / "to").mkdir()
    with pytest.raises(DataError, match="exists already"):
        safe_unpack(good, tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


def test_no_permissions_are_taken_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("run")
        info.external_attr = 0o106777 << 16
        file.writestr(info, "x")
    safe_unpack(tmp_path / "a.zip", tmp_path / "to")
    assert (tmp_path / "to" / "run").stat().st_mode & 0o7111 == 0


_NAMES = st.text(st.sampled_from(list("aAb./\\é:\n~ ")), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_NAMES, min_size=1, max_size=4), st.booleans())
def test_whatever_the_names_nothing_lands_outside(tmp_path_factory, names: list[str], as_zip: bool) -> None:
    root = tmp_path_factory.mktemp("world")
    inner = root / "inner"
    inner.mkdir()
    if as_zip:
        make_zip(inner / "a.zip", dict.fromkeys(names, b"x"))
    else:
        make_tar(inner / "a.tar", [(name, b"x", tarfile.REGTYPE) for name in names])
    archive = next(inner.iterdir())
    try:
        safe_unpack(archive, inner / "to", SMALL)
        assert len(tree(inner / "to")) == len(set(names)) if as_zip else True
    except DataError:
        assert {path.name for path in inner.iterdir()} == {archive.name}
    assert {path.name for path in root.iterdir()} == {"inner"}
    assert {path.name for path in inner.iterdir()} <= {archive.name, "to"}
