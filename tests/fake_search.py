"""A server that answers the page of ``babelclip serve`` as the real one does, over pictures that it draws itself."""

from __future__ import annotations

import colorsys
import email.parser
import email.policy
import functools
import hashlib
import io
import json
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from PIL import Image, ImageDraw, ImageFilter

import babelclip

PAGE = Path(babelclip.__file__).parent / "search" / "page"
POLICY = "default-src 'self'; img-src 'self' blob: data:"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".json": "application/json"}
LANGUAGES = (
    ("en", "English", "English"), ("ar", "Arabic", "العربية"), ("de", "German", "Deutsch"), ("fa", "Persian", "فارسی"),
    ("ja", "Japanese", "日本語"), ("ru", "Russian", "Русский"),
)  # fmt: skip
SHAPES = ((640, 480), (480, 640), (640, 427), (500, 500), (640, 360), (427, 640))
NAMES = (
    "harbour",
    "summit",
    "dunes",
    "morning",
    "bay",
    "أصدقاء",
    "夕焼け",
    "прогулка",
    "a very long name of a picture",
)
DETECTED = ((r"[؀-ۿ]", "ar", "fa"), (r"[Ѐ-ӿ]", "ru", None), (r"[぀-ヿ一-鿿]", "ja", None))


def draw(number: int, size: tuple[int, int]) -> Image.Image:
    """Draw hills in the light of some time of the day."""
    chance = random.Random(number)
    width, height = size
    hue = chance.random()

    def colour(shift: float, strength: float, value: float) -> tuple[int, int, int]:
        red, green, blue = colorsys.hsv_to_rgb((hue + shift) % 1, strength, value)
        return int(255 * red), int(255 * green), int(255 * blue)

    top, low = Image.new("RGB", size, colour(0, 0.5, 0.75)), Image.new("RGB", size, colour(0.12, 0.25, 0.98))
    picture = Image.composite(low, top, Image.linear_gradient("L").resize(size))
    pen = ImageDraw.Draw(picture)
    x, y, r = chance.uniform(0.2, 0.8) * width, chance.uniform(0.15, 0.45) * height, 0.08 * height
    pen.ellipse((x - r, y - r, x + r, y + r), colour(0.15, 0.12, 1))
    for layer in range(4):
        base, steps = height * (0.5 + 0.13 * layer), 7
        edge = [(i * width / steps, base - chance.uniform(-0.03, 0.13) * height) for i in range(steps + 1)]
        pen.polygon([(0, height), *edge, (width, height)], colour(0.05 * layer, 0.45 + 0.1 * layer, 0.7 - 0.16 * layer))
    return picture.filter(ImageFilter.GaussianBlur(0.8))


@functools.cache
def jpeg_of(number: int, size: tuple[int, int], small: bool = False) -> bytes:
    """Draw a picture, or its thumbnail, as a file."""
    scale = 256 / max(size) if small else 1
    picture, buffer = draw(number, (round(scale * size[0]), round(scale * size[1]))), io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


