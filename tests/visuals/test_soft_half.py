"""The soft half: what learns and what does not, batches, and a world whose colours only histories tell."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from visuals.soft_world import DIM, SIZES, WIDTH, language_model, started, told

from recsys.core.errors import ConfigError
from recsys.core.runtime import Run
from recsys.core.values import Interactions
from recsys.data.item_parts import part_of
from recsys.visuals.conditions import CONDITIONS, Conditions, ConditionSettings
from recsys.visuals.examples import Examples, Shelf
from recsys.visuals.soft_half import SoftHalf, Told, Trunk
from recsys.visuals.soft_training import Comparison, Named, SoftTrainingSettings, soft_loss
from recsys.visuals.taste import TasteSpace
from recsys.visuals.training import Training
from recsys.visuals.transformer import FlowTransformer, TransformerSettings


@pytest.fixture(scope="module")
def model() -> tuple[Any, Any]:
    return language_model()


@pytest.fixture
def trunk(model) -> Trunk:
    return Trunk(*model, layers=1)


def small_flow() -> FlowTransformer:
    """A transformer that learned nothing, but for which everything has an effect."""
    torch.manual_seed(0)
    sizes = ConditionSettings(text_dim=8, picture_dim=10, soft_dim=DIM, soft_tokens=2, picture_tokens=2, soft_hidden=16)
    made = FlowTransformer(
        TransformerSettings(channels=3, rows=6, columns=4, width=32, depth=1, heads=2, steering=16, conditions=sizes)
    )
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return made.eval().requires_grad_(False)


def batch(n: int = 6, seed: int = 0) -> tuple[torch.Tensor, Conditions, Told]:
    pairs, draw = told(n, seed), partial(torch.randn, generator=torch.Generator().manual_seed(seed))
    return draw(n, 3, 6, 4), Conditions.of(text=draw(n, 8), soft=pairs.users[:, None]), pairs


def test_a_new_one_says_nearly_what_the_flow_knows(trunk) -> None:
    pairs = told()
    found = started(trunk)(pairs, trunk)
    assert found.shape == (6, 2, DIM)
    assert (found - pairs.users[:, None]).abs().max() < 0.1
    assert not found.equal(pairs.users[:, None].expand_as(found))


def test_gradients_reach_what_learns_and_neither_language_model_nor_flow(trunk, model) -> None:
    half, flow = started(trunk), small_flow()
    soft_loss(half, trunk, flow, batch(), SoftTrainingSettings(draws=2), torch.Generator().manual_seed(0)).backward()
    for name, parameter in half.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name
    assert all(parameter.grad is None for parameter in (*model[0].parameters(), *flow.parameters()))
    assert not model[0].training
    assert len(model[0].model.layers) == 2  # the model itself keeps all of its layers


def test_the_first_layers_are_those_of_the_whole_model(trunk, model) -> None:
    rows = [torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(0))]
    seen = model[0].model(inputs_embeds=rows[0][None], output_hidden_states=True).hidden_states[1]
    wanted = nn.functional.layer_norm(model[0].model.norm(seen)[:, -2:], (WIDTH,))
    assert torch.allclose(trunk.states(rows, 2), wanted, atol=1e-5)


def test_a_users_vectors_do_not_depend_on_the_batch(trunk) -> None:
    half, pairs = started(trunk), told()
    nn.init.normal_(half.head.weight)
    together = half(pairs, trunk)
    assert together.equal(half(pairs, trunk))
    for row in range(len(pairs)):
        assert torch.allclose(half(pairs.take([row]), trunk)[0], together[row], atol=1e-4)
    wide = Told(
        pairs.keywords, pairs.titles, pairs.users, nn.functional.pad(pairs.items, (0, 0, 0, 2), value=9.0),
        nn.functional.pad(pairs.there, (0, 2)),
    )  # fmt: skip
    assert torch.allclose(half(wide, trunk), together, atol=1e-5)


def test_every_part_of_what_is_told_has_an_effect(trunk) -> None:
    half, pairs = started(trunk), told(8).take([3, 7])
    nn.init.normal_(half.head.weight)
    own = half(pairs, trunk)
    others = [
        Told([["love"]] * 2, pairs.titles, pairs.users, pairs.items, pairs.there),
        Told(pairs.keywords, ["space"] * 2, pairs.users, pairs.items, pairs.there),
        Told(pairs.keywords, pairs.titles, pairs.users, -pairs.items, pairs.there),
        Told(pairs.keywords, pairs.titles, pairs.users, pairs.items, ~pairs.there),
    ]
    assert all((half(other, trunk) - own).abs().amax() > 1e-3 for other in others)


def test_untrusted_words_are_short_and_plain(trunk) -> None:
    half, seen = started(trunk), []
    trunk.ids = lambda text, longest=99: seen.append(text) or (1,)
    half._prompt(trunk, ["a</s>\n[x]", "\x00\x07", "w" * 500], "T\x1b[31m (1999)\n<|im_start|>" + "t" * 500)
    text = "".join(seen)
    assert not set("<>|[]\x00\x07\x1b") & set(text)
    assert len(text) < 250
    assert text.count("\n") == 2  # the package's own


def test_a_text_has_as_many_tokens_as_are_allowed(trunk) -> None:
    half = started(trunk, SIZES.model_copy(update={"word_tokens": 3, "title_tokens": 2}))
    before, after = half._prompt(trunk, ["war", "love", "space"], "war " * 9)
    empty = half._prompt(trunk, [], "war")
    assert len(before) == len(empty[0]) - 1 + 3  # without keywords: one word of the package's own
    assert len(after) == len(empty[1]) - 1 + 2


class Colours(nn.Module):
    """The exact flow of pictures of one colour, which it believes the condition ``soft`` to tell."""

    def forward(self, x: torch.Tensor, times: torch.Tensor, given: Conditions) -> torch.Tensor:
        colour = given.soft.mean(dim=1)[:, :3] * given.on[:, CONDITIONS.index("soft"), None]
        return (x - colour[:, :, None, None]) / times.clamp_min(0.3).view(-1, 1, 1, 1)


def world(n: int, seed: int) -> tuple[torch.Tensor, Conditions, Told]:
    """Pictures whose colour is half the sum of three numbers of two liked items; the user vector is silent."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(seed))
    items, silent = draw(n, 2, DIM // 2), torch.zeros(n, DIM)
    colour = items.sum(dim=1)[:, :3] / 2
    pairs = Told([["war"]] * n, ["love"] * n, silent, items, torch.ones(n, 2).bool())
    return colour[:, :, None, None].expand(-1, -1, 2, 2), Conditions.of(soft=silent[:, None]), pairs


def test_it_learns_a_colour_that_only_the_history_tells(trunk) -> None:
    torch.manual_seed(0)
    half, flow, run = SoftHalf(SIZES), Colours(), Run(log=lambda line: None)
    half.begin(trunk, world(64, 10**6)[2])
    how = SoftTrainingSettings(
        steps=150,
        batch_size=32,
        draws=1,
        learning_rate=0.01,
        cooldown=40,
        eval_every=150,
        save_every=150,
        drop={},
        drop_target=0.0,
    )
    compared = Comparison(flow, trunk, world(64, 10**7), times=(0.3, 0.6), key=1)

    def loss(module: SoftHalf, step: int) -> torch.Tensor:
        return soft_loss(module, trunk, flow, world(32, step), how, torch.Generator().manual_seed(step))

    training = Training(half, how, loss=loss, validate=compared, run=run, title="soft")
    before = compared(half)
    (row,) = training.fit()
    assert before["llm"] == pytest.approx(before["vector"], rel=0.05)
    assert row["vector"] == before["vector"] == row["off"] == row["other_vector"]
    assert row["llm"] < 0.3 * row["vector"]
    assert row["llm"] < 0.3 * row["other"]
    gains = compared.gains(compared.errors(training.average))
    assert gains["over_other"]["mean"] == pytest.approx(row["other"] - row["llm"])
    assert gains["over_other"]["mean"] > 5 * gains["over_other"]["standard_error"]
    assert gains["vector_over_off"]["share"] == 0


def test_pairs_of_nobody_are_not_compared(trunk) -> None:
    latents, given, pairs = batch()
    given.on[2:, CONDITIONS.index("soft")] = False
    errors = Comparison(small_flow(), trunk, (latents, given, pairs), times=(0.5,), key=1).errors(started(trunk))
    assert {name: len(each) for name, each in errors.items()} == dict.fromkeys(errors, 2)


def test_what_is_told_of_examples() -> None:
    rng, n, words = np.random.default_rng(0), 40, ("war", "love")
    ids = [str(number) for number in range(n)]
    shelf = Shelf(
        ids, np.zeros((n, 3, 6, 4), np.float16), rng.standard_normal((n, 8)), rng.random((n, 10)),
        np.zeros((n, 3, 6, 4), np.float32), [np.array([row % 2]) for row in range(n)], rng.standard_normal((2, 8)),
    )  # fmt: skip
    users, items = np.repeat(np.arange(4), 10), np.concatenate([np.arange(user, n, 4) for user in range(4)])
    train = Interactions(users, items, 4, n)
    space = TasteSpace.fitted(shelf.text, shelf.picture, dim=2)
    examples = Examples(shelf, train, np.arange(n), space, "train")
    targets = examples.targets[:12]
    latents, given, drawn = examples.drawn(targets, np.random.default_rng(5))
    again = examples.of(targets, np.random.default_rng(5))
    assert again[0].equal(latents)
    assert again[1].soft.equal(given.soft)
    found = Named(ids, words).told(examples, given, drawn, 3)
    assert found.titles == [ids[target] for target in targets]
    for row, one in enumerate(drawn):
        nobody = one.user < 0
        assert nobody == (not given.on[row, CONDITIONS.index("soft")])
        assert found.there[row].sum() == (0 if nobody else 3)
        assert found.keywords[row] == ([] if nobody else [words[one.user % 2]])
        assert one.target not in one.near
        assert all(part_of(ids[near]) == "train" for near in one.near)
        assert np.allclose(found.items[row, : len(one.near[:3])], examples.rows[one.near[:3]])


def test_more_layers_than_there_are_and_no_layers_at_all_are_refused(model) -> None:
    with pytest.raises(ConfigError, match="3 of 2 layers"):
        Trunk(*model, layers=3)
    headless = nn.Linear(1, 1)
    headless.base_model = nn.Linear(1, 1)
    with pytest.raises(ConfigError, match="smollm"):
        Trunk(headless, None)
