"""Encoding by several workers: the same vectors and counts as by one, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field
from test_encoding import files, table
from tiny_models import picture

from recsys.core.config import Settings as BaseSettings
from recsys.executing import make_executor
from recsys.items import make_encoder, parts
from recsys.items.encoding import encode_items
from recsys.items.parts import encode_items_by

WORDS = ("a submarine", "in the deep sea", "dreams of", "a small town", "and its last", "piano player", "under snow")


class Length:
    """A text by its length, a picture by its mean colour; another process can make it anew."""

    modalities = ("text", "image")

    class Settings(BaseSettings):
        dim: int = Field(3, description="Numbers of a vector.")
        fails_at: str = Field("", description="A text that stops it.")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def encode(self, contents: Sequence, modality: str, *, run) -> np.ndarray:
        if self.settings.fails_at in contents:
            raise KeyboardInterrupt
        values = [len(x) if isinstance(x, str) else np.asarray(x).mean() for x in contents]
        return np.tile(np.array(values, dtype=np.float32)[:, None], (1, self.settings.dim))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(parts, "ROWS", {"text": 4, "image": 2})
    parts._encoder.cache_clear()
    yield
    parts._encoder.cache_clear()


def texts(n: int) -> list[str]:
    return [" ".join(WORDS[(n * n + step) % 7] for step in range(n % 11 + 1)) + f" {n}" for n in range(n)]


def test_vectors_and_counts_are_those_of_one_worker(tmp_path: Path, run) -> None:
    encoder = Length(Length.Settings())
    items = table(["one", None, "three", "", "one", "sixth", "seventh one", "three", "ninth"])
    alone = encode_items(items, encoder, "text", tmp_path / "alone", run=run)
    for name in ("serial", "local"):
        with make_executor(name, 2) as team:
            made = encode_items_by(team.map, items, encoder, "text", tmp_path / name, run=run)
            again = encode_items_by(team.map, items, encoder, "text", tmp_path / name, run=run)
        np.testing.assert_array_equal(made.vectors, alone.vectors)
        np.testing.assert_array_equal(again.vectors, alone.vectors)
        assert made.counts == alone.counts
        assert again.fresh == 0
        assert alone.fresh == 5
    with make_executor("serial", 1) as team:  # which sees what it kept: equal contents of other parts are known
        assert encode_items_by(team.map, items, encoder, "text", tmp_path / "anew", run=run).fresh == 5


def test_pictures_that_cannot_be_used_are_counted_once(tmp_path: Path, run) -> None:
    paths = files(tmp_path, [None, b"no picture", b"none either"])
    for colour in ("red", "green", "blue"):
        paths.append(str(tmp_path / f"{colour}.png"))
        picture(colour).save(paths[-1])
    items = table([None] * 6, paths)
    encoder = Length(Length.Settings())
    alone = encode_items(items, encoder, "image", tmp_path / "alone", run=run)
    with make_executor("serial", 1) as team:
        made = encode_items_by(team.map, items, encoder, "image", tmp_path / "parts", run=run)
    np.testing.assert_array_equal(made.vectors, alone.vectors)
    assert (made.counts, made.fresh) == (alone.counts, 3)
    assert sum(count.rows for count in made.counts) == 3


def test_interrupted_it_goes_on_with_what_is_left(tmp_path: Path, run) -> None:
    items = table([f"text {'x' * (n + 1)}" for n in range(12)])
    with make_executor("serial", 1) as team:
        stopped = Length(Length.Settings(fails_at="text " + "x" * 10))
        with pytest.raises(KeyboardInterrupt):
            encode_items_by(team.map, items, stopped, "text", tmp_path, run=run)
        made = encode_items_by(team.map, items, Length(Length.Settings()), "text", tmp_path, run=run)
    assert made.fresh == 4
    assert made.vectors[:, 0].tolist() == [6 + n for n in range(12)]


@pytest.mark.slow
def test_a_real_encoder_gives_the_same_numbers_by_two_workers(tmp_path: Path, run, monkeypatch) -> None:
    monkeypatch.setattr(parts, "ROWS", {"text": 32})
    items, encoder = table(texts(120)), make_encoder("minilm", "text", {})
    alone = encode_items(items, encoder, "text", tmp_path / "alone", run=run)
    with make_executor("local", 2) as team:
        made = encode_items_by(team.map, items, encoder, "text", tmp_path / "two", run=run)
    assert np.abs(made.vectors - alone.vectors).max() < 1e-6
    assert made.fresh == alone.fresh == 120
