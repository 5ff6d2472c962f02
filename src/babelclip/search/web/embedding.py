"""Routes that give vectors."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from babelclip.errors import DataError, SettingError
from babelclip.search.web import schemas
from babelclip.search.web.state import State, tag_of
from babelclip.search.wire import Json


def add_embeddings(app: FastAPI, state: State) -> None:
    """Add ``/embed`` and ``/v1/embeddings``."""

    @app.post("/embed", response_model=schemas.Vectors)
    async def embed(body: schemas.EmbedRequest) -> Json:
        """Return unit vectors of texts and of pictures: their products are the scores of a search."""
        pictures = [_decode(one, place) for place, one in enumerate(body.images)]
        texts = await state.embeddings.ask((body.texts, tag_of(body.language)))
        async with state.at_once:
            images = await run_in_threadpool(state.service.embed_images, pictures)
        vectors = np.concatenate([texts.vectors, images])
        return {"vectors": vectors.tolist(), "languages": texts.languages, "dim": vectors.shape[1]}

    @app.post("/v1/embeddings", response_model=schemas.OpenAiVectors)
    async def openai_embeddings(body: schemas.OpenAiRequest) -> Json:
        """Return unit vectors of texts as OpenAI's API does; the language of each text is found out."""
        texts = [body.input] if isinstance(body.input, str) else body.input
        polyglot = state.service.polyglot
        dim = polyglot.encoder.dim
        if body.dimensions not in {None, dim}:
            raise SettingError(f"dimensions is {body.dimensions}", fix=f"The model's vectors have {dim}.")
        done = await state.embeddings.ask((texts, None))
        tokens = await run_in_threadpool(polyglot.count_tokens, texts, done.languages)
        rows: list[Any] = (
            [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in done.vectors]
            if body.encoding_format == "base64"
            else done.vectors.tolist()
        )
        data = [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(rows)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": state.service.searcher.about.model, "usage": usage}


def _decode(written: str, place: int) -> bytes:
    """A picture from base64, with or without ``data:...;base64,`` before it."""
    try:
        return base64.b64decode(written.partition("base64,")[2] or written, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(
            f"images[{place}] is not base64 ({error})", fix="Write the file's content in base64."
        ) from error
