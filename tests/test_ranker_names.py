"""What a ranker's name means: the same for every verb, in one folder of results that holds several of everything.

The folder has, on one table: ``popularity`` trained once, ``ease`` tuned and a worse one trained after that,
``item_knn`` there and, later, on another table, and a plug-in from a file beside the run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import recsys
from recsys.cli import main
from recsys.core.artifact import Artifact
from recsys.core.erased import add_erased
from recsys.core.errors import ArtifactError, ConfigError
from recsys.hosting import Host
from recsys.runconfig import read_config
from recsys.served_engines import ServedEngines
from recsys.serving.recommender import Recommender
from recsys.workflow import Workflow

from plugtexts import ranker_text

SEARCH = '[[rankers]]\nname = "ease"\nregularisation = [0.5, 2, 300, 100000]\n'
PLUG_IN = ranker_text("MyRanker", "self.settings.sign", "sign: int = 1")


def write_run(folder: Path, name: str, step: int) -> Path:
    """Write a table of two tastes, and a run on it."""
    raw = folder / f"raw_{name}"
    raw.mkdir()
    rows = [f"u{user},i{(user % 2) + 2 * ((step * user + n) % 10)}" for user in range(30) for n in range(7)]
    (raw / "ratings.csv").write_text("user_id,item_id\n" + "\n".join(rows) + "\n")
    items = [f"i{item},Item {item},{'odd' if item % 2 else 'even'}" for item in range(20)]
    (raw / "items.csv").write_text("item_id,title,side\n" + "\n".join(items) + "\n")
    path = folder / f"{name}.toml"
    path.write_text(
        f'[data]\nsource = "own"\nraw = "{raw.as_posix()}"\n'
        '[data.options]\ninteractions = "ratings.csv"\nitems = "items.csv"\nitem_columns.attributes = ["side"]\n'
        '[items]\ntext = "none"\nimage = "none"\n'
        '[evaluation]\nks = [5]\nmetric = "ndcg@5"\nresamples = 100\n'
        f'[run]\nartifacts = "{(folder / "artifacts").as_posix()}"\n'
    )
    return path


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def done(*arguments: Any) -> Result:
    found = call(*arguments)
    assert found.exit_code == 0, found.output
    return found


def train(config: Path, *settings: str) -> Artifact:
    told = json.loads(done("train", "-c", config, "-q", "--json", *settings).stdout)
    return Artifact(Path(told["path"]), told)


def tune(config: Path, folder: Path, search: str = SEARCH) -> Any:
    (folder / "search.toml").write_text(search)
    where = ("--search", folder / "search.toml", "--out", folder / "tuned", "--executor", "serial")
    return json.loads(done("tune", "-c", config, *where, "-q", "--json").stdout)


def workflow(config: Path, *overrides: str) -> Workflow:
    made = Workflow(read_config(config, overrides), log=lambda message: None)
    made.asked = overrides
    return made


def meaning(config: Path, name: str, *overrides: str) -> tuple[str, list[str]]:
    """Return the key of what a name means, and what is said about it."""
    said: list[str] = []
    made = Workflow(read_config(config, overrides), log=said.append)
    made.asked = overrides
    return made.open_ranker(name).key, said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("names")
    (path / "my_naming_file.py").write_text(PLUG_IN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.syspath_prepend(str(path))
        yield path
    sys.modules.pop("my_naming_file", None)


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[str, str]:
    """Train everything, and return keys by what each is."""
    one, two = write_run(folder, "one", 1), write_run(folder, "two", 3)
    keys = {"fresh": train(one, "--set", "ranker.name=popularity").key}
    found = tune(one, folder)
    keys["tuned"] = found["best"]["key"]
    worst = min(found["trials"], key=lambda trial: trial["value"])
    assert worst["key"] != keys["tuned"]
    keys["worst"] = train(one, "--set", f"ranker.regularisation={worst['settings']['regularisation']}").key
    assert keys["worst"] == worst["key"]
    keys["plug-in"] = train(one, "--set", "ranker.name=my_naming_file:MyRanker").key
    keys["of one"] = train(one, "--set", "ranker.name=item_knn").key
    keys["of two"] = train(two, "--set", "ranker.name=item_knn").key
    return keys


# -- every verb that takes a name -----------------------------------------------------------------------------------


def by_recommend(config: Path, name: str, seen: list[str]) -> str:
    done("recommend", name, "-c", config, "--user", "u1", "-k", 3)
    return seen[-1]


def by_all(config: Path, name: str, seen: list[str]) -> str:
    done("recommend", name, "-c", config, "--all", "-k", 3, "--executor", "serial", "--out", "lists.parquet")
    return seen[-1]


def by_evaluate(config: Path, name: str, seen: list[str]) -> str:
    found = json.loads(done("evaluate", name, "-c", config, "--json", "-q", "--reference", name).stdout)
    return found["rankers"][0]["path"]


def by_show(config: Path, name: str, seen: list[str]) -> str:
    return json.loads(done("show", name, "-c", config, "--json", "-q").stdout)["path"]


def by_serve(config: Path, name: str, seen: list[str]) -> str:
    done("serve", name, "-c", config)
    return seen[-1]


def by_swap(config: Path, name: str, seen: list[str]) -> str:
    return ServedEngines(workflow(config)).open("candidate", name).key


def by_profile(config: Path, name: str, seen: list[str]) -> str:
    done("profile", "--liked", "Item 2", "--edit", "raise side:odd", "--ranker", name, "-c", config, "-q", "-k", 3)
    return seen[-1]


def by_library(config: Path, name: str, seen: list[str]) -> str:
    assert len(recsys.load(name, config).recommend("u1", k=3)) == 3
    return seen[-1]


VERBS = [by_recommend, by_all, by_evaluate, by_show, by_serve, by_swap, by_profile, by_library]
TABLE = [
    ("fresh", "popularity", "one.toml", "fresh"),
    ("fresh", "ranker/popularity", "one.toml", "fresh"),
    ("tuned", "ease", "one.toml", "tuned"),
    ("two data sets", "item_knn", "one.toml", "of one"),
    ("two data sets", "item_knn", "two.toml", "of two"),
    ("plug-in", "my_naming_file:MyRanker", "one.toml", "plug-in"),
    ("plug-in", "MyRanker", "one.toml", "plug-in"),
    ("exactly", "{worst}", "one.toml", "worst"),
    ("exactly", "item_knn-{of one}", "one.toml", "of one"),
]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was opened: the folders of rankers that models were loaded from, or that a server would start with."""
    found: list[str] = []
    load = Recommender.load

    def loading(ranker: Any, **options: Any) -> Recommender:
        found.append(str(ranker))
        return load(ranker, **options)

    monkeypatch.setattr(Recommender, "load", loading)
    monkeypatch.setattr("recsys.batch._model", lambda ranker, artifacts: loading(ranker, artifacts=artifacts))
    monkeypatch.setattr(
        "recsys.hosting.serve", lambda flow, hosting: found.append(str(Host(flow, hosting).trained.path))
    )
    return found


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
@pytest.mark.parametrize(
    ("state", "name", "config", "means"), TABLE, ids=[f"{row[0]}-{row[1]}-{row[2]}" for row in TABLE]
)
def test_what_a_name_means(
    trained: dict[str, str],
    folder: Path,
    seen: list[str],
    verb: Callable,
    state: str,
    name: str,
    config: str,
    means: str,
) -> None:
    found = verb(folder / config, name.format(**trained), seen)
    assert found.endswith(trained[means])


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_a_name_of_another_data_set_alone_is_refused_by_every_verb(
    trained: dict[str, str], folder: Path, seen: list[str], verb: Callable
) -> None:
    with pytest.raises((ArtifactError, AssertionError)) as refused:
        verb(folder / "two.toml", "popularity", seen)
    told = str(refused.value)
    assert f"on other data alone: own in {folder / 'raw_one'}" in told
    assert f"popularity-{trained['fresh']}" in told
    assert not seen


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_a_changed_file_never_meets_the_old_model(
    tmp_path: Path, folder: Path, seen: list[str], verb: Callable
) -> None:
    config = write_run(tmp_path, "own", 1)
    old = train(config, "--set", "ranker.name=popularity")
    with (tmp_path / "raw_own" / "ratings.csv").open("a") as file:
        file.write("u1,i9\n")
    seen.clear()
    with pytest.raises((ArtifactError, AssertionError)) as refused:
        verb(config, "popularity", seen)
    assert f"the files in {tmp_path / 'raw_own'} have changed since" in str(refused.value)
    assert old.path.name in str(refused.value)
    assert not seen
    assert train(config, "--set", "ranker.name=popularity").key != old.key
    assert not verb(config, "popularity", seen).endswith(old.key)


