"""Writing the rows of a staging to Redis, and reading them back. Needs NumPy and Arrow."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

import pyarrow as pa

from recsys.errors import StoreError
from recsys.store._arrow import Unpacker
from recsys.store._frames import Data, Frames
from recsys.store._handed import Handed, digest_of
from recsys.store._redis_reader import Rows
from recsys.store._redis_server import Command, Server
from recsys.store._rows import CHUNK_ROWS
from recsys.store._value import DAMAGED
from recsys.weeks import Week

#: How long rows live that no ledger knows: what a killed publisher leaves behind goes by itself.
SECONDS_UNREGISTERED: Final = 900

_BUCKETS: Final = 128
_TRACKS_AT_ONCE: Final = 16_384


def write_rows(
    server: Server, handed: Handed, *, revision: int, digest: str, expected: str
) -> Rows:
    """Write playlists under keys of their own, and read them back; they expire unless registered.

    Args:
        server: where to.
        handed: the rows.
        revision: for the name of the keys.
        digest: likewise.
        expected: digest of the rows handed over.

    Raises:
        StoreError: the rows are not in order, not of this week, not what is expected, or read back
            otherwise than they were written. Nothing is left of them then.
    """
    rows = new_rows(server, handed.week, revision, digest)
    writer = _Writer(server, rows)
    done = False
    try:
        for frames in handed:
            writer.add(frames)
        stored = handed.stored_digest(expected)
        rows = writer.finish(handed)
        if _read_back(server, handed.week, rows, handed.rows) != stored:
            raise _other_rows(server, handed.week)
        done = True
    except OSError as error:
        raise StoreError(
            f"The playlists of {handed.week} could not be handed over ({error}): nothing is staged."
        ) from error
    finally:
        if not done:
            discard(server, rows)
    return rows


def new_rows(server: Server, week: Week, revision: int, digest: str) -> Rows:
    """Where the rows of a staging go."""
    name = f"{week}-r{revision}-{digest[:12]}-{uuid.uuid4().hex[:8]}"
    return Rows(f"{server.namespace}:rows:{name}", _BUCKETS)


def write_playlists(server: Server, rows: Rows, frames: Frames) -> None:
    """Write some playlists, whatever others do to the same keys."""
    _Writer(server, rows).add_playlists(frames)


def read_again(server: Server, week: Week, rows: Rows, frames: Frames) -> Data:
    """The frames of the users of ``frames``, as they are stored.

    Raises:
        StoreError: playlists are missing.
    """
    with _reading(server, week):
        users = frames.keys()
        return Frames.of(users, _values(server, rows, users)).data


def write_shared(server: Server, rows: Rows, handed: Handed, default: Frames) -> Rows:
    """Write the default playlist and the names of tracks, and read them back.

    Args:
        server: where to.
        rows: where the playlists are.
        handed: whose tracks they are.
        default: the default playlist.

    Returns:
        What readers need.

    Raises:
        StoreError: they read back otherwise than they were written.
    """
    keep_alive(server, rows)
    writer = _Writer(server, rows)
    writer.add(default)
    rows = writer.finish(handed)
    with _reading(server, handed.week):
        (value,) = default.values()
        whole = server.ask(("GET", rows.default_key)) == [value]
        whole = whole and _tracks(server, rows).equals(handed.tracks())
    if not whole:
        raise _other_rows(server, handed.week)
    return rows


def expiring(key: str, write: Command) -> tuple[Command, ...]:
    """What writes a key that never is without an expiry."""
    return ("MULTI",), write, ("EXPIRE", key, SECONDS_UNREGISTERED), ("EXEC",)


def _other_rows(server: Server, week: Week) -> StoreError:
    return StoreError(
        f"The playlists of {week} read back from {server.name} are not those that were written: "
        "nothing is staged. The server may be failing."
    )


def keep_alive(server: Server, rows: Rows) -> None:
    """Let rows that are not registered yet live on for a while."""
    server.ask(*(("EXPIRE", key, SECONDS_UNREGISTERED) for key in rows.keys))


def discard(server: Server, rows: Rows) -> None:
    """Let go of rows that are not registered; where that fails they expire."""
    try:
        server.ask(("UNLINK", *rows.keys))
    except StoreError:
        return


def read_rows(server: Server, week: Week, rows: Rows) -> Iterator[pa.RecordBatch]:
    """All playlists of a staging, as ``schemas.PLAYLISTS`` in user order.

    Raises:
        StoreError: rows are missing or damaged.
    """
    with _reading(server, week):
        unpacker = Unpacker(week, _tracks(server, rows), rows.names)
        for users, values in _playlists(server, rows):
            yield unpacker.batch(users, values)


def read_default(server: Server, week: Week, rows: Rows) -> pa.RecordBatch:
    """The default playlist of a staging, as ``schemas.PLAYLISTS``.

    Raises:
        StoreError: it is missing or damaged.
    """
    with _reading(server, week):
        unpacker = Unpacker(week, _tracks(server, rows), rows.names)
        return unpacker.batch([b""], server.ask(("GET", rows.default_key)))


def _read_back(server: Server, week: Week, rows: Rows, count: int) -> str:
    """The digest of the rows as they are stored, if there are so many."""

    def frames() -> Iterator[Data]:
        yield Frames.of([b""], server.ask(("GET", rows.default_key))).data
        for users, values in _playlists(server, rows):
            yield Frames.of(users, values).data

    keep_alive(server, rows)
    with _reading(server, week):
        return digest_of(week, frames(), count, _tracks(server, rows), rows.names)


@contextlib.contextmanager
def _reading(server: Server, week: Week) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, *DAMAGED) as error:
        raise StoreError(
            f"The playlists of {week} in {server.name} are missing or damaged ({error!r}). Run "
            "the week again: the same command writes the same playlists."
        ) from error


def _playlists(server: Server, rows: Rows) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Users and their packed playlists, some at a time, in user order."""
    parts = server.ask(*(("HKEYS", key) for key in rows.keys[: rows.buckets]))
    users = sorted(chain.from_iterable(parts))
    for start in range(0, len(users), CHUNK_ROWS):
        part = users[start : start + CHUNK_ROWS]
        yield part, _values(server, rows, part)


