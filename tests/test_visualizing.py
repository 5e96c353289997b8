"""The verb ``visualize`` in a world of three colours, with a generator that paints what it is told."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from recsys import health, items, visualizing
from recsys.cli import main
from recsys.core.config import Settings
from recsys.core.errors import ArtifactError
from recsys.runconfig import read_config
from recsys.visualizing import Asked, Visualizing
from recsys.visuals import album
from recsys.visuals.reader import opened
from recsys.visuals.request import GeneratedVisual
from recsys.visuals.shipped import FLOW, FOLDER
from recsys.workflow import Workflow

COLOURS = {"Drama": (200, 30, 30), "Horror": (30, 30, 200), "Western": (30, 180, 30)}
EACH, READERS, TAKEN = 16, 8, 10  # items of a genre, readers of each, items that one of them takes
RED, BLUE = "reader-secret-0", "reader-secret-1"


class Mean:
    """A picture encoder: the mean colour."""

    modalities = ("image",)

    class Settings(Settings):
        pass

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings

    def identity(self) -> str:
        return "mean colour"

    def encode(self, contents: Sequence[Image.Image], modality: str, *, run: Any) -> np.ndarray:
        return np.array([np.asarray(one).reshape(-1, 3).mean(axis=0) for one in contents], dtype=np.float32) / 255


class Paint:
    """Paints one colour: between the item's and the liked items', by the dial; the seed shakes it a little."""

    class Settings(Settings):
        size: int = 16

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def identity(self) -> str:
        return "paint 1"

    def generate(self, target: Any, taste: Any, *, n: int, dial: float, run: Any) -> list[GeneratedVisual]:
        own = np.full(3, 128.0) if target.picture is None else _colour(target)
        seen = [_colour(one) for one in taste.history if one.picture is not None]
        liked = np.mean(seen, axis=0) if seen else own
        made = []
        for number in range(n):
            seed = run.key("visual", target.item_id, number)
            colour = (1 - dial) * own + dial * liked + np.random.default_rng(seed).normal(0, 12, 3)
            image = Image.new("RGB", (self.settings.size, 24), tuple(int(x) for x in colour.clip(0, 255)))
            told = {"keywords": dict(taste.keywords), "history": [one.item_id for one in taste.history]}
            made.append(GeneratedVisual(image, target.item_id, seed, dial, self.identity(), told))
        return made


def _colour(item: Any) -> np.ndarray:
    return np.asarray(opened(item)).reshape(-1, 3).mean(axis=0)


def write_world(folder: Path) -> Path:
    """Write items of three genres, each with a colour, and readers who each take items of one genre."""
    rng, items, rows = np.random.default_rng(0), [], ["user_id,item_id"]
    (folder / "pictures").mkdir()
    for genre, value in COLOURS.items():
        for place in range(EACH):
            items.append({"item_id": f"{genre}{place}", "title": f"{genre} Nr {place}", "text": "By the river.",
                          "genre": [genre]})  # fmt: skip
            shade = np.clip(np.array(value) + rng.integers(-20, 20, 3), 0, 255)
            Image.new("RGB", (16, 24), tuple(int(x) for x in shade)).save(folder / "pictures" / f"{genre}{place}.png")
    items.append({"item_id": "bare", "title": "../Bare/..", "text": "A thing.", "genre": ["Drama"]})
    items.append({"item_id": "broken", "title": "Broken", "text": "A thing.", "genre": ["Drama"]})
    (folder / "pictures" / "broken.png").write_bytes(b"no picture")
    for user in range(3 * READERS):
        genre = list(COLOURS)[user % 3]
        taken = [f"{genre}{place}" for place in rng.permutation(EACH)[:TAKEN]]
        rows += [f"reader-secret-{user},{item}" for item in [*taken, *(["bare", "broken"] if genre == "Drama" else [])]]
    (folder / "items.jsonl").write_text("\n".join(json.dumps(item) for item in items))
    (folder / "interactions.csv").write_text("\n".join(rows))
    path = folder / "run.toml"
    path.write_text(
        f'[data]\nsource = "own"\nraw = "{folder.as_posix()}"\n'
        '[data.options]\nitems = "items.jsonl"\nimage_folder = "pictures"\n'
        '[data.options.item_columns]\nattributes = ["genre"]\n'
        '[items]\ntext = "none"\nimage = "test_visualizing:Mean"\n'
        '[visuals]\ngenerator = "test_visualizing:Paint"\n'
        f'[run]\nartifacts = "{(folder / "artifacts").as_posix()}"\n'
    )
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder that chooses is the mean colour, too: nothing is loaded."""
    monkeypatch.setattr(visualizing, "make_encoder", lambda name, modality, options: Mean())


