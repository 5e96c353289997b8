"""The query writer of a run: learned once, kept, and asked for anybody."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from profiles.lm import tiny
from profiles.test_query_writer import QUICK, WORDS, titled_chain, titles_of

from recsys.cli import main
from recsys.core.config import Settings
from recsys.core.errors import ConfigError, DataError
from recsys.core.values import Query
from recsys.portrait import Asked, answer
from recsys.querying import Querying
from recsys.runconfig import read_config
from recsys.workflow import Workflow

SHORT = {**QUICK, "epochs": 2, "epoch_tokens": 1_500, "valid_users": 8}


class Tiny:
    """A randomly initialised language model that knows the words of the world's titles."""

    writes_freely = False

    class Settings(Settings):
        pass

    def __init__(self, settings: Tiny.Settings) -> None:
        self.made = tiny(titled_chain(), words=WORDS)

    def identity(self) -> str:
        return "tiny"

    def module(self) -> tuple:
        return self.made


def workflow(folder: Path, *overrides: str) -> Workflow:
    """A run over ``titled_chain`` as files of one's own."""
    world = titled_chain()
    told = world.dataset.interactions
    rows = [f"u{user},i{item},{time}" for user, item, time in zip(told.user_idx, told.item_idx, told.timestamp)]  # noqa: B905
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    (raw / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    items = [json.dumps({"item_id": f"i{item}", "title": title}) for item, title in enumerate(titles_of(world))]
    (raw / "items.jsonl").write_text("\n".join(items))
    settings = (
        "data.source='own'", f"data.raw={str(raw)!r}", "data.options.items='items.jsonl'", "split.kind='leave_last'",
        f"run.artifacts={str(folder / 'artifacts')!r}", f"llm.model='{__name__}:Tiny'", *overrides,
    )  # fmt: skip
    return Workflow(read_config(None, settings), log=lambda line: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("querying")


def test_the_writer_is_learned_once_and_asked_for_anybody(folder: Path) -> None:
    first, again = Querying(workflow(folder), SHORT), Querying(workflow(folder), SHORT)
    made = first.fitted()
    assert again.fitted().key == made.key
    assert made.manifest["results"]["best_epoch"] in (1, 2)
    assert {file.name for file in made.path.iterdir()} >= {"writer.safetensors", "manifest.json", "card.md"}
    assert Querying(workflow(folder), {**SHORT, "rank": 4}).fitted().key != made.key
    history = [int(item) for item in first.workflow.loaded_split.train.histories[0][:2]]
    found = first.searched(history)
    assert found == again.searched(history)
    assert found.found
    known = set(first.workflow.dataset.titles(history))
    for one in found.to_list():
        assert len(one["brings"]) <= 3
        assert not known & set(one["brings"])
        assert f"“{one['search']}” brings" in found.to_text()
    user = first.workflow.dataset.users[0]
    whole = first.workflow.loaded_split.train.histories[0]
    assert again.of(user) == first.searched(whole)
    assert again.of(None, first.workflow.dataset.titles(history)) == found
    with pytest.raises(DataError, match="'nobody': not in the data set"):
        again.of("nobody")
    assert first.searched([]).to_text() == "searches: none, for there is no history"


def test_it_ranks(folder: Path) -> None:
    querying = Querying(workflow(folder), SHORT)
    split = querying.workflow.loaded_split
    users = np.arange(5)
    scores = querying.ranker.score(Query.of_users(split.train, users))
    assert scores.shape == (5, split.train.n_items)
    for user in users:
        assert not scores[user, split.train.histories[user]].any()
    assert (scores.max(axis=1) == 1).all()


def test_mistakes_are_said(folder: Path) -> None:
    for name in ("none", "openai"):
        options = ("llm.options.openai.base_url='http://here/v1'", "llm.options.openai.model='m'")
        with pytest.raises(ConfigError, match=f"llm.model '{name}' is none that can be fine-tuned"):
            Querying(workflow(folder, f"llm.model='{name}'", *options))
    with pytest.raises(ConfigError, match="Did you mean 'titles'"):
        Querying(workflow(folder, "llm.searches.title=3"))


def test_a_profile_shows_them(folder: Path) -> None:
    flow, user = workflow(folder), "u3"
    flow = flow.with_settings(*(f"llm.searches.{name}={json.dumps(value)}" for name, value in SHORT.items()),
                              "items.text='none'", "items.image='none'")  # fmt: skip
    found = answer(flow, Asked(user=user, searches=True))
    assert found.to_dict()["searches"] == Querying(flow).of(user).to_list()
    assert found.searched.to_text() in found.to_text()
    assert answer(flow, Asked(user=user)).to_dict()["searches"] is None
    liked = flow.dataset.titles([3, 4])
    assert answer(flow, Asked(liked=liked, searches=True)).searched == Querying(flow).of(None, liked)
    with pytest.raises(DataError, match="without one profile"):
        answer(flow, Asked(sample=3, searches=True))


def test_its_settings_are_explained() -> None:
    done = CliRunner().invoke(main, ["doctor", "--settings", "llm.searches"])
    assert done.exit_code == 0, done.output
    assert "history_weight" in done.output