# -- the rule -------------------------------------------------------------------------------------------------------


def test_the_tuned_best_is_said_and_the_others_are_counted(trained: dict[str, str], folder: Path) -> None:
    key, said = meaning(folder / "one.toml", "ease")
    (line,) = said
    assert key == trained["tuned"]
    assert line.startswith(f"ease: the best of 4 trials of tune, ease-{key} (validation ndcg@5 0.")
    assert line.endswith("; 3 others of that name: recsys show")
    assert done("recommend", "ease", "-c", folder / "one.toml", "--user", "u1").stderr.strip() == line
    assert done("recommend", "ease", "-c", folder / "one.toml", "--user", "u1", "-q").stderr == ""


def test_a_single_one_needs_no_words(trained: dict[str, str], folder: Path) -> None:
    assert meaning(folder / "one.toml", "popularity") == (trained["fresh"], [])


def test_settings_of_the_run_go_before_what_tune_chose(trained: dict[str, str], folder: Path, tmp_path: Path) -> None:
    worst = workflow(folder / "one.toml").find_ranker(trained["worst"])
    value = worst.config["ranker"]["regularisation"]
    config = tmp_path / "own.toml"
    config.write_text((folder / "one.toml").read_text() + f"[ranker]\nname = 'ease'\nregularisation = {value}\n")
    key, said = meaning(config, "ease")
    assert key == trained["worst"]
    assert said[0].startswith(f"ease: ease-{key}, which has this run's settings; tune chose ease-{trained['tuned']};")
    by_set = meaning(folder / "one.toml", "ease", f"ranker.regularisation={value}")
    assert by_set == (trained["worst"], []), "there is but one with the settings that were given"
    config.write_text((folder / "one.toml").read_text() + "[ranker]\nname = 'ease'\nregularisation = 77\n")
    key, said = meaning(config, "ease")
    assert key == trained["tuned"]
    assert "none has this run's settings" in said[0]


