"""Soft tokens: what is learned, that the language model stays as it was, and that caches change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from profiles.lm import tiny, titled

from recsys.core.errors import ConfigError, DataError
from recsys.core.runtime import Run
from recsys.core.values import Histories, Interactions, ItemFeatures
from recsys.profiles.first_order import Slopes, regress
from recsys.profiles.preference import (
    Examples,
    first_held_out,
    last_steps,
    matched_batches,
    popularity_matched,
    shuffled,
    strangers,
    wins,
)
from recsys.profiles.projector import Projector
from recsys.profiles.soft_tokens import SoftTokens, SoftTokenSettings
from recsys.profiles.user_vectors import UserSpace

from worlds import split_of

QUICK = {
    "epochs": 2, "batch_size": 12, "learning_rate": 1e-3, "dim": 8, "prompt": "next :",
    "epoch_tokens": 20_000, "valid_users": 40, "patience": 6, "steps": 100,
}  # fmt: skip


def soft(world, **changes) -> SoftTokens:
    settings = SoftTokenSettings(**{**QUICK, **changes})
    titles = world.dataset.titles(range(len(world.dataset.items)))
    return SoftTokens(SoftTokens.likelihood(*tiny(world), titles, settings), settings)


@pytest.fixture(scope="module")
def world():
    return titled()


@pytest.fixture(scope="module")
def learned(world) -> SoftTokens:
    made = soft(world)
    made.fit(world.train, ItemFeatures(), valid=world.valid, run=Run(log=lambda line: None))
    return made


def candidates(world, n: int = 7) -> tuple[Examples, np.ndarray]:
    examples = first_held_out(world.train, world.test)
    others = popularity_matched(world.train, examples, n, world.dataset.interactions, np.random.default_rng(1))
    return examples, np.column_stack([examples.items, others])


def test_own_tokens_beat_those_of_another_user_and_none(world, learned) -> None:
    examples, items = candidates(world)
    own = wins(learned.scores(examples.histories, items)).mean()
    elsewhere = (np.arange(len(examples)) + 1) % len(examples)  # of the next block
    another = wins(learned.scores(examples.histories.take(elsewhere), items)).mean()
    none = wins(learned.titles.plain(items)).mean()
    assert own > 0.9
    assert another < 0.5
    assert abs(none - 0.5) < 0.15
    assert own > none + 0.3


def test_a_history_that_was_never_in_training_has_tokens_of_its_taste(learned) -> None:
    histories = Histories.of([[0, 4, 8], [1, 5, 9]], learned.space.rows.shape[0])
    items = np.array([[16, 17], [16, 17]])  # space, love
    scores = learned.scores(histories, items)
    assert scores[0, 0] > scores[0, 1]
    assert scores[1, 0] < scores[1, 1]
    assert np.isfinite(learned.scores(Histories.of([[]], histories.n_items), items[:1])).all()


@pytest.mark.parametrize("terms", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_gradients_reach_the_whole_projector_and_no_weight_of_the_language_model(world, terms) -> None:
    made = soft(world, epochs=1, epoch_tokens=1, over_titles=terms[0], over_users=terms[1])
    made.fit(world.train, ItemFeatures(), valid=None, run=Run())
    before = {name: value.clone() for name, value in made.titles.model.state_dict().items()}
    batch = last_steps(world.train, 1).take(np.arange(8))
    made.projector.zero_grad()
    made.loss(world.train, batch).backward()
    for name, parameter in made.projector.named_parameters():
        assert parameter.requires_grad, name
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    for name, parameter in made.titles.model.named_parameters():
        assert parameter.grad is None, name
        assert not parameter.requires_grad, name
        assert torch.equal(parameter, before[name])


def test_each_term_alone_learns_what_it_is_for(world) -> None:
    examples, items = candidates(world)
    for changes in ({"over_users": 0.0}, {"over_titles": 0.0}):
        made = soft(world, **changes)
        made.fit(world.train, ItemFeatures(), valid=world.valid, run=Run())
        assert wins(made.scores(examples.histories, items)).mean() > 0.75
    with pytest.raises(ConfigError, match="both terms"):
        SoftTokenSettings(over_titles=0.0, over_users=0.0)


def test_the_loss_is_infonce_over_the_matrix_without_what_users_took(world, learned) -> None:
    batch = last_steps(world.train, 1).take(np.arange(8))  # two users of each block
    matrix = (
        learned.preference(batch.histories, np.tile(batch.items, (8, 1))).detach().numpy()
        / learned.projector.temperature.item()
    )
    known = world.train.matrix[batch.users][:, batch.items].toarray() > 0
    rows, columns = [], []
    for place in range(8):
        kept = ~known[place] | (np.arange(8) == place)
        rows.append(matrix[place, place] - np.log(np.exp(matrix[place, kept]).sum()))
        kept = ~known[:, place] | (np.arange(8) == place)
        columns.append(matrix[place, place] - np.log(np.exp(matrix[kept, place]).sum()))
    assert known.sum() > 8  # there is something to leave out
    np.testing.assert_allclose(learned.loss(world.train, batch).item(), -np.mean(rows) - np.mean(columns), rtol=1e-4)


def test_the_start_foretells_what_the_model_says_when_tokens_move_a_little(world) -> None:
    made = soft(world, epochs=0, scales=(0.003,), evening=1e-3)
    made.fit(world.train, ItemFeatures(), valid=None, run=Run())
    items, slopes = made._slopes(world.train, Run())
    histories = world.train.histories.take(np.arange(6))
    moved = (made.tokens(histories) - made.projector.start)[:, made.settings.prefix :].detach()
    foretold = np.einsum("ukw,ikw->ui", moved.numpy(), slopes)
    found = made.scores(histories, np.tile(items, (6, 1)))
    assert np.corrcoef(foretold.ravel(), found.ravel())[0, 1] > 0.999
    assert np.abs(foretold - found).max() < 0.1 * np.abs(found).max()


def test_the_scale_is_chosen_on_validation_and_nothing_worse_than_the_start_is_kept(world) -> None:
    made = soft(world, epochs=1, scales=(0.1, 100.0), learning_rate=10.0)
    log = made.fit(world.train, ItemFeatures(), valid=world.valid, run=Run(log=lambda line: None))
    tried = {row["scale"]: row["fit"] for row in log.rows[0]["tried"]}
    assert log.rows[0]["scale"] == max(tried, key=tried.get) == 0.1
    assert log.rows[1]["fit"] < log.rows[0]["fit"]
    assert (log.best_epoch, log.best["fit"]) == (0, log.rows[0]["fit"])
    start = soft(world, epochs=0, scales=(0.1,))
    start.fit(world.train, ItemFeatures(), valid=world.valid, run=Run())
    for name, value in start.state().items():
        np.testing.assert_array_equal(value, made.state()[name], err_msg=name)


@pytest.mark.parametrize("with_tokens", [True, False])
def test_reading_the_prompt_once_gives_what_reading_it_each_time_gives(world, learned, with_tokens) -> None:
    titles, (examples, items) = learned.titles, candidates(world)
    titles.titles[int(items[0, 0])] = titles.titles[int(items[0, 0])][:1]  # one shorter than the others
    titles.lengths[int(items[0, 0])] = 1
    tokens = learned.tokens(examples.histories.take(np.arange(5))).detach() if with_tokens else None
    found = titles.after(tokens, items[:5]).detach().numpy()
    table = titles.model.get_input_embeddings()
    for row in range(5):
        for column in range(items.shape[1]):
            ids = torch.tensor(titles.titles[int(items[row, column])])
            start = [] if tokens is None else [tokens[row]]
            whole = torch.cat([*start, table(titles.prompt), table(ids)])[None]
            log = titles.model(inputs_embeds=whole).logits[0].log_softmax(-1)
            plain = log[-len(ids) - 1 : -1].gather(1, ids[:, None]).mean().item()
            assert abs(plain - found[row, column]) < 1e-5
    np.testing.assert_allclose(titles.scores(tokens, items[:5]), found, atol=1e-6)


def test_saved_and_restored_it_scores_the_same_to_the_last_bit(world, learned, tmp_path) -> None:
    from recsys.core.artifact import read_arrays, write_arrays

    write_arrays(tmp_path / "soft.safetensors", learned.state())
    again = SoftTokens(learned.titles, learned.settings).restore(read_arrays(tmp_path / "soft.safetensors"))
    examples, items = candidates(world)
    np.testing.assert_array_equal(again.scores(examples.histories, items), learned.scores(examples.histories, items))


def test_a_killed_training_goes_on_and_ends_with_the_same_numbers(world, tmp_path) -> None:
    class Killed(Exception):
        pass

    whole = soft(world, epochs=3)
    whole.fit(world.train, ItemFeatures(), valid=world.valid, run=Run(folder=tmp_path / "whole"))
    first = soft(world, epochs=3)
    usual, calls = first.loss, []

    def dies(train, batch):
        calls.append(1)
        if len(calls) == 13:
            raise Killed
        return usual(train, batch)

    first.loss = dies
    with pytest.raises(Killed):
        first.fit(world.train, ItemFeatures(), valid=world.valid, run=Run(folder=tmp_path / "killed"))
    lines: list[str] = []
    again = soft(world, epochs=3)
    again.fit(world.train, ItemFeatures(), valid=world.valid, run=Run(folder=tmp_path / "killed", log=lines.append))
    assert any("after epoch 1" in line for line in lines)
    for name, value in whole.state().items():
        np.testing.assert_array_equal(value, again.state()[name], err_msg=name)
    other = soft(world, epochs=3)
    other.fit(world.train, ItemFeatures(), valid=world.valid, run=Run(seed=1))
    assert not np.array_equal(other.state()["projector.start"], whole.state()["projector.start"])


def test_a_pass_reads_no_more_than_its_budget(world) -> None:
    start = soft(world, epochs=0)
    start.fit(world.train, ItemFeatures(), valid=None, run=Run())
    made = soft(world, epochs=1, epoch_tokens=500)
    made.fit(world.train, ItemFeatures(), valid=None, run=Run())
    plain = sum(made.titles.lengths) + made.settings.prefix + made.settings.tokens + len(made.titles.prompt)
    assert start.titles.read + plain < made.titles.read <= start.titles.read + plain + 500


def test_content_alone_makes_a_user(world) -> None:
    rng, n_items = np.random.default_rng(0), len(world.dataset.items)
    told = rng.normal(size=(4, 12))[np.arange(n_items) % 4] * 3 + rng.normal(size=(n_items, 12))
    told[5] = np.nan
    made = soft(world)
    blind = np.zeros((n_items, 2), dtype=np.float32)
    made.fit(world.train, ItemFeatures({"text": told.astype(np.float32)}), valid=None, vectors=blind, run=Run())
    examples, items = candidates(world)
    assert wins(made.scores(examples.histories, items)).mean() > 0.85


def test_nobody_to_learn_from_is_said() -> None:
    lone = split_of([(0, 0, 0, 0), (0, 1, 0, 1), (1, 1, 0, 0)], 2, 4, "leave_last")
    made = SoftTokens(SoftTokens.likelihood(*tiny(titled()), ["space 1"] * 4, SoftTokenSettings(**QUICK)))
    with pytest.raises(DataError, match="fewer than two users"):
        made.fit(lone.train, ItemFeatures(), valid=None, run=Run())


def test_last_steps_look_at_nothing_that_came_later() -> None:
    train = Interactions(
        np.zeros(4, np.int32), np.array([3, 1, 2, 0], np.int32), 1, 4, timestamp=np.array([4, 2, 3, 1])
    )
    steps = last_steps(train, 2)
    assert [list(steps.histories[row]) for row in range(2)] == [[0, 1], [0, 1, 2]]
    assert list(steps.items) == [2, 3]


def test_others_are_as_popular_and_unknown_to_the_user() -> None:
    rng = np.random.default_rng(0)
    rows = [(user, item) for user in range(300) for item in range(400) if rng.random() < (item + 1) / 500]
    user, item = (np.array(one, np.int32) for one in zip(*rows, strict=True))
    train = Interactions(user, item, 300, 400)
    examples = Examples(train.histories.take(np.arange(50)), np.arange(50) * 8, np.arange(50))
    others = popularity_matched(train, examples, 20, train, rng)
    counts = train.item_counts
    for row in range(50):
        assert len(set(others[row])) == 20
        assert not np.isin(others[row], train.matrix[[row]].indices).any()
        assert examples.items[row] not in others[row]
    middle = (examples.items > 100) & (examples.items < 250)
    assert abs(np.log(counts[others[middle]].mean(axis=1) / counts[examples.items[middle]])).max() < 0.5


def test_batches_are_of_like_popularity_and_hold_each_row_once() -> None:
    counts, rng = np.arange(1, 101), np.random.default_rng(0)
    batches = list(matched_batches(counts, np.arange(100), 8, rng))
    rows = np.concatenate(batches)
    assert len(rows) == len(set(rows)) == 96
    assert np.mean([np.ptp(np.log(counts[batch])) for batch in batches]) < 0.8
    assert [len(batch) for batch in matched_batches(counts, np.arange(5), 8, rng)] == [5]


def test_wins_and_strangers() -> None:
    np.testing.assert_allclose(wins(np.array([[1.0, 0.0, 1.0, 2.0, -1.0]])), [2.5 / 4])
    found = strangers(50, np.random.default_rng(0))
    assert (found != np.arange(50)).all()


def test_shuffled_histories_are_as_long_and_of_others(world) -> None:
    users = np.arange(20)
    own = world.train.histories.take(users)
    found = shuffled(world.train, users, own, np.random.default_rng(0))
    np.testing.assert_array_equal(found.indptr, own.indptr)
    taken = world.train.item_counts
    assert (taken[found.items] > 0).all()
    blocks = [np.unique(found[row] % 4) for row in range(20)]
    assert np.mean([len(one) for one in blocks]) > 3  # of all tastes, where a user's own items are of one


def test_last_and_first_steps_by_hand() -> None:
    user, item = np.array([0, 0, 0, 1, 2, 2], np.int32), np.array([4, 3, 2, 1, 0, 1], np.int32)
    train = Interactions(user, item, 4, 5, timestamp=np.arange(6))
    steps = last_steps(train, 5)
    assert [steps.histories[row].tolist() for row in range(3)] == [[4], [4, 3], [0]]
    assert (steps.items.tolist(), steps.users.tolist()) == ([3, 2, 1], [0, 0, 2])
    held = Interactions(
        np.array([1, 1, 3], np.int32), np.array([4, 0, 2], np.int32), 4, 5, timestamp=np.array([2, 1, 1])
    )
    first = first_held_out(train, held)
    assert (first.items.tolist(), first.users.tolist()) == ([0], [1])  # nothing is known of user 3
    assert first.histories[0].tolist() == [1]
    taken = steps.take(np.array([2, 0]))
    assert (len(taken), taken.items.tolist(), taken.histories[0].tolist()) == (2, [1, 3], [0])


def test_too_few_others_are_refused_and_just_enough_are_all_taken() -> None:
    train = Interactions(np.array([0, 0, 1, 1, 1], np.int32), np.array([0, 1, 0, 2, 3], np.int32), 2, 6)
    examples = Examples(train.histories.take(np.array([0])), np.array([1]), np.array([0]))
    found = popularity_matched(train, examples, 2, train, np.random.default_rng(0))
    assert sorted(found[0].tolist()) == [2, 3]  # 4 and 5 were never taken
    with pytest.raises(DataError, match="2 items are left, and 3 are wanted"):
        popularity_matched(train, examples, 3, train, np.random.default_rng(0))


def test_the_hundred_nearest_by_popularity_are_drawn_from() -> None:
    counts = np.repeat([1, 40], [150, 150])
    item = np.repeat(np.arange(300), counts).astype(np.int32)
    user = np.concatenate([np.arange(n) for n in counts]).astype(np.int32)
    train = Interactions(user, item, 41, 300)
    nobody = Interactions(user[:0], item[:0], 41, 300)
    examples = Examples(train.histories.take(np.array([0, 1])), np.array([200, 7]), np.array([0, 1]))
    found = popularity_matched(train, examples, 80, nobody, np.random.default_rng(0))
    assert (found[0] >= 150).all()
    assert (found[1] < 150).all()


@pytest.mark.parametrize(("n", "size", "sizes"), [(0, 4, []), (1, 4, []), (2, 4, [2]), (4, 4, [4]), (11, 4, [4, 4])])
def test_few_rows_make_one_batch_or_none(n, size, sizes) -> None:
    batches = list(matched_batches(np.ones(20), np.arange(n), size, np.random.default_rng(0)))
    assert [len(one) for one in batches] == sizes


def test_strangers_and_wins_at_their_ends() -> None:
    assert strangers(1, np.random.default_rng(0)).tolist() == [0]
    assert len(strangers(0, np.random.default_rng(0))) == 0
    assert {tuple(strangers(2, np.random.default_rng(seed))) for seed in range(9)} == {(1, 0)}
    drawn = np.array([strangers(3, np.random.default_rng(seed)) for seed in range(99)])
    assert [set(column) for column in drawn.T.tolist()] == [{1, 2}, {0, 2}, {0, 1}]
    assert wins(np.array([[1.0, 1.0], [2.0, 1.0], [0.0, 1.0]])).tolist() == [0.5, 1.0, 0.0]


def test_histories_lie_at_the_mean_of_their_items_and_of_the_latest() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 4.0]], np.float32)
    space = UserSpace(rows, 1, np.array([0, 1, 0, 0], np.float32), np.array([1, 2, 1, 4], np.float32))
    found = space(Histories.of([[0, 1, 2], []], 3))
    np.testing.assert_allclose(found, [[1 / 3, (2 - 1) / 2, 0, 4 / 4], [0, 0, 0, 0]], atol=1e-6)
    assert space.dim == 4
    again = UserSpace.restored(space.state())
    np.testing.assert_array_equal(again(Histories.of([[2, 0]], 3)), space(Histories.of([[2, 0]], 3)))
    train = Interactions(np.array([0, 0, 1], np.int32), np.array([0, 1, 1], np.int32), 3, 2)
    made = UserSpace.of(train, ItemFeatures(), dim=2, lately=1, vectors=np.array([[3.0, 0], [0, 5]]), run=Run())
    np.testing.assert_array_equal(made.rows, np.eye(2))  # of length 1
    np.testing.assert_allclose(made.mean, [0.25, 0.75, 0, 1])  # of the two users who took anything
    np.testing.assert_allclose(made.deviation, [0.25, 0.25, 1e-6, 1e-6])


def test_tokens_begin_as_words_and_move_by_a_share_of_a_word() -> None:
    start = torch.tensor([[1.0, -1.0], [2.0, -2.0], [0.0, 0.0]])  # a prefix and two tokens of width 2
    made = Projector(3, SoftTokenSettings(tokens=2, prefix=1), start)
    users, weights = torch.eye(3), torch.arange(12.0).reshape(3, 4)
    made.begin(weights, users, 0.1, 7.0)
    length, word = (weights**2).mean() ** 0.5, (10 / 6) ** 0.5
    with torch.no_grad():
        moved = made(users) - start
    assert torch.equal(moved[:, 0], torch.zeros(3, 2))  # the prefix is the same for all
    torch.testing.assert_close(moved[:, 1:].reshape(3, 4), 0.1 * word * weights / length)
    assert float(made.temperature) == pytest.approx(float(0.1 * word / length * 7.0))


def test_slopes_are_centred_of_mean_length_one_and_lead_back() -> None:
    raw = np.random.default_rng(0).normal(size=(30, 2, 3)).astype(np.float32) * [1, 1, 5]
    slopes = Slopes.of(np.arange(30), raw.astype(np.float32), 0.1)
    rows, flat = slopes.rows.numpy(), raw.reshape(30, 6) - raw.reshape(30, 6).mean(axis=0)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    assert np.linalg.norm(rows, axis=1).mean() == pytest.approx(1.0, abs=1e-4)
    # a product with a row, times the unit, is what a move does to the log-likelihood
    wish = np.random.default_rng(1).normal(size=rows.shape[1]).astype(np.float32)
    np.testing.assert_allclose(rows @ wish * slopes.unit, flat @ (wish @ slopes.back.numpy()), rtol=1e-3, atol=1e-4)
    sizes = np.linalg.svd(rows, compute_uv=False)
    raw_sizes = np.linalg.svd(flat, compute_uv=False)
    gain = 1 / np.sqrt(raw_sizes**2 + (0.1 * raw_sizes[0]) ** 2)
    np.testing.assert_allclose(sizes / sizes[0], np.sort(raw_sizes * gain)[::-1] / (raw_sizes * gain).max(), rtol=1e-3)


def test_the_first_order_learns_what_popularity_does_not_tell() -> None:
    """Two kinds of users take two kinds of items; item 4 has no slope, and most take item 0."""
    users = np.array([[1.0, 0.0]] * 40 + [[0.0, 1.0]] * 40, np.float32)
    items = np.array([1, 2] * 20 + [0, 3] * 20)
    slopes = Slopes(np.arange(4), torch.tensor([[1.0], [-1.0], [-1.0], [1.0]]), torch.tensor([[2.0, 0.0]]), 1.0)
    seen = []

    def check(scores) -> float:
        seen.append(scores(np.eye(2, dtype=np.float32), np.array([[0, 1, 4], [0, 1, 4]])))
        return -float(len(seen))  # the first look is the best

    settings = {"steps": 120, "rate": 0.1, "decay": 0.0, "run": Run()}
    first = regress(users, items, slopes, np.array([90, 1, 1, 1, 1]), check=check, **settings)
    last = regress(users, items, slopes, np.array([90, 1, 1, 1, 1]), check=None, **settings)
    assert len(seen) == 3  # after 50, 100 and 120 steps
    assert first.shape == last.shape == (2, 2)
    assert last[0, 0] < first[0, 0] < 0
    assert (last[:, 1] == 0).all()
    for scores in seen:
        assert scores[0, 0] < 0 < scores[0, 1]
        np.testing.assert_allclose(scores[:, 2], 0.0)  # nothing is known of an item without a slope
    assert float(first[0, 0]) == pytest.approx(2 * seen[0][0, 0], rel=1e-5)
    held = regress(users, items, slopes, np.array([90, 1, 1, 1, 1]), check=None, **settings | {"decay": 10.0})
    assert abs(held[0, 0]) < abs(last[0, 0]) / 3
