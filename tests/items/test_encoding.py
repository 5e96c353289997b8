"""Encoding a table: nothing twice, nothing lost, and what cannot be used is counted while the run goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hostile_pictures import REFUSED, saved
from tiny_models import picture

from recsys.core.artifact import read_arrays, write_arrays
from recsys.core.errors import EncoderError
from recsys.core.values import ITEM_SCHEMA
from recsys.items import encoding
from recsys.items.cache import VectorCache, content_digest
from recsys.items.encoding import encode_items

from waiting import LONG


class Length:
    """A text by its length, a picture by its mean colour; remembers what it was given."""

    modalities = ("text", "image")

    def __init__(self, dim: int = 3, fail_after: int | None = None) -> None:
        self.dim, self.fail_after, self.given = dim, fail_after, []

    def encode(self, contents: Sequence, modality: str, *, run) -> np.ndarray:
        if self.fail_after is not None and len(self.given) >= self.fail_after:
            raise KeyboardInterrupt
        self.given += list(contents)
        values = [len(x) if isinstance(x, str) else np.asarray(x).mean() for x in contents]
        return np.tile(np.array(values, dtype=np.float32)[:, None], (1, self.dim))


def table(texts: Sequence[str | None], images: Sequence[str | None] | None = None) -> pl.DataFrame:
    images = images or [None] * len(texts)
    rows = [(f"i{n}", None, text, [], image) for n, (text, image) in enumerate(zip(texts, images, strict=True))]
    return pl.DataFrame(rows, schema=ITEM_SCHEMA, orient="row")


def files(folder: Path, contents: Sequence[bytes | None]) -> list[str | None]:
    paths = []
    for place, content in enumerate(contents):
        path = folder / f"{place}.jpg"
        if content is not None:
            path.write_bytes(content)
        paths.append(None if content is None else str(path))
    return paths


@pytest.mark.parametrize("shard", [1, 256])
def test_equal_contents_are_encoded_once_and_empty_ones_never(tmp_path, run, monkeypatch, shard) -> None:
    monkeypatch.setattr(encoding._Texts, "shard", shard)
    encoder = Length()
    made = encode_items(table(["bbb", "a", None, "bbb", ""]), encoder, "text", tmp_path / "v", run=run)
    assert encoder.given == ["a", "bbb"]  # like lengths together
    assert made.fresh == 2
    np.testing.assert_array_equal(made.vectors[:, 0], [3, 1, np.nan, 3, np.nan])
    assert [(count.what, count.rows) for count in made.counts] == [("items without any text", 2)]
    again = encode_items(table(["a", "cc", "bbb"]), encoder, "text", tmp_path / "v", run=run)
    assert encoder.given == ["a", "bbb", "cc"]
    np.testing.assert_array_equal(again.vectors[:, 0], [1, 2, 3])


class Short(Length):
    """Reads two words of a text."""

    def cut(self, texts: Sequence[str]) -> tuple[int, np.ndarray]:
        return 2, np.array([len(text.split()) > 2 for text in texts])


def test_texts_that_are_cut_are_counted_known_ones_too(tmp_path, run) -> None:
    items = table(["a b", None, "a b c", "a", "x y z"])
    for _ in range(2):  # the second time nothing is left to encode
        made = encode_items(items, Short(), "text", tmp_path / "v", run=run)
        assert [(count.what, count.rows, count.example) for count in made.counts] == [
            ("items without any text", 1, ""),
            ("texts (of 4) longer than the 2 tokens that Short reads: cut", 2, "first: item 'i2'"),
        ]


def test_hostile_pictures_are_counted_and_the_others_encoded(tmp_path, run) -> None:
    good = saved(picture("red"), "JPEG")
    bad = [data for data, _ in REFUSED.values()]
    cut = REFUSED["cut.jpg"][0]
    images = [*files(tmp_path, [good, None, *bad, cut, good]), "https://example.org/a.jpg", str(tmp_path)]
    items, encoder = table([f"text {n}" for n in range(len(images))], images), Length()
    made = encode_items(items, encoder, "image", tmp_path / "v", run=run)
    assert len(encoder.given) == made.fresh == 1
    present = np.flatnonzero(~np.isnan(made.vectors).any(axis=1))
    np.testing.assert_array_equal(present, [0, len(bad) + 3])
    told = {count.what: count.rows for count in made.counts}
    reasons = [reason for _, reason in REFUSED.values()]
    for reason in set(reasons):
        twice = reason == REFUSED["cut.jpg"][1]  # the same broken bytes again are a second item's loss
        assert told[f"pictures skipped: {reason}"] == reasons.count(reason) + twice
    assert told["pictures skipped: known by address only, and not fetched"] == 1
    assert told["pictures skipped: not a plain file"] == 1
    assert told["items without a picture"] == 1
    assert sum(told.values()) + len(present) == len(items)  # every item is accounted for
    text = encode_items(items, encoder, "text", tmp_path / "v", run=run)
    assert not np.isnan(text.vectors).any()  # they keep their text


def test_every_picture_file_is_read_once(tmp_path, run, monkeypatch) -> None:
    reads = []
    real = encoding.read_bytes
    monkeypatch.setattr(encoding, "read_bytes", lambda path: reads.append(path) or real(path))
    paths = files(tmp_path, [saved(picture(colour), "PNG") for colour in ("red", "blue", "green")])
    encode_items(table([None] * 3, paths), Length(), "image", tmp_path / "v", run=run)
    assert sorted(reads) == sorted(paths)


def test_a_changed_picture_is_encoded_again(tmp_path, run) -> None:
    paths = files(tmp_path, [saved(picture(colour), "PNG") for colour in ("red", "blue")])
    encoder, items = Length(), table([None, None], paths)
    before = encode_items(items, encoder, "image", tmp_path / "v", run=run).vectors
    facts = os.stat(paths[0])
    Path(paths[0]).write_bytes(saved(picture("white"), "PNG"))
    os.utime(paths[0], ns=(facts.st_atime_ns, facts.st_mtime_ns))  # the time says nothing
    after = encode_items(items, encoder, "image", tmp_path / "v", run=run)
    assert after.fresh == 1
    assert after.vectors[0, 0] > before[0, 0] + 20
    np.testing.assert_array_equal(after.vectors[1], before[1])


@pytest.mark.parametrize("modality", ["text", "image"])
def test_an_interrupted_encoding_goes_on(tmp_path, run, monkeypatch, modality) -> None:
    monkeypatch.setattr(encoding._Texts, "shard", 4)
    monkeypatch.setattr(encoding._Pictures, "shard", 4)
    paths = files(tmp_path, [saved(picture((20 * n, 0, 0)), "PNG") for n in range(10)])
    items = table([f"{'x' * n}." for n in range(1, 11)], paths)
    with pytest.raises(KeyboardInterrupt):
        encode_items(items, Length(fail_after=4), modality, tmp_path / "v", run=run)
    second = Length()
    made = encode_items(items, second, modality, tmp_path / "v", run=run)
    assert len(second.given) == made.fresh == 6
    whole = encode_items(items, Length(), modality, tmp_path / "other", run=run)
    np.testing.assert_array_equal(made.vectors, whole.vectors)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import numpy as np, test_encoding as t
from recsys.core.runtime import Run
from recsys.items import encoding
encoding._Texts.shard = 4
class Dies(t.Length):
    def encode(self, contents, modality, *, run):
        if self.given: os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(contents, modality, run=run)
encoding.encode_items(t.table(["x" * n for n in range(1, 11)]), Dies(), "text", t.Path(sys.argv[1]), run=Run())
"""


