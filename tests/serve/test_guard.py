"""Limits, shedding, faults, authentication; and that logs and figures name no listener."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import SettingsError, StoreError
from recsys.serve.app import create_app
from recsys.settings import StoreSettings
from recsys.store import Store
from tests.serve.asking import Answer, Client, ask, settings_for
from tests.store.making import make

WEEKLY = "/v1/users/ada/playlists/weekly"


def test_an_address_that_is_too_long(client: Client) -> None:
    assert client.weekly("%F0%9F%8E%B5" * 256).problem == "unknown-listener"
    assert client.weekly("a" * 257).problem == "bad-request"
    assert client.get("/" + "a" * 4095).problem == "not-found"
    for target in ("/" + "a" * 4096, WEEKLY + "?tz=" + "a" * 4096):
        answer = client.get(target)
        assert (answer.status, answer.problem) == (414, "address-too-long")


def test_headers_that_are_too_large(client: Client) -> None:
    answer = client.get(WEEKLY, cookie="x" * 20_000)
    assert (answer.status, answer.problem) == (431, "headers-too-large")


def test_too_many_requests_at_once_are_turned_away(served: Store) -> None:
    app = create_app(settings_for(concurrency=2), served)

    async def all_at_once() -> list[Answer]:
        paths = [WEEKLY] * 5 + ["/health/live"]
        return await asyncio.gather(*(ask(app, "GET", path, {}) for path in paths))

    for _ in range(2):
        *answers, live = asyncio.run(all_at_once())
        assert live.status == 200, "busy is not dead"
        assert sorted(one.status for one in answers) == [200, 200, 503, 503, 503]
    shed = next(one for one in answers if one.status == 503)
    assert shed.problem == "overloaded"
    assert (shed.headers["retry-after"], shed.headers["cache-control"]) == ("1", "no-store")
    figures = asyncio.run(ask(app, "GET", "/metrics", {})).body.decode()
    assert "recsys_requests_shed_total 6.0" in figures


def test_a_store_that_is_slow_to_answer_holds_up_nothing_else(
    served: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, waiting = threading.Event(), threading.Semaphore(0)
    read = served.playlist

    def slowly(*arguments: Any, **named: Any) -> Any:
        waiting.release()
        assert go.wait(30)
        return read(*arguments, **named)

    monkeypatch.setattr(served, "playlist", slowly)
    far = StoreSettings(url="postgresql://db.example.org/music")
    app = create_app(dataclasses.replace(settings_for(concurrency=3), store=far), served)

    async def all_at_once() -> tuple[Answer, Answer, list[Answer]]:
        first = [asyncio.create_task(ask(app, "GET", WEEKLY, {})) for _ in range(2)]
        for _ in first:
            await asyncio.to_thread(waiting.acquire)
        live = await ask(app, "GET", "/health/live", {})
        third = asyncio.create_task(ask(app, "GET", WEEKLY, {}))
        await asyncio.to_thread(waiting.acquire)
        shed = await ask(app, "GET", WEEKLY, {})
        go.set()
        return live, shed, await asyncio.gather(*first, third)

    live, shed, answered = asyncio.run(all_at_once())
    assert live.status == 200
    assert shed.problem == "overloaded"
    assert [one.status for one in answered] == [200, 200, 200], "what was in work is finished"


@pytest.mark.parametrize("path", [WEEKLY, "/health/ready"])
def test_a_store_that_is_down(
    served: Store, client: Client, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*arguments: Any, **named: Any) -> Any:
        raise StoreError("The server at db.example.org does not answer: start it.")

    monkeypatch.setattr(served, "playlist", down)
    monkeypatch.setattr(served, "current", down)
    answer = client.get(path)
    assert (answer.status, answer.problem) == (503, "store-unavailable")
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["retry-after"]) > 0
    assert b"example.org" not in answer.body
    assert client.get("/health/live").status == 200
    assert client.get("/metrics").status == 200


@pytest.mark.parametrize(
    "query", ["", "/2026-W46", "/2026-W47", "/2026-W48", "?tz=Europe/Berlin", "?default=true"]
)
def test_a_store_that_vanishes_is_down(
    served: Store, client: Client, tmp_path: Path, query: str
) -> None:
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    answer = client.get(WEEKLY + query)
    assert (answer.status, answer.problem) == (503, "store-unavailable")
    assert answer.headers["cache-control"] == "no-store"
    (tmp_path / "elsewhere").rename(tmp_path / "store")
    assert client.get(WEEKLY).status == 200


def test_a_store_whose_first_edition_came_meanwhile_vanishes(store: Store, tmp_path: Path) -> None:
    client = Client(store)
    assert client.get(WEEKLY).problem == "not-yet"
    make("2026-W47").publish(store)
    assert client.get(WEEKLY).status == 200
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    assert client.get(WEEKLY).problem == "store-unavailable"
    client.close()


def test_a_fault_is_a_problem_too(
    served: Store, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Answer] = []

    def broken(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(served, "playlist", broken)
    with pytest.raises(RuntimeError):  # for the server's log
        client.send_into(sent, "GET", WEEKLY)
    assert (sent[0].status, sent[0].problem) == (500, "fault")
    assert b"ours" not in sent[0].body


def test_health_and_figures(client: Client, store: Store) -> None:
    assert client.get("/health/live").json == {"status": "live"}
    about = {"status": "ready", "edition": "2026-W47", "revision": 1}
    assert client.get("/health/ready").json == about
    client.weekly("ada")
    client.weekly("nobody")
    client.send("BREW", "/v1/users/ada/playlists/weekly")
    figures = client.get("/metrics").body.decode()
    weekly = 'route="/v1/users/{user}/playlists/weekly"'
    assert f'recsys_requests_total{{method="GET",{weekly},status="200"}} 1.0' in figures
    assert f'recsys_requests_total{{method="GET",{weekly},status="404"}} 1.0' in figures
    assert f'recsys_requests_total{{method="other",{weekly},status="405"}} 1.0' in figures
    assert "recsys_edition_begins_seconds 1.7947872e+09" in figures


def test_a_store_without_an_edition_is_not_ready(store: Store) -> None:
    client = Client(store)
    assert client.get("/health/ready").problem == "store-unavailable"
    assert "recsys_edition_begins_seconds 0.0" in client.get("/metrics").body.decode()
    client.close()


def test_logs_and_figures_name_no_listener(
    served: Store, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client.weekly("ada")
    client.weekly("nobody", "/2026-W47?tz=UTC")
    client.get("/v1/users/nobody")
    said = caplog.text + client.get("/metrics").body.decode()
    assert "GET /v1/users/{user}/playlists/weekly 200" in said
    assert "GET /v1/users/{user}/playlists/weekly/{edition} 404" in said
    assert "ada" not in said.replace("/metadata", "")
    assert "nobody" not in said


# --- the operator's own authentication -------------------------------------------------------


@pytest.fixture
def guarded(served: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Behind the example of docs/serve.md."""
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(# our_auth.py.*?)```", page, flags=re.S)
    monkeypatch.setenv("PLAYLIST_TOKEN", "s3cret")
    module: dict[str, Any] = {}
    exec(example, module)
    made = Client(served, middleware=module["OnlyWithToken"])
    yield made
    made.close()


def test_middleware_goes_around_everything(guarded: Client) -> None:
    for path in (WEEKLY, "/metrics", "/openapi.json", "/health/live", "/nowhere"):
        assert guarded.get(path).status == 401
        assert guarded.get(path, authorization="Bearer guess").status == 401
    assert guarded.get(WEEKLY, authorization="Bearer s3cret").status == 200


def test_where_it_matters_who_asks_shared_caches_keep_nothing(guarded: Client) -> None:
    answer = guarded.get(WEEKLY, authorization="Bearer s3cret")
    assert answer.headers["cache-control"] == "private, max-age=60"


def test_middleware_by_its_name(
    served: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "our_door.py").write_text("def shut(app):\n    return None\nnumber = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    create_app(settings_for(middleware="our_door:shut"), served)
    for name in ("our_door:open", "no_such_door:shut", "our_door:number"):
        with pytest.raises(SettingsError, match="middleware"):
            create_app(settings_for(middleware=name), served)
