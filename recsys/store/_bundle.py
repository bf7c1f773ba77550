"""Playlists in bundles, as SQLite keeps them. Needs the standard library alone.

A bundle holds the playlists of some users next to each other in the order of their UTF-8 bytes.
For each there is, big-endian: 2 (int16), the length of the user id (int32), the user id, the length
of the value (int32), the value (:mod:`recsys.store._value`): a row of PostgreSQL's binary ``COPY``.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

_START: Final = Struct(">hi")
_COUNT_BYTES: Final = 2
_LENGTH_BYTES: Final = 4


def find(bundle: bytes, user: bytes) -> bytes | None:
    """The value of a user, if the bundle has one.

    Raises:
        ValueError: the bundle is damaged.
    """
    return next((value for key, value in pairs(bundle) if key == user), None)


def holds_first(bundle: bytes, user: bytes) -> bool:
    """Whether a user is the first in a bundle."""
    return bundle.startswith(_START.pack(2, len(user)) + user)


def pairs(bundle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All users and their values.

    Raises:
        ValueError: the bundle is damaged.
    """
    at = 0
    while at < len(bundle):
        first = at + _COUNT_BYTES + _LENGTH_BYTES
        last = first + _length(bundle, at + _COUNT_BYTES)
        at = last + _LENGTH_BYTES + _length(bundle, last)
        yield bundle[first:last], bundle[last + _LENGTH_BYTES : at]


def _length(bundle: bytes, at: int) -> int:
    first = at + _LENGTH_BYTES
    length = int.from_bytes(bundle[at:first], "big", signed=True)
    if not 0 <= length <= len(bundle) - first:
        raise ValueError("a bundle of playlists ends too early")
    return length
