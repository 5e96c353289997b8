"""Profiles of a run's users: built, kept with versions, edited, and followed by lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recsys.changing import Lists
from recsys.core.amounts import amount
from recsys.core.artifact import Artifact, read_arrays, write_arrays
from recsys.core.errors import DataError
from recsys.describing import encoded
from recsys.items import make_encoder
from recsys.profiles.builder import ProfileBuilder, ProfileSettings, code_hash
from recsys.profiles.concepts import ItemWorld
from recsys.profiles.edit_names import Names, near_concepts
from recsys.profiles.edits import Edit, apply, merge
from recsys.profiles.history import History
from recsys.profiles.matching import SAID, Matcher
from recsys.profiles.schema import UserProfile
from recsys.profiles.steering import DIAL
from recsys.profiles.store import ProfileStore, SQLiteProfileStore
from recsys.serving.catalogue import Catalogue
from recsys.serving.recommender import Recommender
from recsys.statefiles import StateFiles
from recsys.workflow import Workflow

BUILT, REBUILT = "built from the history", "built anew"
STATE = "state.safetensors"
EXAMPLES = 3  # items shown of what free words mean


@dataclass(frozen=True)
class Current:
    """Somebody's profile.

    Attributes:
        profile: as it is, with edits.
        built: as the history alone gives it.
        version: of the store; 0: nothing is kept.
        fresh: the kept version is of an older build, so that ``profile`` is not kept yet.
        history: of somebody new, item row numbers; of users it is looked up.
    """

    profile: UserProfile
    built: UserProfile
    version: int = 0
    fresh: bool = True
    history: tuple[int, ...] = ()


@dataclass(frozen=True)
class Edited:
    """What edits did.

    Attributes:
        before, after: the profile.
        notes: what free words were taken for.
    """

    before: Current
    after: Current
    notes: tuple[str, ...] = field(default=())


class Profiling:
    """Profiles of the users of a run, and of anybody who likes some of its items.

    Args:
        workflow: the run; items are encoded and the builder is fitted first if need be.
        store: where edited profiles are kept; by default a file beside the results, one a data set.
        settings: how profiles are built.
    """

    def __init__(
        self, workflow: Workflow, store: ProfileStore | None = None, settings: ProfileSettings | None = None
    ) -> None:
        self.workflow, self.dataset = workflow, workflow.dataset
        self.store = store or SQLiteProfileStore(self.files.profiles)
        self.settings = settings or ProfileSettings()

    @cached_property
    def files(self) -> StateFiles:
        """Where state of the data set is kept."""
        return StateFiles(self.workflow)

    # -- profiles --------------------------------------------------------------------------------------------

    def built(self, user_id: str) -> UserProfile:
        """Return the profile that a user's train interactions give.

        Raises:
            DataError: no such user.
        """
        return self.built_from(user_id, self.history(user_id))

    def built_from(self, user_id: str, history: History) -> UserProfile:
        """Return the profile that a history of a user gives."""
        return self.builder.build(history, user_id=user_id)

    def history(self, user_id: str) -> History:
        """Return what a user took, as far as profiles rest on it: train alone.

        Raises:
            DataError: no such user.
        """
        (user,) = self.dataset.users.index([user_id])
        if user < 0:
            remedy = "For somebody new give a history: --liked 'TITLE' --liked …"
            raise DataError(f"user {user_id!r}", "not in the data set", remedy)
        return self.builder.history(int(user))

    def newcomer(self, liked: Sequence[str]) -> Current:
        """Return the profile of somebody who likes these ids or titles, oldest first.

        Raises:
            DataError: an item that is neither.
        """
        history = Catalogue(self.dataset).find(liked)
        profile = self.builder.build(history)
        return Current(profile, profile, history=tuple(history))

    def current(self, user_id: str) -> Current:
        """Return a user's profile: as it is kept; where data or builder changed since, built anew with its edits."""
        return self.current_from(user_id, self.history(user_id))

    def current_from(self, user_id: str, history: History) -> Current:
        """Return the profile that a history of a user gives, with the edits that are kept."""
        built, kept = self.built_from(user_id, history), self.store.get(user_id)
        if kept is None:
            return Current(built, built)
        if _same_build(kept.profile, built):
            return Current(kept.profile, built, kept.version, fresh=False)
        merged = merge(built, kept.profile, self._removed(user_id, kept.version))
        return Current(self.builder.retold(merged, built, history), built, kept.version)

    def edit(self, current: Current, texts: Sequence[str]) -> Edited:
        """Make edits, each a version; of a newcomer nothing is kept.

        Raises:
            DataError: an edit cannot be made; then none of them is.
            StaleProfileError: somebody else edited the profile since it was read.
        """
        edits = [Edit.parse(text) for text in texts]
        names = Names(self.matcher.concepts, self.matcher.attributes, self.matcher.finds)
        steps, notes = [current.profile], []
        history = current.history if current.profile.user_id is None else self.history(current.profile.user_id)
        for edit in edits:
            changed = apply(steps[-1], edit, names)
            steps.append(self.builder.retold(changed, current.built, history))
            notes += self._notes(edit, steps[-2], steps[-1])
        version = current.version
        if current.profile.user_id is not None:
            if current.fresh:
                version = self.store.put(steps[0], made_from=version, edit=REBUILT if version else BUILT)
            for edit, profile in zip(edits, steps[1:], strict=True):
                version = self.store.put(profile, made_from=version, edit=str(edit))
        after = Current(steps[-1], current.built, version, fresh=False, history=current.history)
        return Edited(current, after, tuple(notes))

    def undo(self, user_id: str, *, again: bool = False) -> Edited:
        """Take the last edit back, or with ``again`` the last undo.

        Raises:
            DataError: there is none.
        """
        before = self.current(user_id)
        (self.store.redo if again else self.store.undo)(user_id)
        return Edited(before, self.current(user_id))

    def lists(self, ranker: str | None, user_id: str | None, liked: Sequence[str] = (), dial: float = DIAL) -> Lists:
        """Return the lists that a trained ranker (by default the configured one) gives a user, or somebody new.

        Raises:
            ArtifactError: no such ranker.
        """
        trained = self.workflow.open_ranker(ranker) if ranker else self.workflow.train()
        model = Recommender.load(trained.path, artifacts=self.workflow.store.root)
        return Lists(model, trained.manifest["name"], self.matcher, dial, user_id, tuple(liked))

    def picture(self, item_id: str) -> str | None:
        """Return where an item's picture lies; ``None`` where it has none, or is no longer in the data."""
        (item,) = self.dataset.items.index([item_id])
        return self.dataset.item_table["image"][int(item)] if item >= 0 else None

    # -- what they rest on -----------------------------------------------------------------------------------

    def fitted(self) -> Artifact:
        """The fitted builder: concepts and the space of interests, found in train and what is known of items."""
        workflow = self.workflow
        config = {
            "settings": self.settings.model_dump(mode="json"), "seed": workflow.run.seed, "code": code_hash(),
        }  # fmt: skip

        def write(folder: Path) -> dict[str, Any]:
            builder = ProfileBuilder(self.settings).fit(self._world, run=workflow.run)
            write_arrays(folder / STATE, builder.state())
            kinds = Counter(concept.key.partition(":")[0] for concept in builder.concepts.all)
            return {"concepts": dict(kinds)}

        parents = [workflow.split(), *workflow.items().values()]
        return workflow.store.build(
            "profiler", workflow.config.data.source, config=config, parents=parents, write=write
        )

    @cached_property
    def builder(self) -> ProfileBuilder:
        """The builder, fitted once for this data and these settings."""
        return ProfileBuilder(self.settings).restore(read_arrays(self.fitted().path / STATE), self._world)

    @cached_property
    def _world(self) -> ItemWorld:
        workflow = self.workflow
        return ItemWorld(self.dataset.item_table, workflow.features(), workflow.loaded_split.train)

    @cached_property
    def matcher(self) -> Matcher:
        """What statements mean; free words also by the text encoder, which is loaded when they are first used."""
        name = self.workflow.config.items.text
        found = encoded(self.workflow.items(("text",)))
        if "text" not in found:
            return Matcher(self.builder.concepts, self.dataset.item_table)
        encoder = make_encoder(name, "text", self.workflow.config.items.options.get(name, {}))
        encode = lambda texts: encoder.encode(list(texts), "text", run=self.workflow.run)  # noqa: E731
        return Matcher(self.builder.concepts, self.dataset.item_table, found["text"], encode)

    def _removed(self, user_id: str, version: int) -> set[str]:
        """Return the ids of the statements that edits up to a version took out."""
        parents = {one.version: one for one in self.store.history(user_id)}
        removed: set[str] = set()
        while version and (one := parents[version]).parent:
            if one.edit.startswith("remove "):
                ids = [
                    {each.id for each in self.store.get(user_id, of).profile.statements} for of in (one.parent, version)
                ]
                removed |= ids[0] - ids[1]
            version = one.parent
        return removed

    def _notes(self, edit: Edit, before: UserProfile, after: UserProfile) -> list[str]:
        """Return lines on what an edit could not do, and on what free words mean and which concept comes near."""
        known, notes = {one.concept for one in before.statements}, []
        weights = [{one.concept: (one.polarity, one.weight) for one in each.statements} for each in (before, after)]
        if edit.action in ("raise", "lower") and weights[0] == weights[1]:
            notes.append(f"{edit.target} counts as much as it can already")
        for one in after.statements:
            if not one.concept.startswith(SAID) or one.concept in known:
                continue
            words = one.concept.removeprefix(SAID)
            found = self.matcher.membership(one.concept)
            best = np.argsort(-found, kind="stable")[:EXAMPLES]
            titles = ", ".join(self.dataset.titles(best[found[best] > 0]))
            near = near_concepts(words, self.matcher.concepts)
            hint = f"; or did you mean {' or '.join(near)}?" if near else ""
            notes.append(f"“{words}” means {amount(int((found >= 0.5).sum()), 'item')}, such as {titles}{hint}")
        return notes


def _same_build(kept: UserProfile, built: UserProfile) -> bool:
    return (kept.origin.data, kept.origin.builder) == (built.origin.data, built.origin.builder)
