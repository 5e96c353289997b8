"""The arena on a world with known answers: told alike, resumed, kept apart, and written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from toypeer import toy_environment

from recsys.benchmark.command import run_benchmark
from recsys.benchmark.reading import best_of_family, best_single, notes
from recsys.benchmark.report import BEGIN, END, readme_block, standings, write_readme
from recsys.benchmark.results import read_results
from recsys.benchmark.settings import Contest, family, read_benchmark
from recsys.cli import main
from recsys.core.errors import ConfigError
from recsys.executing import Serial
from recsys.rankers.peers import process
from recsys.rankers.peers.process import PeerError
from recsys.tuning.space import Space

from worlds import blocks

RUN = """
[data]
source = "mmssl"
raw = {raw!r}
[split]
kind = "given"
[items]
text = "none"
[evaluation]
ks = [2]
metric = "ndcg@2"
resamples = 200
[run]
artifacts = {artifacts!r}
"""
SEARCH = """
[[rankers]]
name = "popularity"
[[rankers]]
name = "ease"
regularisation = [1.0, 10.0, 100.0]
[[rankers]]
name = "fusion"
k = 2
candidates = 10
chosen_members = ["ease", "popularity"]
[[rankers]]
label = "toy-Together"
name = "peer"
library = "toy"
model = "Together"
params = { power = [0.5, 1.0] }
[[rankers]]
label = "toy-Vectors"
name = "peer"
library = "toy"
model = "Vectors"
params = { dim = [2, 3] }
"""
POPULAR = (
    '[[rankers]]\nname = "popularity"\n[[rankers]]\nname = "peer"\nlabel = "toy"\nlibrary = "toy"\nmodel = "Together"\n'
)
FAILING = POPULAR + '[[rankers]]\nname = "peer"\nlabel = "bad"\nlibrary = "toy"\nmodel = "Fails"\n'
BENCHMARK = """
[benchmark]
trials = 2
seeds = [0, 1, 2]
[[benchmark.sets]]
name = "first"
title = "The first"
run = "run.toml"
search = "search.toml"
[[benchmark.sets]]
name = "second"
title = "The second"
run = "run.toml"
search = "popular.toml"
set = ["evaluation.metric='recall@2'"]
seeds = [0, 1]
chosen = { popularity = "by hand" }
"""


@pytest.fixture(scope="module", autouse=True)
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with toy_environment(tmp_path_factory.mktemp("peers")) as folder:
        yield folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, world = tmp_path_factory.mktemp("raw"), blocks()
    for name in ("train", "valid", "test"):
        part = getattr(world, name)
        rows = [f"{user}\t{item}" for user, item in zip(part.user_idx, part.item_idx, strict=True)]
        (folder / f"{name}.tsv").write_text("\n".join(["user\titem", *rows]) + "\n")
    return folder


def written(folder: Path, raw: Path, **texts: str) -> Path:
    """Write a benchmark's files; ``texts`` in place of ours, by name."""
    run = RUN.format(raw=str(raw), artifacts=str(folder / "artifacts"))
    given = {"run": run, "search": SEARCH, "popular": POPULAR, "config": BENCHMARK} | texts
    for name, text in given.items():
        (folder / f"{name}.toml").write_text(text)
    return folder / "config.toml"


