"""What every request passes first: who may ask, how much they may send, how long they may take."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Collection, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 32 * 2**20
"""Of a picture or a JSON body."""
MOST_PACK_BYTES = 256 * 2**20
BODY_SECONDS = 20.0
"""Between two parts of a body, and for its first part."""
BODY_SPEED = 16 * 2**10
"""Bytes a second that a whole body comes with, at least; who sends a byte now and then is let go."""
COOKIE = "babelclip_token"
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Guard:
    """An ASGI middleware.

    1. The ``Host`` must be one that the server was started for, so that no page of the web can reach it by a name of
       its own that leads here; a request that changes something must not come from another site.
    2. Where a token is wanted: ``Authorization: Bearer TOKEN``, or the cookie that ``GET /?token=TOKEN`` sets.
    3. A body has a limit on its bytes, on the time between two parts of it, and on the time that all of it takes.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], token: str | None, free: Collection[str]) -> None:
        """Guard an application.

        Args:
            app: what is guarded.
            hosts: names and addresses that it is reached by, without port; ``*`` for any.
            token: what is wanted; None for nothing.
            free: paths that need no token: they show nothing of the index.
        """
        self._app, self._token, self._free = app, token, free
        self._hosts = {host.lower() for host in hosts} | _LOOPBACK
        self._any_host = "*" in hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._problem(scope, headers)
        if problem is not None:
            await _refuse(send, *problem)
            return
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if self._token is not None and scope["path"] == "/" and _equal(token, self._token):
            await _welcome(send, token, secure=scope.get("scheme") == "https")
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                written = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    written.setdefault(name, value)
            await send(message)

        await self._app(scope, _limited(receive, _limit(scope)), answer)

    def _problem(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = _name_of(headers.get("host", ""))
        if not self._any_host and host not in self._hosts:
            return 421, f"this server is not {host!r}. Start it with --host {host or 'NAME'} to reach it by that name."
        if scope["method"] not in {"GET", "HEAD", "OPTIONS"}:
            origin = headers.get("origin")
            foreign = origin is not None and _name_of(origin.partition("://")[2]) != host
            if foreign or headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
                return 403, f"the request comes from another site, {origin!r}. Send it from the server's own page."
        announced = headers.get("content-length", "")
        if announced.isdecimal() and (len(announced) > 20 or int(announced) > _limit(scope)):
            return 413, _too_large(_limit(scope))
        if self._token is None or scope["path"] in self._free:
            return None
        given = headers.get("authorization", "").removeprefix("Bearer ").strip()
        if any(_equal(one, self._token) for one in (given, _cookie(headers))):
            return None
        return 401, (
            "a token is wanted. Open the address with ?token=... that the server printed, or send the header "
            "'Authorization: Bearer TOKEN'."
        )


def _limit(scope: Scope) -> int:
    """Bytes that a body may have."""
    return MOST_PACK_BYTES if scope["path"] == "/languages" else MOST_BYTES


def _too_large(limit: int) -> str:
    return f"the body is larger than {limit:,} bytes. Send less at once."


def _limited(receive: Receive, limit: int) -> Receive:
    """Receive a body of at most so many bytes, each part of it in time; its routes answer what is raised."""
    received, ended, started = 0, False, time.monotonic()

    async def receive_some() -> Message:
        nonlocal received, ended
        if ended:
            return await receive()
        spare = BODY_SECONDS + received / BODY_SPEED - (time.monotonic() - started)
        try:
            message = await asyncio.wait_for(receive(), max(0.0, min(BODY_SECONDS, spare)))
        except TimeoutError as error:
            took = time.monotonic() - started
            what = f"only {received:,} bytes of the body came in {took:.0f} seconds. Send it faster."
            raise HTTPException(408, what, {"connection": "close"}) from error
        received += len(message.get("body", b""))
        ended = not message.get("more_body", False)
        if received > limit:
            raise HTTPException(413, _too_large(limit), {"connection": "close"})
        return message

    return receive_some


def _name_of(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _cookie(headers: Headers) -> str:
    """The token in the cookie; empty where there is none, or where the cookies are none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


async def _refuse(send: Send, status: int, what: str) -> None:
    body = json.dumps({"error": what}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close", **HEADERS}
    await _send(send, status, headers, body)


async def _welcome(send: Send, token: str, *, secure: bool) -> None:
    """Set the cookie, and go on to the page without the token in its address."""
    cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/" + ("; Secure" if secure else "")
    await _send(send, 303, {"location": "/", "set-cookie": cookie, "content-length": "0", **HEADERS}, b"")


async def _send(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    written = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": written})
    await send({"type": "http.response.body", "body": body})
