"""MMSSL: every term by hand, the worlds that only content tells, memory, and a run that was interrupted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recsys.core.errors import ConfigError, RankerError
from recsys.core.protocols import HasEmbeddings, SwapsFeatures
from recsys.core.values import Interactions, ItemFeatures, Query, Split
from recsys.evaluation.evaluator import EvaluationSettings, evaluate, make_validator
from recsys.rankers import losses, mmssl_parts
from recsys.rankers.mmssl import MMSSL
from recsys.rankers.mmssl_batches import Batch, Batches
from recsys.rankers.mmssl_critic import generators, gradient_penalty
from recsys.rankers.mmssl_module import MMSSLModule
from recsys.rankers.mmssl_parts import contrast
from recsys.rankers.multimodal import read_content
from recsys.rankers.store import make_ranker

from contracts.ranker_contract import MEASURE, QUIET
from worlds import blocks, chain, content_world, shuffled

CPU = torch.device("cpu")
SMALL = {"embedding_dim": 16, "heads": 2, "critic_users": 16, "critic_columns": 40, "critic_dim": 16, "neighbours": 3}
SHORT = {"epochs": 25, "learning_rate": 0.05, "batch_size": 32, "patience": 5}
COLD = EvaluationSettings(ks=(3,), metric="recall@3", resamples=100)


def noise(split: Split, dim: int = 8) -> ItemFeatures:
    """Features that tell nothing, two modalities; the first item has no picture."""
    rng = np.random.default_rng(1)
    matrices = {
        name: rng.normal(size=(split.train.n_items, dim)).astype(np.float32) for name in ("audio", "image", "text")
    }
    matrices["image"][0] = np.nan
    return ItemFeatures({name: matrices[name] for name in ("image", "text")})


def module_of(train: Interactions, features: ItemFeatures, **settings: Any) -> tuple[MMSSLModule, Batch]:
    """Build a module with its graphs found, and its first batch."""
    chosen = MMSSL.Settings(**{**SMALL, "batch_size": 24, "dropout": 0.0, **settings})
    torch.manual_seed(0)
    module = MMSSLModule(train, read_content(features, (), train.n_items, "mmssl"), chosen, CPU)
    module.refresh(QUIET.rng("candidates"))
    make = Batches(
        train, size=chosen.batch_size, pairs=chosen.loss == "bpr", run=QUIET, device=CPU,
        critic_users=chosen.critic_users if chosen.adversarial else 0, columns=chosen.critic_columns,
    )  # fmt: skip
    return module, next(iter(make(0)))


# -- the parts by hand ------------------------------------------------------------------------------------------


def test_content_is_passed_to_users_and_back() -> None:
    world = blocks(2, 6, 4)
    train, features = world.train, noise(world)
    module, _ = module_of(train, features)
    dense = train.matrix.toarray()
    users, items = module.content()
    for index, name in enumerate(("image", "text")):
        x, w = features.unit(name), module.content.weights[name].detach().numpy()
        f = (x @ w + module.content.biases[name].detach().numpy()) * features.present(name)[:, None]
        u = dense @ f / np.sqrt(np.maximum(dense.sum(1), 1))[:, None]
        i = dense.T @ u / np.sqrt(np.maximum(dense.sum(0), 1))[:, None]
        i[dense.sum(0) == 0] = f[dense.sum(0) == 0]
        for ours, theirs in ((users, u), (items, i)):
            theirs = theirs / np.maximum(np.linalg.norm(theirs, axis=1, keepdims=True), 1e-12)
            np.testing.assert_allclose(ours[:, index].detach().numpy(), theirs, rtol=1e-4, atol=1e-5)


def generated(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Eq. 3 written out: every user's row of cosines in each modality, of unit length, ``[M * b, C]``."""
    rows = [users[:, m] @ items[:, m].T for m in range(users.shape[1])]
    return torch.cat([row / row.norm(dim=1, keepdim=True) for row in rows])


