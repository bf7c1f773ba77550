"""Connections to a PostgreSQL server, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Generator, Iterator, Mapping
from time import monotonic
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from recsys.errors import RecsysError, ResourceError, StoreError

Connection = psycopg.Connection[tuple[Any, ...]]
_T = TypeVar("_T")

DEFAULT_SCHEMA: Final = "recsys"

_FORM: Final = (
    "expected postgresql://USER:PASSWORD@HOST:PORT/DB, with ?sslmode=verify-full or other options "
    "of libpq behind it, and ?schema=NAME (small letters, digits and _) for a schema other than "
    f"{DEFAULT_SCHEMA}"
)
_ENCODING: Final = "UTF8"
_SECONDS_TO_ANSWER: Final = 5
_SECONDS_OF_SILENCE: Final = 6  # the server itself gives up before
_SECONDS_TO_WAIT: Final = 30
_SECONDS_TO_LOAD: Final = 600
_MOST_CONNECTIONS: Final = 10
_SETTINGS: Final = (
    "SELECT set_config('TimeZone', 'UTC', false), set_config('jit', 'off', false), "
    "set_config('plan_cache_mode', 'force_generic_plan', false), "
    f"set_config('statement_timeout', '{_SECONDS_TO_ANSWER}s', false), "
    f"set_config('lock_timeout', '{_SECONDS_TO_ANSWER}s', false)"
)
_LIMITS: Final = "SET LOCAL statement_timeout = '{0}s'; SET LOCAL lock_timeout = '{1}s'"


class Server:
    """A few connections to one server: any number of threads take turns.

    A connection made before a fork belongs to the parent: the child neither uses nor closes it.

    Attributes:
        name: what messages call the server: no credentials.
        schema: the schema that holds the store, quoted for SQL.
    """

    def __init__(self, url: str) -> None:
        address, schema = _without_schema(url)
        try:
            parts = conninfo_to_dict(address)
        except psycopg.Error:  # its text may hold the password
            raise StoreError(f"That is not the URL of a store on PostgreSQL: {_FORM}.") from None
        if not re.fullmatch("[a-z_][a-z0-9_]{0,62}", schema):
            raise StoreError(f"{schema!r} is not the name of a schema: {_FORM}.")
        self.schema = f'"{schema}"'
        host, port = parts.get("host", "its usual place"), parts.get("port")
        self.name = f"PostgreSQL at {host}{f':{port}' if port else ''}, schema {schema}"
        usual: dict[str, Any] = {
            "connect_timeout": _SECONDS_TO_ANSWER,
            "application_name": "recsys",
        }
        self._address = make_conninfo(address, **{**usual, **parts, "client_encoding": _ENCODING})
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._idle: list[_Patient] = []
        self._turns = threading.BoundedSemaphore(_MOST_CONNECTIONS)

    def fetch(self, query: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """All rows of a query that is asked often, in one statement.

        A connection that the server has closed meanwhile is replaced.

        Raises:
            MissingTableError: a table is not there.
            StoreError: the server does not answer, or not as it should.
        """
        while True:
            with self._turn() as (connection, is_new):
                try:
                    cursor = connection.execute(
                        query.encode(), parameters, prepare=True, binary=True
                    )
                    return cursor.fetchall()
                except (errors.UndefinedTable, errors.InvalidSchemaName):
                    raise MissingTableError from None
                except errors.OperationalError as error:
                    if is_new or not connection.broken or isinstance(error, _SilenceError):
                        raise

    @contextlib.contextmanager
    def read(self, *, load: bool = False) -> Iterator[Connection]:
        """A connection that sees one instant; with ``load``, single statements may take long."""
        with self._transaction(_SECONDS_TO_LOAD if load else _SECONDS_TO_ANSWER) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    @contextlib.contextmanager
    def write(self, *, load: bool = False) -> Iterator[Connection]:
        """A connection in a transaction; with ``load``, single statements may take long."""
        with self._transaction(_SECONDS_TO_LOAD if load else _SECONDS_TO_WAIT + 1) as connection:
            yield connection

    def close(self) -> None:
        """Close the connections."""
        if self._process == os.getpid():
            while self._idle:
                self._idle.pop().close()

    @contextlib.contextmanager
    def _transaction(self, seconds: int) -> Iterator[Connection]:
        with self._turn() as (connection, _):
            connection.limit = seconds + 1
            try:
                with connection.transaction():
                    connection.execute(_LIMITS.format(seconds, _SECONDS_TO_WAIT).encode())
                    yield connection
            finally:
                connection.limit = None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[tuple[_Patient, bool]]:
        """A connection, and whether it was made just now."""
        if self._process != os.getpid():
            _INHERITED.append(self._idle)
            self._begin()
        turns, idle = self._turns, self._idle
        if not turns.acquire(timeout=_SECONDS_TO_WAIT):
            raise StoreError(f"All {_MOST_CONNECTIONS} connections to {self.name} are busy.")
        connection = None
        try:
            try:
                connection, is_new = idle.pop(), False
            except IndexError:
                connection, is_new = self._connect(), True
            yield connection, is_new
        except psycopg.Error as error:
            raise self.explain(error) from error
        finally:
            if connection is not None:
                if connection.pgconn.transaction_status == TransactionStatus.IDLE:
                    idle.append(connection)
                else:
                    connection.close()
            turns.release()

    def _connect(self) -> _Patient:
        connection = _Patient.connect(self._address, autocommit=True)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != _ENCODING:
            connection.close()
            raise StoreError(
                f"{self.name} is a database whose encoding is {encoding}, which cannot hold every "
                f"text; a store needs {_ENCODING}. Make a database for it, CREATE DATABASE … "
                f"ENCODING '{_ENCODING}' TEMPLATE template0, and name that one in [store] url."
            )
        connection.execute(_SETTINGS.encode())
        return connection

    def explain(self, error: psycopg.Error) -> RecsysError:
        """What went wrong at the server, and what to do about it."""
        said = error.diag.message_primary or " ".join(str(error).split())
        for kinds, text in _MEANINGS:
            if isinstance(error, kinds):
                return StoreError(f"{self.name} {text} ({said})")
        if isinstance(error, errors.DiskFull):
            return ResourceError(
                f"{self.name} has no disk space left ({said}). Free some and run the same command "
                "again: what readers see is unchanged."
            )
        return StoreError(f"{self.name} cannot be used ({said}). Check [store] url and the server.")


class MissingTableError(Exception):
    """There is no store, or an edition has just been pruned or rewritten."""


class _SilenceError(errors.OperationalError):
    """The server is there and says nothing."""


class _Patient(psycopg.Connection[Any]):
    """A connection that waits for an answer for so many seconds, and then gives up."""

    limit: float | None = None

    def wait(self, gen: Generator[Any, Any, _T], *args: Any, **options: Any) -> _T:
        return super().wait(_limited(gen, self.limit or _SECONDS_OF_SILENCE), *args, **options)


_INHERITED: Final[list[list[_Patient]]] = []


def _limited(steps: Generator[Any, Any, _T], seconds: float) -> Generator[Any, Any, _T]:
    end = monotonic() + seconds
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and monotonic() > end:
                raise _SilenceError(f"no answer within {seconds:.0f} s")
            wanted = steps.send(ready)
    except StopIteration as end_of_steps:
        answer: _T = end_of_steps.value
        return answer


def _without_schema(url: str) -> tuple[str, str]:
    """The URL as libpq knows it, and the schema that it asks for besides."""
    address, _, query = url.partition("?")
    options = [option for option in query.split("&") if option]
    names = [option.partition("=")[2] for option in options if option.startswith("schema=")]
    others = "&".join(option for option in options if not option.startswith("schema="))
    return f"{address}?{others}" if others else address, names[-1] if names else DEFAULT_SCHEMA


#: Kinds of errors, and what they mean; the first that fits counts.
_MEANINGS: Final = (
    (
        (_SilenceError, errors.QueryCanceled, errors.ConnectionTimeout),
        f"did not answer within {_SECONDS_TO_ANSWER} s. What readers see is unchanged; see to the "
        "server, and run the same command again.",
    ),
    (
        errors.LockNotAvailable,
        "has another process that has been writing, or reading what is to be removed, for a long "
        "time. Try again when it has ended.",
    ),
    (
        errors.ReadOnlySqlTransaction,
        "cannot be written: it is read-only, such as a standby. Readers may use it; to publish, "
        "give [store] url the primary.",
    ),
    (
        errors.InsufficientPrivilege,
        "does not let this account do that. Publishing needs CREATE on the schema, or on the "
        "database before there is one; reading needs USAGE on the schema and SELECT on its tables.",
    ),
    (
        (errors.UndefinedTable, errors.UndefinedColumn, errors.DuplicateTable),
        "has other tables in this schema than a playlist store has: they are somebody else's "
        "(choose another with ?schema= in [store] url), or an edition was pruned or rewritten just "
        "now (try again).",
    ),
    (
        errors.TooManyConnections,
        "has no connection left. Raise max_connections, or let fewer readers connect.",
    ),
    (
        errors.ProgramLimitExceeded,
        "cannot find things by so long an id: a user's id, and that of a blocked track, may take "
        "some 2,600 bytes after the server has compressed it. Nothing is changed; shorten the id, "
        "or choose a store on SQLite or Redis.",
    ),
    (
        errors.OperationalError,
        "cannot be reached, or does not let this account in. Check that it runs, [store] url, "
        "PGPASSWORD and the network between.",
    ),
)
