"""How answers are written as JSON, on the command line and over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

from babelclip.languages import language_name
from babelclip.packs.router import Route
from babelclip.search.items import VIDEO, Hit
from babelclip.search.query import Answer

Json = dict[str, object]


def answer_as_json(answer: Answer, text: str) -> Json:
    """Write an answer to a text."""
    return {
        "query": {"text": text},
        "language": route_as_json(answer.route, given=answer.given) if answer.route else None,
        "results": [hit_as_json(hit) for hit in answer.hits],
        "items": answer.items,
        "milliseconds": round(1000 * answer.seconds, 2),
    }


def route_as_json(route: Route, *, given: bool) -> Json:
    """Write the language of a text."""
    return {
        "tag": route.tag,
        "name": language_name(route.tag),
        "probability": round(route.probability, 4),
        "second": route.second,
        "given": given,
        "reason": route.reason.name.lower().replace("_", " "),
    }


def hit_as_json(hit: Hit) -> Json:
    """Write a result; ``moment`` and ``seconds`` are those of a video."""
    video = hit.kind == VIDEO
    return {
        "id": hit.id,
        "path": hit.path,
        "name": hit.path.rpartition("/")[2],
        "score": round(hit.score, 5),
        "kind": hit.kind,
        "moment": round(hit.moment, 3) if video else None,
        "seconds": round(hit.seconds, 3) if video else None,
        "width": hit.width,
        "height": hit.height,
        "taken": datetime.fromtimestamp(int(hit.taken // 1), UTC).isoformat()[:19] + "Z",
    }
