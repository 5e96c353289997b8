"""A flipped bit in any file of any artifact: every load says so in two lines, or answers as it did before."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.core.artifact import CARD, MANIFEST, Artifact, ArtifactStore, read_artifact
from recsys.core.errors import ArtifactError, RecsysError
from recsys.core.hashing import file_hash
from recsys.core.manifest import CHECKSUM, artifact_key, sealed
from recsys.data.canonical import load_dataset, load_features, read_interactions
from recsys.evaluation.result import Evaluation
from recsys.profiling import Profiling
from recsys.rankers.store import load_ranker, make_ranker, save_ranker
from recsys.runconfig import read_config
from recsys.serving.recommender import Recommender
from recsys.workflow import Workflow

from plugtexts import encoder_text, ranker_text
from worlds import blocks

ENCODER = encoder_text('[text.count(letter) for letter in "aeiorst0123"]')
FUSION = "ranker={name='fusion', members=[{name='ease', regularisation=10}, {name='content_knn'}]}"
KINDS = {"data", "split", "items", "ranker", "evaluation", "profiler"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw tables, an encoder beside them, and all artifacts of a run with them."""
    folder = tmp_path_factory.mktemp("damage")
    raw = folder / "raw"
    raw.mkdir()
    rows = [(f"u{user}", f"i{(user * 7 + place * 3) % 20}", place) for user in range(30) for place in range(9)]
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(raw / "taken.csv")
    items = [(f"i{n}", f"Title {n}", f"a story of {'rats' if n % 2 else 'toads'}") for n in range(20)]
    pl.DataFrame(items, schema=["item_id", "title", "text"], orient="row").write_csv(raw / "items.csv")
    (folder / "letters_of_test.py").write_text(ENCODER)
    sys.path.insert(0, str(folder))
    flow = workflow(folder)
    flow.evaluate(flow.train())
    Profiling(flow).fitted()
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("letters_of_test", None)


def settings(folder: Path) -> tuple[str, ...]:
    return (
        "data.source=own", f"data.raw={str(folder / 'raw')!r}", "data.options.interactions=taken.csv",
        "data.options.items=items.csv", "items.text=letters_of_test:Letters", "items.image=none",
        "evaluation.ks=[5]", "evaluation.metric=ndcg@5", f"run.artifacts={str(folder / 'artifacts')!r}", FUSION,
    )  # fmt: skip


def workflow(folder: Path) -> Workflow:
    return Workflow(read_config(None, settings(folder)), log=lambda message: None)


def of_kind(folder: Path, kind: str) -> list[Artifact]:
    return ArtifactStore(folder / "artifacts").list(kind)


def lists(folder: Path, path: Path) -> Any:
    model = Recommender.load(path, artifacts=folder / "artifacts")
    return [model.recommend(f"u{user}", k=5) for user in range(3)]


def data(folder: Path, path: Path) -> Any:
    found, features = load_dataset(path), load_features(path)
    return found.interactions.user_idx.tolist(), found.item_table.rows(), list(features.matrices), \
        read_interactions(path).collect().rows()  # fmt: skip


def measured(folder: Path, path: Path) -> Any:
    found = Evaluation.load(path)
    return found.to_dict(), found.per_user.rows(), found.top_items.tolist()


def features(folder: Path, path: Path) -> Any:
    return {name: matrix.tolist() for name, matrix in workflow(folder).features().matrices.items()}


def profile(folder: Path, path: Path) -> Any:
    return Profiling(workflow(folder)).built("u1").model_dump()


LOADS: dict[str, Callable[[Path, Path], Any]] = {
    "data": data, "split": lambda folder, path: workflow(folder).loaded_split.part.tolist(), "items": features,
    "ranker": lists, "evaluation": measured, "profiler": profile,
}  # fmt: skip


def outcome(load: Callable[[Path, Path], Any], folder: Path, path: Path) -> tuple[Any, RecsysError | None]:
    try:
        return load(folder, path), None
    except RecsysError as error:
        return None, error


