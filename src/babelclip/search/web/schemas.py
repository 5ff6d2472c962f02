"""Bodies of requests and answers: what OpenAPI shows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

TEXT = 1_000
"""Characters of a text, at most; the tower reads far fewer."""
TEXTS = 256
"""Texts or pictures of one request, at most."""

Text = Annotated[str, Field(max_length=TEXT)]
Tag = Annotated[str, Field(max_length=40)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Error(BaseModel):
    """What is wrong, and the way out."""

    error: str


class Language(BaseModel):
    """A language that can be searched in."""

    tag: str
    name: str
    own_name: str
    base: bool
    score: float | None


class Languages(BaseModel):
    """All of them, the base model's own first."""

    languages: list[Language]


class Installed(BaseModel):
    """A pack was installed; ``kept``: also for the next start of the server."""

    tag: str
    name: str
    kept: bool


class Routed(BaseModel):
    """The language of a text: given, or found out with some probability."""

    tag: str
    name: str
    probability: float
    second: str | None
    given: bool
    reason: str


class Asked(BaseModel):
    """What was searched for."""

    text: str


class Result(BaseModel):
    """A picture, or the best moment of a video (seconds)."""

    id: str
    path: str
    name: str
    score: float
    kind: Literal["picture", "video"]
    moment: float | None
    seconds: float | None
    width: int
    height: int
    taken: str


class Found(BaseModel):
    """Results, best first; ``items`` is the size of the index."""

    query: Asked
    language: Routed | None
    results: list[Result]
    items: int
    milliseconds: float


class EmbedRequest(_Strict):
    """Texts, or pictures as base64; ``language`` is that of all texts, found out where it is not given."""

    texts: Annotated[list[Text], Field(max_length=TEXTS)] = []
    images: Annotated[list[str], Field(max_length=TEXTS)] = []
    language: Tag | None = None


class Vectors(BaseModel):
    """Unit vectors, of the texts first, then of the images; the language of each text."""

    vectors: list[list[float]]
    languages: list[str]
    dim: int


class OpenAiRequest(BaseModel):
    """The embeddings request of OpenAI's API; ``model`` is not looked at."""

    input: Text | Annotated[list[Text], Field(max_length=TEXTS)]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None


class OpenAiVector(BaseModel):
    """One vector; base64 is of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that the tower read."""

    prompt_tokens: int
    total_tokens: int


class OpenAiVectors(BaseModel):
    """The answer of OpenAI's API."""

    object: Literal["list"] = "list"
    data: list[OpenAiVector]
    model: str
    usage: Usage


class Health(BaseModel):
    """That the server answers, and with what."""

    status: Literal["ok"]
    model: str
    items: int
    languages: int
    version: str
