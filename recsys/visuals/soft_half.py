"""PMG's soft half (Shen et al., WWW 2024): a user as states of a frozen language model, read by the flow as tokens.

    prefix   This person likes: {keywords}. They liked:   user, items   A poster of {title} …   queries
    learned  words                                        projected     words                   learned

The language model reads all of it; what it thinks at the queries becomes, by one linear map, m vectors of the flow's
condition ``soft``. As there, only prefix, queries and maps are learned, by the denoising loss on the target's picture.
Unlike there, the tokens between are projected from vectors of the user and of liked items, not the same for all, the
states are added to the user vector that the flow knows already, and it is input embeddings alone that are learned.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from recsys.core.config import Settings as BaseSettings
from recsys.core.errors import ConfigError
from recsys.profiles.llm.untrusted import plain, title_words

START = "A poster with the mood, the colours and the style that this person would like to see:"
REMEMBERED = 4096  # texts whose tokens are kept at hand
WORD = 40  # letters of a keyword


class SoftHalfSettings(BaseSettings):
    """Sizes of the soft half."""

    width: int = Field(576, ge=1, description="Numbers in an input embedding of the language model.")
    layers: int = Field(10, ge=0, description="First layers of the language model that are run; 0: all.")
    prefix: int = Field(4, ge=0, description="Learned tokens before the prompt.")
    queries: int = Field(1, ge=1, description="Learned tokens at its end: vectors that come out.")
    items: int = Field(4, ge=0, description="Liked items, the most like the target, that are a token each.")
    hidden: int = Field(128, ge=1, description="Inner layer of the items' projector.")
    soft_dim: int = Field(256, ge=2, multiple_of=2, description="Of user vectors, and of the vectors that come out.")
    keywords: int = Field(6, ge=0, description="Words of the taste in the prompt, the first.")
    word_tokens: int = Field(24, ge=1, description="Tokens of all keywords that are read.")
    title_tokens: int = Field(12, ge=1, description="Tokens of the target's title that are read.")


@dataclass(frozen=True)
class Told:
    """What the soft half is told of ``B`` pairs of a user and a target.

    Attributes:
        keywords: of each taste, the strongest first.
        titles: of each target.
        users: ``TasteSpace`` vectors, ``[B, soft_dim]``.
        items: rows of ``TasteSpace`` of liked items, ``[B, H, soft_dim / 2]``.
        there: which of them there are, bool ``[B, H]``.
    """

    keywords: Sequence[Sequence[str]]
    titles: Sequence[str]
    users: torch.Tensor
    items: torch.Tensor
    there: torch.Tensor

    def __len__(self) -> int:
        return len(self.titles)

    def take(self, rows: Sequence[int]) -> Told:
        """Return the pairs at ``rows``."""
        at = list(rows)
        words, titles = ([given[row] for row in at] for given in (self.keywords, self.titles))
        return Told(words, titles, self.users[at], self.items[at], self.there[at])

    def strangers(self) -> Told:
        """Return the same targets, each with the taste of the pair before it."""
        return replace(self.take([row - 1 for row in range(len(self))]), titles=self.titles)


class Trunk:
    """The first layers of a frozen language model; gradients flow through it, none to it.

    Args:
        model: a causal model of ``transformers`` whose layers are ``base_model.layers``; its weights are frozen here.
        tokenizer: its tokenizer.
        layers: that are run; 0: all.

    Raises:
        ConfigError: it has no such list of layers, or fewer.
    """

    def __init__(self, model: Any, tokenizer: Any, layers: int = 0) -> None:
        whole = model.eval().requires_grad_(False).base_model
        found = getattr(whole, "layers", None)
        if found is None or layers > len(found):
            cause = "its layers are not found" if found is None else f"{layers} of {len(found)} layers were asked for"
            raise ConfigError("language model of the soft half", cause, "Take smollm, and at most all of its layers.")
        self._inner = copy.copy(whole)  # shares the weights; the model itself keeps all of its layers
        self._inner._modules = dict(whole._modules)
        self._inner.layers = nn.ModuleList(found[: layers or len(found)])
        self._tokenizer = tokenizer
        self.ids = lru_cache(REMEMBERED)(self._ids)

    @property
    def table(self) -> torch.Tensor:
        """Input embeddings of all tokens, ``[vocabulary, width]``."""
        return self._inner.get_input_embeddings().weight

    def to(self, device: torch.device) -> Trunk:
        """Move it."""
        self._inner.to(device)
        return self

    def _ids(self, text: str, longest: int = 10**6) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"][:longest])

    def words(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the input embeddings of tokens, ``[n, width]``."""
        return self.table[torch.tensor(ids, dtype=torch.long, device=self.table.device)]

    def states(self, rows: Sequence[torch.Tensor], last: int) -> torch.Tensor:
        """Return what it thinks at the last tokens of each row, ``[B, last, width]``, each number of size about 1.

        Args:
            rows: input embeddings, ``[n_i, width]`` each; shorter ones are padded on the left.
            last: tokens.
        """
        given = pad_sequence(list(rows), batch_first=True, padding_side="left")  # [B, n, width]
        lengths = torch.tensor([len(row) for row in rows], device=given.device)
        places = torch.arange(given.shape[1], device=given.device) - (given.shape[1] - lengths)[:, None]  # [B, n]
        found = self._inner(
            inputs_embeds=given, attention_mask=(places >= 0).long(), position_ids=places.clamp_min(0), use_cache=False
        )
        thought = found.last_hidden_state[:, -last:]
        return nn.functional.layer_norm(thought, thought.shape[-1:])


