"""What the verb ``profile`` answers: a profile as text, page or JSON, and what edits did to it and to a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys.changing import Changed
from recsys.console import columns
from recsys.core.errors import ArtifactError, ConfigError, DataError
from recsys.profiles.render import profile_text
from recsys.profiles.schema import UserProfile
from recsys.profiles.steering import DIAL
from recsys.profiles.store import Version
from recsys.profiling import Current, Edited, Profiling
from recsys.wording import Worded, Wording, answers_of
from recsys.workflow import Workflow

if TYPE_CHECKING:
    from recsys.preferring import Preferred
    from recsys.querying import Searched


@dataclass(frozen=True)
class Asked:
    """What is asked of a profile.

    Attributes:
        user: whose; none: of somebody new, with ``liked``.
        liked: ids or titles, oldest first.
        edits: to be made, as people type them.
        undo, redo, history, erase: instead of edits.
        sample: so many users, drawn at random, instead of one.
        html: where to write a page.
        ranker: whose list is shown after an edit; none: the configured one.
        k: length of that list.
        dial: how far edits move it.
        searches: also for what comes next, written by a fine-tuned language model.
        prefers: also what a language model prefers that reads the user as soft tokens.
    """

    user: str | None = None
    liked: Sequence[str] = ()
    edits: Sequence[str] = ()
    undo: bool = False
    redo: bool = False
    history: bool = False
    erase: bool = False
    sample: int | None = None
    html: Path | None = None
    ranker: str | None = None
    k: int = 10
    dial: float | None = None
    searches: bool = False
    prefers: bool = False

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            DataError: not one of user, history and sample, or several things at once.
            ConfigError: a list length or dial that cannot be.
        """
        if sum([self.user is not None, bool(self.liked), self.sample is not None]) != 1:
            remedy = "Give a user's id, or --liked TITLE for somebody new, or --sample 20: one of the three."
            raise DataError("profile", "of whom?", remedy)
        told = {"--undo": self.undo, "--redo": self.redo, "--history": self.history, "--erase": self.erase}
        chosen = [name for name, given in ({"--edit": bool(self.edits)} | told).items() if given]
        if len(chosen) > 1:
            raise DataError("profile", f"{' and '.join(chosen)} at once", "Give one of them.")
        if self.sample is not None and (chosen or self.sample < 1):
            cause = f"{chosen[0]} for many users" if chosen else f"a sample of {self.sample}"
            raise DataError("profile", cause, "Give one user's id." if chosen else "Ask for at least one.")
        if self.user is None and chosen and chosen != ["--edit"]:
            raise DataError("profile", f"{chosen[0]} for somebody new, of whom nothing is kept", "Give a user's id.")
        if (self.searches or self.prefers) and (self.sample is not None or self.history or self.erase):
            raise DataError(
                "profile", "--searches or --prefers without one profile to show", "Give one user's id, or --liked."
            )
        if self.k < 1:
            raise ConfigError("profile", f"k is {self.k}", "Ask for at least one item.")
        if self.dial is not None and not 0 <= self.dial <= 100:
            raise ConfigError("profile", f"the dial is {self.dial:g}", "Give a number from 0 (no effect) to 100.")


@dataclass(frozen=True)
class Answer:
    """What is answered; empty parts were not asked for.

    Attributes:
        current: the profile as it is after all that was asked.
        notes: what happened, line by line.
        changed: what it did to a list.
        versions: all that are kept.
        html: the page that was written.
        erased: how many versions were removed.
        forgotten: how many answers of language models were removed.
        worded: what the language model made of the profile.
        sample: profiles of several users.
        searched: what a fine-tuned language model searches for.
        preferred: what a language model prefers that reads the user as soft tokens.
    """

    current: Current | None = None
    notes: tuple[str, ...] = ()
    changed: Changed | None = None
    versions: tuple[Version, ...] | None = field(default=None)
    html: Path | None = None
    erased: int | None = None
    forgotten: int | None = None
    worded: Worded | None = None
    sample: tuple[UserProfile, ...] = ()
    searched: Searched | None = None
    preferred: Preferred | None = None

    def to_text(self) -> str:
        """Return it for the terminal."""
        if self.versions is not None:
            return _versions_text(self.versions)
        parts = [profile_text(one) for one in self.sample]
        parts += [] if self.current is None else [profile_text(self.current.profile)]
        parts += [self.worded.to_text()] if self.worded else []
        parts += [one.to_text() for one in (self.searched, self.preferred) if one]
        parts += ["\n".join(self.notes)] if self.notes else []
        parts += [self.changed.to_text()] if self.changed else []
        return "\n\n".join([*parts, *([str(self.html)] if self.html else [])])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        if self.versions is not None:
            return {"versions": [vars(one) for one in self.versions]}
        if self.sample:
            told = [one.model_dump(mode="json") for one in self.sample]
            return {"profiles": told, "html": str(self.html) if self.html else None}
        if self.current is None:
            return {"erased": self.erased, "forgotten": self.forgotten}
        return {
            "profile": self.current.profile.model_dump(mode="json"),
            "version": self.current.version,
            "llm": self.worded.to_dict() if self.worded else None,
            "searches": self.searched.to_list() if self.searched else None,
            "prefers": self.preferred.to_list() if self.preferred else None,
            "notes": list(self.notes),
            "change": self.changed.to_dict() if self.changed else None,
            "html": str(self.html) if self.html else None,
        }


