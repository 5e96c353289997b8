"""The verbs by hand, on a small table of one's own: what a stranger does on the first evening."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recsys.cli import main

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "samples"
VERBS = ["data", "encode", "train", "evaluate", "recommend", "show", "doctor", "demo"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the committed sample, with the column names its files have."""
    import polars as pl

    names = pl.read_csv(SAMPLE / "ratings.csv", n_rows=1).columns
    item_names = pl.read_ndjson(SAMPLE / "items.jsonl").columns
    folder = tmp_path_factory.mktemp("run")
    path = folder / "run.toml"
    path.write_text(
        f'[data]\nsource = "own"\nraw = "{SAMPLE.as_posix()}"\n'
        f'[data.options]\ninteractions = "ratings.csv"\nitems = "items.jsonl"\n'
        f'[data.options.columns]\nuser = "{names[0]}"\nitem = "{names[1]}"\n'
        f'[data.options.item_columns]\nid = "{item_names[0]}"\n'
        '[evaluation]\nks = [5]\nmetric = "ndcg@5"\n'
        f'[run]\nartifacts = "{(folder / "artifacts").as_posix()}"\n'
    )
    return path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def run_json(*arguments: str):
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_teaches(verb: str) -> None:
    done = call(verb, "--help")
    assert done.exit_code == 0
    assert verb == "demo" or "Examples:" in done.output


def test_the_flow_on_own_tables(config: Path, tmp_path: Path) -> None:
    c = ("-c", str(config), "-q")
    artifacts = str(config.parent / "artifacts")
    made = run_json("data", *c)
    assert made["kind"] == "split"
    assert sum(made["results"].values()) > 100
    trained = run_json("train", *c, "--set", "ranker.regularisation=20")
    assert trained["results"]["best"]["ndcg@5"] > 0
    again = run_json("train", *c, "--set", "ranker.regularisation=20")
    assert again["path"] == trained["path"], "the same work is not done twice"
    popular = run_json("train", *c, "--set", "ranker={name='popularity'}")
    report = tmp_path / "report.html"
    compared = run_json("evaluate", *c, trained["path"], popular["path"], "--report", str(report))
    assert [row["name"] for row in compared["rankers"]] == ["ease", "popularity"]
    assert "ease" in report.read_text()
    shown = call("show", "ease", "--verify", "--artifacts", artifacts)
    assert "Every file has its recorded hash" in shown.output
    assert "data own" in shown.output
    lists = run_json("recommend", "ease", "--artifacts", artifacts, "--user", first_user(config), "-k", "3")
    assert len(lists[0]["items"]) == 3
    titles = [item["title"] for item in lists[0]["items"]]
    fresh = call("recommend", "ease", "--artifacts", artifacts, "--liked", titles[0])
    assert fresh.exit_code == 0
    assert "because of" in fresh.output


def first_user(config: Path) -> str:
    import polars as pl

    return str(pl.read_csv(SAMPLE / "ratings.csv", infer_schema=False).row(0)[0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--set", "ranker.name=eese"), "Did you mean 'ease'"),
        (("train", "--set", "ranker.regularization=3"), "Did you mean 'regularisation'"),
        (("train", "--set", "ranker.regularisation=-3"), "greater than 0"),
        (("train", "-c", "absent.toml"), "no such file"),
        (("data", "--set", "data.source=ml-1mm"), "Did you mean 'ml-1m'"),
        (("data", "--set", "data.source=ml-1m", "--set", "data.raw=/absent"), "ml-1m"),
        (("recommend", "absent", "--user", "1"), "recsys show"),
        (("show", "absent"), "recsys show"),
        (("doctor", "--settings", "spilt"), "Did you mean 'split'"),
        (("doctor", "--settings", "ranker"), "ranker.ease"),
    ],
)
def test_mistakes_end_with_status_2_and_a_remedy(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with CliRunner().isolated_filesystem(tmp_path):
        done = call(*arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert "Traceback" not in done.output
    assert "try:" in done.output


def test_a_ranker_of_another_split_is_refused(config: Path) -> None:
    c = ("-c", str(config), "-q")
    run_json("train", *c)
    done = call("evaluate", *c, "--set", "split.seed=9", "ease")
    assert done.exit_code == 2
    assert "another split" in done.output


def test_doctor_and_lists() -> None:
    assert call("doctor").exit_code == 0
    assert any(row["check"] == "ml-100k" for row in run_json("doctor"))
    assert any(row["source"] == "own" for row in run_json("data", "--list"))
    assert "temperature" in call("doctor", "--settings", "ranker.lightgcn").output
    assert "interactions" in call("data", "--list", "--source", "own").output


def test_a_fault_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_DEBUG", raising=False)
    monkeypatch.setattr("recsys.health.check", lambda: 1 / 0)
    done = call("doctor")
    assert done.exit_code == 1
    assert "internal error: ZeroDivisionError" in done.output
    assert "Traceback" not in done.output
