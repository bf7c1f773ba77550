"""The best songs for every eligible listener, before the rules of a playlist."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_matrix

from recsys.eligibility import barred_songs, cooling_songs, eligible_users
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, Ranking, rank
from recsys.plan import Plan, cooling_playlists

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

    @classmethod
    def load(cls, folder: Path) -> Candidates:
        """Read what :meth:`save` wrote."""
        return cls(*(np.load(folder / f"{field.name}.npy") for field in fields(cls)))


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


def edition_candidates(
    plan: Plan, home: Home, model: ALSModel, matrix: TasteMatrix, *, spill: Path
) -> Candidates:
    """Find the candidates of everyone who is eligible in an edition.

    Args:
        plan: the edition's; it says what is blocked, and which playlists rest.
        home: the home that it is in.
        model: trained on ``matrix``.
        matrix: the edition's.
        spill: a folder for what does not fit into memory.
    """
    users = eligible_users(matrix)
    return find_candidates(
        model,
        matrix,
        users,
        barred=barred_songs(matrix, plan.blocked),
        cooling=cooling_songs(matrix, users, cooling_playlists(plan, home), spill=spill),
    )


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
