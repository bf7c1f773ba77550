"""The user-track matrix: how strongly each listener holds to each song."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from recsys import _slices, schemas
from recsys import columns as c
from recsys._codes import Ids, to_dates
from recsys._entries import Entries, entries
from recsys._pipelined import ahead
from recsys._side_by_side import SideBySide, Stretch
from recsys._tables import part_files, running_out
from recsys.settings import ListensSettings

_FIXED_POINT: Final = 2.0**20
_TASTE: Final = pa.schema(list(schemas.TASTE)[2:])
_OF_SONG: Final = pa.schema(
    [
        (name, schemas.CATALOGUE.field(name).type)
        for name in (
            c.SONG_KEY,
            c.TRACK_ID,
            c.TRACK_NAME,
            c.ARTIST_IDS,
            c.ARTIST_NAMES,
            c.AVAILABLE,
        )
    ]
)
_PAIRS: Final[dict[str, type[np.generic]]] = {
    "user": np.int32,
    "song": np.int32,
    "track": np.int32,
    "weight": np.float64,
    "heard": np.bool_,
    "disliked": np.bool_,
}
_NOBODY: Final = pa.table(
    {c.USER_ID: pa.array([], pa.string()), c.LAST_HEARD: pa.array([], pa.date32())}
)


@dataclass(frozen=True)
class TasteMatrix:
    """Users by songs, and what is needed to read it.

    A column is a song: all tracks of one song key, shown as its most played available track.

    Attributes:
        users: user_id (string, sorted by bytes), last_heard (date32), eligible (bool); one row per
            row of the matrix.
        songs: song_key (sorted by bytes), track_id, track_name, artist_ids, artist_names, available
            (bool), listeners (int64), popularity (float64, the column sum of ``strength``); one row
            per column of the matrix.
        tracks: track_id (string, sorted by bytes), song (int32): every known track and its column.
        strength: float32 ``[users, songs]``, positive only: ``log(1 + w)`` of the decayed and
            weighted events ``w``. The model's confidence is ``1 + alpha * strength``.
        played_track: int32, beside ``strength.data``: the row in ``tracks`` of that song's track
            which the user plays most; -1 for a song that was saved or liked but never played.
        excluded: bool ``[users, songs]``: heard or disliked, never to be recommended.
    """

    users: pa.Table
    songs: pa.Table
    tracks: pa.Table
    strength: csr_matrix
    played_track: npt.NDArray[np.int32]
    excluded: csr_matrix

    @property
    def eligible(self) -> pa.Table:
        """user_id of the users who get a playlist, sorted."""
        return self.users.filter(self.users["eligible"]).select(["user_id"])

    @property
    def rows(self) -> dict[str, int]:
        """How much there is."""
        return {
            "users": len(self.users),
            "eligible": len(self.eligible),
            "songs": len(self.songs),
            "pairs": self.strength.nnz,
        }

    def save(self, folder: Path) -> None:
        """Write it as Parquet and npy files into ``folder``."""
        pq.write_table(self.eligible, folder / "eligible.parquet", compression="zstd")
        for name in ("users", "songs", "tracks"):
            pq.write_table(getattr(self, name), folder / f"{name}.parquet", compression="zstd")
        np.save(folder / "played_track.npy", self.played_track)
        for name in ("strength", "excluded"):
            matrix = getattr(self, name)
            np.save(folder / f"{name}_indptr.npy", matrix.indptr.astype(np.int64))
            np.save(folder / f"{name}_indices.npy", matrix.indices.astype(np.int32))
        np.save(folder / "strength_data.npy", self.strength.data)

    @classmethod
    def load(cls, folder: Path, user_id: str | None = None) -> TasteMatrix:
        """Read what :meth:`save` wrote, or the parts of a matrix that is kept by listeners.

        Args:
            folder: of the matrix.
            user_id: whose row is wanted; of a matrix kept by listeners it is then the only one.
        """
        if (folder / _slices.FOLDER).is_dir():
            return _slices.read_slice(folder, part_files(folder / _slices.FOLDER), user_id)
        users, songs, tracks = (
            pq.read_table(folder / f"{name}.parquet") for name in ("users", "songs", "tracks")
        )
        shape = (len(users), len(songs))

        def matrix(name: str, data: npt.NDArray[Any] | None) -> csr_matrix:
            indices = np.load(folder / f"{name}_indices.npy")
            values = np.ones(len(indices), bool) if data is None else data
            return csr_matrix((values, indices, np.load(folder / f"{name}_indptr.npy")), shape)

        return cls(
            users=users,
            songs=songs,
            tracks=tracks,
            strength=matrix("strength", np.load(folder / "strength_data.npy")),
            played_track=np.load(folder / "played_track.npy"),
            excluded=matrix("excluded", None),
        )


def build_matrix(
    taste: Path,
    catalogue: Path,
    *,
    cutoff: date,
    active_days: int,
    weights: ListensSettings,
    forgotten: Collection[str],
    spill: Path,
) -> TasteMatrix:
    """Build the matrix from a taste state.

    A user's events on a song, decayed and each times its weight, add up to ``w``; the strength is
    ``log(1 + w)`` where ``w`` is positive, so that the tenth play says less than the first.

    Args:
        taste: a file of :data:`recsys.schemas.TASTE` at ``cutoff``.
        catalogue: a file of :data:`recsys.schemas.CATALOGUE` with every track of ``taste``.
        cutoff: the state's day.
        active_days: a user with a listen in so many days before ``cutoff`` is eligible.
        weights: what each event weighs.
        forgotten: users that must not be in it.
        spill: the folder that the work is for.

    Raises:
        ArtefactError: the taste state is not sorted by user.
        ResourceError: memory ran out.
    """
    with running_out(spill):
        known = _known(catalogue)
        times = np.zeros(len(known), np.int64)
        found = [
            _listeners(stretch, known, times, weights, forgotten)
            for stretch in ahead(iter(SideBySide(([taste], _TASTE), tracks=known[c.TRACK_ID])))
        ]
        return _assemble(found, known, times, cutoff - timedelta(days=active_days))


@dataclass(frozen=True)
class _Listeners:
    """Some listeners: ``user_id`` and ``last_heard``, and their entries, by their places here."""

    users: pa.Table
    entries: Entries


def _known(catalogue: Path) -> pa.Table:
    """The tracks of a catalogue in order of their ids, with ``song`` (int32): rank of the key."""
    table = pq.read_table(catalogue, columns=_OF_SONG.names).cast(_OF_SONG)
    table = table.take(pc.sort_indices(table[c.TRACK_ID]))
    keys = table[c.SONG_KEY].combine_chunks().dictionary_encode()
    song = Ids.none().and_also(keys.dictionary).ranks[keys.indices.to_numpy()]
    return table.append_column("song", pa.array(song, pa.int32()))


def _listeners(
    stretch: Stretch,
    known: pa.Table,
    times: npt.NDArray[np.int64],
    weights: ListensSettings,
    forgotten: Collection[str],
) -> _Listeners:
    """The listeners of a stretch; what they played is added to ``times`` of each known track."""
    from recsys._by_song import add_rounded, by_song

    (rows,) = stretch.groups
    first = np.flatnonzero(np.diff(rows.user, prepend=-1))
    names = stretch.users.named(rows.user[first])
    gone = pc.is_in(names, pa.array(sorted(forgotten), pa.string())).to_numpy(zero_copy_only=False)
    place = np.where(gone, -1, np.cumsum(~gone) - 1).astype(np.int32)
    user = np.repeat(place, np.diff(first, append=len(rows.user)))
    track = stretch.tracks.places(len(known))[rows.track]
    columns = rows.columns
    if gone.any():
        here = user >= 0
        user, track, columns = user[here], track[here], tuple(each[here] for each in columns)
    *counts, heard, disliked, last_heard = columns
    add_rounded(track, counts[0], _FIXED_POINT, times)
    made: dict[str, npt.NDArray[Any]] = {
        name: np.empty(len(user), kind) for name, kind in _PAIRS.items()
    }
    by_event = [
        weights.weight_play,
        weights.weight_part_play,
        weights.weight_skip,
        weights.weight_save,
        weights.weight_like,
        weights.weight_dislike,
    ]
    song_of = known["song"].to_numpy()
    n = by_song(
        user, track, song_of, tuple(counts), np.array(by_event), heard, disliked,
        tuple(made.values()),
    )  # fmt: skip
    newest = np.maximum.reduceat(last_heard, np.flatnonzero(np.diff(user, prepend=-1)))
    return _Listeners(
        users=pa.table({c.USER_ID: names.filter(pa.array(~gone)), c.LAST_HEARD: to_dates(newest)}),
        entries=entries({name: values[:n] for name, values in made.items()}),
    )


def _assemble(
    found: Sequence[_Listeners],
    known: pa.Table,
    times: npt.NDArray[np.int64],
    active_since: date,
) -> TasteMatrix:
    users = pa.concat_tables([_NOBODY, *(some.users for some in found)]).combine_chunks()
    active = pc.greater_equal(users[c.LAST_HEARD], pa.scalar(active_since, pa.date32()))
    songs = _songs(known, times)
    shape = (len(users), len(songs))
    made = [(len(some.users), some.entries) for some in found]
    strength = _csr(
        [(count, each.users, each.songs) for count, each in made],
        _together([each.strength for _, each in made], np.float32),
        shape,
    )
    popularity = np.bincount(strength.indices, strength.data.astype(np.float64), len(songs))
    return TasteMatrix(
        users=users.append_column("eligible", pc.fill_null(active, False)),
        songs=songs.append_column(
            "listeners", pa.array(np.bincount(strength.indices, minlength=len(songs)), pa.int64())
        ).append_column("popularity", pa.array(popularity.round(6), pa.float64())),
        tracks=known.select([c.TRACK_ID, "song"]),
        strength=strength,
        played_track=_together([each.played_track for _, each in made], np.int32),
        excluded=_csr(
            [(count, each.excluded_users, each.excluded) for count, each in made], None, shape
        ),
    )


def _songs(known: pa.Table, times: npt.NDArray[np.int64]) -> pa.Table:
    """Each song, shown as its most played available track; ``times`` is of each known track.

    Plays are summed in fixed point, so that the order of rows plays no part.
    """
    song = known["song"].to_numpy()
    order = np.lexsort((-times, ~known[c.AVAILABLE].to_numpy(), song))  # equal ones by track
    shown = order[np.flatnonzero(np.diff(song[order], prepend=-1))]
    return known.take(pa.array(shown)).select(_OF_SONG.names)


def _csr(
    pieces: Sequence[tuple[int, npt.NDArray[np.int32], npt.NDArray[np.int32]]],
    values: npt.NDArray[np.float32] | None,
    shape: tuple[int, int],
) -> csr_matrix:
    """CSR of rows that follow each other.

    Args:
        pieces: how many rows there are in each piece; the row and the column of its entries, in
            order and without duplicates.
        values: of all entries; True, where there are none.
        shape: of the matrix.
    """
    lengths = [np.bincount(rows, minlength=count) for count, rows, _ in pieces]
    indptr = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
    columns = _together([each for _, _, each in pieces], np.int32)
    data = np.ones(len(columns), bool) if values is None else values
    return csr_matrix((data, columns, indptr), shape)


def _together(pieces: Sequence[npt.NDArray[Any]], kind: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *pieces])
