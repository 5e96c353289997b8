"""Ranking losses. All of them are means, so that the step size does not depend on the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

CHUNK_NUMBERS = 2**22  # logits held at a time: 16 MiB, so that a chunk stays near the cache


def bpr_loss(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Return ``-mean log sigmoid(positive - negative)`` (Rendle et al., UAI 2009).

    Args:
        positive, negative: scores ``[B]``.
    """
    return F.softplus(negative - positive).mean()


def weighted_logsumexp(queries: torch.Tensor, items: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return ``sum_b weights_b log sum_i exp(queries_b . items_i)`` without ever holding all logits.

    The gradient is taken chunk by chunk in the forward pass, so that the cost is three
    matrix products and the memory one chunk.

    Args:
        queries: ``[B, dim]``.
        items: ``[n_items, dim]``.
        weights: ``[B]``, no gradient.
    """
    return _WeightedLogSumExp.apply(queries, items, weights)


class _WeightedLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, queries: torch.Tensor, items: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        total = queries.new_zeros(())
        grad_queries, grad_items = torch.empty_like(queries), torch.zeros_like(items)
        step = max(1, CHUNK_NUMBERS // len(items))
        for start in range(0, len(queries), step):
            chunk, weight = queries[start : start + step], weights[start : start + step]
            logits = chunk @ items.T  # [step, n_items]
            top = logits.amax(dim=1, keepdim=True)
            mass = logits.sub_(top).exp_().sum(dim=1, keepdim=True)
            total += (weight * (mass.log() + top).squeeze(1)).sum()
            share = logits.mul_(weight.unsqueeze(1) / mass)  # weighted softmax
            torch.mm(share, items, out=grad_queries[start : start + step])
            grad_items.addmm_(share.T, chunk)
        ctx.save_for_backward(grad_queries, grad_items)
        return total

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        grad_queries, grad_items = ctx.saved_tensors
        return gradient * grad_queries, gradient * grad_items, None
