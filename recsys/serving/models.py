"""Trained rankers side by side: which one answers whom, swapped without a pause, and taken back."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from recsys.core.errors import ConfigError
from recsys.serving.engine import Engine
from recsys.serving.fresh import FreshItems
from recsys.serving.person import Person
from recsys.serving.state.store import StateStore
from recsys.serving.wishes import Wish

REMEMBERED = "models"
STEPS_BACK = 20  # that can be rolled back at most


@dataclass(frozen=True)
class Arrangement:
    """Who answers; replaced as a whole, so that a request sees one state of it.

    Attributes:
        engines: by name of the variant.
        current: the variant that answers whom the split gives to nobody else.
        before: what was current before, the latest last.
        split: variant to the share of users that it answers, summing to 1; empty: the current one answers all.
        shadow: a variant that is asked, too, and whose lists are only compared; empty: none.
    """

    engines: Mapping[str, Engine] = field(default_factory=dict)
    current: str = ""
    before: tuple[str, ...] = ()
    split: Mapping[str, float] = field(default_factory=dict)
    shadow: str = ""

    def told(self) -> dict[str, Any]:
        """Return what is kept from start to start: names and the artifacts that they stand for."""
        return {
            "variants": {name: one.key for name, one in self.engines.items()},
            "current": self.current, "before": list(self.before), "split": dict(self.split), "shadow": self.shadow,
        }  # fmt: skip


class Models:
    """The variants of a service.

    Args:
        open_engine: makes a variant of a name and a trained ranker (folder, name or key).
        state: where the arrangement is kept.
    """

    def __init__(self, open_engine: Callable[[str, str], Engine], state: StateStore) -> None:
        self.open_engine, self.state = open_engine, state
        self.now = Arrangement()
        self._changing = threading.RLock()  # each change is made from the one before it

    def start(self, reference: str, name: str) -> None:
        """Take up the arrangement that was kept, with this ranker as the current one where it is not among them.

        Raises:
            RecsysError: the ranker cannot be opened.
        """
        first = self._opened(name, reference)
        kept = json.loads(self.state.recall(REMEMBERED) or "{}")
        if first.key not in kept.get("variants", {}).values():
            self._set(Arrangement({name: first}, name))
            return
        self.now = self._arranged(kept, {first.key: first})

    def follow(self) -> None:
        """Take up what another server that shares the state arranged; variants that stay are not opened again.

        Raises:
            RecsysError: a ranker that it opened cannot be opened here.
        """
        kept = json.loads(self.state.recall(REMEMBERED) or "{}")
        with self._changing:
            if kept and kept != self.now.told():
                self.now = self._arranged(kept, {one.key: one for one in self.now.engines.values()})

    def _arranged(self, kept: Mapping[str, Any], opened: Mapping[str, Engine]) -> Arrangement:
        engines = {name: self._named(name, key, opened.get(key)) for name, key in kept["variants"].items()}
        return Arrangement(engines, kept["current"], tuple(kept["before"]), kept["split"], kept["shadow"])

    def _named(self, name: str, key: str, there: Engine | None) -> Engine:
        return there if there is not None and there.name == name else self._opened(name, key)

    def add(self, name: str, reference: str) -> Engine:
        """Open a ranker beside the others; it answers nobody yet.

        Raises:
            ConfigError: the name is taken.
            RecsysError: the ranker is damaged, of other data, or gives scores that cannot be used.
        """
        if name in self.now.engines:
            raise ConfigError(f"model {name!r}", "there is one of that name", "Give another name, or remove it first.")
        engine = self._opened(name, reference)
        with self._changing:
            self._set(replace(self.now, engines={**self.now.engines, name: engine}))
        return engine

    def remove(self, name: str) -> None:
        """Take a variant out that answers nobody.

        Raises:
            ConfigError: there is none, or it is in use.
        """
        with self._changing:
            self._known(name)
            if name in (self.now.current, self.now.shadow, *self.now.split):
                raise ConfigError(f"model {name!r}", "it answers", "Make another current, or change split and shadow.")
            engines = {one: engine for one, engine in self.now.engines.items() if one != name}
            before = tuple(one for one in self.now.before if one != name)
            self._set(replace(self.now, engines=engines, before=before))

    def activate(self, name: str) -> None:
        """Make a variant the current one; requests that are being answered end with the old one.

        Raises:
            ConfigError: there is none.
        """
        with self._changing:
            self._known(name)
            if name != self.now.current:
                before = (*self.now.before, self.now.current)[-STEPS_BACK:]
                self._set(replace(self.now, current=name, before=before, split={}))

    def roll_back(self) -> str:
        """Make the variant current that was so before; return its name.

        Raises:
            ConfigError: there is none.
        """
        with self._changing:
            if not self.now.before:
                raise ConfigError("models", "there is nothing to go back to", "See the list of models.")
            *before, name = self.now.before
            self._set(replace(self.now, current=name, before=tuple(before), split={}))
        return name

    def divide(self, split: Mapping[str, float]) -> None:
        """Give each variant a share of the users: a user always gets the same one; none: the current one answers all.

        Raises:
            ConfigError: an unknown variant, or shares that do not sum to 1.
        """
        for name, share in split.items():
            if not 0 <= share <= 1:
                raise ConfigError(f"share of {name!r}", f"{share} is not from 0 to 1", "Such as 0.1.")
        if split and abs(sum(split.values()) - 1) > 1e-6:
            raise ConfigError("split", f"shares sum to {sum(split.values()):g}", "They must sum to 1.")
        with self._changing:
            for name in split:
                self._known(name)
            self._set(replace(self.now, split=dict(split)))

    def set_shadow(self, name: str) -> None:
        """Ask a variant, too, and only compare its lists; empty: none.

        Raises:
            ConfigError: there is none.
        """
        with self._changing:
            if name:
                self._known(name)
            self._set(replace(self.now, shadow=name))

    def of(self, user_id: str | None) -> Engine:
        """Return the variant that answers a user, or somebody unknown."""
        now = self.now
        if not now.split or user_id is None:
            return now.engines[now.current]
        point = int.from_bytes(hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        left = point / 2**64
        for name, share in now.split.items():
            left -= share
            if left < 0:
                return now.engines[name]
        return now.engines[next(reversed(now.split))]

    def _known(self, name: str) -> None:
        if name not in self.now.engines:
            raise ConfigError(f"model {name!r}", "there is none", "One of: " + ", ".join(self.now.engines))

    def _set(self, arrangement: Arrangement) -> None:
        self.state.remember(REMEMBERED, json.dumps(arrangement.told()))
        self.now = arrangement

    def _opened(self, name: str, reference: str) -> Engine:
        """Open a ranker and ask it once: what cannot answer is refused while the others go on."""
        engine = self.open_engine(name, reference)
        nobody = Person(np.zeros(0, np.int64), np.zeros(0, np.int64))
        somebody = Person(np.arange(min(3, len(engine.dataset.items))), np.zeros(0, np.int64))
        engine.answer([Wish(nobody, 5), Wish(somebody, 5)], FreshItems(len(engine.dataset.items)))
        return engine
