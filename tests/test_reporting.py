"""From artifacts to tables, text and report: one level, one verdict, and no choice where none was made."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from recsys import comparison as comparison_module
from recsys import demo
from recsys.comparison import Comparison, best_on_validation
from recsys.core.artifact import Artifact
from recsys.evaluation import result as result_module
from recsys.evaluation import segments as segments_module
from recsys.evaluation.significance import compare
from recsys.rankers.ease import EASE
from recsys.rankers.popularity import Popularity
from recsys.reporting import build_report, write_comparison
from recsys.runconfig import read_config
from recsys.workflow import Workflow

NONE = "no validation part: nothing was chosen"
SEARCH = Path(__file__).resolve().parents[1] / "experiments" / "search.py"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty users of two tastes, ten items each: EASE finds the taste, popularity does not."""
    folder = tmp_path_factory.mktemp("raw")
    rows = [f"u{user},i{(user * 7 + place * 3) % 20 * 2 + user % 2}" for user in range(40) for place in range(10)]
    (folder / "a.csv").write_text("user_id,item_id\n" + "\n".join(rows) + "\n")
    return folder


def settings(raw: Path, *more: str) -> tuple[str, ...]:
    return (
        "data.source=own", f"data.raw={str(raw)!r}", "data.options.interactions=a.csv", "items.text=none",
        "evaluation.ks=[5]", "evaluation.metric=ndcg@5", "evaluation.resamples=400", "ranker.regularisation=10",
        f"run.artifacts={str(raw.parent / 'artifacts')!r}", *more,
    )  # fmt: skip


def measured(raw: Path, *more: str) -> Comparison:
    """Popularity, the reference, and EASE."""
    workflow = Workflow(read_config(None, settings(raw, *more)), log=lambda message: None)
    trained = [workflow.train({"name": "popularity"}), workflow.train({"name": "ease", "regularisation": 10.0})]
    made = [workflow.evaluate(artifact) for artifact in trained]
    return Comparison.from_artifacts(workflow, trained, made, "test", None)


@pytest.fixture(scope="module")
def both(raw: Path) -> Comparison:
    return measured(raw)


@pytest.fixture(scope="module")
def unchosen(raw: Path) -> Comparison:
    return measured(raw, "split.ratios=[8, 0, 2]")


def written(comparison: Comparison, folder: Path) -> dict[str, str]:
    """The report in both forms, on one line each, as a reader would see the words."""
    pages = {ending: write_comparison(comparison, folder / f"r.{ending}").read_text() for ending in ("html", "md")}
    return {ending: " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.S).split()) for ending, page in
            pages.items()}  # fmt: skip


# -- level and resamples -----------------------------------------------------------------------------------------


def test_level_and_resamples_are_those_of_the_settings(raw: Path, tmp_path: Path) -> None:
    found = measured(raw, "evaluation.level=0.8", "evaluation.resamples=150")
    expected = compare(found.evaluations, "popularity", "ndcg@5", 150, level=0.8).to_dicts()
    assert found.differences() == expected
    assert found.differences() != compare(found.evaluations, "popularity", "ndcg@5", level=0.8).to_dicts()
    assert (found.differences()[1]["p"] * 151) == pytest.approx(round(found.differences()[1]["p"] * 151))
    pages = {"text": found.to_text(), **written(found, tmp_path)}
    for page in pages.values():
        assert not re.search(r"95 ?%", page)
        assert re.search(r"80 ?%", page)
    assert "ndcg@5 80 %" in pages["text"]
    low, high = found.evaluations[1].intervals["ndcg@5"]
    assert f"(80 % interval {low:.4f} to {high:.4f})" in pages["html"]


@pytest.mark.parametrize(("level", "said"), [(0.95, "95 %"), (0.999, "99.9 %"), (0.975, "97.5 %"), (0.9, "90 %")])
def test_a_level_is_not_rounded(both: Comparison, level: float, said: str) -> None:
    evaluation = both.workflow.config.evaluation.model_copy(update={"level": level})
    config = both.workflow.config.model_copy(update={"evaluation": evaluation})
    other = replace(both, workflow=Workflow(config, log=lambda message: None))
    assert f"ndcg@5 {said}" in other.rows()[0]
    assert f"({said} interval" in build_report(other, "Title").summary[0]
    assert f"{said} interval" in build_report(other, "Title").glossary


# -- one verdict -------------------------------------------------------------------------------------------------


