"""How likely a frozen causal language model finds titles, after a prompt and tokens that stand for a user.

The prompt is read once a user: its keys and values serve all of that user's titles, and gradients pass through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from recsys.core.errors import DataError
from recsys.core.runtime import Run
from recsys.profiles.naming import spoken_title

ROWS_AT_ONCE = 128  # titles that one pass reads when nothing is learned
SLOPES_AT_ONCE = 64


class TitleLikelihood:
    """Mean log-probability a token of item titles.

    Args:
        model: a causal model of ``transformers``; its weights are frozen here.
        tokenizer: its tokenizer.
        titles: one an item, in vocabulary order.
        prompt: read between the user's tokens and a title.
        longest: tokens of a title that are looked at.

    Attributes:
        read: tokens that the model has read so far.

    Raises:
        DataError: a prompt without a token.
    """

    def __init__(self, model: Any, tokenizer: Any, titles: Sequence[str], *, prompt: str, longest: int = 8) -> None:
        self.model = model.eval().requires_grad_(False)
        self.prompt = torch.tensor(tokenizer(prompt, add_special_tokens=False)["input_ids"], dtype=torch.long)
        if not len(self.prompt):
            raise DataError(f"prompt {prompt!r}", "it has no token", "Give the model a few words to go on from.")
        said = [" " + (spoken_title(title) or "untitled") for title in titles]
        self.titles = [row[:longest] for row in tokenizer(said, add_special_tokens=False)["input_ids"]]
        self.lengths = np.array([len(row) for row in self.titles], dtype=np.int64)
        self.read = 0
        self._plain: dict[bytes, np.ndarray] = {}  # by the tokens before the prompt

    @property
    def width(self) -> int:
        """Numbers in an input embedding."""
        return self.model.get_input_embeddings().weight.shape[1]

    def words(self, items: np.ndarray) -> torch.Tensor:
        """Return the input embeddings of the tokens of these items' titles, ``[n, width]``."""
        ids = torch.tensor([token for item in items for token in self.titles[item]], dtype=torch.long)
        table = self.model.get_input_embeddings().weight
        return table[ids.to(table.device)].detach()

    def after(self, tokens: torch.Tensor | None, items: np.ndarray) -> torch.Tensor:
        """Return how likely each user's candidates are, float32 ``[n, c]``; differentiable in ``tokens``.

        Args:
            tokens: input embeddings that stand for the users, ``[n, k, width]``; none: only the prompt is read.
            items: candidates, ``[n, c]``.
        """
        n, c = items.shape
        table = self.model.get_input_embeddings()
        prompt = table(self.prompt.to(table.weight.device)).expand(n, -1, -1)
        start = prompt if tokens is None else torch.cat([tokens.to(prompt), prompt], dim=1)  # [n, k + p, width]
        seen = self.model(inputs_embeds=start, use_cache=True, logits_to_keep=1)
        first = seen.logits[:, -1].float().log_softmax(-1)  # [n, vocabulary]
        ids, there = self._padded(items.ravel(), first.device)  # [n * c, t]
        self.read += n * start.shape[1] + int(there.sum())
        total = first.gather(1, ids[:, 0].view(n, c)).reshape(-1)  # [n * c]
        if ids.shape[1] > 1:
            cache = seen.past_key_values
            cache.batch_repeat_interleave(c)
            logits = self.model(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True).logits.float()
            said = logits.gather(-1, ids[:, 1:, None])[..., 0] - logits.logsumexp(-1)  # [n * c, t - 1]
            total = total + (said * there[:, 1:]).sum(dim=1)
        return (total / there.sum(dim=1)).view(n, c)

    def scores(self, tokens: torch.Tensor | None, items: np.ndarray) -> np.ndarray:
        """Return what ``after`` returns without gradients, as an array, a few users at a time."""
        step = max(1, ROWS_AT_ONCE // items.shape[1])
        found = []
        with torch.inference_mode():
            for at in range(0, len(items), step):
                part = None if tokens is None else tokens[at : at + step]
                found.append(self.after(part, items[at : at + step]).cpu().numpy())
        return np.concatenate(found) if found else np.zeros(items.shape, dtype=np.float32)

    def slopes(self, tokens: torch.Tensor, items: np.ndarray, run: Run) -> np.ndarray:
        """Return how each title's log-likelihood a token changes with tokens before it, float32 ``[n, k, width]``.

        Args:
            tokens: ``[k, width]``.
            items: whose titles, ``[n]``.
            run: its progress bar.
        """
        found = np.zeros((len(items), *tokens.shape), dtype=np.float32)
        order = np.argsort(self.lengths[items], kind="stable")  # like lengths together: less padding
        for at in run.bar(range(0, len(order), SLOPES_AT_ONCE), "titles"):
            rows = order[at : at + SLOPES_AT_ONCE]
            own = tokens.expand(len(rows), -1, -1).clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.after(own, items[rows][:, None]).sum(), own)
            found[rows] = slope.float().cpu().numpy()
        return found

    def plain(self, items: np.ndarray, tokens: torch.Tensor | None = None) -> np.ndarray:
        """Return how likely titles are of nobody in particular, float32, the shape of ``items``; each is read once.

        Args:
            items: any shape.
            tokens: ``[k, width]`` that stand for nobody; none: only the prompt is read.
        """
        name = b"" if tokens is None else tokens.detach().cpu().numpy().tobytes()
        known = self._plain.setdefault(name, np.full(len(self.titles), np.nan, dtype=np.float32))
        new = np.unique(items[np.isnan(known[items])])
        new = new[np.argsort(self.lengths[new], kind="stable")]
        for at in range(0, len(new), ROWS_AT_ONCE):
            some = new[at : at + ROWS_AT_ONCE]
            known[some] = self.scores(None if tokens is None else tokens[None], some[None, :])[0]
        return known[items]

    def _padded(self, items: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens and which of them are real, ``[n, t]``; what pads on the right is looked at by nobody."""
        longest = int(self.lengths[items].max())
        rows = [self.titles[item] + [0] * (longest - len(self.titles[item])) for item in items]
        there = torch.arange(longest)[None, :] < torch.from_numpy(self.lengths[items])[:, None]
        return torch.tensor(rows, dtype=torch.long, device=device), there.to(device)
