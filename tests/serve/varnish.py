"""A real Varnish on loopback, with the configuration that is delivered."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.store.redis_server import free_port

CONFIGURATION = Path(__file__).parents[2] / "configs" / "varnish.vcl"


@dataclass(frozen=True)
class Got:
    status: int
    headers: Mapping[str, str]
    body: bytes


def get(url: str, **headers: str) -> Got:
    asked = urllib.request.Request(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return Got(answer.status, lower(answer.headers), answer.read())
    except urllib.error.HTTPError as answer:
        with answer:
            return Got(answer.status, lower(answer.headers), answer.read())


def lower(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@contextlib.contextmanager
def varnish(port: int) -> Iterator[str]:
    """The URL of a Varnish before a service on a port. Without one: see ``tests/store``."""
    program = shutil.which("varnishd") or shutil.which("varnishd", path="/usr/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI must test a real Varnish: there is no varnishd on PATH")
        pytest.skip("there is no varnishd on PATH")
    folder = Path(tempfile.mkdtemp(prefix="varnish-"))
    text = CONFIGURATION.read_text(encoding="utf-8")
    assert '"8080"' in text
    (folder / "test.vcl").write_text(text.replace('"8080"', f'"{port}"'), encoding="utf-8")
    outside = free_port()
    process = subprocess.Popen(
        [
            *(program, "-F", "-n", str(folder / "work"), "-j", "none", "-s", "malloc,32m"),
            *("-a", f"127.0.0.1:{outside}", "-f", str(folder / "test.vcl")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        while "Child starts" not in (line := process.stderr.readline()):
            assert line, "varnishd has ended"
        url = f"http://127.0.0.1:{outside}"
        while not answers(url):
            assert process.poll() is None, process.stderr.read()
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def answers(url: str) -> bool:
    try:
        return get(f"{url}/nowhere").status == 404
    except OSError:
        return False
