"""Rankings and truths written out, and a base with artists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_matrix

from recsys.evaluation import Truth
from recsys.matrix import TasteMatrix
from recsys.models import Ranking
from tests.models.worlds import matrix_of


def ranking_of(lists: list[list[int]]) -> Ranking:
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    songs = np.array([song for row in lists for song in row], np.int32)
    return Ranking(offsets, songs, np.zeros(len(songs)))


def lists_of(ranking: Ranking) -> list[list[int]]:
    return [row.tolist() for row in np.split(ranking.songs, ranking.offsets[1:-1])]


def truth_of(wanted: list[set[int]], songs: int) -> Truth:
    found = np.zeros((len(wanted), songs), bool)
    for user, row in enumerate(wanted):
        found[user, list(row)] = True
    return Truth(np.arange(len(wanted), dtype=np.int32), csr_matrix(found), {})


def plays_of(*pairs: tuple[str, str]) -> pa.Table:
    return pa.table(
        {
            "user_id": pa.array([user for user, _ in pairs], pa.string()),
            "track_id": pa.array([track for _, track in pairs], pa.string()),
        }
    )


def with_artists(
    strength: npt.ArrayLike, artists: list[list[str]], excluded: npt.ArrayLike | None = None
) -> TasteMatrix:
    """As :func:`matrix_of`, each song with its credited artists."""
    base = matrix_of(strength, excluded=excluded)
    credited = pa.array(artists, pa.list_(pa.string()))
    return replace(base, songs=base.songs.append_column("artist_ids", credited))
