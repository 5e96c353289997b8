"""Sparse products for message passing, with the gradient of a symmetric matrix for free.

A normalised adjacency ``A`` is fixed, so the backward pass of ``y = A x`` is ``A^T g``
and nothing of the forward pass needs to be kept. On a CPU the product is PyTorch's
``embedding_bag`` over the CSR arrays (a fused gather and weighted sum), which is
several times faster than its sparse formats; on a GPU it is a CSR product.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F


class SparseMatrix:
    """A fixed sparse matrix for products with dense ones.

    Args:
        matrix: float ``[n, m]``.
        symmetric: the matrix is its own transpose; halves the memory.
        device: where the products are computed.
    """

    def __init__(self, matrix: sp.csr_array, *, symmetric: bool = False, device: torch.device | str = "cpu") -> None:
        self.shape = matrix.shape
        self.device = torch.device(device)
        self._forward = _pack(matrix, self.device)
        self._backward = self._forward if symmetric else _pack(sp.csr_array(matrix.T), self.device)

    def __matmul__(self, dense: torch.Tensor) -> torch.Tensor:
        """Return ``A @ dense``, float32 ``[n, dim]``; differentiable in ``dense``."""
        return _Product.apply(dense, self)

    def multiply(self, dense: torch.Tensor, *, transpose: bool = False) -> torch.Tensor:
        """Return ``A @ dense`` (or ``A.T @ dense``) outside of autograd."""
        packed = self._backward if transpose else self._forward
        if isinstance(packed, torch.Tensor):
            return torch.sparse.mm(packed, dense)
        indptr, indices, values = packed
        return F.embedding_bag(
            indices, dense, indptr, mode="sum", per_sample_weights=values, include_last_offset=True
        )  # [n, dim]


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dense: torch.Tensor, matrix: SparseMatrix) -> torch.Tensor:
        ctx.matrix = matrix
        return matrix.multiply(dense.contiguous())

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.matrix.multiply(gradient.contiguous(), transpose=True), None


def _pack(matrix: sp.csr_array, device: torch.device) -> tuple[torch.Tensor, ...] | torch.Tensor:
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
    parts = [torch.from_numpy(array) for array in (indptr, indices, matrix.data.astype(np.float32))]
    if device.type == "cpu":
        return tuple(parts)
    return torch.sparse_csr_tensor(*parts, size=matrix.shape, device=device)
