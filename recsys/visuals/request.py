"""What a picture is asked for, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


@dataclass(frozen=True)
class VisualItem:
    """An item as generators see it: the target, or one of a history.

    Attributes:
        item_id: its outside id.
        title: as people read it.
        text: what encoders read of it (``items.text.item_texts``); may be empty.
        picture: an open picture, the path of one, or ``None``.
        vectors: by name of the encoder (``minilm``, ``efficientnet``), where they are known already: ``[dim]`` each.
    """

    item_id: str
    title: str = ""
    text: str = ""
    picture: Image | str | None = None
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class VisualTaste:
    """What is known of somebody's taste; all of it may be empty.

    Attributes:
        keywords: words with weights from 0 to 1, as ``(("horror", 0.8), …)``.
        history: liked items, never the target.
        soft: states of a language model that soft tokens are made from, ``[n, soft_dim]``; ``None``: the generator
            makes a user vector from the history.
        everybody: by name of the encoder, the mean vector of the pictures that people take: what it tells is not this
            user's alone.
    """

    keywords: tuple[tuple[str, float], ...] = ()
    history: tuple[VisualItem, ...] = ()
    soft: np.ndarray | None = None
    everybody: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class GeneratedVisual:
    """A generated picture; never an item's own.

    Attributes:
        image: RGB.
        item_id: of the target.
        seed: that alone makes its noise; the same for every user, so that variants can be compared.
        dial: 0: true to the item, 1: to the taste.
        generator: name and version of what made it.
        given: what it was made from, in plain values.
        scores: by name; empty until somebody scores it.
    """

    image: Image
    item_id: str
    seed: int
    dial: float
    generator: str
    given: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
