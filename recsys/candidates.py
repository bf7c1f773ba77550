"""The best songs for every eligible listener, before the rules of a playlist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys._slices import list_entries
from recsys.eligibility import barred_songs, cooling_songs, eligible_users
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, Ranking, rank
from recsys.plan import Plan, cooling_playlists

#: A folder of parts, by ranges of listeners.
FOLDER: Final = "candidates.parquet"
#: The candidates of one listener: columns of the taste matrix, best first, and their scores.
ROWS: Final = pa.schema(
    [
        pa.field(c.USER_ID, pa.string()),
        pa.field("songs", pa.list_(pa.int32())),
        pa.field("scores", pa.list_(pa.float64())),
    ]
)
#: A song held to vouches for at most so many candidates.
PER_KNOWN_SONG: Final = 10


@dataclass(frozen=True)
class Candidates:
    """The candidates of ``n`` users, one after the other.

    Attributes:
        users: int32 ``[n]``, rows of the taste matrix, ascending.
        offsets: int64 ``[n + 1]``; user ``i`` has the entries ``offsets[i]:offsets[i + 1]``.
        songs: int32, columns of the taste matrix, best first; equal scores by song.
        scores: float64, the model's score rounded to 6 decimals.
    """

    users: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    songs: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]

    def save(self, folder: Path) -> None:
        """Write it as npy files into ``folder``."""
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name))

    def to_arrow(self, matrix: TasteMatrix) -> pa.Table:
        """One row a candidate: user_id, rank (from 1), track_id, track_name, song_key, score.

        Args:
            matrix: the edition's, for the names.
        """
        counts = np.diff(self.offsets)
        songs = matrix.songs.select(["track_id", "track_name", "song_key"]).take(self.songs)
        users = matrix.users["user_id"].take(np.repeat(self.users, counts))
        ranks = np.arange(1, len(self.songs) + 1) - np.repeat(self.offsets[:-1], counts)
        return pa.table(
            {
                "user_id": users,
                "rank": pa.array(ranks, pa.int32()),
                **dict(zip(songs.schema.names, songs.columns, strict=True)),
                "score": self.scores,
            }
        )

    def to_rows(self, matrix: TasteMatrix) -> pa.Table:
        """One row a listener, in :data:`ROWS`."""
        offsets = pa.array(self.offsets, pa.int32())
        columns = [
            matrix.users[c.USER_ID].take(pa.array(self.users)),
            pa.ListArray.from_arrays(offsets, pa.array(self.songs)),
            pa.ListArray.from_arrays(offsets, pa.array(self.scores)),
        ]
        return pa.table(columns, ROWS)

    @classmethod
    def of_rows(cls, rows: pa.Table, matrix: TasteMatrix) -> Candidates:
        """Read :data:`ROWS` of listeners of a matrix, in its order."""
        users = pc.index_in(rows[c.USER_ID], value_set=matrix.users[c.USER_ID])
        offsets, songs = list_entries(rows["songs"])
        return cls(
            users.to_numpy().astype(np.int32), offsets, songs, list_entries(rows["scores"])[1]
        )

    @classmethod
    def load(cls, folder: Path, matrix: TasteMatrix | None = None) -> Candidates:
        """Read what :meth:`save` wrote, or what was written by parts, of the users of a matrix.

        Args:
            folder: of the candidates.
            matrix: what they were found in; needed for what was written by parts.
        """
        if matrix is None or not (folder / FOLDER).exists():
            return cls(*(np.load(folder / f"{field.name}.npy") for field in fields(cls)))
        if not len(matrix.users):
            return cls.of_rows(ROWS.empty_table(), matrix)
        users = pc.min_max(matrix.users[c.USER_ID]).as_py()
        between = [(c.USER_ID, ">=", users["min"]), (c.USER_ID, "<=", users["max"])]
        return cls.of_rows(pq.read_table(folder / FOLDER, schema=ROWS, filters=between), matrix)


def find_candidates(
    model: ALSModel,
    matrix: TasteMatrix,
    users: npt.NDArray[np.int32],
    *,
    count: int = 200,
    barred: npt.NDArray[np.bool_] | None = None,
    cooling: csr_matrix | None = None,
) -> Candidates:
    """Find the best ``count`` songs of each user, exactly.

    Of what :func:`rank_unheard` ranks, at most ten for each song of positive strength, since so
    little taste does not carry further; a user without any has none, and is served popular songs.

    Args:
        model: trained on ``matrix``.
        matrix: who holds to what.
        users: int32, rows of the matrix, ascending.
        count: at most so many for each.
        barred: bool ``[songs]``: for nobody, such as what is unavailable.
        cooling: ``[len(users), songs]``, row by row beside ``users``: its stored entries are out.
    """
    known = np.diff(matrix.strength.indptr)[users].astype(np.int64)
    limits = np.minimum(count, PER_KNOWN_SONG * known)
    ranking = rank_unheard(model, matrix, users, limits, barred=barred, cooling=cooling)
    return Candidates(users, ranking.offsets, ranking.songs, ranking.scores)


def edition_candidates(plan: Plan, home: Home, model: ALSModel, matrix: TasteMatrix) -> Candidates:
    """Find the candidates of everyone who is eligible in an edition.

    Args:
        plan: the edition's; it says what is blocked, and which playlists rest.
        home: the home that it is in.
        model: trained on ``matrix``.
        matrix: the edition's.
    """
    return eligible_candidates(
        model,
        matrix,
        barred=barred_songs(matrix, plan.blocked),
        cooling=cooling_playlists(plan, home),
    )


def eligible_candidates(
    model: ALSModel,
    matrix: TasteMatrix,
    *,
    barred: npt.NDArray[np.bool_],
    cooling: Sequence[Path],
) -> Candidates:
    """Find the candidates of the eligible listeners of a matrix, or of a slice of it.

    Args:
        model: with the listeners of ``matrix``.
        matrix: who holds to what.
        barred: bool ``[songs]``: for nobody.
        cooling: playlists of earlier editions, whose songs rest.
    """
    users = eligible_users(matrix)
    resting = cooling_songs(matrix, users, cooling)
    return find_candidates(model, matrix, users, barred=barred, cooling=resting)


def rank_unheard(
    model: ALSModel,
    matrix: TasteMatrix,
    users: npt.NDArray[np.int32],
    limits: npt.NDArray[np.int64],
    *,
    barred: npt.NDArray[np.bool_] | None = None,
    cooling: csr_matrix | None = None,
) -> Ranking:
    """Rank what each user could get, by score.

    Out before the cut: what the user has heard or disliked, what is barred for everyone, what is
    cooling down for the user, songs that nobody has strength for, and songs that the user saved or
    liked without playing them: the model was told of those, so their scores predict nothing
    (docs/rules.md). There is no padding: a user has fewer where fewer are left.

    Args:
        model: trained on ``matrix``.
        matrix: who holds to what.
        users: int32, rows of the matrix.
        limits: int64 ``[len(users)]``: at most so many songs for each.
        barred: bool ``[songs]``: for nobody, such as what is unavailable.
        cooling: ``[len(users), songs]``, row by row beside ``users``: its stored entries are out.
    """
    told = _held_to_unplayed(matrix, users)
    return rank(
        model.user_factors[users],
        model.item_factors,
        limits=limits,
        allowed=model.learnt if barred is None else model.learnt & ~barred,
        excluded=matrix.excluded,
        rows=users,
        also_excluded=told if cooling is None else cooling + told,
        what="Finding candidates",
    )


def _held_to_unplayed(matrix: TasteMatrix, users: npt.NDArray[np.int32]) -> csr_matrix:
    """The songs that each user saved or liked and never played; bool ``[len(users), songs]``."""
    entries = np.flatnonzero(matrix.played_track < 0)
    rows = np.searchsorted(matrix.strength.indptr, entries, side="right") - 1
    shape = matrix.strength.shape
    held = csr_matrix(
        (np.ones(len(entries), bool), (rows, matrix.strength.indices[entries])), shape
    )
    return held[users]