def test_the_critics_loss_is_that_of_rows_written_out() -> None:
    """Loss and gradients: of the critic, and of who generates the rows that should please it."""
    world = blocks(3, 8, 6)
    module, batch = module_of(world.train, noise(world))
    module.double()
    critic, columns = module.critic, batch.columns
    draw = (torch.nn.functional.normalize(torch.randn(n, 2, 5).double(), dim=2) for n in (7, len(columns)))
    users, items = (x.requires_grad_() for x in draw)
    real = torch.nn.functional.normalize(torch.rand(7, len(columns)).double(), dim=1)
    rows = generators(users, items)

    def plain(row: torch.Tensor) -> torch.Tensor:
        return critic(row @ critic.items[columns])

    fake = generated(users, items)
    torch.testing.assert_close((rows[0] @ rows[1]).flatten(0, 1), fake)
    torch.manual_seed(1)
    found = module.critic_loss(real, tuple(x.detach() for x in rows), columns)
    torch.manual_seed(1)
    share = torch.rand(14, 1)
    point = (share * real.repeat(2, 1) + (1 - share) * fake.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(plain(point).sum(), point, create_graph=True)
    penalty = (slope.norm(dim=1) - 1).square().mean()
    expected = plain(fake.detach()).mean() - plain(real).mean() + module.settings.gradient_penalty * penalty
    torch.testing.assert_close(found, expected)
    pairs = [(found, expected, list(critic.parameters()))]
    pairs.append((critic.frozen(columns, *rows).mean(), plain(fake).mean(), [users, items]))
    for ours, theirs, leaves in pairs:
        torch.testing.assert_close(ours, theirs)
        gradients = [torch.autograd.grad(value, leaves, allow_unused=True) for value in (ours, theirs)]
        for mine, other in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, other)


# -- the whole step ---------------------------------------------------------------------------------------------


def by_hand(module: MMSSLModule, train: Interactions) -> torch.Tensor:
    """The final vectors from dense matrices: eq. 5-8 without the classes that the ranker uses for them."""
    ratings = torch.from_numpy(train.matrix.toarray())
    n_users, n_items = ratings.shape
    both = torch.zeros(n_users + n_items, n_users + n_items)
    both[:n_users, n_users:], both[n_users:, :n_users] = ratings, ratings.T
    scale = both.sum(1).clamp(min=1).rsqrt()
    views = []
    for found in module.neighbours.long():
        links = torch.zeros_like(ratings).scatter_(1, found, 1.0)
        sides = torch.zeros_like(both)
        sides[:n_users, n_users:], sides[n_users:, :n_users] = links, links.T
        views.append(sides @ module.embedding / sides.sum(1, keepdim=True).clamp(min=1).sqrt())
    joined = torch.nn.functional.normalize(module.attention(torch.stack(views)), dim=1)
    layer = start = module.embedding + module.settings.id_residual * joined
    total = start
    for _ in range(module.settings.num_layers):
        layer = scale[:, None] * (both @ (scale[:, None] * layer))
        total = total + layer
    content = torch.cat(module.content()).sum(1)
    return total / (module.settings.num_layers + 1) + module.settings.modality_residual * content


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_the_main_loss_and_its_gradient_are_those_by_hand(loss: str) -> None:
    world = blocks(3, 8, 6)
    settings = {"loss": loss, "similarity": "dot", "temperature": 0.7, "regularisation": 0.01}
    module, batch = module_of(world.train, noise(world), adversarial=0, contrast=0, **settings)
    final, n_users = by_hand(module, world.train), world.train.n_users
    if loss == "bpr":
        who = batch.users[batch.rows]
        margin = (final[who] * (final[n_users + batch.positives] - final[n_users + batch.negatives])).sum(1)
        value, touched = -torch.log(torch.sigmoid(margin / 0.7)).mean(), [who, n_users + batch.negatives]
    else:
        logits = final[batch.users] @ final[n_users:].T / 0.7
        value, touched = -torch.log_softmax(logits, 1)[batch.rows, batch.positives].mean(), [batch.users]
    nodes = torch.cat([*touched, n_users + batch.positives])
    value = value + 0.01 * module.embedding[nodes].square().sum() / (2 * len(batch.positives))
    ours = module.loss(batch)
    torch.testing.assert_close(ours, value)
    ((expected,), (found,)) = (torch.autograd.grad(x, [module.embedding]) for x in (value, ours))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_all_terms_add_up() -> None:
    world = blocks(3, 8, 6)
    module, batch = module_of(world.train, noise(world), adversarial=0, contrast=0.3)
    value = module.loss(batch)
    final, views = by_hand(module, world.train), module.views()
    users = batch.users
    known = final[batch.users], final[module.n_users :]
    expected = module.main(*known, batch) + module._penalty(module._occurring(batch), len(batch.positives))
    expected = expected + 0.3 * sum(contrast(final[users], view[users], 0.5) for view in views)
    torch.testing.assert_close(value, expected)