def answer(workflow: Workflow, asked: Asked) -> Answer:
    """Do what is asked.

    Raises:
        RecsysError: it cannot be done; nothing was changed.
    """
    asked.check()
    profiling = Profiling(workflow)
    for note in profiling.files.notes:
        workflow.run.log(note)
    if asked.history:
        return Answer(versions=tuple(profiling.store.history(_known(profiling, asked.user))))
    if asked.erase:
        return _erased(profiling, asked.user)
    wording = Wording.of(profiling)  # first, so that nothing is kept where there is no such model
    if asked.sample is not None:
        return _sampled(profiling, wording, asked)
    read = _read_by_model(workflow, asked)
    if not (asked.edits or asked.undo or asked.redo):
        current = profiling.newcomer(asked.liked) if asked.user is None else profiling.current(asked.user)
        return _told(profiling, wording, asked, Answer(current, **read))
    lists = profiling.lists(asked.ranker, asked.user, asked.liked, DIAL if asked.dial is None else asked.dial)
    edited = _edited(profiling, asked)  # last, so that nothing is kept when the rest cannot be done
    changed = lists.change(edited.before.profile, edited.after.profile, edited.after.built, asked.k)
    kept = f"kept as version {edited.after.version}" if edited.after.version else "of somebody new nothing is kept"
    told = Answer(edited.after, (*edited.notes, kept), changed, **read)
    return _told(profiling, wording, asked, told)


def _read_by_model(workflow: Workflow, asked: Asked) -> dict[str, Any]:
    """Return what language models that learned from train say of the history; imported here, for both bring torch."""
    found: dict[str, Any] = {}
    if asked.searches:
        from recsys.querying import Querying

        found["searched"] = Querying(workflow).of(asked.user, asked.liked)
    if asked.prefers:
        from recsys.preferring import Preferring

        found["preferred"] = Preferring(workflow).of(asked.user, asked.liked)
    return found


def _told(profiling: Profiling, wording: Wording | None, asked: Asked, found: Answer) -> Answer:
    """Put the profile of an answer into words, and on a page; the store never sees a model's words."""
    worded = wording.word(found.current.profile) if wording else None
    current = replace(found.current, profile=worded.written.profile) if worded else found.current
    return replace(found, current=current, worded=worded, html=_page(profiling, asked.html, current.profile))


def _sampled(profiling: Profiling, wording: Wording | None, asked: Asked) -> Answer:
    """Return profiles of users drawn among those with a train history, always the same ones for a seed."""
    run, users = profiling.workflow.run, np.flatnonzero(profiling.workflow.loaded_split.train.user_counts)
    drawn = np.sort(run.rng("profiles", "sample").permutation(users)[: asked.sample])
    found = []
    for user in run.bar(drawn, "profiles"):
        profile = profiling.current(profiling.dataset.users[int(user)]).profile
        found.append(wording.word(profile).written.profile if wording else profile)
    return Answer(sample=tuple(found), html=_page(profiling, asked.html, found))


def _erased(profiling: Profiling, user_id: str) -> Answer:
    """Remove versions and what language models answered of a user, who may have left the data since."""
    versions, answers = profiling.files.forget_elsewhere(user_id)
    forgotten = answers_of(profiling.workflow).forget(user_id) + answers
    erased = profiling.store.erase(user_id if forgotten or versions else _known(profiling, user_id)) + versions
    notes = [f"{erased} versions of the profile of user {user_id} are erased"]
    notes += [f"{forgotten} answers of language models about the user are forgotten"] if forgotten else []
    return Answer(notes=tuple(notes), erased=erased, forgotten=forgotten)


def _edited(profiling: Profiling, asked: Asked) -> Edited:
    if asked.user is None:
        return profiling.edit(profiling.newcomer(asked.liked), asked.edits)
    if asked.edits:
        return profiling.edit(profiling.current(asked.user), asked.edits)
    return profiling.undo(asked.user, again=asked.redo)


def _known(profiling: Profiling, user_id: str) -> str:
    """Return the id of a user who is in the data or of whom something is kept."""
    if user_id not in profiling.dataset.users and not profiling.store.history(user_id):
        raise DataError(f"user {user_id!r}", "not in the data set, and nothing is kept of such a user", "Check the id.")
    return user_id


def _page(profiling: Profiling, path: Path | None, profile: UserProfile | Sequence[UserProfile]) -> Path | None:
    if path is None:
        return None
    from recsys.profiles.page import profile_page

    page = profile_page(profile, pictures=profiling.picture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"file {path}", error.strerror or str(error), "Choose another place for it.") from None
    return path


def _versions_text(versions: Sequence[Version]) -> str:
    if not versions:
        return "nothing is kept: the profile was never edited"
    rows = [
        {"version": ("* " if one.current else "  ") + str(one.version), "made": one.made[:19], "edit": one.edit}
        for one in versions
    ]
    return columns(rows)
