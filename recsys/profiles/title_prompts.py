"""Histories as prompts of titles, in tokens; where a title ends is the writer's mark, which no title can set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from recsys.core.errors import ConfigError
from recsys.profiles.llm.untrusted import KEPT, title_words

MARK = ";"  # ends each title; titles lose theirs
assert MARK not in KEPT


class TitlePrompts:
    """Prompts of item titles.

    Args:
        opening, closing: tokens before and after the titles.
        mark: the token that ends a title.
        titles: tokens of each item's title, the mark left out.
        counts: how many users took each item.
    """

    def __init__(
        self,
        opening: Sequence[int],
        closing: Sequence[int],
        mark: int,
        titles: Sequence[Sequence[int]],
        counts: np.ndarray,
    ) -> None:
        self.opening, self.closing, self.mark = list(opening), list(closing), int(mark)
        self.titles, self.counts = [list(one) for one in titles], np.asarray(counts, dtype=np.int64)

    @classmethod
    def of(
        cls, tokenizer: Any, titles: Sequence[str], counts: np.ndarray, opening: str, closing: str, longest: int
    ) -> TitlePrompts:
        """Tokenise; titles are made harmless first, and cut after ``longest`` tokens.

        The closing stands on a line of its own: titles have one line, so none can be taken for it.

        Raises:
            ConfigError: the tokenizer has no token for the mark.
        """
        tokens = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
        lead = [one for one in tokenizer("")["input_ids"] if one == tokenizer.bos_token_id]
        mark = tokens(MARK)
        if len(mark) != 1 or mark[0] == tokenizer.unk_token_id:
            cause = f"its tokenizer has no token of its own for {MARK!r}, which ends a title"
            raise ConfigError("language model that writes queries", cause, "Choose another model.")
        said = tokenizer([" " + title_words(title) for title in titles], add_special_tokens=False)["input_ids"]
        cut = [row[:longest] for row in said]
        return cls([*lead, *tokens(opening)], tokens("\n" + closing), mark[0], cut, counts)

    def prompt(self, history: Sequence[int], most: int) -> list[int]:
        """Return what is read before the next title: of a history's latest ``most`` items."""
        return self.example(history, None, most, 0.0)[0]

    def example(
        self, history: Sequence[int], item: int | None, most: int, history_weight: float
    ) -> tuple[list[int], list[float]]:
        """Return the tokens of a history and the title that follows, and what each token counts in the loss."""
        tokens, weights = [*self.opening], [0.0] * len(self.opening)
        for each in history[max(len(history) - most, 0) :]:
            tokens += [*self.titles[each], self.mark]
            weights += [history_weight] * (len(self.titles[each]) + 1)
        tokens += self.closing
        weights += [0.0] * len(self.closing)
        if item is not None:
            tokens += [*self.titles[item], self.mark]
            weights += [1.0] * (len(self.titles[item]) + 1)
        return tokens, weights

    def following(self, begun: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens by which the titles go on, or end, that begin so, and the log of their shares.

        Shares are those of the users who took such items: along a title they multiply to its popularity.
        """
        return self._following[begun]

    @cached_property
    def _following(self) -> dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]]:
        found: dict[tuple[int, ...], dict[int, float]] = {}
        for title, count in zip(self.titles, self.counts, strict=True):
            for place, token in enumerate([*title, self.mark]):
                after = found.setdefault(tuple(title[:place]), {})
                after[token] = after.get(token, 0.0) + float(count) + 0.5  # nobody took it: rare, not impossible
        return {begun: _shares(after) for begun, after in found.items()}

    def state(self) -> dict[str, np.ndarray]:
        """Return what ``restored`` needs, as plain arrays."""
        lengths = [len(one) for one in self.titles]
        flat = [token for one in self.titles for token in one]
        parts = {"opening": self.opening, "closing": self.closing, "mark": [self.mark], "lengths": lengths,
                 "counts": self.counts}  # fmt: skip
        return {f"prompts.{name}": np.array(part, dtype=np.int64) for name, part in {**parts, "titles": flat}.items()}

    @classmethod
    def restored(cls, state: Mapping[str, np.ndarray]) -> TitlePrompts:
        """Return the prompts that ``state`` came from."""
        part = lambda name: np.asarray(state[f"prompts.{name}"], dtype=np.int64)  # noqa: E731
        titles = np.split(part("titles"), np.cumsum(part("lengths"))[:-1])
        return cls(
            part("opening").tolist(), part("closing").tolist(), int(part("mark")[0]), [one.tolist() for one in titles],
            part("counts"),
        )  # fmt: skip


def _shares(after: Mapping[int, float]) -> tuple[np.ndarray, np.ndarray]:
    counts = np.array(list(after.values()))
    return np.array(list(after), dtype=np.int64), np.log(counts / counts.sum())
