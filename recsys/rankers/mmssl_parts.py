"""The pieces of MMSSL: content through the graph, modality graphs, attention, critic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import nn

from recsys.core.values import Interactions
from recsys.graph.propagation import SparseMatrix
from recsys.rankers.losses import weighted_logsumexp
from recsys.rankers.multimodal import xavier

SCORES_AT_ONCE = 2**22  # numbers held while neighbours are searched: 16 MiB


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
        alone = torch.from_numpy(train.item_counts == 0).float().unsqueeze(1)
        self.register_buffer("alone", alone, persistent=False)

    def projected(self) -> torch.Tensor:
        """Return ``F`` of all modalities side by side, ``[n_items, M * dim]``."""
        parts = []
        for name in self.names:
            raw = getattr(self, f"raw_{name}") @ self.weights[name] + self.biases[name]  # [n_items, dim]
            parts.append(F.dropout(raw, self.dropout, self.training) * getattr(self, f"has_{name}"))
        return torch.cat(parts, dim=1)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return unit vectors of users ``[n_users, M, dim]`` and items ``[n_items, M, dim]``."""
        projected = self.projected()
        users = self.to_users @ projected
        items = self.to_items @ users + self.alone * projected
        return self.unit(users), self.unit(items)

    def unit(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``[n, M * dim]`` as ``[n, M, dim]`` of unit length each (zeros stay zeros)."""
        return F.normalize(x.view(len(x), len(self.names), self.dim), dim=2)


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
    step = max(1, SCORES_AT_ONCE // max(len(candidates), 1))
    for start in range(0, len(users), step):
        scores = users[start : start + step] @ pool.T  # [step, n_candidates]
        part = seen[start : start + step].tocoo()
        rows, columns = (torch.from_numpy(array.astype(np.int64)).to(users.device) for array in (part.row, part.col))
        scores[rows, columns] = -torch.inf
        value, place = scores.topk(min(k, len(candidates)), dim=1)
        best = torch.where(value > -torch.inf, chosen[place], -1)
        found[start : start + step, : best.shape[1]] = best.int()
    found[torch.from_numpy(train.user_counts == 0).to(users.device)] = -1
    return found


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


class CrossModalAttention(nn.Module):
    """Per node, each modality's vector asks all of them (paper, eq. 6); the answers' mean is put through a layer.

    Values are the vectors themselves, whole for every head. With one modality there is nobody else to ask.

    Args:
        n_modalities: M.
        dim: a multiple of ``heads``.
        heads: H.
    """

    def __init__(self, n_modalities: int, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim, bias=False) if n_modalities > 1 else None
        self.key = nn.Linear(dim, dim, bias=False) if n_modalities > 1 else None
        self.output = nn.Linear(heads * dim, dim, bias=False)
        for weight in self.parameters():
            nn.init.xavier_uniform_(weight)
        size = dim // heads
        head_of = torch.eye(heads).repeat_interleave(size, dim=0) / size**0.5
        self.register_buffer("head_of", head_of, persistent=False)  # [dim, H]: sums a head's numbers, and scales

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return ``[n, dim]``.

        Args:
            tokens: ``[M, n, dim]``.
        """
        n, dim = tokens.shape[1:]
        if self.query is None:
            return self.output(tokens[0].repeat(1, self.heads))
        # Only differences of keys count in a softmax, so the first one's score is 0: a key less to compute.
        keys = self.key(tokens[1:] - tokens[:1])  # [M - 1, n, dim]
        later = (self.query(tokens).unsqueeze(1) * keys) @ self.head_of  # [M, M - 1, n, H]
        scores = torch.cat([torch.zeros_like(later[:, :1]), later], dim=1)  # [M, M, n, H]
        shares = scores.softmax(dim=1).mean(dim=0).permute(1, 2, 0)  # [n, H, M], the mean over who asks
        mixed = shares @ tokens.transpose(0, 1)  # [n, H, dim]
        return self.output(mixed.reshape(n, self.heads * dim))


class Critic(nn.Module):
    """Tells rows of observed interactions from rows generated by content, on a sample of the columns.

    The first layer has a vector an item, of which those shown are summed, so that it is linear in the items. Without
    batch norm (the penalty is on each row by itself) and without a bounded output, as WGAN-GP requires
    (Gulrajani et al., NeurIPS 2017).

    Args:
        n_items: columns there are.
        hidden: width of the first layer; the second has half.
    """

    def __init__(self, n_items: int, hidden: int) -> None:
        super().__init__()
        self.items = nn.Parameter(torch.randn(n_items, hidden))  # rows have length 1, so that sums do not explode
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.rest = nn.Sequential(
            nn.LeakyReLU(0.2), nn.LayerNorm(hidden), nn.Linear(hidden, hidden // 2),
            nn.LeakyReLU(0.2), nn.LayerNorm(hidden // 2), nn.Linear(hidden // 2, 1),
        )  # fmt: skip

    def forward(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Return one number a row, ``[n]``.

        Args:
            rows: ``[n, C]``.
            columns: which item each column is, int64 ``[C]``.
        """
        return self.rest(rows @ self.items.index_select(0, columns) + self.bias).squeeze(1)


def gradient_penalty(critic: Critic, real: torch.Tensor, fake: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return ``mean (|d D(x) / d x| - 1)^2`` at points ``x`` drawn between each real row and its fake, a scalar."""
    share = torch.rand(len(real), 1, device=real.device)
    between = (share * real + (1 - share) * fake).requires_grad_()  # [n, C]
    (slope,) = torch.autograd.grad(critic(between, columns).sum(), between, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()


def augmented(taken: torch.Tensor, agreement: torch.Tensor, *, scale: float, temperature: float) -> torch.Tensor:
    """Return observed rows made dense (paper, eq. 8), of unit length, ``[b, C]``.

    ``softmax((A + scale * g) / temperature) + agreement`` with Gumbel noise ``g``: the temperature divides both.

    Args:
        taken: A, ``[b, C]``.
        agreement: what the ranker itself thinks, already weighted, ``[b, C]``.
        scale: of the noise; 0 has none.
        temperature: 0 leaves the interactions as they are.
    """
    rows = taken
    if temperature:
        uniform = torch.rand_like(taken).clamp_(1e-9, 1 - 1e-7)
        rows = ((taken - scale * torch.log(-torch.log(uniform))) / temperature).softmax(dim=1)
    return F.normalize(rows + agreement, dim=1)


def contrast(behaviour: torch.Tensor, modality: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the contrast of users' final vectors with those of one modality (paper, eq. 10), a scalar.

    ``mean_u -log exp(s(h_u, e_u) / t) / sum_v [exp(s(h_v, e_u) / t) + exp(s(e_v, e_u) / t)]``, s the cosine.

    Args:
        behaviour, modality: ``[B, dim]``, the same users.
        temperature: t.
    """
    ours, theirs = F.normalize(behaviour, dim=1), F.normalize(modality, dim=1)
    asked, shares = theirs / temperature, theirs.new_full((len(theirs),), 1 / len(theirs))
    agreement = (asked * ours).sum() / len(theirs)
    return weighted_logsumexp(asked, torch.cat([ours, theirs]), shares) - agreement
