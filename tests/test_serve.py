"""The HTTP server without a browser: answers, errors, limits, tokens, packs that come while it runs."""

from __future__ import annotations

import asyncio
import base64
import io
import shutil
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from torch.nn.functional import normalize

from babelclip.data.examples import base_lexicon
from babelclip.packs import Polyglot, learn_pack, load_polyglot, save_pack
from babelclip.packs.installed import begin_folder
from babelclip.search.index import index_folders
from babelclip.search.open import open_store

pytest.importorskip("fastapi", reason="the server needs the extra [serve]")
pytest.importorskip("httpx", reason="its tests need httpx")

from starlette.testclient import TestClient

from babelclip.search.web import guard
from babelclip.search.web.app import make_app
from babelclip.search.web.batching import Batcher, BusyError
from babelclip.search.web.service import Service


@pytest.fixture(scope="module")
def pack_file(tiny, captions, quick_settings, tmp_path_factory):
    """A pack of German for the tiny model."""
    pack, _ = learn_pack(Polyglot(tiny, base_lexicon(tiny)), "de", captions / "de.tsv", settings=quick_settings)
    file = tmp_path_factory.mktemp("packs") / "de.babelpack"
    save_pack(pack, file)
    return file


@pytest.fixture(scope="module")
def quick_settings():
    from babelclip import TaskSettings

    return TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-3)


@pytest.fixture(scope="module")
def indexed(tiny, captions, tmp_path_factory):
    """An index of 24 pictures."""
    place = str(tmp_path_factory.mktemp("served") / "index")
    store = open_store(place)
    index_folders([captions], store, lambda: tiny, note=lambda _: None)
    store.close()
    return place


@pytest.fixture
def service(tiny, tiny_folder, indexed, tmp_path):
    begin_folder(tmp_path / "my", tiny)
    store = open_store(indexed)
    yield Service(load_polyglot(tmp_path / "my", device="cpu"), store, tmp_path / "my")
    store.close()


@pytest.fixture
def client(service):
    with TestClient(make_app(service), base_url="http://localhost", raise_server_exceptions=False) as opened:
        yield opened


def jpeg(colour="red", size=(20, 20)):
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, "PNG")
    return content.getvalue()


def test_a_text_is_searched_and_answered_whole(client, service, tiny, captions):
    answer = client.get("/search", params={"q": "a red square", "k": 3}).json()
    assert answer["items"] == 24
    assert answer["query"] == {"text": "a red square"}
    assert answer["language"]["tag"] == "en"
    vector = normalize(Polyglot(tiny, base_lexicon(tiny)).encode_texts(["a red square"]), dim=1)
    files = sorted(captions.glob("*.png"))
    scores = (normalize(tiny.encode_images(files), dim=1) @ vector.T).flatten()
    best = scores.max().item()
    assert answer["results"][0]["score"] == pytest.approx(best, abs=1e-4)
    assert len(answer["results"]) == 3
    first = answer["results"][0]
    thumbnail = client.get(f"/thumbnail/{first['id']}")
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(thumbnail.content)).size == (20, 20)
    original = client.get(f"/original/{first['id']}")
    assert original.content == (captions / first["name"]).read_bytes()
    assert client.get(f"/original/{first['id']}", headers={"range": "bytes=0-3"}).status_code == 206


def test_pictures_likes_and_without(client, captions):
    names = {"0-0.png": "red"}
    content = (captions / "0-0.png").read_bytes()
    found = client.post("/search", files={"image": content}).json()
    assert found["language"] is None
    assert found["results"][0]["score"] == pytest.approx(1, abs=1e-4)
    assert found["results"][0]["name"].startswith("0-")  # three pictures are of one red
    like = client.get("/search", params={"like": found["results"][0]["id"], "k": 2}).json()
    assert like["results"][0]["score"] == pytest.approx(1, abs=1e-4)
    both = client.post("/search", files={"image": content}, data={"q": "a red square", "k": "2"}).json()
    assert both["language"]["tag"] == "en"
    without = client.get("/search", params={"q": "a red square", "minus": "a wall"}).json()
    plain = client.get("/search", params={"q": "a red square"}).json()
    assert [one["score"] for one in without["results"]] != [one["score"] for one in plain["results"]]
    assert names


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("q=", 400, "nothing to search for"),
        ("q=a&k=0", 422, "k: Input should be greater"),
        ("q=a&k=many", 422, "k: "),
        ("q=a&language=xx", 400, "unknown installed language 'xx'"),
        ("q=a&language=!!", 400, "not a language tag"),
        ("q=a&since=yesterday", 400, "since is 'yesterday'"),
        ("q=a&kind=song", 422, "kind: "),
        ("q=" + "a" * 1001, 422, "q: "),
        ("like=nothing", 400, "nothing"),
        ("q=a&folder=%00", 400, "the folder is"),
    ],
)
def test_mistakes_are_told(client, query, status, said):
    answer = client.get(f"/search?{query}")
    assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text


