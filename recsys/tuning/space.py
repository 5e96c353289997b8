"""The space that a search looks in: choices and ranges of a ranker's settings, as Optuna and the ranker take them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import Field, StrictBool, StrictFloat, StrictInt

from recsys.core.config import Settings

Number = StrictInt | StrictFloat


class Range(Settings):
    """A range of a setting: of whole numbers if low and high are."""

    low: Number = Field(description="Smallest value.")
    high: Number = Field(description="Largest value.")
    log: StrictBool = Field(False, description="Look on a logarithmic scale.")
    step: Number | None = Field(None, description="Distance between values; unset: 1, or any fraction.")

    @property
    def whole(self) -> bool:
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    def fault(self) -> tuple[str, str] | None:
        """Return cause and remedy of what is wrong with it."""
        if not all(map(math.isfinite, (self.low, self.high, self.step or 1))):
            return "its ends are not finite", "Give numbers."
        if not self.low < self.high:
            return f"low {self.low} is not below high {self.high}", "Exchange them, or give one value."
        if self.log and self.low <= 0:
            return f"a logarithmic scale cannot begin at {self.low}", "Begin above 0, or leave log out."
        if self.log and self.step is not None:
            return "it has both log and step", "Leave one of them out."
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            return f"step {self.step} does not fit into it", f"At most {self.high - self.low}."
        return None

    def distribution(self) -> BaseDistribution:
        if self.whole:
            return IntDistribution(self.low, self._last, log=self.log, step=self.step or 1)
        step = None if self.step is None else float(self.step)
        return FloatDistribution(float(self.low), float(self._last), log=self.log, step=step)

    @property
    def _last(self) -> float:
        """The largest value that steps reach."""
        if self.step is None:
            return self.high
        return self.low + self.step * math.floor((self.high - self.low) / self.step + 1e-9)

    def listed(self) -> list[Any] | None:
        """Return all values; ``None`` where there are too many to count."""
        if not self.whole and self.step is None:
            return None
        step = self.step or 1
        count = round((self._last - self.low) / step) + 1
        return [self.low + step * place for place in range(count)] if count <= 10_000 else None

    def end_of(self, value: float, near: float) -> str | None:
        """Return ``"low"`` or ``"high"`` if the value lies there, within a part ``near`` of the range."""
        low, high, at = (math.log(one) if self.log else one for one in (self.low, self._last, value))
        share = (at - low) / (high - low)
        return "low" if share <= near else "high" if share >= 1 - near else None


@dataclass(frozen=True)
class Axis:
    """A setting that is searched: a choice of values or a range. ``name`` is dotted where it lies in a table."""

    name: str
    choices: tuple[Any, ...] = ()
    range: Range | None = None

    def distribution(self) -> BaseDistribution:
        return self.range.distribution() if self.range else CategoricalDistribution([*map(code, self.choices)])

    def value(self, stored: Any) -> Any:
        """Return the setting that Optuna's value stands for."""
        return stored if self.range else next(one for one in self.choices if code(one) == stored)

    def listed(self) -> list[Any] | None:
        """Return all values as Optuna keeps them; ``None`` where they cannot be counted."""
        return self.range.listed() if self.range else [*map(code, self.choices)]

    def ends(self) -> tuple[Any, ...]:
        """Return the values that must be allowed before a search begins."""
        return (self.range.low, self.range.high) if self.range else self.choices


def code(value: Any) -> Any:
    """Return a choice as Optuna keeps it: lists and tables as JSON text."""
    return value if isinstance(value, str | int | float | bool) else json.dumps(value, sort_keys=True)


@dataclass(frozen=True)
class Space:
    """One ranker of a search.

    Attributes:
        label: for tables and files.
        fixed: its configuration without what is searched.
        axes: what is searched.
        members: labels above it whose best settings become its members (``chosen_members``).
    """

    label: str
    fixed: Mapping[str, Any]
    axes: tuple[Axis, ...] = ()
    members: tuple[str, ...] = ()

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {axis.name: axis.distribution() for axis in self.axes}

    def point(self, stored: Mapping[str, Any], members: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Return the ranker's configuration at Optuna's values."""
        return self._filled({axis.name: axis.value(stored[axis.name]) for axis in self.axes}, members)

    def _filled(self, values: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(json.dumps(self.fixed))  # a copy, inner tables too
        for name, value in values.items():
            *path, last = name.split(".")
            table = found
            for key in path:
                table = table.setdefault(key, {})
            table[last] = value
        return {**found, "members": [dict(member) for member in members]} if self.members else found

    @cached_property
    def size(self) -> float:
        """How many points there are; infinite where nobody can count them."""
        lists = [axis.listed() for axis in self.axes]
        return math.prod(math.inf if one is None else len(one) for one in lists)

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yield all points of a space that can be counted, as Optuna keeps them."""
        names = [axis.name for axis in self.axes]
        for values in itertools.product(*(axis.listed() or () for axis in self.axes)):
            yield dict(zip(names, values, strict=True))

    def corners(self, members: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield points that show whether every end and choice is allowed, one axis at a time."""
        start = {axis.name: axis.ends()[0] for axis in self.axes}
        yield self._filled(start, members)
        for axis in self.axes:
            for value in axis.ends()[1:]:
                yield self._filled({**start, axis.name: value}, members)
