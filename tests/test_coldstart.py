"""Cold start where the answer is known: only the picture tells what a new item is, only the history who a user is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.coldstart import ALL, ALONE, KNOWN, ColdStart, ranker_config
from recsys.coldtables import cold_text, item_table, user_table
from recsys.core.errors import ArtifactError, ConfigError
from recsys.reporting import write_cold
from recsys.runconfig import read_config
from recsys.workflow import Workflow

from worlds import content_world

OWN = """
import numpy as np
from recsys.rankers.popularity import Popularity

class Own(Popularity):
    '''Knows the users it was trained on, and nobody else.'''
    def can_score(self, query):
        return query.user_idx >= 0
"""
RANKERS = ("content_knn k=8", "ease regularisation=20", "popularity", "own_users:Own")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All interactions of ``content_world("image")`` in one part, with both feature matrices."""
    folder = tmp_path_factory.mktemp("world") / "raw"
    folder.mkdir()
    world, features = content_world("image")
    data = world.dataset.interactions
    rows = [f"{user}\t{item}" for user, item in zip(data.user_idx, data.item_idx, strict=True)]
    np.random.default_rng(0).shuffle(rows)  # the first items of a user are any
    (folder / "train.tsv").write_text("\n".join(["user\titem", *rows]) + "\n")
    for name, matrix in features.matrices.items():
        np.save(folder / f"{name}_feat.npy", matrix)
    return folder


