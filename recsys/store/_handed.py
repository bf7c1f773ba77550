"""The rows handed over for a staging: checked, counted and hashed on their way. Needs Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys.errors import StoreError
from recsys.store._rows import DIGEST_VERSION, PlaylistsDigest, chunks, default_row
from recsys.weeks import Week

_Refuse = Callable[[np.ndarray[Any, Any], str], None]


class Handed:
    """Iterate once to get the rows to be stored, in chunks; then ask what came of them.

    Attributes:
        week: the edition's week.
        default: the default playlist, one row.
        rows: playlists to be stored, so far.
        left_out: playlists of hidden users, so far.
    """

    def __init__(
        self,
        batches: Iterable[pa.RecordBatch],
        default: pa.RecordBatch | pa.Table,
        *,
        week: Week,
        hidden: Set[str] = frozenset(),
        version: int = DIGEST_VERSION,
    ) -> None:
        """Check the default playlist; nothing is taken from ``batches`` yet.

        Args:
            batches: ``schemas.PLAYLISTS``, by ``user_id`` in the order of its UTF-8 bytes.
            default: the default playlist.
            week: the edition's week.
            hidden: users to leave out.
            version: canonical form of the digest that the rows are checked against.

        Raises:
            StoreError: the default playlist is not one row of this week whose user is empty.
        """
        self.week = week
        self.default = default_row(default)
        check_rows(self.default, week, 0, None)
        self.rows = self.left_out = 0
        self._batches = batches
        self._forgotten = pa.array(sorted(hidden), pa.string())
        self._handed = PlaylistsDigest(default, version)
        self._stored = PlaylistsDigest(default)
        self._as_handed = not hidden and version == DIGEST_VERSION

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The rows to be stored.

        Raises:
            StoreError: see :func:`check_rows`.
        """
        last_user = None
        for chunk in chunks(self._batches):
            check_rows(chunk, self.week, self.rows + self.left_out, last_user)
            self._handed.update(chunk)
            users = chunk.column(c.USER_ID)
            last_user = users[-1].as_py()
            kept = chunk
            if not self._as_handed:
                kept = chunk.filter(pc.invert(pc.is_in(users, value_set=self._forgotten)))
                self._stored.update(kept)
            self.rows += kept.num_rows
            self.left_out += chunk.num_rows - kept.num_rows
            yield kept

    def finish(self, digest: str) -> str:
        """After the last row: check all of them together.

        Args:
            digest: what they should be.

        Returns:
            The digest of the rows to be stored: ``digest``, unless some may be left out.

        Raises:
            StoreError: the rows are not those of ``digest``.
        """
        handed = self._handed.hexdigest()
        if handed != digest:
            raise StoreError(
                f"The rows handed over for {self.week} are not those of digest {digest}, but of "
                f"{handed}: nothing is staged. Publish the artefact as it was checked."
            )
        return digest if self._as_handed else self._stored.hexdigest()


def check_rows(chunk: pa.RecordBatch, week: Week, rows_before: int, last_user: str | None) -> None:
    """Check what every store relies on; errors count rows from 1 and name no user.

    Raises:
        StoreError: rows of another week, an empty playlist, positions other than 1, 2, 3, …, a
            spare that is listed already or has positions that are not, or users not in strictly
            growing order.
    """

    def refuse_where(bad: np.ndarray[Any, Any], what: str) -> None:
        if bad.any():
            raise StoreError(f"Row {rows_before + int(bad.argmax()) + 1} {what}.")

    wanted = {c.EDITION: str(week), c.VALID_FROM: week.monday, c.VALID_UNTIL: week.sunday}
    for name, value in wanted.items():
        other = pc.not_equal(chunk.column(name), pa.scalar(value, chunk.schema.field(name).type))
        refuse_where(_bools(other), f"is of another week: its {name} is not {value}")

    tracks = chunk.column(c.TRACKS)
    lengths = _lengths(tracks)
    refuse_where(lengths == 0, "has an empty playlist: leave such users out and count them refused")
    positions = tracks.flatten().field(c.POSITION).to_numpy()
    starts = np.cumsum(lengths) - lengths
    wrong = positions != np.arange(len(positions)) - np.repeat(starts, lengths) + 1
    refuse_where(np.logical_or.reduceat(wrong, starts), "has positions that do not count from 1")
    _check_spares(chunk, lengths, refuse_where)

    users = chunk.column(c.USER_ID)
    if last_user is not None:
        users = pa.concat_arrays([pa.array([last_user], pa.string()), users])
    unordered = _bools(pc.greater_equal(users.slice(0, len(users) - 1), users.slice(1)))
    offset = 0 if last_user is not None else 1
    refuse_where(
        np.concatenate([np.zeros(offset, bool), unordered]),
        "is out of order: sort by user_id, one row a user",
    )


def _check_spares(
    chunk: pa.RecordBatch, tracks_per_row: np.ndarray[Any, Any], refuse_where: _Refuse
) -> None:
    spares = chunk.column(c.SPARES)
    entries = spares.flatten()
    if not len(entries):
        return
    spares_per_row = _lengths(spares)
    ids = pa.concat_arrays(
        [chunk.column(c.TRACKS).flatten().field(c.TRACK_ID), entries.field(c.TRACK_ID)]
    )
    codes = ids.dictionary_encode().indices.to_numpy()
    listed = _grid(codes[: -len(entries)], tracks_per_row, -1)
    waiting = _grid(codes[-len(entries) :], spares_per_row, -2)
    again = np.zeros(chunk.num_rows, bool)
    for n in range(waiting.shape[1]):
        spare = waiting[:, n : n + 1]
        again |= (listed == spare).any(axis=1)
        again |= ((waiting[:, :n] == spare) & (spare >= 0)).any(axis=1)
    refuse_where(again, "has a spare that is in it already")

    not_at = entries.field(c.NOT_AT)
    positions = not_at.flatten().fill_null(0).to_numpy()
    row_of_spare = np.repeat(np.arange(chunk.num_rows), spares_per_row)
    row_of_position = np.repeat(row_of_spare, _lengths(not_at))
    outside = np.zeros(chunk.num_rows, bool)
    outside[row_of_position[(positions < 1) | (positions > tracks_per_row[row_of_position])]] = True
    refuse_where(outside, "has a spare with a position that it does not have")


def _grid(
    values: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any], fill: int
) -> np.ndarray[Any, Any]:
    """Lists that lie one after another, side by side, the shorter ones filled up."""
    grid = np.full((len(lengths), int(lengths.max())), fill, np.int32)
    grid[np.arange(grid.shape[1]) < lengths[:, None]] = values
    return grid


def _lengths(lists: Any) -> np.ndarray[Any, Any]:
    lengths: np.ndarray[Any, Any] = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64)


def _bools(array: Any) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
    return values.astype(bool)
