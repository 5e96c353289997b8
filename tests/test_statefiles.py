"""State belongs to the data set: it is found again after moves, updates, erasures, and from any folder."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from profiles.made import profile, statement

from recsys.cli import main
from recsys.core.errors import ArtifactError, ConfigError
from recsys.data.identity import REGISTRY
from recsys.hosting import Host, Hosting
from recsys.profiling import Profiling
from recsys.runconfig import read_config
from recsys.serving.service import Service
from recsys.serving.state.sqlite import SQLiteStateStore
from recsys.serving.state.store import Event
from recsys.statefiles import StateFiles
from recsys.workflow import Workflow

N_USERS = 12


def make_raw(folder: Path, more: int = 0) -> Path:
    folder.mkdir(parents=True)
    rows = [f"u{user},i{(user * 7 + place * 3) % 20},{place}" for user in range(N_USERS) for place in range(9 + more)]
    (folder / "taken.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    return folder


def workflow(root: Path, raw: str | Path, *overrides: str, log: list[str] | None = None) -> Workflow:
    settings = (
        "data.source=own", f"data.raw={str(raw)!r}", "data.options.interactions=taken.csv", "items.text=none",
        f"run.artifacts={str(root)!r}", "ranker.name=popularity", *overrides,
    )  # fmt: skip
    return Workflow(read_config(None, settings), log=(log if log is not None else []).append)


@contextmanager
def serving(flow: Workflow, **hosting: object) -> Iterator[Service]:
    host = Host(flow, Hosting(visuals=False, **hosting))
    service = host.service()
    try:
        yield service
    finally:
        service.close()
        host.release()


def like(flow: Workflow, user: str, item: str, **hosting: object) -> None:
    with serving(flow, profiles=False, **hosting) as service:
        asyncio.run(service.accounts.record(Event(user, item, "like")))


def liked(flow: Workflow, user: str = "u1") -> list[str]:
    with serving(flow, profiles=False) as service:
        return [event.item_id for event in service.accounts.state.events(user)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return make_raw(tmp_path / "shop")


@pytest.mark.parametrize("change", ["nothing", "moved", "renamed", "updated", "erased", "erased and moved", "relative"])
def test_state_is_found_again(
    root: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    like(workflow(root, raw), "u1", "i5")
    if change == "updated":
        shutil.rmtree(raw)
        make_raw(raw, more=2)
    if "erased" in change:
        with serving(workflow(root, raw)) as service:
            service.accounts.erase("u7")
    if "moved" in change or change == "renamed":
        (tmp_path / "elsewhere").mkdir()
        raw = raw.rename(tmp_path / ("other" if change == "renamed" else "elsewhere/shop"))
    if change == "relative":
        monkeypatch.chdir(raw)
        raw = Path("../shop")
    told: list[str] = []
    assert liked(workflow(root, raw, log=told)) == ["i5"]
    assert not [line for line in told if "not opened" in line]
    assert len(list((root / "served").glob("*.sqlite"))) == 1
    assert ("u7" in workflow(root, raw).dataset.users) == ("erased" not in change)


def test_moves_and_updates_may_follow_each_other(root: Path, raw: Path, tmp_path: Path) -> None:
    like(workflow(root, raw), "u1", "i5")
    for step in range(3):
        raw = raw.rename(tmp_path / f"moved{step}")
        assert liked(workflow(root, raw)) == ["i5"]
        shutil.rmtree(raw)
        make_raw(raw, more=step + 1)
        assert liked(workflow(root, raw)) == ["i5"]


def test_a_ranker_that_brings_its_own_data_brings_its_state(root: Path, raw: Path) -> None:
    flow = workflow(root, raw)
    key = flow.train().key
    like(flow, "u1", "i5")
    plain = Workflow(read_config(None, (f"run.artifacts={str(root)!r}", "items.text=none")), log=lambda line: None)
    with serving(plain, ranker=key, profiles=False) as service:
        assert [event.item_id for event in service.accounts.state.events("u1")] == ["i5"]


def test_two_data_sets_share_nothing_and_each_names_the_other(root: Path, raw: Path, tmp_path: Path) -> None:
    like(workflow(root, raw), "u1", "i5")
    other, told = make_raw(tmp_path / "second", more=1), []
    assert liked(workflow(root, other, log=told)) == []
    (line,) = [line for line in told if "not opened" in line]
    first = StateFiles(workflow(root, raw))
    assert f"served/{first.served.name} (1 row); data.name={first.name} opens that" in line
    like(workflow(root, other), "u1", "i6")
    assert liked(workflow(root, raw)) == ["i5"]
    assert first.erase_elsewhere("u1", []) == 1  # but for that of the other
    assert liked(workflow(root, other)) == ["i6"]


def test_a_copy_that_goes_its_own_way_is_another_data_set(root: Path, raw: Path, tmp_path: Path) -> None:
    like(workflow(root, raw), "u1", "i5")
    copy = tmp_path / "copy"
    shutil.copytree(raw, copy)
    assert liked(workflow(root, copy)) == ["i5"]  # the same data
    assert liked(workflow(root, copy, "data.name=copy")) == []
    shutil.rmtree(raw)
    make_raw(raw, more=3)
    assert liked(workflow(root, raw)) == ["i5"]


def test_a_name_takes_the_files_along(root: Path, raw: Path, tmp_path: Path) -> None:
    like(workflow(root, raw), "u1", "i5")
    before, told = StateFiles(workflow(root, raw)).served, []
    assert liked(workflow(root, raw, "data.name=shop", log=told)) == ["i5"]
    assert f"{before} is now {root / 'served' / 'shop.sqlite'}" in told
    assert not before.exists()
    assert liked(workflow(root, raw)) == ["i5"]  # remembered
    moved = raw.rename(tmp_path / "moved")
    (moved / "taken.csv").write_text((moved / "taken.csv").read_text() + "u1,i0,99\n")
    assert liked(workflow(root, moved, "data.name=shop")) == ["i5"]  # neither place nor content is known


def test_data_that_was_moved_and_changed_is_not_taken_for_new(root: Path, raw: Path, tmp_path: Path) -> None:
    like(workflow(root, raw), "u1", "i5")
    name = StateFiles(workflow(root, raw)).name
    moved = raw.rename(tmp_path / "moved")
    (moved / "taken.csv").write_text((moved / "taken.csv").read_text() + "u1,i0,99\n")
    with pytest.raises(ConfigError) as refused:
        liked(workflow(root, moved))
    assert f"state {name} in {root}: belongs to a data set whose folder {raw} is gone (1 row)" in str(refused.value)
    assert f"Set data.name={name} if it is the same" in str(refused.value)
    assert liked(workflow(root, moved, f"data.name={name}")) == ["i5"]
    assert liked(workflow(root, moved)) == ["i5"]  # remembered


def test_data_of_its_own_name_is_new_though_a_folder_is_gone(root: Path, raw: Path, tmp_path: Path) -> None:
    like(workflow(root, raw), "u1", "i5")
    shutil.rmtree(raw)
    other = make_raw(tmp_path / "second", more=1)
    assert liked(workflow(root, other, "data.name=second")) == []
    assert liked(workflow(root, other)) == []


def test_what_is_written_beside_the_tables_is_not_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in the data's own folder: configuration, log, report and results lie among the tables."""
    folder = make_raw(tmp_path / "shop")
    monkeypatch.chdir(folder)
    like(workflow(Path("results"), "."), "u1", "i5")
    for name in ("run.toml", "log.txt", "report.html", "poster.png"):
        Path(name).write_text("x")
    flow = workflow(Path("results"), ".")
    flow.data()
    assert len(flow.store.list("data")) == 1
    copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("results"))
    assert liked(workflow(folder / "results", copy)) == ["i5"]


