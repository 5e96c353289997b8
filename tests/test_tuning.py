"""Tuning: on validation alone, the same however often it is killed, with one budget for all."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from optuna.trial import create_trial

from recsys.cli import main
from recsys.core.errors import ArtifactError, ConfigError, RankerError
from recsys.executing import Local, Serial
from recsys.runconfig import read_config
from recsys.tuning.outcome import Tuned
from recsys.tuning.proposing import drawn, propose
from recsys.tuning.rounds import Tuning, alone
from recsys.tuning.searchfile import read_search
from recsys.tuning.store import open_storage
from recsys.workflow import Workflow

from waiting import LONG
from worlds import blocks

ROOT = Path(__file__).resolve().parents[1]
TOY = "toyranker:Toy"
ONE = f'[[rankers]]\nlabel = "toy"\nname = "{TOY}"\nx = {{ low = 0.0, high = 1.0 }}\n'
STOPS = ONE + "epochs = 8\n[tune]\ntogether = 2\nwarmup = 2\nstartup = 4\n"


def write_world(folder: Path, test_shift: int = 0) -> Path:
    """Write three parts: valid items are three times in train, test items twice, all others more often.

    So ``toyranker`` can put forward the items of either part, and knows neither.
    """
    folder.mkdir(parents=True)
    rows: dict[str, list[tuple[int, int]]] = {"train": [], "valid": [], "test": []}
    for user in range(30):
        rows["train"] += [(user, 20 + (user + step) % 10) for step in range(4)]
        rows["train"].append((user, (user + 1) % 10))
        rows["train"] += [(user, 10 + (user + 1) % 10)] * (user < 20)
        rows["valid"].append((user, user % 10))
        rows["test"].append((user, 10 + (user + 5 * test_shift) % 10))
    for name, pairs in rows.items():
        (folder / f"{name}.tsv").write_text("user\titem\n" + "".join(f"{user}\t{item}\n" for user, item in pairs))
    return folder


def write_blocks(folder: Path) -> Path:
    """Write a world that a ranker can learn."""
    folder.mkdir(parents=True)
    world = blocks()
    for name in ("train", "valid", "test"):
        part = getattr(world, name)
        rows = zip(part.user_idx, part.item_idx, strict=True)
        (folder / f"{name}.tsv").write_text("user\titem\n" + "".join(f"{user}\t{item}\n" for user, item in rows))
    return folder


def write_run(folder: Path, test_shift: int = 0, learned: bool = False) -> Path:
    raw = write_blocks(folder / "raw") if learned else write_world(folder / "raw", test_shift)
    (folder / "run.toml").write_text(
        f'[data]\nsource = "mmssl"\nraw = "{raw.as_posix()}"\n[split]\nkind = "given"\n[items]\ntext = "none"\n'
        '[evaluation]\nks = [5]\nmetric = "ndcg@5"\nresamples = 100\n'
        f'[run]\nartifacts = "{(folder / "artifacts").as_posix()}"\n'
    )
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return write_run(tmp_path / "one")


def tuning(place: Path, text: str, executor=None, storage: str | Path | None = None, **settings) -> Tuning:
    (place / "search.toml").write_text(text)
    flow = Workflow(read_config(place / "run.toml"), log=lambda message: None)
    search = read_search(place, **settings)
    return Tuning(flow, search, storage or place / "trials.journal", executor or Serial())


def tuned(*arguments, **settings) -> Tuned:
    found = tuning(*arguments, **settings)
    found.run()
    return Tuned(found)


def told(found: Tuned) -> list[dict]:
    """Return all trials without their seconds."""
    rows = [asdict(trial) for trials in found.trials.values() for trial in trials]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def without_keys(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "key"} for row in rows]


# -- what is chosen ------------------------------------------------------------------------------------------------


def test_settings_are_chosen_on_validation_where_test_would_choose_others(place: Path) -> None:
    found = tuned(place, f'[[rankers]]\nname = "{TOY}"\nx = 0.3\npart = ["valid", "test"]\n')
    assert found.best.settings["part"] == "valid"
    flow = found.tuning.workflow
    on_test = {
        trial.settings["part"]: flow.evaluate(flow.train(trial.settings)).manifest["results"]["ndcg@5"]
        for trial in found.trials[TOY]
    }
    assert on_test["test"] > on_test["valid"]


def test_test_is_never_looked_at(place: Path, tmp_path: Path) -> None:
    one, other = tuned(place, STOPS, trials=6), tuned(write_run(tmp_path / "other", test_shift=1), STOPS, trials=6)
    assert without_keys(told(one)) == without_keys(told(other))
    assert one.tuning.workflow.split().key != other.tuning.workflow.split().key
    assert not one.tuning.workflow.store.list("evaluation")


def test_the_best_of_a_range_is_found_and_its_file_trains_the_very_artifact(place: Path) -> None:
    found = tuned(place, ONE, trials=16)
    assert abs(found.best.settings["x"] - 0.3) < 0.15
    found.write(place / "out")
    again = Workflow(read_config(place / "out" / "best.toml"), log=lambda message: None)
    assert again.train().key == found.best.key
    done = CliRunner().invoke(main, ["train", "-q", "--json", "-c", str(place / "out" / "best.toml")])
    assert json.loads(done.stdout)["key"] == found.best.key
    assert (place / "out" / "best-toy.toml").read_text() == (place / "out" / "best.toml").read_text()


def test_every_ranker_has_the_same_budget_and_small_spaces_are_tried_out_whole(place: Path) -> None:
    text = (
        ONE
        + f'[[rankers]]\nlabel = "other"\nname = "{TOY}"\nx = {{ low = 0.4, high = 0.6 }}\n'
        + f'[[rankers]]\nlabel = "small"\nname = "{TOY}"\nx = [0.1, 0.2]\n[[rankers]]\nname = "popularity"\n'
    )
    found = tuned(place, text, trials=6)
    assert {label: len(trials) for label, trials in found.trials.items()} == {
        "toy": 6, "other": 6, "small": 2, "popularity": 1
    }  # fmt: skip
    assert [trial.settings["x"] for trial in found.trials["small"]] == [0.1, 0.2]
    points = [trial.settings["x"] for trial in found.trials["toy"]]
    assert len(set(points)) == 6
    assert "same budget: 6 trials, or all its points where it has no more (small, popularity)" in found.to_text()


def test_what_was_found_counts_only_after_as_many_trials_as_are_said_to_be_random(place: Path) -> None:
    (place / "search.toml").write_text(ONE + "[tune]\nstartup = 6\ntogether = 4\n")
    search = read_search(place)
    (space,), settings = search.spaces, search.settings
    run = Workflow(read_config(place / "run.toml"), log=lambda message: None).run

    def proposed(n: int, best: float) -> list[dict]:
        values = [place / n for place in range(n)]
        before = [
            create_trial(value=-abs(x - best), params={"x": x}, distributions=space.distributions) for x in values
        ]
        return propose(space, before, 4, settings, run)

    assert drawn(settings) == 8
    assert proposed(4, 0.1) == proposed(4, 0.9)
    assert proposed(8, 0.1) != proposed(8, 0.9)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "Points were drawn at random: TPE would propose after 12 trials of a ranker (startup, together)."),
        ("[tune]\nstartup = 3\n", "The first 4 points of a ranker were drawn at random, then TPE proposed."),
        ("[tune]\nsampler = 'random'\n", "Points were drawn at random."),
        ("", None),
    ],
)
def test_who_proposed_is_said_where_not_all_points_were_tried(place: Path, more: str, said: str | None) -> None:
    text = ONE if said else ONE.partition("x =")[0]
    found = tuned(place, text + more, trials=5)
    assert [note for note in found.notes() if "random" in note] == ([said] if said else [])
    assert not said or f"- {said}\n" in found.markdown()


def test_a_larger_budget_goes_on_and_a_smaller_one_sees_its_part(place: Path) -> None:
    first = told(tuned(place, STOPS, trials=3))
    more = told(tuned(place, STOPS, trials=7))
    assert more[:3] == first
    assert len(more) == 7
    assert told(tuned(place, STOPS, trials=3)) == first


def test_chosen_members_are_the_best_of_the_rankers_above(place: Path) -> None:
    text = ONE + '[[rankers]]\nname = "popularity"\n[[rankers]]\nname = "fusion"\nk = 5\ncandidates = 10\n'
    found = tuned(place, text + 'chosen_members = ["toy", "popularity"]\nobjective = ["ndcg", "softmax"]\n', trials=3)
    best = found.tuning.best(found.spaces[0])
    for trial in found.trials["fusion"]:
        assert trial.error is None
        assert trial.settings["members"] == [best.settings, {"name": "popularity"}]


def test_a_point_that_fails_is_kept_as_failed_and_the_others_go_on(place: Path) -> None:
    found = tuned(place, f'[[rankers]]\nname = "{TOY}"\nbad = [true, false]\n')
    assert [trial.state for trial in found.trials[TOY]] == ["fail", "complete"]
    assert "told to fail" in (found.trials[TOY][0].error or "")
    with pytest.raises(RankerError, match="told to fail"):
        _ = tuned(place, f'[[rankers]]\nname = "{TOY}"\nbad = true\n').best


def test_a_split_without_validation_is_refused(place: Path) -> None:
    (place / "raw" / "valid.tsv").unlink()
    with pytest.raises(ConfigError, match="no validation part"):
        tuning(place, ONE)


# -- killed and resumed --------------------------------------------------------------------------------------------


class Dies(Serial):
    """Does all that it is given, and hands over only some before it dies: what follows was done and not kept."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def map(self, function: Callable, inputs: Iterable) -> Iterator:
        for result in list(map(function, inputs)):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield result


