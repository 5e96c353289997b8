"""What the item table says: genres, brands, decades."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from recsys.core.config import Settings
from recsys.core.runtime import Run
from recsys.profiles.concepts import Concept, Concepts, ItemWorld, columns_of

PLAIN = re.compile(r"[\w&'’.,+/ -]{1,40}")  # what a value may look like: it becomes part of sentences
SPOKEN = {
    "children's": "items for children",
    "children": "items for children", "comedy": "comedies", "documentary": "documentaries", "drama": "dramas",
    "musical": "musicals", "mystery": "mysteries", "thriller": "thrillers", "western": "westerns",
}  # fmt: skip
YEARS = range(1000, 2200)


class AttributesSettings(Settings):
    """Which attributes count."""

    least: int = Field(5, ge=1, description="Items that must have it.")
    most: float = Field(0.7, gt=0, le=1, description="Share of the items that may have it at most.")
    bins: int = Field(5, ge=2, description="Ranges of numbers other than years, each with as many items.")


class Attributes:
    """Genres, brands and whatever else the item table lists; numbers become ranges, years decades."""

    Settings: ClassVar[type[Settings]] = AttributesSettings

    def __init__(self, settings: AttributesSettings | None = None) -> None:
        self.settings = settings or AttributesSettings()

    def find(self, world: ItemWorld, *, run: Run) -> Concepts:
        by_kind: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for item, attributes in enumerate(world.table["attributes"].to_list()):
            for attribute in dict.fromkeys(attributes or ()):
                kind, _, value = attribute.partition(":")
                if PLAIN.fullmatch(kind) and PLAIN.fullmatch(value.strip()):
                    by_kind[kind][value.strip()].append(item)
        found = []
        for kind, values in by_kind.items():
            numbers = _numbers(values)
            found += _ranges(kind, numbers, self.settings.bins) if numbers else _values(kind, values)
        n_items = len(world.table)
        kept = [(one, items) for one, items in found if self._tells(len(items), n_items)]
        return columns_of(kept, n_items)

    def _tells(self, count: int, n_items: int) -> bool:
        return self.settings.least <= count <= self.settings.most * n_items


def _values(kind: str, values: Mapping[str, list[int]]) -> Iterable[tuple[Concept, list[int]]]:
    for value, items in sorted(values.items()):
        word = value.lower() if kind == "genre" and not value.isupper() else value
        name = SPOKEN.get(word, word) if kind == "genre" else f"items of {kind} {value}"
        yield Concept(f"{kind}:{value}", name, "text", word), items


def _numbers(values: Mapping[str, list[int]]) -> dict[float, list[int]]:
    """Return the values as numbers; none if any of them is no number, or if there are only a few codes."""
    try:
        numbers = {float(value): items for value, items in values.items()}
    except ValueError:
        return {}
    return numbers if np.isfinite(list(numbers)).all() else {}


def _ranges(kind: str, numbers: Mapping[float, list[int]], bins: int) -> Iterable[tuple[Concept, list[int]]]:
    if all(number == int(number) and int(number) in YEARS for number in numbers):
        decades: dict[int, list[int]] = defaultdict(list)
        for number, items in sorted(numbers.items()):
            decades[int(number) // 10 * 10] += items
        for decade, items in decades.items():
            yield Concept(f"{kind}:{decade}s", f"items of the {decade}s", "text", f"{decade}s"), items
        return
    flat = np.repeat(list(numbers), [len(items) for items in numbers.values()])
    edges = np.unique(np.quantile(flat, np.linspace(0, 1, bins + 1)))
    for low, high in itertools.pairwise(edges):
        last = high == edges[-1]
        inside = [n for n in numbers if low <= n < high or (last and n == high)]
        name = f"{kind} from {low:g} to {high:g}"
        yield (
            Concept(f"{kind}:{low:g}-{high:g}", f"items with {name}", "text", name),
            [item for number in inside for item in numbers[number]],
        )
