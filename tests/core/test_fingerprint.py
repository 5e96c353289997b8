"""A result depends on the code it was made with: its plug-in's file and what that rests on, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.core import fingerprint
from recsys.core.fingerprint import source_key
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


def test_a_class_typed_in_at_a_prompt_has_no_source() -> None:
    assert source_key(type("Typed", (), {"__module__": "nowhere"})) == "no source"
