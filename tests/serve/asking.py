"""A client that sends exactly the bytes it is given, straight to the app."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message

from recsys.serve.app import Middleware, create_app
from recsys.settings import ServeSettings, Settings, load_settings
from recsys.store import Store

#: A Wednesday of 2026-W47.
NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
WEEKLY = "/v1/users/{}/playlists/weekly"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The kind of the problem."""
        assert self.headers["content-type"] == "application/problem+json"
        assert self.json["status"] == self.status
        prefix, _, kind = str(self.json["type"]).rpartition(":")
        assert prefix == "urn:recsys:problem"
        return kind


class Client:
    """Sends requests to an app, whose clock is ``now``."""

    def __init__(
        self,
        store: Store,
        *,
        middleware: Middleware | None = None,
        settings: Settings | None = None,
        **serve: Any,
    ) -> None:
        self.now = NOW
        self.settings = settings or settings_for(**serve)
        self.app: ASGIApp = create_app(
            self.settings, store, middleware=middleware, now=lambda: self.now
        )
        self._runner = asyncio.Runner()

    def close(self) -> None:
        self._runner.close()

    def weekly(self, user: str, path: str = "", **headers: str | tuple[str, ...]) -> Answer:
        return self.send("GET", WEEKLY.format(user) + path, **headers)

    def get(self, target: str | bytes, **headers: str) -> Answer:
        return self.send("GET", target, **headers)

    def send(self, method: str, target: str | bytes, **headers: str | tuple[str, ...]) -> Answer:
        return self._runner.run(ask(self.app, method, target, headers))

    def send_into(self, answers: list[Answer], method: str, target: str) -> None:
        """Send a request that the app raises for, after it has answered."""
        self._runner.run(ask(self.app, method, target, {}, answers))


async def ask(
    app: ASGIApp,
    method: str,
    target: str | bytes,
    headers: Mapping[str, str | tuple[str, ...]],
    answers: list[Answer] | None = None,
) -> Answer:
    """Send a request to an app, and add the answer to ``answers``, also where the app raises."""
    raw = target.encode("latin-1") if isinstance(target, str) else target
    path, _, query = raw.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "decoded by the server, and not to be used",
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [
            (name.replace("_", "-").encode(), line.encode("latin-1"))
            for name, value in {"host": "127.0.0.1", **headers}.items()
            for line in ((value,) if isinstance(value, str) else value)
        ],
        "server": ("test", 80),
        "client": ("test", 1),
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    answers = [] if answers is None else answers
    try:
        await app(scope, receive, send)
    finally:
        names = [name.decode() for name, _ in sent[0]["headers"]]
        assert len(set(names)) == len(names), "a header is sent once"
        answers.append(
            Answer(
                sent[0]["status"],
                {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]},
                b"".join(message.get("body", b"") for message in sent[1:]),
            )
        )
    return answers[-1]


def settings_for(**serve: Any) -> Settings:
    """The default settings, but for some of ``[serve]``."""
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write("[listens]\nsource = log\n")
        file.flush()
        settings = load_settings([Path(file.name)])
    return dataclasses.replace(settings, serve=ServeSettings(**serve))
