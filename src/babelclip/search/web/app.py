"""The HTTP application: routes, guards and errors put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from babelclip import __version__
from babelclip.errors import BabelclipError
from babelclip.search.web import schemas
from babelclip.search.web.about import add_health, add_languages
from babelclip.search.web.batching import BusyError
from babelclip.search.web.embedding import add_embeddings
from babelclip.search.web.guard import Guard
from babelclip.search.web.metrics import Timed
from babelclip.search.web.searching import add_files, add_search
from babelclip.search.web.service import Service
from babelclip.search.web.state import State

_log = logging.getLogger(__name__)
FOLLOW_SECONDS = 1.0
"""Between two looks into the folder of packs."""
PAGE = Path(__file__).parent.parent / "page"

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Error} for status in (400, 401, 403, 404, 408, 409, 413, 421, 422, 429)
}


def make_app(service: Service, *, hosts: Sequence[str] = (), token: str | None = None) -> FastAPI:
    """Return the application.

    Args:
        service: what it serves.
        hosts: names that it is reached by, beside loopback; ``*`` for any.
        token: what every request needs; None for nothing.
    """
    state = State(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(_follow(service))
        yield
        following.cancel()
        await run_in_threadpool(state.close)

    app = FastAPI(
        title="babelclip", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, responses=_ERRORS,
        description="Search pictures and videos in every language that is installed.",
    )  # fmt: skip
    free = {"/", "/health", *(f"/{file.name}" for file in PAGE.iterdir())}
    app.add_middleware(Guard, hosts=hosts, token=token, free=free)
    app.add_middleware(Timed, metrics=state.metrics)
    for add in (add_search, add_files, add_embeddings, add_languages, add_health):
        add(app, state)
    _tell_errors(app)
    app.mount("/", _Page(directory=PAGE, html=True), name="page")
    return app


class _Page(StaticFiles):
    """The page's files: a browser asks each time whether they have changed."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """Return a file."""
        response = super().file_response(*arguments, **options)
        response.headers["cache-control"] = "no-cache"
        return response


async def _follow(service: Service) -> None:
    """Look into the folder of packs, again and again; a look that fails is told, and the next one is tried."""
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        try:
            await run_in_threadpool(service.follow)
        except OSError as error:
            _log.warning("the folder of packs cannot be read: %s", error)


def _tell_errors(app: FastAPI) -> None:
    """Write every error as ``{"error": "what is wrong, and the way out"}``."""

    @app.exception_handler(BabelclipError)
    async def _(_: Request, error: BabelclipError) -> Response:
        if isinstance(error, BusyError):
            return _say(429, f"{error.what}. {error.fix}", {"retry-after": "1"})
        taken = "is installed already" in error.what or "two packs" in error.what
        return _say(409 if taken else 400, f"{error.what}. {error.fix}")

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        what = str(error.detail)
        if what == HTTPStatus(error.status_code).phrase:  # the framework's own: it says no way out
            what = f"{what}: {request.method} {request.url.path[:64]}. /openapi.json says what can be asked."
        return _say(error.status_code, what, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in {"query", "body"}) or "the body"
        return _say(422, f"{place}: {first['msg']}. /openapi.json says what can be asked.")


def _say(status: int, what: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": what}, status, headers=headers)
