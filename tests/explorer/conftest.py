"""A home with two editions of a small log, some of whose names are hostile."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import luigi
import pytest

from recsys.settings import Settings
from recsys.store import Store
from tests.serve.process import reached, start_with
from tests.workflows.conftest import LAST_DAY, Deployment, listen

#: Of the log; listeners are eligible by its end.
DAYS = 16
WEEKS = ("2026-W46", "2026-W47")
HOSTILE = (
    "<script>document.title='broken'</script>",
    '"><img src=x onerror="document.title=\'broken\'">',
    "{{ 7 * 7 }} & \u202eevil \x1b[31m",
    "javascript:alert(1)",
)
#: A listener with an id that a path might be mistaken about.
ODD = "t0/ö <b>"


@pytest.fixture(scope="session")
def cache() -> Iterator[tuple[str, list[str]]]:
    """The URL of what might be a cache, and what it was told."""
    told: list[str] = []

    class Told(BaseHTTPRequestHandler):
        def do_BAN(self) -> None:
            told.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Told) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/all", told
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, cache: tuple[str, list[str]]
) -> Deployment:
    """Two editions made by the DAG, the second of which looked back at the first."""
    made = Deployment(tmp_path_factory.mktemp("explorer"))
    made.configure(
        recsys={"home": made.home, "seed": 1},
        listens={"source": made.log, "format": "jsonl"},
        als={"factors": 8, "iterations": 5},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
        serve={"explorer": "on", "port": 0, "purge_url": cache[0]},
    )
    _write_log(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setenv("LUIGI_CONFIG_PATH", str(made.config))
        patch.setitem(luigi.configuration.get_config()["worker"], "keep_alive", "false")
        for week in WEEKS:
            assert made.run(week), made.last_run()
    return made


def _write_log(made: Deployment) -> None:
    for n in range(DAYS):
        day = LAST_DAY - timedelta(days=DAYS - 1 - n)
        made.write_day(day, [row for member in range(10) for row in _played(member, n)])


def _played(member: int, n: int) -> list[dict[str, Any]]:
    user = ODD if member == 0 else f"t0m{member:02d}"
    drawn = random.Random(f"{member} {n}").sample(range(80), 5)
    day = LAST_DAY - timedelta(days=DAYS - 1 - n)
    named = {song: HOSTILE[song % len(HOSTILE)] + f" {song}" for song in range(40)}
    return [
        listen(user, f"track {song:04d}", day, second=member * 600 + k * 200)
        | ({"track_name": named[song], "artist_name": named[song]} if song in named else {})
        for k, song in enumerate(drawn)
    ]


@pytest.fixture
def settings(deployment: Deployment) -> Settings:
    return deployment.load()


@pytest.fixture
def store(deployment: Deployment) -> Iterator[Store]:
    with deployment.store() as opened:
        yield opened


@pytest.fixture(scope="session")
def explorer(deployment: Deployment) -> Iterator[str]:
    """The URL of the explorer, served by a process of its own."""
    with reached(start_with(deployment.config)) as (url, _):
        yield f"{url}/explorer"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path. Without one: skipped on a laptop, a failure in CI."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("CI"):
        pytest.fail("CI must test a real browser: there is no chromium on PATH")
    pytest.skip("there is no chromium on PATH")


@pytest.fixture
def copied(deployment: Deployment, tmp_path: Path) -> Deployment:
    """A deployment of one's own, to break."""
    made = Deployment(tmp_path, {name: dict(keys) for name, keys in deployment.settings.items()})
    shutil.copytree(deployment.home, made.home)
    made.configure(recsys={"home": made.home})
    return made
