"""The demo's own parts: a file that holds together, and the sections that only it has."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

import pytest
from click.testing import CliRunner
from test_searching import write_world

from recsys import demo, demo_experiments
from recsys.ablation.plan import Plan
from recsys.cli import main
from recsys.comparison import Comparison
from recsys.core.config import make_settings
from recsys.demo_experiments import tuning_section
from recsys.profiling import Profiling
from recsys.rankers.store import resolved, uses_features
from recsys.runconfig import RunConfig, read_config
from recsys.workflow import Workflow

PLAN = tomllib.loads(resources.files("recsys").joinpath("demo.toml").read_text(encoding="utf-8"))
PARTS = ("rankers", "people", "search", "knockout", "visual", "served")


def test_members_of_the_fusion_are_rankers_of_the_file_so_that_each_is_trained_once() -> None:
    rankers = [resolved(ranker) for ranker in PLAN["rankers"]]
    members = [member for ranker in rankers for member in ranker.get("members", ())]
    assert len(members) >= 2
    for member in members:
        assert resolved(member) in rankers


def test_the_file_is_a_run_and_names_rankers_that_read_features_for_the_knockout() -> None:
    make_settings(RunConfig, {name: value for name, value in PLAN.items() if name not in PARTS}, "demo.toml")
    named = {ranker["name"]: ranker for ranker in PLAN["rankers"]}
    assert all(uses_features(named[name]) for name in PLAN["knockout"]["rankers"])


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The coloured things of the search, taken by a crowd; a ranker without features and two with."""
    folder = tmp_path_factory.mktemp("demo")
    path = write_world(folder)
    things = [line.split(",")[1] for line in (folder / "interactions.csv").read_text().splitlines()[1:162]]
    rows = [f"u{user},{things[(user * 29 + 40 * place) % 160]}" for user in range(60) for place in range(12)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id", *rows]))
    settings = ("evaluation.ks=[5]", "evaluation.metric=ndcg@5", "evaluation.resamples=200", "items.image=none")
    workflow = Workflow(read_config(path, settings), log=lambda message: None)
    wanted: list[dict[str, Any]] = [{"name": "ease"}, {"name": "content_ease"}, {"name": "content_knn"}]
    wanted.append({"name": "fusion", "objective": "softmax", "members": wanted[:2]})
    return demo._measure(workflow, wanted)


def test_the_fusion_is_compared_with_the_best_single_ranker(measured: Comparison) -> None:
    single = measured.trained[:3]
    best = max(single, key=lambda artifact: artifact.manifest["results"]["best"]["ndcg@5"])
    assert measured.reference == best.manifest["name"]


def test_why_it_is_compared_with_that_ranker_is_told(measured: Comparison) -> None:
    assert measured.chosen is not None
    assert f"All are compared with {measured.reference}: of the rankers that are no" in demo._reference_told(measured)


def test_settings_are_shown_as_a_person_reads_them(measured: Comparison) -> None:
    head, rows = tuning_section(measured.workflow).table
    assert [row[head.index("best ndcg@5")] for row in rows] == [
        f"{float(row[head.index('best ndcg@5')]):.4f}" for row in rows
    ]
    assert [row[head.index("trials")] for row in rows] == ["12", "12"]


def test_the_ablation_says_which_members_and_which_part() -> None:
    with resources.as_file(resources.files("recsys") / "demo_ablation.toml") as path:
        told = demo_experiments._asked(Plan.read(path))
    assert "regression is ease, walks is rp3beta, graph embeddings is lightgcn. Measured on the test part" in told


def test_what_is_left_out_is_named_with_commands_that_exist() -> None:
    told = demo_experiments.elsewhere_section().text
    for verb, option in (("benchmark", "experiments/benchmark/config.toml"), ("train", "--set run.track=tensorboard")):
        assert f"recsys {verb} {option}" in told
        assert CliRunner().invoke(main, [verb, *option.split(), "--help"]).exit_code == 0


def test_knockouts_are_of_the_named_ranker_alone(measured: Comparison) -> None:
    section = demo._knockouts(measured, ["content_ease"], "text")
    _, rows = section.table
    assert {row[0] for row in rows} == {"content_ease"}
    assert [row[2] for row in rows] == ["intact", "shuffle", "zero", "noise"]
    intact = measured.evaluations[1].summary["ndcg@5"]
    assert rows[0][3] == f"{intact:.4f}"


def test_words_find_their_items(measured: Comparison) -> None:
    _, rows = demo._search_section(measured.workflow, ["red", "blue"], k=3).table
    for colour, found in rows:
        titles = [title.rpartition(" (")[0] for title in found.split("; ")]
        assert len(titles) == 3
        assert all(title.removeprefix("Nr ")[::-1].startswith(colour) or colour in title for title in titles)


def test_the_profile_is_shown_and_what_edits_do_to_the_list_and_nothing_is_kept(measured: Comparison) -> None:
    workflow = measured.workflow
    read, edited = demo._profile_sections(workflow, measured, "u3", ["forbid red"], k=5)
    headers, rows = read.table
    assert headers == ["statement", "interval", "from, among others"]
    assert read.title == "The profile of user u3"
    assert rows or "too few" in read.text or "none of it differs" in read.text
    places = [row[0] for row in edited.table[1]]
    assert places[:5] == ["1", "2", "3", "4", "5"]
    assert not Profiling(workflow).store.history("u3")


def test_the_list_before_edits_is_another_than_the_first_one_and_that_is_told(measured: Comparison) -> None:
    people = {"user": "u3", "liked": [measured.workflow.dataset.items[0]]}
    (first, _), _ = demo._lists(measured.workflow, measured, people)
    held_out = {item.title for item in first.items if item.held_out}
    assert held_out
    _, edited = demo._profile_sections(measured.workflow, measured, "u3", ["forbid red"], k=10)
    assert "the list further up was made without the test part" in edited.text
    assert not held_out & {row[3] for row in edited.table[1]}
