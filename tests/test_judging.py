"""Judging pictures in a world of three colours: a generator that paints tastes, and one that is blind to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from test_visualizing import Mean, Paint, write_world

from recsys import visualizing
from recsys.cli import main
from recsys.core.errors import ConfigError, DataError
from recsys.judging import SHARD, Judging
from recsys.workflow import Workflow, read_config

SETTINGS = (
    "split.kind=cold_items", "split.cold_share=0.6", "judge.encoder='test_judging:Judge'", "judge.users=12",
    "judge.items=2", "judge.least=1", "judge.known=2", "judge.without=[]", "judge.dials=[0, 0.5, 1]",
)  # fmt: skip


class Judge(Mean):
    """Another reading of colours than the one that chooses."""

    def identity(self) -> str:
        return "squared mean colour"

    def encode(self, contents: Any, modality: str, *, run: Any) -> np.ndarray:
        return super().encode(contents, modality, run=run) ** 2


class Blind(Paint):
    """Paints the item alone, whoever asks."""

    def identity(self) -> str:
        return "blind 1"

    def generate(self, target: Any, taste: Any, **asked: Any) -> Any:
        return super().generate(target, type(taste)(), **asked)


class Failing(Paint):
    """Stops in the middle."""

    left = SHARD + 3

    def generate(self, *given: Any, **asked: Any) -> Any:
        Failing.left -= 1
        if Failing.left < 0:
            raise KeyboardInterrupt
        return super().generate(*given, **asked)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("judged"))


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visualizing, "make_encoder", lambda name, modality, options: Mean())


def judging(config: Path, *settings: str) -> Judging:
    return Judging(Workflow(read_config(config, (*SETTINGS, *settings)), log=lambda message: None))


def test_a_painter_of_tastes_is_told_from_a_blind_one(config: Path) -> None:
    seeing, blind = (
        judging(config, f"visuals.generator='{name}'").verdict()
        for name in ("test_visualizing:Paint", "test_judging:Blind")
    )  # fmt: skip
    gap = seeing.gaps()["own - another"]["taste"]
    assert gap["low"] > 0.1
    assert gap["p"] < 0.01
    none = blind.gaps()["own - another"]["taste"]
    assert (none["mean"], none["low"], none["high"]) == (0, 0, 0)
    assert none["p"] == 1
    swept = seeing.sweep()
    assert (swept["taste"]["spearman"], swept["item"]["spearman"]) == pytest.approx((1, -1))
    told = {(row["way"], row["pictures"], row["compares"]): row for row in seeing.whose()}
    assert told["own", "together", "moved"]["hit@10"][1] > told["own", "together", "moved"]["chance of hit@10"]


def test_who_and_what_is_judged(config: Path) -> None:
    found = judging(config)
    cases, split = found.cases, found.workflow.loaded_split
    assert (cases.users != cases.others).all()
    assert sorted(cases.others) == sorted(cases.users)
    data, train = split.dataset.interactions, set(split.train.item_idx.tolist())
    for user, targets, liked in zip(cases.users, cases.targets, cases.liked, strict=True):
        taken = set(data.item_idx[data.user_idx == user].tolist())
        assert not taken & set(targets.tolist())
        assert not train & set(targets.tolist())
        assert set(liked.tolist()) <= set(split.test.item_idx[split.test.user_idx == user].tolist())
    valid = judging(config, "judge.part=valid").cases
    assert set(valid.targets.ravel().tolist()) <= set(split.valid.item_idx.tolist())


def test_an_interrupted_drawing_goes_on(config: Path) -> None:
    generator = ("visuals.generator='test_judging:Failing'", "judge.seed=3")
    with pytest.raises(KeyboardInterrupt):
        judging(config, *generator).verdict()
    Failing.left = 10**6
    found = judging(config, *generator)
    found.drawn(found.ways[0])
    pairs = len(found.cases.users) * 2
    assert 10**6 - Failing.left == pairs - SHARD


def test_the_verb_writes_figures_and_a_page(config: Path, tmp_path: Path) -> None:
    settings = [word for value in SETTINGS for word in ("--set", value)]
    out = tmp_path / "judged"
    done = CliRunner().invoke(main, ["judge", "-c", str(config), "-q", "--out", str(out), "--pairs", "3", *settings])
    assert done.exit_code == 0, done.output
    assert "own - another" in done.output
    told = json.loads((out / "judge.json").read_text())
    assert told["judge"] == "squared mean colour"
    assert (out / "pairs.png").read_bytes()[:4] == b"\x89PNG"
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(main, ["judge", "-c", str(config), "-q", "--out", str(tmp_path / "file"), *settings])
    assert done.exit_code
    assert "Traceback" not in done.output
    assert "--out" in done.output


def test_what_cannot_be_judged_is_told(config: Path) -> None:
    with pytest.raises(ConfigError, match="also chooses"):
        judging(config, "judge.encoder='test_visualizing:Mean'")
    with pytest.raises(DataError, match=r"judge\.least"):
        judging(config, "judge.least=500").verdict()
    with pytest.raises(DataError, match="item_parts"):
        judging(config, "split.kind=random").verdict()
