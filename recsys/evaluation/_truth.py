"""What is to be predicted: the songs that listeners went on to hear for the first time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys.matrix import TasteMatrix


@dataclass(frozen=True)
class Truth:
    """What listeners of a base heard for the first time in the week after it.

    Attributes:
        users: int32 ``[n]``, ascending rows of the base: eligible, with some positive strength
            (nobody can rank for the others), and with at least one song in ``songs``.
        songs: bool ``[n, songs]``, row by row beside ``users``.
        dropped: plays (user, track pairs) that take no part, by reason: ``unknown_user``,
            ``skipped_only`` (heard, and not for long), ``not_rankable`` (a user who is not
            eligible or without strength), ``unknown_track``, ``excluded`` (heard or disliked
            before).
    """

    users: npt.NDArray[np.int32]
    songs: csr_matrix
    dropped: dict[str, int]

    def sample(self, users: int, seed: int) -> Truth:
        """At most so many of the users, drawn without replacement by a seed."""
        if users >= len(self.users):
            return self
        rng = np.random.default_rng(seed)
        drawn = np.sort(rng.choice(len(self.users), users, replace=False))
        return replace(self, users=self.users[drawn], songs=self.songs[drawn])

    def among(self, songs: npt.NDArray[np.bool_]) -> Truth:
        """The same users, with only the songs where ``songs`` (bool ``[songs]``) is true.

        A user may be left without any.
        """
        kept = songs[self.songs.indices]
        indptr = np.concatenate([[0], np.cumsum(kept)])[self.songs.indptr]
        found = (self.songs.data[kept], self.songs.indices[kept], indptr)
        return replace(self, songs=csr_matrix(found, self.songs.shape))


def truth(base: TasteMatrix, plays: pa.Table) -> Truth:
    """Find what is to be predicted.

    Args:
        base: the matrix before the week.
        plays: user_id and track_id of what was heard in the week, and, where some of it was only
            skipped, ``played`` (bool); repeats do no harm.
    """
    if "played" not in plays.schema.names:
        plays = plays.append_column("played", pa.array(np.ones(len(plays), bool)))
    pairs = plays.group_by([c.USER_ID, c.TRACK_ID]).aggregate([("played", "any")])
    played = pairs["played_any"].to_numpy()
    user = _places(pairs[c.USER_ID], base.users[c.USER_ID])
    track = _places(pairs[c.TRACK_ID], base.tracks[c.TRACK_ID])
    eligible = base.users["eligible"].to_numpy().astype(bool)
    rankable = eligible & (np.diff(base.strength.indptr) > 0)
    dropped = {}

    def keep(which: npt.NDArray[np.bool_], reason: str) -> None:
        nonlocal user, track
        dropped[reason] = int(len(which) - which.sum())
        user, track = user[which], track[which]

    played = played[user >= 0]
    keep(user >= 0, "unknown_user")
    keep(played, "skipped_only")
    keep(rankable[user], "not_rankable")
    keep(track >= 0, "unknown_track")
    song = base.tracks["song"].to_numpy().astype(np.int32)[track]
    found = csr_matrix((np.ones(len(user), np.int32), (user, song)), base.strength.shape)
    known = found.multiply(base.excluded).tocsr()
    dropped["excluded"] = int(known.sum())
    found = found - known
    found.eliminate_zeros()
    found.sort_indices()
    users = np.flatnonzero(np.diff(found.indptr)).astype(np.int32)
    return Truth(users, found[users].astype(bool), dropped)


def _places(values: pa.ChunkedArray, known: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """The row of each value among ``known``, or -1."""
    found = pc.fill_null(pc.index_in(values, value_set=known), -1)
    return np.asarray(found.to_numpy().astype(np.int32))