def flipped(folder: Path, seed: int, n: int) -> dict[str, int]:
    """Flip a bit ``n`` times, each in a file drawn of an artifact drawn; return how often it was said, and not."""
    draw, told = random.Random(seed), {"refused": 0, "same": 0}
    for kind in sorted(KINDS):
        assert of_kind(folder, kind), kind
    for number in range(n):
        one = draw.choice(of_kind(folder, sorted(KINDS)[number % len(KINDS)]))
        load = LOADS[one.kind]
        files = sorted(path for path in one.path.rglob("*") if path.is_file() and path.name != CARD)
        file = draw.choice(files)  # a card is written for people: nothing reads it
        right, whole = load(folder, one.path), file.read_bytes()
        if not whole:
            continue
        bit = draw.randrange(8 * len(whole))
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        file.write_bytes(broken)
        where = f"bit {bit} of {file.relative_to(folder)}"
        found, refusal = outcome(load, folder, one.path)
        file.write_bytes(whole)
        if refusal is None:
            assert found == right, where
            assert file.name == MANIFEST, where  # its white space
        else:
            assert str(one.path) in refusal.thing, where
            assert "Delete the folder and make it again" in refusal.remedy, where
        told["same" if refusal is None else "refused"] += 1
    return told


def test_a_flipped_bit_is_said_or_changes_nothing(folder: Path, capfd: pytest.CaptureFixture) -> None:
    told = flipped(folder, 1, 48)
    assert told["refused"] > told["same"]
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_thousand_flipped_bits_are_said_or_change_nothing(folder: Path, capfd: pytest.CaptureFixture) -> None:
    told = flipped(folder, 2, 1000)
    assert sum(told.values()) > 990
    with capfd.disabled():
        print(told)
    assert capfd.readouterr().err == ""


def damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("kind", sorted(KINDS - {"evaluation", "profiler"}))
def test_each_step_that_a_list_rests_on_is_checked(copy: Path, kind: str) -> None:
    one = of_kind(copy, kind)[-1]
    file = max((path for path in one.path.iterdir() if path.name not in (MANIFEST, CARD)), key=lambda p: p.name)
    damaged(file)
    told = rf"^artifact .*/{one.path.name}: {file.name} was changed or damaged\. Delete the folder and make it again\.$"
    load = features if kind == "items" else lists
    with pytest.raises(ArtifactError, match=told):
        load(copy, of_kind(copy, "ranker")[-1].path)
    with pytest.raises(ArtifactError, match=told):
        workflow(copy).train()


def test_the_command_line_says_it_in_two_lines(copy: Path) -> None:
    damaged(next(of_kind(copy, "data")[-1].path.glob("users.parquet")))
    for verb in (["recommend", "fusion", "--user", "u1", "--artifacts", str(copy / "artifacts")], train(copy)):
        done = CliRunner().invoke(main, verb)
        assert done.exit_code == 2, done.output
        told = done.stderr.strip().splitlines()
        assert len(told) == 2, done.stderr
        assert "users.parquet was changed or damaged" in told[0]
        assert "Delete the folder" in told[1]


def train(folder: Path) -> list[str]:
    return ["train", "-q", *(part for one in settings(folder) for part in ("--set", one))]


def forged(path: Path, **changed: Any) -> None:
    """Write fields of a manifest anew, with the key, the hashes and the checksum that fit."""
    manifest = json.loads((path / MANIFEST).read_text()) | changed
    manifest["files"] = {name: file_hash(path / name) for name in manifest["files"]}
    keys = [parent["key"] for parent in manifest["parents"]]
    manifest["key"] = artifact_key(manifest["kind"], manifest["schema"], manifest["config"], keys)
    manifest.pop(CHECKSUM, None)
    (path / MANIFEST).write_text(json.dumps(sealed(manifest)))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[]", "holds no JSON object"),
        ('{"schema": 1}', "it has no 'kind'"),
        (None, "of a later version of recsys: it has schema 999, and this version reads 1"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(copy: Path, text: str | None, cause: str) -> None:
    one = of_kind(copy, "ranker")[-1]
    if text is None:
        forged(one.path, schema=999)
    else:
        (one.path / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError, match=cause):
        Recommender.load(one.path, artifacts=copy / "artifacts")


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", 7), ("key", "0" * 12), ("created", "2020"), ("results", {"best": {}}), ("more", 1), ("files", {})],
)
def test_a_changed_manifest_is_refused(copy: Path, field: str, value: Any) -> None:
    one = of_kind(copy, "ranker")[-1]
    manifest = json.loads((one.path / MANIFEST).read_text())
    if field == "seed":
        manifest["config"]["seed"] = value
    else:
        manifest[field] = value
    (one.path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"manifest\.json was changed or damaged: "):
        read_artifact(one.path)