def test_who_is_in_no_interaction_is_not_moved_by_the_modality_graphs() -> None:
    """Nothing in the main loss pushes new items down, so that a drift towards users would fill the lists with them."""
    split, features = content_world("text")
    module, batch = module_of(split.train, features, contrast=0.3)
    new = np.flatnonzero(split.train.item_counts == 0)
    assert np.isin(module.neighbours.numpy(), new).any(), "users are linked to some"
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    before = module.embedding.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        module.loss(batch).backward()
        optimizer.step()
    known = np.setdiff1d(np.arange(len(before)), module.n_users + new)
    assert not module.embedding[module.n_users + new].any()
    assert ((module.embedding[known] - before[known]).abs().sum(1) > 0).all()


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_gradient_reaches_every_parameter_and_each_optimizer_has_its_own(loss: str) -> None:
    world = blocks(3, 8, 6)
    module, batch = module_of(world.train, noise(world), loss=loss)
    critic_before = module.critic.items.detach().clone()
    module.loss(batch).backward()
    assert not torch.equal(module.critic.items, critic_before), "the critic learned"
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0 or name.endswith("rest.5.bias"), name
    held = {id(parameter) for parameter in module.parameters()}
    plain = [name for name, item in vars(module).items() if isinstance(item, torch.Tensor) and id(item) not in held]
    assert not plain, f"tensors that would never train: {plain}"


def test_the_ranker_pleases_the_critic_without_moving_it() -> None:
    world = blocks(3, 8, 6)
    module, batch = module_of(world.train, noise(world), critic_learning_rate=1e-9)
    content = module.content(batch.users)
    final = torch.randn(len(batch.users), 16), torch.randn(module.n_items, 16)
    value = module.adversary(final, content, batch)
    fake = generated(content[0][: len(batch.taken)], content[1][batch.columns])
    torch.testing.assert_close(value, -module.critic(fake @ module.critic.shown(batch.columns)).mean())
    of_critic = [parameter.grad.clone() for parameter in module.critic.parameters()]
    value.backward()
    for before, parameter in zip(of_critic, module.critic.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, before)
    assert all(weight.grad.abs().sum() > 0 for weight in module.content.weights.values())


def test_the_critics_optimizer_forgets_as_that_of_a_wasserstein_critic() -> None:
    """Adam with (0.5, 0.9) by hand: gradients 1 and then 0 move by the rate and by (1/3) / sqrt(0.09 / 0.19) of it."""
    world = blocks()
    module, _ = module_of(world.train, noise(world), critic_learning_rate=0.01)
    optimizer, start = module._critic_optimizer(), module.critic.items.detach().clone()
    moved = []
    for gradient in (1.0, 0.0):
        for parameter in module.critic.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        moved.append(start - module.critic.items.detach())
    torch.testing.assert_close(moved[0], torch.full_like(start, 0.01))
    torch.testing.assert_close(moved[1] - moved[0], torch.full_like(start, 0.01 / 3 / (0.09 / 0.19) ** 0.5))


def test_the_critic_learns_to_tell_rows_apart() -> None:
    world = blocks(3, 16, 8)
    module, batch = module_of(world.train, noise(world), critic_learning_rate=0.01)
    shown, vectors = len(batch.taken), module.embedding.detach()
    final = vectors[batch.users], vectors[module.n_users :]
    with torch.no_grad():
        content = module.content(batch.users)
        fake = generated(content[0][:shown], content[1][batch.columns])
        real = module._observed(final[0][:shown], final[1][batch.columns], batch.taken)
    for _ in range(60):
        module.adversary(final, content, batch)
    of_columns = module.critic.shown(batch.columns)
    real, fake = real @ of_columns, fake @ of_columns
    assert module.critic(real).mean() - module.critic(fake).mean() > 0.3
    penalty = gradient_penalty(module.critic, real.repeat(2, 1), fake, of_columns)
    assert penalty.item() < 0.3, "its slope is held"


@pytest.mark.parametrize(
    ("off", "gone"),
    [
        ({"adversarial": 0}, "critic"),
        ({"id_residual": 0}, "attention"),
        ({"attention": False}, "attention"),
        ({"id_residual": 0, "contrast": 0}, "neighbours"),
    ],
)
def test_a_term_turned_off_is_gone(off: dict[str, Any], gone: str) -> None:
    world = blocks(3, 8, 6)
    module, batch = module_of(world.train, noise(world), **off)
    module.loss(batch).backward()
    assert not any(gone in name for name, _ in module.named_parameters())
    assert gone != "neighbours" or (not module.neighbours.numel() and module.graphs is None)


def test_with_every_term_off_it_is_lightgcn() -> None:
    world = blocks(3, 8, 6)
    off = {"adversarial": 0, "contrast": 0, "id_residual": 0, "modality_residual": 0}
    module, batch = module_of(world.train, noise(world), **off)
    module.loss(batch).backward()
    assert [name for name, parameter in module.named_parameters() if parameter.grad is not None] == ["embedding"]
    assert not any(weight.requires_grad for weight in module.content.parameters())


