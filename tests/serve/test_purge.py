"""A cache that cannot be told is warned of, and stops nothing."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from recsys.serve.purge import purge


def test_a_cache_that_is_down_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        purge(f"http://ada:s3cret@127.0.0.1:{closed.getsockname()[1]}/")
    assert "was not emptied" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_cache_that_refuses_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    class Refuses(BaseHTTPRequestHandler):
        def do_BAN(self) -> None:
            asked.append(self.path)
            self.send_response(403)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        purge(f"http://127.0.0.1:{server.server_port}/all")
        thread.join()
    assert asked == ["/all"]
    assert "was not emptied (HTTP Error 403" in caplog.text


def test_without_a_cache_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    purge("")
    assert not caplog.text
