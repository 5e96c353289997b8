"""Attention over the modalities of every node, chunk by chunk, and unit rows with a short gradient."""

from __future__ import annotations

import torch
from torch import nn

ROWS_AT_ONCE = 1024  # nodes: what is computed of them stays in the cache


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` with its last dimension of length 1; zeros stay zeros, and have no gradient.

    Args:
        x: ``[..., dim]``.
    """
    return _UnitRows.apply(x)


class _UnitRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        lengths = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = torch.where(lengths > 1e-12, 1 / lengths, 0.0)
        unit = x * scale
        ctx.save_for_backward(unit, scale)
        return unit

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        unit, scale = ctx.saved_tensors
        along = (gradient * unit).sum(dim=-1, keepdim=True)
        return torch.addcmul(gradient, unit, along, value=-1).mul_(scale)


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

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return ``[n, dim]``.

        Args:
            tokens: ``[M, n, dim]``.
        """
        if self.query is None:
            return self.output(tokens[0].repeat(1, self.heads))
        return _Attention.apply(tokens, self.between(), self.output.weight)

    def between(self) -> torch.Tensor:
        """Return what stands between a key's token and a query's in a score, heads side by side, ``[dim, H * dim]``.

        ``(W_Q e) . (W_K e') = e . (W_Q^T W_K e')``: with few heads this is fewer products than both projections.
        """
        query, key = (weight.view(self.heads, -1, weight.shape[1]) for weight in (self.query.weight, self.key.weight))
        product = key.transpose(1, 2) @ query / query.shape[1] ** 0.5  # [H, dim, dim]
        return product.transpose(0, 1).flatten(1)


class _Attention(torch.autograd.Function):
    """Eq. 6 with the gradient written out, so that no more than a chunk is held beside what the gradient needs.

    Only differences of scores count in a softmax, so keys are those of ``e_j - e_0`` and the first score is 0.
    """

    @staticmethod
    def forward(ctx, tokens: torch.Tensor, between: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        n_modalities, n, dim = tokens.shape
        heads, later = output.shape[1] // dim, n_modalities - 1
        asked = tokens.new_empty(later, n, heads, dim)
        shares = tokens.new_empty(n_modalities, later, n, heads)
        result = tokens.new_empty(n, dim)
        for start in range(0, n, ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            part = tokens[:, rows]
            apart = part[1:] - part[:1]  # [M - 1, rows, dim]
            for each, into in zip(apart, asked[:, rows], strict=True):
                torch.mm(each, between, out=into.view(len(each), -1))
            scores = [[_dot(each.unsqueeze(1), key) for key in asked[:, rows]] for each in part]  # [rows, H] each
            shares[:, :, rows] = share = _softmax(torch.stack([torch.stack(row) for row in scores]))
            torch.mm(_mixed(part, apart, share), output.T, out=result[rows])
        ctx.save_for_backward(tokens, between, output, asked, shares)
        return result

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        tokens, between, output, asked, shares = ctx.saved_tensors
        n_modalities, n, dim = tokens.shape
        of_tokens, of_between, of_output = torch.empty_like(tokens), torch.zeros_like(between), torch.zeros_like(output)
        for start in range(0, n, ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            part, share, above = tokens[:, rows], shares[:, :, rows], gradient[rows]
            apart = part[1:] - part[:1]
            of_output.addmm_(above.T, _mixed(part, apart, share))
            of_mixed = (above @ output).view(len(above), -1, dim)  # [rows, H, dim]
            of_share = _dot(apart.unsqueeze(2), of_mixed) / n_modalities  # [M - 1, rows, H]
            of_score = share * (of_share - (share * of_share).sum(1, keepdim=True))  # [M, M - 1, rows, H]
            weight, into = share.mean(0).unsqueeze(-1), of_tokens[:, rows]  # [M - 1, rows, H, 1]
            for j in range(n_modalities - 1):
                of_key = _weighed(of_score[:, j], part.unsqueeze(2)).flatten(1)  # [rows, H * dim]
                of_between.addmm_(apart[j].T, of_key)
                torch.mm(of_key, between.T, out=into[j + 1])
                _add_heads(into[j + 1], weight[j], of_mixed)
            torch.sub(of_mixed.sum(1), into[1:].sum(0), out=into[0])
            for j, key in enumerate(asked[:, rows]):
                for m in range(n_modalities):
                    _add_heads(into[m], of_score[m, j].unsqueeze(-1), key)
        return of_tokens, of_between, of_output


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(-1)


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    """Return the shares of all but the first, whose score is 0; ``[M, M - 1, rows, H]`` as the scores."""
    top = scores.amax(dim=1, keepdim=True).clamp_min_(0)
    mass = (scores - top).exp_()
    return mass / (mass.sum(dim=1, keepdim=True) + torch.exp(-top))


def _mixed(part: torch.Tensor, apart: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return the mean over who asks of each head's answer, ``[rows, H * dim]``."""
    return _weighed(share.mean(0), apart.unsqueeze(2), part[0].unsqueeze(1)).flatten(1)


def _weighed(weights: torch.Tensor, values: torch.Tensor, first: torch.Tensor | None = None) -> torch.Tensor:
    """Return ``first + sum_k weights_k values_k``, ``[rows, H, dim]``, for weights ``[k, rows, H]``."""
    total = first
    for weight, value in zip(weights.unsqueeze(-1), values, strict=True):
        total = weight * value if total is None else torch.addcmul(total, weight, value)
    return total


def _add_heads(total: torch.Tensor, weights: torch.Tensor, values: torch.Tensor) -> None:
    """Add ``[rows, H, dim]`` weighed by ``[rows, H, 1]`` to ``[rows, dim]``, head by head."""
    for head in range(values.shape[1]):
        total.addcmul_(weights[:, head], values[:, head])
