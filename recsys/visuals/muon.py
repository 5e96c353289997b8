"""Muon (Jordan et al. 2024): steps of a matrix made orthogonal, in float32.

PyTorch's own makes them in bfloat16, which on CPUs without it takes longer than all the rest of a step.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz iteration, as published
ROUNDS = 5


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return ``[rows, columns]`` with all singular values near 1 (from about 0.7 to 1.2)."""
    a, b, c = COEFFICIENTS
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is made orthogonal before the step; for matrices inside a network alone.

    Args:
        parameters: matrices.
        lr: step size.
        momentum: how much of the momentum stays at each step (Nesterov's).
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                kept = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                kept.lerp_(parameter.grad, 1 - group["momentum"])
                move = orthogonal(parameter.grad.lerp(kept, group["momentum"]))
                taller = max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
                parameter.add_(move, alpha=-group["lr"] * taller)
