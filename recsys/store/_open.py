"""From a URL to a store."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from recsys.errors import StoreError
from recsys.store._contract import Store
from recsys.store._sqlite import SqliteStore

_FORM: Final = (
    "expected sqlite:///DIR (relative) or sqlite:////DIR (absolute), "
    "with ?shards=2 to 8 behind it for several files an edition"
)
_MOST_SHARDS: Final = 8  # SQLite attaches ten databases to a connection, and two are taken


def open_store(url: str) -> Store:
    """Open a playlist store; takes milliseconds, and creates nothing.

    Args:
        url: ``sqlite:///DIR`` for a directory below the current one, ``sqlite:////DIR`` for an
            absolute one. ``?shards=4`` spreads the editions staged from now on over four files.

    Raises:
        StoreError: the URL has another form, the directory holds something else, or the store
            was written by a newer recsys.
    """
    address, _, query = url.partition("?")
    scheme, slashes, folder = address.partition(":///")
    options = dict(parse_qsl(query, keep_blank_values=True))
    shards = options.pop("shards", "1")
    if scheme != "sqlite" or not slashes or not folder or options:
        raise StoreError(f"{url!r} is not the URL of a store: {_FORM}.")
    if not shards.isascii() or not shards.isdigit() or not 1 <= int(shards) <= _MOST_SHARDS:
        raise StoreError(f"{url!r} asks for {shards!r} shards: {_FORM}.")
    return SqliteStore(Path(folder).absolute(), shards=int(shards))
