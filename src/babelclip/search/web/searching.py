"""Routes that search, and that give the pictures which were found."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Form
from fastapi import Query as Parameter
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from babelclip.errors import SettingError
from babelclip.search.filters import make_filter
from babelclip.search.query import MOST, Answer, Query
from babelclip.search.web import schemas
from babelclip.search.web.state import State, tag_of
from babelclip.search.wire import Json, answer_as_json

Text = Annotated[str, Parameter(max_length=schemas.TEXT, description="What to look for, in any installed language.")]
Tag = Annotated[str | None, Parameter(max_length=40, description="BCP-47 tag of the text, or auto.")]
Minus = Annotated[
    list[Annotated[str, Parameter(max_length=schemas.TEXT)]] | None,
    Parameter(max_length=8, description="What should not be on the pictures."),
]
Like = Annotated[
    list[Annotated[str, Parameter(max_length=64)]] | None,
    Parameter(max_length=8, description="Ids of indexed pictures."),
]
Most = Annotated[int, Parameter(ge=1, le=MOST, description="Number of results.")]
Folder = Annotated[
    list[Annotated[str, Parameter(max_length=4096)]] | None, Parameter(max_length=8, description="Where results lie.")
]
Day = Annotated[str | None, Parameter(max_length=10, description="Such as 2024-05-01.")]
Kind = Annotated[Literal["picture", "video", ""] | None, Parameter(description="Of the results.")]

_TEXT: dict[str, Any] = {"content": {"text/plain": {}}}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"*/*": {}}},
    206: {"description": "The ranges that were asked for", "content": {"*/*": {}}},
    400: {"model": schemas.Error, "description": "Bad Request, or a range that is none", **_TEXT},
    416: {"description": "The file has no such range", **_TEXT},
}


def add_search(app: FastAPI, state: State) -> None:
    """Add ``/search``."""

    def found(answer: Answer, text: str) -> Json:
        if answer.route is not None:
            state.metrics.languages.labels(answer.route.tag).inc()
        return answer_as_json(answer, text)

    @app.get("/search", response_model=schemas.Found)
    async def search(
        q: Text = "", language: Tag = None, k: Most = 60, minus: Minus = None, like: Like = None, folder: Folder = None,
        since: Day = None, before: Day = None, kind: Kind = None,
    ) -> Json:  # fmt: skip
        """Find pictures and moments of videos by text, by an indexed picture, or by both."""
        where = make_filter(folder or [], since, before, kind)
        query = Query(q, tag_of(language), _said(minus or []), like=tuple(like or []), k=k, where=where)
        query.check()
        return found(await state.searches.ask(query), q)

    @app.post("/search", response_model=schemas.Found)
    async def search_by_picture(
        image: Annotated[bytes, File(description="A picture to search by.")],
        q: Annotated[str, Form(max_length=schemas.TEXT)] = "",
        language: Annotated[str | None, Form(max_length=40)] = None,
        k: Annotated[int, Form(ge=1, le=MOST)] = 60,
        minus: Annotated[list[str] | None, Form(max_length=8)] = None,
        folder: Annotated[list[str] | None, Form(max_length=8)] = None,
        since: Annotated[str | None, Form(max_length=10)] = None,
        before: Annotated[str | None, Form(max_length=10)] = None,
        kind: Annotated[Literal["picture", "video", ""] | None, Form()] = None,
    ) -> Json:
        """Find pictures and moments of videos that look like a picture, and fit a text where there is one."""
        where = make_filter(folder or [], since, before, kind)
        query = Query(q, tag_of(language), _said(minus or []), pictures=(image,), k=k, where=where)
        query.check()
        async with state.at_once:
            return found((await run_in_threadpool(state.service.search_all, [query]))[0], q)


def add_files(app: FastAPI, state: State) -> None:
    """Add ``/thumbnail`` and ``/original``: by the ids of an index, so no path comes from a request."""

    @app.get("/thumbnail/{id}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
    async def thumbnail(id: str) -> Response:
        """Return a small JPEG of a picture or moment."""
        content = await run_in_threadpool(state.service.searcher.store.thumbnail, id)
        if content is None:
            raise HTTPException(404, f"nothing in the index has the id {id[:64]!r}. Search again.")
        return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    @app.get("/original/{id}", response_class=FileResponse, responses=_FILE)
    async def original(id: str) -> FileResponse:
        """Return the file of a picture or moment; ranges are understood."""
        path = await run_in_threadpool(state.service.searcher.store.path_of, id)
        if path is None or not Path(path).is_file():
            raise HTTPException(404, f"there is no file for the id {id[:64]!r}. Index its folder again.")
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return FileResponse(path, media_type=kind, content_disposition_type="inline", filename=Path(path).name)


def _said(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts that say something."""
    for text in texts:
        if len(text) > schemas.TEXT:
            raise SettingError(f"a text has {len(text):,} characters", fix=f"At most {schemas.TEXT:,} are read.")
    return tuple(text for text in texts if text.strip())
