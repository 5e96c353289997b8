"""Search: words find texts, and pictures through the joint space, in a world where only colour tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from recsys.cli import main
from recsys.core.config import Settings
from recsys.core.errors import DataError
from recsys.items.cache import content_digest
from recsys.runconfig import read_config
from recsys.searching import Search, _standard
from recsys.workflow import Workflow

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "yellow": (230, 220, 10)}
EACH, MUTE = 40, 4  # items of a colour; the last of them have a number for a title, and a picture


class Words:
    """A text encoder that knows the four colours, a few other words, and a little of every text."""

    modalities = ("text",)
    known = (*COLOURS, "thing", "fine")

    class Settings(Settings):
        pass

    def __init__(self, settings) -> None:
        self.settings = settings

    def identity(self) -> str:
        return "test"

    def encode(self, contents: Sequence[str], modality: str, *, run) -> np.ndarray:
        rows = [
            [float(word in text.lower().split()) for word in self.known] + [0.1, 0.01 * (content_digest(text)[0] / 255)]
            for text in contents
        ]
        return np.array(rows, dtype=np.float32) / np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)


class Mean:
    """A picture encoder: the mean colour."""

    modalities = ("image",)

    class Settings(Settings):
        pass

    def __init__(self, settings) -> None:
        self.settings = settings

    def identity(self) -> str:
        return "test"

    def encode(self, contents: Sequence[Image.Image], modality: str, *, run) -> np.ndarray:
        rows = np.array([np.asarray(picture).reshape(-1, 3).mean(axis=0) for picture in contents]) / 255
        return np.concatenate([rows, rows[:, :1] * rows[:, 1:2]], axis=1).astype(np.float32)


def write_world(folder: Path) -> Path:
    """Write 160 coloured things; the texts of the last four of a colour say nothing of it. Return the run's TOML."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    items = []
    for colour, value in COLOURS.items():
        for place in range(EACH):
            item = f"{colour}{place}"
            told = f"A {colour} thing" if place < EACH - MUTE else "A fine thing"
            items.append({"item_id": item, "title": f"Nr {item[::-1]}", "text": told})
            shade = np.clip(np.array(value) + rng.integers(-15, 15, 3), 0, 255)
            Image.new("RGB", (8, 12), tuple(int(x) for x in shade)).save(folder / "pictures" / f"{item}.png")
    items.append({"item_id": "unseen", "title": "A red thing without a picture", "text": None})
    (folder / "items.jsonl").write_text("\n".join(json.dumps(item) for item in items))
    rows = [f"u{user},{item['item_id']}" for user in range(2) for item in items]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id", *rows]))
    path = folder / "run.toml"
    path.write_text(
        f'[data]\nsource = "own"\nraw = "{folder.as_posix()}"\n'
        '[data.options]\nitems = "items.jsonl"\nimage_folder = "pictures"\n'
        '[items]\ntext = "test_searching:Words"\nimage = "test_searching:Mean"\n'
        f'[run]\nartifacts = "{(folder / "artifacts").as_posix()}"\n'
    )
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def search(config: Path) -> Search:
    return Search(Workflow(read_config(config), log=lambda message: None))


def colours(found) -> set[str]:
    return {one.item_id.rstrip("0123456789") for one in found}


@pytest.mark.parametrize("colour", COLOURS)
def test_words_find_pictures_whose_texts_are_mute(search: Search, colour: str) -> None:
    found = search.by_words(f"a {colour} thing", "image", k=EACH)
    assert colours(found) == {colour}
    mute = {f"{colour}{place}" for place in range(EACH - MUTE, EACH)}
    assert mute <= {one.item_id for one in found}
    assert found == sorted(found, key=lambda one: -one.score)


def test_words_find_texts(search: Search) -> None:
    found = search.by_words("red", "text", k=EACH - MUTE + 1)
    assert {one.item_id for one in found} == {f"red{place}" for place in range(EACH - MUTE)} | {"unseen"}
    assert (
        found[0].score == pytest.approx(found[0].parts["text"]) == pytest.approx(1.005 / (1.01 * 2.01) ** 0.5, abs=0.01)
    )


def test_both_prefer_what_fits_in_both(search: Search) -> None:
    found = search.by_words("a red thing", k=EACH - MUTE)
    assert colours(found) == {"red"}
    assert all(set(one.parts) == {"text", "image"} for one in found)
    everything = search.by_words("red", k=1000)
    assert len(everything) == 4 * EACH + 1  # the item without a picture is there, too
    assert next(one for one in everything if one.item_id == "unseen").parts.keys() == {"text"}