def settings(raw: Path, *more: str) -> tuple[str, ...]:
    return (
        "data.source=mmssl", f"data.raw={str(raw)!r}", "split.cold_share=0.25", "evaluation.ks=[2]",
        "evaluation.metric=ndcg@2", "evaluation.resamples=200", f"run.artifacts={str(raw.parent / 'artifacts')!r}",
        *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> ColdStart:
    folder = tmp_path_factory.mktemp("plug_in")
    (folder / "own_users.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        start = ColdStart.of(Workflow(read_config(None, settings(raw)), log=lambda message: None), RANKERS)
        assert start.items
        assert start.newcomer_figures
        yield start


def by_name(rows: list[dict]) -> dict[str, dict]:
    return {row["ranker"]: row for row in rows}


def test_content_finds_cold_items_and_the_others_are_at_chance(found: ColdStart) -> None:
    alone, everything = by_name(found.item_rows(ALONE)), by_name(found.item_rows(ALL))
    n_cold = np.count_nonzero(found.cold.loaded_split.test.item_counts)
    assert n_cold == 8
    assert alone["content_knn"]["recall@2"]["cold"] > 0.8
    assert everything["content_knn"]["recall@2"]["cold"] > 0.8
    for name in ("ease", "popularity", "own_users:Own"):
        assert everything[name]["recall@2"]["cold"] < 0.1
        assert alone[name]["recall@2"]["cold"] == pytest.approx(2 / 8, abs=0.12)


def test_the_warm_figure_is_of_the_same_ranker_on_a_random_split(found: ColdStart) -> None:
    everything = by_name(found.item_rows(ALL))
    assert everything["ease"]["recall@2"]["warm"] > 0.9
    assert everything["popularity"]["recall@2"]["warm"] < 0.3
    split = found.warm.loaded_split
    assert split.kind == "random"
    assert found.warm.config.split.ratios == (0.75, 0.125, 0.125)
    row = everything["content_knn"]["ndcg@2"]
    assert row["ratio"] == pytest.approx(row["cold"] / row["warm"])
    assert row["harmonic"] == pytest.approx(2 * row["cold"] * row["warm"] / (row["cold"] + row["warm"]))
    best = max(other["ndcg@2"]["warm"] for other in everything.values())
    assert row["best"] == pytest.approx(row["cold"] / best)


def test_both_sides_choose_among_equally_many(found: ColdStart) -> None:
    """Popularity finds by chance alone: 2 of 8 on both sides, of which about 2 are the user's."""
    row = by_name(found.item_rows(ALONE))["popularity"]["recall@2"]
    assert row["warm"] == pytest.approx(2 / 8, abs=0.12)
    told = found.items["ease"]["warm", ALONE].protocol["ranking"]
    assert "8 together" in told


def test_a_cold_user_is_known_from_the_first_item_on(found: ColdStart) -> None:
    rows = by_name(found.user_rows("recall@2"))
    for known in (*map(str, KNOWN), "all", "trained"):
        assert rows["ease"][known] > 0.9
        assert rows["popularity"][known] < 0.3
    assert all(rows["own_users:Own"][str(n)] is None for n in KNOWN)
    assert rows["own_users:Own"]["trained"] is not None
    assert by_name(user_table(found, "recall@2"))["own_users:Own"]["1 known"] == "–"


def test_cold_users_are_in_no_part_that_is_learned_from(found: ColdStart) -> None:
    assert len(found.users) == 10
    split = found.newcomers.loaded_split
    assert not np.isin(split.train.user_idx, found.users).any()
    assert not np.isin(split.valid.user_idx, found.users).any()
    assert len(split.train) < len(found.warm.loaded_split.train)


def test_rankers_trained_for_it_are_not_meant_by_name(found: ColdStart, raw: Path) -> None:
    kinds = {one.manifest["name"]: one.kind for one in found.workflow.store.list() if "ease" in one.manifest["name"]}
    assert kinds["ease"] == "ranker"
    assert kinds["ease-cold_items"] == "cold_items"
    assert kinds["ease-cold_users"] == "cold_users"
    assert [one.key for one in found.workflow.store.named("ease", "ranker")] == [found.warm.train(found.rankers[1]).key]
    assert found.warm.open_ranker("ease").key == found.warm.train(found.rankers[1]).key
    same = ColdStart.of(Workflow(read_config(None, settings(raw, "split.kind=cold_items")), log=print), ["ease"])
    assert same.cold.aside == ""


def test_it_is_told_in_tables_json_and_report(found: ColdStart, tmp_path: Path) -> None:
    text = cold_text(found)
    assert "8 cold items" in text
    assert "content_knn finds cold items best: recall@2" in text
    assert len(item_table(found, ALL)) == 4
    told = json.loads(json.dumps(found.to_dict()))
    assert told["cold_users"] == 10
    assert [row["ranker"] for row in told["items"][ALL]] == [row["ranker"] for row in told["users"]["ndcg@2"]]
    page = write_cold(found, tmp_path / "cold.html").read_text()
    assert "Cold start on mmssl" in page
    assert "Cold users: ndcg@2 by how many of their items are known" in page
    table = write_cold(found, tmp_path / "cold.md").read_text()
    assert table.count("| content_knn |") == 4
    with pytest.raises(ArtifactError, match="another place"):
        write_cold(found, tmp_path / "absent" / "cold.md")


def test_two_of_a_name_are_numbered_and_settings_are_read() -> None:
    configs = [ranker_config("content_knn k=3"), ranker_config("content_knn")]
    assert [config["k"] for config in configs] == [3, 50]
    start = ColdStart(Workflow(read_config(None), log=print), configs)
    assert start.names == ["content_knn 1", "content_knn 2"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("eese", "Did you mean 'ease'"), ("ease regularization=3", "Did you mean 'regularisation'"), ("", "no ranker")],
)
def test_a_ranker_that_is_none_is_said(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ranker_config(name)


def test_the_verb(found: ColdStart, raw: Path) -> None:
    given = [argument for text in settings(raw) for argument in ("--set", text)]
    done = CliRunner().invoke(main, ["cold", "-q", "ease regularisation=20", "popularity", *given])
    assert done.exit_code == 0, done.output
    assert "Cold items, ranked among all unseen items:" in done.output
    told = CliRunner().invoke(main, ["cold", "-q", "--json", "ease regularisation=20", *given])
    assert json.loads(told.stdout)["users"]["recall@2"][0]["all"] > 0.9
    assert CliRunner().invoke(main, ["cold", "eese", *given]).exit_code == 2