def test_settings_by_set_are_never_left_aside(trained: dict[str, str], folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"not trained with regularisation 77\.0 here, only otherwise \(ease-"):
        meaning(folder / "one.toml", "ease", "ranker.regularisation=77")
    with pytest.raises(ConfigError, match="no such setting of ease"):
        meaning(folder / "one.toml", "item_knn", "ranker.neighbours=5")
    assert meaning(folder / "one.toml", "item_knn", "ranker.regularisation=77")[0] == trained["of one"]


@pytest.fixture
def own(tmp_path: Path, folder: Path) -> Path:
    return write_run(tmp_path, "own", 1)


def test_the_last_trained_is_taken_and_training_again_counts(own: Path) -> None:
    first = train(own, "--set", "ranker.regularisation=5")
    second = train(own, "--set", "ranker.regularisation=6")
    key, said = meaning(own, "ease")
    assert key == second.key
    assert said == [f"ease: the last trained, ease-{key} (regularisation 6.0); 1 other of that name: recsys show"]
    train(own, "--set", "ranker.regularisation=5")  # is there already, and so was asked for last
    assert meaning(own, "ease")[0] == first.key
    recsys.train(own, "ranker.regularisation=6")
    assert meaning(own, "ease")[0] == second.key


def test_best_toml_of_a_search_without_its_note_is_what_was_trained_last(own: Path, tmp_path: Path) -> None:
    """As with results that were tuned before searches noted anything."""
    tune(own, tmp_path)
    best = train(tmp_path / "tuned" / "best.toml")
    store = workflow(own).store
    for note in store.list("tuned"):
        (note.path / "manifest.json").unlink()
    assert meaning(own, "ease")[0] == best.key
    assert meaning(tmp_path / "tuned" / "best.toml", "ease")[0] == best.key


