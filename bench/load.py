"""Clients that ask a server one text after the other, each over one connection that stays open; prints what they saw.

    python bench/load.py 127.0.0.1:8470 texts.json --clients 200 --seconds 60

Only the standard library, and as little work as can be: what is measured is the server beside it on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from pathlib import Path
from urllib.parse import quote


class Client(asyncio.Protocol):
    """One connection: sends a request, waits for its answer, sends the next one."""

    def __init__(self, requests: list[bytes], first: int, until: float, times: list[float], errors: list[str]) -> None:
        """Begin with one of the requests, and end after a moment of ``time.perf_counter``."""
        self.requests, self.place, self.until = requests, first, until
        self.times, self.errors = times, errors
        self.done = asyncio.get_running_loop().create_future()
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        """Send a request."""
        self.place = (self.place + 1) % len(self.requests)
        self.asked = time.perf_counter()
        self.transport.write(self.requests[self.place])  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Wait until the answer is whole."""
        self.got += data
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
        if len(body) < length:
            return
        now = time.perf_counter()
        self.times.append(now - self.asked)
        if not head.startswith(b"HTTP/1.1 200") or b'"results":[{' not in body:
            self.errors.append(f"{head[:60]!r} {body[:200]!r}")
        self.got = b""
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell a connection that ended early."""
        if time.perf_counter() < self.until or self.got:
            self.errors.append(f"the connection ended: {error}")
        self.done.set_result(None)


async def ask_all(host: str, port: int, texts: list[str], clients: int, seconds: float, k: int) -> dict[str, object]:
    """Ask for some time, and return figures."""
    requests = [
        f"GET /search?k={k}&q={quote(text)} HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\n\r\n".encode() for text in texts
    ]
    times: list[float] = []
    errors: list[str] = []
    loop, started = asyncio.get_running_loop(), time.perf_counter()
    running = []
    for number in range(clients):
        first = number * len(requests) // clients
        _, client = await loop.create_connection(
            lambda first=first: Client(requests, first, started + seconds, times, errors), host, port
        )
        running.append(client.done)
    await asyncio.gather(*running)
    took = time.perf_counter() - started
    times.sort()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "clients": clients, "seconds": took, "answers": len(times), "errors": len(errors), "first_errors": errors[:3],
        "queries_per_second": len(times) / took, **{f"p{share}_s": _quantile(times, share) for share in (50, 95, 99)},
        "slowest_s": times[-1] if times else None, "client_cpu_s": used.ru_utime + used.ru_stime,
    }  # fmt: skip


def _quantile(ordered: list[float], share: int) -> float | None:
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)] if ordered else None


def main() -> None:
    """Ask, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="host:port")
    parser.add_argument("texts", type=Path, help="a JSON list")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("-k", type=int, default=20, help="results of a search")
    given = parser.parse_args()
    host, _, port = given.address.partition(":")
    texts = json.loads(given.texts.read_text(encoding="utf-8"))
    print(json.dumps(asyncio.run(ask_all(host, int(port), texts, given.clients, given.seconds, given.k))))


if __name__ == "__main__":
    main()
