"""HTTP/1.1 with a bound on how long a request may take to arrive."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: A request must be there whole so long after its connection was opened or last answered.
_REQUEST_SECONDS: Final = 10

#: What a client's side is in while a request of it is waited for.
_UNDER_WAY: Final = (h11.IDLE, h11.SEND_BODY)


class TimedProtocol(H11Protocol):
    """uvicorn's, which by itself bounds only how long a connection is idle after an answer."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forgive()

    def _watch(self) -> None:
        if self.transport.is_closing() or self.conn.their_state not in _UNDER_WAY:
            self._forgive()
        elif self._overdue is None:
            self._overdue = self.loop.call_later(_REQUEST_SECONDS, self.transport.close)

    def _forgive(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
