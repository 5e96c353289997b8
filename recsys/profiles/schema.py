"""A user profile: what is said of a user, and on what evidence. Code, LLM and person edit one JSON document."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

VERSION = 1  # of this schema; a document of another one is refused

Polarity = Literal["like", "dislike"]
Modality = Literal["behaviour", "text", "image", "user-stated"]


class Model(BaseModel):
    """Base: frozen, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Evidence(Model):
    """An item of the history that a statement rests on."""

    item_id: str
    title: str
    date: str | None = Field(None, description="Day it was taken, YYYY-MM-DD; none where the data do not say.")


class Support(Model):
    """The contrast behind a statement, so that anybody can work it out again.

    ``observed`` is measured on the user's ``n`` items, ``expected`` is what somebody without this taste would give;
    ``low`` and ``high`` are the interval of ``observed``.
    """

    kind: Literal["share", "rating"] = Field(description="share: of items with the concept; rating: their mean rating.")
    n: int = Field(ge=0, description="Items of the history that were looked at.")
    n_with: int = Field(ge=0, description="Those with the concept.")
    observed: float
    expected: float
    low: float
    high: float


class Statement(Model):
    """One claim about a user's taste.

    ``concept`` is what is liked or disliked, as a key of the concepts that the profile was built with
    (``genre:Drama``, ``term:space``, ``pictures:7``, …), or ``said:…`` for what a person added in free words.
    """

    id: str = Field(description="Stable: the same concept has the same id in every version.")
    text: str
    polarity: Polarity
    weight: float = Field(ge=0, le=1, description="How much it counts in rankings; 0: not at all.")
    modality: Modality
    concept: str
    evidence: tuple[Evidence, ...] = ()
    support: Support | None = Field(None, description="None for what a person said.")
    forbidden: bool = Field(False, description="Items with the concept are never shown; a person's choice.")
    locked: bool = Field(False, description="Rebuilding and the LLM leave it as it is.")


class Interest(Model):
    """One of several groups of items that the history falls into."""

    name: str
    share: float = Field(ge=0, le=1, description="Of the history's items.")
    concepts: tuple[str, ...] = Field(description="Keys of what its items have more than the rest, strongest first.")
    examples: tuple[Evidence, ...]


class Colour(Model):
    """A colour of the pictures of the history."""

    hex: str = Field(pattern=r"^#[0-9a-f]{6}$")
    share: float = Field(ge=0, le=1, description="Of the pictures' area.")


class VisualTaste(Model):
    """What the pictures of the history look like."""

    palette: tuple[Colour, ...] = ()
    style: tuple[str, ...] = Field((), description="Words for groups of pictures that the user takes more than others.")
    examples: tuple[Evidence, ...] = ()


class Change(Model):
    """What the latest items have more, or less, than the earlier ones."""

    text: str
    concept: str
    before: float = Field(description="Share of the earlier items.")
    lately: float = Field(description="Share of the latest items.")
    evidence: tuple[Evidence, ...]


class Origin(Model):
    """Where a profile comes from."""

    history: int = Field(description="Items it was built from.")
    data: str = Field(description="Hash of the train interactions that it was built from, and of nothing else.")
    builder: str = Field(description="Hash of the builder's code and settings.")
    llm: str | None = Field(None, description="Identity of the language model that reworded it; none: no LLM.")
    dropped: int = Field(0, description="Statements of the LLM that their evidence did not bear out.")


class UserProfile(Model):
    """All that is said of one user.

    ``user_id`` is none for a history that belongs to no user of the data set.
    """

    version: int = VERSION
    user_id: str | None
    summary: str
    statements: tuple[Statement, ...] = ()
    interests: tuple[Interest, ...] = ()
    queries: tuple[str, ...] = ()
    visual: VisualTaste = VisualTaste()
    changes: tuple[Change, ...] = ()
    origin: Origin

    def statement(self, statement_id: str) -> Statement | None:
        """Return the statement of that id."""
        return next((one for one in self.statements if one.id == statement_id), None)

    def replacing(self, statement: Statement) -> UserProfile:
        """Return the profile with the statement of the same id replaced, or added at the end."""
        if self.statement(statement.id) is None:
            return self.model_copy(update={"statements": (*self.statements, statement)})
        changed = tuple(statement if one.id == statement.id else one for one in self.statements)
        return self.model_copy(update={"statements": changed})

    def without(self, statement_id: str) -> UserProfile:
        """Return the profile without that statement."""
        return self.model_copy(update={"statements": tuple(one for one in self.statements if one.id != statement_id)})
