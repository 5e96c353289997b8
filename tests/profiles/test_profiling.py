"""What an edit does to a list, and the verb ``profile`` from a history to a kept, edited profile."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner, Result
from profiles.made import profile, statement

from recsys.changing import Lists
from recsys.cli import main
from recsys.profiles.concepts import Concept, Concepts
from recsys.profiles.edits import Edit, apply
from recsys.profiles.matching import Matcher
from recsys.profiles.schema import UserProfile
from recsys.rankers.store import make_ranker
from recsys.runconfig import read_config
from recsys.serving.recommender import Recommender
from recsys.workflow import Workflow

from worlds import blocks

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture(scope="module")
def lists() -> Lists:
    """User u0 takes items of block 0; genre G0 is block 0, G1 block 1, and so on."""
    from recsys.core.runtime import Run
    from recsys.core.values import ItemFeatures

    world = blocks(n_blocks=4, items_each=30)
    ranker = make_ranker({"name": "ease", "regularisation": 10.0})
    ranker.fit(world.train, ItemFeatures(), valid=None, run=Run(log=lambda message: None))
    model = Recommender(world.dataset, ranker, world.train)
    n_items = world.train.n_items
    columns = np.eye(4, dtype=np.float32)[np.arange(n_items) % 4]  # [n_items, 4]
    found = tuple(Concept(f"genre:G{number}", f"G{number} items", "behaviour") for number in range(4))
    matcher = Matcher(Concepts(found, sp.csc_array(columns)), world.dataset.item_table)
    return Lists(model, "ease", matcher, user_id="u0")


BUILT = profile(statement("genre:G0", 0.5), user_id="u0")


def genres(lists: Lists, now: list) -> list[int]:
    return [int(index) % 4 for index in lists.model.dataset.items.index([one.item_id for one in now])]


def test_without_edits_the_list_is_the_recommender_s(lists: Lists) -> None:
    plain = lists.model.recommend("u0", k=6, reasons=False)
    assert lists.of(BUILT, BUILT, 6) == plain
    changed = lists.change(BUILT, BUILT, BUILT, 6)
    assert (changed.came, changed.went) == (0, ())
    assert changed.to_text() == "The top 6 of ease stay as they are."


def test_what_came_went_and_moved(lists: Lists) -> None:
    after = apply(BUILT, Edit.parse("add G2 items"), lists.matcher.concepts)
    old, new = lists.of(BUILT, BUILT, 8), lists.of(after, BUILT, 8)
    changed = lists.change(BUILT, after, BUILT, 8)
    assert [line.item_id for line in changed.now] == [one.item_id for one in new]
    assert genres(lists, new).count(2) > genres(lists, old).count(2)
    before = {one.item_id: place for place, one in enumerate(old, 1)}
    assert [(line.place, line.was) for line in changed.now] == [
        (place, before.get(one.item_id)) for place, one in enumerate(new, 1)
    ]
    assert {line.item_id for line in changed.went} == set(before) - {one.item_id for one in new}
    assert changed.came == len(changed.went) > 0
    for line, one in zip(changed.now, genres(lists, new), strict=True):
        assert line.because == (("genre:G2 +0.8",) if one == 2 else ())  # 0.5 * log(1 + 4)
    text = changed.to_text()
    assert f"{changed.came} came, {changed.came} went" in text
    assert "genre:G2 +0.8" in text


def test_what_is_forbidden_is_never_in_the_list(lists: Lists) -> None:
    after = apply(BUILT, Edit.parse("forbid genre:G0"), lists.matcher.concepts)
    changed = lists.change(BUILT, after, BUILT, 5)
    assert 0 not in genres(lists, changed.now)
    assert all(line.because == ("genre:G0 forbidden",) for line in changed.went)
    for genre in (1, 2):
        after = apply(after, Edit.parse(f"forbid genre:G{genre}"), lists.matcher.concepts)
    everything = lists.of(after, BUILT, 10_000)
    assert set(genres(lists, everything)) == {3}
    after = apply(after, Edit.parse("forbid genre:G3"), lists.matcher.concepts)
    assert lists.of(after, BUILT, 10) == []


def test_somebody_new_is_steered_too(lists: Lists) -> None:
    new = Lists(lists.model, "ease", lists.matcher, history=("Title 0", "Title 4"))
    built = profile(statement("genre:G0", 0.5), user_id=None)
    after = apply(built, Edit.parse("forbid genre:G0"), lists.matcher.concepts)
    assert genres(new, new.of(built, built, 5)) == [0] * 5
    assert 0 not in genres(new, new.of(after, built, 5))


# -- the verb ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of ml-100k, titles and genres only, with EASE."""
    return tmp_path_factory.mktemp("artifacts")