def test_like_finds_the_same_colour_and_not_itself(search: Search) -> None:
    found = search.like("red39", "image", k=EACH - 1)
    assert colours(found) == {"red"}
    assert "red39" not in {one.item_id for one in found}
    assert search.like("Nr 93der", "image", k=3) == found[:3]  # by title
    with pytest.raises(DataError, match="has no usable image"):
        search.like("unseen", "image")
    assert set(search.like("unseen", k=1)[0].parts) == {"text"}


def test_the_joint_space_is_an_artifact_made_once(search: Search, config: Path) -> None:
    search.by_words("red", "image")
    made = search.workflow.store.list("joint")
    Search(Workflow(read_config(config), log=lambda message: None)).by_words("blue", "image")
    assert [one.key for one in search.workflow.store.list("joint")] == [one.key for one in made]
    assert {parent["kind"] for parent in made[0].manifest["parents"]} == {"items"}
    assert made[0].manifest["results"]["test"]["text_to_image"]["n"] == 16
    other = Workflow(read_config(config, ("run.seed=1",)), log=lambda message: None)
    Search(other).by_words("red", "image")
    assert len(search.workflow.store.list("joint")) == len(made) + 1


def test_refusals_name_the_remedy(search: Search, config: Path) -> None:
    with pytest.raises(DataError, match="no words"):
        search.by_words("  ")
    with pytest.raises(DataError, match="at least one"):
        search.by_words("red", k=0)
    blind = Search(Workflow(read_config(config, ("items.image=none",)), log=lambda message: None))
    with pytest.raises(DataError, match="no item has an encoded image"):
        blind.by_words("red", "both")
    assert set(blind.by_words("red", k=1)[0].parts) == {"text"}
    with pytest.raises(DataError, match="no item has an encoded text"):
        Search(Workflow(read_config(config, ("items.text=none",)), log=lambda message: None)).by_words("red")


def test_standard_scores_by_hand() -> None:
    assert _standard(np.array([1.0, 3.0, np.nan])).tolist() == [-1.0, 1.0, 0.0]
    assert _standard(np.array([2.0, 2.0])).tolist() == [0.0, 0.0]
    assert _standard(np.array([np.nan])).tolist() == [0.0]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_verb_prints_text_json_and_a_sheet(config: Path, tmp_path: Path) -> None:
    c = ("-c", str(config), "-q")
    text = call("search", "red", *c, "-k", "3")
    assert text.exit_code == 0, text.output
    assert len(text.stdout.splitlines()) == 4
    sheet = tmp_path / "new" / "found.png"
    told = call("search", "--like", "red1", *c, "--by", "image", "-k", "9", "--sheet", str(sheet), "--json")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert len(found["items"]) == 9
    assert found["sheet"] == str(sheet)
    pixels = np.asarray(Image.open(sheet).convert("RGB")).astype(int)
    assert ((pixels[..., 0] - pixels[..., 1]) > 150).sum() > 9 * 100 * 150  # ten red pictures


def test_encode_draws_a_sheet(config: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = call("encode", "-c", str(config), "-q", "--sheet", str(sheet))
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(sheet)
    assert Image.open(sheet).format == "PNG"


def test_mistakes_are_two_lines_and_status_2(config: Path, tmp_path: Path) -> None:
    c = ("-c", str(config), "-q")
    assert call("search", *c).exit_code == 2
    assert call("search", "red", "--like", "red1", *c).exit_code == 2
    unknown = call("search", "--like", "Nr 1der?", *c)
    assert unknown.exit_code == 2
    assert "Nearest: Nr 1der" in unknown.stderr
    (tmp_path / "file").write_text("")
    unwritable = call("search", "red", *c, "--sheet", str(tmp_path / "file" / "x.png"))
    assert unwritable.exit_code == 2
    assert "Choose another place" in unwritable.stderr


def test_pictures_are_found_where_the_same_data_lie_now(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    config = write_world(tmp_path / "before")
    settings = (f"run.artifacts={str(tmp_path / 'artifacts')!r}", "items.text=none")
    first = Workflow(read_config(config, settings), log=lambda message: None).data()
    (tmp_path / "before").rename(tmp_path / "after")
    moved = (*settings, f"data.raw={str(tmp_path / 'after')!r}")
    later = Workflow(read_config(tmp_path / "after" / config.name, moved), log=lambda message: None)
    assert later.data().path == first.path  # a copy of the same data is the same data
    assert later.items(["image"])["image"].manifest["results"]["encoded"] == 4 * EACH
