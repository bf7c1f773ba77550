"""From pairs of user and track to the entries of the taste matrix: one kernel for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Entries:
    """Entries of the matrix, ordered by user and song.

    Attributes:
        users: of each entry; ``songs``, ``strength`` (float32, positive) and ``played_track``
            (int32, -1 for none) stand beside it.
        excluded_users: of each song that must not be recommended; ``excluded`` stands beside it.
    """

    users: npt.NDArray[np.int32]
    songs: npt.NDArray[np.int32]
    strength: npt.NDArray[np.float32]
    played_track: npt.NDArray[np.int32]
    excluded_users: npt.NDArray[np.int32]
    excluded: npt.NDArray[np.int32]


def entries(pairs: Mapping[str, npt.NDArray[Any]]) -> Entries:
    """Add up pairs of user and track by user and song.

    Args:
        pairs: ``user``, ``song``, ``track`` (int32), ``weight`` (float64), ``heard``, ``disliked``
            (bool), ordered by user, song, heard before not, most plays, and track.
    """
    user, song = pairs["user"], pairs["song"]
    first = np.flatnonzero(np.diff(user, prepend=-1) | np.diff(song, prepend=-1))
    weight = _group(np.add, pairs["weight"], first)
    disliked = _group(np.logical_or, pairs["disliked"], first)
    excluded = _group(np.logical_or, pairs["heard"], first) | disliked
    liked = (weight > 0) & ~disliked
    played = np.where(pairs["heard"], pairs["track"], -1)
    return Entries(
        users=user[first][liked],
        songs=song[first][liked],
        strength=np.log1p(weight[liked]).astype(np.float32),
        played_track=played[first][liked].astype(np.int32),
        excluded_users=user[first][excluded],
        excluded=song[first][excluded],
    )


def _group(reduce: np.ufunc, values: npt.NDArray[Any], first: npt.NDArray[np.intp]) -> Any:
    return reduce.reduceat(values, first) if len(first) else values