class Library:
    """What the server knows; tests change the attributes.

    Attributes:
        size: number of pictures.
        token: what the cookie must hold; empty for an open server.
        film: a video that every video's original is.
        damaged: whether the files themselves, not their thumbnails, hold nothing that a browser can show.
        slow: seconds that a search takes where its words hold ``slow``.
        asked: every search: its fields, and the bytes of its image.
    """

    def __init__(self, film: bytes = b"") -> None:
        self.size, self.token, self.film, self.slow, self.damaged = 40, "", film, 0.7, False
        self.languages = [
            {"tag": tag, "name": name, "own_name": own, "base": tag == "en"} | ({} if tag == "en" else {"score": 61.2})
            for tag, name, own in LANGUAGES
        ]
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.packs: list[bytes] = []
        self.fault = ""

    def item(self, number: int) -> dict[str, object]:
        name, video = NAMES[number % len(NAMES)], number % 7 == 3
        width, height = (640, 360) if video else SHAPES[number * 5 % len(SHAPES)]
        file = f"{name}-{number:03}.{'webm' if video else 'jpg'}"
        return {
            "id": hashlib.sha256(str(number).encode()).hexdigest()[:24], "path": f"/photos/2024/{file}", "name": file,
            "kind": "video" if video else "picture", "moment": 0.5 + number % 5 if video else None,
            "seconds": 75.0 if video else None, "width": width, "height": height, "taken": "2024-05-01T10:00:00Z",
        }  # fmt: skip

    def number(self, name: str) -> int | None:
        return next((i for i in range(self.size) if self.item(i)["id"] == name), None)

    def detect(self, text: str, given: str) -> dict[str, object]:
        names = {language["tag"]: language["name"] for language in self.languages}
        found = {"probability": 0.98, "second": None, "given": False, "reason": "spelling"}
        if given != "auto":
            return found | {"tag": given, "name": names[given], "probability": 1.0, "given": True}
        if not re.search(r"[^\W\d_]", text):
            return found | {"tag": "en", "name": "English", "probability": 1.0, "reason": "no letters"}
        for letters, tag, second in DETECTED:
            if re.search(letters, text):
                return found | {"tag": tag, "name": names[tag], "second": second}
        return found | {"tag": "en", "name": "English", "probability": 0.93, "second": "de"}

    def search(self, fields: dict[str, str], image: bytes) -> tuple[int, dict[str, object]]:
        self.asked.append((fields, image))
        text, given = fields.get("q", ""), fields.get("language", "auto")
        if self.fault or text == "broken":
            return 500, {"error": self.fault or "the index is damaged. Run: babelclip index --repair"}
        if "slow" in text:
            time.sleep(self.slow)
        if given != "auto" and given not in [language["tag"] for language in self.languages]:
            return 404, {"error": f"no pack of '{given}' is installed. Installed are: ar, de, en"}
        order = list(range(self.size))
        random.Random(f"{text}{given if text == 'same' else ''}{image[:64]!r}{fields.get('like')}").shuffle(order)
        results = [self.item(i) for i in order if text != "nothing"]
        results = [one for one in results if fields.get("kind") in (None, one["kind"])]
        results = [one | {"score": round(0.34 - 0.004 * place, 4)} for place, one in enumerate(results)]
        return 200, {
            "query": {"text": text}, "language": self.detect(text, given) if text else None,
            "results": results[: int(fields["k"])], "items": self.size, "milliseconds": 7.1,
        }  # fmt: skip

    def install(self, pack: bytes) -> tuple[int, dict[str, object]]:
        if pack[:2] != b"PK":
            return 400, {"error": "this is not a pack: its file is damaged. Load it down again."}
        self.packs.append(pack)
        self.languages.append({"tag": "sw", "name": "Swahili", "own_name": "Kiswahili", "base": False, "score": None})
        return 201, {"tag": "sw", "name": "Swahili"}


def parts(kind: str, body: bytes) -> tuple[dict[str, str], bytes]:
    """Return the fields of a form and its image."""
    whole = b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body
    fields, image = {}, b""
    for part in email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(whole).iter_parts():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if name == "image":
            image = content
        else:
            fields[name] = content.decode()
    return fields, image


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    library: Library

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: object) -> None:
        pass

    def send(self, status: int, kind: str, body: bytes, **more: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        with suppress(ConnectionError):  # the page went on to something else
            self.end_headers()
            self.wfile.write(body)

    def say(self, status: int, answer: object) -> None:
        self.send(status, "application/json", json.dumps(answer).encode())

    def allowed(self) -> bool:
        if not self.library.token or f"token={self.library.token}" in self.headers.get("Cookie", ""):
            return True
        self.say(401, {"error": "this server wants a token."})
        return False

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        fields = {name: values[0] for name, values in parse_qs(url.query).items()}
        room, _, name = unquote(url.path).strip("/").partition("/")
        library = self.library
        file = PAGE / (room or "index.html")
        if file.is_file() and not name:
            cookie = {"Set_Cookie": f"token={fields['token']}; HttpOnly; SameSite=Strict"} if "token" in fields else {}
            self.send(200, TYPES[file.suffix] + "; charset=utf-8", file.read_bytes(), **cookie)
        elif not self.allowed():
            pass
        elif room == "health":
            self.say(200, {"status": "ok", "items": library.size, "model": "pictoclip"})
        elif room == "languages":
            self.say(200, {"languages": library.languages})
        elif room == "search":
            self.say(*library.search(fields, b""))
        elif room in ("thumbnail", "original") and (number := library.number(name)) is not None:
            self.picture(number, small=room == "thumbnail")
        else:
            self.say(404, {"error": f"there is nothing at {url.path}"})

    def picture(self, number: int, *, small: bool) -> None:
        item = self.library.item(number)
        if self.library.damaged and not small:
            self.send(200, "image/jpeg", b"damaged")
            return
        if item["kind"] == "video" and not small:
            self.film()
            return
        body = jpeg_of(number, (item["width"], item["height"]), small)
        self.send(200, "image/jpeg", body, Cache_Control="private, max-age=60")

    def film(self) -> None:
        film, wanted = self.library.film, re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            self.send(200, "video/webm", film, Accept_Ranges="bytes")
            return
        first, last = int(wanted[1]), int(wanted[2] or len(film) - 1)
        self.send(206, "video/webm", film[first : last + 1], Content_Range=f"bytes {first}-{last}/{len(film)}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.allowed():
            return
        if self.path == "/search":
            self.say(*self.library.search(*parts(self.headers["Content-Type"], body)))
        else:
            self.say(*self.library.install(body))


@contextmanager
def serve(library: Library) -> Iterator[str]:
    """Serve a library in a thread; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"library": library}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