def test_hostile_requests(client):
    for path in ("/..%2f..%2fetc/passwd", "/thumbnail/..%2f..%2fetc%2fpasswd", "/original/%2fetc%2fpasswd", "/a%00b"):
        assert client.get(path).status_code == 404, path
    assert client.post("/search", files={"image": b"no picture"}).status_code == 400
    assert client.post("/embed", content=b"{", headers={"content-type": "application/json"}).status_code == 422
    assert client.post("/embed", json={"images": ["%%%"]}).json()["error"].startswith("images[0] is not base64")
    assert client.post("/embed", json={"texts": ["a"] * 257}).status_code == 422
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 421
    evil = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
    assert client.post("/embed", json={"texts": ["a"]}, headers=evil).status_code == 403
    assert client.post("/embed", json={"texts": ["a"]}, headers={"origin": "http://localhost"}).status_code == 200
    refused = client.delete("/languages")
    assert (refused.status_code, refused.json()["error"]) == (
        405, "Method Not Allowed: DELETE /languages. /openapi.json says what can be asked."
    )  # fmt: skip
    assert client.get("/nope").json()["error"].startswith("Not Found: GET /nope. /openapi.json")


def test_too_large_and_too_slow_bodies(client, service, monkeypatch):
    monkeypatch.setattr(guard, "MOST_BYTES", 1000)
    assert client.post("/embed", content=b"x" * 1001).status_code == 413

    def parts():
        for _ in range(20):
            yield b"x" * 100

    answer = client.post("/embed", content=parts())  # says nothing of its length
    assert (answer.status_code, "1,000 bytes" in answer.json()["error"]) == (413, True)
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)
    app, sent = make_app(service), []

    async def never():
        await asyncio.sleep(5)

    async def keep(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/embed", "raw_path": b"/embed", "query_string": b"",
             "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")], "scheme": "http",
             "http_version": "1.1", "client": ("127.0.0.1", 1), "server": ("localhost", 80),
             "root_path": ""}  # fmt: skip
    asyncio.run(app(scope, never, keep))
    assert sent.pop(0)["status"] == 408
    drops = 0

    async def drip():
        nonlocal drops
        drops += 1
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": drops < 100}

    sent.clear()
    asyncio.run(app(scope, drip, keep))
    assert sent[0]["status"] == 408
    assert drops < 30


def test_embeddings(client, service):
    polyglot = service.polyglot
    expected = normalize(polyglot.encode_texts(["a red square", "a wall"]), dim=1).numpy()
    answer = client.post("/embed", json={"texts": ["a red square", "a wall"]}).json()
    np.testing.assert_allclose(answer["vectors"], expected, atol=1e-4)
    assert (answer["languages"], answer["dim"]) == (["en", "en"], 24)
    picture = base64.b64encode(jpeg()).decode()
    both = client.post("/embed", json={"texts": ["a"], "images": [picture, f"data:image/png;base64,{picture}"]}).json()
    assert len(both["vectors"]) == 3
    np.testing.assert_allclose(both["vectors"][1], both["vectors"][2])
    openai = client.post("/v1/embeddings", json={"input": "a red square", "model": "any"}).json()
    np.testing.assert_allclose(openai["data"][0]["embedding"], expected[0], atol=1e-4)
    assert openai["usage"]["prompt_tokens"] == len(polyglot._words["en"].encode(["a red square"])[0])
    packed = client.post("/v1/embeddings", json={"input": ["a red square"], "encoding_format": "base64"}).json()
    raw = base64.b64decode(packed["data"][0]["embedding"])
    np.testing.assert_allclose(struct.unpack(f"<{len(raw) // 4}f", raw), expected[0], atol=1e-4)
    assert client.post("/v1/embeddings", json={"input": "a", "dimensions": 7}).status_code == 400
    assert client.post("/embed", json={}).json() == {"vectors": [], "languages": [], "dim": 24}


def test_a_pack_is_installed_while_others_search(client, service, pack_file, tmp_path):
    before = client.get("/search", params={"q": "a red square", "language": "en"}).json()["results"]
    assert client.get("/search", params={"q": "ein quadrat", "language": "de"}).status_code == 400
    stop, wrong = threading.Event(), []

    def search():
        while not stop.is_set():
            answer = client.get("/search", params={"q": "a red square", "language": "en"})
            if answer.status_code != 200 or answer.json()["results"] != before:
                wrong.append(answer.text)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(search) for _ in range(2)]
        answer = client.post("/languages", content=pack_file.read_bytes())
        time.sleep(0.2)
        stop.set()
        [one.result() for one in running]
    assert not wrong
    assert (answer.status_code, answer.json()) == (201, {"tag": "de", "name": "German", "kept": True})
    assert [one["tag"] for one in client.get("/languages").json()["languages"]] == ["en", "de"]
    found = client.get("/search", params={"q": "ein quadrat in rot", "language": "de"}).json()
    assert (found["language"]["tag"], found["language"]["given"]) == ("de", True)
    assert client.get("/search", params={"q": "ein quadrat in rot"}).json()["language"]["tag"] == "de"
    assert (tmp_path / "my" / "de.babelpack").is_file()
    again = client.post("/languages", content=pack_file.read_bytes())
    assert again.status_code == 409
    assert client.post("/languages?replace=true", content=pack_file.read_bytes()).status_code == 201
    assert client.get("/search", params={"q": "a red square", "language": "en"}).json()["results"] == before


