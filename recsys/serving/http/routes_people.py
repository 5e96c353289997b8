"""Routes about people: who there is, what they say, their profiles, and their right to leave."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Query
from starlette.exceptions import HTTPException
from starlette.responses import Response

from recsys.serving.http.context import Context, context, json_response
from recsys.serving.http.schemas import (
    EditBody,
    EventBody,
    FeedbackBody,
    Id,
    ProfileBody,
    UndoBody,
    UserBody,
    UserState,
)  # fmt: skip
from recsys.serving.state.store import Event

router = APIRouter(prefix="/v1", tags=["people"])
Here = Annotated[Context, Depends(context)]
Who = Annotated[Id, Query(description="Of whom.")]


@router.post("/users", status_code=201, response_model=UserBody)
async def create(here: Here, body: UserBody) -> Response:
    """Create a user of whom nothing is known yet."""
    if here.service.people.row(body.user_id) >= 0 or not await here.service.accounts.add_user(body.user_id):
        raise HTTPException(409, "there is a user of that id")
    return json_response({"user_id": body.user_id}, 201)


@router.get("/users", response_model=list[str])
async def users(
    here: Here,
    prefix: Annotated[str, Query(max_length=256, description="That ids begin with.")] = "",
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = 20,
) -> Response:
    """Ids of users that begin so: those created here first, then those of the data."""
    return json_response(await anyio.to_thread.run_sync(here.service.accounts.users, prefix, limit))


@router.get("/user", response_model=UserState)
async def user(
    here: Here, user_id: Who, limit: Annotated[int, Query(ge=1, le=500, description="Of each kind at most.")] = 50
) -> Response:
    """What is known of a user: taken, disliked, said."""
    await here.service.accounts.person(user_id)
    return json_response(await anyio.to_thread.run_sync(here.service.accounts.told, user_id, limit))


@router.delete("/users")
async def erase(here: Here, user_id: Who) -> Response:
    """Erase a user from what this server keeps: events, profile, lists; the next training leaves the user out, too."""
    await here.service.accounts.person(user_id)
    return json_response({"erased": await anyio.to_thread.run_sync(here.erase, user_id)})


@router.get("/export")
async def export(here: Here, user_id: Who) -> Response:
    """Everything that is kept of a user."""
    await here.service.accounts.person(user_id)
    return json_response(await anyio.to_thread.run_sync(here.export, user_id))


@router.post("/feedback", status_code=201, response_model=EventBody)
async def feedback(here: Here, body: FeedbackBody) -> Response:
    """Say something of an item. It is on the disk before the answer, and counts in the very next list."""
    if (body.kind == "rating") != (body.value is not None):
        raise HTTPException(422, "a rating needs a value, and nothing else has one")
    event = Event(body.user_id, body.item_id, body.kind, body.value, body.model, body.key)
    kept = await here.service.accounts.record(event)
    here.metrics.feedback(body.model if body.model in here.service.models.now.engines else "", body.kind)
    return json_response(kept, 201)


@router.delete("/feedback")
async def take_back(
    here: Here, user_id: Who, number: Annotated[int, Query(ge=1, le=2**62, description="Of the event.")]
) -> Response:
    """Take something back that was said."""
    if not await here.service.accounts.take_back(user_id, number):
        raise HTTPException(404, "there is no such event of that user")
    return json_response({"taken_back": number})


@router.get("/profile", response_model=ProfileBody)
async def profile(here: Here, user_id: Who) -> Response:
    """A user's profile: statements with evidence, interests, visual taste, and the user's own edits."""
    await here.service.accounts.person(user_id)
    return await here.offered("profiles", "read", user_id)


@router.post("/profile", response_model=ProfileBody)
async def edit(here: Here, body: EditBody) -> Response:
    """Edit a profile: `add`, `dislike`, `raise`, `lower`, `forbid`, `allow`, `remove`, `reweight`, `lock`, `unlock`."""
    await here.service.accounts.person(body.user_id)
    try:
        return await here.offered("profiles", "edit", body.user_id, body.edits, body.made_from)
    finally:
        here.service.people.forget(body.user_id)


@router.post("/profile/undo", response_model=ProfileBody)
async def undo(here: Here, body: UndoBody) -> Response:
    """Take the last edit back, or the last undo."""
    await here.service.accounts.person(body.user_id)
    try:
        return await here.offered("profiles", "undo", body.user_id, body.again)
    finally:
        here.service.people.forget(body.user_id)
