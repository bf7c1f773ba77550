"""`recsys serve` as an operator starts and stops it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from recsys.store import Store
from tests.serve.process import serving, start, start_with, write_settings


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(
    tmp_path: Path, store_url: str, served: Store, told: signal.Signals
) -> None:
    with serving(tmp_path, store_url) as (url, process):
        with urllib.request.urlopen(f"{url}/v1/users/ada/playlists/weekly", timeout=30) as answer:
            assert json.load(answer)["edition"] == "2026-W47"
        process.send_signal(told)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
    assert "GET /v1/users/{user}/playlists/weekly 200" in said
    assert "ada" not in said
    assert "Traceback" not in said


def test_an_answer_on_its_way_is_not_cut_off(tmp_path: Path, store_url: str, served: Store) -> None:
    with serving(tmp_path, store_url) as (url, process):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(b"GET /v1/users/ada/playlists/weekly HTTP/1.1\r\nHost: x\r\n\r\n")
            first = connection.recv(100)
            process.send_signal(signal.SIGTERM)
            rest = b"".join(iter(lambda: connection.recv(65536), b""))
    assert first.startswith(b"HTTP/1.1 200")
    assert (first + rest).endswith(b"}")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_age": "soon"}, "[serve] max_age = 'soon': expected a whole number from 0 to 86400"),
        ({"max_age": 600}, "max_age = 600 is over shared_max_age = 300"),
        ({"middleware": "door"}, "expected package.module:name"),
        ({"middleware": "no.door:shut"}, "[serve] middleware = 'no.door:shut' cannot be imported"),
        ({"purge_url": "cache:6081"}, "expected http://HOST/PATH"),
        ({"host": "256.1.1.1"}, "cannot be listened on"),
        ({"explorer": "on", "host": "0.0.0.0"}, "would show every listener"),
    ],
)
def test_a_wrong_setting_ends_it_with_50(
    tmp_path: Path, store_url: str, settings: dict[str, object], said: str
) -> None:
    process = start(tmp_path, store_url, **settings)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 50, error
    assert said in error
    assert "Traceback" not in error


def test_the_service_alone_is_light() -> None:
    heavy = "{'numpy', 'pyarrow', 'duckdb', 'scipy', 'implicit'}"
    code = f"import sys, recsys.serve._server; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_port_that_is_taken_ends_it_with_50(tmp_path: Path, store_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        process = start(tmp_path, store_url, port=other.getsockname()[1])
        _, error = process.communicate(timeout=60)
    assert process.returncode == 50
    assert "Name an address of this machine and a free port" in error


@pytest.mark.parametrize("port", ["99999", "65536", "-1"])
def test_a_port_that_is_none_is_a_wrong_setting(tmp_path: Path, store_url: str, port: str) -> None:
    write_settings(tmp_path, store_url)
    _, error = (process := start_with(tmp_path / "serve.cfg", "--port", port)).communicate(
        timeout=60
    )
    assert process.returncode == 50
    assert f"--port {port}: expected a whole number from 0 to 65535" in error


def test_what_is_no_store_ends_it_with_30(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "holiday.jpg").touch()
    process = start(tmp_path, f"sqlite:///{tmp_path / 'store'}")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 30
    assert "is not a playlist store" in error