def test_a_killed_encoding_goes_on(tmp_path, run) -> None:
    folder = tmp_path / "v"
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), here], capture_output=True, timeout=LONG)
    assert done.returncode == -9, done.stderr
    encoder = Length()
    encode_items(table(["x" * n for n in range(1, 11)]), encoder, "text", folder, run=run)
    assert [len(text) for text in encoder.given] == [5, 6, 7, 8, 9, 10]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 64
    path.write_bytes(data)


def unrelated(path: Path) -> None:
    write_arrays(path, {"digests": np.zeros((2, 3), np.uint8), "vectors": np.zeros((1, 3), np.float32)})


@pytest.mark.parametrize(
    "harm", [flip, unrelated, lambda path: path.write_bytes(path.read_bytes()[:-9]), lambda path: path.write_bytes(b"")]
)
def test_a_damaged_shard_is_as_good_as_none(tmp_path, run, harm) -> None:
    items, folder = table(["a", "bb"]), tmp_path / "v"
    wanted = encode_items(items, Length(), "text", folder, run=run).vectors
    (shard,) = folder.glob("*.safetensors")
    harm(shard)
    made = encode_items(items, Length(), "text", folder, run=run)
    assert made.fresh == 2
    np.testing.assert_array_equal(made.vectors, wanted)
    assert encode_items(items, Length(), "text", folder, run=run).fresh == 0  # and is mended


def test_a_model_changed_in_place_is_told(tmp_path, run) -> None:
    encode_items(table(["a"]), Length(dim=3), "text", tmp_path / "v", run=run)
    with pytest.raises(EncoderError, match=r"3 and 4 numbers.*Delete that folder"):
        encode_items(table(["a", "bb"]), Length(dim=4), "text", tmp_path / "v", run=run)


def test_vectors_that_cannot_be_used_are_not_kept(tmp_path, run) -> None:
    class Broken(Length):
        def encode(self, contents, modality, *, run):
            return super().encode(contents, modality, run=run) * np.nan

    with pytest.raises(EncoderError, match="not finite"):
        encode_items(table(["a"]), Broken(), "text", tmp_path / "v", run=run)
    assert not list((tmp_path / "v").glob("*"))


def test_two_writers_of_one_shard_leave_it_whole(tmp_path, monkeypatch) -> None:
    """The second one writes and finishes while the first is in the middle of it."""
    from recsys.items import cache

    digests, vectors = [content_digest("a")], np.ones((1, 2), np.float32)
    real, nested = cache.write_arrays, []

    def interrupted(path: Path, arrays) -> None:
        real(path, arrays)
        if not nested:
            nested.append(True)
            monkeypatch.setattr(cache.os, "getpid", lambda: 7)
            VectorCache(tmp_path).add(digests, vectors)
            monkeypatch.undo()

    monkeypatch.setattr(cache, "write_arrays", interrupted)
    VectorCache(tmp_path).add(digests, vectors)
    (only,) = tmp_path.iterdir()
    np.testing.assert_array_equal(read_arrays(only)["vectors"], vectors)
