"""From a URL to a store."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from recsys.errors import StoreError
from recsys.store._contract import Store
from recsys.store._sqlite import SqliteStore
from recsys.store._url import redacted

_FORM: Final = (
    "expected sqlite:///DIR (relative) or sqlite:////DIR (absolute), with ?shards=2 to 8 behind "
    "it for several files an edition; or postgresql://HOST/DB, or redis://HOST/DB"
)
_MOST_SHARDS: Final = 8  # SQLite attaches ten databases to a connection, and two are taken


def open_store(url: str) -> Store:
    """Open a playlist store; takes milliseconds, and creates nothing.

    Args:
        url: ``sqlite:///DIR`` for a directory below the current one, ``sqlite:////DIR`` for an
            absolute one. ``?shards=4`` spreads the editions staged from now on over four files.
            ``postgresql://USER:PASSWORD@HOST:PORT/DB?schema=recsys&sslmode=verify-full`` for a
            schema of a PostgreSQL database; what is left out libpq takes from the environment.
            ``redis://USER:PASSWORD@HOST:PORT/DB?namespace=recsys``, ``rediss://`` with TLS.

    Raises:
        StoreError: the URL has another form, the driver is not installed, what is there is not a
            store, or the store was written by a newer recsys.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return _sqlite(url)
    try:
        if scheme == "postgresql" and rest:
            from recsys.store._postgres import PostgresStore

            return PostgresStore(url)
        if scheme in ("redis", "rediss") and rest:
            from recsys.store._redis import RedisStore

            return RedisStore(url)
    except ModuleNotFoundError as error:
        if error.name not in ("psycopg", "redis"):
            raise
        extra = {"psycopg": "postgresql"}.get(error.name, error.name)
        raise StoreError(
            f"A store at {scheme}:// needs the package {error.name}, which is not installed: "
            f"pip install 'recsys-weekly[{extra}]'."
        ) from None
    raise _refused(url)


def _sqlite(url: str) -> SqliteStore:
    address, _, query = url.partition("?")
    _, slashes, folder = address.partition(":///")
    options = dict(parse_qsl(query, keep_blank_values=True))
    shards = options.pop("shards", "1")
    if not slashes or not folder or options:
        raise _refused(url)
    if not shards.isascii() or not shards.isdigit() or not 1 <= int(shards) <= _MOST_SHARDS:
        raise StoreError(f"{url!r} asks for {shards!r} shards: {_FORM}.")
    return SqliteStore(Path(folder).absolute(), shards=int(shards))


def _refused(url: str) -> StoreError:
    return StoreError(f"{redacted(url)!r} is not the URL of a store: {_FORM}.")
