"""Lists for everybody: the same as one by one, on any number of workers, and on where it was."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recsys import batch
from recsys.batch import recommend_all
from recsys.core.errors import ConfigError, DataError
from recsys.core.runtime import Run
from recsys.executing import make_executor
from recsys.runconfig import read_config
from recsys.serving.recommender import Recommender
from recsys.workflow import Workflow

QUIET = Run(log=lambda message: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("batch")
    overrides = (f"run.artifacts={str(root)!r}", "items.text=none", "items.image=none", "ranker.name=popularity")
    workflow = Workflow(read_config(None, overrides), log=lambda message: None)
    return workflow.train().path, root


def everybody(trained, out: Path, executor: str = "serial", workers: int = 1, filters: tuple[str, ...] = ()):
    ranker, root = trained
    with make_executor(executor, workers) as chosen:
        return recommend_all(ranker, root, out, k=5, filters=filters, executor=chosen, run=QUIET)


def test_lists_are_those_that_each_user_gets(trained, tmp_path) -> None:
    done = everybody(trained, tmp_path / "lists.parquet", filters=("genre:Comedy",))
    table = pl.read_parquet(done.path)
    assert (done.users, done.rows, len(table)) == (943, 943 * 5, 943 * 5)
    model = Recommender.load(trained[0], artifacts=trained[1])
    for user in ("22", "196"):
        mine = table.filter(pl.col("user_id") == user)
        told = model.recommend(user, k=5, filter="genre:Comedy", reasons=False)
        assert mine["item_id"].to_list() == [one.item_id for one in told]
        assert mine["score"].to_list() == [one.score for one in told]
        assert mine["place"].to_list() == [1, 2, 3, 4, 5]
    assert [path.name for path in tmp_path.iterdir()] == ["lists.parquet"]


@pytest.mark.slow
def test_two_workers_give_the_same_file(trained, tmp_path, monkeypatch) -> None:
    one = everybody(trained, tmp_path / "one.parquet")
    monkeypatch.setattr(batch, "USERS", 100)
    two = everybody(trained, tmp_path / "two.parquet", "local", 2)
    assert pl.read_parquet(one.path).equals(pl.read_parquet(two.path))


def test_what_was_done_is_not_done_again(trained, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(batch, "USERS", 100)
    written, write = [], batch.write_part

    def failing(part):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(part.first)
        return write(part)

    monkeypatch.setattr(batch, "write_part", failing)
    with pytest.raises(KeyboardInterrupt):
        everybody(trained, tmp_path / "lists.parquet")
    assert not (tmp_path / "lists.parquet").exists()
    again = []
    monkeypatch.setattr(batch, "write_part", lambda part: again.append(part.first) or write(part))
    everybody(trained, tmp_path / "lists.parquet")
    assert sorted(written + again) == list(range(0, 943, 100))


def test_what_cannot_be_asked_for_is_refused_before_anything_is_scored(trained, tmp_path) -> None:
    with pytest.raises(ConfigError, match="parquet"):
        everybody(trained, tmp_path / "lists.csv")
    with pytest.raises(DataError, match="not understood"):
        everybody(trained, tmp_path / "lists.parquet", filters=("nonsense",))
    assert list(tmp_path.iterdir()) == []
