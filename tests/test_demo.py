"""The demo's own parts: a file that holds together, and the sections that only it has."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

import pytest
from test_searching import write_world

from recsys import demo
from recsys.comparison import Comparison
from recsys.core.config import make_settings
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
