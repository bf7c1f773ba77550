"""What is to be predicted: the songs that listeners went on to hear for the first time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys.evaluation._kernel import stored
from recsys.matrix import TasteMatrix
from recsys.models._objective import sorted_arrays


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
    user, track, played = _pairs(base, plays)
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
    track = base.tracks["song"].to_numpy().astype(np.int32)[track]
    keep(~stored(*sorted_arrays(base.excluded), user, track), "excluded")
    songs = base.strength.shape[1]
    pairs = np.sort(user.astype(np.int64) * songs + track)
    pairs = pairs[_firsts(pairs)]
    user, track = np.divmod(pairs, songs)
    rows = _firsts(user)
    found = (np.ones(len(pairs), bool), track, np.append(rows, len(pairs)))
    return Truth(user[rows].astype(np.int32), csr_matrix(found, (len(rows), songs)), dropped)


def _pairs(
    base: TasteMatrix, plays: pa.Table
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Each pair of user and track once: their rows in the base or -1, and whether it was played."""
    users, user = _coded(plays[c.USER_ID], base.users[c.USER_ID])
    tracks, track = _coded(plays[c.TRACK_ID], base.tracks[c.TRACK_ID])
    keys = (user.astype(np.int64) * len(tracks) + track) * 2
    if "played" in plays.schema.names:
        keys += ~plays["played"].to_numpy()
    keys.sort()
    pairs = keys // 2
    first = _firsts(pairs)
    user, track = np.divmod(pairs[first], max(len(tracks), 1))
    return users[user], tracks[track], keys[first] % 2 == 0


def _firsts(ordered: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.intp]:
    """Where each distinct value begins."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])


def _coded(
    values: pa.ChunkedArray, known: pa.ChunkedArray
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The row of each distinct value among ``known``, or -1; and which of these each value is."""
    coded = values.dictionary_encode().unify_dictionaries().combine_chunks()
    found = pc.fill_null(pc.index_in(coded.dictionary, value_set=known), -1)
    codes = pc.fill_null(coded.indices, len(found))
    return np.append(found.to_numpy(zero_copy_only=False).astype(np.int32), -1), codes.to_numpy()
