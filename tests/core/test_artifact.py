"""Artifacts: made once, never half, never stale, and honest about what they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys.core.artifact import MANIFEST, ArtifactStore, artifact_key, read_arrays, write_arrays
from recsys.core.errors import ArtifactError

from waiting import LONG


def write(folder: Path) -> dict[str, int]:
    (folder / "result.txt").write_text("42")
    return {"answer": 42}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def test_is_made_once_and_reused(store: ArtifactStore) -> None:
    calls = []

    def counted(folder: Path) -> dict[str, int]:
        calls.append(folder)
        return write(folder)

    first = store.build("thing", "one", config={"a": 1}, write=counted)
    second = store.build("thing", "one", config={"a": 1}, write=counted)
    assert len(calls) == 1
    assert first.path == second.path
    assert first.manifest["results"] == {"answer": 42}
    assert {"commit", "versions", "command", "created", "wall_s", "peak_memory_mb"} <= set(first.manifest)
    assert "42" in (first.path / "card.md").read_text()


def test_key_depends_on_config_parents_kind_and_schema(store: ArtifactStore) -> None:
    base = store.build("thing", "one", config={"a": 1}, write=write)
    others = [
        store.build("thing", "one", config={"a": 2}, write=write),
        store.build("thing", "one", config={"a": 1}, parents=[base], write=write),
        store.build("other", "one", config={"a": 1}, write=write),
    ]
    keys = {base.key, *(other.key for other in others), artifact_key("thing", 2, {"a": 1}, [])}
    assert len(keys) == 5


def test_a_failed_write_leaves_nothing_that_can_be_read(store: ArtifactStore) -> None:
    def broken(folder: Path) -> None:
        write(folder)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.build("thing", "one", config={}, write=broken)
    assert store.list() == []
    assert store.build("thing", "one", config={}, write=write).manifest["results"] == {"answer": 42}


def test_a_full_disk_is_said_and_earlier_artifacts_stay(store: ArtifactStore) -> None:
    kept = store.build("thing", "kept", config={}, write=write)

    def full(folder: Path) -> None:
        raise OSError(28, os.strerror(28))

    with pytest.raises(ArtifactError, match="No space left"):
        store.build("thing", "new", config={}, write=full)
    store.open(kept.path).verify()
    assert len(store.list()) == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match="Check its permissions and the space left"):
        ArtifactStore(tmp_path / "file").build("thing", "one", config={}, write=write)


def test_a_resumable_draft_is_handed_on(store: ArtifactStore) -> None:
    def first(folder: Path) -> None:
        (folder / "half").write_text("done")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build("thing", "one", config={}, write=first, resumable=True)

    def second(folder: Path) -> dict[str, str]:
        return {"found": (folder / "half").read_text()}

    made = store.build("thing", "one", config={}, write=second, resumable=True)
    assert made.manifest["results"] == {"found": "done"}


def test_verify_finds_a_changed_and_a_missing_file(store: ArtifactStore) -> None:
    made = store.build("thing", "one", config={}, write=write)
    (made.path / "result.txt").write_text("43")
    with pytest.raises(ArtifactError, match="changed or damaged"):
        made.verify()
    (made.path / "result.txt").unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        made.verify()


@pytest.mark.parametrize(
    ("content", "damage"),
    [
        (b"", "it is empty"), (b"{", "line 1 is not JSON"), (b'{\n"a": ?}', "line 2 is not JSON"),
        (b"[]", "it holds no JSON object"), (b'{"kind": "thing"}', "it has no 'name'"),
        (b"\xff\xfe", "it is not UTF-8 text"), (b"[" * 100_000, "it is nested too deeply"),
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_said(store: ArtifactStore, content: bytes, damage: str) -> None:
    made = store.build("thing", "one", config={}, write=write)
    (made.path / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        store.open(made.path)
    assert caught.value.cause == f"its {MANIFEST} was changed or damaged: {damage}"
    assert caught.value.remedy == "Delete the folder and make it again."
    assert store.list() == []


def test_a_folder_a_key_and_a_name_with_its_key_are_exact(store: ArtifactStore) -> None:
    first = store.build("thing", "one", config={"a": 1}, write=write)
    store.build("thing", "one", config={"a": 2}, write=write)
    for reference in (first.key, first.key[:6], first.path, f"one-{first.key}", f"thing/one-{first.key}"):
        assert store.open(reference).key == first.key
    with pytest.raises(ArtifactError, match="recsys show"):
        store.open("absent")


@pytest.mark.parametrize("reference", ["one", "thing/one"])
def test_a_bare_name_is_not_guessed(store: ArtifactStore, reference: str) -> None:
    store.build("thing", "one", config={"a": 1}, write=write)
    last = store.build("thing", "one", config={"a": 2}, write=write)
    assert store.find(reference) is None
    with pytest.raises(ArtifactError, match=f"what it means depends on the run.*one-{last.key}"):
        store.open(reference)


def test_what_is_asked_for_again_is_the_newest_of_its_name(store: ArtifactStore) -> None:
    first, second = (store.build("thing", "one", config={"a": a}, write=write) for a in (1, 2))
    other = store.build("thing", "two", config={}, write=write)
    assert [one.key for one in store.named("one")] == [first.key, second.key]
    store.renew(first)
    assert [one.key for one in store.named("thing/one")] == [second.key, first.key]
    store.renew(second)
    assert [one.key for one in store.named("one", "thing")] == [first.key, second.key]
    assert [one.key for one in store.named("two")] == [other.key]


def test_a_plug_ins_artifact_is_named_by_its_class(store: ArtifactStore) -> None:
    names = ["my_file:Mine", "deep.down.my_file:Mine", "a:Mine-text-b.c:Theirs"]
    made = [store.build("thing", name, config={"name": name}, write=write).manifest["name"] for name in names]
    assert made == ["Mine", "Mine", "Mine-text-Theirs"]


def test_a_name_that_is_not_there(store: ArtifactStore) -> None:
    store.build("thing", "first", config={"a": 1}, write=write)
    with pytest.raises(ArtifactError, match=r"no such artifact below .*artifacts. Did you mean 'first'\? List what"):
        store.open("frist")
    with pytest.raises(ArtifactError, match=r"no such artifact below .*artifacts. List what"):
        store.open("something else")


@pytest.mark.parametrize("reference", ["one", "thing/one", "{folder}"])
def test_opening_the_name_of_a_damaged_folder_says_that_it_is_damaged(store: ArtifactStore, reference: str) -> None:
    made = store.build("thing", "one", config={"a": 1}, write=write)
    (made.path / MANIFEST).write_text("{")
    with pytest.raises(ArtifactError, match=r"manifest\.json was changed or damaged: .*Delete the folder"):
        store.open(reference.format(folder=made.path.name))


def test_lineage_names_all_ancestors(store: ArtifactStore) -> None:
    first = store.build("data", "d", config={}, write=write)
    second = store.build("split", "s", config={}, parents=[first], write=write)
    third = store.build("ranker", "r", config={}, parents=[second], write=write)
    assert [(depth, entry["kind"]) for depth, entry in store.lineage(third)] == [
        (0, "ranker"),
        (1, "split"),
        (2, "data"),
    ]


def test_two_processes_make_it_once(store: ArtifactStore, tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom recsys.core.artifact import ArtifactStore\n"
        "def write(folder):\n    open(sys.argv[2], 'a').write('x')\n    time.sleep(0.5)\n    return {}\n"
        "ArtifactStore(Path(sys.argv[1])).build('thing', 'one', config={}, write=write)\n"
    )
    count = tmp_path / "count"
    both = [subprocess.Popen([sys.executable, "-c", code, str(store.root), str(count)]) for _ in range(2)]
    assert [process.wait(timeout=LONG) for process in both] == [0, 0]
    assert count.read_text() == "x"


def test_arrays_round_trip_and_damage_is_said(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.array([1, 2], dtype=np.int64)}
    write_arrays(tmp_path / "x.safetensors", arrays)
    for name, array in read_arrays(tmp_path / "x.safetensors").items():
        np.testing.assert_array_equal(array, arrays[name])
    (tmp_path / "x.safetensors").write_bytes(b"\x80\x04canary pickle")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_arrays(tmp_path / "x.safetensors")


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_arrays_on_a_full_disk_are_an_oserror(tmp_path: Path) -> None:
    code = (
        "import resource, sys, numpy; from pathlib import Path; from recsys.core.artifact import write_arrays\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "try: write_arrays(Path(sys.argv[1]), {'x': numpy.zeros(10_000)})\n"
        "except OSError as error: print('refused', error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.safetensors")], capture_output=True, text=True)
    assert done.stdout.startswith("refused"), done.stderr
    assert not (tmp_path / "x.safetensors").exists()


def test_manifest_is_plain_json(store: ArtifactStore) -> None:
    made = store.build("thing", "one", config={"path": Path("x"), "n": np.int64(3)}, write=write)
    assert json.loads((made.path / MANIFEST).read_text())["config"]["path"] == "x"


def test_a_card_counts_long_lists(store: ArtifactStore) -> None:
    made = store.build("thing", "one", config={}, write=lambda folder: {"rows": [{"epoch": n} for n in range(40)]})
    text = (made.path / "card.md").read_text()
    assert "40 entries" in text
    assert "epoch" not in text
    assert len(made.manifest["results"]["rows"]) == 40
