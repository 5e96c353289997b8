"""Routes that answer with lists: for users, sessions, items like one, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import TypeAdapter
from starlette.responses import Response

from recsys.serving.http.context import Context, context, json_response
from recsys.serving.http.schemas import By, Id, ItemBody, ListBody, ListWish, SessionBody, UserQuery, WhyBody, WhyQuery
from recsys.serving.service import Listed, Wanted
from recsys.serving.wishes import Line

router = APIRouter(prefix="/v1", tags=["lists"])
Here = Annotated[Context, Depends(context)]
K = Annotated[int, Query(ge=1, le=500, description="How many.")]
Which = Annotated[Id, Query(description="Of the item.")]


@dataclass(frozen=True)
class _Answer:
    """What a list is on the wire."""

    items: list[Line]
    model: str
    key: str


WRITER = TypeAdapter(_Answer)  # knows what it writes, and need not look at each of its eighty parts


@router.get("/recommendations", response_model=ListBody)
async def recommendations(here: Here, query: Annotated[UserQuery, Query()]) -> Response:
    """The best items for a user that the user does not have yet, with reasons.

    Filters such as `genre:Comedy`, `!genre:Horror`, `year>=1990`; several of one kind: any of them.
    """
    return _list(here, await here.service.recommend(_wanted(query, user_id=query.user_id)))


@router.post("/recommendations", response_model=ListBody)
async def session(here: Here, body: SessionBody) -> Response:
    """The best items for somebody of whom only a few likes are known; nothing is kept."""
    return _list(here, await here.service.recommend(_wanted(body, history=body.history)))


@router.get("/why", response_model=WhyBody)
async def why(here: Here, query: Annotated[WhyQuery, Query()]) -> Response:
    """Why an item stands where it stands in a user's list, and where it would stand had an item of it been hidden."""
    return json_response(await here.service.why(_wanted(query, user_id=query.user_id), query.item_id))


@router.get("/similar", response_model=list[ItemBody])
async def similar(
    here: Here, item_id: Which, by: Annotated[By, Query(description="In what.")] = "taste", k: K = 10
) -> Response:
    """Items like one: `taste`: what those take who take it; `text`, `image`, `both`: what it reads or looks like."""
    if by == "taste":
        return json_response(await here.service.similar(item_id, k))
    return await here.offered("finder", "like", item_id, by, k)


def _wanted(wish: ListWish, **whom: Any) -> Wanted:
    return Wanted(
        **whom, k=wish.k, filters=wish.filter, only=wish.only, never=wish.never, diversity=wish.diversity,
        reasons=wish.reasons, model=wish.model,
    )  # fmt: skip


def _list(here: Context, made: Listed) -> Response:
    here.metrics.listed(made.model, made.shadowed)
    return json_response(_Answer(made.lines, made.model, made.key), write=WRITER.dump_json)