class SoftHalf(nn.Module):
    """The learned parts: prefix, projectors, queries and the map to what the flow reads.

    Args:
        settings: sizes.
    """

    Settings = SoftHalfSettings

    def __init__(self, settings: SoftHalfSettings | None = None) -> None:
        super().__init__()
        self.settings = chosen = settings or SoftHalfSettings()
        width, dim = chosen.width, chosen.soft_dim
        self.prefix = nn.Parameter(0.02 * torch.randn(chosen.prefix, width))
        self.queries = nn.Parameter(0.02 * torch.randn(chosen.queries, width))
        self.user = nn.Linear(dim, width)
        self.item = nn.Sequential(nn.Linear(dim // 2, chosen.hidden), nn.GELU(), nn.Linear(chosen.hidden, width))
        self.head = nn.Linear(width, dim)
        nn.init.normal_(self.head.weight, std=0.02 * width**-0.5)  # nearly the user vector alone, at first
        nn.init.zeros_(self.head.bias)
        self.register_buffer("unit", torch.tensor(0.02))  # size of a number in a word's embedding
        self.register_buffer("centre", torch.zeros(chosen.queries, width))
        self.register_buffer("spread", torch.ones(chosen.queries, width))

    @torch.no_grad()
    def begin(self, trunk: Trunk, told: Told) -> None:
        """Start from words, and measure what states differ by from user to user: they have much in common otherwise.

        Args:
            trunk: the language model.
            told: some dozens of pairs.

        Raises:
            ConfigError: the language model has embeddings of another width.
        """
        ids = list(itertools.islice(itertools.cycle(trunk.ids(START)), len(self.prefix) + len(self.queries)))
        self.check(trunk)
        words = trunk.words(ids)
        self.prefix.copy_(words[: len(self.prefix)])
        self.queries.copy_(words[len(self.prefix) :])
        self.unit.copy_(trunk.table.float().square().mean().sqrt())
        found = self.states(trunk, told)
        self.centre.copy_(found.mean(dim=0))
        spread = found.std(dim=0)
        self.spread.copy_(spread.clamp_min(1e-3 + 0.1 * float(spread.mean())))

    def check(self, trunk: Trunk) -> None:
        """Refuse a language model whose embeddings have another width.

        Raises:
            ConfigError: see above.
        """
        if trunk.table.shape[1] != self.settings.width:
            cause = f"its embeddings have {trunk.table.shape[1]} numbers, the soft half was made for another"
            raise ConfigError("language model of the soft half", cause, "Take the one it was trained with: smollm.")

    def forward(self, told: Told, trunk: Trunk) -> torch.Tensor:
        """Return what the flow reads of each user, ``[B, queries, soft_dim]``."""
        apart = (self.states(trunk, told) - self.centre) / self.spread
        return told.users[:, None] + self.head(apart)

    def states(self, trunk: Trunk, told: Told) -> torch.Tensor:
        """Return the language model's states at the queries, ``[B, queries, width]``."""
        users, items = self._sized(self.user(told.users)), self._sized(self.item(told.items))
        rows = []
        for row, (keywords, title) in enumerate(zip(told.keywords, told.titles, strict=True)):
            before, after = self._prompt(trunk, keywords, title)
            liked = items[row, told.there[row]]
            parts = (self.prefix, trunk.words(before), users[row, None], liked, trunk.words(after), self.queries)
            rows.append(torch.cat(parts))
        return trunk.states(rows, self.settings.queries)

    def _sized(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens as long as words are."""
        return self.unit * nn.functional.layer_norm(tokens, tokens.shape[-1:])

    def _prompt(self, trunk: Trunk, keywords: Sequence[str], title: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the tokens before and after those of the history; what is not the package's own text is cleaned."""
        chosen = self.settings
        words = [word for word in (plain(one, WORD) for one in keywords[: chosen.keywords]) if word]
        said = trunk.ids(" " + ", ".join(words), chosen.word_tokens) if words else trunk.ids(" pictures")
        before = trunk.ids("This person likes:") + said + trunk.ids(".\nThey liked:")
        named = trunk.ids(" " + title_words(title), chosen.title_tokens)
        return before, trunk.ids("\nA poster of") + named + trunk.ids(" for this person:")
