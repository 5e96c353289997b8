"""From a history to a profile, everything measured against train; no language model is needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from recsys.core.config import Settings, make_settings
from recsys.core.fingerprint import fingerprint
from recsys.core.runtime import Run
from recsys.profiles import CONCEPT_SOURCES
from recsys.profiles.changes import shifts
from recsys.profiles.concepts import Concept, Concepts, ItemWorld
from recsys.profiles.contrast import Contrast, Contrasts, ContrastSettings
from recsys.profiles.edit_names import Names
from recsys.profiles.edits import statement_id
from recsys.profiles.history import History
from recsys.profiles.interests import (
    Group,
    InterestSettings,
    distinguishing,
    divide,
    fused_space,
    named_apart,
)
from recsys.profiles.looks import Looks
from recsys.profiles.naming import clean_title, joined, of_different_series, spoken_title
from recsys.profiles.schema import Change, Evidence, Interest, Origin, Statement, UserProfile, VisualTaste
from recsys.profiles.telling import (
    change_text,
    interest_name,
    query_texts,
    statement_text,
    summary_text,
    told_edits,
    told_first,
)

CODE = (  # what profiles are made by; the sources of concepts come on top
    "builder", "changes", "colours", "concepts", "contrast", "edit_names", "edits", "history", "interests", "looks",
    "matching", "naming", "schema", "space", "statistics", "stopwords", "telling",
)  # fmt: skip


class ProfileSettings(Settings):
    """How profiles are built."""

    sources: tuple[str, ...] = Field(tuple(CONCEPT_SOURCES), description="Where concepts come from.")
    options: dict[str, dict[str, Any]] = Field({}, description="Settings by source: options.terms.words = 100.")
    contrast: ContrastSettings = Field(ContrastSettings(), description="When a difference becomes a statement.")
    interests: InterestSettings = Field(InterestSettings(), description="How a history is divided.")
    evidence: int = Field(8, ge=1, description="Items that a statement cites at most.")
    examples: int = Field(4, ge=1, description="Items shown of an interest.")
    pictures: int = Field(12, ge=0, description="Pictures that colours are taken from; 0: none is opened.")
    queries: int = Field(6, ge=0, description="Searches at most.")


class ProfileBuilder:
    """Builds profiles; made once for a data set's train part.

    Attributes:
        concepts: what statements are about.
        contrasts: the measurements.
        world: items and train.
    """

    Settings = ProfileSettings
    concepts: Concepts
    contrasts: Contrasts
    world: ItemWorld

    def __init__(self, settings: ProfileSettings | None = None) -> None:
        self.settings = settings or ProfileSettings()

    def fit(self, world: ItemWorld, *, run: Run | None = None) -> ProfileBuilder:
        """Find the concepts and the space of interests; nothing but train and what is known of items is looked at."""
        run = run or Run()
        found = []
        for name in self.settings.sources:
            kind = CONCEPT_SOURCES.load(name)
            options = self.settings.options.get(name, {})
            source = kind(make_settings(kind.Settings, options, f"profiles.options.{name}"))
            found.append(source.find(world, run=run))
        rows = fused_space(world, self.settings.interests, run)
        return self._ready(world, Concepts.joined(found, len(world.table)), rows, run.seed)

    def state(self) -> dict[str, np.ndarray]:
        """Return what ``restore`` needs besides the world, as plain arrays."""
        members = self.concepts.members
        told = json.dumps([asdict(one) for one in self.concepts.all]).encode()
        return {
            "concepts": np.frombuffer(told, dtype=np.uint8), "indices": members.indices.astype(np.int64),
            "indptr": members.indptr.astype(np.int64), "rows": self.rows, "seed": np.array([self.seed]),
        }  # fmt: skip

    def restore(self, state: Mapping[str, np.ndarray], world: ItemWorld) -> ProfileBuilder:
        """Become the builder that ``state`` came from, of the same world and settings."""
        concepts = tuple(Concept(**one) for one in json.loads(state["concepts"].tobytes()))
        ones = np.ones(len(state["indices"]), dtype=np.float32)
        shape = (len(world.table), len(concepts))
        members = sp.csc_array((ones, state["indices"], state["indptr"]), shape=shape)
        return self._ready(world, Concepts(concepts, members), state["rows"], int(state["seed"][0]))

    def _ready(self, world: ItemWorld, concepts: Concepts, rows: np.ndarray, seed: int) -> ProfileBuilder:
        self.world, self.concepts, self.rows, self.seed = world, concepts, rows, seed
        self.contrasts = Contrasts(concepts, world.train, self.settings.contrast)
        self.looks = Looks(world.table["image"].to_list())
        self.ids = world.table["item_id"].to_list()
        self.titles = [
            clean_title(title or "") or name for title, name in zip(world.table["title"], self.ids, strict=True)
        ]
        self.identity = fingerprint([self.settings.model_dump(mode="json"), seed, code_hash()])[:16]
        return self

    # -- building --------------------------------------------------------------------------------------------

    def history(self, user_idx: int) -> History:
        """Return what a user of train took."""
        train = self.world.train
        mine = np.flatnonzero(train.user_idx == user_idx)
        times, ratings = (None if one is None else one[mine] for one in (train.timestamp, train.rating))
        return History.of(train.item_idx[mine], train.n_items, times, ratings)

    def build(
        self,
        history: Sequence[int] | History,
        *,
        times: Sequence[int] | None = None,
        ratings: Sequence[float] | None = None,
        user_id: str | None = None,
    ) -> UserProfile:
        """Return the profile of a history, which may be of nobody in train.

        Args:
            history: item row numbers, oldest first; none is fine.
            times: seconds since 1970, one an item.
            ratings: one an item; NaN where there is none.
            user_id: whose it is.

        Raises:
            DataError: an item outside of the catalogue, or lengths that differ.
        """
        taken = history
        if not isinstance(taken, History):
            taken = History.of(taken, len(self.ids), times, ratings)
        contrasts = self.contrasts.find(taken)
        groups = divide(self.rows[taken.items], self.settings.interests, self._rng("interests", taken))
        told = [self._interest(taken, group, groups) for group in groups] if len(taken) else []
        interests, subjects = named_apart([one for one, _ in told]), [concepts for _, concepts in told]
        statements = [self._statement(taken, one) for one in contrasts]
        changes, liked = self._changes(taken), self._likes_in_order(contrasts)
        return UserProfile(
            user_id=user_id,
            summary=self._summary(taken, contrasts, interests, changes),
            statements=tuple(statements),
            interests=tuple(interests),
            queries=query_texts(subjects, [self.concepts.all[one.column] for one in liked], self.settings.queries)
            if statements
            else (),
            visual=self._visual(taken, contrasts),
            changes=tuple(change for change, _, _ in changes),
            origin=Origin(history=len(taken), data=self.world.train.digest, builder=self.identity),
        )

    def retold(self, profile: UserProfile, built: UserProfile, history: Sequence[int] | History) -> UserProfile:
        """Return an edited profile with a summary that says what it says now; unedited, the one it was built with.

        Args:
            profile: with edits.
            built: as the history alone gives it.
            history: what ``built`` was built from.
        """
        said = told_edits(built, profile, self._named)
        if not said and profile.statements == built.statements:
            return profile.model_copy(update={"summary": built.summary})
        taken = history if isinstance(history, History) else History.of(history, len(self.ids))
        now = {(one.concept, one.polarity) for one in profile.statements if one.weight and not one.forbidden}
        gone = {(one.concept, one.polarity) for one in built.statements} - now
        key = lambda one: (self.concepts.all[one.column].key, one.polarity)  # noqa: E731
        contrasts = [one for one in self.contrasts.find(taken) if key(one) not in gone]
        summary = self._summary(taken, contrasts, profile.interests, self._changes(taken))
        return profile.model_copy(update={"summary": " ".join([summary, said]).strip()})

    def _named(self, concept: str) -> str:
        """Return how a sentence names a concept, or what was said in free words."""
        return Names(self.concepts).phrase(concept)

    def _likes_in_order(self, contrasts: Sequence[Contrast]) -> list[Contrast]:
        """Return the likes, what has a word of its own first."""
        likes = [one for one in contrasts if one.polarity == "like"]
        return sorted(likes, key=lambda one: told_first(self.concepts.all[one.column]))

    def _summary(
        self, taken: History, contrasts: Sequence[Contrast], interests: Sequence[Interest], changes: Sequence[Any]
    ) -> str:
        liked = self._likes_in_order(contrasts)
        long = [one.column for one in liked if not self.concepts.all[one.column].words][1:]  # one is enough to read
        return summary_text(
            len(taken),
            (taken.date(0), taken.date(-1)) if taken.dated else None,
            [(one.support, self._phrase(one.column, taken, one.places)) for one in liked if one.column not in long],
            [self._phrase(one.column, taken, one.places) for one in contrasts if one.polarity == "dislike"],
            interests,
            [(name, up) for _, name, up in changes],
        )

    def _rng(self, what: str, taken: History) -> np.random.Generator:
        digest = hashlib.blake2b(taken.items.tobytes(), digest_size=8).hexdigest()
        return Run(seed=self.seed).rng("profiles", what, digest)  # the same history gives the same profile

    def _evidence(self, taken: History, places: Sequence[int] | np.ndarray) -> tuple[Evidence, ...]:
        return tuple(
            Evidence(item_id=self.ids[item], title=self.titles[item], date=taken.date(int(place)))
            for place, item in zip(places, taken.items[np.asarray(places, dtype=np.int64)], strict=True)
        )

    def _cited(self, taken: History, places: np.ndarray, polarity: str = "like") -> np.ndarray:
        """Return the places to cite: best rated (worst for a dislike), then latest, then best known."""
        stars = np.zeros(len(places)) if taken.ratings is None else np.nan_to_num(taken.ratings[places], nan=0.0)
        known = self.contrasts.popularity[taken.items[places]]
        order = np.lexsort((-known, -taken.recency(365.0)[places].round(2), stars if polarity == "dislike" else -stars))
        return places[order[: self.settings.evidence]]

    def _phrase(self, column: int, taken: History, places: np.ndarray) -> str:
        """Return how a sentence names a concept's items; a neighbourhood by items that this history has itself."""
        concept = self.concepts.all[column]
        if concept.kind != "neighbours":
            return concept.phrase
        best = places[np.argsort(-self.contrasts.popularity[taken.items[places]], kind="stable")]
        titles = [spoken_title(self.titles[item]) for item in taken.items[best]]
        return f"what others take along with {joined(of_different_series(titles))}"

    def _statement(self, taken: History, one: Contrast) -> Statement:
        concept = self.concepts.all[one.column]
        phrase = self._phrase(one.column, taken, one.places)
        return Statement(
            id=statement_id(concept.key), text=statement_text(phrase, one.polarity, one.support),
            polarity=one.polarity, weight=one.weight, modality=concept.modality, concept=concept.key,
            evidence=self._evidence(taken, self._cited(taken, one.places, one.polarity)), support=one.support,
        )  # fmt: skip

    def _interest(self, taken: History, group: Group, groups: Sequence[Group]) -> tuple[Interest, list[Concept]]:
        columns = distinguishing(self.contrasts, taken, group)
        concepts = [self.concepts.all[column] for column in columns]
        nearest = group.places[: 4 * self.settings.examples]
        typical = self.contrasts.holding(taken)[np.ix_(nearest, columns)].sum(axis=1)
        known = self.contrasts.popularity[taken.items[nearest]]
        chosen = nearest[np.lexsort((-known, -typical))][: self.settings.examples]
        name = interest_name(concepts, [spoken_title(self.titles[item]) for item in taken.items[chosen]])
        share = round(len(group.places) / len(taken), 4)
        keys = tuple(one.key for one in concepts)
        return Interest(name=name, share=share, concepts=keys, examples=self._evidence(taken, chosen)), concepts

    def _changes(self, taken: History) -> list[tuple[Change, str, bool]]:
        found = []
        for one in shifts(self.contrasts, taken):
            concept = self.concepts.all[one.column]
            places = one.places
            if not len(places):  # gone altogether: the earlier items are what bears it out
                places = np.flatnonzero(self.contrasts.holding(taken)[:, one.column])
            phrase = self._phrase(one.column, taken, places)
            change = Change(
                text=change_text(phrase, one.before, one.lately), concept=concept.key, before=round(one.before, 4),
                lately=round(one.lately, 4), evidence=self._evidence(taken, self._cited(taken, places)),
            )  # fmt: skip
            found.append((change, phrase, one.lately > one.before))
        return found

    def _visual(self, taken: History, contrasts: Sequence[Contrast]) -> VisualTaste:
        if not self.settings.pictures or not len(taken):
            return VisualTaste()
        styles = [
            one for one in contrasts if self.concepts.all[one.column].modality == "image" and one.polarity == "like"
        ]
        first = [place for one in styles for place in self._cited(taken, one.places)]
        places = list(
            dict.fromkeys([*first, *self._cited(taken, np.arange(len(taken))), *range(len(taken) - 1, -1, -1)])
        )
        seen = self.looks.seen([int(taken.items[place]) for place in places[:60]], self.settings.pictures)
        place_of = {int(item): place for place, item in enumerate(taken.items)}
        shown = [place_of[item] for item in seen[: self.settings.examples]]
        words = tuple(self.concepts.all[one.column].phrase.removeprefix("items with ") for one in styles)
        palette = self.looks.palette(seen, self._rng("palette", taken))
        return VisualTaste(palette=palette, style=words if seen else (), examples=self._evidence(taken, shown))


@cache
def code_hash() -> str:
    """Return a hash of the code that profiles are made by."""
    folder = Path(__file__).parent
    files = [*(folder / f"{name}.py" for name in CODE), *sorted(folder.glob("sources/*.py"))]
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}\x00{file.read_text(encoding='utf-8')}\x00".encode())
    return total.hexdigest()
