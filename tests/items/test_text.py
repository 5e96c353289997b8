"""Item text and its vectors: the packaged encoder tells meanings apart, and is what its authors' recipe gives."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recsys.core.values import ITEM_SCHEMA
from recsys.items.encoders.minilm import MiniLM
from recsys.items.text import item_texts


def items(*rows: tuple) -> pl.DataFrame:
    return pl.DataFrame([(str(place), *row, None) for place, row in enumerate(rows)], schema=ITEM_SCHEMA, orient="row")


def test_text_of_an_item() -> None:
    table = items(
        ("Alien (1979)", None, ["genre:Horror", "genre:Sci-Fi", "year:1979"]),
        ("Fargo", "A car salesman hires two criminals.", ["genre:Crime"]),
        (None, None, []),
    )
    assert item_texts(table) == [
        "Alien (1979). genre: Horror, Sci-Fi",
        "Fargo. A car salesman hires two criminals",
        "",
    ]


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    from recsys.core.runtime import Run

    texts = ["A frightening film about aliens in space", "Space horror", "A tender love story in Paris"]
    return MiniLM(MiniLM.Settings()).encode(texts, run=Run(log=lambda message: None))


def test_vectors_are_unit_length(vectors: np.ndarray) -> None:
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)


def test_near_meanings_are_nearer(vectors: np.ndarray) -> None:
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_batching_and_padding_do_not_matter(vectors: np.ndarray, run) -> None:
    one = MiniLM(MiniLM.Settings(batch_size=1)).encode(["Space horror"], run=run)
    np.testing.assert_allclose(one[0], vectors[1], atol=1e-5)
