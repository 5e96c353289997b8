"""Bodies of requests and answers; what is odd is refused here, before anything looks at it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from recsys.core.blanks import trimmed_id
from recsys.serving.reasons import Kind

PICTURE_BYTES = 8 << 20
By = Literal["taste", "text", "image", "both"]


def _writable(text: str) -> str:
    """Refuse what no store and no log can hold: control characters and halves of surrogate pairs."""
    if any(ord(letter) < 32 or ord(letter) == 127 or 0xD800 <= ord(letter) < 0xE000 for letter in text):
        raise ValueError("has control characters or broken unicode")
    return text


def _id(text: str) -> str:
    """Return an id as those of tables are read."""
    text = trimmed_id(_writable(text))
    if not text:
        raise ValueError("is blank")
    return text


def _prose(text: str) -> str:
    _writable(text.replace("\n", " ").replace("\t", " ").replace("\r", " "))
    return text


Id = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_id)]
Line = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_writable)]
Prose = Annotated[str, Field(max_length=20_000), AfterValidator(_prose)]
Ids = Annotated[list[Id], Field(max_length=1000)]
Filters = Annotated[list[Line], Field(max_length=20)]


class Body(BaseModel):
    """Base: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Fault(BaseModel):
    thing: str = Field(description="What failed, by name.")
    cause: str = Field(description="Why.")
    remedy: str = Field(description="What to do about it.")


class Failed(BaseModel):
    """Any answer that is not a success."""

    error: Fault


class ReasonBody(BaseModel):
    text: str
    item_id: str | None = Field(None, description="The item that was taken or disliked, where the reason is one.")
    share: float | None = Field(
        None, description="Its part of all that speaks for the item, negative for what speaks against it; null: no sum."
    )
    kind: Kind = Field(
        description="history: part of the score; near: an item of the history that the ranker puts near; popularity; "
        "dislike, edit, diversity: what these did; new: how a new item is placed; closed: why it is not shown."
    )


class ItemBody(BaseModel):
    item_id: str
    title: str
    attributes: list[str]
    fresh: bool = Field(description="It came after training.")


class FacetValue(BaseModel):
    value: str
    items: int = Field(description="How many have it.")


class FacetBody(BaseModel):
    """Something that items can be filtered by."""

    kind: str = Field(description="Such as genre: a filter reads genre:Comedy.")
    values: list[FacetValue] = Field(description="Those that most items have; none where values are numbers.")
    least: float | None = Field(None, description="Of a kind whose values are numbers: year>=1990.")
    most: float | None = None


class LineBody(ItemBody):
    score: float
    reasons: list[ReasonBody] = []


class ListBody(BaseModel):
    """A list, all of it by one version of one model."""

    items: list[LineBody]
    model: str = Field(description="Name of the variant that answered.")
    key: str = Field(description="Of the trained artifact it stands for.")


class ListWish(BaseModel):
    """What kind of list is asked for: the same in a query and in a body."""

    k: int = Field(20, ge=1, le=500, description="How many.")
    filter: Filters = Field([], description="Such as genre:Comedy, !genre:Horror or year>=1990: see /v1/filters.")
    only: Ids = Field([], description="Ids of items among which to choose; none: all.")
    never: Ids = Field([], description="Ids of items not to show.")
    diversity: float = Field(0.0, ge=0, le=1, description="0: the ranker's order; 1: as unlike as can be.")
    reasons: bool = Field(True, description="Say why.")
    model: Annotated[str, Field(max_length=100), AfterValidator(_writable)] = Field(
        "", description="Variant that answers; empty: the one of this user."
    )


class UserQuery(ListWish):
    """A list for a user; as one model, for a query's parameters cost more when each is checked alone."""

    user_id: Id = Field(description="For whom.")


class SessionBody(Body, ListWish):
    """A list for somebody of whom only a few likes are known."""

    history: Ids = Field(description="Ids of items, oldest first.")


class FeedbackBody(Body):
    user_id: Id
    item_id: Id
    kind: Literal["like", "dislike", "click", "hide", "rating"]
    value: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="Of a rating; from 4 it is a like."
    )
    key: Id | None = Field(None, description="Sent twice with the same key, it is kept once.")
    model: Annotated[str, Field(max_length=100), AfterValidator(_writable)] = Field(
        "", description="Variant whose list it is an answer to."
    )


class EventBody(BaseModel):
    number: int
    user_id: str
    item_id: str
    kind: str
    value: float | None
    model: str
    time: int = Field(description="Seconds since 1970.")


class UserBody(Body):
    user_id: Id


class UserState(BaseModel):
    user_id: str
    taken: list[ItemBody] = Field(description="What was taken or liked, the newest first.")
    n_taken: int
    disliked: list[ItemBody]
    events: list[EventBody] = Field(description="What was said here, the newest first.")


class CounterfactualBody(BaseModel):
    item_id: str
    title: str
    share: float | None = Field(description="Its part of all that speaks for the item; null: the score is not a sum.")
    place: int | None = Field(description="Of the explained item, had this one been hidden; null: in no place.")


class WhyQuery(UserQuery):
    """The list in which an item is to be explained."""

    item_id: Id = Field(description="Of the item.")


class WhyBody(BaseModel):
    place: int | None = Field(description="In that list; null: it is left out, or beyond the end of a diverse list.")
    exact: bool = Field(description="The score is a sum over what was taken and disliked, and alone places the item.")
    without: list[CounterfactualBody]
    without_edits: int | None = Field(
        description="Its place if the profile were not edited; null: it is not, or in no place."
    )
    reasons: list[ReasonBody]


class ItemIn(Body):
    """A new item: recommendable when the answer is there."""

    item_id: Id
    title: Line
    text: Prose = ""
    attributes: Annotated[list[Line], Field(max_length=100)] = Field([], description="Such as genre:Drama, year:1999.")
    picture: Annotated[str, Field(max_length=PICTURE_BYTES * 4 // 3 + 4)] | None = Field(
        None, description="PNG, JPEG or WebP, base64."
    )

    def picture_bytes(self) -> bytes | None:
        """Return the picture's bytes.

        Raises:
            ValueError: it is not base64.
        """
        if self.picture is None:
            return None
        try:
            return base64.b64decode(self.picture, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("the picture is not base64") from None


class EditBody(Body):
    user_id: Id
    edits: Annotated[list[Line], Field(min_length=1, max_length=50)] = Field(
        description="Such as 'raise genre:Drama', 'remove s12', 'lock s3': see recsys profile --help."
    )
    made_from: int | None = Field(
        None, ge=0, le=2**31, description="Version that they were made on; another is refused."
    )


class UndoBody(Body):
    user_id: Id
    again: bool = Field(False, description="Take the last undo back.")


class ProfileBody(BaseModel):
    profile: dict[str, Any] = Field(description="See recsys.profiles.schema.UserProfile.")
    version: int = Field(description="0: never edited.")
    notes: list[str] = []


class VisualBody(Body):
    user_id: Id
    item_id: Id
    dial: float = Field(0.5, ge=0, le=1, description="0: true to the item; 1: to the taste.")
    n: int = Field(1, ge=1, le=8)


class ModelBody(Body):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,60}$")]
    artifact: Line = Field(description="Folder, name or key of a trained ranker.")


class SplitBody(Body):
    split: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(description="Variant to share; none: no split.")


class NameBody(Body):
    name: Annotated[str, Field(max_length=60)] = Field(description="Of a variant; empty: none.")
