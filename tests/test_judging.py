"""Judging pictures in a world of three colours: a generator that paints tastes, and one that is blind to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_visualizing import Mean, Paint, write_world

from recsys import judging as room
from recsys import visualizing
from recsys.cli import main
from recsys.core.errors import ConfigError, DataError
from recsys.evaluation.picture_cases import Cases, JudgeSettings, ways
from recsys.evaluation.picture_verdict import Verdict
from recsys.judging import SHARD, Judging
from recsys.runconfig import read_config
from recsys.workflow import Workflow

SETTINGS = (
    "split.kind=cold_items", "split.cold_share=0.6", "judge.encoder='test_judging:Judge'", "judge.users=24",
    "judge.items=2", "judge.least=1", "judge.known=2", "judge.dials=[0,0.3,0.6,1]",
)  # fmt: skip
BLIND = "visuals.generator='test_judging:Blind'"


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
            raise RuntimeError("the power is gone")
        return super().generate(*given, **asked)


class Distance:
    """A perceptual distance that loads nothing."""

    def __call__(self, pictures: Any, others: Any) -> Any:
        return (pictures - others).square().mean(dim=(1, 2, 3))


@pytest.fixture(scope="module", autouse=True)
def light() -> Iterator[None]:
    """The encoder that chooses is the mean colour, and the distance that of colours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visualizing, "make_encoder", lambda name, modality, options: Mean())
        patch.setattr(room, "Perceptual", Distance)
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="module")
def seeing(config: Path, light: None) -> Verdict:
    return judging(config).verdict()


@pytest.fixture(scope="module")
def blind(config: Path, light: None) -> Verdict:
    return judging(config, BLIND).verdict()


def judging(config: Path, *settings: str) -> Judging:
    return Judging(Workflow(read_config(config, (*SETTINGS, *settings)), log=lambda message: None))


def call(config: Path, out: Path, *settings: str, options: tuple[str, ...] = ()) -> Result:
    changed = [word for value in (*SETTINGS, *settings) for word in ("--set", value)]
    return CliRunner().invoke(main, ["judge", "-c", str(config), "-q", "--out", str(out), *options, *changed])


def told(verdict: Verdict, *row: str) -> dict[str, Any]:
    (found,) = [one for one in verdict.whose() if (one["way"], one["pictures"], one["compares"]) == row]
    return found


def test_pictures_of_a_painter_of_tastes_are_nearer_to_what_the_user_likes(seeing: Verdict) -> None:
    for other in ("another", "nobody"):
        gap = seeing.gaps()[f"own - {other}"]["taste"]
        assert 0.1 < gap["low"] < gap["mean"] < gap["high"]
        assert gap["p"] < 0.01


def test_real_liked_pictures_tell_what_there_is_to_win(seeing: Verdict, blind: Verdict) -> None:
    real, made = seeing.real()["taste"], seeing.gap("own", "another", "taste")
    assert real["low"] > 0
    assert 0 < made["mean"] < 2 * real["mean"]
    assert blind.real() == seeing.real()  # whoever draws


def test_a_blind_painter_is_found_out(blind: Verdict) -> None:
    for metric, gap in blind.gaps()["own - another"].items():
        assert (gap["mean"], gap["low"], gap["high"], gap["p"]) == (0, 0, 0, 1), metric


def test_the_dial_leads_from_the_item_to_the_taste(seeing: Verdict, blind: Verdict) -> None:
    swept = seeing.sweep()
    assert swept["dials"] == [0, 0.3, 0.6, 1]
    assert swept["taste"]["spearman"] == pytest.approx(1)
    assert swept["item"]["spearman"] == pytest.approx(-1)
    assert swept["perceptual"]["spearman"] == pytest.approx(1)  # a distance
    assert swept["item"]["within"] < -0.5
    assert (blind.sweep()["taste"]["spearman"], blind.sweep()["taste"]["within"]) == (None, None)


@pytest.mark.parametrize("pictures", ["one by one", "together"])
def test_pictures_tell_whose_they_are_unless_the_painter_is_blind(
    seeing: Verdict, blind: Verdict, pictures: str
) -> None:
    found = told(seeing, "own", pictures, "moved")
    mean, low, high = found["hit@10"]
    assert low <= mean <= high
    assert low > found["chance of hit@10"] == 10 / found["users"]
    at_the_end = told(seeing, "own at 1", pictures, "seen")
    assert at_the_end["hit@10"][1] > at_the_end["chance of hit@10"]
    guessed = told(blind, "own", pictures, "moved")
    for metric in ("hit@1", "hit@10"):
        assert guessed[metric] == pytest.approx([guessed[f"chance of {metric}"]] * 3)


def test_who_and_what_is_judged(config: Path) -> None:
    found = judging(config)
    cases, split = found.cases, found.workflow.loaded_split
    assert len(cases.users) > 12
    assert (cases.users != cases.others).all()
    assert sorted(cases.others) == sorted(cases.users)
    data, train = split.dataset.interactions, set(split.train.item_idx.tolist())
    for user, targets, liked in zip(cases.users, cases.targets, cases.liked, strict=True):
        taken = set(data.item_idx[data.user_idx == user].tolist())
        assert len(set(targets.tolist())) == 2
        assert not (taken | train) & set(targets.tolist())
        bare = {split.dataset.items.index(["bare"])[0], split.dataset.items.index(["broken"])[0]}
        assert set(liked.tolist()) == set(split.test.item_idx[split.test.user_idx == user].tolist()) - bare


