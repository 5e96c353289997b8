"""The verbs by hand, on a small table of one's own: what a stranger does on the first evening."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recsys.cli import main

from waiting import LONG

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "samples"
VERBS = ["data", "encode", "search", "train", "evaluate", "cold", "recommend", "profile", "show", "doctor", "demo"]
TOO_LONG = "x" * 300  # no file can have such a name


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
    shown = call("show", "ease", "--verify", *c)
    assert "Every file has its recorded hash" in shown.output
    assert "data own" in shown.output
    lists = run_json("recommend", "ease", *c, "--user", first_user(config), "-k", "3")
    assert len(lists[0]["items"]) == 3
    own = ("--set", "ranker.regularisation=20", "--user", first_user(config), "-k", "3")
    assert run_json("recommend", *c, *own) == lists, "the configured ranker"
    titles = [item["title"] for item in lists[0]["items"]]
    fresh = call("recommend", "ease", *c, "--liked", titles[0])
    assert fresh.exit_code == 0
    assert "because of" in fresh.output


def test_a_user_is_read_as_those_of_tables_are(config: Path) -> None:
    run_json("train", "-c", str(config), "-q")
    user, (verb, *rest) = first_user(config), ("recommend", "ease", "-c", str(config), "-q", "-k", "3", "--user")
    assert run_json(verb, *rest, f"\u200b {user}\u00a0") == run_json(verb, *rest, user)
    asked = ("profile", "-c", str(config), "-q")
    assert run_json(*asked, f" {user} ")["profile"]["user_id"] == user
    for blank in ((verb, *rest, " \u200b"), (*asked, ""), ("visualize", "-c", str(config), " ", "x")):
        done = call(*blank)
        assert done.exit_code == 2
        assert "an id cannot be blank" in done.output


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
        (("train", "--set", "ranker=ease"), "Write ranker.name='ease'"),
        (("train", "--set", "ranker.nmae=ease"), "Did you mean 'name'"),
        (("train", "lightgcn"), "recsys train --set ranker.name=lightgcn"),
        (("train", "--ranker", "ease"), "recsys train --set ranker.name=ease"),
        (("train", "lightgcn", "num_layers=3"), "--set ranker.name=lightgcn --set ranker.num_layers=3"),
        (("train", "run.toml"), "recsys train -c run.toml"),
        (("train", "--set", "ranker=[1]"), "is a section, not a value"),
        (("train", "--set", "ranker.name=3"), "3 is no name"),
        (("train", "--set", "rankers.name=ease"), "Did you mean 'ranker'"),
        (("train", "--set", "data=3"), "is a section, not a value"),
        (("train", "--set", "data.prepare=3"), "setting data.prepare: is a section"),
        (("train", "--set", "data.prepare.kcore=3"), "Did you mean 'k_core'"),
        (("train", "--set", "split.seed=soon"), "setting split.seed: Input should be a valid integer"),
        (("train", "--set", "run.device=tpu"), "setting run.device"),
        (("train", "--set", "nonsense"), "section.key=value"),
        (("train", "--artifacts", __file__), "artifacts folder"),
        (("data", "--set", "data.source=ml-1mm"), "Did you mean 'ml-1m'"),
        (("data", "--set", "data.source=ml-1m", "--set", "data.raw=/absent"), "ml-1m"),
        (("recommend", "absent", "--user", "1"), "recsys show"),
        (
            ("recommend", "EASE", "--user", "1"),
            "ranker 'EASE': there is no ranker of that name\n  try: Did you mean 'ease'",
        ),
        (("recommend", "ease", "--user", "1"), "Train it: recsys train --set ranker.name=ease"),
        (("show", "absent"), "recsys show"),
        (("doctor", "--settings", "spilt"), "Did you mean 'split'"),
        (("doctor", "--settings", "ranker"), "ranker.ease"),
    ],
)
def test_mistakes_end_with_status_2_and_a_remedy(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert "Traceback" not in done.output
    assert "try:" in done.output


def test_what_was_dropped_is_shown_although_no_split_can_be_made_of_the_rest(tmp_path: Path) -> None:
    rows = ["user_id,item_id,shop", *(f"u{row},i{row} ,x" for row in range(3)), "\\N,i,x"]
    (tmp_path / "interactions.csv").write_text("\n".join(rows))
    (tmp_path / "run.toml").write_text(
        f'[data]\nsource = "own"\nraw = "{tmp_path.as_posix()}"\n[run]\nartifacts = "{tmp_path.as_posix()}/made"\n'
    )
    done = call("data", "-c", str(tmp_path / "run.toml"), "-q")
    assert done.exit_code == 2
    for line in (
        "  columns of interactions.csv not used: 1 (shop)",
        "  item ids with blanks around them: trimmed: 3 (first: 'i0 ' is 'i0')",
        "  interactions without a user or item id: dropped: 1 (first: input row 4: user (none), item 'i')",
        "the test part is empty",
    ):
        assert line in done.output


def test_a_device_that_is_not_there_is_refused_before_any_work(config: Path) -> None:
    done = call("train", "-c", str(config), "-q", "--set", "run.device=cuda:99", "--set", "ranker.regularisation=21")
    assert done.exit_code == 2, done.output
    assert "CUDA devices here" in done.output


def test_only_rankers_are_evaluated_and_each_once(config: Path) -> None:
    c = ("-c", str(config), "-q")
    trained = run_json("train", *c)
    done = call("evaluate", *c, "data/own")
    assert done.exit_code == 2
    assert "is of kind 'data', not a ranker" in done.output
    assert len(run_json("evaluate", *c, trained["path"], trained["key"])["rankers"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--user", "nobody"), "--liked"),
        (("-k", "0", "--user", "{user}"), "at least one"),
        (("--liked", "The Small Book of Seedlings"), "Nearest: The Small Book of Seeds"),
        (("--user", "{user}", "--filter", "nonsense"), "Such as genre:Comedy"),
        (("--user", "{user}", "--exclude", "zzz"), "no item has that id or title"),
        ((), "for whom?"),
    ],
)
def test_odd_wishes_get_an_answer(config: Path, arguments: tuple[str, ...], said: str) -> None:
    run_json("train", "-c", str(config), "-q")
    given = [argument.replace("{user}", first_user(config)) for argument in arguments]
    done = call("recommend", "ease", "-c", str(config), *given)
    assert done.exit_code == 2, done.output
    assert said in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-k", "100000"), "items are left, 100,000 were asked for"),
        (("--filter", "year>=3000"), "no item passes year>=3000 (year goes from "),
        (("--filter", "topic:garden", "--filter", "year<=2000", "--filter", "year>=2001"),
         "no item that passes topic:garden and year<=2000 passes year>=2001, too: leave one of them out"),
    ],
)  # fmt: skip
def test_a_list_that_is_shorter_than_asked_for_says_why(config: Path, arguments: tuple[str, ...], said: str) -> None:
    settings = ("--set", "data.options.item_columns.attributes=['topic', 'year']")
    run_json("train", "-c", str(config), "-q", *settings)
    done = call("recommend", "ease", "-c", str(config), *settings, "--user", first_user(config), *arguments)
    assert done.exit_code == 0, done.output
    assert said in done.stderr
    assert said not in done.stdout


def test_sources_are_listed_in_words_and_not_in_markup() -> None:
    assert "`" not in call("data", "--list").output


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
@pytest.mark.parametrize("verb", ["data", "evaluate"])
def test_a_full_disk_is_said(config: Path, tmp_path: Path, verb: str) -> None:
    """Files beyond 1 KiB fail part-way, as on a disk that fills up; polars and safetensors have errors of their own."""
    run_json("train", "-c", str(config), "-q")
    own = ["--set", "evaluation.resamples=101", "ease"] if verb == "evaluate" else ["--artifacts", str(tmp_path)]
    command = [sys.executable, "-m", "recsys", verb, "-c", str(config), "-q", *own]
    limited = ["bash", "-c", 'ulimit -f 1 && exec "$@"', "bash", *command]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 2, done.stderr
    assert "space left" in done.stderr
    assert "try:" in done.stderr


def test_a_newcomer_is_named_in_a_sentence(config: Path) -> None:
    run_json("train", "-c", str(config), "-q")
    done = call("recommend", "ease", "-c", str(config), "--liked", "b1", "-k", "1")
    assert done.stdout.startswith("For somebody who likes b1:")


def test_show_of_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    assert "a first result: recsys train" in call("show", "--artifacts", str(tmp_path)).output
    assert run_json("show", "--artifacts", str(tmp_path)) == []


def test_nested_settings_of_a_file_are_explained_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[data.prepare]\nk_core = -1\n")
    done = call("data", "-c", str(path))
    assert done.exit_code == 2
    assert "setting data.prepare.k_core" in done.output


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


@pytest.mark.parametrize(
    "given",
    [("recommend", TOO_LONG, "--user", "1"), ("train", "-c", TOO_LONG), ("train", "--set", f"data.raw={TOO_LONG}"),
     ("ablate", TOO_LONG), ("tune", "--search", TOO_LONG), ("show", TOO_LONG), ("evaluate", TOO_LONG)],
    ids=lambda given: given[0],
)  # fmt: skip
def test_a_name_longer_than_any_files_can_be_is_an_error_in_two_lines(given: tuple[str, ...], tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [*given, *(["--artifacts", str(tmp_path)])])
    assert done.exit_code == 2
    assert done.output.startswith("error: ")
    assert "try: " in done.output
    assert "internal" not in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("source.own", "item_columns.title"),
        ("data", "prepare.k_core"),
        ("data.prepare", "duplicates"),
        ("items.minilm", "max_tokens"),
        ("items", "text"),
        ("llm.searches", "epoch_tokens"),
        ("tune", "startup"),
        ("ablation", "components"),
        ("ablation.components", "without"),
        ("ablation.variants", "split.kind"),
        ("benchmark", "trials"),
        ("benchmark.sets", "chosen"),
    ],
)
def test_settings_of_inner_sections_are_shown(section: str, said: str) -> None:
    assert said in call("doctor", "--settings", section).output


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("source", "source.own"),
        ("data.options", "is a setting, not a section"),
        ("data.split", "no such section"),
        ("ranker.eese", "Did you mean 'ease'"),
        ("tune.trials", "try: See: recsys doctor --settings tune\n"),
        ("ablation.componets", "Did you mean 'components'"),
        ("x", "ablation, benchmark, data, evaluation, items, judge, llm, ranker, run, source, split, tune, visuals\n"),
    ],
)
def test_a_wrong_section_is_said(section: str, said: str) -> None:
    done = call("doctor", "--settings", section)
    assert done.exit_code == 2
    assert said in done.output


def test_an_unknown_column_key_lists_the_known(config: Path) -> None:
    done = call("data", "-q", "-c", str(config), "--set", "data.options.columns.time=when")
    assert done.exit_code == 2
    assert "timestamp" in done.output