def ran(path: Path, *only: str, executor: Any = None, **more: Any) -> list[dict[str, Any]]:
    return run_benchmark(
        read_benchmark(path), only, executor or Serial(), path.parent, log=lambda message: None, **more
    )


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole benchmark ran."""
    folder = tmp_path_factory.mktemp("whole")
    ran(written(folder, raw))
    return folder


def first(folder: Path) -> dict[str, Any]:
    return read_results(folder)[0]


def without_times(value: Any) -> Any:
    """Return plain values without what another run may have otherwise: dates, commits and seconds."""
    if isinstance(value, Mapping):
        return {key: without_times(inner) for key, inner in value.items() if key not in ("made", "cost")}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def ranker(one: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in one["rankers"] if row["name"] == name)


# -- what is found ---------------------------------------------------------------------------------------------------


def test_settings_are_those_that_were_best_on_validation(whole: Path) -> None:
    for row in first(whole)["rankers"]:
        assert row["valid"] == max(trial["valid"] for trial in row["trials"])
        assert row["valid"] == row["seeds"][0]["valid"]["ndcg@2"]


def test_every_ranker_has_the_same_budget_or_all_its_points(whole: Path) -> None:
    tried = {row["name"]: len(row["trials"]) for row in first(whole)["rankers"]}
    assert tried == {"popularity": 1, "ease": 2, "fusion": 1, "toy-Together": 2, "toy-Vectors": 2}


def test_seeds_are_trained_where_they_change_anything(whole: Path) -> None:
    seeds = {row["name"]: [one["seed"] for one in row["seeds"]] for row in first(whole)["rankers"]}
    assert seeds["ease"] == [0]
    assert seeds["toy-Vectors"] == [0, 1, 2]
    vectors = ranker(first(whole), "toy-Vectors")
    mean = sum(one["test"]["ndcg@2"] for one in vectors["seeds"]) / 3
    assert vectors["test"]["ndcg@2"] == pytest.approx(mean)
    assert vectors["spread"] > 0


def test_ours_is_the_best_on_validation_and_the_peer_the_best_on_test(whole: Path) -> None:
    one = first(whole)
    ours = [row for row in one["rankers"] if row["family"] == "ours"]
    peers = [row for row in one["rankers"] if row["family"] == "toy"]
    assert one["ours"] == max(ours, key=lambda row: row["valid"])["name"]
    assert one["best_peer"] == max(peers, key=lambda row: row["test"]["ndcg@2"])["name"]


def test_differences_are_to_the_best_peer_and_add_up(whole: Path) -> None:
    one = first(whole)
    base = ranker(one, one["best_peer"])["test"]["ndcg@2"]
    assert {row["name"] for row in one["differences"]} == {row["name"] for row in one["rankers"]} - {one["best_peer"]}
    for row in one["differences"]:
        assert row["difference"] == pytest.approx(ranker(one, row["name"])["test"]["ndcg@2"] - base)
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["p_holm"] >= row["p"]


def test_who_is_behind_is_told_so(whole: Path) -> None:
    second = read_results(whole)[1]
    assert second["standing"] == "behind"  # popularity alone against those who know the blocks
    assert any(
        line.startswith("Behind the best peer: The second (popularity against toy") for line in standings([second])
    )
    assert readme_block([second]).count("**behind**") == 2  # ours, and ours that is no fusion, which is the same
    assert "Ours is behind the best peer: The second; not ahead of it (no difference shown): nowhere." in readme_block(
        [second]
    )


def outcome(*rankers: dict[str, Any]) -> dict[str, Any]:
    """Return an outcome by hand."""
    return {"rankers": [{"family": "ours", "test": {}, "valid": 0.0, "trials": []} | row for row in rankers]}


def test_the_best_of_ours_that_is_no_fusion_is_told_apart() -> None:
    fused = {"name": "fused", "valid": 0.3, "settings": {"members": [{"name": "ease"}]}}
    one = outcome(fused, {"name": "ease", "valid": 0.2}, {"name": "peer", "family": "implicit", "valid": 0.4})
    found = best_single(one)
    assert found is not None
    assert found["name"] == "ease"


def test_ends_of_grids_and_whom_rankers_cannot_know_are_told() -> None:
    tried = [{"settings": {"params.k": k, "on": True, "few": k > 3}, "valid": k / 10} for k in (1, 2, 4)]
    middle = [{"settings": {"k": k}, "valid": -abs(k - 2)} for k in (1, 2, 4)]
    two = [{"settings": {"k": k}, "valid": k / 10} for k in (1, 2)]
    one = outcome(
        {"name": "end", "trials": tried, "by_popularity": 7}, {"name": "middle", "trials": middle, "by_popularity": 7},
        {"name": "two", "trials": two},
    )  # fmt: skip
    assert list(notes(one)) == [
        "7 of the users cannot be known and are shown what is popular by: end, middle.",
        "Best at an end of the values that were tried, and so perhaps better beyond: end (k 4).",
    ]


def test_the_report_has_a_table_a_data_set(whole: Path) -> None:
    text = (whole / "report.md").read_text()
    assert text.index("## The first") < text.index("## The second")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 5 + 2 + 2  # heads and rules, five rankers, two
    assert "| by hand |" in text
    assert "Not measured yet" not in text
    assert "drawn at random for the first 12 trials of a ranker" in text


def test_where_no_peer_was_measured_nothing_is_said_of_being_ahead_or_behind(
    whole: Path, raw: Path, tmp_path: Path
) -> None:
    alone = POPULAR.partition('[[rankers]]\nname = "peer"')[0]
    (one,) = ran(written(tmp_path, raw, popular=alone), "second")
    report = (tmp_path / "report.md").read_text()
    for told in (report, "\n".join(standings([one])), readme_block([one])):
        assert "No peer was measured on: The second." in told
        assert "nowhere" not in told
        assert "None" not in told
    assert "| settings | fit, CPU |\n" in report
    both = [first(whole), one]
    assert standings(both)[-1] == "No peer was measured on: The second."
    assert standings(both)[:-1] == standings(both[:1])
    assert "Ours is behind the best peer: " in readme_block(both)


def test_where_none_of_ours_was_measured_it_is_said() -> None:
    peer = {"best_peer": "peer", "differences": [], "title": "Theirs", "ours": None} | outcome()
    fused = {"name": "fused", "settings": {"members": [{"name": "ease"}]}}
    gap = {"name": "fused", "standing": "ahead", "difference": 0.1, "low": 0.1, "high": 0.1}
    fusion = outcome(fused) | {"best_peer": "peer", "ours": "fused", "title": "Fused", "metric": "m"}
    assert standings([peer, fusion | {"differences": [gap]}]) == [
        "Ahead of the best peer: Fused (fused against peer, m +0.1000 (+0.1000 to +0.1000)).",
        "Level (no difference shown): nowhere.",
        "Behind the best peer: nowhere.",
        "None of ours was measured on: Theirs.",
        "None of ours that is no fusion was measured on: Fused.",
    ]


def test_families() -> None:
    assert family({"name": "ease"}) == "ours"
    assert family({"name": "recbole", "model": "BPR"}) == "RecBole"
    assert family({"name": "peer"}) == "implicit"
    assert family({"name": "peer", "library": "lenskit"}) == "LensKit"
    one = {
        "rankers": [{"family": "RecBole", "valid": 0.2, "test": {}, "name": "a"}, {"family": "RecBole", "name": "b"}]
    }
    assert best_of_family(one, "RecBole")["name"] == "a"
    assert best_of_family(one, "Cornac") is None


def test_a_ranker_that_cannot_be_trained_is_told_and_the_others_are_measured(raw: Path, tmp_path: Path) -> None:
    found = ran(written(tmp_path, raw, popular=FAILING), "second")
    assert "does not converge" in ranker(found[0], "bad")["failed"]
    assert ranker(found[0], "toy")["test"]["recall@2"] > 0.9
    assert (
        "- bad: no trial ended well (RankerError: toy: ValueError: it does not converge"
        in (tmp_path / "report.md").read_text()
    )


# -- again, and on ---------------------------------------------------------------------------------------------------


def test_the_same_seed_twice_gives_the_same_but_for_dates_and_seconds(whole: Path, raw: Path, tmp_path: Path) -> None:
    ran(written(tmp_path, raw))
    assert without_times(read_results(tmp_path)) == without_times(read_results(whole))


class Killed(Serial):
    """Ends in the midst of its work."""

    def __init__(self, after: int) -> None:
        self.left = after

    def map(self, function: Callable[[Any], Any], inputs: Iterable[Any]) -> Iterator[Any]:
        for one in inputs:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            yield function(one)


@pytest.mark.parametrize("after", [3, 12])  # among trials, and among what is measured
def test_a_killed_benchmark_goes_on_and_trains_nothing_twice(
    after: int, whole: Path, raw: Path, tmp_path: Path
) -> None:
    path = written(tmp_path, raw)
    with pytest.raises(KeyboardInterrupt):
        ran(path, executor=Killed(after))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "artifacts").rglob("manifest.json")}
    assert len(before) > 3
    ran(path)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert without_times(read_results(tmp_path)) == without_times(read_results(whole))


def test_one_data_set_after_the_other_is_as_both_at_once(whole: Path, raw: Path, tmp_path: Path) -> None:
    path = written(tmp_path, raw)
    assert [one["name"] for one in ran(path, "second")] == ["second"]
    assert "Not measured yet: The first." in (tmp_path / "report.md").read_text()
    assert [one["name"] for one in ran(path, "first")] == ["first", "second"]
    assert without_times(read_results(tmp_path)) == without_times(read_results(whole))


def test_what_was_asked_otherwise_is_not_kept(raw: Path, tmp_path: Path) -> None:
    path = written(tmp_path, raw, search=POPULAR)
    ran(path)
    path.write_text(BENCHMARK.replace("seeds = [0, 1]\n", "seeds = [0]\n"))
    assert [one["name"] for one in ran(path, "first")] == ["first"]


# -- the README ------------------------------------------------------------------------------------------------------


def test_the_readme_gets_the_table_between_its_marks_and_nothing_else_changes(whole: Path, tmp_path: Path) -> None:
    readme, sets = tmp_path / "README.md", read_results(whole)
    readme.write_text(f"# Words\n\n{BEGIN}\nold\n{END}\n\nmore words\n")
    write_readme(sets, readme)
    once = readme.read_bytes()
    write_readme(sets, readme)
    assert readme.read_bytes() == once
    text = once.decode()
    assert text.startswith(f"# Words\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nmore words\n")
    assert "old" not in text
    made = sets[0]["made"]
    assert f"{made['date'].partition(' ')[0]}, {made['commit']}" in text


def test_the_command_writes_the_readme(whole: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    done = CliRunner().invoke(
        main, ["benchmark", str(whole / "config.toml"), "--only", "second", "--executor", "serial", "-q",
               "--out", str(tmp_path), "--readme", str(readme)]
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Behind the best peer: The second" in done.output
    assert "| The second, recall@2 |" in readme.read_text()


def test_told_again_runs_nothing_and_writes_the_same(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(process.PLACE, str(tmp_path))  # no library is there
    readme, report = tmp_path / "README.md", (whole / "report.md").read_bytes()
    readme.write_text(f"{BEGIN}\n{END}\n")
    arguments = ["benchmark", str(whole / "config.toml"), "--told-again", "--readme", str(readme)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert (whole / "report.md").read_bytes() == report
    assert readme_block(read_results(whole)) in readme.read_text()


@pytest.mark.parametrize("text", ["no marks", f"{BEGIN} but no end", f"{END} before {BEGIN}"])
def test_a_readme_without_marks_is_refused_before_anything_is_trained(raw: Path, tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ConfigError, match="two marks"):
        ran(written(tmp_path, raw), readme=readme)
    assert not (tmp_path / "artifacts").exists()
    assert readme.read_text() == text


# -- mistakes --------------------------------------------------------------------------------------------------------


def test_an_environment_that_is_not_there_is_told_before_anything_is_trained(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(process.PLACE, str(tmp_path))
    with pytest.raises(PeerError, match="make peers"):
        ran(written(tmp_path, raw))
    assert not (tmp_path / "artifacts").exists()


def test_an_environment_that_breaks_stops_the_search_and_is_no_fault_of_a_point(
    raw: Path, tmp_path: Path, toy: Path
) -> None:
    library = toy / "package" / "toylib.py"
    text = library.read_text()
    library.write_text("import gone\n")
    process.end_all()
    path = written(tmp_path, raw)
    try:
        with pytest.raises(PeerError, match="gone"):
            ran(path, "second")
    finally:
        library.write_text(text)
    assert ranker(ran(path, "second")[0], "toy")["trials"][0]["state"] == "complete"


def refused(path: Path, *arguments: str) -> str:
    done = CliRunner().invoke(main, ["benchmark", str(path), "-q", *arguments])
    assert done.exit_code == 2, done.output
    return done.output


def test_an_unknown_data_set_is_named(raw: Path, tmp_path: Path) -> None:
    said = refused(written(tmp_path, raw), "--only", "frist")
    assert "data set 'frist'" in said
    assert "Did you mean 'first'?" in said


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[data]\nsource = 'own'\n", "it has no section [benchmark]"),
        ("[benchmark]\ntrials = 3\n", "Add [[benchmark.sets]] tables."),
        (BENCHMARK.replace("trials = 2", "trails = 2"), "Did you mean 'trials'?"),
        (BENCHMARK.replace('title = "The first"', 'titel = "The first"'), "setting benchmark.sets[0]"),
        (BENCHMARK.replace("seeds = [0, 1]", "seeds = []"), "try: See: recsys doctor --settings benchmark.sets\n"),
        (BENCHMARK.replace('"second"', '"first"'), "'first' is there twice"),
        (BENCHMARK.replace("chosen = { popularity", "chosen = { popularitty"), "Did you mean 'popularity'?"),
        (BENCHMARK + '[benchmark.sets.more]\n', "setting benchmark.sets[1].more"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file(raw: Path, tmp_path: Path, config: str, said: str) -> None:
    assert said in refused(written(tmp_path, raw, config=config))


def test_what_is_searched_was_not_chosen_elsewhere(raw: Path, tmp_path: Path) -> None:
    text = POPULAR + '[[rankers]]\nname = "ease"\nregularisation = [1.0, 2.0]\n'
    config = BENCHMARK.replace('popularity = "by hand"', 'ease = "by hand"')
    assert "regularisation of it is searched" in refused(written(tmp_path, raw, popular=text, config=config))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"made": {}, "ablation": {}, "variants": []}', "they are not those of a benchmark"),
        ('{"sets": [{"name": "first"}]}', "they are not those of a benchmark"),
        ("[1]", "they are not those of a benchmark"),
        ('{"sets": ', "cannot be read"),
    ],
)
def test_results_of_something_else_are_refused_before_anything_is_trained_and_stay(
    raw: Path, tmp_path: Path, content: str, said: str
) -> None:
    path, results = written(tmp_path, raw), tmp_path / "results.json"
    results.write_text(content)
    for more in ((), ("--told-again",)):
        told = refused(path, "--executor", "serial", *more)
        assert f"results {results}: {said}" in told
        assert "Give --out another folder" in told
    assert results.read_text() == content
    assert not (tmp_path / "artifacts").exists()


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_trained(raw: Path, tmp_path: Path) -> None:
    place = tmp_path / "taken"
    place.write_text("")
    assert f"error: {place}: File exists" in refused(
        written(tmp_path, raw), "--out", str(place), "--executor", "serial"
    )
    assert not (tmp_path / "artifacts").exists()


def test_how_settings_came_about_is_told(raw: Path, tmp_path: Path) -> None:
    contest = read_benchmark(written(tmp_path, raw))[1]
    assert isinstance(contest, Contest)
    assert contest.chosen_how(contest.search.spaces[0]) == "by hand"
    assert contest.chosen_how(Space("other", {"name": "ease"})) == "as given"


def test_raw_files_may_lie_in_the_shared_folder(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, raw)
    run = tmp_path / "run.toml"
    run.write_text(run.read_text().replace(repr(str(raw)), repr(raw.name)))
    monkeypatch.setenv("RECSYS_DATA", str(raw.parent))
    assert read_benchmark(path)[0].config.data.raw == raw
    assert json.loads(json.dumps(read_benchmark(path)[0].about.model_dump(mode="json")))["name"] == "first"
