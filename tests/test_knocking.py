"""What a modality is worth, where it is known: only the picture reveals taste, the text is noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.comparison import Comparison
from recsys.core.errors import ArtifactError, ConfigError
from recsys.core.values import Split
from recsys.evaluation.knockout import Knockout
from recsys.knocking import Knocked, Knocking
from recsys.reporting import knockout_section, write_comparison
from recsys.runconfig import read_config
from recsys.workflow import Workflow

from worlds import content_world

CONTENT = {"name": "content_knn", "k": 8}
LOST = "the gain over going without them is lost when they are shuffled"
LEARNED = {"name": "vbpr", "epochs": 15, "learning_rate": 0.05, "embedding_dim": 8, "content_dim": 8, "batch_size": 32}


def write_world(folder: Path) -> Path:
    """Write ``content_world("image")`` as files that a source reads, with its split and both feature matrices."""
    world, features = content_world("image")
    folder.mkdir()
    for name in ("train", "valid", "test"):
        write_part(folder / f"{name}.tsv", world, name)
    for name, matrix in features.matrices.items():
        np.save(folder / f"{name}_feat.npy", matrix)
    return folder


def write_part(path: Path, world: Split, name: str) -> None:
    part = getattr(world, name)
    rows = [f"{user}\t{item}" for user, item in zip(part.user_idx, part.item_idx, strict=True)]
    path.write_text("\n".join(["user\titem", *rows]) + "\n")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world") / "raw")


def settings(raw: Path, *more: str) -> tuple[str, ...]:
    return (
        "data.source=mmssl", f"data.raw={str(raw)!r}", "split.kind=given", "evaluation.ks=[2]",
        "evaluation.metric=recall@2", "evaluation.resamples=400", f"run.artifacts={str(raw.parent / 'artifacts')!r}",
        *more,
    )  # fmt: skip


def workflow(raw: Path, *more: str) -> Workflow:
    return Workflow(read_config(None, settings(raw, *more)), log=lambda message: None)


def compared(flow: Workflow, *rankers: dict) -> Comparison:
    trained = [flow.train(ranker) for ranker in rankers]
    return Comparison.from_artifacts(flow, trained, [flow.evaluate(one) for one in trained], "test", None)


@pytest.fixture(scope="module")
def knocking(raw: Path) -> Knocking:
    fusion = {"name": "fusion", "k": 2, "candidates": 10, "members": [{"name": "popularity"}, CONTENT]}
    return Knocking.of(compared(workflow(raw), CONTENT, fusion, {"name": "ease"}), "image,text")


def row(knocking: Knocking, ranker: str, modalities: tuple[str, ...], how: str, when: str):
    wanted = (ranker, Knockout(how, modalities), when)
    return next(one for one in knocking.rows if (one.ranker, one.knockout, one.when) == wanted)


@pytest.mark.parametrize("ranker", ["content_knn", "fusion"])
@pytest.mark.parametrize("when", ["training", "test"])
@pytest.mark.parametrize("how", ["shuffle", "noise"])
def test_without_the_picture_the_gain_is_lost_and_without_the_text_it_is_not(
    knocking: Knocking, ranker: str, when: str, how: str
) -> None:
    lost_and_kept(knocking, ranker, when, how)


@pytest.mark.slow
def test_a_learned_ranker_loses_it_just_the_same(raw: Path) -> None:
    found = Knocking.of(compared(workflow(raw), LEARNED), "image,text")
    for when in ("training", "test"):
        for how in ("shuffle", "noise", "zero"):
            lost_and_kept(found, "vbpr", when, how)


def lost_and_kept(knocking: Knocking, ranker: str, when: str, how: str) -> None:
    intact = next(one for one in knocking.rows if one.ranker == ranker and one.knockout is None)
    assert intact.figures["mean"] > 0.4  # 2 of 3 at most; chance is 2 of 24
    lost, kept = (row(knocking, ranker, (name,), how, when).figures for name in ("image", "text"))
    assert lost["difference"] < -0.25
    assert lost["high"] < 0
    assert lost["p_holm"] < 0.05
    assert kept["mean"] > 0.8 * intact.figures["mean"]


def test_absent_pictures_lose_it_too_and_all_absent_cannot_be(knocking: Knocking) -> None:
    for when in ("training", "test"):
        assert row(knocking, "content_knn", ("image",), "zero", when).figures["difference"] < -0.25
        nothing = row(knocking, "content_knn", ("image", "text"), "zero", when)
        assert not nothing.figures
        assert "reads item features, and there are none" in nothing.note


def test_each_modality_is_knocked_out_and_then_all_and_who_reads_none_is_left_out(knocking: Knocking) -> None:
    assert {one.ranker for one in knocking.rows} == {"content_knn", "fusion"}
    groups = {one.knockout.modalities for one in knocking.rows if one.knockout}
    assert groups == {("image",), ("text",), ("image", "text")}
    assert len(knocking.rows) == 2 * (1 + 3 * 3 * 2)


def test_it_is_said_in_sentences_and_stands_in_table_json_and_report(knocking: Knocking, tmp_path: Path) -> None:
    said = {sentence.split(":")[0]: sentence for sentence in knocking.sentences()}
    assert LOST in said["content_knn, image vectors"]
    assert "no gain over going without them is shown; no loss is shown when they" in said["content_knn, text vectors"]
    told = json.loads(json.dumps(knocking.to_dict()))
    assert told["rows"][0]["how"] == "intact"
    assert len(knocking.table()) == 2 * (1 + 9)
    assert all(set(line) == set(knocking.table()[0]) for line in knocking.table())
    section = knockout_section(knocking)
    page = write_comparison(knocking.comparison, tmp_path / "r.html", sections=[section]).read_text()
    assert "What the modalities are worth" in page
    assert LOST in page


@pytest.mark.parametrize(
    ("shuffle", "zero", "said"),
    [
        (-0.1, -0.1, LOST),
        (-0.1, 0.0, "no gain over going without them is shown; it loses when they are shuffled"),
        (-0.1, 0.1, "it does better without them; it loses when they are shuffled"),
        (-0.1, None, "going without them could not be trained; it loses when they are shuffled"),
        (0.0, -0.1, "shuffled: that the gain is what they tell of each item is not shown"),
        (0.0, 0.0, "no gain over going without them is shown; no loss is shown when they are shuffled"),
        (0.0, None, "going without them could not be trained; no loss is shown when they are shuffled"),
        (0.1, -0.1, "there is a gain over going without them; it does better when they are shuffled"),
        (0.1, None, "going without them could not be trained; it does better when they are shuffled"),
    ],
)
def test_a_gain_is_what_is_lost_by_going_without(
    knocking: Knocking, shuffle: float, zero: float | None, said: str
) -> None:
    def made(how: str, gap: float | None) -> Knocked:
        p = 0.001 if gap else 0.8
        figures = {} if gap is None else {"difference": gap, "low": gap - 0.01, "high": gap + 0.01, "p_holm": p}
        return Knocked("some", Knockout(how, ("image",)), "training", figures, {})

    found = Knocking(knocking.comparison, [("image",)])
    vars(found)["rows"] = [made("shuffle", shuffle), made("zero", zero)]
    (sentence,) = found.sentences()
    assert said in sentence
    assert ("there is a gain" in sentence or LOST in sentence) == (zero == -0.1)


def test_the_weights_that_a_fusion_learned_each_time_are_told(knocking: Knocking) -> None:
    intact = next(one for one in knocking.rows if one.ranker == "fusion" and one.knockout is None)
    assert intact.weights["content_knn"] > 0.9 > 0.1 > intact.weights["popularity"]
    anew = row(knocking, "fusion", ("text",), "shuffle", "training").weights
    assert sum(anew.values()) == pytest.approx(1.0)
    assert any(line.startswith("weights of fusion: popularity 0.0") for line in knocking.notes())


def test_a_ranker_trained_so_is_no_ranker_by_name(raw: Path, tmp_path: Path) -> None:
    flow = workflow(raw, f"run.artifacts={str(tmp_path)!r}")
    usual = flow.train(CONTENT)
    knocked = flow.train(CONTENT, knockout=Knockout("shuffle", ("image",)))
    assert knocked.kind == "knockout"
    assert flow.open_ranker("content_knn").key == usual.key != knocked.key
    assert flow.train({"name": "ease"}, knockout=Knockout("zero", ("text",))).kind == "ranker"


def test_a_ranker_that_cannot_swap_gets_a_dash_at_test(raw: Path) -> None:
    found = Knocking.of(compared(workflow(raw), {"name": "content_ease", "regularisation": 20.0}), "image")
    asked = row(found, "content_ease", ("image",), "shuffle", "test")
    assert not asked.figures
    assert "cannot be given other features" in asked.note
    assert row(found, "content_ease", ("image",), "shuffle", "training").figures["difference"] < -0.25
    assert found.table()[1]["recall@2 asked so"] == "–"


def test_a_modality_that_a_ranker_does_not_read_is_not_knocked_out_of_it(raw: Path) -> None:
    both = compared(workflow(raw), {**CONTENT, "modalities": ["text"]}, {**CONTENT, "modalities": ["image"]})
    found = Knocking.of(both, "all")
    met = {(one.ranker, one.knockout.modalities) for one in found.rows if one.knockout}
    assert met == {(both.names[0], ("text",)), (both.names[1], ("image",))}


@pytest.mark.parametrize(
    ("rankers", "wanted", "said"),
    [
        ([{"name": "ease"}], "image", "no ranker compared reads item features"),
        ([CONTENT], "imgae", "Did you mean 'image'"),
        ([CONTENT], "audio", "Known: all, image, text"),
    ],
)
def test_what_cannot_be_knocked_out_is_said(raw: Path, rankers: list[dict], wanted: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Knocking.of(compared(workflow(raw), *rankers), wanted)


def test_other_seeds_of_evaluation_do_not_change_what_it_was_trained_with(raw: Path) -> None:
    trained = workflow(raw).train(CONTENT)
    flow = workflow(raw, "run.seed=5")
    comparison = Comparison.from_artifacts(flow, [trained], [flow.evaluate(trained)], "test", None)
    assert Knocking.of(comparison, "text").rows[1].figures
    kept = {one.config["seed"] for one in flow.store.list("knockout") if one.config["ranker"]["name"] == "content_knn"}
    assert kept == {0}


def test_vectors_of_another_encoder_are_refused(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = workflow(raw)
    comparison = compared(flow, CONTENT)
    stranger = flow.train({"name": "ease"})  # stands for vectors that were made otherwise
    monkeypatch.setattr(Workflow, "items", lambda self, only=(): {"text": stranger})
    knocking = Knocking(comparison, [("image",)])
    with pytest.raises(ArtifactError, match="other item vectors"):
        _ = knocking.rows


def test_the_verb(raw: Path, knocking: Knocking) -> None:
    assert knocking.rows
    given = [argument for text in settings(raw, "ranker={name='content_knn', k=8}") for argument in ("--set", text)]
    done = CliRunner().invoke(main, ["evaluate", "-q", "--knockout", "image", *given])
    assert done.exit_code == 0, done.output
    assert LOST in done.output
    told = CliRunner().invoke(main, ["evaluate", "-q", "--json", "--knockout", "image", *given])
    rows = json.loads(told.stdout)["knockout"]["rows"]
    assert [row["how"] for row in rows] == ["intact", "shuffle", "shuffle", "zero", "zero", "noise", "noise"]
    failed = CliRunner().invoke(main, ["evaluate", "-q", "--knockout", "imgae", *given])
    assert failed.exit_code == 2
    assert "Did you mean 'image'" in failed.output
