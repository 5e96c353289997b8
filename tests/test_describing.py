"""Descriptions in the flow: calls go where picture and text disagree, what was written is read, nothing goes round."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from test_searching import COLOURS, Mean, Words, write_world

from recsys.cli import main
from recsys.core.config import Settings
from recsys.core.errors import ConfigError, DataError
from recsys.items import encoding
from recsys.items.describe import Reflection
from recsys.runconfig import read_config
from recsys.searching import Search
from recsys.workflow import Workflow

LIARS = ("red3", "red7", "blue5")  # their texts say "green"


class Sees:
    """A describer that names the colour of the picture, and remembers what it was asked."""

    asked: list[str] = []  # noqa: RUF012

    class Settings(Settings):
        politeness: int = 0

    def __init__(self, settings) -> None:
        self.settings = settings

    def identity(self) -> str:
        return "test"

    def describe(self, picture, text: str, *, run) -> Reflection:
        self.asked.append(text)
        return Reflection("a thing", "the colour", f"It is {nearest_colour(np.asarray(picture))}")


def nearest_colour(pixels: np.ndarray) -> str:
    mean = pixels.reshape(-1, 3).mean(axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


class Both(Words):
    """One encoder and one space for texts and pictures: which colour is it?"""

    modalities = ("text", "image")

    def encode(self, contents, modality: str, *, run) -> np.ndarray:
        said = contents if modality == "text" else [nearest_colour(np.asarray(picture)) for picture in contents]
        return super().encode(said, "text", run=run)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The coloured things of the search, three of which have a text that tells another colour than the picture."""
    folder = tmp_path_factory.mktemp("liars")
    path = write_world(folder)
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    for item in items:
        colour = item["item_id"].rstrip("0123456789")
        item["text"] = f"A {'green' if item['item_id'] in LIARS else colour} thing"
    (folder / "items.jsonl").write_text("\n".join(json.dumps(item) for item in items))
    return path


@pytest.fixture(autouse=True)
def no_calls_yet() -> None:
    Sees.asked.clear()


def workflow(config: Path, *overrides: str, artifacts: Path | None = None) -> Workflow:
    settings = ("items.describe.describer=test_describing:Sees", "items.describe.budget=3", "run.seed=1", *overrides)
    own = (f"run.artifacts={str(artifacts)!r}",) if artifacts else ()
    return Workflow(read_config(config, settings + own), log=lambda message: None)


def texts(workflow: Workflow) -> np.ndarray:
    return np.load(workflow.items()["text"].path / "text.npy")


def test_the_liars_are_described_and_found_by_what_their_picture_shows(config: Path) -> None:
    made, plain = workflow(config), workflow(config, "items.describe.describer=none")
    table = pl.read_parquet(made.descriptions().path / "descriptions.parquet")
    assert set(table["item_id"]) == set(LIARS)
    changed = (texts(made) != texts(plain)).any(axis=1)
    assert {made.dataset.items[row] for row in np.flatnonzero(changed)} == set(LIARS)
    told = [item.item_id for item in Search(made).by_words("red", "text", k=41)]
    before = [item.item_id for item in Search(plain).by_words("red", "text", k=39)]  # as many as say so
    assert {"red3", "red7"} <= set(told)
    assert not {"red3", "red7"} & set(before)
    assert "descriptions" in {parent["kind"] for parent in made.items()["text"].manifest["parents"]}


def test_what_decides_who_is_described_has_read_no_description(config: Path) -> None:
    made, plain = workflow(config), workflow(config, "items.describe.describer=none")
    parents = {parent["key"] for parent in made.descriptions().manifest["parents"]}
    assert parents == {made.data().key, plain.joint().key, *(artifact.key for artifact in plain.items().values())}
    assert made.joint().key != plain.joint().key  # words are compared with the texts that are searched


def test_nothing_is_written_twice_and_a_larger_budget_goes_on(config: Path, tmp_path: Path) -> None:
    workflow(config, artifacts=tmp_path).items()
    assert len(Sees.asked) == 3
    workflow(config, artifacts=tmp_path).items()
    assert len(Sees.asked) == 3
    more = workflow(config, "items.describe.budget=5", artifacts=tmp_path).descriptions()
    assert len(Sees.asked) == 5
    assert (more.manifest["results"]["described"], more.manifest["results"]["fresh"]) == (5, 2)
    option = "items.options={'test_describing:Sees' = {politeness = 1}}"
    assert workflow(config, option, artifacts=tmp_path).descriptions().manifest["results"]["fresh"] == 3


def test_one_encoder_for_both_needs_no_joint_space(config: Path, tmp_path: Path) -> None:
    both = ("items.text=test_describing:Both", "items.image=test_describing:Both")
    made = workflow(config, *both, artifacts=tmp_path)
    assert set(pl.read_parquet(made.descriptions().path / "descriptions.parquet")["item_id"]) == set(LIARS)
    assert made.store.list("joint") == []


def test_nobody_describes_unless_told_to(config: Path) -> None:
    made = Workflow(read_config(config), log=lambda message: None)
    assert made.descriptions() is None
    assert {parent["kind"] for parent in made.items()["text"].manifest["parents"]} == {"data"}
    assert Sees.asked == []


def test_refusals_name_the_remedy(config: Path) -> None:
    with pytest.raises(DataError, match=r"text and an encoded picture.*items\.describe\.describer=none"):
        workflow(config, "items.image=none").items()
    with pytest.raises(ConfigError, match="Did you mean 'xreflect'"):
        workflow(config, "items.describe.describer=xreflekt").items()
    with pytest.raises(ConfigError, match="Did you mean 'budget'"):
        workflow(config, "items.describe.budgett=3")
    with pytest.raises(ConfigError, match=r"politeness.*valid integer"):
        workflow(config, "items.options={'test_describing:Sees' = {politeness = 'very'}}").items()


def test_doctor_explains_describers_and_their_budget() -> None:
    for section, said in (("items", "describe.budget"), ("items.describe", "share"), ("items.xreflect", "max_tokens")):
        done = CliRunner().invoke(main, ["doctor", "--settings", section])
        assert done.exit_code == 0, done.output
        assert said in done.output


def test_vectors_of_contents_read_otherwise_are_others(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else would tell that a picture is decoded in another way than when its vector was kept."""
    plain = ("items.describe.describer=none", "items.text=none")
    calls, encode = [], Mean.encode

    def counted(self, contents, modality, *, run):
        calls.append(len(contents))
        return encode(self, contents, modality, run=run)

    monkeypatch.setattr(Mean, "encode", counted)
    before = workflow(config, *plain).items()["image"].key
    calls.clear()
    monkeypatch.setattr(encoding, "ENCODING", encoding.ENCODING + 1)
    assert workflow(config, *plain).items()["image"].key != before
    assert sum(calls) > 100


def test_words_are_compared_with_pictures_as_they_are_where_one_encoder_made_both(config: Path, tmp_path: Path) -> None:
    both = ("items.describe.describer=none", "items.text=test_describing:Both", "items.image=test_describing:Both")
    found = Search(workflow(config, *both, artifacts=tmp_path)).by_words("red", "image", k=40)
    assert {item.item_id.rstrip("0123456789") for item in found} == {"red"}
    assert [item.score for item in found] == pytest.approx([1.0] * 40)  # cosines of that space itself
    assert not (tmp_path / "joint").exists()  # nothing had to be learned