@pytest.mark.parametrize("kept", [[0], [1, 4], [3, 3, 2]])
def test_a_killed_search_ends_as_one_that_was_not(place: Path, tmp_path: Path, kept: list[int]) -> None:
    text = STOPS.replace("[tune]", f'[[rankers]]\nlabel = "b"\nname = "{TOY}"\nx = {{ low = 0.2, high = 0.4 }}\n[tune]')
    whole = tuned(place, text, trials=6)
    other = write_run(tmp_path / "other")
    for after in kept:
        with pytest.raises(KeyboardInterrupt):
            tuning(other, text, Dies(after), trials=6).run()
    again = tuned(other, text, trials=6)
    assert told(again) == told(whole)
    assert again.best.key == whole.best.key


def test_two_workers_try_the_same_as_one_process(place: Path, tmp_path: Path) -> None:
    one = tuned(place, STOPS, trials=6)
    with Local(2) as executor:
        two = tuned(write_run(tmp_path / "other"), STOPS, executor, trials=6)
    assert told(two) == told(one)


def test_what_was_trained_before_does_not_change_a_search(place: Path, tmp_path: Path) -> None:
    one, other = tuned(place, STOPS, trials=6), write_run(tmp_path / "other")
    for trial in one.trials["toy"]:  # stopped ones too, to their ends
        tuning(other, STOPS).workflow.train(trial.settings)
    assert told(tuned(other, STOPS, trials=6)) == told(one)


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_trials_are_kept_in_a_file_or_a_database(place: Path, storage: str) -> None:
    kept = place / "deep" / "trials.log" if storage == "journal" else f"sqlite:///{place / 'trials.db'}"
    first = tuned(place, STOPS, None, kept, trials=4)
    again = tuned(place, STOPS, Dies(0), kept, trials=4)  # nothing is left to be done
    assert told(again) == told(first)


