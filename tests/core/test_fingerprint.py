"""A result depends on the code it was made with: its plug-in's file and what that rests on, and nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from recsys.core import fingerprint
from recsys.core.fingerprint import content_key, source_key
from recsys.rankers.vbpr import VBPR
from recsys.visuals import ROOM
from recsys.visuals.generators.embedded import EmbeddedGenerator

PLUG_IN = """
from recsys.rankers import near as other_name
from recsys.evaluation.report import page
from recsys import cli

class Mine:
    def fit(self):
        import recsys.items.late
"""
FILES = {
    "rankers/__init__.py": "NAMES = {}",
    "rankers/near.py": "from recsys.graph.far import walk\nimport recsys.rankers.near",
    "rankers/stranger.py": "x = 1",
    "graph/far.py": "from recsys.core.values import Query\nfrom recsys.rankers.near import back",
    "items/late.py": "x = 1",
    "core/values.py": "x = 1",
    "core/errors.py": "x = 1",
    "evaluation/report.py": "from recsys.rankers import stranger",
    "cli.py": "x = 1",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for the package, and a plug-in ``plug_in_of_test:Mine`` that rests on it."""
    for name, text in FILES.items():
        (tmp_path / "recsys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "recsys" / name).write_text(text)
    (tmp_path / "plug_in_of_test.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path / "recsys")
    yield tmp_path / "recsys"
    sys.modules.pop("plug_in_of_test", None)
    fingerprint._module_source.cache_clear()


def key() -> str:
    """The key that another process would find now: the plug-in is read, not run, as it names what is not there."""
    fingerprint._module_source.cache_clear()
    sys.modules.pop("plug_in_of_test", None)
    path = Path(next(folder for folder in sys.path if (Path(folder) / "plug_in_of_test.py").is_file()))
    spec = importlib.util.spec_from_file_location("plug_in_of_test", path / "plug_in_of_test.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["plug_in_of_test"] = module
    return source_key(type("Mine", (), {"__module__": "plug_in_of_test"}))


@pytest.mark.parametrize(
    "name", ["rankers/near.py", "graph/far.py", "items/late.py", "core/values.py", "../plug_in_of_test.py"]
)
def test_code_that_a_plug_in_rests_on_is_in_its_key(package: Path, name: str) -> None:
    before = key()
    assert key() == before
    with (package / name).open("a") as file:
        file.write("\ny = 2\n")
    assert key() != before


@pytest.mark.parametrize(
    "name", ["rankers/__init__.py", "rankers/stranger.py", "core/errors.py", "evaluation/report.py", "cli.py"]
)
def test_other_code_is_not(package: Path, name: str) -> None:
    before = key()
    with (package / name).open("a") as file:
        file.write("\ny = 2\n")
    assert key() == before


def test_a_running_process_keeps_to_the_code_it_began_with(package: Path) -> None:
    before = key()
    (package / "rankers/near.py").write_text("changed")
    kind = type("Mine", (), {"__module__": "plug_in_of_test"})
    assert source_key(kind) == before


def test_the_rankers_of_the_package_rest_on_what_they_import(monkeypatch: pytest.MonkeyPatch) -> None:
    before, true = source_key(VBPR), fingerprint._module_source
    for module in ("recsys.rankers.vectors", "recsys.rankers.multimodal", "recsys.rankers.training"):
        monkeypatch.setattr(
            fingerprint, "_module_source", lambda name, changed=module: true(name) + "#" * (name == changed)
        )
        assert source_key(VBPR) != before, module
    monkeypatch.setattr(fingerprint, "_module_source", lambda name: true(name) + "#" * ("mmssl" in name))
    assert source_key(VBPR) == before


@pytest.mark.parametrize("name", ["balance", "selection", "autoencoder", "flow", "eye"])
def test_pictures_rest_on_what_their_generator_imports_while_it_draws(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before, true = source_key(EmbeddedGenerator, ROOM), fingerprint._module_source
    monkeypatch.setattr(
        fingerprint, "_module_source", lambda module: true(module) + "#" * (module == f"recsys.visuals.{name}")
    )
    assert source_key(EmbeddedGenerator, ROOM) != before


def notebook(text: str, name: str = "notebook_of_test") -> dict[str, object]:
    """What a cell of a notebook defines: a module without a file."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(text, "<cell>", "exec"), module.__dict__)
    return module.__dict__


CELL = """
import polars as pl
import numpy as np
frame = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "y"]})
unused = 1
def helper():
    return CONSTANT
CONSTANT = {"one", "two"}
class Mine:
    weights = np.arange(3)
    def tables(self, raw, *, run):
        return frame.lazy(), helper(), (lambda: other)()
other = [1.5, None]
"""


@pytest.mark.parametrize(
    "change",
    [
        lambda cell: cell.replace('"y"', '"z"'),
        lambda cell: cell.replace('"one"', '"three"'),
        lambda cell: cell.replace("arange(3)", "arange(4)"),
        lambda cell: cell.replace("[1.5, None]", "[1.5, 0]"),
        lambda cell: cell.replace("helper(), (lambda", "helper() or 1, (lambda"),
        lambda cell: cell.replace("return CONSTANT", "return sorted(CONSTANT)"),
    ],
)
def test_a_class_of_a_notebook_has_another_key_when_what_it_refers_to_changes(change) -> None:
    before = source_key(notebook(CELL)["Mine"])
    assert source_key(notebook(CELL)["Mine"]) == before
    assert source_key(notebook(CELL.replace("unused = 1", "unused = 2"))["Mine"]) == before
    assert source_key(notebook(change(CELL))["Mine"]) != before


def test_a_frame_that_is_put_into_a_class_counts() -> None:
    names = notebook(CELL)
    kind, before = names["Mine"], source_key(names["Mine"])
    kind.frame = pl.DataFrame({"user_id": ["a"]})
    with_frame = source_key(kind)
    kind.frame = pl.DataFrame({"user_id": ["b"]})
    assert len({before, with_frame, source_key(kind)}) == 3
    kind.frame = pl.DataFrame({"user_id": ["a"]}).lazy()
    lazy = source_key(kind)
    kind.frame = pl.DataFrame({"user_id": ["b"]}).lazy()
    assert source_key(kind) != lazy


def test_pandas_tables_and_closures_count() -> None:
    pandas = pytest.importorskip("pandas")

    def of(value: object) -> str:
        kind = notebook("def of(value):\n    class Mine:\n        def f(self): return value\n    return Mine")["of"](
            value
        )
        return source_key(kind)

    assert of(pandas.DataFrame({"a": [1, 2]})) == of(pandas.DataFrame({"a": [1, 2]}))
    assert of(pandas.DataFrame({"a": [1, 2]})) != of(pandas.DataFrame({"a": [1, 3]}))
    assert of(pandas.Series(["x"])) != of(pandas.Series(["y"]))


def test_the_key_of_a_notebooks_class_is_the_same_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "cell.py").write_text(CELL)
    code = (
        "import sys, types; from pathlib import Path; from recsys.core.fingerprint import content_key, source_key\n"
        "module = types.ModuleType('notebook_of_test'); sys.modules['notebook_of_test'] = module\n"
        "exec(compile(Path(sys.argv[1]).read_text(), '<cell>', 'exec'), module.__dict__)\n"
        "print(source_key(module.Mine))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "cell.py")], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    assert told == {source_key(notebook(CELL)["Mine"])}


def test_what_cannot_be_compared_makes_the_key_anew_and_is_said() -> None:
    told: list[str] = []
    names = notebook("import threading\nlock = threading.Lock()\nclass Mine:\n    def f(self): return lock")
    kind = names["Mine"]
    assert source_key(kind, log=told.append) == source_key(kind)  # within a process
    assert source_key(kind, now="another process") != source_key(kind)
    assert told == ["Mine refers to what cannot be compared (lock): nothing made before is reused for it"]
    plain = notebook(CELL)["Mine"]
    assert source_key(plain, now="another process") == source_key(plain)


def rewritten(path: Path, content: bytes) -> None:
    """Change a file in place, and set its time of change back."""
    facts = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as not changed lately, whatever the clock says."""
    monkeypatch.setattr(fingerprint, "is_settled", lambda facts, now: True)


@pytest.mark.parametrize("settled", [True, False])
def test_a_changed_file_of_equal_size_and_time_has_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: bool
) -> None:
    if settled:
        settle(monkeypatch)
    file, cache = tmp_path / "raw.csv", tmp_path / "cache"
    file.write_bytes(b"a,b\n1,2\n")
    os.utime(file, ns=(10**18, 10**18))
    before = content_key([file], tmp_path, cache)
    assert content_key([file], tmp_path, cache) == before
    assert (cache / fingerprint.DIGESTS).is_file() == settled
    if settled:
        wait_for_another_tick(file)
    rewritten(file, b"a,b\n1,3\n")
    assert file.stat().st_mtime_ns == 10**18
    assert content_key([file], tmp_path, cache) != before
    other = tmp_path / "other.csv"
    other.write_bytes(b"a,b\n1,2\n")
    os.utime(other, ns=(10**18, 10**18))
    os.replace(other, file)  # another file in its place, with the old content
    assert content_key([file], tmp_path, cache) == before


