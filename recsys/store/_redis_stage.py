"""Writing the rows of a staging to Redis, and reading them back. Needs NumPy and Arrow."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import StoreError
from recsys.store._handed import Handed
from recsys.store._pack import RECORD, Packed, Packer, TrackNames, Unpacker
from recsys.store._redis_reader import DAMAGED, HEADING, Rows
from recsys.store._redis_server import Command, Server
from recsys.store._rows import CHUNK_ROWS, playlists_digest
from recsys.weeks import Week

#: How long rows live that no ledger knows: what a killed publisher leaves behind goes by itself.
SECONDS_UNREGISTERED: Final = 900

_BUCKETS: Final = 128
_TRACKS_AT_ONCE: Final = 16_384
_NO_POSITIONS: Final = "[]"


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
    name = f"{handed.week}-r{revision}-{digest[:12]}-{uuid.uuid4().hex[:8]}"
    rows = Rows(f"{server.namespace}:rows:{name}", _BUCKETS)
    writer = _Writer(server, rows)
    done = False
    try:
        for chunk in handed:
            writer.add(chunk)
        stored = handed.finish(expected)
        rows = writer.finish(handed.default)
        if _read_back(server, handed.week, rows) != stored:
            raise StoreError(
                f"The playlists of {handed.week} read back from {server.name} are not those that "
                "were written: nothing is staged. Either one track has two names, or the server "
                "is failing."
            )
        done = True
    except OSError as error:
        raise StoreError(
            f"The playlists of {handed.week} could not be handed over ({error}): nothing is staged."
        ) from error
    finally:
        if not done:
            discard(server, rows)
    return rows


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
        yield from _batches(server, rows, _unpacker(server, week, rows))


def _read_back(server: Server, week: Week, rows: Rows) -> str:
    keep_alive(server, rows)
    with _reading(server, week):
        unpacker = _unpacker(server, week, rows)
        (value,) = server.ask(("GET", rows.default_key))
        default = unpacker.batch([_columns(rows, b"", value)])
        return playlists_digest(_batches(server, rows, unpacker), default)


@contextlib.contextmanager
def _reading(server: Server, week: Week) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, *DAMAGED) as error:
        raise StoreError(
            f"The playlists of {week} in {server.name} are missing or damaged ({error!r}). Run "
            "the week again: the same command writes the same playlists."
        ) from error


def _batches(server: Server, rows: Rows, unpacker: Unpacker) -> Iterator[pa.RecordBatch]:
    parts = server.ask(*(("HKEYS", key) for key in rows.keys[: rows.buckets]))
    users = pa.chunked_array([pa.array(part, pa.binary()) for part in parts], pa.binary())
    users = users.take(pc.sort_indices(users))
    for start in range(0, len(users), CHUNK_ROWS):
        part = users.slice(start, CHUNK_ROWS).to_pylist()
        values = _values(server, rows, part)
        yield unpacker.batch([_columns(rows, *row) for row in zip(part, values, strict=True)])


def _unpacker(server: Server, week: Week, rows: Rows) -> Unpacker:
    def tracks() -> Iterator[TrackNames]:
        for start in range(1, rows.tracks + 1, _TRACKS_AT_ONCE):
            codes = range(start, min(start + _TRACKS_AT_ONCE, rows.tracks + 1))
            (texts,) = server.ask(("HMGET", rows.tracks_key, *codes))
            names = json.loads(b"[%b]" % b",".join(texts))
            for code, (track_id, name, artists) in zip(codes, names, strict=True):
                yield TrackNames(code, track_id, name, json.dumps(artists))

    return Unpacker(week, tracks(), list(rows.sources))


def _values(server: Server, rows: Rows, users: Sequence[bytes]) -> list[bytes]:
    """The packed playlists of some users, in the order of the users."""
    buckets: dict[str, list[bytes]] = {}
    for user in users:
        buckets.setdefault(rows.bucket(user), []).append(user)
    commands: list[Command] = [("HMGET", key, *members) for key, members in buckets.items()]
    replies = server.ask(*commands)
    found = dict(zip(chain(*buckets.values()), chain(*replies), strict=True))
    return [found[user] for user in users]


def _columns(rows: Rows, user: bytes, value: bytes) -> tuple[Any, ...]:
    """A value as the columns of ``Packed``."""
    form, tracks, spares = HEADING.unpack_from(value)
    kind, relaxed = rows.forms[form]
    first_spare = HEADING.size + tracks * RECORD.itemsize
    end = first_spare + spares * RECORD.itemsize
    return (
        user.decode(),
        kind,
        json.dumps(relaxed) if relaxed else "[]",
        value[HEADING.size : first_spare],
        value[first_spare:end],
        value[end:].decode() or _NO_POSITIONS,
    )


class _Writer:
    """Writes playlists chunk by chunk."""

    def __init__(self, server: Server, rows: Rows) -> None:
        self._server = server
        self._rows = rows
        self._packer = Packer()
        self._forms: dict[tuple[str, str], int] = {}
        self._tracks = 0
        self._begun: set[str] = set()

    def add(self, chunk: pa.RecordBatch) -> None:
        """Write the next playlists."""
        packed = self._packer.pack(chunk)
        buckets: dict[str, list[str | bytes]] = {}
        for user, value in zip(packed.user_id.to_pylist(), self._values(packed), strict=True):
            buckets.setdefault(self._rows.bucket(user.encode()), []).extend((user, value))
        self._write(buckets)
        self._write_tracks(self._packer.take_tracks())
        self._server.ask(*(("EXPIRE", key, SECONDS_UNREGISTERED) for key in self._begun))

    def finish(self, default: pa.RecordBatch) -> Rows:
        """Write the default playlist and the rest of the tracks; returns what readers need."""
        (value,) = self._values(self._packer.pack(default))
        self._server.ask(("SET", self._rows.default_key, value, "EX", SECONDS_UNREGISTERED))
        self._write_tracks([*self._packer.take_tracks(), *self._packer.nameless()])
        return replace(
            self._rows,
            tracks=self._tracks,
            forms=tuple((kind, tuple(json.loads(relaxed))) for kind, relaxed in self._forms),
            sources=tuple(self._packer.sources),
        )

    def _values(self, packed: Packed) -> Iterator[bytes]:
        forms = zip(packed.kind.to_pylist(), packed.relaxed.to_pylist(), strict=True)
        counts = (
            (pc.binary_length(column).to_numpy() // RECORD.itemsize).tolist()
            for column in (packed.tracks, packed.spares)
        )
        for form, tracks, spares, *parts, not_at in zip(
            forms,
            *counts,
            packed.tracks.to_pylist(),
            packed.spares.to_pylist(),
            packed.not_at.to_pylist(),
            strict=True,
        ):
            code = self._forms.setdefault(form, len(self._forms))
            end = b"" if not_at == _NO_POSITIONS else not_at.encode()
            yield b"".join((HEADING.pack(code, tracks, spares), *parts, end))

    def _write_tracks(self, tracks: Sequence[TrackNames]) -> None:
        self._tracks += len(tracks)
        for start in range(0, len(tracks), _TRACKS_AT_ONCE):
            fields: list[str | bytes] = []
            for track in tracks[start : start + _TRACKS_AT_ONCE]:
                names = json.dumps([track.track_id, track.track_name], ensure_ascii=False)
                fields += (str(track.code), f"{names[:-1]}, {track.artist_names}]")
            self._write({self._rows.tracks_key: fields})

    def _write(self, hashes: dict[str, list[str | bytes]]) -> None:
        """Set fields of hashes; a hash never exists without an expiry."""
        commands: list[Command] = []
        for key, fields in hashes.items():
            write: Command = ("HSET", key, *fields)
            if key in self._begun:
                commands.append(write)
                continue
            self._begun.add(key)
            expire: Command = ("EXPIRE", key, SECONDS_UNREGISTERED)
            commands += [("MULTI",), write, expire, ("EXEC",)]
        self._server.ask(*commands)
