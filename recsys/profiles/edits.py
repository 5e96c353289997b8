"""What a person may do to a profile, checked: every edit gives a new profile and leaves the old one as it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import Literal, get_args

from pydantic import Field

from recsys.core.errors import DataError, did_you_mean
from recsys.items.attributes import attribute_key
from recsys.profiles.concepts import Concepts
from recsys.profiles.edit_names import Names, find_concept
from recsys.profiles.matching import SAID
from recsys.profiles.schema import Interest, Model, Polarity, Statement, UserProfile

Action = Literal["add", "dislike", "remove", "reweight", "raise", "lower", "lock", "unlock", "forbid", "allow"]
ACTIONS = get_args(Action)
STEP = 0.25  # of raise and lower
OF_AN_INTEREST = 3  # how many of its concepts an edit of an interest moves
ADDED = 0.5  # weight of what a person adds, unless told
LONGEST = 200  # characters of what a person says
AGAINST = ("no ", "not ", "without ", "less ", "never ", "don't ", "dont ", "nothing ")  # begins what is no wish
ATTRIBUTE = re.compile(r"[^\W\d][^\s:]*:\S")  # the name of an attribute, not words: genre:Drama, Cat.:Drama
EXAMPLES = "Such as: raise genre:Drama; add films about space; reweight ID 0.8; forbid genre:Horror"


class Edit(Model):
    """One change.

    ``add`` and ``dislike`` take a concept's key or name, any attribute that filters know, or free words. ``raise`` and
    ``lower`` want more, or less, of a thing in lists; ``forbid`` never to see it. These three take statements, too, the
    first two also an interest by its name. ``allow`` takes a ``forbid`` back; like ``remove``, ``reweight``, ``lock``
    and ``unlock`` it takes a statement, by its id or concept.
    """

    action: Action
    target: str = Field(min_length=1, max_length=LONGEST)
    weight: float | None = Field(None, description="Of reweight, and of add and dislike; from 0 to 1.")

    def __str__(self) -> str:
        return f"{self.action} {self.target}" + ("" if self.weight is None else f" {self.weight:g}")

    @classmethod
    def parse(cls, text: str) -> Edit:
        """Read an edit as people type it: ``raise genre:Drama``, ``reweight ID 0.8``, ``add films about space``.

        Raises:
            DataError: it begins with no action, names nothing, is too long, or lacks its weight.
        """
        action, _, target = " ".join("".join(filter(str.isprintable, word)) for word in text.split()).partition(" ")
        action = action.lower()
        if action not in ACTIONS:
            raise DataError(
                f"edit {text!r}", f"{action!r} is no action", f"{EXAMPLES}. {did_you_mean(action, ACTIONS)}"
            )
        weight = None
        if action == "reweight":
            target, _, number = target.rpartition(" ")
            try:
                weight = float(number)
            except ValueError:
                cause = f"{number!r} is not a number" if target else "it needs a statement and a weight"
                raise DataError(f"edit {text!r}", cause, "Such as: reweight genre:Drama 0.8") from None
        if not target:
            raise DataError(f"edit {text!r}", f"{action} what?", EXAMPLES)
        if len(target) > LONGEST:
            raise DataError(f"edit {text[:40]!r}…", f"has {len(target)} characters", f"Say it in {LONGEST}.")
        return cls(action=action, target=target, weight=weight)


def apply(profile: UserProfile, edit: Edit, names: Concepts | Names) -> UserProfile:
    """Return the profile with the edit made.

    What a person changed is locked, so that it stays when the profile is built anew.

    Args:
        profile: left as it is.
        edit: the change.
        names: what may be named.

    Raises:
        DataError: no such statement, concept or attribute (the nearest is named), or a weight outside of 0 to 1.
    """
    names = names if isinstance(names, Names) else Names(names)
    if edit.weight is not None and not 0 <= edit.weight <= 1:
        raise DataError(f"edit {str(edit)!r}", f"the weight is {edit.weight:g}", "Give one from 0 (not at all) to 1.")
    if edit.action == "remove":
        return profile.without(_known(profile, edit).id)
    if edit.action == "reweight":
        if edit.weight is None:
            raise DataError(f"edit {str(edit)!r}", "has no weight", "Such as: reweight genre:Drama 0.8")
        return profile.replacing(_known(profile, edit).model_copy(update={"weight": edit.weight, "locked": True}))
    if edit.action in ("lock", "unlock"):
        return profile.replacing(_known(profile, edit).model_copy(update={"locked": edit.action == "lock"}))
    if edit.action == "allow":
        return _allowed(profile, _known(profile, edit))
    parts = _parts(profile, edit, names)
    if edit.action in ("add", "dislike"):
        return profile.replacing(_added(profile, edit, names))
    if edit.action == "forbid":
        statement = _old_or_fresh(profile, edit, names)
        return profile.replacing(statement.model_copy(update={"forbidden": True, "locked": True}))
    for one in parts:
        statement = _old_or_fresh(profile, one, names)
        profile = profile.replacing(_moved(statement, STEP if edit.action == "raise" else -STEP, names))
    return profile


def merge(rebuilt: UserProfile, kept: UserProfile, removed: Collection[str] = ()) -> UserProfile:
    """Return a profile that was built anew, with what a person said, locked, forbade and removed in the one before.

    Args:
        rebuilt: fresh from the builder.
        kept: the current one, with edits.
        removed: ids of statements that a person took out.
    """
    own = [one for one in kept.statements if one.locked or one.forbidden or one.modality == "user-stated"]
    ids, keys = {one.id for one in own} | set(removed), {one.concept for one in own}
    result = rebuilt.model_copy(
        update={"statements": tuple(one for one in rebuilt.statements if one.id not in ids and one.concept not in keys)}
    )
    return result.model_copy(update={"statements": (*own, *result.statements)})


def find_statement(profile: UserProfile, name: str) -> Statement | None:
    """Return the statement of that id or concept, upper or lower case; ``None`` where there is none."""
    exact = profile.statement(name) or next((one for one in profile.statements if one.concept == name), None)
    low = name.casefold()
    return exact or next(
        (one for one in profile.statements if low in (one.id.casefold(), one.concept.casefold())), None
    )


def statement_id(concept: str) -> str:
    """Return the id of what a person says of a concept that has no statement: the same for the same concept."""
    return "u" + hashlib.sha256(concept.encode()).hexdigest()[:7]


# -- how -----------------------------------------------------------------------------------------------------


def _known(profile: UserProfile, edit: Edit) -> Statement:
    found = find_statement(profile, edit.target)
    if found is None:
        names = [name for one in profile.statements for name in (one.id, one.concept)]
        remedy = did_you_mean(edit.target, names) if names else "It has no statements; add one."
        raise DataError(f"statement {edit.target!r}", "the profile has no such statement", remedy)
    return found


def _meant(edit: Edit, names: Names) -> tuple[str, str]:
    """Return the key of what the edit names, and words for it."""
    concept = find_concept(edit.target, names.concepts)
    if concept is not None:
        return concept.key, concept.phrase
    attribute = names.attributes.get(attribute_key(edit.target))
    if attribute is not None:
        return attribute.name, names.phrase(attribute.name)
    near = names.near(edit.target)
    nearest = f"Did you mean {' or '.join(map(repr, near))}?" if near else "Say it in words of titles and texts."
    kind = edit.target.partition(":")[0]
    if kind != edit.target and names.has_kind(kind):
        raise DataError(f"concept {edit.target!r}", f"there is no such {kind}", nearest)
    if ATTRIBUTE.match(edit.target):
        remedy = f"{nearest} Free words have no colon."
        raise DataError(f"edit {str(edit)!r}", f"no item has the attribute {edit.target!r}", remedy)
    if edit.target.casefold().startswith(AGAINST):
        rest = edit.target.partition(" ")[2]
        remedy = f"Write: dislike {rest}, or forbid {rest}"
        raise DataError(f"edit {str(edit)!r}", "says what is not wanted", remedy)
    if names.finds is not None and not names.finds(edit.target):
        raise DataError(f"edit {str(edit)!r}", "no item is like that", nearest)
    return SAID + edit.target, edit.target


def _interest(profile: UserProfile, edit: Edit, names: Names) -> Interest | None:
    """Return the interest of that name, where no statement or concept has it."""
    if find_statement(profile, edit.target) is not None or find_concept(edit.target, names.concepts) is not None:
        return None
    low = edit.target.casefold()
    return next((one for one in profile.interests if one.name.casefold() == low and one.concepts), None)


def _parts(profile: UserProfile, edit: Edit, names: Names) -> list[Edit]:
    """Return the edit; for an interest, by its name, one of each of the concepts that it is most about.

    Raises:
        DataError: an interest is to be forbidden or added: it is no one thing.
    """
    interest = _interest(profile, edit, names)
    if interest is None:
        return [edit]
    if edit.action not in ("raise", "lower"):
        remedy = f"Name one of its concepts: {', '.join(interest.concepts)}; or raise or lower it."
        raise DataError(f"edit {str(edit)!r}", "names an interest, which is many things together", remedy)
    return [edit.model_copy(update={"target": key}) for key in interest.concepts[:OF_AN_INTEREST]]


def _old_or_fresh(profile: UserProfile, edit: Edit, names: Names) -> Statement:
    """Return the statement of what the edit names; a new one counts nothing yet."""
    found = find_statement(profile, edit.target)
    if found is not None:
        return found
    key, phrase = _meant(edit, names)
    polarity: Polarity = "like" if edit.action == "raise" else "dislike"
    return find_statement(profile, key) or _stated(key, phrase, polarity, 0.0)


def _stated(key: str, phrase: str, polarity: Polarity, weight: float) -> Statement:
    verb = "Likes" if polarity == "like" else "Does not like"
    return Statement(
        id=statement_id(key), text=f"{verb} {phrase}.", polarity=polarity, weight=weight,
        modality="user-stated", concept=key, locked=True,
    )  # fmt: skip


def _added(profile: UserProfile, edit: Edit, names: Names) -> Statement:
    """Return what was said; where the profile speaks of it already, the id stays, and evidence that agrees."""
    key, phrase = _meant(edit, names)
    polarity: Polarity = "dislike" if edit.action == "dislike" else "like"
    known = find_statement(profile, key)
    weight = ADDED if edit.weight is None else edit.weight
    if known is None:
        return _stated(key, phrase, polarity, weight)
    if known.polarity == polarity:
        return known.model_copy(update={"weight": max(weight, known.weight), "locked": True})
    return _stated(key, phrase, polarity, weight).model_copy(update={"id": known.id, "forbidden": known.forbidden})


def _allowed(profile: UserProfile, statement: Statement) -> UserProfile:
    """What was said only to forbid is gone when it is allowed."""
    if statement.modality == "user-stated" and statement.forbidden and not statement.weight:
        return profile.without(statement.id)
    return profile.replacing(statement.model_copy(update={"forbidden": False}))


def _moved(statement: Statement, step: float, names: Names) -> Statement:
    """Return the statement with more, or less, of its thing wanted; on the way from like to dislike it stops at 0."""
    signed = statement.weight if statement.polarity == "like" else -statement.weight
    moved = round(min(max(signed + step, -1.0), 1.0), 6)
    if signed * moved < 0:
        moved = 0.0
    if not moved or (moved > 0) == (statement.polarity == "like"):
        return statement.model_copy(update={"weight": abs(moved), "locked": True})
    turned = _stated(statement.concept, names.phrase(statement.concept), "like" if moved > 0 else "dislike", abs(moved))
    return turned.model_copy(update={"id": statement.id, "forbidden": statement.forbidden})
