"""Routes of whoever runs the server: models, health, metrics."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends
from starlette.responses import Response

from recsys.core.errors import ArtifactError, BusyError, DataError
from recsys.serving.http.context import Context, context, json_response
from recsys.serving.http.schemas import ModelBody, NameBody, SplitBody

router = APIRouter()
Here = Annotated[Context, Depends(context)]


@router.get("/health/live", tags=["health"])
async def live() -> Response:
    """The process answers."""
    return json_response({"live": True})


@router.get("/health/ready", tags=["health"])
async def ready(here: Here) -> Response:
    """Lists can be made and feedback be kept; 503 while stopping, or where the store cannot be reached."""
    if here.service.stopping:
        return json_response({"ready": False, "cause": "stopping"}, 503)
    try:
        await anyio.to_thread.run_sync(here.service.state.check)
    except ArtifactError as error:
        return json_response({"ready": False, "cause": error.cause}, 503)
    return json_response({"ready": True, "model": here.service.models.now.current})


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(here: Here) -> Response:
    """Counts and times as Prometheus reads them."""
    return Response(here.metrics.page(), media_type="text/plain; version=0.0.4")


@router.get("/v1/about", tags=["models"])
async def about(here: Here) -> Response:
    """What this server is: data, sizes, model, and what it offers."""
    people = here.service.people
    return json_response(
        {
            "name": here.name, "users": len(people.dataset.users), "items": len(people.dataset.items),
            "new_items": len(people.fresh.place), "model": here.service.models.now.current,
            "key": here.service.models.of(None).key, "keyed": here.keyed,
            "offers": {name: getattr(here.offers, name) is not None for name in vars(here.offers)},
        }
    )  # fmt: skip


@router.get("/v1/models", tags=["models"])
async def models(here: Here) -> Response:
    """The variants, who answers whom, and what users said of each one's lists."""
    return json_response(await anyio.to_thread.run_sync(_arrangement, here))


@router.post("/v1/models", status_code=201, tags=["models"])
async def add(here: Here, body: ModelBody) -> Response:
    """Open a trained ranker beside the others; it is asked once, and refused if it cannot answer."""
    try:
        await anyio.to_thread.run_sync(here.service.models.add, body.name, body.artifact)
    except BusyError:
        raise
    except ArtifactError as error:  # what was asked for is at fault, not this server's own store
        raise DataError(error.thing, error.cause, error.remedy) from None
    return json_response(await anyio.to_thread.run_sync(_arrangement, here), 201)


@router.delete("/v1/models/{name}", tags=["models"])
async def remove(here: Here, name: str) -> Response:
    """Close a variant that answers nobody."""
    return await _do(here, here.service.models.remove, name)


@router.post("/v1/models/activate", tags=["models"])
async def activate(here: Here, body: NameBody) -> Response:
    """Make a variant the current one, between two requests."""
    return await _do(here, here.service.models.activate, body.name)


@router.post("/v1/models/rollback", tags=["models"])
async def roll_back(here: Here) -> Response:
    """Make current again what was so before."""
    return await _do(here, here.service.models.roll_back)


@router.put("/v1/models/split", tags=["models"])
async def split(here: Here, body: SplitBody) -> Response:
    """Give each variant a share of the users; a user always gets the same one."""
    return await _do(here, here.service.models.divide, body.split)


@router.put("/v1/models/shadow", tags=["models"])
async def shadow(here: Here, body: NameBody) -> Response:
    """Ask a variant, too, and only count how far its lists agree (`recsys_shadow_overlap` in /metrics)."""
    return await _do(here, here.service.models.set_shadow, body.name)


async def _do(here: Context, action: Any, *arguments: Any) -> Response:
    await anyio.to_thread.run_sync(action, *arguments)
    return json_response(await anyio.to_thread.run_sync(_arrangement, here))


def _arrangement(here: Context) -> dict[str, Any]:
    return {**here.service.models.now.told(), "feedback": here.service.state.counts()}