def test_a_line_that_was_not_written_to_its_end_is_cut_off(place: Path) -> None:
    first = tuned(place, STOPS, trials=4)
    with open(place / "trials.journal", "a") as file:
        file.write('{"op_code":4,"worker')
    assert told(tuned(place, STOPS, trials=4)) == told(first)
    assert len(told(tuned(place, STOPS, trials=6))) == 6


def test_a_trial_that_was_changed_is_said(place: Path) -> None:
    first = tuned(place, STOPS, trials=4)
    path, value = place / "trials.journal", first.best.value
    text = path.read_text()
    assert str(value) in text
    path.write_text(text.replace(f'"value":{value}', f'"value":{value + 0.25}'))
    assert path.read_text() != text
    with pytest.raises(ArtifactError, match=r"trials\.journal: number \d of .* was changed or damaged"):
        tuned(place, STOPS, trials=4)


def test_a_storage_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sqlite:///trials"):
        open_storage("nosuch://place")


@pytest.mark.parametrize(
    "content",
    [
        b"hello\nworld\n", b"hello\n", b"hello", b"\n", b"[1]\n", b'{"sets": []}\n', b"\x00\xff\n",
        b'{"op_code":}\n', b'{"op_code":99}\n', b'{"op_code":0}\nbye', b'hello\n{"op_',
    ],
)  # fmt: skip
def test_a_file_that_is_no_journal_is_refused_and_stays_as_it_is(place: Path, content: bytes) -> None:
    (place / "search.toml").write_text(ONE)
    file = place / "notes.txt"
    file.write_bytes(content)
    given = ["tune", "-q", "-c", str(place / "run.toml"), "--search", str(place), "--storage", str(file)]
    done = CliRunner().invoke(main, [*given, "--out", str(place / "out"), "--executor", "serial"])
    assert done.exit_code == 2, done.output
    assert f"trials {file}: not a journal of Optuna" in done.output
    assert file.read_bytes() == content
    assert not (place / "artifacts" / "ranker").exists()