def test_of_two_searches_the_better_best_is_meant_and_a_later_training_does_not_change_it(
    own: Path, tmp_path: Path
) -> None:
    found = tune(own, tmp_path)
    worst = min(found["trials"], key=lambda trial: trial["value"])
    assert worst["value"] < found["best"]["value"]
    tune(own, tmp_path, f'[[rankers]]\nname = "ease"\nregularisation = [{worst["settings"]["regularisation"]}]\n')
    train(own, "--set", "ranker.regularisation=9")
    key, said = meaning(own, "ease")
    assert key == found["best"]["key"]
    assert "the best of 4 trials" in said[0]


def test_a_best_that_was_deleted_is_not_meant(own: Path, tmp_path: Path) -> None:
    import shutil

    tune(own, tmp_path)
    key, _ = meaning(own, "ease")
    shutil.rmtree(workflow(own).find_ranker(key).path)
    other, said = meaning(own, "ease")
    assert other != key
    assert "the last trained" in said[0]


def test_what_agrees_with_the_runs_seed_goes_before_what_is_newer(own: Path) -> None:
    first = train(own, "--set", "ranker.regularisation=5")
    other = train(own, "--set", "ranker.regularisation=5", "--set", "run.seed=7")
    assert meaning(own, "ease")[0] == first.key
    assert meaning(own, "ease", "run.seed=7")[0] == other.key
    key, said = meaning(own, "ease", "run.seed=8")
    assert key == other.key
    assert "trained with seed 7" in said[0]


def test_a_ranker_of_changed_code_gives_way_to_one_of_the_code_there_is(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = train(own, "--set", "ranker.name=my_naming_file:MyRanker")
    with monkeypatch.context() as patch:
        patch.setattr("recsys.workflow.source_key", lambda kind, *rooms, **more: "another")
        flow = workflow(own)
        vars(flow).update(_data=workflow(own).data(), _split=workflow(own).split())
        older = flow.train({"name": "my_naming_file:MyRanker"})
    assert older.key != now.key
    assert meaning(own, "MyRanker")[0] == now.key


def test_a_plug_ins_name_does_not_depend_on_where_its_file_lies(own: Path, folder: Path) -> None:
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "my_moved_file.py").write_text(PLUG_IN)
    made = train(own, "--set", "ranker.name=deep.my_moved_file:MyRanker")
    assert made.manifest["name"] == "MyRanker"
    assert meaning(own, "deep.my_moved_file:MyRanker")[0] == meaning(own, "MyRanker")[0] == made.key
    with pytest.raises(ArtifactError, match="my_naming_file:MyRanker"):
        meaning(own, "my_naming_file:MyRanker")


def test_the_library_takes_a_run_as_plain_values_and_says_what_a_model_is(own: Path) -> None:
    import tomllib

    values = tomllib.loads(own.read_text())
    model = recsys.train(values, "ranker.name=popularity")
    assert repr(model) == "Recommender(Popularity on own: 30 users, 20 items)"
    again = recsys.load("popularity", values)
    assert [one.item_id for one in again.recommend("u1")] == [one.item_id for one in model.recommend("u1")]
    with pytest.raises(ArtifactError, match="another split"):
        recsys.load("popularity", values, "split.seed=3")


# -- refusals -------------------------------------------------------------------------------------------------------