def test_a_manifest_of_an_earlier_version_still_loads(copy: Path) -> None:
    right = lists(copy, of_kind(copy, "ranker")[-1].path)
    for path in (copy / "artifacts").glob(f"*/*/{MANIFEST}"):
        manifest = json.loads(path.read_text())
        del manifest[CHECKSUM]
        path.write_text(json.dumps(manifest, indent=2))
    assert lists(copy, of_kind(copy, "ranker")[-1].path) == right
    flow = workflow(copy)
    assert flow.train().path == of_kind(copy, "ranker")[-1].path


def test_a_file_is_hashed_once_a_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys.core import hashing

    monkeypatch.setattr(hashing, "is_settled", lambda facts, now: True)
    read: list[Path] = []
    true = hashing.file_hash
    monkeypatch.setattr(hashing, "file_hash", lambda path: read.append(path) or true(path))
    monkeypatch.setattr(hashing, "_seen", {})
    for _ in range(3):
        lists(folder, of_kind(folder, "ranker")[-1].path)
        workflow(folder).features()
    assert len(read) == len(set(read)) > 5


CANARY = "from pathlib import Path\nPath(__file__).with_suffix('.ran').write_text('')\n"


@pytest.mark.parametrize(
    "config",
    [
        {"name": "canary_of_test:X"},
        {"name": "fusion", "members": [{"name": "ease"}, {"name": "canary_of_test:X"}]},
        {"name": "profile", "sources": ["canary_of_test:X"]},
    ],
)
def test_code_that_an_artifact_names_is_not_imported(
    copy: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    """Neither by the library nor by a verb, in the folder that the file lies in."""
    monkeypatch.chdir(copy)
    monkeypatch.syspath_prepend(str(copy))
    (copy / "canary_of_test.py").write_text(CANARY)
    one = next(artifact for artifact in of_kind(copy, "ranker") if artifact.manifest["name"] == "fusion")
    (one.path / "ranker.json").write_text(json.dumps(config))
    manifest = json.loads((one.path / MANIFEST).read_text())
    forged(one.path, config={**manifest["config"], "ranker": config})
    artifacts = ["--artifacts", str(copy / "artifacts")]
    if config["name"] != "profile":  # whose sources are looked up by a fit alone
        with pytest.raises(ArtifactError, match="canary_of_test:X', code that this run does not name"):
            Recommender.load(one.path, artifacts=copy / "artifacts")
        done = CliRunner().invoke(main, ["recommend", str(one.path), "--user", "u1", *artifacts])
        assert done.exit_code == 2, done.output
        assert "--set ranker.name=canary_of_test:X" in done.stderr
    with pytest.raises(ArtifactError, match="code that this run does not name"):
        workflow(copy).open_ranker(str(one.path))
    done = CliRunner().invoke(main, ["serve", str(one.path), *artifacts])
    assert done.exit_code == 2, done.output
    assert not (copy / "canary_of_test.ran").exists()
    assert "canary_of_test" not in sys.modules


@pytest.mark.parametrize("named", ["by the library", "by the configuration", "not at all"])
def test_code_that_the_run_names_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    from recsys.core import registry

    monkeypatch.setattr(registry, "_named", set())
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_of_test.py").write_text(ranker_text("Mine"))
    world = blocks()
    ranker = make_ranker({"name": "mine_of_test:Mine"})
    ranker.fit(world.train, None, run=None)
    save_ranker(ranker, {"name": "mine_of_test:Mine"}, tmp_path)
    if named == "by the library":
        with pytest.raises(ArtifactError, match="no such artifact"):
            Recommender.load("nothing", artifacts=tmp_path, plugins=["mine_of_test:Mine"])
    elif named == "by the configuration":
        Workflow(read_config(None, ("ranker.name=mine_of_test:Mine",)))
    else:
        with pytest.raises(ArtifactError, match=r"--set ranker\.name=mine_of_test:Mine"):
            load_ranker(tmp_path)
        return
    np.testing.assert_array_equal(load_ranker(tmp_path).counts, ranker.counts)
