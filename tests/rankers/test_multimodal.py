"""VBPR, FREEDOM and STAIR: taste that only features tell, and each formula by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recsys.core.errors import RankerError
from recsys.core.runtime import Run
from recsys.core.values import Interactions, ItemFeatures, Query
from recsys.evaluation.evaluator import EvaluationSettings, evaluate, make_validator
from recsys.graph.interaction import InteractionGraph
from recsys.rankers.checkpoint import CHECKPOINT
from recsys.rankers.freedom import FREEDOM, FREEDOMModule, modality_shares, pruned_graph
from recsys.rankers.stair import STAIR, STAIRModule, whitening
from recsys.rankers.store import make_ranker
from recsys.rankers.training import make_optimizer
from recsys.rankers.vbpr import VBPR, VBPRModule
from recsys.rankers.vectors import VectorModule, pair_batches, user_batches

from worlds import block_features, blocks, content_world, shuffled

QUIET, CPU = Run(seed=3, log=lambda message: None), torch.device("cpu")
MEASURE = EvaluationSettings(ks=(3,), metric="recall@3", resamples=200)
DOT = {"similarity": "dot", "temperature": 1.0}
RANKERS: dict[str, dict[str, Any]] = {
    "vbpr": {"content_dim": 8},
    "freedom": {"image_weight": 0.5},
    "stair": {},
}
MODULES = {"vbpr": (VBPR, VBPRModule), "freedom": (FREEDOM, FREEDOMModule), "stair": (STAIR, STAIRModule)}


def trained(name: str, split: Any, features: ItemFeatures, **settings: Any) -> Any:
    config = {
        "name": name, "epochs": 12, "patience": 4, "batch_size": 32, "embedding_dim": 16, "learning_rate": 0.05,
        **RANKERS[name], **settings,
    }  # fmt: skip
    ranker = make_ranker(config)
    ranker.fit(split.train, features, valid=make_validator(split, MEASURE), run=QUIET)
    return ranker


def recall(ranker: Any, split: Any) -> float:
    return evaluate(ranker, split, MEASURE, run=QUIET).summary["recall@3"]


@pytest.mark.parametrize("reveals", ["image", "text"])
@pytest.mark.parametrize("name", RANKERS)
def test_new_items_are_found_by_the_modality_that_tells_and_by_nothing_else(name: str, reveals: str) -> None:
    """The test items are untouched in train: 3 of the 21 new ones that a user has left are right, chance is 0.14.

    There are only four tastes, so single draws are uneven: knocked-out features are drawn several times.
    """
    split, features = content_world(reveals)
    other = "text" if reveals == "image" else "image"
    more = {"neighbours": 1, "image_neighbours": 5} if (name, reveals) == ("stair", "image") else {}
    ranker = trained(name, split, features, **more)
    assert recall(ranker, split) > 0.9
    assert recall(trained(name, split, features, modalities=(reveals,)), split) > 0.9
    assert recall(trained(name, split, features, modalities=(other,)), split) < 0.5
    assert recall(trained(name, split, shuffled(features), **more), split) < 0.5
    blind = [knocked_out(ranker, features, (reveals, other), seed) for seed in range(6)]
    assert mean_recall(blind, split) < 0.3
    assert mean_recall([knocked_out(ranker, features, (reveals,), seed) for seed in range(6)], split) < 0.3
    assert mean_recall([knocked_out(ranker, features, (other,), seed) for seed in range(6)], split) > 0.8


def knocked_out(ranker: Any, features: ItemFeatures, modalities: tuple[str, ...], seed: int) -> Any:
    mixed = shuffled(features, seed)
    chosen = {name: (mixed if name in modalities else features)[name] for name in features.matrices}
    return ranker.with_features(ItemFeatures(chosen))


def mean_recall(scorers: list[Any], split: Any) -> float:
    return float(np.mean([recall(scorer, split) for scorer in scorers]))


@pytest.mark.parametrize("name", RANKERS)
def test_pairs_find_new_items_too(name: str) -> None:
    split, features = content_world("text")
    assert recall(trained(name, split, features, loss="bpr", batch_size=128), split) > 0.9


@pytest.mark.parametrize("name", RANKERS)
def test_a_newcomer_who_took_only_new_items_is_understood(name: str) -> None:
    split, features = content_world("text")
    cold = np.flatnonzero(split.train.item_counts == 0)
    taken = cold[cold % 4 == 1][:2]
    query = Query.of_histories([taken], split.train.n_items)
    ranker = trained(name, split, features)
    scores = ranker.score(query)[0]
    scores[taken] = -np.inf
    assert (np.argsort(-scores)[:5] % 4 == 1).sum() >= 4
    if name != "vbpr":  # there the item's bias is on top
        parts = ranker.contributions_to(query, np.arange(split.train.n_items))
        np.testing.assert_allclose(parts.sum(1), ranker.score(query)[0], rtol=1e-4, atol=1e-5)


def test_vbpr_gives_a_newcomer_without_history_the_biases() -> None:
    split, features = content_world("text")
    ranker = trained("vbpr", split, features, epochs=2)
    scores = ranker.score(Query.of_histories([[]], split.train.n_items))[0]
    assert np.ptp(scores) > 0
    np.testing.assert_array_equal(scores, ranker.embeddings()["item"][:, -1])


def test_stair_reads_other_features_through_the_whitening_it_learned_from() -> None:
    split, features = content_world("text")
    ranker = trained("stair", split, features, epochs=1, modalities=("text",))
    changed = features["text"] * np.linspace(0.1, 3.0, 16, dtype=np.float32)
    state = ranker.with_features(ItemFeatures({"text": changed})).state()
    rows = ItemFeatures({"text": changed}).unit("text") @ ranker.state()["learned.whitening_text"]
    a = 0.1 + 0.9 * (np.arange(16) / 16) ** 0.1
    expected = rows * a / (1 - (1 - a) ** 4)
    np.testing.assert_allclose(state["fold_start"], expected, rtol=1e-4, atol=1e-5)


# -- each formula by hand, on a world where some items are new and some lack a modality --------------------------


def small_world() -> tuple[Interactions, dict[str, np.ndarray]]:
    train = blocks(4, 6, 5).train
    old = train.select(train.item_idx < 17)  # items 17, 18 and 19 are new
    features = block_features(blocks(4, 6, 5))
    return old, {name: features.unit(name) for name in ("image", "text")}


def module_of(name: str, **settings: Any) -> tuple[Any, Interactions, dict[str, np.ndarray], Any]:
    kind, module = MODULES[name]
    train, content = small_world()
    chosen = kind.Settings(embedding_dim=6, **{"regularisation": 0.0, **DOT, **settings})
    torch.manual_seed(1)
    made = module(train, content, chosen) if name == "vbpr" else module(train, content, chosen, CPU)
    return made, train, content, chosen


def dense(train: Interactions) -> torch.Tensor:
    return torch.from_numpy(InteractionGraph(train).normalised().toarray())


def nearest(rows: np.ndarray, k: int, among: np.ndarray) -> np.ndarray:
    """0/1 matrix of the k most alike of ``among``, worked row by row."""
    result = np.zeros((len(rows), len(rows)))
    for item in range(len(rows)):
        likeness = np.where(among, rows @ rows[item], -1.0)
        likeness[item] = -1.0
        best = [other for other in np.argsort(-likeness)[:k] if likeness[other] > 0]
        result[item, best] = 1.0
    return result


def losses_by_hand(module: VectorModule, nodes: torch.Tensor, train: Interactions, loss: str) -> tuple:
    """Return a batch, our loss of it, and that of plain formulas over the vectors ``nodes``."""
    make = pair_batches if loss == "bpr" else user_batches
    batch = next(iter(make(train, 16, QUIET, CPU, True)(0)))
    users, items = nodes[: train.n_users], nodes[train.n_users :]
    if loss == "bpr":
        margin = (users[batch[0]] * (items[batch[1]] - items[batch[2]])).sum(1)
        value = -torch.log(torch.sigmoid(margin)).mean()
    else:
        old = torch.from_numpy(np.flatnonzero(train.item_counts))
        logits = users[batch[0]] @ items.T
        log_shares = logits - torch.logsumexp(logits[:, old], 1, keepdim=True)
        value = -log_shares[batch[2], batch[3]].mean()
    return batch, getattr(module, loss)(batch), value


def step(module: VectorModule, value: torch.Tensor, learning_rate: float) -> None:
    optimizer = make_optimizer(module, VBPR.Settings(learning_rate=learning_rate))
    value.backward()
    optimizer.step()


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_vbpr_by_hand(loss: str) -> None:
    module, train, content, _ = module_of("vbpr", loss=loss, content_dim=3)
    for parameter in (module.bias, module.content_bias):
        parameter.data.normal_()
    features = torch.from_numpy(np.hstack([content["image"], content["text"]]) / np.sqrt(2.0)).float()
    user_id, user_content = module.user[:, :6], module.user[:, 6:]
    old = torch.from_numpy(train.item_counts > 0)
    assert not module.item[~old].any()
    scores = user_id @ module.item.T + user_content @ (features @ module.projection).T
    scores = scores + (module.bias + features @ module.content_bias).T
    nodes = module.propagated()
    torch.testing.assert_close(nodes[: train.n_users] @ nodes[train.n_users :].T, scores)

    _, ours, value = losses_by_hand(module, nodes, train, loss)
    torch.testing.assert_close(ours, value)
    names = [name for name, _ in module.named_parameters()]
    expected = torch.autograd.grad(value, list(module.parameters()), retain_graph=True)
    ours.backward()
    for name, gradient in zip(names, expected, strict=True):
        torch.testing.assert_close(module.get_parameter(name).grad, gradient, rtol=1e-4, atol=1e-6)


def test_vbpr_penalty_by_hand_and_terms_off() -> None:
    module, train, _, _ = module_of("vbpr", loss="bpr", regularisation=0.5)
    batch = next(iter(pair_batches(train, 8, QUIET, CPU, True)(0)))
    touched = [module.user[batch[0]], *(table[items] for table in (module.item, module.bias) for items in batch[1:])]
    shared = module.projection.square().sum() + module.content_bias.square().sum()
    expected = 0.25 * (sum(part.square().sum() for part in touched) / 8 + shared)
    plain = module_of("vbpr", loss="bpr")[0]
    torch.testing.assert_close(module.bpr(batch) - plain.bpr(batch), expected)
    bare = module_of("vbpr", id_term=False, item_bias=False, content_bias=False)[0]
    assert {name for name, _ in bare.named_parameters() if bare.get_parameter(name).numel()} == {"user", "projection"}


def test_freedom_item_graph_by_hand() -> None:
    """Means over the neighbours, modalities weighted; an item that lacks one goes by the other, both: by nothing."""
    module, train, content, _ = module_of("freedom", neighbours=2, image_weight=0.3)
    old = train.item_counts > 0
    parts = {name: nearest(content[name], 2, old) for name in content}
    expected = np.zeros((20, 20))
    for item in range(20):
        there = {name: part[item] / part[item].sum() for name, part in parts.items() if part[item].any()}
        weights = {name: {"image": 0.3, "text": 0.7}[name] for name in there}
        for name, row in there.items():
            expected[item] += weights[name] / sum(weights.values()) * row
    assert not expected[2].any()  # neither image nor text
    assert expected[17:].any(axis=1).all()  # new items have neighbours
    assert not expected[:, 17:].any()  # and are nobody's
    ours = (module.item_graph @ torch.eye(20)).numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize("num_item_layers", [0, 1, 2])
def test_freedom_by_hand(loss: str, num_item_layers: int) -> None:
    module, train, content, _ = module_of(
        "freedom", loss=loss, num_item_layers=num_item_layers, modality_weight=0.4, neighbours=3
    )
    graph, items = dense(train), module.embedding[train.n_users :]
    mean = (module.embedding + graph @ module.embedding + graph @ graph @ module.embedding) / 3
    content_part = torch.linalg.matrix_power(module.item_graph @ torch.eye(20), num_item_layers) @ items
    if not num_item_layers:
        content_part = torch.zeros_like(items)
    nodes = torch.cat([mean[: train.n_users], mean[train.n_users :] + content_part])
    torch.testing.assert_close(module.propagated(), nodes)

    _, ours, value = losses_by_hand(module, nodes, train, loss)
    for name in ("image", "text"):
        side = torch.cat([nodes[: train.n_users], torch.from_numpy(content[name]) @ module.projections[name]])
        value = value + 0.4 * losses_by_hand(FREEDOMPlain(module), side, train, loss)[2]
    torch.testing.assert_close(ours, value)
    names = [name for name, _ in module.named_parameters()]
    expected = torch.autograd.grad(value, list(module.parameters()), retain_graph=True)
    ours.backward()
    for name, gradient in zip(names, expected, strict=True):
        torch.testing.assert_close(module.get_parameter(name).grad, gradient, rtol=1e-4, atol=1e-6)
    assert not module.embedding.grad[train.n_users :][17:].any()  # new items are never trained
    assert not items[17:].any()


class FREEDOMPlain:
    """The module for ``losses_by_hand`` where only its formula is wanted."""

    def __init__(self, module: VectorModule) -> None:
        self.bpr, self.softmax = (lambda batch: None), (lambda batch: None)


def test_pruning_keeps_the_share_and_prefers_rare_ends() -> None:
    train = content_world("text")[0].train
    users, items = train.user_idx, train.item_idx
    rare = (users % 8 == 0) | (items < 10)
    thin = InteractionGraph(train.select(rare))  # degrees differ
    counts = np.zeros(thin.train.matrix.shape)
    for draw in range(300):
        kept = pruned_graph(thin, 0.3, np.random.default_rng(draw))
        ratings = (kept[: thin.n_users, thin.n_users :] > 0).toarray()
        assert ratings.sum() == round(0.3 * thin.train.matrix.nnz)
        counts += ratings
    edges = thin.train.matrix.tocoo()
    assert not counts[thin.train.matrix.toarray() == 0].any()
    product = thin.train.user_counts[edges.row] * thin.train.item_counts[edges.col]
    drawn = counts[edges.row, edges.col]
    assert drawn[product <= np.quantile(product, 0.2)].mean() > 1.2 * drawn[product >= np.quantile(product, 0.8)].mean()
    np.testing.assert_allclose(kept.toarray(), kept.toarray().T)
    degrees = (kept.toarray() > 0).sum(1)
    row, column = np.argwhere(kept.toarray() > 0)[0]
    np.testing.assert_allclose(kept.toarray()[row, column], (degrees[row] * degrees[column]) ** -0.5, rtol=1e-6)


def test_freedom_trains_on_the_pruned_graph_and_scores_by_the_whole() -> None:
    module, _, _, _ = module_of("freedom", keep_edges=0.3)
    whole = module.propagated().detach()
    module.prune(np.random.default_rng(0))
    assert (module.propagated() - whole).abs().max() > 1e-3
    module.eval()
    torch.testing.assert_close(module.propagated(), whole)


def test_shares_of_the_modalities() -> None:
    one, two, three = ({name: np.zeros(1) for name in names} for names in (["image"], ["audio", "image"], "abc"))
    assert modality_shares(one, 0.1) == {"image": 1.0}
    assert modality_shares(two, 0.1) == {"image": 0.1, "audio": 0.9}
    assert modality_shares({**two, "text": 0}, 0.2) == {"image": 0.2, "audio": 0.4, "text": 0.4}
    assert set(modality_shares(three, 0.1).values()) == {1.0}


def test_whitening_gives_the_left_singular_vectors() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    left = np.linalg.svd(rows, full_matrices=False)[0]
    made = rows @ whitening(rows, 3)
    signs = np.sign((made * left[:, :3]).sum(0))
    np.testing.assert_allclose(made * signs, left[:, :3] * np.sqrt(30 / 3), rtol=1e-4, atol=1e-4)
    assert not whitening(rows, 8)[:, 5:].any()  # beyond the rank
    assert np.isfinite(whitening(np.zeros((4, 3), np.float32), 2)).all()


def stair_by_hand(module: STAIRModule, train: Interactions, initial: torch.Tensor) -> torch.Tensor:
    """Equation by equation, dimension by dimension, with matrix powers."""
    graph, dim, n_layers = dense(train), initial.shape[1], 3
    columns = []
    for j in range(dim):
        b = 1 - (0.1 + 0.9 * (j / dim) ** 0.1)
        powers = [b**layer * torch.linalg.matrix_power(graph, layer) for layer in range(n_layers + 1)]
        columns.append((1 - b) / (1 - b ** (n_layers + 1)) * (sum(powers) @ initial[:, j]))
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_stair_forward_and_one_smoothed_step_by_hand(loss: str) -> None:
    """The items move by the Neumann sum of Adam's step over the item graph, new items too; users by the step."""
    module, train, content, _ = module_of("stair", loss=loss, neighbours=2, image_neighbours=1)
    initial = module.initial().detach().requires_grad_()
    nodes = stair_by_hand(module, train, initial)
    torch.testing.assert_close(module.propagated(), nodes)
    _, ours, value = losses_by_hand(module, nodes, train, loss)
    torch.testing.assert_close(ours, value)

    (gradient,) = torch.autograd.grad(value, initial)
    moved = -0.1 * gradient / (gradient.abs() + 1e-8)  # Adam's first step
    old = train.item_counts > 0
    links = nearest(content["image"], 1, old) + nearest(content["text"], 2, old)
    links = np.maximum(links, links.T)
    degrees = np.maximum(links.sum(1), 1e-12)
    graph = torch.from_numpy(links / np.sqrt(np.outer(degrees, degrees))).float()
    users, items = moved.split([train.n_users, 20])
    smoothed = []
    for j in range(6):
        a = 0.1 + 0.9 * (j / 6) ** 0.1
        powers = [a**layer * torch.linalg.matrix_power(graph, layer) for layer in range(4)]
        smoothed.append((1 - a) / (1 - a**4) * (sum(powers) @ items[:, j]))
    expected = initial.detach() + torch.cat([users, torch.stack(smoothed, dim=1)])

    step(module, ours, 0.1)
    torch.testing.assert_close(module.initial().detach(), expected, rtol=1e-3, atol=1e-4)
    assert not module.moved_item[17:].any()  # what moves new items is their neighbours
    assert (expected - initial)[train.n_users + 17 :].abs().max() > 1e-3


