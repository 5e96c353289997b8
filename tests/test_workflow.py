"""The steps as artifacts: what changes a result changes its key, and nothing else does."""

from __future__ import annotations

import os
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from recsys.core.errors import ArtifactError, ConfigError
from recsys.runconfig import RunConfig, read_config
from recsys.workflow import Workflow

from plugtexts import encoder_text, ranker_text

ROWS = [f"u{user},i{(user * 7 + place * 3) % 20},{1 + place % 5},{place}" for user in range(30) for place in range(9)]


def make_raw(folder: Path) -> Path:
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "a.csv").write_text("user_id,item_id,rating,timestamp\n" + "\n".join(ROWS) + "\n")
    return folder


def workflow(raw: Path, *overrides: str, artifacts: Path | None = None) -> Workflow:
    settings = (
        "data.source=own", f"data.raw={str(raw)!r}", "data.options.interactions=logs/*.csv", "items.text=none",
        "evaluation.ks=[5]", "evaluation.metric=ndcg@5", "ranker.regularisation=10",
        f"run.artifacts={str(artifacts or raw.parent / 'artifacts')!r}", *overrides,
    )  # fmt: skip
    return Workflow(read_config(None, settings), log=lambda message: None)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return make_raw(tmp_path / "raw")


def test_a_changed_file_in_a_subfolder_is_other_data(raw: Path) -> None:
    before = workflow(raw).data()
    text = (raw / "logs" / "a.csv").read_text()
    (raw / "logs" / "a.csv").write_text("\n".join(text.splitlines()[:100]) + "\n")
    after = workflow(raw).data()
    assert after.key != before.key


def test_a_copy_of_the_same_files_is_the_same_data(raw: Path, tmp_path: Path) -> None:
    before = workflow(raw).data()
    shutil.copytree(raw, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "logs" / "a.csv", (1, 1))
    after = workflow(tmp_path / "copy", artifacts=raw.parent / "artifacts").data()
    assert after.path == before.path


def test_a_file_named_by_an_option_elsewhere_counts(raw: Path, tmp_path: Path) -> None:
    items = tmp_path / "elsewhere" / "items.csv"
    items.parent.mkdir()
    items.write_text("item_id,title\n" + "".join(f"i{n},Title {n}\n" for n in range(20)))
    option = f"data.options.items={str(items)!r}"
    before = workflow(raw, option).data()
    items.write_text("item_id,title\n" + "".join(f"i{n},Other {n}\n" for n in range(20)))
    assert workflow(raw, option).data().key != before.key


def test_results_kept_inside_of_the_raw_folder_are_not_data(raw: Path) -> None:
    first = workflow(raw, artifacts=raw / "artifacts").train()
    again = workflow(raw, artifacts=raw / "artifacts").train()
    assert again.path == first.path


def test_one_workflow_holds_one_state_of_the_files(raw: Path) -> None:
    one = workflow(raw)
    one.data()
    (raw / "logs" / "a.csv").write_text("user_id,item_id\nu1,i1\nu1,i2\nu1,i3\n")
    trained = one.train()
    assert one.split().manifest["results"]["train"] > 100
    assert one.evaluate(trained).manifest["parents"][1]["key"] == one.split().key