def workflow(config: Path, *settings: str) -> Workflow:
    return Workflow(read_config(config, settings), log=lambda message: None)


def drawn(config: Path, out: Path, item: str = "Western3", *settings: str, **asked: Any) -> Any:
    who = asked if "liked" in asked or "user" in asked else {"user": RED, **asked}
    return Visualizing(workflow(config, *settings)).of(Asked(item=item, out=out, **who))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def call(config: Path, *arguments: str, verb: str = "visualize") -> Result:
    return CliRunner().invoke(main, [verb, *arguments, "-c", str(config), "-q"])


def words(found: Any) -> list[str]:
    return [one["words"] for one in found.pictures[0]["prompt"]["keywords"]]


def test_pictures_sidecars_and_a_sheet_that_say_what_they_are(config: Path, tmp_path: Path) -> None:
    found = drawn(config, tmp_path / "made", n=3, dial=0.4)
    names = [f"western-nr-3-{place}.{kind}" for place in (1, 2, 3) for kind in ("json", "png")]
    assert sorted(files(found.folder)) == sorted([*names, "sheet.png"])
    assert found.candidates == 6
    told = json.loads((found.folder / "western-nr-3-1.json").read_text())
    assert (told["item"], told["dial"], told["generator"], told["generated"]) == ("Western3", 0.4, "paint 1", True)
    assert set(told["scores"]) == {"z", "d_pref", "d_target"}
    assert [one["words"] for one in told["prompt"]["target_keywords"]][:1] == ["western"]
    (keyword, *_) = [one for one in told["prompt"]["keywords"] if one["words"] == "drama"]
    assert keyword["concept"] == "genre:Drama"
    assert "dramas" in keyword["statement_text"]
    assert told["given"]["keywords"]["drama"] == keyword["weight"]
    order = [one["scores"]["z"] for one in found.pictures]
    assert order == sorted(order, reverse=True)
    for name in ("western-nr-3-1.png", "sheet.png"):
        image = Image.open(found.folder / name)
        image.load()
        assert "Generated by a machine" in image.info["Comment"]
        assert image.info["DigitalSourceType"].endswith("trainedAlgorithmicMedia")


def test_no_written_byte_names_the_user(config: Path, tmp_path: Path) -> None:
    done = call(config, RED, "Western4", "--json")
    assert done.exit_code == 0, done.output
    folder = Path(json.loads(done.stdout)["folder"])
    drawn(config, tmp_path / "made")
    for place in (folder, tmp_path / "made"):
        assert "reader-secret" not in str(place.name) + "".join(files(place))
        assert not any(b"reader-secret" in content for content in files(place).values())


def test_same_seed_same_bytes_and_another_seed_others(config: Path, tmp_path: Path) -> None:
    one, two, other = (
        files(drawn(config, tmp_path / name, "Western3", f"run.seed={seed}").folder)
        for name, seed in (("one", 0), ("two", 0), ("other", 1))
    )
    assert one == two
    assert one["western-nr-3-1.png"] != other["western-nr-3-1.png"]


def test_what_was_asked_before_is_not_drawn_again(config: Path) -> None:
    asked = Asked(item="Western5", user=RED, n=2)
    first, again = (Visualizing(workflow(config)).of(asked) for _ in range(2))
    assert first.seconds is not None
    assert again.seconds is None
    assert (again.folder, again.pictures) == (first.folder, first.pictures)
    assert "made before, by" in again.to_text()
    assert Visualizing(workflow(config)).of(Asked(item="Western5", user=BLUE, n=2)).folder != first.folder


def colour(found: Any) -> np.ndarray:
    return np.mean([np.asarray(Image.open(found.folder / one["file"]))[0, 0] for one in found.pictures], axis=0)


def test_the_dial_goes_from_the_item_to_the_taste_and_another_user_gets_another_picture(
    config: Path, tmp_path: Path
) -> None:
    near, far = (drawn(config, tmp_path / str(dial), dial=dial) for dial in (0.0, 1.0))
    assert colour(near).argmax() == 1  # the Western is green
    assert colour(far).argmax() == 0  # dramas are red
    blue = drawn(config, tmp_path / "blue", user=BLUE, dial=1.0)
    assert colour(blue).argmax() == 2
    assert "horror" in words(blue)