def test_what_the_critic_is_shown() -> None:
    train = blocks(3, 8, 12).train
    make = Batches(train, size=10, pairs=True, critic_users=4, columns=33, run=QUIET, device=CPU)
    for batch in make(0):
        dense = train.matrix.toarray()
        shown = batch.users[:4].numpy()
        np.testing.assert_array_equal(batch.taken.numpy(), dense[shown][:, batch.columns.numpy()])
        assert batch.taken.sum() == dense[shown].sum(), "all their positives are there"
        assert len(np.unique(batch.columns)) == len(batch.columns) <= 33
        assert dense[batch.users[batch.rows], batch.positives].all()
        assert not dense[batch.users[batch.rows], batch.negatives].any()
    first, again = (list(make(3)) for _ in range(2))
    assert all(torch.equal(a, b) for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))


# -- worlds -----------------------------------------------------------------------------------------------------


def fitted_on(split: Split, features: ItemFeatures, **settings: Any) -> MMSSL:
    paper = {"modality_residual": 0.55, "contrast": 0.03}
    ranker = MMSSL(MMSSL.Settings(**{**SMALL, **SHORT, **paper, "epochs": 15, **settings}))
    ranker.fit(split.train, features, valid=make_validator(split, COLD), run=QUIET)
    return ranker


def recall(ranker: Any, split: Split) -> float:
    return evaluate(ranker, split, COLD, run=QUIET).summary["recall@3"]


@pytest.mark.parametrize("reveals", ["image", "text"])
def test_new_items_are_found_by_the_modality_that_reveals_them(reveals: str) -> None:
    """Nobody took the test items in train: who knows that much finds 1 of 7 by chance, and the graph no more."""
    split, features = content_world(reveals)
    ranker = fitted_on(split, features)
    assert recall(ranker, split) > 0.65
    assert np.mean([recall(fitted_on(split, shuffled(features, seed)), split) for seed in range(2)]) < 0.4
    bare = {"modality_residual": 0.0, "id_residual": 0.0, "contrast": 0.0}
    assert recall(fitted_on(split, features, **bare), split) < 0.4
    other = "text" if reveals == "image" else "image"
    assert recall(fitted_on(split, features, modalities=(other,)), split) < 0.4


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_the_parts_of_a_newcomers_score_add_up(similarity: str) -> None:
    split, features = content_world("text")
    ranker = fitted_on(split, features, similarity=similarity, temperature=1.0, epochs=2)
    history = np.array([3, 17, 5, 17], np.int32)
    query = Query.of_histories([history], split.train.n_items)
    parts = ranker.contributions_to(query, np.arange(split.train.n_items))  # [n_items, 4]
    np.testing.assert_allclose(parts.sum(1), ranker.score(query)[0], rtol=1e-3, atol=1e-5)
    assert not parts[:, 3].any(), "an item that is there twice counts once"
    assert ranker.contributions_to(Query.of_histories([[]], split.train.n_items), np.arange(3)).shape == (3, 0)
    content = ranker.settings.modality_residual * ranker._by_modality(ranker.state()["projected"])[history[:3]]
    without = ranker.state()["fold"][history[:3]] / np.sqrt(3)
    lengths = np.linalg.norm(content.sum(0), axis=1, keepdims=True) / ranker.settings.modality_residual
    by_hand = without + (content / lengths).sum(1)  # [3, dim]
    if similarity == "cosine":
        by_hand = by_hand / np.linalg.norm(by_hand.sum(0))
    np.testing.assert_allclose(parts[:, :3], ranker.state()["item"] @ by_hand.T, rtol=1e-3, atol=1e-5)


def test_features_can_be_swapped() -> None:
    split, features = content_world("text")
    ranker = fitted_on(split, features)
    assert isinstance(ranker, SwapsFeatures)
    assert isinstance(ranker, HasEmbeddings)
    query = Query.of_users(split.train, np.arange(split.train.n_users))
    same = ranker.with_features(features)
    np.testing.assert_allclose(same.score(query), ranker.score(query), rtol=1e-4, atol=1e-5)
    assert recall(ranker.with_features(shuffled(features)), split) < 0.4
    blank = {**features.matrices, "image": np.full_like(features["image"], np.nan)}
    assert recall(ranker.with_features(ItemFeatures(blank)), split) > 0.65, "pictures said nothing here"
    with pytest.raises(RankerError, match="image"):
        ranker.with_features(ItemFeatures({"text": features["text"]}))
    with pytest.raises(RankerError, match="item features 'text'"):
        ranker.with_features(ItemFeatures({**features.matrices, "text": features["text"][:, :3]}))


