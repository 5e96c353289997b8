"""Pictures that nobody vouches for: refused quickly and in bounded memory, or shown as they should be."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hostile_pictures import REFUSED, png_bomb, saved, usable
from tiny_models import picture

from recsys.items import images
from recsys.items.images import ImageFault, decode, read_bytes

from waiting import LONG

USABLE = usable()


@pytest.mark.parametrize("name", REFUSED)
def test_refused_quickly_with_the_reason(tmp_path, name) -> None:
    data, reason = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    started = time.process_time()
    with pytest.raises(ImageFault) as caught:
        decode(read_bytes(tmp_path / name))
    assert str(caught.value) == reason
    assert time.process_time() - started < 5.0  # a thousandth of that, if it is not decoded


def test_what_is_no_file_is_refused_and_nothing_hangs(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    code = (
        "import sys\nfrom recsys.items.images import ImageFault, read_bytes\n"
        "for name in sys.argv[1:]:\n try: read_bytes(name); print('read')\n except ImageFault as fault: print(fault)"
    )
    names = ["pipe.jpg", "folder.jpg", "zero.jpg", "loop.jpg", "gone.jpg", "nul\\0.jpg"]
    done = subprocess.run(
        [sys.executable, "-c", code, *(str(tmp_path / name) for name in names)],
        capture_output=True, text=True, timeout=LONG,
    )  # fmt: skip
    reasons = ["not a plain file"] * 3 + ["cannot be opened", "no such file", "no such file"]
    assert done.stdout.splitlines() == reasons
    with pytest.raises(ImageFault, match="cannot be opened"):
        read_bytes("a\0b.jpg")


def test_too_large_a_file_is_not_read(tmp_path, monkeypatch) -> None:
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    with pytest.raises(ImageFault, match="larger than 32 MiB"):
        read_bytes(tmp_path / "sparse.jpg")
    (tmp_path / "grown.jpg").write_bytes(b"x" * 100)
    real = os.fstat(os.open(tmp_path / "grown.jpg", os.O_RDONLY))
    monkeypatch.setattr(images, "MAX_BYTES", 50)
    early = os.stat_result([*real[:6], 10, *real[7:10]])
    monkeypatch.setattr(images.os, "fstat", lambda descriptor: early)  # as it was a moment ago
    with pytest.raises(ImageFault, match="larger than"):
        read_bytes(tmp_path / "grown.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path) -> None:
    (tmp_path / "secret.jpg").write_bytes(USABLE["rgb.png"])
    (tmp_path / "secret.jpg").chmod(0)
    with pytest.raises(ImageFault, match="cannot be opened"):
        read_bytes(tmp_path / "secret.jpg")


@pytest.mark.parametrize("name", USABLE)
def test_odd_but_fine_pictures_become_rgb(name) -> None:
    made = decode(USABLE[name])
    assert made.mode == "RGB"
    assert max(made.size) <= images.MAX_SIDE


def pixels(name: str) -> np.ndarray:
    return np.asarray(decode(USABLE[name])).astype(int)


def test_they_look_as_they_should() -> None:
    plain = np.asarray(picture("red", (40, 20))).astype(int)  # [20, 40, 3]
    np.testing.assert_array_equal(pixels("rgb.png"), plain)
    np.testing.assert_array_equal(pixels("named.jpg"), plain)  # the content counts, not the name
    np.testing.assert_array_equal(pixels("turned.png"), np.rot90(plain, -1))
    assert abs(pixels("turned.jpg") - np.rot90(plain, -1)).mean() < 6
    assert abs(pixels("cmyk.jpg") - plain).mean() < 6  # not inverted
    np.testing.assert_array_equal(pixels("moving.webp"), plain)  # the first frame
    assert (pixels("clear.png") == 255).all()  # transparent is white, not what colour lies behind
    assert (pixels("clear.webp") == 255).all()
    assert (pixels("grey_alpha.png") == 255).all()
    ramp = pixels("grey16.png")[..., 0].ravel()
    np.testing.assert_array_equal(ramp, np.linspace(0, 65535, 800).astype(int) >> 8)  # all greys, not all white


def test_large_16_bit_greys_and_palettes_are_shrunk_smoothly() -> None:
    stripes = np.zeros((2048, 2048), dtype=np.uint16)
    stripes[:, ::2] = 65535  # thinned out instead of averaged it would be all black or all white
    assert abs(np.asarray(decode(saved(images_of(stripes), "PNG"))).mean() - 127) < 3
    palette = images_of((stripes >> 8).astype(np.uint8)).quantize(2)
    assert abs(np.asarray(decode(saved(palette, "PNG"))).mean() - 127) < 3


def images_of(array: np.ndarray):
    from PIL import Image

    return Image.fromarray(array)


MEASURE = """
import re, sys
from recsys.items.images import ImageFault, decode, read_bytes

def peak():  # of this program alone; resource.getrusage also tells of the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

decode(read_bytes(sys.argv[1]))
before = peak()
try: decode(read_bytes(sys.argv[2]))
except ImageFault as fault: print(fault, end="|")
else: print("used", end="|")
print(peak() - before)
"""
ONLY_LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")


def peak_mb(folder: Path, data: bytes) -> tuple[str, float]:
    """What became of a picture, and how many MiB it took at most, in a process of its own."""
    (folder / "small.png").write_bytes(USABLE["rgb.png"])
    (folder / "large").write_bytes(data)
    command = [sys.executable, "-c", MEASURE, str(folder / "small.png"), str(folder / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LONG)
    said, peak = done.stdout.split("|")
    return said, float(peak)


@ONLY_LINUX
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path) -> None:
    bomb = png_bomb(10_000, 8_000)  # 76 MiB of pixels
    assert len(bomb) < 1 << 20
    said, peak = peak_mb(tmp_path, bomb)
    assert said == "more than 40 million pixels"
    assert peak < 20


@ONLY_LINUX
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {"compress_level": 1}),
        ("JPEG", {"progressive": True, "subsampling": 0}),
        ("WEBP", {"lossless": True, "method": 0}),
    ],
)
def test_the_largest_that_is_allowed_takes_bounded_memory(tmp_path, kind, options) -> None:
    image = images_of(np.zeros((6_300, 6_300, 4), dtype=np.uint8))
    said, peak = peak_mb(tmp_path, saved(image.convert("RGB") if kind == "JPEG" else image, kind, **options))
    print(kind, said, round(peak), "MiB")
    assert said == "used"
    assert peak < 700  # WEBP: its own canvas, the frame, and our copy
