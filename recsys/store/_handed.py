"""The rows handed over for a staging: checked, packed and hashed on their way. Needs Arrow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Set
from itertools import chain
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys import schemas
from recsys._pipelined import pipelined
from recsys.errors import StoreError
from recsys.store._frames import Data, Frames
from recsys.store._pack import Packer, RefusedRowError
from recsys.store._rows import check_rows, chunks, default_row, not_playlists
from recsys.store._value import Names, Values
from recsys.weeks import Week

_SAMPLED: Final = 1  # row of each chunk


class EditionDigest:
    """SHA-256 over an edition's rows in packed form, the same for every store.

    Hashed are a heading (``recsys playlists 2``, a line feed, the week, a line feed); the frames
    of the playlists by user in order, the default playlist first, under an empty user; the frames
    of the tracks by code; and, as JSON, the names of forms and sources, and how many frames of
    each kind there were. Codes count from 1 as rows name tracks: first the tracks of a row, then
    its spares, each before the track that it is there because of. Of frames see
    :mod:`recsys.store._frames`, of values :mod:`recsys.store._value`.
    """

    def __init__(self, week: Week, begun: Any = None) -> None:
        self._week = week
        self._hash = begun or hashlib.sha256(f"recsys playlists 2\n{week}\n".encode())

    def fork(self) -> Self:
        """Another digest that has taken in what this one has."""
        return type(self)(self._week, self._hash.copy())

    def update(self, frames: Data) -> None:
        """Take in the next playlists."""
        self._hash.update(frames)

    def finish(self, rows: int, tracks: pa.StringArray, names: Names) -> str:
        """The digest; there can be no more rows afterwards.

        Args:
            rows: playlists, without the default playlist.
            tracks: what lies by their codes, from 1.
            names: what small codes mean.
        """
        self._hash.update(Frames.numbered(tracks).data)
        self._hash.update(json.dumps([rows, len(tracks), *names]).encode())
        return self._hash.hexdigest()


def digest_of(
    week: Week, frames: Iterable[Data], rows: int, tracks: pa.StringArray, names: Names
) -> str:
    """The digest of ``rows`` playlists that a store holds, and the default playlist before them."""
    digest = EditionDigest(week)
    for _ in pipelined(digest.update, frames):
        pass
    return digest.finish(rows, tracks, names)


def playlists_digest(batches: Iterable[pa.RecordBatch], default: pa.RecordBatch | pa.Table) -> str:
    """SHA-256 of an edition's playlists in packed form, the same for every store.

    It depends on the rows and their order alone: not on how they are cut into batches, nor on
    Arrow's offsets, nor on what lies under a null.

    Args:
        batches: ``schemas.PLAYLISTS``, in user order.
        default: the default playlist, one row whose ``user_id`` is empty.

    Raises:
        StoreError: no store would take these rows.
    """
    return remaining_digest(batches, default, frozenset())


def remaining_digest(
    batches: Iterable[pa.RecordBatch],
    default: pa.RecordBatch | pa.Table,
    hidden: Set[str],
    expected: str | None = None,
) -> str:
    """:func:`playlists_digest` of the rows that are left without some users.

    Args:
        batches: ``schemas.PLAYLISTS``, in user order.
        default: the default playlist.
        hidden: the users.
        expected: the digest that all of ``batches`` must have, if there is one to be checked.

    Raises:
        StoreError: no store would take these rows, or they are not those of ``expected``.
    """
    week = default_row(default).column(c.EDITION)[0].as_py()
    handed = Handed(batches, default, week=Week.parse(week), hidden=hidden)
    for _ in handed:
        pass
    return handed.stored_digest(expected)


class Handed:
    """Iterate once to get the rows to be stored, packed, in chunks; then ask what came of them.

    The first chunk is the default playlist alone, under an empty user.

    Attributes:
        week: the edition's week.
        rows: playlists to be stored, so far.
        left_out: playlists of hidden users, so far.
        hidden: users that are left out.
    """

    def __init__(
        self,
        batches: Iterable[pa.RecordBatch],
        default: pa.RecordBatch | pa.Table,
        *,
        week: Week,
        hidden: Set[str] = frozenset(),
    ) -> None:
        """Check the default playlist; nothing is taken from ``batches`` yet.

        Args:
            batches: ``schemas.PLAYLISTS``, by ``user_id`` in the order of its UTF-8 bytes.
            default: the default playlist.
            week: the edition's week.
            hidden: users to leave out.

        Raises:
            StoreError: the default playlist is not one row of this week whose user is empty.
        """
        self.week = week
        self.rows = self.left_out = 0
        self.hidden = frozenset(hidden)
        self._batches = batches
        self._default = default_row(default)
        check_rows(self._default, week, 0, None)
        self._forgotten = pa.array(sorted(hidden), pa.string())
        self._handed = self._stored = _Packing(week, Packer())
        self._digest = EditionDigest(week)
        self._stored_digest: EditionDigest | None = None
        self._last_user = ""

    def __iter__(self) -> Iterator[Frames]:
        """The rows to be stored.

        Raises:
            StoreError: see :func:`~recsys.store._rows.check_rows` and
                :meth:`~recsys.store._pack.Packer.pack`.
        """
        yield from pipelined(
            self._hash, pipelined(self._pack, chain([None], chunks(self._batches)))
        )

    def _pack(self, chunk: pa.RecordBatch | None) -> tuple[Frames, Frames | None]:
        """The frames of what is handed over, and of what is to be stored where that is less."""
        if chunk is None:
            return self._handed.pack(self._default, 0), None
        before = self.rows + self.left_out
        check_rows(chunk, self.week, before, self._last_user)
        users = chunk.column(c.USER_ID)
        self._last_user = users[-1].as_py()
        kept = chunk
        hidden = pc.is_in(users, value_set=self._forgotten)
        if pc.any(hidden).as_py():
            kept = chunk.filter(pc.invert(hidden))
            if self._stored is self._handed:
                self._stored = self._handed.fork()
        self.rows += kept.num_rows
        self.left_out += chunk.num_rows - kept.num_rows
        frames = self._handed.pack(chunk, before)
        return frames, None if self._stored is self._handed else self._stored.pack(kept, before)

    def _hash(self, packed: tuple[Frames, Frames | None]) -> Frames:
        frames, stored = packed
        if stored is None:
            self._digest.update(frames.data)
            return frames
        self._stored_digest = self._stored_digest or self._digest.fork()
        self._digest.update(frames.data)
        self._stored_digest.update(stored.data)
        return stored

    def digest(self) -> str:
        """After the last row: the digest of all the rows that were handed over.

        Raises:
            StoreError: they were packed wrongly.
        """
        return self._handed.finish(self._digest, self.rows + self.left_out)

    def stored_digest(self, expected: str | None) -> str:
        """After the last row: the digest of the rows to be stored, which is what they were checked
        against unless some were left out; None for rows that are not checked.

        Raises:
            StoreError: the rows handed over are not those of ``expected``.
        """
        handed = self.digest()
        if expected is not None and handed != expected:
            raise StoreError(
                f"The rows handed over for {self.week} are not those of digest {expected}, but of "
                f"{handed}: nothing is staged. Publish the artefact as it was checked."
            )
        if self._stored_digest is None:
            return handed
        return self._stored.finish(self._stored_digest, self.rows)

    def packer(self) -> Packer:
        """After the last row: one that gives the same codes again."""
        return self._stored.packer

    def tracks(self) -> pa.StringArray:
        """What is to be stored by the codes of tracks, from 1."""
        return self._stored.tracks

    def names(self) -> Names:
        """What small codes mean."""
        return self._stored.names


class _Packing:
    """Packs rows, and unpacks a few of them again to compare."""

    def __init__(self, week: Week, packer: Packer) -> None:
        self.tracks = pa.array([], pa.string())
        self.names = Names()
        self._week = week
        self.packer = packer
        self._random = np.random.default_rng(0)
        self._sampled: list[tuple[dict[str, Any], bytes]] = []

    def fork(self) -> Self:
        """Another one that has seen the same rows."""
        return type(self)(self._week, self.packer.fork())

    def pack(self, chunk: pa.RecordBatch, rows_before: int) -> Frames:
        """Pack the next rows."""
        try:
            frames = self.packer.pack(chunk)
        except RefusedRowError as error:
            raise StoreError(f"Row {rows_before + error.row + 1} {error.what}.") from None
        except (pa.ArrowException, IndexError) as error:
            raise not_playlists(error) from error
        if chunk.num_rows:
            for n in set(self._random.integers(chunk.num_rows, size=_SAMPLED).tolist()):
                (value,) = frames.slice(n, n + 1).values()
                self._sampled.append((chunk.slice(n, 1).to_pylist()[0], bytes(value)))
        return frames

    def finish(self, digest: EditionDigest, rows: int) -> str:
        """After the last row: the digest."""
        self.tracks, self.names = self.packer.tracks(), self.packer.names()
        values = Values(str(self._week), self.names)
        for row, value in self._sampled:
            if repr(_row(values, row[c.USER_ID], value, self.tracks)) != repr(row):
                raise StoreError(
                    f"A playlist of {self._week} was packed wrongly: nothing is staged. This is a "
                    "bug in recsys, or failing memory."
                )
        return digest.finish(rows, self.tracks, self.names)


def _row(values: Values, user_id: str, value: bytes, tracks: pa.StringArray) -> dict[str, Any]:
    """A value as a row of ``schemas.PLAYLISTS``."""

    def look_up(codes: list[int]) -> list[str]:
        return [tracks[code - 1].as_py() for code in codes]

    playlist = values.playlist(user_id, value, look_up)
    entries = [
        {**spare.track.__dict__, c.NOT_AT: list(spare.not_at)}
        for spare in values.spares(value, look_up)
    ]
    row = {**playlist.to_dict(), c.SPARES: entries}
    row |= {c.VALID_FROM: playlist.valid_from, c.VALID_UNTIL: playlist.valid_until}
    for entry in entries:
        del entry["position"]
        entry[c.ARTIST_NAMES] = list(entry[c.ARTIST_NAMES])
    return {name: row[name] for name in schemas.PLAYLISTS.names}