def scripted(low: float, high: float, p_holm: float) -> Callable[..., pl.DataFrame]:
    row = {"name": "ease", "mean": 0.3, "difference": (low + high) / 2, "low": low, "high": high, "p": p_holm}
    reference = {"name": "popularity", "mean": 0.2}
    return lambda *args, **options: pl.DataFrame([reference, row | {"p_holm": p_holm}])


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "said"),
    [
        (0.01, 0.05, 0.2, "no difference shown"),  # the interval alone would say better
        (-0.05, -0.01, 0.2, "no difference shown"),
        (-0.01, 0.05, 0.01, "better"),  # the interval alone would say nothing
        (-0.05, 0.01, 0.0004, "worse"),
    ],
)
def test_text_summary_and_table_give_the_same_verdict(
    both: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, low: float, high: float, p_holm: float, said: str
) -> None:
    monkeypatch.setattr(comparison_module, "compare", scripted(low, high, p_holm))
    found = replace(both)  # with nothing worked out yet
    assert found.chosen is found.trained[1]
    report = build_report(found, "Title")
    assert [report.verdict(one) for one in report.differences] == [said]
    assert report.summary[1].startswith(f"ease against popularity: {said}, ")
    assert f"ease against popularity: {said}, " in found.to_text()
    pages = written(found, tmp_path)
    assert f"ease against popularity, ndcg@5: {said} (" in pages["md"]
    told = set(re.findall(r"\b(?:better|worse)\b", found.to_text() + "".join(report.summary) + pages["md"]))
    assert told == {said} & {"better", "worse"}
    assert said in pages["html"]