def test_where_there_are_ratings_only_good_ones_are_liked(config: Path) -> None:
    split = judging(config).workflow.loaded_split
    took = split.dataset.interactions
    rated = replace(took, rating=np.where(took.item_idx % 2, 4.0, 3.5).astype(np.float32))
    again = replace(split, dataset=replace(split.dataset, interactions=rated))
    cases = Cases.of(again, JudgeSettings(items=2, least=1, known=1), np.ones(took.n_items, dtype=bool))
    for user, liked, known in zip(cases.users, cases.liked, cases.known, strict=True):
        for part, found in ((split.test, liked), (split.train, known)):
            mine = part.item_idx[part.user_idx == user]
            assert sorted(found) == sorted(mine[mine % 2 == 1])


def test_settings_are_chosen_by_the_valid_part(config: Path) -> None:
    found = judging(config, "judge.part=valid", "judge.users=5")
    cases, valid = found.cases, found.workflow.loaded_split.valid
    assert len(cases.users) == 5
    assert set(cases.targets.ravel().tolist()) <= set(valid.item_idx.tolist())
    for user, liked in zip(cases.users, cases.liked, strict=True):
        assert set(liked.tolist()) <= set(valid.item_idx[valid.user_idx == user].tolist())


def test_the_ways_that_are_asked_for() -> None:
    names = [way.name for way in ways(JudgeSettings(dials=(0, 1), dial=0.5, candidates=3), ["soft"])]
    assert names == ["nobody", "own", "another", "own at 0", "own at 0.5", "own at 1", "nobody at 1",
                     "own without soft", "own, chosen", "another, chosen"]  # fmt: skip
    assert [way.name for way in ways(JudgeSettings(dials=()), [])] == ["nobody", "own", "another"]


def test_an_interrupted_drawing_goes_on(config: Path) -> None:
    generator, seed = "visuals.generator='test_judging:Failing'", "judge.seed=3"
    stopped = judging(config, generator, seed)
    with pytest.raises(RuntimeError, match="the power is gone"):
        stopped.drawn(stopped.ways[0])
    Failing.left = 10**6
    found = judging(config, generator, seed)
    pictures = found.pictures(found.ways[0])
    assert 10**6 - Failing.left == len(pictures) - SHARD  # the first are not drawn again
    whole = judging(config, seed)
    np.testing.assert_array_equal(pictures, whole.pictures(whole.ways[0]))


def test_the_verb_writes_figures_and_a_page(config: Path, seeing: Verdict, tmp_path: Path) -> None:
    out = tmp_path / "judged"
    done = call(config, out, options=("--pairs", "3"))
    assert done.exit_code == 0, done.output
    assert "own - another" in done.output
    found = json.loads((out / "judge.json").read_text())
    assert (found["judge"], found["generator"]) == ("squared mean colour", "paint 1")
    assert found["gaps"] == seeing.gaps()
    assert (out / "pairs.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in out.iterdir()) == ["judge.json", "pairs.png"]


def test_what_it_writes_is_json_for_a_blind_painter_too(blind: Verdict) -> None:
    json.dumps(blind.to_dict(), allow_nan=False)
    assert "whose is it?" in blind.to_text()


def test_what_shows_the_item_s_own_picture_has_no_distance_and_no_ratio_of_it(config: Path) -> None:
    found = judging(config, "visuals.generator='test_visualizing:Real'", "judge.users=4", "judge.dials=[]")
    verdict = found.verdict()
    assert verdict.means()["own"]["perceptual"] == [0, 0, 0]
    assert verdict.means()["own"]["item"][0] == pytest.approx(1, abs=0.01)
    assert verdict.gap("own", "another", "perceptual")["ratio"] is None
    json.dumps(verdict.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("judge.least=500", "judge.least"),
        ("judge.encoder='test_visualizing:Mean'", "also chooses"),
        ("split.kind=random", "item_parts"),
        ("judge.part='train'", "judge.part"),
        ("judge.dials=[0,2]", "judge.dials"),
    ],
)
def test_what_cannot_be_judged_is_told(config: Path, tmp_path: Path, setting: str, message: str) -> None:
    done = call(config, tmp_path / "judged", setting)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert "Traceback" not in done.output
    assert "internal error" not in done.output


def test_a_file_in_the_place_of_the_folder_is_told_before_anything_is_drawn(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    drawings = config.parent / "artifacts" / "judged"
    before = len(list(drawings.glob("*")))
    done = call(config, tmp_path / "file", "judge.seed=9")
    assert len(list(drawings.glob("*"))) == before
    assert done.exit_code == 2, done.output
    assert "--out FOLDER" in done.output
    assert "Traceback" not in done.output
    assert (tmp_path / "file").read_text() == "mine"


def test_errors_name_the_cause(config: Path) -> None:
    with pytest.raises(ConfigError, match="also chooses"):
        judging(config, "judge.encoder='test_visualizing:Mean'")
    found = judging(config)
    split, settings = found.workflow.loaded_split, found.settings
    with pytest.raises(DataError, match="no users like"):  # nobody likes anything that has a picture
        Cases.of(split, settings, np.zeros(split.dataset.interactions.n_items, dtype=bool))
