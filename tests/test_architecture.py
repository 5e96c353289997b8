"""The house holds: imports point one way, the package starts light, nothing is pickled."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.core.config import Settings
from recsys.data import SOURCES
from recsys.items import DESCRIBERS, ENCODERS
from recsys.profiles import CONCEPT_SOURCES
from recsys.profiles.llm import LANGUAGE_MODELS
from recsys.rankers import RANKERS
from recsys.visuals import GENERATORS

ROOT = Path(__file__).resolve().parents[1] / "recsys"
ORDER = ["core", "data", "items", "graph", "rankers", "profiles", "visuals", "evaluation", "serving"]
LEVEL = {name: level for level, name in enumerate(ORDER)} | {"items": 2, "graph": 2}
REGISTRIES = [SOURCES, RANKERS, ENCODERS, DESCRIBERS, CONCEPT_SOURCES, LANGUAGE_MODELS, GENERATORS]
ABOVE = len(ORDER)  # the files beside the rooms: workflow, reporting, demo, cli
LIGHT = {"console": 0}  # plain text, for anybody


def imports(path: Path) -> set[str]:
    """Return the ``recsys`` modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "recsys" else [f"recsys.{alias.name}" for alias in node.names]
        found |= {name for name in names if name.startswith("recsys.")}
    return found


def room(module: str) -> str:
    return module.split(".")[1]


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    own = LEVEL.get(parts[0], ABOVE) if len(parts) > 1 else ABOVE
    for module in imports(path):
        if path.name == "protocols.py" and parts[0] == "core":
            continue  # names later values in annotations only
        other = LEVEL.get(room(module), LIGHT.get(room(module), ABOVE))
        same_room = len(parts) > 1 and room(module) == parts[0]
        assert other < own or same_room or own == ABOVE, f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_plug_ins_do_not_import_each_other(registry) -> None:
    modules = {target.partition(":")[0] for target in registry.names.values()}
    for module in modules:
        path = ROOT.parent / (module.replace(".", "/") + ".py")
        others = imports(path) & (modules - {module})
        shared = {"recsys.data.sources.movielens", "recsys.items.encoders.efficientnet"}  # one serves several editions
        assert not others - shared, f"{module} imports {others}"


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_every_plug_in_has_explained_settings_and_a_docstring(registry) -> None:
    for name in registry:
        kind = registry.load(name)
        assert issubclass(kind.Settings, Settings), name
        assert (kind.__doc__ or "").strip(), name
        for field, info in kind.Settings.model_fields.items():
            assert info.description, f"{name}.{field} says nothing about itself"


def test_importing_the_package_and_the_command_line_is_light() -> None:
    heavy = ["numpy", "torch", "polars", "lightning", "transformers", "recbole", "pandas", "scipy"]
    code = f"import sys, recsys, recsys.cli; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_is_pickled() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        for word in ("import pickle", "allow_pickle=True", "weights_only=False", "torch.load(", "eval("):
            if path.name.startswith("recbole"):
                continue  # the adapter repairs RecBole's own calls; its tests look after that
            checked = text.replace(".eval(", "").replace("literal_eval(", "")
            checked = re.sub(
                r"torch\.load\([^()]*weights_only=True\)", "", checked
            )  # PyTorch's safe reader: tensors only
            assert word not in checked, f"{path}: {word}"