def test_what_was_worked_out_is_not_worked_out_again(both: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [both.workflow.evaluate(artifact) for artifact in both.trained]
    for module in (result_module, segments_module):
        monkeypatch.setattr(module, "bootstrap_intervals", lambda *args, **kwargs: pytest.fail("drawn once more"))
    again = Comparison.from_artifacts(both.workflow, both.trained, made, "test", None, ["Popular", "Linear"])
    report = build_report(again, "Title")
    assert [row.name for row in report.rankers] == again.names == ["Popular", "Linear"]
    assert report.rankers[1].intervals == both.evaluations[1].intervals
    assert {row["name"] for row in report.segments} == {"Popular", "Linear"}


# -- what was chosen ---------------------------------------------------------------------------------------------


def test_the_best_on_validation_is_chosen_and_marked(both: Comparison, tmp_path: Path) -> None:
    assert both.chosen is both.shown is both.trained[1]
    assert both.to_dict()["chosen"] == "ease"
    assert "ease *" in both.to_text()
    assert "* best ndcg@5 on validation" in both.to_text()
    pages = written(both, tmp_path)
    assert "ease (chosen on validation)" in pages["md"]
    assert "nothing was chosen" not in pages["md"] + pages["html"]
    assert [row.chosen for row in build_report(both, "Title").rankers] == [False, True]


def test_without_validation_nothing_is_chosen_and_that_is_said(unchosen: Comparison, tmp_path: Path) -> None:
    assert unchosen.chosen is None
    assert unchosen.to_dict()["chosen"] is None
    assert unchosen.to_dict()["choice"] == NONE
    text, pages = unchosen.to_text(), written(unchosen, tmp_path)
    assert NONE in text.splitlines()
    assert "*" not in text
    for page in pages.values():
        assert NONE in page
        assert "chosen on validation" not in page
        assert "best on validation" not in page
    assert "ease against popularity" in text


def test_lists_are_then_of_the_first_ranker_and_say_so(unchosen: Comparison, capsys: pytest.CaptureFixture) -> None:
    lists, model = demo._lists(unchosen.workflow, unchosen, {"user": "u1", "liked": ["i1"]})
    assert unchosen.shown is unchosen.trained[0]
    assert isinstance(model.ranker, Popularity)
    assert f"Ranked by popularity (the first ranker; {NONE});" in lists[0].explanation
    assert "For user u1:" in capsys.readouterr().out


def test_lists_are_of_the_chosen_ranker_where_there_is_one(both: Comparison) -> None:
    lists, model = demo._lists(both.workflow, both, {"user": "u1", "liked": ["i1"]})
    assert isinstance(model.ranker, EASE)
    assert lists[0].explanation.startswith("Ranked by ease; ")


@pytest.mark.parametrize(("more", "reference"), [((), "ease"), (("split.ratios=[8, 0, 2]",), "popularity")])
def test_the_demo_compares_with_the_best_or_with_the_first(raw: Path, more: tuple[str, ...], reference: str) -> None:
    workflow = Workflow(read_config(None, settings(raw, *more)), log=lambda message: None)
    wanted = [{"name": "popularity"}, {"name": "ease", "regularisation": 10.0}]
    assert demo._measure(workflow, wanted).reference == reference


def artifact(**best: float) -> Artifact:
    return Artifact(Path(), {"results": {"best": best}})


def test_only_rankers_with_the_metric_can_be_best() -> None:
    low, high, other, broken = artifact(a=0.1), artifact(a=0.2), artifact(b=0.9), artifact(a=float("nan"))
    assert best_on_validation([other, low, broken, high, artifact(a=0.2)], "a") is high
    assert best_on_validation([artifact(a=0.0), other], "a") is not None
    assert best_on_validation([other, broken], "a") is None
    assert best_on_validation([], "a") is None


def test_rankers_judged_by_another_metric_are_not_chosen(both: Comparison) -> None:
    none = [replace(one, manifest=one.manifest | {"results": one.manifest["results"] | {"best": {}}})
            for one in both.trained]  # fmt: skip
    found = replace(both, trained=none)
    assert found.chosen is None
    assert found.choice == "no ranker has ndcg@5 on validation: nothing was chosen"


def test_users_whom_a_ranker_does_not_know_are_counted_in_its_row(both: Comparison) -> None:
    first, second = both.evaluations
    told = replace(second, protocol={**second.protocol, "users_by_popularity": 1200})
    report = build_report(replace(both, evaluations=[first, told]), "Title")
    assert [row.note for row in report.rankers] == ["", "1,200 users whom it does not know were shown popular items"]
    assert "users_by_popularity" not in report.protocol


# -- experiments/search.py ---------------------------------------------------------------------------------------


@pytest.fixture
def search() -> ModuleType:
    spec = importlib.util.spec_from_file_location("search_script", SEARCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def experiment(folder: Path, ratios: list[int], rankers: str) -> Path:
    (folder / "config.toml").write_text(
        f'[data]\nsource = "own"\nraw = "."\n[data.options]\ninteractions = "a.csv"\n[items]\ntext = "none"\n'
        f'[split]\nratios = {ratios}\n[evaluation]\nks = [5]\nmetric = "ndcg@5"\nresamples = 200\n'
    )
    (folder / "search.toml").write_text(rankers)
    return folder


RANKERS = '[[rankers]]\nname = "popularity"\n[[rankers]]\nname = "ease"\nregularisation = [1.0, 100.0]\n'


@pytest.mark.parametrize(
    ("ratios", "rankers", "more", "said"),
    [
        ([8, 0, 2], RANKERS, (), "error: setting split: it has no validation part to choose settings on"),
        ([8, 1, 1], "", (), "it names no rankers"),
        ([8, 1, 1], RANKERS, ("--only", "eese"), "One of: popularity, ease."),
        ([8, 1, 1], '[[rankers]]\nname = "eese"\n', (), "Did you mean 'ease'"),
        ([8, 1, 1], "[[", (), "not valid TOML"),
    ],
)
def test_a_search_that_cannot_be_ends_before_training(
    search: ModuleType, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
    ratios: list[int], rankers: str, more: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("RECSYS_DATA", str(raw))
    folder = experiment(tmp_path, ratios, rankers)
    assert search.main([str(folder), "--artifacts", str(tmp_path / "artifacts"), *more]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "\n  try: " in told
    assert not list((tmp_path / "artifacts").glob("ranker/*"))


def test_a_search_chooses_on_validation_and_writes_it_down(
    search: ModuleType, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("RECSYS_DATA", str(raw))
    folder = experiment(tmp_path, [8, 1, 1], RANKERS)
    assert search.main([str(folder), "--artifacts", str(tmp_path / "artifacts")]) == 0
    kept: dict[str, Any] = json.loads((folder / "results.json").read_text())
    ease = kept["rankers"][1]
    tried = [trial["valid"]["ndcg@5"] for trial in ease["trials"]]
    assert len(tried) == 2
    assert ease["valid"]["ndcg@5"] == max(tried)
    assert [row["name"] for row in kept["differences"]] == ["popularity", "ease"]
    assert "(chosen on validation)" in (folder / "table.md").read_text()
    assert "* best ndcg@5 on validation" in capsys.readouterr().out
