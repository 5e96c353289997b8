"""Items encoded by several workers, by the command line: the same artifact, the same lists, on where it was."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from recsys.batch import recommend_all
from recsys.cli import main
from recsys.core.errors import ConfigError
from recsys.core.runtime import Run
from recsys.executing import Serial
from recsys.items import parts
from recsys.runconfig import read_config
from recsys.workflow import Workflow

N_ITEMS, ROWS = 60, 16
WORDS = ("a submarine", "in the deep sea", "dreams of", "a small town", "and its last", "piano player", "under snow")
QUIET = Run(log=lambda message: None)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty items with texts of unlike lengths, and forty users."""
    folder = tmp_path_factory.mktemp("raw")
    rows = [(f"u{user}", f"i{(user * 7 + place * 11) % N_ITEMS}", place) for user in range(40) for place in range(10)]
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(folder / "taken.csv")
    texts = [" ".join(WORDS[(n * n + step) % 7] for step in range(n % 11 + 1)) for n in range(N_ITEMS)]
    items = [(f"i{n}", f"Title {n}", text) for n, text in enumerate(texts)]
    pl.DataFrame(items, schema=["item_id", "title", "text"], orient="row").write_csv(folder / "items.csv")
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(parts, "ROWS", {"text": ROWS, "image": ROWS})
    parts._encoder.cache_clear()
    yield
    parts._encoder.cache_clear()


def settings(raw: Path, artifacts: Path) -> tuple[str, ...]:
    return (
        "data.source=own", f"data.raw={str(raw)!r}", "data.options.interactions=taken.csv",
        "data.options.items=items.csv", f"run.artifacts={str(artifacts)!r}", "ranker={name='content_knn'}",
    )  # fmt: skip


def workflow(raw: Path, artifacts: Path) -> Workflow:
    return Workflow(read_config(None, settings(raw, artifacts)), log=lambda message: None)


def encode(raw: Path, artifacts: Path, *more: str) -> Result:
    given = [word for one in settings(raw, artifacts) for word in ("--set", one)]
    return CliRunner().invoke(main, ["encode", "-q", "--json", *given, *more])


def lists(raw: Path, artifacts: Path) -> pl.DataFrame:
    """Everybody's lists of a ranker that reads nothing but the vectors."""
    trained, out = workflow(raw, artifacts).train().path, artifacts / "lists.parquet"
    recommend_all(trained, artifacts, out, k=10, filters=(), executor=Serial(), run=QUIET)
    return pl.read_parquet(out)


@pytest.mark.parametrize(
    "who", ["serial", pytest.param("local", marks=pytest.mark.slow), pytest.param("ray", marks=pytest.mark.slow)]
)
def test_the_artifact_and_lists_are_those_of_one_worker(raw: Path, tmp_path: Path, who: str) -> None:
    if who == "ray":
        pytest.importorskip("ray")
    one, two = encode(raw, tmp_path / "one"), encode(raw, tmp_path / "two", "--workers", "2", "--executor", who)
    assert (one.exit_code, two.exit_code) == (0, 0), one.output + two.output
    alone, made = (json.loads(done.stdout)["text"] for done in (one, two))
    assert made["key"] == alone["key"]
    assert made["results"] | {"fresh": 0} == alone["results"] | {"fresh": 0}
    assert made["results"]["fresh"] >= alone["results"]["fresh"] > ROWS
    first, second = (np.load(Path(each["path"]) / "text.npy") for each in (alone, made))
    assert np.abs(first - second).max() < 1e-6
    ours, theirs = lists(raw, tmp_path / "one"), lists(raw, tmp_path / "two")
    assert ours.drop("score").equals(theirs.drop("score"))
    assert (ours["score"] - theirs["score"]).abs().max() < 1e-5
    again = encode(raw, tmp_path / "two")  # one worker finds what two have made
    assert json.loads(again.stdout)["text"]["path"] == made["path"]


def test_one_worker_is_this_process(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*given: Any) -> None:
        raise ConfigError("a process", "was asked for", "Ask for none.")

    monkeypatch.setattr("recsys.executing.Local.map", refuses)
    assert encode(raw, tmp_path).exit_code == 0
    assert "was asked for" in encode(raw, tmp_path / "more", "--workers", "2").output


def test_interrupted_it_goes_on_where_it_was(raw: Path, tmp_path: Path) -> None:
    def stops(function: Callable[[Any], Any], inputs: list[Any]) -> Iterator[Any]:
        yield from map(function, islice(inputs, 2))
        raise KeyboardInterrupt

    broken = workflow(raw, tmp_path)
    broken.spread = stops
    with pytest.raises(KeyboardInterrupt):
        broken.items()
    assert not list((tmp_path / "items").glob("*/manifest.json"))
    whole = workflow(raw, tmp_path)
    whole.spread = map
    results = whole.items()["text"].manifest["results"]
    assert (results["encoded"], results["fresh"]) == (N_ITEMS, N_ITEMS - 2 * ROWS)


def test_workers_that_cannot_be_are_refused_before_any_work(raw: Path, tmp_path: Path, monkeypatch) -> None:
    none = encode(raw, tmp_path, "--workers", "0")
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    absent = encode(raw, tmp_path, "--workers", "2", "--executor", "ray")
    assert (none.exit_code, absent.exit_code) == (2, 2)
    assert "error: workers 0: somebody has to do the work\n  try: Give 1 or more." in none.output
    assert "executor 'ray'" in absent.output
    assert 'try: pip install "recsys[ray]"' in absent.output
    assert not list(tmp_path.iterdir())


def test_progress_is_shown_part_by_part(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    watched = Workflow(read_config(None, settings(raw, tmp_path)), progress=True, log=lambda message: None)
    watched.spread = map
    watched.items()
    assert f"encode text, parts: 100%|##########| {-(-N_ITEMS // ROWS)}/" in capsys.readouterr().err.replace("█", "#")