def test_a_plug_in_whose_code_changed_is_another_ranker(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    keys = []
    for sign in ("1", "-1 "):  # of another length, or Python would take its cached bytecode for the new source
        (tmp_path / "my_ranker.py").write_text(ranker_text("Mine", sign))
        sys.modules.pop("my_ranker", None)
        import linecache

        linecache.clearcache()
        keys.append(workflow(raw).train({"name": "my_ranker:Mine"}).key)
    assert keys[0] != keys[1]


def test_a_ranker_of_another_split_is_not_measured(raw: Path) -> None:
    trained = workflow(raw).train()
    with pytest.raises(ArtifactError, match="another split"):
        workflow(raw, "split.seed=9").evaluate(trained)


def test_a_name_means_the_ranker_of_this_split(raw: Path) -> None:
    first = workflow(raw).train()
    workflow(raw, "split.seed=9").train()
    assert workflow(raw).open_ranker("ease").path == first.path


def test_another_ranker_leaves_the_settings_of_the_files_own_behind(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[ranker]\nname = 'lightgcn'\nnum_layers = 2\nepochs = 5\n")
    assert read_config(path).ranker == {"name": "lightgcn", "num_layers": 2, "epochs": 5}
    assert read_config(path, ("ranker.name=sasrec", "ranker.max_length=9")).ranker == {
        "name": "sasrec",
        "max_length": 9,
    }
    assert read_config(path, ("ranker.name=lightgcn", "ranker.epochs=6")).ranker["num_layers"] == 2
    path.write_text("[ranker]\nregularisation = 5\n")  # of the default
    assert read_config(path, ("ranker.name=ials",)).ranker == {"name": "ials"}
    with pytest.raises(ConfigError, match="is a section, not a value"):
        read_config(path, ("ranker=ials",))


def test_a_folder_of_the_same_name_does_not_hide_an_artifact(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = workflow(raw).train()
    (tmp_path / "ease").mkdir()
    monkeypatch.chdir(tmp_path)
    assert workflow(raw).open_ranker("ease").path == first.path


def test_raw_is_a_folder_of_the_source_by_default() -> None:
    assert Workflow(RunConfig(), log=print)._raw == Path("data/raw/ml-100k")


def test_a_ranker_named_exactly_brings_its_own_split(raw: Path) -> None:
    trained = workflow(raw, "split.seed=9").train()
    plain = Workflow(read_config(None, (f"run.artifacts={str(raw.parent / 'artifacts')!r}",)), log=print)
    assert plain.open_ranker(trained.key).path == trained.path
    assert plain.split().manifest["config"]["seed"] == 9
    assert plain.dataset.name == "own"


def test_a_parent_that_is_gone_is_named(raw: Path) -> None:
    made = workflow(raw)
    trained = made.train()
    shutil.rmtree(made.data().path)
    plain = Workflow(read_config(None, (f"run.artifacts={str(raw.parent / 'artifacts')!r}",)), log=print)
    with pytest.raises(ArtifactError, match=r"data 'own'.*recsys data"):
        plain.open_ranker(str(trained.path))


def test_a_split_of_new_items_is_noted_beside_its_figures(raw: Path) -> None:
    from recsys.comparison import Comparison

    cold = Comparison.of(workflow(raw, "split.kind=cold_items"), [])
    assert "held-out interactions are of items that train does not have" in cold.to_text()
    assert "note:" not in Comparison.of(workflow(raw), []).to_text()


def test_an_artifacts_folder_that_is_a_file_is_said(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match="choose another artifacts folder"):
        workflow(raw, artifacts=tmp_path / "file").train()


def test_the_datas_own_vectors_are_read_unless_they_are_to_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "letters_of_workflow.py").write_text(encoder_text('[len(text), text.count("t") + 1]'))
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = [
        f"{user}\t{(user * 7 + place * 3) % 20}\t{0 if place < 7 else place - 6}"
        for user in range(30)
        for place in range(9)
    ]
    (raw / "shop.inter").write_text("userID\titemID\tx_label\n" + "\n".join(rows) + "\n")
    (raw / "items.csv").write_text("itemID,title\n" + "".join(f"{n},Title {n}\n" for n in range(20)))
    own = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.save(raw / "text_feat.npy", own)
    told: list[str] = []

    def flow(*more: str) -> Workflow:
        settings = (
            "data.source=mmrec", f"data.raw={str(raw)!r}", "split.kind=given", "items.image=none",
            "items.text=letters_of_workflow:Letters", "evaluation.ks=[5]", "evaluation.metric=ndcg@5",
            f"run.artifacts={str(tmp_path / 'artifacts')!r}", "ranker.name=content_knn", *more,
        )  # fmt: skip
        return Workflow(read_config(None, settings), log=told.append)

    kept = flow()
    ids = np.array([int(item) for item in kept.dataset.items])
    np.testing.assert_array_equal(kept.features()["text"], own[ids])
    first = kept.train()
    assert [parent["kind"] for parent in first.manifest["parents"]] == ["split"]
    (line,) = [line for line in told if "vectors that the data brings" in line]
    assert 'items.replace=["text"]' in line
    replaced = flow('items.replace=["text"]')
    assert replaced.features()["text"].shape == (20, 2)
    assert replaced.train().key != first.key
    told.clear()
    assert flow("items.text=none").train().key == first.key
    assert told == []
    assert flow().items()["text"].manifest["results"]["encoded"] == 20  # for search and profiles


NOTEBOOK = """
import polars as pl
from recsys.core.config import Settings as Base
from recsys.core.values import Tables
from recsys.data.sources._columns import no_items

frame = pl.DataFrame({"user_id": ["a", "a", "a", "b", "b", "b"] , "item_id": ["x", "y", "z", "x", "y", "w"]})

class Shop:
    class Settings(Base):
        pass
    def __init__(self, settings):
        self.settings = settings
    def tables(self, raw, *, run):
        return Tables(frame.lazy(), no_items())
"""


def test_a_source_of_a_notebook_is_read_anew_when_its_frame_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(cell: str) -> Workflow:
        module = types.ModuleType("notebook_of_workflow")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(cell, "<cell>", "exec"), module.__dict__)
        settings = (f"run.artifacts={str(tmp_path)!r}", "data.source=notebook_of_workflow:Shop", "items.text=none")
        return Workflow(read_config(None, settings), log=lambda line: None)

    before = run(NOTEBOOK)
    assert sorted(before.dataset.items) == ["w", "x", "y", "z"]
    assert run(NOTEBOOK).data().path == before.data().path
    after = run(NOTEBOOK.replace('"w"', '"v"'))
    assert sorted(after.dataset.items) == ["v", "x", "y", "z"]
    assert after.data().key != before.data().key
