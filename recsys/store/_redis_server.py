"""One Redis server: how it is reached, what is said to it, and what its errors mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from recsys.errors import StoreError

#: A command and its arguments, as Redis takes them.
Command = tuple[str | bytes | memoryview | int, ...]

_FORM: Final = (
    "expected redis://HOST:PORT/DB?namespace=recsys, or rediss:// for TLS, with USER:PASSWORD@ "
    "before HOST where the server asks for them (or the password in REDISCLI_AUTH)"
)
_SECONDS_TO_WAIT: Final = 10.0
_DEFAULT_PORT: Final = 6379
_DEFAULT_NAMESPACE: Final = "recsys"


class Server:
    """A pool of connections; safe for threads.

    Attributes:
        name: what messages call it: host, port and database, never credentials.
        namespace: what every key of this store begins with.
    """

    def __init__(self, url: str) -> None:
        try:
            address = urlsplit(url)
            host, port = address.hostname or "", address.port or _DEFAULT_PORT
            database = int(address.path.strip("/") or 0)
            options = dict(parse_qsl(address.query, keep_blank_values=True, strict_parsing=True))
        except ValueError:
            host, port, database, options = "", 0, 0, {}
        self.namespace = options.pop("namespace", _DEFAULT_NAMESPACE)
        if not host or options or not self.namespace.isprintable() or ":" in self.namespace:
            raise StoreError(f"That is not the URL of a store on Redis: {_FORM}.")
        self.name = f"Redis at {host}:{port}/{database}"
        password = unquote(address.password or "") or os.environ.get("REDISCLI_AUTH")
        self._pool = redis.ConnectionPool(
            connection_class=redis.SSLConnection
            if address.scheme == "rediss"
            else redis.Connection,
            host=host,
            port=port,
            db=database,
            username=unquote(address.username or "") or None,
            password=password,
            socket_timeout=_SECONDS_TO_WAIT,
            socket_connect_timeout=_SECONDS_TO_WAIT,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._client = redis.Redis(connection_pool=self._pool)

    def ask(self, *commands: Command) -> list[Any]:
        """Send commands in one go over one connection, and return their replies in order.

        Redis runs them one after another, others' between them. This is what a redis-py pipeline
        does, in half its time.

        Raises:
            StoreError: a command failed, or the server cannot be reached.
        """
        with self._connection() as connection:
            return _exchange(connection, commands)

    def change(self, watched: str, decide: Callable[[], Sequence[Command]]) -> None:
        """Run the commands that ``decide`` returns, all or none, and at one instant.

        Where somebody else writes ``watched`` between the decision and that instant, nothing is
        run, and ``decide`` is asked again. No commands, no change.

        This is ``redis.Redis.transaction``, but for one thing: that starts over after a timeout and
        a lost connection, too, for ever, and might do twice what was done.

        Raises:
            StoreError: a command failed, or the server cannot be reached.
        """
        done = None
        while done is None:
            with self._connection() as connection:
                _exchange(connection, [("WATCH", watched)])
                commands = decide()
                if not commands:
                    _exchange(connection, [("UNWATCH",)])
                    return
                *_, done = _exchange(connection, [("MULTI",), *commands, ("EXEC",)])

    def check_keeps(self) -> None:
        """Refuse a server that may drop keys which nobody told it to drop.

        Raises:
            StoreError: it evicts keys without an expiry when its memory is full.
        """
        try:
            memory = self._client.info("memory")
        except exceptions.NoPermissionError:
            return  # nothing to go by; what was dropped is found missing all the same
        except redis.RedisError as error:
            raise self._explain(error) from error
        policy = str(memory.get("maxmemory_policy", ""))
        if int(memory.get("maxmemory", 0)) and policy.startswith("allkeys-"):
            raise StoreError(
                f"{self.name} drops any key when its memory is full (maxmemory-policy {policy}): "
                "playlists and the marks of forgotten users would vanish unseen. Set it to "
                "noeviction or volatile-lru, or give the store a server of its own."
            )

    def close(self) -> None:
        """Close the connections."""
        self._pool.disconnect()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """A connection of the pool; dropped unless all its replies were read."""
        connection: Any = None  # redis-py leaves its methods untyped
        try:
            connection = self._pool.get_connection()
            yield connection
        except BaseException as error:
            if connection is not None:
                connection.disconnect()
            if isinstance(error, redis.RedisError):
                raise self._explain(error) from error
            raise
        finally:
            if connection is not None:
                self._pool.release(connection)

    def _explain(self, error: redis.RedisError) -> StoreError:
        what = f"{self.name} "
        for kind, text in _MEANINGS:
            matches = isinstance(error, kind) if isinstance(kind, type) else kind in str(error)
            if matches:
                return StoreError(what + text)
        return StoreError(f"{what}cannot be used ({error}). Check [store] url and the server.")


def _exchange(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """Send commands, and read all their replies before the first error is raised."""
    refused: exceptions.ResponseError | None = None
    replies: list[Any] = []
    connection.send_packed_command(connection.pack_commands(commands))
    for name, *_ in commands:
        try:
            replies.append(reply := connection.read_response())
        except exceptions.ResponseError as error:
            refused = refused or error
        else:
            if name == "EXEC" and reply is not None:
                within = (part for part in reply if isinstance(part, exceptions.ResponseError))
                refused = refused or next(within, None)
    if refused is not None:
        raise refused
    return replies


#: An exception, or what stands in its message, and what it means; the first that fits counts.
_MEANINGS: Final[tuple[tuple[type[Exception] | str, str], ...]] = (
    (
        exceptions.AuthenticationError,
        "wants another user or password. Give them in [store] url, or the password in "
        "REDISCLI_AUTH.",
    ),
    (
        exceptions.NoPermissionError,
        "does not let this user run a command or touch a key that the store needs. Grant the "
        "user the keys of the namespace and +@read +@write +@transaction +info.",
    ),
    (
        exceptions.OutOfMemoryError,
        "has no memory left (maxmemory). What readers see is unchanged: raise maxmemory, prune "
        "editions, and run the same command again.",
    ),
    ("EXECABORT", "refused a change, most likely for want of memory; nothing is changed."),
    (
        exceptions.ReadOnlyError,
        "is a read-only replica. Readers may use it; to publish, give [store] url the primary.",
    ),
    (
        exceptions.BusyLoadingError,
        "is still loading its data from disk. Try again in a moment.",
    ),
    (
        "MISCONF",
        "cannot save to its disk, and refuses writes until it can. What readers see is "
        "unchanged; see to the server's disk.",
    ),
    ("MOVED", "is a Redis Cluster, which is not supported: use one primary with replicas."),
    (
        "WRONGTYPE",
        "holds something else under this namespace. Choose another with ?namespace= in "
        "[store] url.",
    ),
    (
        exceptions.TimeoutError,
        f"did not answer in time ({_SECONDS_TO_WAIT:.0f} s). What readers see is unchanged; try "
        "again when the server is less busy.",
    ),
    (
        exceptions.ConnectionError,
        "cannot be reached. Check that it runs, [store] url, and the network between.",
    ),
)
