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


def test_a_cache_that_never_ends_its_answer_is_not_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.serve.purge._SECONDS_TO_WAIT", 0.3)
    left = threading.Event()

    class Drips(BaseHTTPRequestHandler):
        def do_BAN(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while not left.wait(0.02):
                self.wfile.write(b"x")

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Drips) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        purge(f"http://127.0.0.1:{server.server_port}/")
        left.set()
        thread.join()
    assert "was not emptied (no answer within" in caplog.text


def test_the_cache_is_asked_by_no_proxy(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    class Takes(BaseHTTPRequestHandler):
        def do_BAN(self) -> None:
            asked.set()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with HTTPServer(("127.0.0.1", 0), Takes) as server:
        server.timeout = 10
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        purge(f"http://127.0.0.1:{server.server_port}/")
        thread.join()
    assert asked.is_set()
    assert not caplog.text
