"""Cache, budget and accounting: asked once, kept through a kill, stopped in time, forgotten with its user."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from fakes import Fake

from recsys.core.errors import ArtifactError
from recsys.core.runtime import Run
from recsys.profiles.llm.budget import Budget, BudgetError, BudgetSettings
from recsys.profiles.llm.cache import AnswerCache, question_key
from recsys.profiles.llm.protocol import LanguageModelError, ask
from recsys.profiles.llm.session import Session


def session(tmp_path, answer=str.upper, likes=lambda prompt, choice: -len(choice), **limits) -> Session:
    budget = Budget(BudgetSettings(**limits))
    return Session(Fake(answer, likes), AnswerCache(tmp_path / "answers.sqlite"), budget)


def test_answers_come_in_order_and_each_question_is_asked_once(tmp_path) -> None:
    first = session(tmp_path)
    assert first.generate(["a b", "c", "a b", "d"], max_tokens=5, run=Run()) == ["A B", "C", "A B", "D"]
    assert sorted(first.model.asked) == ["a b", "c", "d"]
    again = session(tmp_path)
    assert again.generate(["d", "a b"], max_tokens=5, run=Run()) == ["D", "A B"]
    assert again.model.asked == []
    assert (again.budget.used.hits, again.budget.used.calls) == (2, 0)
    assert (first.budget.used.calls, first.budget.used.tokens_in, first.budget.used.tokens_out) == (3, 4, 4)
    assert first.budget.used.seconds >= 0
    assert again.budget.used.per(2)["hits"] == 1000
    assert again.budget.used.per(2)["hit_share"] == 1.0


def test_a_question_is_another_one_when_anything_it_depends_on_is(tmp_path) -> None:
    chat = ask("s", "q")
    keys = {
        question_key(model, prompt, told) for model in ("m", "n") for prompt in ("q", chat) for told in ({}, {"t": 1})
    }
    assert len(keys) == 8
    found = session(tmp_path)
    for more in ({"max_tokens": 5}, {"max_tokens": 6}, {"max_tokens": 5, "seed": 1}, {"max_tokens": 5, "seed": 2}):
        found.generate(["q"], run=Run(), **more)
    found.generate(["q"], run=Run(seed=9), max_tokens=5, seed=1)
    found.model.name = "fake 2"
    found.generate(["q"], run=Run(), max_tokens=5)
    assert len(found.model.asked) == 6
    found.generate(["q"], run=Run(seed=9), max_tokens=5)  # nothing is drawn, so the run's seed does not matter
    assert len(found.model.asked) == 6


def test_a_run_that_is_cut_off_goes_on_from_there(tmp_path) -> None:
    def breaks(prompt: str) -> str:
        if prompt == "p5":
            raise LanguageModelError("fake", "is gone", "Wait.")
        return prompt.upper()

    prompts = [f"p{n}" for n in range(8)]
    broken = session(tmp_path, breaks)
    with pytest.raises(LanguageModelError):
        broken.generate(prompts, max_tokens=5, run=Run())
    mended = session(tmp_path)
    assert mended.generate(prompts, max_tokens=5, run=Run()) == [prompt.upper() for prompt in prompts]
    assert sorted(mended.model.asked) == ["p4", "p5", "p6", "p7"]  # batches of two, the last of a batch first
    assert mended.budget.used.hits == 4


def test_likelihoods_are_kept_exactly(tmp_path) -> None:
    first = session(tmp_path, likes=lambda prompt, choice: -1 / 3 * len(choice))
    told = first.score("p", ["a", "bcd"], run=Run())
    again = session(tmp_path)
    kept = again.score("p", ["a", "bcd"], run=Run())
    np.testing.assert_array_equal(told.log, kept.log)
    assert kept.lengths.tolist() == [1, 1]
    assert again.model.asked == []
    again.score("p", ["bcd", "a"], run=Run())
    assert len(again.model.asked) == 1


def test_damaged_entries_are_asked_again(tmp_path) -> None:
    first = session(tmp_path)
    first.generate(["a"], max_tokens=5, run=Run())
    first.score("p", ["a"], run=Run())
    for broken in ("not json", '{"text": 3}', "[]", '{"log": [1, 2], "lengths": [1], "tokens_in": 1}'):
        with sqlite3.connect(tmp_path / "answers.sqlite") as file:
            file.execute("UPDATE answers SET value = ?", (broken,))
        again = session(tmp_path)
        assert again.generate(["a"], max_tokens=5, run=Run()) == ["A"]
        assert again.score("p", ["a"], run=Run()).log.tolist() == [-1.0]
        assert len(again.model.asked) == 2


def test_another_file_is_refused_with_a_remedy(tmp_path) -> None:
    (tmp_path / "answers.sqlite").write_text("this is no database, but long enough to look like one" * 50)
    with pytest.raises(ArtifactError, match="only a cache: delete the file"):
        session(tmp_path).generate(["a"], max_tokens=5, run=Run())


def test_the_budget_stops_before_it_is_exceeded_and_keeps_what_is_done(tmp_path) -> None:
    found = session(tmp_path, tokens=20)
    with pytest.raises(BudgetError, match=r"raise llm.budget.tokens and run again"):
        found.generate([f"{n} b" for n in range(10)], max_tokens=3, run=Run())
    used = found.budget.used
    assert 0 < used.tokens_in + used.tokens_out <= 20
    assert len(found.cache) == used.calls == 4
    more = session(tmp_path)
    more.generate([f"{n} b" for n in range(10)], max_tokens=3, run=Run())
    assert more.budget.used.calls == 6


def test_cost_follows_the_prices_and_its_limit_holds(tmp_path) -> None:
    found = session(tmp_path, price_in=1_000_000, price_out=2_000_000, cost=20)
    found.generate(["a b"], max_tokens=2, run=Run())
    assert found.budget.used.cost == 2 + 2 * 2
    with pytest.raises(BudgetError, match="is spent"):
        found.generate(["c d e f g h i j"], max_tokens=4, run=Run())
    assert found.generate(["a b"], max_tokens=2, run=Run()) == ["A B"]  # what is kept costs nothing
    assert found.budget.used.cost == 6


def test_a_user_is_forgotten_without_a_trace(tmp_path) -> None:
    found = session(tmp_path, answer=lambda prompt: f"secret of {prompt}")
    found.generate(["ann", "both", "bob"], max_tokens=5, run=Run(), owners=["u-ann", "u-ann", "u-bob"])
    found.generate(["both"], max_tokens=5, run=Run(), owners=["u-bob"])
    assert found.cache.forget("u-ann") == 2
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"secret of ann" not in raw
    assert b"u-ann" not in raw
    assert b"u-bob" not in raw  # as a hash only
    assert b"secret of bob" in raw
    assert found.cache.forget("u-ann") == 0
    assert len(found.cache) == 1


def test_without_a_file_answers_are_kept_in_memory(tmp_path) -> None:
    found = Session(Fake(str.upper), AnswerCache(None))
    assert found.generate(["a"], max_tokens=1, run=Run()) == found.generate(["a"], max_tokens=1, run=Run()) == ["A"]
    assert (found.budget.used.calls, found.budget.used.hits) == (1, 1)
    assert AnswerCache(tmp_path / "none").get("k") is None
    assert not list(tmp_path.iterdir())
