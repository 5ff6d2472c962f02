"""Routes about the server: its languages, its health, its figures."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from babelclip import __version__
from babelclip.languages import language_name
from babelclip.search.web import schemas
from babelclip.search.web.state import State
from babelclip.search.wire import Json


def add_languages(app: FastAPI, state: State) -> None:
    """Add ``/languages``."""

    @app.get("/languages", response_model=schemas.Languages)
    async def languages() -> Json:
        """List the languages that can be searched in."""
        return {"languages": state.service.languages()}

    @app.post(
        "/languages", status_code=201, response_model=schemas.Installed,
        openapi_extra={"requestBody": {"required": True, "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
        }}},
    )  # fmt: skip
    async def install(request: Request, replace: bool = False) -> Json:
        """Install a language pack (a .babelpack file) into the running server."""
        content = await request.body()
        async with state.at_once:
            tag = await run_in_threadpool(state.service.install, content, replace=replace)
        return {"tag": tag, "name": language_name(tag), "kept": state.service.folder is not None}


def add_health(app: FastAPI, state: State) -> None:
    """Add ``/health`` and ``/metrics``."""

    @app.get("/health", response_model=schemas.Health)
    async def health() -> Json:
        """Say that the server answers; needs no token."""
        searcher = state.service.searcher
        return {"status": "ok", "model": Path(searcher.about.model).name, "items": len(searcher.store),
                "languages": len(searcher.polyglot.languages), "version": __version__}  # fmt: skip

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def tell_metrics() -> Response:
        """Return figures for Prometheus."""
        return Response(await run_in_threadpool(state.metrics.text), media_type="text/plain; version=0.0.4")