def test_files_in_use_are_not_renamed(root: Path, raw: Path) -> None:
    like(workflow(root, raw), "u1", "i5")
    with (
        serving(workflow(root, raw), profiles=False),
        pytest.raises(ConfigError, match="is in use by another server"),
    ):
        StateFiles(workflow(root, raw, "data.name=shop"))
    assert liked(workflow(root, raw)) == ["i5"]


def old_file(root: Path, place: str | Path, source: str = "own") -> Path:
    """The file of an earlier version, by the raw folder's path."""
    return root / "served" / f"{source}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}.sqlite"


def test_files_of_earlier_versions_are_found_and_the_fullest_is_opened(root: Path, raw: Path, tmp_path: Path) -> None:
    """As it was: fed at home; an erasure; started from a link to the same folder, which opened an empty file."""
    flow = workflow(root, raw)
    flow.data()
    home, link = old_file(root, raw), tmp_path / "link"
    with_rows(home, "u1", "i5", "i6")
    (root / "erased.txt").write_text("0" * 32 + "\n")
    link.symlink_to(raw)
    workflow(root, link).data()
    with_rows(old_file(root, link), "u1", "i7")
    told: list[str] = []
    assert liked(workflow(root, link, log=told)) == ["i5", "i6"]
    (line,) = [line for line in told if "not opened" in line]
    assert old_file(root, link).name in line
    with serving(workflow(root, link), profiles=False) as service:
        assert service.accounts.erase("u1") == 3  # in both
    assert SQLiteStateStore(old_file(root, link)).events("u1") == []


