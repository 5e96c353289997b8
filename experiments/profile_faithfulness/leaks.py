"""Whether profiles tell what their users took in validation and test, and whether they depend on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from recsys.core.values import TRAIN, Interactions, Split
from recsys.profiles.builder import ProfileBuilder
from recsys.profiles.concepts import ItemWorld
from recsys.profiles.history import History
from recsys.profiles.naming import clean_title, spoken_title
from recsys.profiles.schema import UserProfile
from recsys.profiling import Profiling


class Leaks:
    """Looks for what a user took in validation and test, in a profile of that user.

    Args:
        split: of the run.
        builder: for ids and titles.
    """

    def __init__(self, split: Split, builder: ProfileBuilder) -> None:
        self.held = split.dataset.interactions.select(split.part != TRAIN)
        self.titles, self.ids = split.dataset.item_table["title"].to_list(), builder.ids
        self.checked = 0

    def found(self, user: int, taken: History, profile: UserProfile) -> list[str]:
        """Return ids, titles and dates of held-out items that are no train item's, and that the profile says."""
        held = history_of(self.held, user)
        whole = set(strings(profile.model_dump(mode="json", exclude={"user_id"})))
        secrets = self._names(held) - self._names(taken)
        self.checked += len(secrets)
        texts = " ".join(one for one in whole if " " in one)
        mine = " ".join(self.titles[item] or "" for item in taken.items)
        spoken = {spoken_title(self.titles[item] or "") for item in held.items} - {
            spoken_title(self.titles[item] or "") for item in taken.items
        }
        told = [one for one in spoken if " " in one and one not in mine and re.search(rf"\b{re.escape(one)}\b", texts)]
        return sorted(secrets & whole) + sorted(told)

    def _names(self, taken: History) -> set[str]:
        names = {name for item in taken.items for name in (self.ids[item], clean_title(self.titles[item] or ""))}
        return (names | {taken.date(place) for place in range(len(taken))}) - {None, ""}


def history_of(interactions: Interactions, user: int) -> History:
    """Return what a user took there."""
    mine = np.flatnonzero(interactions.user_idx == user)
    times, ratings = (None if one is None else one[mine] for one in (interactions.timestamp, interactions.rating))
    return History.of(interactions.item_idx[mine], interactions.n_items, times, ratings)


def strings(value: Any) -> Iterator[str]:
    """Yield every string of a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def leaks(profiling: Profiling, histories: Sequence[History], profiles: Sequence[UserProfile]) -> dict[str, Any]:
    """Return how many profiles tell held-out items, with the control, and how many change once those are deleted."""
    builder, split = profiling.builder, profiling.workflow.loaded_split
    probe = Leaks(split, builder)
    found = [probe.found(user, taken, one) for user, (taken, one) in enumerate(zip(histories, profiles, strict=True))]
    checked, control = probe.checked, 0
    for user, taken in enumerate(histories):
        control += bool(probe.found(user, taken, builder.build(history_of(split.dataset.interactions, user))))
    alone = replace(split.dataset, interactions=split.train, part=None)  # validation and test are deleted
    train = Split(alone, np.full(len(split.train), TRAIN, dtype=np.uint8), split.kind).train
    world = ItemWorld(alone.item_table, profiling.workflow.features(), train)
    anew = ProfileBuilder(profiling.settings).fit(world, run=profiling.workflow.run)
    same = [anew.build(anew.history(user), user_id=one.user_id) == one for user, one in enumerate(profiles)]
    return {
        "strings_looked_for": checked, "profiles_that_tell": sum(map(bool, found)),
        "told": sorted(chain.from_iterable(found)),
        "control_profiles_that_tell": control, "equal_without_held_out": sum(same), "profiles": len(profiles),
    }  # fmt: skip
