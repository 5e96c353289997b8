"""What a generator is told: an item and somebody's taste, and both in words with the statements that they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from recsys.core.errors import DataError
from recsys.core.values import ItemFeatures
from recsys.describing import encoded
from recsys.items.text import item_texts
from recsys.profiles.history import History
from recsys.profiles.schema import Statement, UserProfile
from recsys.profiling import Profiling
from recsys.serving.catalogue import Catalogue
from recsys.visuals.keywords import Keyword, Lexicon, preference_keywords, target_keywords
from recsys.visuals.request import VisualItem, VisualTaste

LIKED = 100  # liked items that are looked at, the latest
ADDRESS = ("http://", "https://")  # pictures known by address only are not fetched


@dataclass(frozen=True)
class Brief:
    """One request; nothing in it names the user.

    Attributes:
        target: the item.
        taste: keywords of the profile, and liked items.
        prompt: in words: the item's title and keywords, and those of the taste, each with its statement.
        hidden: ids of items that the profile forbids: their pictures are not shown either.
    """

    target: VisualItem
    taste: VisualTaste
    prompt: Mapping[str, Any]
    hidden: frozenset[str] = frozenset()


class Briefing:
    """Makes briefs of a run's items and users.

    Args:
        profiling: of the run; edits of profiles count.
    """

    def __init__(self, profiling: Profiling) -> None:
        self.profiling, self.workflow, self.dataset = profiling, profiling.workflow, profiling.dataset

    def of(self, item: str, user: str | None, liked: Sequence[str] = ()) -> Brief:
        """Return the brief of an item (id or title) for a user, or for somebody new who likes these.

        Raises:
            DataError: no such item or user.
        """
        row = int(Catalogue(self.dataset).find([item])[0])
        current = self.profiling.newcomer(liked) if user is None else self.profiling.current(user)
        words = preference_keywords(current.profile, self.profiling.builder.concepts)
        past = self._past(self._liked(user, current.history, current.profile, row))
        keywords = tuple((one.words, one.weight) for one in words)
        taste = VisualTaste(keywords, past, everybody=self._everybody)
        forbidden = self._meant([one.concept for one in current.profile.statements if one.forbidden])
        hidden = frozenset(self.dataset.items[int(one)] for one in np.flatnonzero(forbidden))
        return Brief(self.items(np.array([row]))[0], taste, self._prompt(row, words, current.profile), hidden)

    def check(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Refuse pairs of user and item of which one is unknown.

        Raises:
            DataError: the first such user, or item.
        """
        Catalogue(self.dataset).find([item for _, item in pairs])
        users = [user for user, _ in pairs]
        for user, row in zip(users, self.dataset.users.index(users), strict=True):
            if row < 0:
                raise DataError(f"user {user!r}", "not in the data set", "Check the ids of the pairs.")

    @cached_property
    def everything(self) -> tuple[VisualItem, ...]:
        """All items."""
        return self.items(np.arange(len(self.dataset.items)))

    def items(self, rows: np.ndarray) -> tuple[VisualItem, ...]:
        """Return items as generators see them."""
        table, names, features = self.dataset.item_table[rows], self.workflow.config.items, self.features
        texts, titles, found = item_texts(table), self.dataset.titles(rows), []
        spaces = {names.encoder_of(modality): features[modality][rows] for modality in features.matrices}
        for place, (item_id, picture) in enumerate(zip(table["item_id"], table["image"], strict=True)):
            vectors = {name: matrix[place] for name, matrix in spaces.items() if np.isfinite(matrix[place]).all()}
            here = None if picture and picture.lower().startswith(ADDRESS) else picture
            found.append(VisualItem(item_id, titles[place], texts[place], here, vectors))
        return tuple(found)

    @cached_property
    def features(self) -> ItemFeatures:
        """Vectors that the run's encoders made."""
        return encoded(self.workflow.items())

    @cached_property
    def _everybody(self) -> dict[str, np.ndarray]:
        """Return the mean vector of pictures, each as often as train has its item: what users have in common."""
        if "image" not in self.features:
            return {}
        taken, shown = self.workflow.loaded_split.train.item_counts, self.features.present("image")
        if not taken[shown].any():
            return {}
        mean = np.average(self.features["image"][shown], axis=0, weights=taken[shown])
        return {self.workflow.config.items.encoder_of("image"): mean}

    def _liked(self, user: str | None, history: Sequence[int], profile: UserProfile, target: int) -> np.ndarray:
        """Return the latest liked items, int64; never the target, nor what the profile forbids or dislikes.

        Liked is what the user rated as high as the middle of their ratings, or higher, and what they did not rate.
        """
        known = History.of(history, len(self.dataset.items)) if user is None else self.profiling.history(user)
        rows, rated = known.items, known.rated()
        if rated.any():
            rows = rows[~rated | (known.ratings >= np.median(known.ratings[rated]))]
        against = [one.concept for one in profile.statements if one.forbidden or _disliked(one)]
        return rows[(rows != target) & ~self._meant(against)[rows]][-LIKED:]

    def _meant(self, concepts: Sequence[str]) -> np.ndarray:
        """Return which items have one of these concepts, bool ``[n_items]``."""
        if not concepts:  # else free words would load the text encoder for nothing
            return np.zeros(len(self.dataset.items), dtype=bool)
        return self.profiling.matcher.meant(concepts)

    def _past(self, rows: np.ndarray) -> tuple[VisualItem, ...]:
        """Return liked items; a picture among them that cannot be read is left out, for nobody asked for that item."""
        return tuple(one if self._readable(one) else replace(one, picture=None) for one in self.items(rows))

    def _readable(self, item: VisualItem) -> bool:
        from recsys.visuals.reader import opened

        if self.workflow.config.items.image in item.vectors or item.picture is None:
            return True  # it was read when it was encoded
        try:
            opened(item)
        except DataError:
            return False
        return True

    def _prompt(self, row: int, words: Sequence[Keyword], profile: UserProfile) -> dict[str, Any]:
        target = target_keywords(self.dataset.item_table.row(row, named=True), self._lexicon)
        return {
            "title": self.dataset.titles([row])[0],
            "target_keywords": [{"words": one.words, "weight": one.weight, "concept": one.concept} for one in target],
            "keywords": [asdict(one) | {"statement_text": profile.statement(one.statement).text} for one in words],
        }

    @cached_property
    def _lexicon(self) -> Lexicon:
        pictures = self.features.unit("image") if "image" in self.features else None
        return Lexicon(self.dataset.item_table, pictures)


def _disliked(statement: Statement) -> bool:
    return statement.polarity == "dislike" and statement.weight > 0
