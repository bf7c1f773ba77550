"""The user-track matrix: how strongly each listener holds to each song."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from recsys import _slices
from recsys._entries import entries
from recsys._tables import arrow, database, part_files, read_parquet
from recsys.settings import ListensSettings

_FIXED_POINT: Final = 2**20


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
    memory: str | None = None,
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
        spill: a folder for what does not fit into memory.
        memory: how much DuckDB may use, as of :func:`recsys._tables.database`.
    """
    with database(spill, memory) as connection:
        connection.register(
            "forgotten", pa.table({"user_id": pa.array(sorted(forgotten), pa.string())})
        )
        connection.execute(
            f"""
            CREATE VIEW taste AS SELECT * FROM {read_parquet([taste])}
            ANTI JOIN forgotten USING (user_id);
            CREATE TABLE track AS
                SELECT *, dense_rank() OVER (ORDER BY song_key) - 1 AS song,
                    row_number() OVER (ORDER BY track_id) - 1 AS code
                FROM {read_parquet([catalogue])};
            CREATE TABLE listener AS
                SELECT user_id, max(last_heard) AS last_heard,
                    row_number() OVER (ORDER BY user_id) - 1 AS code
                FROM taste GROUP BY user_id;
            """
        )
        active_since = (cutoff - timedelta(days=active_days)).isoformat()
        users = arrow(
            connection,
            f"""SELECT user_id, last_heard,
                    coalesce(last_heard >= DATE '{active_since}', false) AS eligible
                FROM listener ORDER BY code""",
        )
        tracks = arrow(
            connection, "SELECT track_id, song::INTEGER AS song FROM track ORDER BY code"
        )
        songs = arrow(connection, _SONGS)
        pairs = connection.execute(_PAIRS.format(weight=_weight(weights))).fetchnumpy()
    return _assemble(users, songs, tracks, pairs)


# A song is shown as its most played available track; plays are summed in fixed point, so that the
# order of rows plays no part.
_SONGS: Final = f"""
    WITH played AS (
        SELECT track_id, sum(round(plays * {_FIXED_POINT})::BIGINT) AS times
        FROM taste GROUP BY track_id
    )
    SELECT song_key, track_id, track_name, artist_ids, artist_names, available
    FROM track LEFT JOIN played USING (track_id)
    QUALIFY row_number() OVER (
        PARTITION BY song ORDER BY available DESC, coalesce(times, 0) DESC, track_id) = 1
    ORDER BY song
"""

_PAIRS: Final = """
    SELECT listener.code::INTEGER AS user, track.song::INTEGER AS song,
        track.code::INTEGER AS track, {weight} AS weight, heard, disliked
    FROM taste JOIN listener USING (user_id) JOIN track USING (track_id)
    ORDER BY user, song, heard DESC, plays DESC, track
"""


def _weight(weights: ListensSettings) -> str:
    return " + ".join(
        f"{events} * {weight!r}::DOUBLE"
        for events, weight in (
            ("plays", weights.weight_play),
            ("part_plays", weights.weight_part_play),
            ("skips", weights.weight_skip),
            ("saves", weights.weight_save),
            ("likes", weights.weight_like),
            ("dislikes", weights.weight_dislike),
        )
    )


def _assemble(
    users: pa.Table, songs: pa.Table, tracks: pa.Table, pairs: dict[str, npt.NDArray[Any]]
) -> TasteMatrix:
    shape = (len(users), len(songs))
    made = entries(pairs)
    strength = _csr(made.users, made.songs, made.strength, shape)
    popularity = np.bincount(strength.indices, strength.data.astype(np.float64), len(songs))
    return TasteMatrix(
        users=users,
        songs=songs.append_column(
            "listeners", pa.array(np.bincount(strength.indices, minlength=len(songs)), pa.int64())
        ).append_column("popularity", pa.array(popularity.round(6), pa.float64())),
        tracks=tracks,
        strength=strength,
        played_track=made.played_track,
        excluded=_csr(made.excluded_users, made.excluded, None, shape),
    )


def _csr(
    rows: npt.NDArray[Any],
    columns: npt.NDArray[Any],
    values: npt.NDArray[Any] | None,
    shape: tuple[int, int],
) -> csr_matrix:
    """CSR from pairs that are already in order and without duplicates."""
    indptr = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=shape[0]), out=indptr[1:])
    data = np.ones(len(columns), bool) if values is None else values
    return csr_matrix((data, columns.astype(np.int32), indptr), shape)