def test_packs_that_other_processes_install_and_remove_are_followed(service, pack_file, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("babelclip.search.web.app.FOLLOW_SECONDS", 0.05)
    place = tmp_path / "my" / "de.babelpack"
    with TestClient(make_app(service), base_url="http://localhost") as client:

        def until(tags):
            for _ in range(200):
                if [one["tag"] for one in client.get("/languages").json()["languages"]] == tags:
                    return
                time.sleep(0.05)
            pytest.fail(f"{tags} did not come")

        shutil.copy(pack_file, place)
        until(["en", "de"])
        assert client.get("/search", params={"q": "ein quadrat in rot"}).json()["language"]["tag"] == "de"
        place.write_bytes(b"damaged")  # what is installed stays
        for _ in range(200):
            if "not installed" in caplog.text:
                break
            time.sleep(0.05)
        assert "de.babelpack" in caplog.text
        until(["en", "de"])
        (tmp_path / "my").rename(tmp_path / "away")  # a drive that is not there for a while
        time.sleep(0.3)
        until(["en", "de"])
        (tmp_path / "away").rename(tmp_path / "my")
        place.unlink()
        until(["en"])


def test_damaged_packs_change_nothing(client, service, pack_file, tmp_path):
    content = pack_file.read_bytes()
    for bad in (b"", b"no zip", content[: len(content) // 2], content[:-200] + bytes(200)):
        answer = client.post("/languages", content=bad)
        assert answer.status_code == 400
        assert "/tmp" not in answer.json()["error"]
    assert service.polyglot.languages == ["en"]
    assert not list((tmp_path / "my").glob("*.babelpack"))


def test_a_token(service):
    with TestClient(make_app(service, token="s3cret"), base_url="http://localhost") as client:
        assert client.get("/health").status_code == 200
        assert client.get("/").status_code == 200
        assert client.get("/app.js").headers["cache-control"] == "no-cache"
        for path in ("/search?q=a", "/languages", "/metrics", "/openapi.json", "/thumbnail/x", "/?token=wrong"):
            expected = 200 if path.startswith("/?") else 401
            assert client.get(path).status_code == expected, path
        assert client.get("/search?q=a", headers={"authorization": "Bearer s3cret"}).status_code == 200
        assert client.get("/search?q=a", headers={"authorization": "Bearer s3creT"}).status_code == 401
        assert client.get("/search?q=a", headers={"cookie": "babelclip_token=s3cret"}).status_code == 200
        welcome = client.get("/?token=s3cret", follow_redirects=False)
        assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
        assert {"HttpOnly", "SameSite=Strict"} <= set(welcome.headers["set-cookie"].split("; "))
        assert client.get("/search?q=a").status_code == 200  # with the cookie now


def test_headers_and_metrics(client):
    answer = client.get("/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/app.js").headers["content-type"].startswith("text/javascript")
    client.get("/search", params={"q": "a red square"})
    text = client.get("/metrics").text
    assert 'babelclip_requests_total{route="/search",status="200"} 1.0' in text
    assert 'babelclip_queries_total{language="en"} 1.0' in text
    assert "babelclip_items 24.0" in text


def test_queries_that_wait_are_answered_together_and_a_mistake_fails_alone():
    sizes, go = [], threading.Event()

    def answer(batch):
        go.wait(5)
        sizes.append(len(batch))
        if "bad" in batch:
            raise ValueError("bad")
        return [one.upper() for one in batch]

    async def ask():
        batcher = Batcher(answer, most=4, limit=8)
        first = asyncio.create_task(batcher.ask("a"))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(batcher.ask(one)) for one in ("b", "bad", "c", "d", "e")]
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(batcher.ask("gone"))
        await asyncio.sleep(0.01)
        gone.cancel()
        more = [asyncio.create_task(batcher.ask("x")) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError, match="8 requests"):
            await batcher.ask("one too many")
        go.set()
        found = await asyncio.gather(first, *rest, *more, return_exceptions=True)
        await asyncio.to_thread(batcher.close)
        return found

    found = asyncio.run(ask())
    assert [str(one) for one in found] == ["A", "B", "bad", "C", "D", "E", "X", "X"]
    assert sizes == [1, 4, 1, 1, 1, 1, 3]


def test_what_openapi_shows_fits_what_is_answered(client):
    described = client.get("/openapi.json").json()["paths"]
    assert {"/search", "/embed", "/v1/embeddings", "/languages", "/thumbnail/{id}", "/original/{id}", "/health",
            "/metrics"} == set(described)  # fmt: skip
