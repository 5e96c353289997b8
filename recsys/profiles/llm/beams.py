"""The likeliest continuations of prompts by beam search; a prompt is read once, and beams that have ended cost nothing.

``generate`` of ``transformers`` reads each prompt once a beam. With long prompts and short answers that is most of the
work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

Allowed = Callable[[tuple[int, ...]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Beam:
    """A continuation.

    Attributes:
        row: of the prompt.
        tokens: what follows it, without the end.
        score: log-probability, the end included.
        ended: whether it may not go on.
        parent: the row of the model's last pass that it goes on from.
    """

    row: int
    tokens: tuple[int, ...] = ()
    score: float = 0.0
    ended: bool = False
    parent: int = 0


def beam_search(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    beams: int,
    longest: int,
    ends: Set[int],
    pad: int,
    taken: Sequence[Set[tuple[int, ...]]] = (),
    allowed: Allowed | None = None,
) -> list[list[Beam]]:
    """Return the likeliest continuations of each prompt, the best first.

    Scores are plain log-probabilities: what is compared are whole texts, so lengths need no correction.

    Args:
        model: a causal model of ``transformers``.
        prompts: token numbers, at least one each.
        beams: continuations that are kept.
        longest: tokens of one at most; then it is cut.
        ends: tokens that end one.
        pad: fills short prompts up on the left, looked at by nobody.
        taken: what may not be a whole continuation, by prompt.
        allowed: gives the tokens that may follow those of a continuation, and what is added to their log-probabilities;
            none: all of them, and nothing.
    """
    with torch.inference_mode():
        reader = _Reader(model, prompts, pad)
        kept = [[Beam(row, parent=row)] for row in range(len(prompts))]
        live = [one for row in kept for one in row]
        for place in range(longest):
            log = reader.log_probabilities()
            for row, one in enumerate(live):
                if not one.tokens or (taken and one.tokens in taken[one.row]):
                    log[row, list(ends)] = -torch.inf
            if allowed is not None:
                log = _restricted(log, live, allowed)
            kept = _extended(kept, log, beams, ends)
            grown = [one for row in kept for one in row if not one.ended]
            if not grown or place + 1 == longest:
                break
            reader.read([one.parent for one in grown], [one.tokens[-1] for one in grown])
            rows = iter(range(len(grown)))
            kept = [[one if one.ended else replace(one, parent=next(rows)) for one in row] for row in kept]
            live = [one for row in kept for one in row if not one.ended]
    return kept


def _restricted(log: torch.Tensor, live: Sequence[Beam], allowed: Allowed) -> torch.Tensor:
    """Return log-probabilities ``[live, vocabulary]`` of what may follow, with what is added, -inf elsewhere."""
    result = torch.full_like(log, -torch.inf)
    for row, one in enumerate(live):
        tokens, added = (torch.from_numpy(part).to(log.device) for part in allowed(one.tokens))
        result[row, tokens] = log[row, tokens] + added.float()
    return result


def _extended(kept: list[list[Beam]], log: torch.Tensor, beams: int, ends: Set[int]) -> list[list[Beam]]:
    """Return the best ``beams`` of each prompt one token on; those that ended compete as they are."""
    best, tokens = (one.cpu().numpy() for one in log.topk(min(beams, log.shape[1])))  # [live, beams]
    return [_row_extended(row, best, tokens, beams, ends) for row in kept]


def _row_extended(row: list[Beam], best: np.ndarray, tokens: np.ndarray, beams: int, ends: Set[int]) -> list[Beam]:
    ended, live = [one for one in row if one.ended], [one for one in row if not one.ended]
    if not live:
        return row
    parents = np.array([one.parent for one in live])
    grown = best[parents] + np.array([one.score for one in live])[:, None]  # [live, beams]
    scores = np.concatenate([[one.score for one in ended], grown.ravel()])
    found = []
    for place in np.argsort(-scores, kind="stable")[:beams]:
        if place < len(ended):
            found.append(ended[place])
            continue
        which, column = divmod(int(place) - len(ended), best.shape[1])
        one, token = live[which], int(tokens[parents[which], column])
        text = one.tokens if token in ends else (*one.tokens, token)
        if np.isfinite(scores[place]):
            found.append(Beam(one.row, text, float(scores[place]), token in ends, one.parent))
    return found


class _Reader:
    """The model with the keys and values of what it has read."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], pad: int) -> None:
        self.model, self.device = model, next(model.parameters()).device
        self.accepted = set(inspect.signature(getattr(model, "get_base_model", lambda: model)().forward).parameters)
        longest = max(map(len, prompts))
        ids = [[pad] * (longest - len(row)) + list(row) for row in prompts]
        self.mask = torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in prompts], device=self.device
        )  # [n, length]
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)
        self._pass(torch.tensor(ids, device=self.device), positions, None)

    def read(self, parents: list[int], tokens: list[int]) -> None:
        """Read one token after each of the rows ``parents``; these become the rows."""
        rows = torch.tensor(parents, device=self.device)
        self.cache.reorder_cache(rows)
        self.mask = torch.cat([self.mask[rows], self.mask.new_ones(len(rows), 1)], dim=1)
        self._pass(torch.tensor(tokens, device=self.device)[:, None], self.mask.sum(1, keepdim=True) - 1, self.cache)

    def log_probabilities(self) -> torch.Tensor:
        """Return those of the next token, float32 ``[rows, vocabulary]``."""
        return self.logits[:, -1].float().log_softmax(-1)

    def _pass(self, ids: torch.Tensor, positions: torch.Tensor, cache: Any) -> None:
        some = {"position_ids": positions, "logits_to_keep": 1}  # not every architecture takes them
        known = {name: value for name, value in some.items() if name in self.accepted}
        found = self.model(input_ids=ids, attention_mask=self.mask, past_key_values=cache, use_cache=True, **known)
        self.logits, self.cache = found.logits, found.past_key_values
