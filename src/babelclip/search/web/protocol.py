"""How a connection speaks HTTP: as uvicorn does, but nobody holds one for ever by sending or reading nothing."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0
"""For the whole of a request line and its headers."""
END_SECONDS = 3.0
"""For answers that are on their way when the server ends."""


class TimedProtocol(H11Protocol):
    """One connection.

    uvicorn closes a connection that is idle after an answer, but waits without end for the first request, and for the
    rest of one that has begun; and it does not end while a client leaves its answer unread. Bodies have limits of their
    own (``guard.py``).
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, not for ever."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read on; parts of a request that trickle in do not buy more time."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._stop()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End, with a short time for an answer that is on its way."""
        self._stop()
        super().shutdown()
        self._late = self.loop.call_later(END_SECONDS, self.transport.abort)

    def _watch(self) -> None:
        """Run a clock for as long as a request's head is not whole."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._stop()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