def test_another_space_or_seed_is_another_search(place: Path) -> None:
    tuned(place, STOPS, trials=2)
    wider = tuned(place, STOPS.replace("high = 1.0", "high = 0.9"), trials=2)
    assert all(trial.settings["x"] <= 0.9 for trial in wider.trials["toy"])
    with pytest.raises(KeyboardInterrupt):
        tuning(place, STOPS.replace("together = 2", "together = 3"), Dies(0), trials=2).run()


def test_two_searches_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ConfigError, match="another search"):
        alone(tmp_path)


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_trained(place: Path) -> None:
    (place / "search.toml").write_text(ONE)
    (place / "out").write_text("")
    given = ["tune", "-q", "-c", str(place / "run.toml"), "--search", str(place), "--out", str(place / "out")]
    done = CliRunner().invoke(main, [*given, "--executor", "serial"])
    assert done.exit_code == 2
    assert f"error: {place / 'out'}: File exists" in done.output
    assert not (place / "artifacts" / "ranker").exists()


# -- trials that are stopped ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_trials_that_fall_behind_are_stopped_and_never_pass_for_trained(place: Path, pruner: str) -> None:
    found = tuned(place, STOPS, trials=10, pruner=pruner)
    stopped = [trial for trial in found.trials["toy"] if trial.state == "pruned"]
    assert stopped
    flow = found.tuning.workflow
    trained = {json.dumps(one.config["ranker"]["x"]) for one in flow.store.list("ranker")}
    for trial in stopped:
        assert 2 < trial.steps < 8
        assert trial.value is None
        assert trial.key is None
        assert json.dumps(trial.settings["x"]) not in trained
    whole = flow.train(stopped[0].settings).manifest["results"]
    assert len(whole["rows"]) == 8
    assert found.best.value == max(trial.value for trial in found.trials["toy"] if trial.value is not None)