def call(artifacts: Path, *arguments: str) -> Result:
    settings = ("--artifacts", str(artifacts), "-q", "--set", "items.text=none", "--set", "items.image=none")
    return CliRunner().invoke(main, ["profile", *arguments, *settings])


def told(artifacts: Path, *arguments: str) -> dict:
    done = call(artifacts, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_profile_is_printed_and_looking_keeps_nothing(artifacts: Path) -> None:
    found = told(artifacts, "22")
    assert UserProfile.model_validate(found["profile"]).user_id == "22"
    assert found["profile"]["statements"]
    assert (found["version"], found["change"]) == (0, None)
    text = call(artifacts, "22").output
    assert all(one["text"] in " ".join(text.split()) for one in found["profile"]["statements"][:2])
    assert not (artifacts / "profiles").exists()
    assert told(artifacts, "22") == found
    (made,) = (artifacts / "profiler").glob("[!.]*")  # fitted once
    assert (made / "manifest.json").is_file()


def test_an_edit_is_kept_and_shown_in_the_list(artifacts: Path) -> None:
    before = told(artifacts, "7")
    found = told(artifacts, "7", "--edit", "forbid genre:Drama", "--edit", "add war")
    assert found["version"] == 3
    change = found["change"]
    assert change["went"]
    assert all("genre:Drama forbidden" in line["because"] or line["because"] for line in change["went"])
    again = told(artifacts, "7")
    assert (again["profile"], again["version"]) == (found["profile"], 3)
    text = call(artifacts, "7", "--history").output
    assert [line.split("  ")[-1] for line in text.splitlines()[1:]] == [
        "built from the history", "forbid genre:Drama", "add war",
    ]  # fmt: skip
    assert "* 3" in text
    undone = told(artifacts, "7", "--undo")
    assert undone["version"] == 2
    assert told(artifacts, "7", "--undo")["profile"] == before["profile"]
    assert call(artifacts, "7", "--undo").exit_code == 2
    assert told(artifacts, "7", "--redo")["version"] == 2
    assert told(artifacts, "7", "--erase") == {"erased": 3, "forgotten": 0}
    assert told(artifacts, "7") == before
    assert told(artifacts, "7", "--history") == {"versions": []}


def test_the_list_of_a_forbidding_user_has_none_of_it(artifacts: Path) -> None:
    found = told(artifacts, "11", "--edit", "forbid genre:Comedy", "-k", "50")
    workflow = Workflow(read_config(None, (f"run.artifacts='{artifacts}'", "items.text=none")))
    table = workflow.dataset.item_table
    attributes = dict(zip(table["item_id"], table["attributes"], strict=True))
    assert len(found["change"]["now"]) == 50
    assert not any("genre:Comedy" in attributes[line["item_id"]] for line in found["change"]["now"])


def test_of_edits_that_cannot_all_be_made_none_is(artifacts: Path) -> None:
    done = call(artifacts, "12", "--edit", "raise genre:Drama", "--edit", "remove nonsense")
    assert done.exit_code == 2
    assert "no such statement" in done.output
    assert told(artifacts, "12", "--history") == {"versions": []}


def test_somebody_new_has_a_profile_and_a_list_that_are_not_kept(artifacts: Path) -> None:
    liked = [part for title in ("Alien (1979)", "Aliens (1986)", "Blade Runner", "The Terminator (1984)")
             for part in ("--liked", title)]  # fmt: skip
    found = told(artifacts, *liked, "--edit", "add musicals", "-k", "20")
    assert found["profile"]["user_id"] is None
    assert found["profile"]["origin"]["history"] == 4
    assert found["version"] == 0
    assert any(any("genre:Musical" in why for why in line["because"]) for line in found["change"]["now"])
    assert "nothing is kept" in call(artifacts, *liked, "--edit", "add musicals").output


def test_free_words_say_what_they_were_taken_for(artifacts: Path) -> None:
    text = call(artifacts, "13", "--edit", "add trek through stars").output
    assert "means" in text
    assert "Star Trek" in text


def test_edits_stay_when_the_history_changes(artifacts: Path) -> None:
    told(artifacts, "1", "--edit", "forbid genre:Horror", "--edit", "add film noir")
    other = ("--set", "split.seed=1")
    assert (
        told(artifacts, "99", *other)["profile"]["origin"]["data"] != told(artifacts, "99")["profile"]["origin"]["data"]
    )
    found = told(artifacts, "1", *other)
    keys = {one["concept"]: one for one in found["profile"]["statements"]}
    assert keys["genre:Horror"]["forbidden"]
    assert keys["genre:Film-Noir"]["modality"] == "user-stated"
    removed = next(one["id"] for one in found["profile"]["statements"] if one["modality"] != "user-stated")
    told(artifacts, "1", *other, "--edit", f"remove {removed}")
    assert [one["edit"] for one in told(artifacts, "1", "--history")["versions"]][-2:] == [
        "built anew",
        f"remove {removed}",
    ]
    assert removed not in {one["id"] for one in told(artifacts, "1")["profile"]["statements"]}


def test_the_summary_says_what_was_edited_and_no_longer_what_was_taken_out(artifacts: Path) -> None:
    before = told(artifacts, "18")["profile"]
    first = next(one for one in before["statements"] if one["concept"].startswith("genre:"))
    name = first["text"].split(":")[0].split()[-1]
    assert name in before["summary"]
    edits = ("forbid genre:Horror", "add film noir", f"remove {first['id']}")
    after = told(artifacts, "18", *(part for edit in edits for part in ("--edit", edit)))["profile"]
    assert name not in after["summary"]
    assert after["summary"].endswith("By own account this user likes film-noir and never wants horror.")
    assert told(artifacts, "18")["profile"] == after
    assert told(artifacts, "18", "--undo")["profile"]["summary"].count(name) == before["summary"].count(name)
    while (found := told(artifacts, "18"))["version"] > 1:
        call(artifacts, "18", "--undo")
    assert found["profile"] == before
    told(artifacts, "18", "--edit", f"lower {first['concept']}")
    assert f"wants less {name}" in told(artifacts, "18")["profile"]["summary"]


def test_somebody_new_has_a_summary_with_the_edits(artifacts: Path) -> None:
    found = told(artifacts, "--liked", "Fargo", "--edit", "add musicals")["profile"]
    assert found["summary"].endswith("By own account this user likes musicals.")


def test_profiles_of_several_users_are_printed_into_one_page(artifacts: Path, tmp_path: Path) -> None:
    page = tmp_path / "profiles.html"
    found = told(artifacts, "--sample", "4", "--html", str(page))
    users = [one["user_id"] for one in found["profiles"]]
    assert len(set(users)) == 4
    assert [one["user_id"] for one in told(artifacts, "--sample", "4")["profiles"]] == users
    text = page.read_text(encoding="utf-8")
    assert all(f"User {user}" in text for user in users)
    assert all(f"Profile of user {user}" in call(artifacts, "--sample", "4").output for user in users)


def test_a_page_is_written(artifacts: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "profile.html"
    found = told(artifacts, "42", "--html", str(path))
    assert found["html"] == str(path)
    assert "<html" in path.read_text(encoding="utf-8")
    done = call(artifacts, "42", "--html", str(tmp_path))
    assert done.exit_code == 2
    assert "another place" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give a user's id"),
        (("42", "--liked", "Fargo"), "one of the three"),
        (("42", "--sample", "3"), "one of the three"),
        (("--sample", "0"), "at least one"),
        (("--sample", "3", "--undo"), "one user's id"),
        (("nobody",), "not in the data set"),
        (("--liked", "Fargoo (1996)"), "Nearest: Fargo"),
        (("42", "--edit", "rise genre:Drama"), "Did you mean 'raise'"),
        (("42", "--edit", "raise genre:Dramma"), "Did you mean 'genre:Drama'"),
        (("42", "--edit", "raise genre:Drama", "--undo"), "Give one of them"),
        (("42", "--undo"), "nothing is kept"),
        (("--liked", "Fargo", "--undo"), "somebody new"),
        (("nobody", "--history"), "Check the id"),
        (("42", "-k", "0", "--edit", "raise genre:Drama"), "at least one item"),
        (("42", "--dial", "-1"), "from 0"),
        (("42", "--edit", "raise genre:Drama", "--ranker", "absent"), "recsys show"),
    ],
)
def test_mistakes_end_with_status_2_and_a_remedy(artifacts: Path, arguments: tuple[str, ...], message: str) -> None:
    done = call(artifacts, *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert "try:" in done.output
    assert "Traceback" not in done.output


def test_the_commands_of_the_readme_run(artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # one of them writes a page
    section = README.read_text(encoding="utf-8").partition("## Profiles")[2].partition("\n## ")[0]
    commands = [shlex.split(line, comments=True) for line in section.splitlines() if line.startswith("recsys ")]
    assert len(commands) >= 6
    for command in commands:
        done = call(artifacts, *command[2:])
        assert done.exit_code == 0, f"{command}\n{done.output}"


def test_an_edit_that_can_do_nothing_more_says_so(artifacts: Path) -> None:
    edits = [part for _ in range(6) for part in ("--edit", "raise genre:War")]
    assert "counts as much as it can already" in call(artifacts, "16", *edits).output


def test_a_mistaken_ranker_keeps_no_edit(artifacts: Path) -> None:
    call(artifacts, "15", "--edit", "raise genre:Drama", "--ranker", "absent")
    assert told(artifacts, "15", "--history") == {"versions": []}
