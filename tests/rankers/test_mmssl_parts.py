"""MMSSL's pieces by themselves, each against a plain writing of its equation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.core.values import Interactions
from recsys.rankers import mmssl_attention, mmssl_parts
from recsys.rankers.mmssl_attention import CrossModalAttention, unit_rows
from recsys.rankers.mmssl_critic import Critic, augmented, gradient_penalty
from recsys.rankers.mmssl_parts import best_of, contrast, dropped_out, modality_graphs, search_neighbours

from worlds import blocks

CPU = torch.device("cpu")


def test_attention_is_per_node_with_keys_of_its_own() -> None:
    torch.manual_seed(0)
    layer = CrossModalAttention(3, 8, 2)
    tokens = torch.randn(3, 5, 8)
    wq, wk = layer.query.weight.detach().numpy(), layer.key.weight.detach().numpy()
    expected = np.zeros((5, 8))
    for node in range(5):
        e = tokens[:, node].numpy()
        heads = []
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            scores = (e @ wq.T)[:, part] @ (e @ wk.T)[:, part].T / np.sqrt(4)  # [asking, asked]
            shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            heads.append((shares @ e).mean(0))
        expected[node] = layer.output.weight.detach().numpy() @ np.concatenate(heads)
    np.testing.assert_allclose(layer(tokens).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows_at_once", [1, 7, 1000])
def test_neighbours_are_those_of_the_dense_matrix(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train = blocks(3, 8, 6).train
    n_users, n_items = train.n_users, train.n_items
    monkeypatch.setattr(mmssl_parts, "SCORES_AT_ONCE", rows_at_once * n_items)
    users, items = torch.randn(n_users, 4), torch.randn(n_items, 4)
    found = search_neighbours(users, items, np.arange(n_items), train, 5).numpy()
    dense = (users @ items.T).numpy()
    dense[train.matrix.toarray() > 0] = -np.inf
    np.testing.assert_array_equal(found, np.argsort(-dense, axis=1)[:, :5])


def test_neighbours_are_candidates_and_new_to_the_user() -> None:
    train = Interactions(np.array([0, 0, 1], np.int32), np.array([1, 3, 0], np.int32), 3, 5)
    found = search_neighbours(torch.ones(3, 2), torch.ones(5, 2), np.array([1, 3, 4]), train, 4).numpy()
    assert sorted(found[0]) == [-1, -1, -1, 4]
    assert sorted(found[1]) == [-1, 1, 3, 4]
    assert set(found[2]) == {-1}, "who took nothing has no taste to search by"


def test_modality_graphs_are_one_sided_means() -> None:
    neighbours = torch.tensor([[[0, 2], [2, -1]], [[1, -1], [-1, -1]]], dtype=torch.int32)  # 2 modalities, 2 users
    nodes = torch.randn(2 + 3, 4)
    found = (modality_graphs(neighbours, 3, CPU) @ nodes).view(2, 5, 4)
    users, items = nodes[:2], nodes[2:]
    zero = torch.zeros(4)
    first = [(items[0] + items[2]) / 2**0.5, items[2], users[0], zero, (users[0] + users[1]) / 2**0.5]
    second = [items[1], zero, zero, users[0], zero]
    torch.testing.assert_close(found, torch.stack([torch.stack(first), torch.stack(second)]))


def test_contrast_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    h, e = rng.normal(size=(2, 6, 5))
    hn, en = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (h, e))
    total = 0.0
    for u in range(6):
        below = sum(np.exp(hn[v] @ en[u] / 0.3) + np.exp(en[v] @ en[u] / 0.3) for v in range(6))
        total -= np.log(np.exp(hn[u] @ en[u] / 0.3) / below) / 6
    ours, theirs = (torch.from_numpy(x).requires_grad_() for x in (h, e))
    value = contrast(ours, theirs, 0.3)
    assert value.item() == pytest.approx(total)
    hn, en = (torch.nn.functional.normalize(x, dim=1) for x in (ours, theirs))
    across, within = torch.exp(en @ hn.T / 0.3), torch.exp(en @ en.T / 0.3)
    plain = -torch.log(across.diagonal() / (across + within).sum(1)).mean()
    for found, expected in zip(*(torch.autograd.grad(x, [ours, theirs]) for x in (value, plain)), strict=True):
        torch.testing.assert_close(found, expected)


def test_observed_rows_are_sharpened_interactions_and_noise() -> None:
    """The temperature divides interactions and noise alike; without noise the rows are a plain softmax."""
    taken = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    agreement = torch.tensor([[0.1, 0.0, 0.2, 0.0]])
    rows = np.exp(taken.numpy() / 0.5) / np.exp(taken.numpy() / 0.5).sum() + agreement.numpy()
    found = augmented(taken, agreement, scale=0.0, temperature=0.5)
    np.testing.assert_allclose(found.numpy(), rows / np.linalg.norm(rows), rtol=1e-5)
    torch.manual_seed(0)
    u = torch.rand_like(taken).clamp(1e-9, 1 - 1e-7).double().numpy()
    logits = (taken.numpy() - 0.3 * np.log(-np.log(u))) / 0.5
    rows = np.exp(logits) / np.exp(logits).sum()
    torch.manual_seed(0)
    found = augmented(taken, 0 * agreement, scale=0.3, temperature=0.5)
    np.testing.assert_allclose(found.numpy(), rows / np.linalg.norm(rows), rtol=1e-4)
    bare = augmented(taken, 0 * agreement, scale=0.3, temperature=0.0)
    np.testing.assert_allclose(bare.numpy(), taken.numpy() / 2**0.5, rtol=1e-5)


def test_gradient_penalty_is_that_of_each_row_by_itself() -> None:
    torch.manual_seed(0)
    critic, columns = Critic(9, 6), torch.tensor([1, 4, 5, 8])
    real, fake = torch.randn(5, 4), torch.randn(5, 4)
    vectors = critic.shown(columns)
    torch.manual_seed(1)
    found = gradient_penalty(critic, real @ vectors, fake @ vectors, vectors)
    torch.manual_seed(1)
    share = torch.rand(5, 1)
    critic, total = critic.double(), 0.0
    for row in range(5):
        point = (share[row] * real[row] + (1 - share[row]) * fake[row]).double()
        with torch.no_grad():
            ends = [critic((point + side * 1e-4 * torch.eye(4).double()) @ vectors.double()) for side in (1, -1)]
        total += float(((ends[0] - ends[1]) / 2e-4).norm() - 1) ** 2 / 5
    assert float(found.detach()) == pytest.approx(total, rel=1e-3)


@pytest.mark.parametrize(("n_modalities", "heads"), [(2, 1), (2, 4), (3, 2)])
def test_attention_and_its_gradient_are_those_of_the_equation(
    n_modalities: int, heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmssl_attention, "ROWS_AT_ONCE", 4)
    torch.manual_seed(0)
    layer = CrossModalAttention(n_modalities, 8, heads).double()
    tokens = torch.randn(n_modalities, 11, 8).double().requires_grad_()
    asks, keys = (
        (tokens @ weight.T).unflatten(2, (heads, -1)) for weight in (layer.query.weight, layer.key.weight)
    )  # [M, n, H, dim / H]
    shares = torch.einsum("anhd,bnhd->nhab", asks, keys).div((8 / heads) ** 0.5).softmax(dim=3)
    mixed = torch.einsum("nhab,bnd->anhd", shares, tokens).mean(0)  # [n, H, dim]
    expected, found, aim = mixed.flatten(1) @ layer.output.weight.T, layer(tokens), torch.randn(11, 8).double()
    torch.testing.assert_close(found, expected)
    leaves = [tokens, *layer.parameters()]
    for ours, theirs in zip(*(torch.autograd.grad((x * aim).sum(), leaves) for x in (found, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_unit_rows_have_the_gradient_of_normalisation_and_zeros_none() -> None:
    x = torch.randn(4, 3, 5, dtype=torch.double).requires_grad_()
    assert torch.autograd.gradcheck(unit_rows, x)
    torch.testing.assert_close(unit_rows(x), torch.nn.functional.normalize(x, dim=2))
    nothing = torch.zeros(2, 5, requires_grad=True)
    unit_rows(nothing).sum().backward()
    assert not unit_rows(nothing).any()
    assert not nothing.grad.any()


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    kept = dropped_out(torch.zeros(999, 301), 0.2)
    assert (kept == 0).float().mean().item() == pytest.approx(0.2, abs=0.005)
    assert kept.max().item() == pytest.approx(1.25, rel=1e-4)
    assert len(kept.unique()) == 2
    both = ((kept[:, 1:] == 0) & (kept[:, :-1] == 0)).float().mean().item()
    assert both == pytest.approx(0.04, abs=0.002), "neighbours are drawn apart"


@pytest.mark.parametrize("n_columns", [10, 95, 400, 401])
def test_the_best_of_rows_are_those_of_topk(n_columns: int) -> None:
    scores = torch.randn(50, n_columns)
    scores[:5, 7:] = -torch.inf  # less to choose from than asked for
    for ours, theirs in zip(best_of(scores, 10), scores.topk(10, dim=1), strict=True):
        assert torch.equal(ours[5:], theirs[5:])
    assert torch.equal(best_of(scores, 10)[0], scores.topk(10, dim=1)[0])
    assert (best_of(scores, 10)[1] < n_columns).logical_or(best_of(scores, 10)[0] == -torch.inf).all()