def test_without_a_pruner_none_is_stopped(place: Path) -> None:
    assert {row["state"] for row in told(tuned(place, STOPS, trials=6, pruner="none"))} == {"complete"}


LEARNED = """
[[rankers]]
name = "lightgcn"
epochs = 6
patience = 6
embedding_dim = 8
batch_size = 64
learning_rate = [0.05, 0.03, 0.000001, 0.00001]
[tune]
together = 2
warmup = 2
"""


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tuned(write_run(tmp_path_factory.mktemp("learned") / "one", learned=True), LEARNED)


def test_a_stopped_training_that_is_wanted_whole_is_as_if_it_never_stopped(learned: Tuned, tmp_path: Path) -> None:
    assert [trial.state for trial in learned.trials["lightgcn"]] == ["complete", "complete", "pruned", "pruned"]
    flow, stopped = learned.tuning.workflow, learned.trials["lightgcn"][2]
    assert len(list((flow.store.root / "ranker").glob(".draft-lightgcn-*/training/checkpoint.safetensors"))) == 2
    assert len(flow.store.list("ranker")) == 2
    whole = flow.train(stopped.settings)
    fresh = tuning(write_run(tmp_path / "fresh", learned=True), LEARNED).workflow.train(stopped.settings)
    assert whole.manifest["files"]["state.safetensors"] == fresh.manifest["files"]["state.safetensors"]
    assert len(whole.manifest["results"]["rows"]) == 6


def test_a_trial_goes_on_from_its_checkpoint_with_the_same_figures(
    learned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys.rankers import progress

    other, save, saved = write_run(tmp_path / "other", learned=True), progress.save_checkpoint, []

    def dies_later(*arguments, **options) -> None:
        save(*arguments, **options)
        saved.append(arguments)
        if len(saved) % 4 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress, "save_checkpoint", dies_later)
    deaths = 0
    while deaths < 20:
        try:
            again = tuned(other, LEARNED)
        except KeyboardInterrupt:
            deaths += 1
            continue
        break
    assert deaths > 2
    assert told(again) == told(learned)


