"""What stands before every request: limits, shedding, the access log, and the figures.

Paths are routed as they were sent, so that an escaped slash is part of a listener's id and not of
the path; whoever takes a segment unescapes it. No listener's id is logged or counted, only the
path's template.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.serve._metrics import Metrics
from recsys.serve._problems import Kind, ProblemError

#: Bytes of path and query together, and of all headers.
LONGEST_ADDRESS: Final = 4096
LARGEST_HEADERS: Final = 16384

#: Answered however much there is to do: who watches the service must not take it for dead.
_ALWAYS: Final = (b"/health/", b"/metrics")
_METHODS: Final = ("GET", "HEAD")
_LOG: Final = logging.getLogger("recsys.serve.access")


class Guard:
    """ASGI middleware, the outermost.

    Args:
        app: what is guarded.
        routes: what the app has, for their templates.
        metrics: where requests are counted.
        concurrency: requests in work at once; what comes above is turned away at once.
    """

    def __init__(
        self, app: ASGIApp, routes: Sequence[Route], metrics: Metrics, concurrency: int
    ) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics
        self._concurrency = concurrency
        self._in_work = 0
        overloaded = ProblemError(Kind.OVERLOADED, "Ask again in a second.", {"retry-after": "1"})
        self._overloaded = overloaded.response()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status, route = 500, "none"

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
            await send(message)

        if self._in_work >= self._concurrency and not scope["raw_path"].startswith(_ALWAYS):
            self._metrics.shed.inc()  # no more is done for it: it must cost as little as it can
            await self._overloaded(scope, receive, send)
            return
        refused = self._refuse(scope)
        self._in_work += 1
        try:
            await asyncio.sleep(0)  # what else has arrived is counted before this is worked on
            if refused is not None:
                await refused.response()(scope, receive, observe)
            else:
                scope["path"] = scope["raw_path"].decode("latin-1")
                route = self._template(scope)
                await self._app(scope, receive, observe)
        finally:
            self._in_work -= 1
            self._tell(scope["method"], route, status, time.perf_counter() - started)

    def _refuse(self, scope: Scope) -> ProblemError | None:
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_ADDRESS:
            return ProblemError(Kind.TOO_LONG, f"Expected at most {LONGEST_ADDRESS} bytes.")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
            detail = f"Expected at most {LARGEST_HEADERS} bytes."
            return ProblemError(Kind.HEADERS_TOO_LARGE, detail)
        return None

    def _template(self, scope: Scope) -> str:
        """The path as it is written in the documentation."""
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                return route.path
        return "none"

    def _tell(self, asked: str, route: str, status: int, seconds: float) -> None:
        method = asked if asked in _METHODS else "other"
        self._metrics.observe(route, method, status, seconds)
        _LOG.info("%s %s %d %.1f ms", method, route, status, seconds * 1000)
