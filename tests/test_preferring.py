"""Soft tokens of a run: learned once, kept, asked for anybody, and a re-ranker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_querying import workflow

from recsys.cli import main
from recsys.core.errors import ConfigError, DataError
from recsys.core.values import Query
from recsys.portrait import Asked, answer
from recsys.preferring import Preferring
from recsys.rankers.store import load_ranker

SHORT = {"epochs": 1, "dim": 8, "steps": 60, "epoch_tokens": 1_500, "valid_users": 8, "batch_size": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("preferring")


def test_tokens_are_learned_once_and_asked_for_anybody(folder: Path) -> None:
    first, again = Preferring(workflow(folder), SHORT), Preferring(workflow(folder), SHORT)
    made = first.fitted()
    assert again.fitted().key == made.key
    assert {file.name for file in made.path.iterdir()} >= {"soft_tokens.safetensors", "manifest.json", "card.md"}
    assert not list((made.path / "training").iterdir())
    assert made.manifest["results"]["rows"][0]["epoch"] == 0
    assert Preferring(workflow(folder), {**SHORT, "tokens": 3}).fitted().key != made.key
    data, histories = first.workflow.dataset, first.workflow.loaded_split.train.histories
    found = first.of(data.users[0])
    assert found == again.preferred(histories[0])
    assert again.of(None, data.titles(histories[0])) == found
    assert not {title for title, _ in found.titles} & set(data.titles(histories[0]))
    gains = [gain for _, gain in found.titles]
    assert gains == sorted(gains, reverse=True)
    assert found.titles != first.of(data.users[1]).titles
    with pytest.raises(DataError, match="'nobody': not in the data set"):
        again.of("nobody")


def test_it_re_ranks_the_lists_of_a_ranker(folder: Path) -> None:
    preferring = Preferring(workflow(folder), SHORT)
    run = preferring.workflow
    base = load_ranker(run.train({"name": "popularity"}).path)
    query = Query.of_users(run.loaded_split.train, np.arange(4))
    before, after = base.score(query), preferring.reranker(base, top=8).score(query)
    assert (before != after).any(axis=1).all()
    np.testing.assert_array_equal(np.sort(before, axis=1), np.sort(after, axis=1))


def test_the_profile_tells_what_the_model_prefers(folder: Path) -> None:
    run = workflow(folder, *(f"llm.soft_tokens.{name}={value}" for name, value in SHORT.items()))
    user = run.dataset.users[2]
    found = answer(run, Asked(user=user, prefers=True))
    assert found.preferred == Preferring(run).of(user)
    assert f"prefers: {found.preferred.titles[0][0]}" in found.to_text()
    assert found.to_dict()["prefers"] == found.preferred.to_list()
    with pytest.raises(DataError, match="without one profile"):
        answer(run, Asked(sample=2, prefers=True))


def test_mistakes_are_said(folder: Path) -> None:
    remote = ("llm.options.openai.model='m'", "llm.options.openai.base_url='http://localhost:1/v1'")
    for name, options in (("none", ()), ("openai", remote)):
        with pytest.raises(ConfigError, match=f"llm.model '{name}' is none that reads tokens"):
            Preferring(workflow(folder, f"llm.model='{name}'", *options))
    with pytest.raises(ConfigError, match="Did you mean 'tokens'"):
        Preferring(workflow(folder, "llm.soft_tokens.token=3"))
    done = CliRunner().invoke(main, ["doctor", "--settings", "llm.soft_tokens"])
    assert done.exit_code == 0, done.output
    assert "evening" in done.output