def test_the_configuration_that_would_take_a_name_is_named(
    trained: dict[str, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_run(tmp_path, "other", 3)
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/recsys", "train", "-c", str(made), "--set", "ranker.name=ials"])
    text = made.read_text().replace((tmp_path / "artifacts").as_posix(), (folder / "artifacts").as_posix())
    made.write_text(text)
    train(made, "--set", "ranker.name=ials", "--set", "ranker.iterations=1")
    with pytest.raises(ArtifactError, match=rf"Give its configuration \(-c {made}\), name that one exactly: ials-"):
        meaning(folder / "one.toml", "ials")


def test_another_split_and_files_that_are_gone_are_said(own: Path, tmp_path: Path) -> None:
    train(own, "--set", "ranker.name=popularity")
    with pytest.raises(ArtifactError, match=r"another split than this configuration's \(random split, seed 0\)"):
        meaning(own, "popularity", "split.seed=3")
    (tmp_path / "raw_own").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=r"which is not there any more\. Put the files back, or name"):
        meaning(own, "popularity")


def test_other_settings_erased_users_and_changed_code_are_told_apart(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(own, "--set", "ranker.name=popularity")
    with pytest.raises(ArtifactError, match=r"with other settings of data \(prepare\)"):
        meaning(own, "popularity", "data.prepare.k_core=2")
    with monkeypatch.context() as patch:
        patch.setattr("recsys.workflow.source_key", lambda kind, *rooms, **more: "another")
        with pytest.raises(ArtifactError, match="the code that reads it has changed since"):
            meaning(own, "popularity")
    add_erased(tmp_path / "artifacts", "u3")
    with pytest.raises(ArtifactError, match=r"users were erased from it since\. Train it on what it is now"):
        meaning(own, "popularity")
    assert "u3" not in recsys.train(own, "ranker.name=popularity").dataset.users


def test_nothing_is_read_or_made_to_look_a_name_up(own: Path) -> None:
    with pytest.raises(ArtifactError, match="not trained yet on own with this split"):
        meaning(own, "ease")
    assert workflow(own).store.list() == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("POPULARITY", "Did you mean 'popularity'"),
        ("eas", "Did you mean 'ease'"),
        ("lightgcn", r"Train it: recsys train --set ranker\.name=lightgcn, with the -c and --set of this run"),
        ("nobody_knows", "^ranker 'nobody_knows': there is no ranker of that name.*recsys show --artifacts"),
        ("popularity-test", "is of kind 'evaluation', not a ranker"),
    ],
)
def test_a_name_that_means_nothing_gets_an_answer(trained: dict[str, str], folder: Path, name: str, said: str) -> None:
    done("evaluate", "popularity", "-c", folder / "one.toml", "-q")
    with pytest.raises(ArtifactError, match=said):
        meaning(folder / "one.toml", name)


@pytest.mark.parametrize("name", ["ease", "ranker/ease", "{key}"])
def test_a_damaged_ranker_is_not_called_untrained(own: Path, name: str) -> None:
    made = train(own)
    (made.path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"manifest\.json was changed or damaged: .*Delete the folder"):
        meaning(own, name.format(key=made.path.name))


def test_a_part_of_a_key_that_several_have_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.core.artifact.SHORTEST", 0)
    train(own)
    with pytest.raises(ArtifactError, match="begins the keys of"):
        workflow(own).store.open("")


def test_what_is_named_exactly_brings_the_data_for_names_beside_it(trained: dict[str, str], folder: Path) -> None:
    own = (
        "--set",
        "items.text=none",
        "--set",
        "evaluation.ks=[5]",
        "--set",
        "evaluation.metric=ndcg@5",
        "-q",
        "--json",
    )
    given = ("popularity", trained["of one"], "--artifacts", folder / "artifacts", *own)
    found = json.loads(done("evaluate", *given).stdout)["rankers"]
    assert [row["path"].rpartition("-")[2] for row in found] == [trained["fresh"], trained["of one"]]


def test_recommend_takes_what_is_named_exactly_whatever_the_data(trained: dict[str, str], folder: Path) -> None:
    done("recommend", trained["of two"], "-c", folder / "one.toml", "--user", "u1")
    done("recommend", f"item_knn-{trained['of two']}", "--artifacts", folder / "artifacts", "--user", "u1")
    done("show", trained["of two"], "-c", folder / "one.toml")
    refused = call("evaluate", trained["of two"], "-c", folder / "one.toml")
    assert refused.exit_code == 2
    assert "another split" in refused.output
