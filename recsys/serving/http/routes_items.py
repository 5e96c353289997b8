"""Routes about items: what they are, their pictures, search, new ones, and pictures for users."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from recsys.serving.http.context import Context, context, json_response
from recsys.serving.http.schemas import PICTURE_BYTES, FacetBody, Id, ItemBody, ItemIn, Line, VisualBody
from recsys.serving.state.store import NewItem

router = APIRouter(prefix="/v1", tags=["items"])
Here = Annotated[Context, Depends(context)]
Which = Annotated[Id, Query(description="Of the item.")]
K = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Where = Annotated[
    Literal["text", "image", "both"] | None, Query(description="Among what; none: all that there is to search.")
]
DAY = {"cache-control": "max-age=86400"}


@router.get("/item", response_model=ItemBody)
async def item(here: Here, item_id: Which) -> Response:
    """What an item is."""
    return json_response(here.service.items.item(item_id))


@router.get("/filters", response_model=list[FacetBody])
async def filters(here: Here, k: K = 50) -> Response:
    """What items can be filtered by: kinds of attributes with their values, or the range of their numbers."""
    return json_response(await anyio.to_thread.run_sync(here.service.items.offered.facets, k))


@router.get("/picture", response_class=Response)
async def picture(
    here: Here, item_id: Which, width: Annotated[int, Query(ge=32, le=1024, description="In pixels.")] = 320
) -> Response:
    """An item's picture; a card with its title, marked as drawn, where it has none."""
    here.service.items.item(item_id)
    content, kind = await here.call("pictures", "of", item_id, width)
    return Response(content, media_type=kind, headers=DAY)


@router.get("/search", response_model=list[ItemBody])
async def search(here: Here, q: Annotated[Line, Query(description="Words.")], by: Where = None, k: K = 10) -> Response:
    """Items that fit a few words, by their texts and, where there are any, by their pictures."""
    return await here.offered("finder", "words", q, by, k)


@router.post("/search/picture", response_model=list[ItemBody], openapi_extra={
    "requestBody": {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}, "required": True}
})  # fmt: skip
async def search_picture(request: Request, here: Here, k: K = 10) -> Response:
    """Items that look most like the picture that is the body."""
    content = await request.body()
    if not 0 < len(content) <= PICTURE_BYTES:
        raise HTTPException(413 if content else 422, "send a picture of at most 8 MiB as the body")
    return await here.offered("finder", "picture", content, k)


@router.post("/items", status_code=201, response_model=ItemBody)
async def add(here: Here, body: ItemIn) -> Response:
    """Add an item by its text and picture; when the answer is there, lists may hold it."""
    try:
        content = body.picture_bytes()
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    new = NewItem(body.item_id, body.title, body.text, tuple(body.attributes), content, {})
    placed = await anyio.to_thread.run_sync(here.service.items.add, new)
    titles = here.service.people.dataset.titles(placed.neighbours[:3])
    return json_response({**here.service.items.item(body.item_id), "like": titles}, 201)


@router.delete("/items")
async def remove(here: Here, item_id: Which) -> Response:
    """Take an item out that was added here."""
    if not await anyio.to_thread.run_sync(here.service.items.remove, item_id):
        raise HTTPException(404, "no item of that id was added here")
    return json_response({"removed": item_id})


@router.post("/visuals")
async def visuals(here: Here, body: VisualBody) -> Any:
    """Draw an item for a user; takes seconds. Answers with the pictures' addresses and what each was made from."""
    await here.service.accounts.person(body.user_id)
    here.service.items.item(body.item_id)
    return await here.offered("drawer", "draw", body.user_id, body.item_id, body.dial, body.n)


@router.get("/visuals/{album}/{name}", response_class=Response)
async def visual(here: Here, album: str, name: str) -> Response:
    """A picture that was drawn."""
    content = await here.call("drawer", "file", album, name)
    if content is None:
        raise HTTPException(404, "there is no such picture")
    return Response(content, media_type="image/png", headers=DAY)
