"""The application: routes, errors, page and documentation around one ``Service``."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import resources

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from recsys.core.artifact import versions
from recsys.core.errors import ArtifactError, ConfigError, RecsysError
from recsys.profiles.store import StaleProfileError
from recsys.serving.batching import OverloadedError
from recsys.serving.http.context import Context, Offers, json_response
from recsys.serving.http.documentation import documentation
from recsys.serving.http.guard import Guard, Limits
from recsys.serving.http.metrics import Metrics
from recsys.serving.http.schemas import Failed
from recsys.serving.people import UnknownItemError, UnknownUserError
from recsys.serving.service import Service
from recsys.serving.state.store import StateConflictError

STATUS: list[tuple[type[RecsysError], int]] = [  # the first that fits
    (UnknownUserError, 404), (UnknownItemError, 404), (StateConflictError, 409), (StaleProfileError, 409),
    (OverloadedError, 503), (ArtifactError, 503), (ConfigError, 422),
]  # fmt: skip
FAULTS = {
    code: {"model": Failed, "description": words}
    for code, words in {
        400: "not a request that can be read", 401: "no key, or an unknown one", 403: "from another site's page",
        404: "no such user, item, list or file", 409: "somebody was faster, or the key stands for something else",
        413: "too large", 421: "not the name of this server", 422: "not understood", 429: "too often",
        501: "not offered by this server", 503: "busy, or stopping: try again",
    }.items()
}  # fmt: skip


def create_app(
    service: Service, offers: Offers | None = None, limits: Limits | None = None, *, name: str = "",
    log: Callable[[str], None] | None = None,
) -> Guard:  # fmt: skip
    """Return the ASGI application.

    Args:
        service: who answers; it is closed with the application.
        offers: profiles, search, pictures.
        limits: keys, hosts, sizes, rates.
        name: of the data, for the page.
        log: receives a line of JSON a request; standard error by default.
    """
    from recsys.serving.http import routes_items, routes_lists, routes_models, routes_people

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        gc.freeze()  # what was loaded stays: to look for garbage in it holds everybody up for a quarter of a second
        yield
        gc.unfreeze()
        service.close()

    metrics = Metrics(lambda: len(service.batcher))
    app = FastAPI(
        title="recsys", version=versions()["recsys"], lifespan=lifespan, docs_url=None, redoc_url=None,
        responses=FAULTS,
        description="Lists, reasons, profiles and pictures for users; what they say counts at once.",
    )  # fmt: skip
    limits = limits or Limits()
    app.state.recsys = Context(service, offers or Offers(), metrics, name, bool(limits.keys))
    for part in (routes_lists, routes_people, routes_items, routes_models):
        app.include_router(part.router)
    app.add_exception_handler(RecsysError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _other)
    page = resources.files("recsys.serving") / "page"
    app.mount("/static", StaticFiles(directory=str(page)), name="static")

    @app.get("/", include_in_schema=False)
    def front() -> HTMLResponse:
        return HTMLResponse((page / "index.html").read_text(encoding="utf-8"))

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(documentation(app.openapi()))

    return Guard(app, limits, metrics, log, lambda: service.stopping)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, RecsysError)
    status = next((code for kind, code in STATUS if isinstance(error, kind)), 422)
    made = _failed(status, error.thing, error.cause, error.remedy)
    if status == 503:
        made.headers["retry-after"] = str(getattr(error, "retry_after", 1))
    return made


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return _failed(422, where[:100] or "request", str(first["msg"])[:300], "See /docs for what is expected.")


async def _other(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    made = _failed(error.status_code, "request", str(error.detail), "See /docs for what there is.")
    made.headers.update(error.headers or {})
    return made


def _failed(status: int, thing: str, cause: str, remedy: str) -> Response:
    return json_response({"error": {"thing": thing, "cause": cause, "remedy": remedy}}, status)