def wait_for_another_tick(file: Path) -> None:
    """Return once a change of a file would have another time than the last one had."""
    probe, last = file.with_suffix(".probe"), file.stat().st_ctime_ns
    while not probe.exists() or probe.stat().st_ctime_ns <= last:
        probe.write_bytes(b"")


def test_a_file_that_did_not_change_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    file, read = tmp_path / "raw.csv", []
    file.write_text("a")
    true = fingerprint.file_hash
    monkeypatch.setattr(fingerprint, "file_hash", lambda path: read.append(path) or true(path))
    keys = {content_key([file], tmp_path, tmp_path) for _ in range(3)}
    assert len(keys) == len(read) == 1
    (tmp_path / fingerprint.DIGESTS).write_text("[" * 100_000)  # damaged: only a memory
    assert {content_key([file], tmp_path, tmp_path)} == keys


def test_of_a_class_with_a_file_counters_count_as_they_were_first_and_tables_as_they_are(tmp_path, monkeypatch) -> None:
    text = "class Mine:\n    asked = []\n    frame = None\n    def f(self): return self.asked, self.frame\n"
    (tmp_path / "counting_plug_in.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("counting_plug_in").Mine
    before = source_key(kind)
    kind.asked.append("once")
    assert source_key(kind) == before
    kind.frame = pl.DataFrame({"user_id": ["a"]})
    with_frame = source_key(kind)
    kind.frame = pl.DataFrame({"user_id": ["b"]})
    assert len({before, with_frame, source_key(kind)}) == 3
