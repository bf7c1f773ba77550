"""A real PostgreSQL server on loopback, one a process, and a schema of it for each test."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import psycopg
import pytest

from recsys.store import _postgres_ledger, _postgres_load, _postgres_server
from recsys.store._frames import Frames
from tests.store.deployment import Deployment, UnavailableError

PASSWORD: Final = "s3cret/p@ss"

_ANY_NAME: Final = "any_schema"
_QUOTED: Final = "s3cret%2Fp%40ss"
_STARTS: Final = 5
_OPTIONS: Final = (
    "-c listen_addresses=127.0.0.1 -c shared_buffers=32MB -c max_connections=60 "
    "-c password_encryption=scram-sha-256"
)


class PostgresServer:
    """A server of its own, stopped when this process ends.

    Attributes:
        port: where it listens on 127.0.0.1; there it asks for the password.
        programs: the folder of initdb, pg_ctl, pg_dump and postgres.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        self._options = f"{_OPTIONS} -c fsync={'on' if fsync else 'off'}"
        self.programs = _programs()
        self._user = "postgres" if _has_user("postgres") else "nobody"
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        if os.geteuid() == 0:  # which PostgreSQL refuses to be
            shutil.chown(self.folder, self._user)
        self._data = str(self.folder / "data")
        self._run("initdb", "-U", "admin", "-E", "UTF8", "--locale=C", "-N", "-A", "trust")
        Path(self._data, "pg_hba.conf").write_text(
            "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        atexit.register(self._remove)
        for last in range(_STARTS):
            self.port = _free_port()
            try:
                self.start()
            except subprocess.CalledProcessError as error:  # somebody else took the port
                if last == _STARTS - 1:
                    raise UnavailableError((self.folder / "log").read_text()) from error
            else:
                break
        with self.admin("postgres") as admin:
            admin.execute(f"CREATE ROLE publisher LOGIN PASSWORD '{PASSWORD}'")
            admin.execute("CREATE DATABASE music OWNER publisher")

    def url(self, schema: str, user: str = "publisher") -> str:
        return f"postgresql://{user}:{_QUOTED}@127.0.0.1:{self.port}/music?schema={schema}"

    def admin(self, database: str = "music") -> psycopg.Connection[Any]:
        """A superuser's connection; it does not need the port."""
        return psycopg.connect(
            host=str(self.folder),
            port=self.port,
            user="admin",
            dbname=database,
            autocommit=True,
        )

    def speak_tls(self, key: Path, certificate: Path) -> None:
        """From the next start on."""
        for file, name in ((key, "server.key"), (certificate, "server.crt")):
            copied = Path(shutil.copy(file, Path(self._data, name)))
            copied.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(copied, self._user)
        self._options += " -c ssl=on"

    def start(self) -> None:
        options = f"{self._options} -k {self.folder} -p {self.port}"
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def postmaster(self) -> int:
        """The process that accepts connections."""
        return int(Path(self._data, "postmaster.pid").read_text().split()[0])

    def _remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *options: str) -> None:
        subprocess.run(
            [self.programs / program, "-D", self._data, *options],
            check=True,
            cwd=self.folder,
            user=self._user if os.geteuid() == 0 else None,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@cache
def shared_server() -> PostgresServer:
    """The server that the tests of this process share."""
    return PostgresServer()


class PostgresDeployment(Deployment):
    """A schema."""

    def __init__(self, folder: Path, server: PostgresServer | None = None) -> None:
        self.folder = folder
        self.server = server or shared_server()
        self.schema = f"test_{uuid.uuid4().hex}"
        self.url = self.server.url(self.schema)

    def another(self) -> Self:
        return type(self)(self.folder, self.server)

    def wipe(self) -> None:
        self.run(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")

    def remove(self) -> None:
        self.wipe()

    def lose_rows(self, digest: str) -> None:
        self.run(f"TRUNCATE {self.schema}.playlist_{self.tables(digest)}")

    def damage(self, digest: str, user_id: str) -> None:
        table = f"{self.schema}.playlist_{self.tables(digest)}"
        query = f"UPDATE {table} SET playlist = '\\x00ff00' WHERE user_id = %s"
        self.run(query, user_id.encode())

    def misplace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def shifted(frames: Frames) -> memoryview:
            values = frames.values()
            return written(Frames.of(frames.keys(), values[1:] + values[:1]))

        written = _postgres_load.written
        monkeypatch.setattr(_postgres_load, "written", shifted)

    def lose_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fewer(frames: Frames) -> memoryview:
            count = max(1, len(frames.keys()) - 1)  # the default playlist comes alone
            return written(Frames.of(frames.keys()[:count], frames.values()[:count]))

        written = _postgres_load.written
        monkeypatch.setattr(_postgres_load, "written", fewer)

    def set_version(self, version: int) -> None:
        number = version if version > 0 else _postgres_ledger.FORMAT + version
        self.run(f"UPDATE {self.schema}.store SET format = %s", number)

    @contextmanager
    def down(self) -> Iterator[None]:
        self.server.stop()
        yield
        self.server.start()

    @contextmanager
    def full(self) -> Iterator[None]:
        """The disk gets full when rows are in, and their index is made."""
        self.run(
            "CREATE FUNCTION public.no_space() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'could not extend file: No space left on device' "
            "USING ERRCODE = 'disk_full'; END $$"
        )
        self.run(
            "CREATE EVENT TRIGGER no_space ON ddl_command_start WHEN TAG IN ('ALTER TABLE') "
            "EXECUTE FUNCTION public.no_space()"
        )
        try:
            yield
        finally:
            self.run("DROP EVENT TRIGGER no_space")
            self.run("DROP FUNCTION public.no_space")

    @contextmanager
    def slow(self) -> Iterator[None]:
        with (
            self.server.admin() as admin,
            admin.transaction(),
            pytest.MonkeyPatch.context() as patch,
        ):
            admin.execute(f"SELECT FROM {self.schema}.store FOR UPDATE".encode())
            patch.setattr(_postgres_server, "_SECONDS_TO_WAIT", 0.1)
            yield

    def dump(self, place: Path) -> None:
        server = self.server
        done = subprocess.run(
            [
                *(server.programs / "pg_dump", "-h", server.folder, "-p", str(server.port)),
                *("-U", "admin", "-d", "music", "-n", self.schema),
                *("--inserts", "--no-owner", "--no-privileges"),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        lines = done.stdout.replace(self.schema, _ANY_NAME).splitlines(keepends=True)
        place.write_text("".join(line for line in lines if not line.startswith("\\")))

    def load(self, place: Path) -> None:
        statements = place.read_text().replace(_ANY_NAME, self.schema)
        address = self.url.partition("?")[0]
        with psycopg.connect(address, autocommit=True) as publisher:
            publisher.execute(statements.encode())

    def leftovers(self) -> list[str]:
        rows = self.run(
            "SELECT tablename FROM pg_tables "
            "WHERE schemaname = %s AND tablename ~ '_[0-9a-f]{16}$' "
            "AND split_part(tablename, '_', 2) NOT IN "
            f"(SELECT tables FROM {self.schema}.edition WHERE tables IS NOT NULL)",
            self.schema,
        )
        return sorted(name for (name,) in rows)

    def tables(self, digest: str) -> str:
        """What the names of an edition's tables end with."""
        query = f"SELECT tables FROM {self.schema}.edition WHERE digest = %s"
        return str(self.run(query, digest)[0][0])

    def run(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement as a superuser."""
        with self.server.admin() as admin:
            cursor = admin.execute(query.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []


def _programs() -> Path:
    """The folder of initdb, pg_ctl and postgres; Debian keeps them off PATH."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not installed:
        raise UnavailableError("there is no PostgreSQL server on PATH or in /usr/lib/postgresql")
    return installed[-1].parent


def _has_user(name: str) -> bool:
    return any(user.pw_name == name for user in pwd.getpwall())


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
