"""What ``/openapi.json`` promises holds, whatever is asked: generated requests, and the worst that were thought of."""

from __future__ import annotations

import io
import json
from collections import Counter

import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the server needs the extra [serve]")
pytest.importorskip("httpx", reason="its tests need httpx")
pytest.importorskip("schemathesis", reason="the schema is tested with schemathesis")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from babelclip.packs import load_polyglot
from babelclip.search.index import index_folders
from babelclip.search.open import open_store
from babelclip.search.web.app import make_app
from babelclip.search.web.service import Service

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 30
PLAN = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
OPERATIONS = (
    "GET /search", "POST /search", "GET /thumbnail/{id}", "GET /original/{id}", "POST /embed", "POST /v1/embeddings",
    "GET /languages", "POST /languages", "GET /health", "GET /metrics",
)  # fmt: skip


@pytest.fixture(scope="module")
def app(tiny, tiny_folder, captions, tmp_path_factory):
    store = open_store(str(tmp_path_factory.mktemp("served") / "index"))
    index_folders([captions], store, lambda: tiny, note=lambda _: None)
    yield make_app(Service(load_polyglot(tiny_folder, device="cpu"), store, None), hosts=["testserver"])
    store.close()


@pytest.fixture(scope="module")
def client(app):
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def schema(app):
    async def endless(scope, receive, send):
        """The application without its end, which would come after every single request."""
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for moment in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{moment}.complete"})

    return schemathesis.openapi.from_asgi("/openapi.json", endless)


@pytest.fixture(scope="module")
def known(client):
    """The id of a row."""
    return client.get("/search", params={"q": "a"}).json()["results"][0]["id"]


def png():
    content = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(content, "PNG")
    return content.getvalue()


def mend(case, known):
    """Put something that exists in the place of what can only be guessed, so that the routes behind are reached."""
    if isinstance(case.query, dict):
        case.query |= {name: value for name, value in (("language", "en"), ("like", [known])) if name in case.query}
        case.query |= {name: "" for name in ("since", "before") if name in case.query}
    if isinstance(case.body, dict):
        case.body |= {name: value for name, value in (("language", "en"), ("image", png())) if name in case.body}
        case.body |= {name: "" for name in ("since", "before") if name in case.body}
        case.body |= {"images": []} if "images" in case.body else {}
        case.body |= {"dimensions": None} if "dimensions" in case.body else {}
    if isinstance(case.path_parameters, dict) and "id" in case.path_parameters:
        case.path_parameters["id"] = known


@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("mode", ["positive", "mended", "negative"])
def test_answers_are_as_promised(schema, known, label, mode):
    operations = {one.ok().label: one.ok() for one in schema.get_all_operations()}
    assert set(operations) == set(OPERATIONS)
    statuses: Counter[int] = Counter()

    kind = GenerationMode.NEGATIVE if mode == "negative" else GenerationMode.POSITIVE

    @PLAN
    @given(case=operations[label].as_strategy(generation_mode=kind))
    def check(case):
        if mode == "mended":
            mend(case, known)
        answer = case.call()
        case.validate_response(answer, checks=CHECKS)
        statuses[answer.status_code] += 1

    try:
        check()
    except Unsatisfiable:
        pytest.skip("nothing about it can be wrong")
    if mode == "mended" and label != "POST /languages":
        assert statuses[200], statuses


LONE = '"\\ud800"'
BODIES = [
    f'{{"texts": [{LONE}]}}', f"{{{LONE}: 1}}", f'{{"language": {LONE}, "texts": ["a"]}}', f'{{"images": [{LONE}]}}',
    '{"texts": ["\\u0000"]}', '{"texts": ["a"], "language": "\\u0000"}', f'{{"input": {LONE}}}',
    '{"input": "a", "dimensions": 1e400}', '{"input": "a", "dimensions": NaN}', '{"input": "a", "dimensions": 1e300}',
    '{"input": "a", "dimensions": ' + "9" * 5000 + "}", '{"input": "a", "dimensions": ' + "9" * 400 + "}",
    "[" * 100_000, '{"texts":' * 2_000, "null", "1", '"a"', "", "\0", f'{{"input": ["a", {LONE}]}}',
    '{"input": [[1, 2]]}', '{"input": []}', '{"texts": ["\\ud83d\\ude00", "\\uffff", "\\u202e", ""]}',
]  # fmt: skip