def with_rows(path: Path, user: str, *items: str) -> None:
    path.parent.mkdir(exist_ok=True)
    store = SQLiteStateStore(path)
    for item in items:
        store.record(Event(user, item, "like"))
    store.close()


def test_an_erasure_reaches_profiles_that_are_not_opened(root: Path, raw: Path) -> None:
    flow = workflow(root, raw)
    files = StateFiles(flow)
    store = Profiling(flow).store
    store.put(profile(statement("genre:G0", 0.5), user_id="u1"))
    with serving(workflow(root, raw), profiles=False) as service:
        service.accounts.erase("u1")
    assert store.get("u1") is None
    known = json.loads((root / REGISTRY).read_text())
    assert known["datasets"][files.name]["source"] == "own"


def test_the_verb_erases_in_files_of_the_same_data_set(root: Path, raw: Path, tmp_path: Path) -> None:
    store = Profiling(workflow(root, raw)).store
    store.put(profile(statement("genre:G0", 0.5), user_id="u1"))
    named = workflow(root, raw, "data.name=shop").config.data.name
    Profiling(workflow(root, tmp_path / "shop", f"data.name={named}"))  # takes the files along
    second = root / "profiles" / "own-00000000.sqlite"
    shutil.copy(root / "profiles" / "shop.sqlite", second)
    assert told(root, raw, "profile", "u1", "--erase", "--set", "data.name=own-00000000").exit_code == 0
    for path in (second, root / "profiles" / "shop.sqlite"):
        assert b"genre:G0" not in path.read_bytes(), path


def told(root: Path, raw: Path, *words: str) -> Result:
    plain = ("data.source=own", f"data.raw={raw}", "data.options.interactions=taken.csv", "items.text=none")
    sets = [part for one in plain for part in ("--set", one)]
    done = CliRunner().invoke(main, [*words, "-q", "--artifacts", str(root), *sets])
    return done


@pytest.mark.parametrize("damage", ["{", "[" * 100_000, "flip"])
def test_a_damaged_registry_is_said(root: Path, raw: Path, damage: str) -> None:
    like(workflow(root, raw), "u1", "i5")
    path = root / REGISTRY
    path.write_text(path.read_text().replace("shop", "shoq") if damage == "flip" else damage)
    with pytest.raises(ArtifactError, match=r"datasets\.json: was changed or damaged.*or delete it"):
        StateFiles(workflow(root, raw))
    path.unlink()
    assert liked(workflow(root, raw)) == ["i5"]


@pytest.mark.parametrize("name", ["../shop", "a/b", "", ".hidden", "x" * 81])
def test_a_name_that_is_no_file_name_is_refused(root: Path, raw: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.name"):
        workflow(root, raw, f"data.name={name!r}")


def test_results_that_cannot_be_written_are_still_read(root: Path, raw: Path) -> None:
    like(workflow(root, raw), "u1", "i5")
    before = StateFiles(workflow(root, raw)).name
    os.chmod(root, 0o555)
    try:
        assert StateFiles(workflow(root, raw)).name == before
    finally:
        os.chmod(root, 0o755)
