"""The system on one page: who takes what and gives what.

    Source.tables → canonicalise → Dataset → split → Split
    Dataset → ItemEncoder.encode (texts, pictures) → ItemFeatures
    Split.train + ItemFeatures → Ranker.fit; Query → Ranker.score
    VisualItem + VisualTaste → VisualGenerator.generate → pictures
    Ranker + Split → evaluation (masking, top-k, ties and metrics live there, not in rankers)

A class that has the methods fits; nothing needs to be inherited. A capability
beyond the main protocol (explaining, embeddings) is a small protocol of its own.
Every plug-in has a ``Settings`` class beside it and is made as ``Plugin(settings)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from recsys.core.config import Settings
    from recsys.core.runtime import Run
    from recsys.core.values import FitLog, Interactions, ItemFeatures, Query, Tables
    from recsys.visuals.request import GeneratedVisual, VisualItem, VisualTaste


class Source(Protocol):
    """A data set or a file format."""

    Settings: ClassVar[type[Settings]]
    settings: Settings

    def tables(self, raw: Path, *, run: Run) -> Tables:
        """Read the files of folder ``raw`` into canonical frames.

        Raises:
            DataError: a file, column or value that cannot be used; names file, row and remedy.
        """
        ...


class ListsFiles(Protocol):
    """A source that says which files it reads; of others every file in the raw folder counts as data."""

    def files(self, raw: Path) -> Iterable[Path]:
        """Yield the files that ``tables`` would read, pictures included; one that is missing may be left out."""
        ...


class ItemEncoder(Protocol):
    """Turns texts or pictures into vectors; reading, caching and order are ``items.encoding``'s work.

    Making one is cheap: its model is loaded by the first ``encode``.
    """

    Settings: ClassVar[type[Settings]]
    settings: Settings
    modalities: ClassVar[tuple[str, ...]]  # of "text" and "image"; both: one space for the two

    def identity(self) -> str:
        """Return what vectors depend on besides content and settings: the weights, by version or hash."""
        ...

    def encode(self, contents: Sequence[str] | Sequence[Image], modality: str, *, run: Run) -> np.ndarray:
        """Return finite float32 ``[n, dim]`` of non-empty texts, or of RGB pictures.

        Raises:
            EncoderError: the model cannot be loaded; says what to install or download.
        """
        ...


@runtime_checkable
class CutsTexts(Protocol):
    """An item encoder that reads the beginning of a long text alone."""

    def cut(self, texts: Sequence[str]) -> tuple[int, np.ndarray]:
        """Return how many tokens it reads of a text, and which of the texts are longer, bool ``[n]``.

        The model's weights are not loaded for it.
        """
        ...


class Validator(Protocol):
    """Scores a ranker on the validation part; given to ``Ranker.fit``, made by evaluation."""

    metric: str
    held_out: Interactions  # the validation part itself: for what may be learned of it, such as a fusion's weights

    def __call__(self, ranker: Scorer) -> Mapping[str, float]:
        """Return validation metrics; ``metric`` is the one to choose by, higher is better."""
        ...


class Scorer(Protocol):
    """All that evaluation needs of a ranker."""

    def score(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, n_items]``, finite, higher is better; seen items unmasked."""
        ...


class Ranker(Scorer, Protocol):
    """Learns from train interactions (and item features) to score all items for a query.

    A ranker that reads item features says so with the class attribute ``uses_features = True``; one that also reads the
    item table (titles, texts, attributes), as ``run.items``, with ``reads_items = True``.
    """

    Settings: ClassVar[type[Settings]]
    settings: Settings

    def fit(self, train: Interactions, features: ItemFeatures, *, valid: Validator | None, run: Run) -> FitLog:
        """Learn; choose the epoch by ``valid`` alone. Same seed, same result."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return everything ``restore`` needs, as plain arrays (saved as safetensors, never pickle)."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Become the fitted ranker that ``state`` came from; scores are equal to the last bit."""
        ...


@runtime_checkable
class Explains(Protocol):
    """Can say what in the history carried a score."""

    def contributions(self, query: Query, item_idx: int) -> np.ndarray:
        """Return one number a history item of the only query, float32 ``[len(history)]``."""
        ...


@runtime_checkable
class AddsUp(Explains, Protocol):
    """Explains scores by numbers that sum to them, so that each is a share of the score."""

    def adds_up(self, query: Query) -> bool:
        """Return whether ``contributions`` of the only query sum to its scores.

        A ranker with trained user vectors says so of new users only: a trained vector is not a sum over the history.
        """
        ...


@runtime_checkable
class HasEmbeddings(Protocol):
    """Gives vectors for users and items in one space."""

    def embeddings(self) -> Mapping[str, Any]:
        """Return ``{"item": [n_items, dim]}``, and ``"user": [n_users, dim]`` where users have vectors; float32."""
        ...


@runtime_checkable
class ScoresByVectors(Protocol):
    """A ranker whose score is the product of the query's vector and the item's: an index can find the best items."""

    def query_vectors(self, query: Query) -> np.ndarray:
        """Return float32 ``[n_queries, dim]``."""
        ...

    def item_vectors(self) -> np.ndarray:
        """Return float32 ``[n_items, dim]``."""
        ...


@runtime_checkable
class ScoresSome(Protocol):
    """A ranker that cannot score every query, such as one that knows only the users it was trained on."""

    def can_score(self, query: Query) -> np.ndarray:
        """Return which queries it can score, bool ``[n_queries]``; ``score`` may refuse the others."""
        ...


@runtime_checkable
class SwapsFeatures(Protocol):
    """What it learned can be used with other item features: for knockouts, and for items that came later."""

    def with_features(self, features: ItemFeatures) -> Scorer:
        """Return a scorer with the same learned numbers that reads ``features`` instead (same modalities and sizes)."""
        ...


class VisualGenerator(Protocol):
    """Draws an item for somebody. Making one is cheap: its model is loaded by the first ``generate``."""

    Settings: ClassVar[type[Settings]]
    settings: Settings

    def identity(self) -> str:
        """Return what pictures depend on besides request, settings and seed: the weights, by name and version."""
        ...

    def generate(
        self, target: VisualItem, taste: VisualTaste, *, n: int, dial: float, run: Run
    ) -> Sequence[GeneratedVisual]:
        """Return ``n`` pictures, from the item (``dial`` 0) to the taste (1). Same seed, same bytes on a CPU.

        The noise depends on seed, item and number alone: for another taste, or none, it is the same.

        Raises:
            ConfigError: ``n`` below 1 or a dial outside 0 to 1.
            DataError: a picture that cannot be read, or nothing to go by.
            ArtifactError: the weights are missing or damaged.
        """
        ...


@runtime_checkable
class ReadsCatalogue(Protocol):
    """A visual generator that shows pictures of the catalogue, or looks at them."""

    def read_catalogue(self, items: Sequence[VisualItem]) -> None:
        """Take the items that may be shown, before ``generate``; what a user forbids is not among them."""
        ...