def test_features_that_are_not_there_are_refused() -> None:
    split, features = content_world("text")
    with pytest.raises(RankerError, match="reads item features, and there are none"):
        MMSSL(MMSSL.Settings()).fit(split.train, ItemFeatures(), valid=None, run=QUIET)
    with pytest.raises(RankerError, match="audio"):
        MMSSL(MMSSL.Settings(modalities=("audio",))).fit(split.train, features, valid=None, run=QUIET)
    with pytest.raises(ConfigError, match="must divide"):
        make_ranker({"name": "mmssl", "embedding_dim": 10, "heads": 4})


# -- memory and interruption ------------------------------------------------------------------------------------


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation returns, those of the backward pass too."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.numbers = max(self.numbers, *sizes) if sizes else self.numbers
        return result


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_no_tensor_has_a_number_for_each_user_and_item(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmssl_parts, "SCORES_AT_ONCE", 20_000)
    monkeypatch.setattr(losses, "CHUNK_NUMBERS", 20_000)
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 900, 4000).astype(np.int32), rng.integers(0, 800, 4000).astype(np.int32)
    train = Interactions(users, items, 900, 800)
    features = ItemFeatures({name: rng.normal(size=(800, 8)).astype(np.float32) for name in ("image", "text")})
    with Largest() as seen:
        module, batch = module_of(train, features, loss=loss, heads=2, embedding_dim=8, critic_columns=100)
        module.loss(batch).backward()
    n_nodes, n_modalities, dim = 1700, 2, 8
    assert seen.numbers <= max(n_nodes * n_modalities * dim * 2, 20_000 + 800)
    assert seen.numbers < 900 * 800 / 10


class Stop(Exception):
    pass


class Counting:
    """A validator that stops the run at a given call as a crash would."""

    metric = "ndcg@2"

    def __init__(self, crash_at: int | None = None) -> None:
        self.inner = make_validator(chain(), MEASURE)
        self.calls, self.crash_at = 0, crash_at

    def __call__(self, ranker: Any) -> Any:
        self.calls += 1
        if self.calls == self.crash_at:
            raise Stop
        return self.inner(ranker)


@pytest.mark.parametrize("crash_at", [2, 5])
def test_an_interrupted_run_ends_with_the_same_weights(crash_at: int, tmp_path) -> None:
    """Critic, its moments, the graphs of an earlier epoch and the noise: all as if nothing had happened."""
    world = chain()
    settings = MMSSL.Settings(
        **{
            **SMALL,
            "epochs": 6,
            "patience": 6,
            "learning_rate": 0.05,
            "batch_size": 64,
            "refresh": 3,
            "adversarial": 0.5,
        }
    )
    whole, broken, again = (MMSSL(settings) for _ in range(3))
    log = whole.fit(world.train, noise(world), valid=Counting(), run=QUIET.at(tmp_path / "whole"))
    with pytest.raises(Stop):
        broken.fit(world.train, noise(world), valid=Counting(crash_at), run=QUIET.at(tmp_path / "broken"))
    resumed = again.fit(world.train, noise(world), valid=Counting(), run=QUIET.at(tmp_path / "broken"))
    assert [row["loss"] for row in resumed.rows] == [row["loss"] for row in log.rows]
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, again.state()[name], err_msg=name)


def test_a_checkpoint_of_other_features_is_not_continued(tmp_path) -> None:
    world = chain()
    settings = MMSSL.Settings(**{**SMALL, "epochs": 2, "batch_size": 64})
    first, second, fresh = (MMSSL(settings) for _ in range(3))
    first.fit(world.train, noise(world), valid=Counting(), run=QUIET.at(tmp_path))
    other = shuffled(noise(world))
    second.fit(world.train, other, valid=Counting(), run=QUIET.at(tmp_path))
    fresh.fit(world.train, other, valid=Counting(), run=QUIET)
    np.testing.assert_array_equal(second.state()["item"], fresh.state()["item"])


def test_loaded_weights_come_with_the_graphs_of_their_time() -> None:
    """The best epoch's weights are put back after later searches: its graphs must be too."""
    world = blocks(3, 8, 6)
    module, _ = module_of(world.train, noise(world))
    before, kept = module.final()["user"], {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        for weight in module.content.weights.values():
            weight.normal_()
    module.refresh(QUIET.rng("later"))
    assert not torch.equal(module.final()["user"], before)
    module.load_state_dict(kept)
    torch.testing.assert_close(module.final()["user"], before, rtol=0, atol=0)