# -- search.toml ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no rankers"),
        ("[[ranker]]\nname = 'ease'\n", r"search.toml, key 'ranker'.*Did you mean 'rankers'"),
        ("[[rankers]]\nregularisation = 1\n", "it has no name"),
        ("[[rankers]]\nname = 'eas'\n", r"ranker 'eas', ranker 'eas'.*Did you mean 'ease'"),
        ("[[rankers]]\nname = 'ease'\nregularization = [1, 2]\n", r"'ease', .*Did you mean 'regularisation'"),
        ("[[rankers]]\nname = 'ease'\nregularisation = [1, -2]\n", r"ranker.regularisation.*greater than"),
        ("[[rankers]]\nname = 'ease'\nregularisation = []\n", "its list is empty"),
        ("[[rankers]]\nname = 'ease'\nregularisation = [1, 1]\n", "a value is there twice"),
        ("[[rankers]]\nname = 'ease'\nregularisation = { low = 9, high = 1 }\n", "low 9 is not below high 1"),
        ("[[rankers]]\nname = 'ease'\nregularisation = { low = 0, high = 1, log = true }\n", "logarithmic scale"),
        ("[[rankers]]\nname = 'ease'\nregularisation = { low = 1, hihg = 2 }\n", r"hihg.*Did you mean 'high'"),
        ("[[rankers]]\nname = 'ease'\nregularisation = { low = 'a', high = 2 }\n", r"range|low.*valid integer"),
        ("[[rankers]]\nname = 'ease'\nregularisation = { low = 1, high = 2, step = 5 }\n", "step 5 does not fit"),
        ("[[rankers]]\nname = 'ease'\nregularisation = { low = -5, high = 2 }\n", r"greater than"),
        ("[[rankers]]\nname = 'ease'\n[[rankers]]\nname = 'ease'\n", "two rankers have that label"),
        ("[[rankers]]\nname = 'fusion'\nchosen_members = ['ease']\n", "is not above it"),
        ("[tune]\ntrails = 3\n[[rankers]]\nname = 'ease'\n", r"tune.*trails.*Did you mean 'trials'"),
        ("[tune]\npruner = 'sharp'\n[[rankers]]\nname = 'ease'\n", "pruner"),
    ],
)
def test_a_bad_search_is_refused_by_name_before_anything_is_trained(place: Path, text: str, message: str) -> None:
    (place / "search.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_search(place)
    assert caught.value.remedy
    done = CliRunner().invoke(main, ["tune", "-q", "-c", str(place / "run.toml"), "--search", str(place)])
    assert done.exit_code == 2
    assert not (place / "artifacts").exists()


def test_a_value_that_does_not_fit_leads_to_what_explains_it(place: Path) -> None:
    (place / "search.toml").write_text(ONE)
    given = ["tune", "-q", "-c", str(place / "run.toml"), "--search", str(place), "--trials", "0"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 2
    assert done.output.endswith("try: See: recsys doctor --settings tune\n")


def test_ranges_and_choices_of_every_kind(tmp_path: Path) -> None:
    (tmp_path / "search.toml").write_text(
        "[[rankers]]\nname = 'content_ease'\nmodalities = [['text'], ['image', 'text']]\n"
        "regularisation = { low = 1, high = 1000.0, log = true }\nstrength = { low = 10, high = 35, step = 10 }\n"
        "weights.image = [0.0, 0.5]\n"
    )
    (space,) = read_search(tmp_path).spaces
    found = space.distributions
    assert (found["regularisation"].log, found["regularisation"].high) == (True, 1000.0)
    assert (found["strength"].high, found["strength"].step) == (30, 10)
    stored = {"modalities": '["image", "text"]', "regularisation": 2.0, "strength": 20, "weights.image": 0.5}
    assert space.point(stored) == {
        "name": "content_ease", "modalities": ["image", "text"], "regularisation": 2.0, "strength": 20,
        "weights": {"image": 0.5},
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*/search.toml")), ids=lambda path: path.parent.name
)
def test_searches_of_the_experiments_are_searches(path: Path) -> None:
    assert read_search(path).spaces


# -- what is written -----------------------------------------------------------------------------------------------


def test_the_verb_writes_what_a_reader_needs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = STOPS.replace("epochs = 8", "epochs = 8\npart = ['valid', 'test']\nseconds = 0")
    (place / "search.toml").write_text(text + f'[[rankers]]\nname = "{TOY}"\nx = [0.1, 0.9]\n')
    monkeypatch.chdir(place)
    arguments = ["tune", "-q", "-c", "run.toml", "--trials", "10", "--executor", "serial", "--pruner", "none"]
    arguments += ["--out", "out"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "Test was not looked at" in done.output
    kept = json.loads((place / "out" / "trials.json").read_text())
    assert len(kept["trials"]) == 12
    assert kept["best"]["value"] == max(trial["value"] or 0 for trial in kept["trials"])
    assert set(kept["importance"]["toy"]) == {"x", "part"}
    assert kept["verdict"] in (place / "out" / "report.md").read_text()
    page = (place / "out" / "plots.html").read_text()
    assert page.count('class="plot parallel"') == 2
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    best = (place / "out" / "best.toml").read_text()
    assert tomllib.loads(best)["ranker"] == kept["best"]["settings"]
    number, label = kept["best"]["number"], kept["best"]["ranker"]
    assert best.startswith(f"# Trial number {number} of {label} in trials.json, ")
    assert next(one for one in kept["trials"] if (one["ranker"], one["number"]) == (label, number)) == kept["best"]
    for told in ((place / "out" / "report.md").read_text(), page):
        assert "shares of 1; 10 complete trials: a rough hint)" in told
    as_json = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert as_json["best"] == kept["best"]


def test_importance_of_many_trials_is_no_mere_hint(place: Path) -> None:
    found = tuned(place, ONE + "epochs = { low = 1, high = 9 }\n", trials=20, sampler="random", pruner="none")
    assert found.importance
    assert "(shares of 1; 20 complete trials): " in found.markdown()


def test_a_second_search_in_a_folder_leaves_no_best_of_rankers_that_it_has_not(place: Path) -> None:
    other = f'[[rankers]]\nlabel = "b"\nname = "{TOY}"\nx = 0.2\n[[rankers]]\nlabel = "c"\nname = "{TOY}"\nx = 0.1\n'
    tuned(place, ONE + other, trials=2).write(place / "out")
    mine, changed = place / "out" / "best-mine.toml", place / "out" / "best-c.toml"
    mine.write_text("# by hand\n")
    changed.write_text(changed.read_text() + "# by hand\n")
    found = tuned(place, ONE, trials=2)
    wrote = found.write(place / "out")
    assert {path.name for path in (place / "out").iterdir()} == {path.name for path in (*wrote, mine, changed)}
    assert found.write(place / "out") == wrote


def test_a_ranker_without_a_good_trial_has_a_dash_in_the_report(place: Path) -> None:
    text = ONE + f'[[rankers]]\nlabel = "bad"\nname = "{TOY}"\nbad = true\n'
    assert "| bad | 1 | 0 | 1 | – |" in tuned(place, text, trials=2).markdown()


def test_a_best_value_at_the_end_of_a_range_is_said(place: Path) -> None:
    found = tuned(place, ONE.replace("low = 0.0", "low = 0.7"), trials=16)
    assert any("lies at the low end of its range" in note for note in found.notes()) == (
        found.best.settings["x"] < 0.706
    )
    assert found.spaces[0].axes[0].range.end_of(0.7001, 0.02) == "low"
    assert found.spaces[0].axes[0].range.end_of(0.85, 0.02) is None


def test_the_verb_is_light_and_explains_itself() -> None:
    code = "import sys, recsys.cli; print([name for name in ('optuna', 'ray', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    shown = CliRunner().invoke(main, ["tune", "--help"])
    assert "Examples:" in shown.output


# -- kill -9 -------------------------------------------------------------------------------------------------------


def start(place: Path) -> subprocess.Popen:
    command = [
        sys.executable, "-m", "recsys", "tune", "-c", "run.toml", "--trials", "10", "--workers", "2", "--out", "out",
    ]  # fmt: skip
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        command, cwd=place, env={**os.environ, "PYTHONPATH": path}, start_new_session=True, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
def test_kill_9_at_random_moments_gives_the_same_trials(tmp_path: Path) -> None:
    found, rng = {}, random.Random(0)
    for name, kills in (("whole", 0), ("killed", 4)):
        place = write_run(tmp_path / name)
        (place / "search.toml").write_text(
            LEARNED.partition("[tune]")[0] + STOPS.replace("[tune]", "seconds = 0.1\n[tune]")
        )
        for _ in range(kills):
            before, process = written(place), start(place)
            while written(place) == before and process.poll() is None:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.5))
            process.kill()  # the process alone: its workers have to find out by themselves
            assert process.wait() == -signal.SIGKILL
        assert start(place).wait(timeout=2 * LONG) == 0
        kept = json.loads((place / "out" / "trials.json").read_text())
        found[name] = without_seconds(kept["trials"]), without_seconds([kept["best"]])
    assert found["killed"] == found["whole"]


def written(place: Path) -> float:
    """Return when an artifact or a checkpoint was last written."""
    files = [*(place / "artifacts" / "ranker").glob("**/*.safetensors"), *(place / "out").glob("trials.journal")]
    return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)


def without_seconds(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
