"""The query writer: what it learns, that the language model stays as it was, and that beams are the likeliest texts."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from profiles.lm import tiny

from recsys.core.artifact import read_arrays, write_arrays
from recsys.core.errors import ConfigError, DataError
from recsys.core.runtime import Run
from recsys.core.values import Histories, Interactions, Query, Split
from recsys.evaluation.evaluator import evaluate
from recsys.evaluation.task import EvaluationSettings
from recsys.profiles.llm.beams import beam_search
from recsys.profiles.llm.lora import LORA, twin
from recsys.profiles.preference import first_held_out
from recsys.profiles.queries import ItemSearch, QueryRanker, SearchSettings
from recsys.profiles.query_writer import QueryWriter, QueryWriterSettings, windows
from recsys.profiles.title_prompts import TitlePrompts

from worlds import chain, split_of

COLOURS, THINGS = ("red", "blue", "green", "black", "white"), ("moon", "river", "house", "garden", "train", "letter")
QUICK = {
    "epochs": 4, "batch_size": 8, "learning_rate": 1e-2, "opening": "seen :", "closing": "next :", "titles": 3,
    "title_tokens": 4, "windows": 6, "epoch_tokens": 4_000, "valid_users": 20, "patience": 6, "beams": 4, "queries": 4,
}  # fmt: skip
WORDS = ("seen", ";")


def titled_chain() -> Split:
    """``worlds.chain`` with a colour and a thing for a title: the next title follows from the last one."""
    split = chain()
    titles = [f"{COLOURS[item % 5]} {THINGS[item // 5]}" for item in range(30)]
    table = split.dataset.item_table.with_columns(pl.Series("title", titles))
    return replace(split, dataset=replace(split.dataset, item_table=table))


@pytest.fixture(scope="module")
def world() -> Split:
    return titled_chain()


def titles_of(world: Split) -> list[str]:
    return world.dataset.titles(range(len(world.dataset.items)))


def writer(world: Split, **changes) -> QueryWriter:
    return QueryWriter(*tiny(world, words=WORDS), QueryWriterSettings(**{**QUICK, **changes}))


def fitted(world: Split, run: Run | None = None, **changes) -> QueryWriter:
    made = writer(world, **changes)
    made.fit(world.train, titles_of(world), valid=world.valid, run=run or Run())
    return made


@pytest.fixture(scope="module")
def learned(world) -> QueryWriter:
    return fitted(world)


def recall(world: Split, queries, k: int = 1) -> float:
    scorer = QueryRanker(ItemSearch(world.dataset.item_table, SearchSettings(results=20, exact=True)), queries)
    settings = EvaluationSettings(ks=(1, 5), metric="recall@5", resamples=100)
    return evaluate(scorer, world, settings, run=Run()).summary[f"recall@{k}"]


def test_what_is_written_finds_the_next_item_and_for_a_strangers_history_it_does_not(world, learned) -> None:
    def of_strangers(query: Query) -> list[list[str]]:
        return learned.queries(query.histories.take((np.arange(len(query)) + 1) % len(query)))

    assert recall(world, learned.ask) > 0.9
    assert recall(world, of_strangers) < 0.2


def test_anybody_with_a_history_gets_searches_and_nobody_gets_the_own_titles(world, learned) -> None:
    titles = titles_of(world)
    lists = [[2, 9], [9], [], list(range(30)), [2, 9]]
    found = learned.queries(Histories.of(lists, 30))
    assert found[0][0] == titles[16]
    assert found[1][0] == titles[16]
    assert found[2] == []
    assert not set(found[3]) & set(titles)
    assert len(found[0]) == 4  # no beam is lost to the title that was taken
    assert found[4] == found[0]
    for history, queries in zip(lists, found, strict=True):
        assert len({one.casefold() for one in queries}) == len(queries) <= 4
        assert not {titles[item] for item in history} & set(queries)
    longer = learned.queries(Histories.of([[25, 3, 12, 20, 27, 4]], 30))
    assert longer == learned.queries(Histories.of([[20, 27, 4]], 30))  # only the latest are read


@pytest.mark.parametrize("popularity", [0.0, 2.0])
def test_only_titles_are_written_if_so_wished_by_likelihood_and_popularity(world, learned, popularity) -> None:
    titles, counts = titles_of(world), np.random.default_rng(0).integers(0, 50, size=30)
    settings, known = learned.settings, learned.prompts
    histories = Histories.of([[2, 9], [9, 16, 23]], 30)
    changes = {"catalogue": True, "beams": 30, "queries": 30, "repeats": True, "popularity": popularity}
    try:
        learned.settings = settings.model_copy(update=changes)
        learned.prompts = TitlePrompts(known.opening, known.closing, known.mark, known.titles, counts)
        found = learned.queries(histories)
    finally:
        learned.settings, learned.prompts = settings, known
    for row, queries in enumerate(found):
        assert sorted(queries) == sorted(titles)
        prompt = learned.prompts.prompt(histories[row], 3)
        likelihood = {}
        for item, title in enumerate(titles):
            ids = [*learned.prompts.titles[item], learned.prompts.mark]
            with torch.inference_mode():
                log = learned.model(torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
            likelihood[title] = sum(log[len(prompt) + place - 1, one].item() for place, one in enumerate(ids))
            likelihood[title] += popularity * np.log(counts[item] + 0.5)
        told = [likelihood[title] for title in queries]
        assert (np.diff(told) < 1e-4).all()


def test_only_lora_weights_learn_and_the_language_model_stays_as_it_was(world) -> None:
    made = writer(world, epochs=1, epoch_tokens=500)
    before = {name: value.clone() for name, value in made.base.state_dict().items()}
    wanted = {name: one.requires_grad for name, one in made.base.named_parameters()}
    prompt = torch.tensor([[3, 4, 5]])
    said = made.base(prompt).logits
    made.fit(world.train, titles_of(world), valid=None, run=Run())
    learned = made._learned()
    assert learned
    assert all(LORA in name for name in learned)
    for one in learned.values():
        one.grad = None
    made.loss(windows(world.train, 1, 3).take(np.arange(8))).backward()
    for name, one in learned.items():
        assert torch.isfinite(one.grad).all(), name
        assert one.grad.abs().max() > 0, name
    assert list(made.base.state_dict()) == list(before)  # no layer was added
    for name, one in made.base.named_parameters():
        assert torch.equal(one, before[name])
        assert one.requires_grad == wanted[name]
        assert one.grad is None
    assert torch.equal(made.base(prompt).logits, said)


def test_the_twin_shares_the_numbers_and_nothing_else(world) -> None:
    base, _ = tiny(world, words=WORDS)
    other = twin(base)
    pairs = list(zip(base.parameters(), other.parameters(), strict=True))
    assert all(one is not two and one.data_ptr() == two.data_ptr() for one, two in pairs)
    assert not {id(one) for one in base.modules()} & {id(one) for one in other.modules()}


@pytest.mark.parametrize("history_weight", [0.0, 0.5])
def test_the_loss_is_that_of_the_titles_tokens_alone(world, learned, history_weight) -> None:
    batch, prompts = windows(world.train, 2, 3).take(np.arange(5)), learned.prompts
    settings = learned.settings
    try:
        learned.settings = settings.model_copy(update={"history_weight": history_weight})
        found = learned.loss(batch).item()
    finally:
        learned.settings = settings
    total = counted = 0.0
    for row in range(5):
        seen = [[*prompts.titles[item], prompts.mark] for item in batch.histories[row]]
        parts = [(prompts.opening, 0.0), *((one, history_weight) for one in seen), (prompts.closing, 0.0)]
        parts.append(([*prompts.titles[batch.items[row]], prompts.mark], 1.0))
        ids = [token for part, _ in parts for token in part]
        weights = [weight for part, weight in parts for _ in part]
        log = learned.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        total -= sum(weights[place] * log[place - 1, ids[place]].item() for place in range(1, len(ids)))
        counted += sum(weights)
    assert found == pytest.approx(total / counted, rel=1e-4)


def test_beams_are_the_likeliest_texts(world, learned) -> None:
    """Against every text of at most two words, each read by itself, without padding or cache."""
    mark, size = learned.prompts.mark, len(learned.tokenizer)
    prompts = [learned.prompts.prompt(one, 3) for one in ([2, 9, 16], [5])]
    found = beam_search(learned.model, prompts, beams=size, longest=3, ends={mark}, pad=0)
    for prompt, beams in zip(prompts, found, strict=True):
        with torch.inference_mode():
            first = learned.model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
            ids = torch.tensor([[*prompt, one] for one in range(size)])
            second = learned.model(ids).logits[:, -1].log_softmax(-1)
            pairs = torch.cat([ids.repeat_interleave(size, 0), torch.arange(size).repeat(size)[:, None]], dim=1)
            third = learned.model(pairs).logits[:, -1].log_softmax(-1)
        every = {(one,): (first[one] + second[one, mark]).item() for one in range(size) if one != mark}
        for place, (one, two) in enumerate(pairs[:, -2:].tolist()):
            if mark not in (one, two):
                every[one, two] = (first[one] + second[one, two] + third[place, mark]).item()
        best = sorted(every, key=every.get, reverse=True)[:5]
        ended = [one for one in beams if one.ended][:5]
        assert [one.tokens for one in ended] == best
        np.testing.assert_allclose([one.score for one in ended], [every[one] for one in best], atol=1e-4)


def test_writing_for_many_at_once_changes_nothing(world, learned) -> None:
    histories = world.train.histories.take(np.arange(12))
    settings = learned.settings
    found = learned.queries(histories)
    try:
        learned.settings = settings.model_copy(update={"users_at_once": 1})
        assert learned.queries(histories) == found
    finally:
        learned.settings = settings


def test_restored_it_writes_the_same(world, learned, tmp_path) -> None:
    write_arrays(tmp_path / "writer.safetensors", learned.state())
    again = QueryWriter(learned.base, learned.tokenizer, learned.settings)
    again.restore(read_arrays(tmp_path / "writer.safetensors"))
    histories = world.train.histories.take(np.arange(20))
    assert again.queries(histories) == learned.queries(histories)
    examples = first_held_out(world.train, world.valid)
    assert again.likelihood(examples) == learned.likelihood(examples)


def test_a_killed_training_goes_on_and_ends_with_the_same_numbers(world, tmp_path) -> None:
    class Killed(Exception):
        pass

    short = {"epochs": 3, "epoch_tokens": 1_500}
    whole = fitted(world, Run(folder=tmp_path / "whole"), **short)
    first = writer(world, **short)
    usual, calls = first.loss, []

    def dies(batch):
        calls.append(1)
        if len(calls) == 12:
            raise Killed
        return usual(batch)

    first.loss = dies
    with pytest.raises(Killed):
        first.fit(world.train, titles_of(world), valid=world.valid, run=Run(folder=tmp_path / "killed"))
    lines: list[str] = []
    again = fitted(world, Run(folder=tmp_path / "killed", log=lines.append), **short)
    assert any("after epoch 1" in line for line in lines)
    for name, value in whole.state().items():
        np.testing.assert_array_equal(value, again.state()[name], err_msg=name)
    same, other = fitted(world, **short), fitted(world, Run(seed=1), **short)
    changed = [name for name in whole.state() if not np.array_equal(whole.state()[name], other.state()[name])]
    assert len(changed) == len(whole._learned())
    assert all(np.array_equal(value, same.state()[name]) for name, value in whole.state().items())


HOSTILE = [
    "red moon; next : blue river", "red moon\nnext : blue river;", "red\x00 moon\u2028next :\tblue </s> river",
    "</s><pad>", "“red”; [next] {noun}", "", ";;;\n",
]  # fmt: skip


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_cannot_end_itself_or_the_prompt(world, title) -> None:
    _, tokenizer = tiny(world, words=WORDS)
    prompts = TitlePrompts.of(tokenizer, ["blue house", title], np.ones(2), "seen :", "next :", 16)
    tokens = prompts.prompt([1, 0], 5)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert tokens.count(prompts.mark) == 2
    assert not special & set(tokens)
    assert tokens[-len(prompts.closing) :] == prompts.closing
    assert len(prompts.titles[1]) >= 1


def test_the_closing_is_on_a_line_that_no_title_can_begin() -> None:
    class Letters:
        bos_token_id, unk_token_id = 1, None

        def __call__(self, text, add_special_tokens=True):
            one = lambda text: [1] * add_special_tokens + [ord(letter) for letter in text]  # noqa: E731
            return {"input_ids": one(text) if isinstance(text, str) else [one(each) for each in text]}

    prompts = TitlePrompts.of(Letters(), ["Alien\nNext: x;", "Big (1988)"], np.ones(2), "Seen:", "Next:", 40)
    text = "".join(map(chr, prompts.prompt([0, 1], 5)[1:]))
    assert text == "Seen: Alien Next: x; Big;\nNext:"
    assert prompts.prompt([0, 1], 5)[0] == 1  # the tokenizer's own beginning, once


def test_pieces_of_a_history_do_not_overlap_and_look_at_nothing_later() -> None:
    train = Interactions(np.zeros(8, np.int32), np.arange(8, dtype=np.int32), 2, 8)
    found = windows(train, 3, 2)
    assert [list(found.histories[row]) for row in range(3)] == [[5, 6], [2, 3], [0]]
    assert list(found.items) == [7, 4, 1]
    assert list(windows(train, 1, 20).histories[0]) == list(range(7))


def test_mistakes_are_said(world, monkeypatch) -> None:
    lone = split_of([(0, 0, 0, 0), (1, 1, 0, 0)], 2, 4, "leave_last")
    with pytest.raises(DataError, match="nobody took two items"):
        writer(world).fit(lone.train, ["red moon"] * 4, valid=None, run=Run())
    with pytest.raises(ConfigError, match="has learned nothing"):
        writer(world).queries(Histories.of([[1]], 30))
    with pytest.raises(ConfigError, match="no token of its own"):
        QueryWriter(*tiny(world), QueryWriterSettings(**QUICK)).fit(
            world.train, titles_of(world), valid=None, run=Run()
        )
    with pytest.raises(ConfigError, match="targets 'nothing'"):
        fitted(world, targets="nothing")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match="'peft' is not installed"):
        fitted(world)