def _values(server: Server, rows: Rows, users: Sequence[bytes]) -> list[bytes]:
    """The packed playlists of some users, in the order of the users."""
    buckets: dict[str, list[bytes]] = {}
    for user in users:
        buckets.setdefault(rows.bucket(user), []).append(user)
    commands: list[Command] = [("HMGET", key, *members) for key, members in buckets.items()]
    replies = server.ask(*commands)
    found = dict(zip(chain(*buckets.values()), chain(*replies), strict=True))
    return [found[user] for user in users]


def _tracks(server: Server, rows: Rows) -> pa.StringArray:
    """What lies by the codes of tracks, from 1."""
    starts = range(1, rows.tracks + 1, _TRACKS_AT_ONCE)
    parts = server.ask(
        *(
            ("HMGET", rows.tracks_key, *range(n, min(n + _TRACKS_AT_ONCE, rows.tracks + 1)))
            for n in starts
        )
    )
    return pa.array(list(chain(*parts)), pa.binary()).cast(pa.string())


class _Writer:
    """Writes playlists chunk by chunk."""

    def __init__(self, server: Server, rows: Rows) -> None:
        self._server = server
        self._rows = rows
        self._begun: set[str] = set()

    def add(self, frames: Frames) -> None:
        """Write the next playlists; the default playlist comes first, alone."""
        if not self._begun:
            (default,) = frames.values()
            self._server.ask(("SET", self._rows.default_key, default, "EX", SECONDS_UNREGISTERED))
            self._begun.add(self._rows.default_key)
            return
        self.add_playlists(frames)

    def add_playlists(self, frames: Frames) -> None:
        """Write the next playlists of users."""
        buckets: dict[str, list[str | bytes | memoryview]] = {}
        for user, value in self._pairs(frames):
            buckets.setdefault(self._rows.bucket(user), []).extend((user, value))
        self._write(buckets)
        self._server.ask(*(("EXPIRE", key, SECONDS_UNREGISTERED) for key in self._begun))

    def finish(self, handed: Handed) -> Rows:
        """Write the names of tracks; returns what readers need."""
        tracks = handed.tracks().to_pylist()
        for start in range(0, len(tracks), _TRACKS_AT_ONCE):
            fields: list[str | bytes | memoryview] = []
            for code, names in enumerate(tracks[start : start + _TRACKS_AT_ONCE], start + 1):
                fields += (str(code), names)
            self._write({self._rows.tracks_key: fields})
        return replace(self._rows, tracks=len(tracks), names=handed.names())

    @staticmethod
    def _pairs(frames: Frames) -> Iterator[tuple[bytes, memoryview]]:
        return zip(frames.keys(), frames.values(), strict=True)

    def _write(self, hashes: dict[str, list[str | bytes | memoryview]]) -> None:
        """Set fields of hashes; a hash never exists without an expiry."""
        commands: list[Command] = []
        for key, fields in hashes.items():
            write: Command = ("HSET", key, *fields)
            if key in self._begun:
                commands.append(write)
                continue
            self._begun.add(key)
            commands += expiring(key, write)
        self._server.ask(*commands)
