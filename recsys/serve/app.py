"""The read service as an ASGI app."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, time
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from recsys.errors import SettingsError, StoreError
from recsys.serve._guard import Guard
from recsys.serve._metrics import Metrics
from recsys.serve._openapi import document
from recsys.serve._playlists import Playlists
from recsys.serve._problems import NO_STORE, Kind, ProblemError
from recsys.settings import ON, Settings
from recsys.store import Store
from recsys.weeks import Week

Middleware = Callable[[ASGIApp], ASGIApp]
Endpoint = Callable[[Request], Response]

WEEKLY: Final = "/v1/users/{user}/playlists/weekly"
#: The store's connections do not mend in less.
_STORE_RETRY: Final = "5"
_LOG: Final = logging.getLogger("recsys.serve")


def create_app(
    settings: Settings,
    store: Store,
    *,
    middleware: Middleware | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ASGIApp:
    """Make the app; see docs/serve.md for what it answers.

    Args:
        settings: ``[serve]``, and for the explorer where home is.
        store: where the playlists are; whoever opened it closes it.
        middleware: goes around every request, such as the operator's own authentication; by
            default what ``[serve] middleware`` names. With one, only clients keep answers.
        now: the clock (timezone-aware).

    Raises:
        SettingsError: ``[serve] middleware`` names nothing that can be imported and called.
    """
    around = middleware or _named(settings.serve.middleware)
    metrics = Metrics()
    playlists = Playlists(store, settings.serve, around is not None, now)
    get = _at_once(playlists.get) if _is_local(settings) else playlists.get
    service = _Service(store, metrics)
    routes = [
        Route(WEEKLY, get),
        Route(f"{WEEKLY}/{{edition}}", get),
        Route("/openapi.json", _openapi),
        Route("/health/live", _live),
        Route("/health/ready", service.ready),
        Route("/metrics", service.metrics),
        *_explorer(settings, store, around is not None),
    ]
    starlette = Starlette(
        routes=routes,
        exception_handlers={
            ProblemError: _problem,
            HTTPException: _http_problem,
            StoreError: _store_problem,
            Exception: _fault,
        },
    )
    starlette.router.redirect_slashes = False
    app = starlette if around is None else around(starlette)
    return Guard(app, routes, metrics, settings.serve.concurrency)


def _is_local(settings: Settings) -> bool:
    """Whether a read is a fraction of a millisecond: handing it to a thread would cost more."""
    return settings.store_url.startswith("sqlite:")


def _at_once(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """Answers on the event loop; Starlette gives any other endpoint to a thread."""

    async def answer(request: Request) -> Response:
        return endpoint(request)

    return answer


class _Service:
    """How the service itself is."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def ready(self, request: Request) -> Response:
        """200 while an edition can be read, else 503."""
        del request
        served = self._store.current()
        if served is None or not served.present:
            detail = "No edition is served, or its rows are missing."
            headers = {"retry-after": _STORE_RETRY}
            raise ProblemError(Kind.STORE_UNAVAILABLE, detail, headers)
        about = {"status": "ready", "edition": served.edition, "revision": served.revision}
        return JSONResponse(about, headers={"cache-control": NO_STORE})

    def metrics(self, request: Request) -> Response:
        """The figures; a store that is down does not keep them back."""
        del request
        try:
            served = self._store.current()
        except StoreError:
            served = None
        monday = Week.parse(served.edition).monday if served else None
        begins = datetime.combine(monday, time(), UTC).timestamp() if monday else 0
        self._metrics.begins.set(begins)
        return self._metrics.response()


async def _openapi(request: Request) -> Response:
    del request
    return JSONResponse(document(), headers={"cache-control": "public, max-age=3600"})


async def _live(request: Request) -> Response:
    del request
    return JSONResponse({"status": "live"}, headers={"cache-control": NO_STORE})


def _problem(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, ProblemError)
    return error.response()


def _http_problem(request: Request, error: Exception) -> Response:
    """What the router itself refuses: no such path, or no such method there."""
    assert isinstance(error, HTTPException)
    kind = Kind.METHOD_NOT_ALLOWED if error.status_code == 405 else Kind.NOT_FOUND
    detail = "See /openapi.json for what there is."
    return _problem(request, ProblemError(kind, detail, error.headers))


def _store_problem(request: Request, error: Exception) -> Response:
    _LOG.error("The store cannot be read: %s", error)
    detail = "The operator's log says why."
    headers = {"retry-after": _STORE_RETRY}
    return _problem(request, ProblemError(Kind.STORE_UNAVAILABLE, detail, headers))


def _fault(request: Request, error: Exception) -> Response:
    del error  # the server logs it
    return _problem(request, ProblemError(Kind.FAULT, "The operator's log says why."))


def _explorer(settings: Settings, store: Store, guarded: bool) -> Sequence[Route]:
    if settings.serve.explorer != ON:
        return ()
    from recsys.explorer import routes  # reads matrices and models: not for the service alone

    return routes(settings, store, guarded=guarded)


def _named(path: str) -> Middleware | None:
    if not path:
        return None
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"[serve] middleware = {path!r} cannot be imported ({error}). Expected a callable that "
            "takes an ASGI app and returns one, in a module on PYTHONPATH."
        ) from error
    if not callable(found):
        raise SettingsError(
            f"[serve] middleware = {path!r} is a {type(found).__name__}. Expected a callable that "
            "takes an ASGI app and returns one."
        )
    middleware: Middleware = found
    return middleware
