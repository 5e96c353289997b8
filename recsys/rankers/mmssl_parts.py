"""The pieces of MMSSL: content through the graph, modality graphs, layers, contrast."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import nn

from recsys.core.values import Interactions
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.losses import weighted_logsumexp
from recsys.rankers.mmssl_attention import unit_rows
from recsys.rankers.multimodal import xavier

SCORES_AT_ONCE = 2**22  # numbers held while neighbours are searched: 16 MiB
ALIGNED = 16  # float32 in a cache line: products with rows of whole lines take half the time


class Content(nn.Module):
    """Item features, projected and passed over the interactions (paper, eq. 1-2).

    ``F = dropout(X W + b)``, users ``R_u F``, items ``R_i R_u F``, where each side sums its neighbours over the
    root of its own degree. An item that nobody took has no neighbours and keeps its own ``F``.

    Args:
        train: the interactions.
        content: unit rows ``[n_items, dim of it]`` of at least one modality; items without it have zeros.
    """

    def __init__(
        self, train: Interactions, content: Mapping[str, np.ndarray], dim: int, dropout: float, device: torch.device
    ) -> None:
        super().__init__()
        self.dim, self.dropout, self.names = dim, dropout, list(content)
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for name, unit in content.items():
            present = torch.from_numpy(unit.any(axis=1)).float().unsqueeze(1)  # [n_items, 1]
            self.register_buffer(f"raw_{name}", torch.from_numpy(unit), persistent=False)
            self.register_buffer(f"has_{name}", present, persistent=False)
            self.weights[name] = nn.Parameter(xavier(unit.shape[1], dim))
            self.biases[name] = nn.Parameter(torch.zeros(dim))
        self.to_users = SparseMatrix(one_sided(train.matrix), device=device)  # R_u [n_users, n_items]
        self.to_items = SparseMatrix(one_sided(sp.csr_array(train.matrix.T)), device=device)  # R_i
        self.register_buffer("alone", torch.from_numpy(np.flatnonzero(train.item_counts == 0)), persistent=False)

    def projected(self) -> torch.Tensor:
        """Return ``F`` of all modalities side by side, ``[n_items, M * dim]``."""
        parts = []
        for name in self.names:
            raw = torch.addmm(self.biases[name], getattr(self, f"raw_{name}"), self.weights[name])  # [n_items, dim]
            kept = getattr(self, f"has_{name}")
            parts.append(raw * (kept * dropped_out(raw, self.dropout) if self.training and self.dropout else kept))
        return torch.cat(parts, dim=1)

    def forward(self, chosen: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return unit vectors of users ``[n_users, M, dim]`` and items ``[n_items, M, dim]``.

        Args:
            chosen: the users wanted, int64; ``None``: all.
        """
        projected = self.projected()
        users = self.to_users @ projected
        items = self.to_items @ users
        if len(self.alone):
            items = items.index_add(0, self.alone, projected.index_select(0, self.alone))
        return self.unit(users if chosen is None else users.index_select(0, chosen)), self.unit(items)

    def unit(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``[n, M * dim]`` as ``[n, M, dim]`` of unit length each (zeros stay zeros)."""
        return unit_rows(x.view(len(x), len(self.names), self.dim))


def dropped_out(like: torch.Tensor, share: float) -> torch.Tensor:
    """Return what dropout multiplies by: 0 for ``share`` of the numbers, the same number above 1 for the others.

    16 random bits a number, so ``share`` is met to 1 in 65,536; a draw of 64 for each took a third of the content's
    time.

    Args:
        like: whose shape and device to take.
        share: in ``[0, 1)``.
    """
    limit = min(round(share * 2**16), 2**16 - 1)
    bits = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: like.numel()].view(like.shape) >= limit - 2**15
    return kept.to(like.dtype).mul_(2**16 / (2**16 - limit))


class MeanOfLayers(torch.autograd.Function):
    """``(x + A x + ... + A^L x) / (L + 1)`` for a symmetric A (eq. 7): summed from within, and its own gradient.

    Returns the rows of the chosen users ``[B, dim]``, each once, and of all items ``[n_items, dim]``.
    """

    @staticmethod
    def forward(
        ctx, x: torch.Tensor, adjacency: SparseMatrix, num_layers: int, chosen: torch.Tensor, n_users: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.made = adjacency, num_layers, x.shape, n_users
        ctx.save_for_backward(chosen)
        mean = mean_of_powers(x, adjacency, num_layers)
        return mean.index_select(0, chosen), mean[n_users:].clone()

    @staticmethod
    def backward(ctx, of_users: torch.Tensor, of_items: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        adjacency, num_layers, shape, n_users = ctx.made
        gradient = of_users.new_zeros(shape)
        gradient.index_copy_(0, *ctx.saved_tensors, of_users)
        gradient[n_users:] = of_items
        return mean_of_powers(gradient, adjacency, num_layers), None, None, None, None


def mean_of_powers(x: torch.Tensor, adjacency: SparseMatrix, num_layers: int) -> torch.Tensor:
    total = x
    for _ in range(num_layers):
        total = adjacency.multiply(total).add_(x)
    return total.div_(num_layers + 1) if num_layers else total


def one_sided(matrix: sp.csr_array) -> sp.csr_array:
    """Return the rows divided by the root of their sums; empty rows stay empty."""
    degrees = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1.0)
    return sp.csr_array(sp.diags_array(degrees**-0.5) @ matrix, dtype=np.float32)


def search_neighbours(
    users: torch.Tensor, items: torch.Tensor, candidates: np.ndarray, train: Interactions, k: int
) -> torch.Tensor:
    """Return each user's ``k`` best new items by the product of vectors, int32 ``[n_users, k]``; -1: no more.

    Args:
        users: ``[n_users, dim]``.
        items: ``[n_items, dim]``.
        candidates: the items looked at, sorted int64.
        train: what a user has taken is left out, and who took nothing gets nothing.
        k: at least 1.
    """
    found = torch.full((len(users), k), -1, dtype=torch.int32, device=users.device)
    chosen = torch.from_numpy(candidates).to(users.device)
    pool, seen = items.index_select(0, chosen), train.matrix[:, candidates]
    padding = -len(pool) % ALIGNED
    pool, chosen = F.pad(pool, (0, 0, 0, padding)), F.pad(chosen, (0, padding), value=-1)
    step = max(1, SCORES_AT_ONCE // max(len(candidates), 1))
    for start in range(0, len(users), step):
        scores = users[start : start + step] @ pool.T  # [step, n_candidates and padding]
        scores[:, len(candidates) :] = -torch.inf
        part = seen[start : start + step].tocoo()
        rows, columns = (torch.from_numpy(array.astype(np.int64)).to(users.device) for array in (part.row, part.col))
        scores[rows, columns] = -torch.inf
        value, place = best_of(scores, min(k, len(candidates)))
        best = torch.where(value > -torch.inf, chosen[place], -1)
        found[start : start + step, : best.shape[1]] = best.int()
    found[torch.from_numpy(train.user_counts == 0).to(users.device)] = -1
    return found


def best_of(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` best of each row and their places, best first, as ``topk`` does, in a fraction of its time.

    They lie in the ``k`` groups of columns with the best heads, so that only heads and those groups are sorted.

    Args:
        scores: ``[n, C]``.
        k: at most C.
    """
    size = math.isqrt(scores.shape[1] // k) if k else 0  # of a group
    if size < 2:
        return scores.topk(k, dim=1)
    groups = -(-scores.shape[1] // size)
    whole = groups * (size - 1)  # the last row of groups may be short
    heads = scores[:, :whole].view(len(scores), size - 1, groups).amax(dim=1)
    rest = scores[:, whole:]
    heads[:, : rest.shape[1]] = torch.maximum(heads[:, : rest.shape[1]], rest)
    first = heads.topk(k, dim=1).indices.unsqueeze(1)  # [n, 1, k]
    places = first + groups * torch.arange(size, device=scores.device).unsqueeze(1)  # [n, size, k]
    places = places.flatten(1)
    beyond = places >= scores.shape[1]
    values = scores.gather(1, places.masked_fill(beyond, 0)).masked_fill_(beyond, -torch.inf)
    value, at = values.topk(k, dim=1)
    return value, places.gather(1, at)


def modality_graphs(neighbours: torch.Tensor, n_items: int, device: torch.device) -> SparseMatrix:
    """Return the one-sided graphs of all modalities above each other, ``[M * n_nodes, n_nodes]`` (eq. 5).

    Args:
        neighbours: int32 ``[M, n_users, k]``; -1 is no neighbour.
        n_items: items are nodes ``n_users … n_users + n_items - 1``.
        device: where the products are computed.
    """
    n_users, k = neighbours.shape[1:]
    graphs = []
    for chosen in neighbours.cpu().numpy().astype(np.int64):
        users, items = np.repeat(np.arange(n_users), k), chosen.ravel()
        users, items = users[items >= 0], items[items >= 0]
        links = sp.csr_array((np.ones(len(users), np.float32), (users, items)), shape=(n_users, n_items))
        both = sp.block_array([[None, one_sided(links)], [one_sided(sp.csr_array(links.T)), None]], format="csr")
        graphs.append(both)
    return SparseMatrix(sp.csr_array(sp.vstack(graphs, format="csr")), device=device)


def contrast(behaviour: torch.Tensor, modality: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the contrast of users' final vectors with those of one modality (paper, eq. 10), a scalar.

    ``mean_u -log exp(s(h_u, e_u) / t) / sum_v [exp(s(h_v, e_u) / t) + exp(s(e_v, e_u) / t)]``, s the cosine.

    Args:
        behaviour, modality: ``[B, dim]``, the same users.
        temperature: t.
    """
    ours, theirs = unit_rows(behaviour), unit_rows(modality)
    asked, shares = theirs / temperature, theirs.new_full((len(theirs),), 1 / len(theirs))
    agreement = (asked * ours).sum() / len(theirs)
    return weighted_logsumexp(asked, torch.cat([ours, theirs]), shares) - agreement