def test_stair_starts_as_content_and_switches_turn_terms_off() -> None:
    module, train, content, _ = module_of("stair", neighbours=5, image_neighbours=1)
    white = {name: content[name] @ whitening(content[name], 6) for name in content}
    both = (white["image"] + 5 * white["text"]) / 6
    start = module.start[train.n_users :].numpy()
    np.testing.assert_allclose(start[5], both[5], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(start[0], white["text"][0], rtol=1e-4, atol=1e-5)  # it has no image
    user = train.histories[3]
    np.testing.assert_allclose(module.start[3].numpy(), start[user].mean(0), rtol=1e-4, atol=1e-5)

    bare, _, _, _ = module_of("stair", start_from_features=False, smooth_updates=False)
    assert not bare.start.any()
    torch.testing.assert_close(bare.initial()[train.n_users :], bare.moved_item.detach())
    assert bare.moved_item[:17].std() > 0.05


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize("name", RANKERS)
def test_a_finite_gradient_reaches_every_parameter(name: str, loss: str) -> None:
    extra = {"modality_weight": 0.1} if name == "freedom" else {}
    module, train, _, _ = module_of(name, loss=loss, **extra)
    make = pair_batches if loss == "bpr" else user_batches
    getattr(module, loss)(next(iter(make(train, 200, QUIET, CPU, True)(0)))).backward()
    assert sum(parameter.numel() for parameter in module.parameters())
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", RANKERS)
def test_an_interrupted_run_ends_with_the_same_weights_and_other_features_start_anew(name: str, tmp_path) -> None:
    split, features = content_world("text")
    settings = {"batch_size": 64, "embedding_dim": 8, **({"keep_edges": 0.5} if name == "freedom" else {})}
    fit = lambda epochs, run, given=features: _fit(name, split, given, run, epochs=epochs, **settings)  # noqa: E731
    whole = fit(4, QUIET)
    log: list[str] = []
    run = Run(seed=3, folder=tmp_path, log=log.append)
    with pytest.raises(KeyboardInterrupt):
        _fit(name, split, features, run, epochs=4, stop_after=2, **settings)
    assert (tmp_path / CHECKPOINT).exists()
    resumed = fit(4, run)
    assert any("continuing" in line for line in log)
    for key, value in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[key], value, err_msg=key)
    log.clear()
    fit(4, run, shuffled(features))
    assert not any("continuing" in line for line in log)


