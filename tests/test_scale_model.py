"""The cost model counts what the code makes, follows from the measured sizes, and says so when it is wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.graph.interaction import InteractionGraph
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.sampling import NegativeSampler

from worlds import blocks

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "scale"
sys.path.insert(0, str(FOLDER))

import counting  # noqa: E402
import limits  # noqa: E402
import model  # noqa: E402

sys.path.remove(str(FOLDER))


def test_an_entry_takes_what_the_code_gives_it() -> None:
    split = blocks()
    train, part = split.train, split.part
    times = np.zeros(len(train), dtype=np.int64)
    whole = replace(train, rating=np.zeros(len(train), dtype=np.float32), timestamp=times, weight=None)
    columns = (whole.user_idx, whole.item_idx, whole.rating, whole.timestamp)
    adjacency = InteractionGraph(train).normalised()
    _, indices, values = SparseMatrix(adjacency, symmetric=True)._forward
    assert {
        "interaction": sum(column.itemsize for column in columns),
        "part": part.itemsize,
        "csr": adjacency.data.itemsize + adjacency.indices.itemsize,
        "csr64": 8 + adjacency.indices.itemsize,
        "packed": indices.element_size() + values.element_size(),
        "history": train.histories.items.itemsize,
        "key": NegativeSampler(train).keys.itemsize,
        "vector": 4 * counting.DIM,
    } == counting.ENTRY
    assert train.matrix.indices.dtype == adjacency.indices.dtype == np.int32


def test_a_law_is_found_again_and_a_larger_size_predicted() -> None:
    worlds = [counting.World(n, n, 0.8 * n, n / 100, 1000, 1000, 0.8 * n) for n in (1e5, 1e6, 1e7)]
    stage = counting.STAGES["graph"]
    found = [{"cpu_seconds": 3e-7 * w.edges, "peak_mb": 90 + 1.5 * stage.memory(w) / model.MIB} for w in worlds]
    told = model.modelled("graph", worlds, found, replace(worlds[-1], kept=1e9, train=8e8))
    assert told["memory"]["fixed_mib"] == pytest.approx(90)
    assert told["memory"]["factor_of_counted"] == pytest.approx(1.5)
    assert told["left_out"]["cpu_error"] == pytest.approx(0, abs=1e-9)
    assert told["target"]["cpu_s"] == pytest.approx(3e-7 * 1.6e9)
    found[-1]["cpu_seconds"] *= 2  # twice as slow at the end: said, and expected to go on at most
    told = model.modelled("graph", worlds, found, replace(worlds[-1], kept=1e9, train=8e8))
    assert told["left_out"]["cpu_error"] == pytest.approx(-0.5)
    assert told["target"]["cpu_s"] == pytest.approx(2 * 3e-7 * 1.6e9)
    assert told["target"]["cpu_s_at_most"] == pytest.approx(4 * told["target"]["cpu_s"])


def test_what_breaks_first_comes_first() -> None:
    grown = lambda n: counting.World(n, n, n, n, n, n, n)  # noqa: E731
    found = limits.breaks({"small": lambda w: w.kept, "large": lambda w: 2 * w.kept}, grown)["256 GB"]
    assert list(found) == ["large", "small"]
    assert found["small"] == pytest.approx(256e9 / 2**20, rel=0.02)


def test_limits_are_those_of_the_types() -> None:
    told = {row["what"]: row for row in limits.limits(model.target_of(1e6, 1e9, 2e5))}
    edges = next(row for what, row in told.items() if "directed edges" in what)
    assert edges["used"] == 1.6e9 < edges["limit"] == 2**31 - 1


def test_model_and_readme_follow_from_what_was_measured() -> None:
    found = model.model()
    kept = json.loads((FOLDER / "model.json").read_text())
    assert json.loads(json.dumps(found["target"])) == kept["target"]
    for name, stage in found["stages"].items():
        assert stage["target"]["peak_gb"] == pytest.approx(kept["stages"][name]["target"]["peak_gb"], rel=1e-3)
        assert stage["target"]["cpu_s"] == pytest.approx(kept["stages"][name]["target"]["cpu_s"], rel=1e-3)
    assert model.table(kept) in (FOLDER / "README.md").read_text()
