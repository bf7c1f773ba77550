"""Connections that send nothing, or half of a request, are closed and keep nobody out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import urllib.request
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from uvicorn.server import ServerState

from recsys.serve._server import config_of
from recsys.store import Store
from tests.serve.process import serving

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nhost:",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
        REQUEST,
        REQUEST + b"GET / HT",
    ],
)
def test_a_request_that_does_not_come_is_not_waited_for(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.serve._protocol._REQUEST_SECONDS", 0.2)
    received = asyncio.run(_all_that_comes(sent))
    assert received.count(b"HTTP/1.1 200") == sent.count(b"\r\n\r\n")


def test_who_drips_is_not_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.serve._protocol._REQUEST_SECONDS", 0.2)
    assert asyncio.run(_all_that_comes(b"GET / HTTP/1.1\r\nx: ", drip=b"x")) == b""


async def _all_that_comes(sent: bytes, drip: bytes = b"") -> bytes:
    """What a client receives until the service closes its connection."""
    config = config_of(PlainTextResponse("there"))
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),
        "127.0.0.1",
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(sent)
        whole = asyncio.create_task(_until_closed(reader))
        async with asyncio.timeout(20):
            while drip and not whole.done():
                writer.write(drip)
                await asyncio.wait([whole], timeout=0.02)
            received = await whole
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return received


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:  # closed while more was on its way
        return b""


def test_many_that_wait_keep_nobody_out(tmp_path: Path, store_url: str, served: Store) -> None:
    with serving(tmp_path, store_url, concurrency=1) as (url, _), contextlib.ExitStack() as opened:
        host, port = url.removeprefix("http://").split(":")
        for _ in range(40):
            waiting = opened.enter_context(socket.create_connection((host, int(port)), timeout=30))
            waiting.sendall(b"GET /v1/users/ada")
        for path in ("/health/live", "/v1/users/ada/playlists/weekly"):
            with urllib.request.urlopen(url + path, timeout=30) as answer:
                assert answer.status == 200