def _fit(name: str, split: Any, features: ItemFeatures, run: Run, *, stop_after: int = 0, **settings: Any) -> Any:
    ranker = make_ranker({"name": name, **settings})
    valid = make_validator(split, MEASURE)

    class Stopping:
        metric, calls = valid.metric, 0

        def __call__(self, scorer: Any) -> Any:
            self.calls += 1
            if stop_after and self.calls > stop_after:
                raise KeyboardInterrupt
            return valid(scorer)

    ranker.fit(split.train, features, valid=Stopping(), run=run)
    return ranker


def test_faults_in_features_are_told() -> None:
    split, features = content_world("text")
    with pytest.raises(RankerError, match="audio"):
        make_ranker({"name": "freedom", "modalities": ["audio"]}).fit(split.train, features, run=QUIET)
    with pytest.raises(RankerError, match="3 rows for 64 items"):
        make_ranker({"name": "vbpr"}).fit(split.train, ItemFeatures({"text": np.ones((3, 2))}), run=QUIET)
    ranker = make_ranker({"name": "stair", "epochs": 1, "embedding_dim": 4})
    ranker.fit(split.train, features, run=QUIET)
    with pytest.raises(RankerError, match=r"learned from \(64, 16\)"):
        ranker.with_features(ItemFeatures({"text": features["text"][:, :5], "image": features["image"]}))
    with pytest.raises(RankerError, match="here are none"):
        ranker.with_features(ItemFeatures({"text": features["text"]}))
