"""The rows of one staging on Redis, as readers see them. Needs no NumPy and no Arrow.

====================  ======  ======================================================================
key                   type    holds
====================  ======  ======================================================================
PREFIX:0 … PREFIX:N   hash    by user: a packed playlist, see :mod:`recsys.store._value`. The bucket
                              is the CRC-32 (as in zlib) of the user id's UTF-8 bytes, modulo the
                              ``buckets``
PREFIX:default        string  the default playlist
PREFIX:tracks         hash    by code (in decimal): a JSON array of track id, name or null, and the
                              array of its artists' names
====================  ======  ======================================================================
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, Self

from recsys.store._value import Names


@dataclass(frozen=True)
class Rows:
    """Where the rows of a staging are, and what the codes in them mean.

    Attributes:
        prefix: what their keys begin with.
        buckets: hashes that the playlists are spread over.
        tracks: entries in the table of tracks.
        names: what small codes mean.
    """

    prefix: str
    buckets: int
    tracks: int = 0
    names: Names = field(default_factory=Names)

    @classmethod
    def parse(cls, plain: dict[str, Any]) -> Self:
        """From :meth:`plain`."""
        names = Names.parse(plain["forms"], plain["sources"])
        return cls(plain["prefix"], plain["buckets"], plain["tracks"], names)

    def plain(self) -> dict[str, Any]:
        """As a JSON value."""
        where = {"prefix": self.prefix, "buckets": self.buckets, "tracks": self.tracks}
        return {**where, **self.names._asdict()}

    def bucket(self, user_id: bytes) -> str:
        """The key of the hash that holds a user's playlist."""
        return f"{self.prefix}:{zlib.crc32(user_id) % self.buckets}"

    @property
    def tracks_key(self) -> str:
        """The key of the table of tracks."""
        return f"{self.prefix}:tracks"

    @property
    def default_key(self) -> str:
        """The key of the default playlist."""
        return f"{self.prefix}:default"

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys: the buckets, the table of tracks, the default playlist."""
        buckets = (f"{self.prefix}:{n}" for n in range(self.buckets))
        return (*buckets, self.tracks_key, self.default_key)
