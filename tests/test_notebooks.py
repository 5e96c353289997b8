"""The notebooks run from a fresh clone, show something, and are kept without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
PICTURES = ("01_data", "02_items", "04_profiles", "05_visuals")  # show another thing where there are real data
SLOWEST = 900  # seconds a cell may take on a machine that does other things as well


def read(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def executed(name: str, root: Path) -> list[Any]:
    """Run a copy in ``root/notebooks``, so that its results go below ``root``; return the outputs of its cells."""
    import nbformat
    from nbclient import NotebookClient

    (root / "notebooks").mkdir(exist_ok=True)
    book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    where = {"metadata": {"path": str(root / "notebooks")}}
    NotebookClient(book, timeout=SLOWEST, kernel_name="python3", resources=where).execute()
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def figures(outputs: list[Any]) -> int:
    """Count the pictures, and the plots that hold more than axes."""
    found = 0
    for data in (output.get("data", {}) for output in outputs):
        found += "image/png" in data
        found += len(re.findall(r'<svg class="plot.*?(?:<circle|class="curve"|<rect)', data.get("text/html", ""), re.S))
    return found


def printed(outputs: list[Any]) -> str:
    return "".join(output.get("text", "") for output in outputs)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place that the notebooks share, as a clone has one: nothing is encoded twice."""
    return tmp_path_factory.mktemp("clone")


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # whoever would fetch something fails


def test_there_are_five() -> None:
    assert NAMES == ["01_data", "02_items", "03_ranking", "04_profiles", "05_visuals"]


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_what_comes_with_the_packages_and_shows_figures(name: str, root: Path, monkeypatch) -> None:
    monkeypatch.delenv("RECSYS_DATA", raising=False)
    outputs = executed(name, root)
    assert figures(outputs) >= 2
    assert not [output for output in outputs if output.get("name") == "stderr"], "warnings are no reading matter"
    assert "ml-100k" in printed(outputs) or name == "03_ranking"
    assert (root / "data" / "artifacts").is_dir()


@pytest.mark.slow
@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize("name", PICTURES)
def test_it_runs_on_films_with_posters(name: str, root: Path, shared_data: Path, monkeypatch) -> None:
    monkeypatch.setenv("RECSYS_DATA", str(shared_data))
    outputs = executed(name, root)
    assert figures(outputs) >= 2
    assert "ml-latest-small" in printed(outputs)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_kept_without_outputs_and_names_no_place(name: str) -> None:
    book = read(name)
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    text = json.dumps(book, ensure_ascii=False)
    assert not re.search(r"/(?:home|root|Users|work|tmp|mnt)/", text)
    assert str(Path.home()) not in text
    assert set(book["metadata"]) == {"kernelspec", "language_info"}
    assert book["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_a_question_and_is_thin(name: str) -> None:
    cells = read(name)["cells"]
    first = "".join(cells[0]["source"])
    assert cells[0]["cell_type"] == "markdown"
    assert re.match(r"# .*\?$", first.splitlines()[0])
    for cell in cells:
        lines = [line for line in cell["source"] if line.strip()]
        assert cell["cell_type"] == "markdown" or len(lines) <= 25, "the work is in the package"
        assert "def " not in "".join(cell["source"]) or cell["cell_type"] == "markdown"


def test_links_between_them_lead_somewhere() -> None:
    for name in NAMES:
        for target in re.findall(r"\]\(([^)#]+)\)", json.dumps(read(name))):
            assert (FOLDER / target).exists(), target
