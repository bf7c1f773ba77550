"""A real Redis server on loopback, one a process, and a namespace of it for each test."""

from __future__ import annotations

import atexit
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from recsys.store import _redis_ledger, _redis_server, _redis_stage
from recsys.store._frames import Frames
from recsys.store._redis_reader import Rows
from tests.store.deployment import Deployment, UnavailableError

_ANY_NAME: Final = "any-namespace"


class RedisServer:
    """A server of its own, in memory alone, that is stopped when this process ends.

    Attributes:
        process: the server.
        port: where it listens on 127.0.0.1.
        address: HOST:PORT of that.
        admin: a client by its socket, which works when the port is closed.
    """

    def __init__(self, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise UnavailableError("there is no redis-server on PATH")
        folder = tempfile.mkdtemp(prefix="redis-")
        path = Path(folder, "redis.sock")
        command = [program, "--port", "0", "--unixsocket", str(path), "--dir", folder]
        self.process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no", *options], stdout=subprocess.DEVNULL
        )
        atexit.register(self._stop, folder)
        self.admin = redis.Redis(
            unix_socket_path=str(path),
            retry=Retry(ConstantBackoff(0.02), 500),
            retry_on_error=[redis.ConnectionError],
            protocol=2,
        )
        self.admin.ping()
        self.port = self._listen()
        self.address = f"127.0.0.1:{self.port}"

    def _listen(self) -> int:
        while True:
            port = free_port()
            try:
                self.admin.config_set("port", port)
            except redis.ResponseError:  # somebody else took it
                continue
            return port

    def _stop(self, folder: str) -> None:
        self.admin.close()
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@cache
def shared_server() -> RedisServer:
    """The server that the tests of this process share."""
    return RedisServer()


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RedisDeployment(Deployment):
    """A namespace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = shared_server()
        self.admin: Any = self.server.admin
        self.namespace = f"test-{uuid.uuid4().hex}"
        self.url = f"redis://{self.server.address}/0?namespace={self.namespace}"

    def another(self) -> Self:
        return type(self)(self.folder)

    def wipe(self) -> None:
        for key in self.names():
            self.admin.unlink(key)

    def lose_rows(self, digest: str) -> None:
        self.admin.unlink(*self.rows(digest).keys)

    def damage(self, digest: str, user_id: str) -> None:
        user = user_id.encode()
        self.admin.hset(self.rows(digest).bucket(user), user, b"\x00\xff\x00")

    def misplace(self, monkeypatch: pytest.MonkeyPatch) -> None:

        def shifted(frames: Frames) -> Iterator[tuple[bytes, Any]]:
            values = frames.values()
            return zip(frames.keys(), values[1:] + values[:1], strict=True)

        monkeypatch.setattr(_redis_stage._Writer, "_pairs", staticmethod(shifted))

    def lose_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write = _redis_stage._Writer._write

        def fewer(writer: Any, hashes: dict[str, list[Any]]) -> None:
            first = next(iter(hashes))
            lost = hashes if first.endswith(":tracks") else {**hashes, first: hashes[first][2:]}
            write(writer, {key: fields for key, fields in lost.items() if fields})

        monkeypatch.setattr(_redis_stage._Writer, "_write", fewer)

    def set_version(self, version: int) -> None:
        newest = _redis_ledger.FORMAT
        number = version if version > 0 else newest + version
        self.admin.hset(f"{self.namespace}:store", "format", number)

    @contextmanager
    def down(self) -> Iterator[None]:
        self.admin.config_set("port", 0)
        self._disconnect()
        try:
            yield
        finally:
            self.admin.config_set("port", self.server.port)

    @contextmanager
    def full(self) -> Iterator[None]:
        self.admin.config_set("maxmemory", 1)
        try:
            yield
        finally:
            self.admin.config_set("maxmemory", 0)

    @contextmanager
    def slow(self) -> Iterator[None]:
        connect = redis.Connection._connect
        hurried: list[redis.Connection] = []

        def hurriedly(connection: redis.Connection) -> Any:
            connection.socket_timeout = 0.1
            hurried.append(connection)
            return connect(connection)

        self._disconnect()
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(redis.Connection, "_connect", hurriedly)
                yield
        finally:
            self.server.process.send_signal(signal.SIGCONT)
            for connection in hurried:
                connection.disconnect()
                connection.socket_timeout = _redis_server._SECONDS_TO_WAIT

    def dump(self, place: Path) -> None:
        lines = [json.dumps([name, *self._content(name)]) for name in sorted(self.names())]
        place.write_text("\n".join([*lines, ""]).replace(self.namespace, _ANY_NAME))

    def load(self, place: Path) -> None:
        for line in place.read_text().replace(_ANY_NAME, self.namespace).splitlines():
            name, command, content = json.loads(line)
            self.admin.execute_command(command, name, *(text.encode("latin-1") for text in content))

    def _content(self, name: str) -> tuple[str, list[str]]:
        """The command that makes a key, and what follows the key's name; a character a byte."""
        kind = self.admin.type(name).decode()
        if kind == "hash":
            pairs = sorted(self.admin.hgetall(name).items())
            command, parts = "HSET", [part for pair in pairs for part in pair]
        elif kind == "list":
            command, parts = "RPUSH", self.admin.lrange(name, 0, -1)
        else:
            command, parts = "SET", [self.admin.get(name)]
        return command, [part.decode("latin-1") for part in parts]

    def leftovers(self) -> list[str]:
        """Keys that stay for good; those with an expiry go by themselves."""
        ledger = {
            f"{self.namespace}:{name}"
            for name in ("store", "editions", "ledger", "tombstones", "blocks")
        }
        known = {key for rows in self._all_rows() for key in rows.keys}
        return sorted(
            key for key in self.names() if key not in ledger | known and self.admin.ttl(key) == -1
        )

    def remove(self) -> None:
        self.wipe()

    def names(self) -> list[str]:
        """Every key of the store."""
        found: Sequence[bytes] = list(self.admin.scan_iter(f"{self.namespace}:*", count=1000))
        return [key.decode() for key in found]

    def rows(self, digest: str) -> Rows:
        """Where the rows of an edition are."""
        (rows,) = (rows for rows in self._all_rows() if f"-{digest[:12]}-" in rows.prefix)
        return rows

    def _disconnect(self) -> None:
        self.admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _all_rows(self) -> list[Rows]:
        server = _redis_server.Server(self.url)
        catalogue = _redis_ledger.Ledger(server).catalogue()
        server.close()
        return [record.rows for record in catalogue.records if record.rows is not None]