def test_an_edit_of_the_profile_changes_words_and_pictures(config: Path, tmp_path: Path) -> None:
    user = "reader-secret-3"
    before = drawn(config, tmp_path / "before", user=user, dial=1.0)
    assert "drama" in words(before)
    edits = ("--edit", "forbid genre:Drama", "--edit", "add horror")
    done = CliRunner().invoke(main, ["profile", user, *edits, "-c", str(config), "-q"])
    assert done.exit_code == 0, done.output
    after = drawn(config, tmp_path / "after", user=user, dial=1.0)
    assert "horror" in words(after)
    assert "drama" not in words(after)
    assert after.pictures[0]["given"]["history"] == []  # all that this user took is forbidden now
    assert files(after.folder)["western-nr-3-1.png"] != files(before.folder)["western-nr-3-1.png"]


def test_somebody_new_has_pictures_too(config: Path, tmp_path: Path) -> None:
    done = call(
        config,
        "--liked",
        "Horror1",
        "--liked",
        "Horror Nr 2",
        "Western3",
        "--dial",
        "1",
        "--out",
        str(tmp_path / "new"),
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(tmp_path / "new")
    told = json.loads((tmp_path / "new" / "western-nr-3-1.json").read_text())
    assert told["given"]["history"] == ["Horror1", "Horror2"]


def test_the_target_is_never_among_the_liked(config: Path, tmp_path: Path) -> None:
    found = drawn(config, tmp_path / "made", "Drama2", liked=("Drama2", "Drama3"))
    assert found.pictures[0]["given"]["history"] == ["Drama3"]


def test_an_item_without_a_picture_is_drawn_from_its_text_beside_a_drawn_card(config: Path, tmp_path: Path) -> None:
    found = drawn(config, tmp_path / "made", "bare", n=1)
    assert sorted(files(found.folder)) == ["bare-1.json", "bare-1.png", "sheet.png"]
    assert set(found.pictures[0]["scores"]) == {"z", "d_pref"}
    (card,) = (np.asarray(Image.open(found.folder / "sheet.png"))[140, 60:61],)
    assert tuple(card[0]) == (0xE8, 0xE4, 0xDA)  # what drawn cards are made of


@pytest.mark.parametrize("fault", ["first", "second", "sheet"])
def test_a_full_disk_leaves_nothing(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    calls, real = [], album.png

    def failing(image: Any, told: Any) -> bytes:
        calls.append(image)
        if len(calls) == {"first": 1, "second": 2, "sheet": 3}[fault]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(image, told)

    monkeypatch.setattr(album, "png", failing)
    with pytest.raises(ArtifactError, match="No space left"):
        drawn(config, tmp_path / "made", n=2)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_command_leaves_nothing(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*given: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(album, "contact_sheet", stopped)
    with pytest.raises(KeyboardInterrupt):
        drawn(config, tmp_path / "made", n=2)
    assert list(tmp_path.iterdir()) == []


def test_the_catalogue_s_pictures_are_marked_as_real(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    done = call(config, RED, "Western3", "--generator", "test_visualizing:Real", "--out", str(out), "-n", "1")
    assert done.exit_code == 0, done.output
    image = Image.open(out / "western-nr-3-1.png")
    image.load()
    assert "Nothing was generated" in image.info["Comment"]
    assert "DigitalSourceType" not in image.info
    assert "real: Western Nr 3" in done.stdout


def test_many_pairs_are_drawn_and_a_second_time_found(config: Path, tmp_path: Path) -> None:
    pairs, out = tmp_path / "pairs.csv", tmp_path / "out"
    pairs.write_text(f"user,item\n {RED} ,Western3\n{BLUE},Western Nr 3\n")
    first = call(config, "--pairs", str(pairs), "--out", str(out), "-n", "1")
    assert first.exit_code == 0, first.output
    assert [line.split("  ")[0] for line in first.stdout.splitlines()] == [RED, BLUE]
    before = {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*.png"))}
    assert len(before) == 4
    assert not any(b"reader-secret" in content for content in files(out).values())
    again = call(config, "--pairs", str(pairs), "--out", str(out), "-n", "1", "--json")
    assert [json.loads(line)["seconds"] for line in again.stdout.splitlines()] == [None, None]
    assert before == {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*.png"))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"user,item\n{RED},Western3\nnobody,Western3\n", "'nobody'"),
        (f"user,item\n{RED},Western3\n{RED},absent\n", "'absent'"),
        (f"reader,item\n{RED},Western3\n", "line 2"),
        ("user,item\n", "no rows"),
        (None, "cannot be read"),
    ],
)
def test_mistaken_pairs_draw_nothing(config: Path, tmp_path: Path, text: str | None, message: str) -> None:
    pairs, out = tmp_path / "pairs.csv", tmp_path / "out"
    if text is not None:
        pairs.write_text(text)
    done = call(config, "--pairs", str(pairs), "--out", str(out))
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert not out.exists()


class Real(Paint):
    """Shows what it was given."""

    def read_catalogue(self, items: Sequence[Any]) -> None:
        self.items = {one.item_id: one for one in items}

    def generate(self, target: Any, taste: Any, *, n: int, dial: float, run: Any) -> list[GeneratedVisual]:
        told = {"generated": False, "title": self.items[target.item_id].title}
        one = opened(self.items[target.item_id])
        return [GeneratedVisual(one, target.item_id, run.key(number), dial, "real", told) for number in range(n)]


def test_what_a_profile_forbids_is_not_shown_as_a_catalogue_s_picture_either(config: Path, tmp_path: Path) -> None:
    user = "reader-secret-6"
    done = CliRunner().invoke(main, ["profile", user, "--edit", "forbid genre:Horror", "-c", str(config), "-q"])
    assert done.exit_code == 0, done.output
    looking = Visualizing(workflow(config, "visuals.generator=test_visualizing:Real"))
    looking.of(Asked(item="Western3", user=user, out=tmp_path / "made", n=1))
    assert {one.rstrip("0123456789") for one in looking.generator.items} == {"Drama", "Western", "bare", "broken"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nobody", "Western3"), "not in the data set"),
        ((RED, "Westernn3"), "no item has that id or title"),
        (("--liked", "Westernn3", "Western3"), "no item has that id or title"),
        ((RED, "Western3", "--dial", "1.5"), "from 0"),
        ((RED, "Western3", "--dial", "nan"), "from 0"),
        ((RED, "Western3", "-n", "0"), "at least one"),
        ((RED, "Western3", "--generator", "embeded"), "Did you mean 'embedded'"),
        ((RED, "broken"), "broken.png"),
        ((RED,), "USER and ITEM"),
        ((RED, "Western3", "--liked", "Drama1"), "beside --liked"),
    ],
)
def test_mistakes_end_with_status_2_and_a_remedy(
    config: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = call(config, *arguments, "--out", str(tmp_path / "made"))
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_and_one_that_cannot_be_made_are_refused(config: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out, message in (("full", "has files already"), ("file", "is a file"), ("file/made", str(tmp_path / "file"))):
        done = call(config, RED, "Western3", "--out", str(tmp_path / out))
        assert done.exit_code == 2, done.output
        assert message in done.output
        assert "--out FOLDER" in done.output
    assert files(tmp_path) == {"file": b"mine", "mine.txt": b"mine"}
    (tmp_path / "empty").mkdir()
    assert len(drawn(config, tmp_path / "empty", n=1).pictures) == 1


def test_the_settings_are_explained() -> None:
    assert {row["setting"] for row in health.settings_rows("visuals")} == {"generator", "options", "candidates"}
    assert "steps" in {row["setting"] for row in health.settings_rows("visuals.embedded")}
    assert {row["setting"] for row in health.settings_rows("visuals.catalogue")} == {"pool"}


@pytest.mark.slow
def test_the_embedded_generator_draws_with_the_weights_of_the_package(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (FOLDER / FLOW).is_file():
        pytest.skip("the package has no weights yet")
    monkeypatch.setattr(visualizing, "make_encoder", items.make_encoder)
    one, two = (
        drawn(config, tmp_path / name, "Western3", "visuals.generator=embedded", n=2, dial=0.5) for name in "ab"
    )
    assert files(one.folder) == files(two.folder)
    assert one.pictures[0]["generator"].startswith("embedded")
    assert Image.open(one.folder / one.pictures[0]["file"]).size == (128, 192)
