"""Where soft tokens begin: what a language model would say of titles if a user's tokens moved a little.

A frozen model's log-likelihood of a title is a smooth function of the tokens before it. At common tokens its slope is
worked out once a title; to first order a user's preference is then the product of a move of the tokens and that slope.
So a linear map from users to moves is an ordinary softmax regression over the catalogue, learned from all of train
without the model in the loop (compare the linearised fine-tuning of Achille et al., "LQF", CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from recsys.core.runtime import Run

BATCH, CHECK = 256, 50  # examples a step; steps between two looks at validation


@dataclass(frozen=True)
class Slopes:
    """How the log-likelihood of titles changes with common tokens.

    Attributes:
        items: whose titles, int64 ``[n]``.
        rows: slopes, centred, of mean length 1 and evened out, float32 ``[n, d]``.
        back: from what those rows are multiplied with to moves of the tokens, float32 ``[d, tokens * width]``.
        unit: log-likelihood a token that a product with a row stands for.
    """

    items: np.ndarray
    rows: torch.Tensor
    back: torch.Tensor
    unit: float

    @classmethod
    def of(cls, items: np.ndarray, raw: np.ndarray, evening: float) -> Slopes:
        """Make them of slopes as they are, ``[n, tokens, width]``.

        Args:
            items: whose they are.
            raw: the slopes.
            evening: directions in which titles differ less than this share of the most are not blown up to the same
                size as the others; small values separate more titles, and take tokens further from where slopes hold.
        """
        flat = torch.from_numpy(raw.reshape(len(raw), -1))
        flat = flat - flat.mean(dim=0)
        length = flat.norm(dim=1).mean().clamp_min(1e-12)
        _, sizes, right = torch.linalg.svd(flat / length, full_matrices=False)
        kept = sizes > 1e-5 * sizes[0]
        gain = sizes[0] / (sizes[kept].square() + (evening * sizes[0]).square()).sqrt()
        back = gain[:, None] * right[kept]  # [d, tokens * width]
        rows = flat / length @ back.T
        even = rows.norm(dim=1).mean().clamp_min(1e-12)
        return cls(items, rows / even, back, float(length * even))


def regress(
    users: np.ndarray,
    items: np.ndarray,
    slopes: Slopes,
    counts: np.ndarray,
    *,
    steps: int,
    rate: float,
    decay: float,
    check: Callable[[Callable[[np.ndarray, np.ndarray], np.ndarray]], float] | None,
    run: Run,
) -> torch.Tensor:
    """Return the map from users to moves of tokens, float32 ``[dim, tokens * width]``.

    Softmax over the titles of ``slopes``, beside the log of how popular each is: what is learned is what popularity
    does not tell.

    Args:
        users: vectors, ``[n, dim]``.
        items: what each took next, ``[n]``; those without a slope are left out.
        slopes: of the titles.
        counts: how many took each item of the catalogue, ``[n_items]``.
        steps, rate, decay: of Adam; the penalty on squared weights.
        check: given a function ``(users [n, dim], items [n, c]) -> scores [n, c]``, says how good it is; the best step
            is kept. None: the last one is.
        run: its seed.
    """
    place = np.full(len(counts), -1)
    place[slopes.items] = np.arange(len(slopes.items))
    there = np.flatnonzero(place[items] >= 0)
    x, y = torch.from_numpy(users[there]), torch.from_numpy(place[items[there]])
    prior = torch.from_numpy(np.log(counts[slopes.items] + 0.5).astype(np.float32))
    weights = torch.zeros(users.shape[1], slopes.rows.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=rate / slopes.rows.shape[1] ** 0.5)
    rng, best, kept = run.rng("soft tokens", "first order"), -np.inf, None

    def scores(vectors: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        places = place[candidates]
        found = (torch.from_numpy(vectors) @ weights.detach()) @ slopes.rows.T
        return np.where(places >= 0, np.take_along_axis(found.numpy(), np.maximum(places, 0), axis=1), 0.0)

    for step in run.bar(range(1, steps + 1), "soft tokens, first order"):
        rows = torch.from_numpy(rng.integers(len(x), size=min(BATCH, len(x))))
        loss = cross_entropy((x[rows] @ weights) @ slopes.rows.T + prior, y[rows]) + decay * weights.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if check is not None and (step % CHECK == 0 or step == steps) and (value := check(scores)) > best:
            best, kept = value, weights.detach().clone()
    return (weights.detach() if kept is None else kept) @ slopes.back