@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings"])
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_bodies_that_are_hardly_json(client, path, body):
    for content in (body.encode(), body.encode("utf-16"), b"\xff\xfe" + body.encode()[:2000]):
        answer = client.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code in {200, 400, 422}, (answer.status_code, answer.text)
        assert answer.status_code == 200 or answer.json()["error"]


QUERIES = [
    "q=%ed%a0%80", "q=%00", "q=%ff%fe", "q=a&language=%00", "q=a&language=%ed%a0%80", "q=a&like=%00", "q=a&like='--",
    "q=a&k=" + "9" * 5000, "q=a&k=1e400", "q=a&k=%F0%9F%98%80", "q=a&k=%D9%A3", "q=a&since=0001-01-01",
    "q=a&before=9999-12-31", "q=a&since=2024-02-30", "q=a&since=%D9%A2024-1-1", "q=a&folder=%ed%a0%80",
    "q=a&folder=" + "/a" * 2000, "q=a&minus=%00&minus=", "q=a&" + "&".join(["like=x"] * 9), "=&&&=%", "q=a&q=b",
    "q=a&" + "&".join(f"x{n}=1" for n in range(2000)), "q=%s%n%x{}", "q=a&since=%00",
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_queries_that_hardly_are(client, query):
    answer = client.get(f"/search?{query}")
    assert answer.status_code in {200, 400, 422}, (answer.status_code, answer.text)
    assert "results" in answer.json() or answer.json()["error"]


def test_forms_and_headers_that_hardly_are(client):
    part = b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    image = part % (b"image", b'; filename="\xff\x00.png"', png())
    for fields, kind, expected in (
        (image, "multipart/form-data; boundary=x", {200}),
        (image, "multipart/form-data; boundary=x; charset=nope", {200}),
        (image + part % (b"q", b"", b"\xff\x00\xed\xa0\x80"), "multipart/form-data; boundary=x", {200}),
        (image + part % (b"k", b"", b"9" * 5000), "multipart/form-data; boundary=x", {422}),
        (image + part % (b"minus", b"", b"a" * 1001), "multipart/form-data; boundary=x", {400, 422}),
        (image + part % (b"folder", b"", b"\x00"), "multipart/form-data; boundary=x", {400}),
        (part % (b"image", b"", b"text"), "multipart/form-data; boundary=x", {400, 422}),
        (image * 1100, "multipart/form-data; boundary=x", {400}),
        (image, "multipart/form-data", {400}),
        (image, "multipart/form-data; boundary=" + "y" * 300, {400, 422}),
        (b"image=a&q=%00", "application/x-www-form-urlencoded", {400, 422}),
        (image, "\xff", {422}),
    ):
        body = fields + b"--x--\r\n"
        answer = client.post("/search", content=body, headers=[(b"content-type", kind.encode("latin-1"))])
        assert answer.status_code in expected, (kind, fields[:80], answer.status_code, answer.text)
        assert answer.status_code == 200 or answer.json()["error"]
    for name, value in (
        ("content-length", "9" * 5000), ("range", "bytes=9-1,-"), ("cookie", "babelclip_token=\xff; =;;"),
        ("authorization", "Bearer \xff"), ("host", "testserver:99999999"), ("origin", "null"), ("if-range", "\xff"),
        ("accept", "\x01"),
    ):  # fmt: skip
        answer = client.get("/health", headers=[(name.encode(), value.encode("latin-1"))])
        assert answer.status_code in {200, 413}, (name, answer.text)


@pytest.mark.parametrize("range", ["bytes=0-3", "bytes=99999999-", "bytes=-", "bytes=1-0", "bytes=0-0,2-3", "x"])
def test_ranges_are_as_promised(client, known, range):
    answer = client.get(f"/original/{known}", headers={"range": range})
    promised = client.get("/openapi.json").json()["paths"]["/original/{id}"]["get"]["responses"]
    assert str(answer.status_code) in promised
    kinds = promised[str(answer.status_code)]["content"]
    assert answer.headers["content-type"].partition(";")[0] in kinds or "*/*" in kinds


def test_a_tag_is_written_in_one_way(client):
    found = client.get("/search", params={"q": "a", "language": "EN"}).json()
    assert (found["language"]["tag"], found["language"]["given"]) == ("en", True)
    assert client.post("/embed", json={"texts": ["a"], "language": "EN"}).json()["languages"] == ["en"]
    assert 'language="EN"' not in client.get("/metrics").text


def test_what_is_promised_can_be_written_as_json(client):
    text = client.get("/openapi.json").text
    assert json.loads(text)["openapi"].startswith("3.")
