"""The process of ``recsys serve``."""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
import signal
import socket
import sys
from types import FrameType
from typing import Final, NoReturn

import uvicorn
from starlette.types import ASGIApp

from recsys.errors import SettingsError
from recsys.serve._guard import LARGEST_HEADERS
from recsys.serve._protocol import TimedProtocol
from recsys.serve.app import create_app
from recsys.settings import ON, ServeSettings, Settings
from recsys.store import open_store

#: Requests in work are given so long when the process is told to stop.
_GRACE_SECONDS: Final = 10
_LAST_PORT: Final = 65535
#: Connections that may wait to be taken.
_BACKLOG: Final = 2048
_LOG: Final = logging.getLogger("recsys.serve")


def run(settings: Settings, host: str | None, port: int | None) -> int:
    """Serve until SIGTERM or SIGINT; returns an exit code.

    Args:
        settings: of the service.
        host: instead of ``[serve] host``.
        port: instead of ``[serve] port``.

    Raises:
        SettingsError: it cannot be served under these settings.
        StoreError: the store cannot be read.
    """
    serve = dataclasses.replace(
        settings.serve,
        host=settings.serve.host if host is None else host,
        port=settings.serve.port if port is None else port,
    )
    if not 0 <= serve.port <= _LAST_PORT:
        raise SettingsError(f"--port {port}: expected a whole number from 0 to {_LAST_PORT}.")
    settings = dataclasses.replace(settings, serve=serve)
    _refuse_open_explorer(serve)
    for told in (signal.SIGTERM, signal.SIGINT):  # raised again by uvicorn once it has stopped
        signal.signal(told, _stop)
    logging.getLogger("recsys.serve").setLevel(logging.INFO)
    with open_store(settings.store_url) as store:
        served = store.current()
        app = create_app(settings, store)
        listener = _listen(serve)
        bound, edition = listener.getsockname(), served.edition if served else "no edition yet"
        _LOG.info("serving %s on %s port %d", edition, bound[0], bound[1])
        uvicorn.Server(config_of(app)).run(sockets=[listener])
    return 0


def config_of(app: ASGIApp) -> uvicorn.Config:
    """How uvicorn serves the app; how much it does at once is the app's own business."""
    return uvicorn.Config(
        app,
        access_log=False,  # it names paths, and they name listeners
        log_config=None,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_GRACE_SECONDS,
        http=TimedProtocol,
        h11_max_incomplete_event_size=2 * LARGEST_HEADERS,
    )


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """It was told to stop, and has: nothing is wrong."""
    del number, frame
    sys.exit(0)


def _listen(serve: ServeSettings) -> socket.socket:
    """A socket of the address; another process on it, or a name that is none, is a setting."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            serve.host, serve.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise SettingsError(
            f"[serve] host = {serve.host!r}, port = {serve.port} cannot be listened on "
            f"({error}). Name an address of this machine and a free port."
        ) from error
    return listener


def _refuse_open_explorer(serve: ServeSettings) -> None:
    if serve.explorer != ON or serve.middleware:
        return
    try:
        loopback = ipaddress.ip_address(serve.host).is_loopback
    except ValueError:
        loopback = serve.host == "localhost"
    if not loopback:
        raise SettingsError(
            f"[serve] explorer = on would show every listener to whoever reaches {serve.host}. Set "
            "[serve] middleware to what asks who they are, or host to 127.0.0.1."
        )
