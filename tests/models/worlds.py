"""Small taste matrices for tests, with a taste that is known."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_matrix

from recsys.matrix import TasteMatrix
from recsys.settings import AlsSettings

#: An objective that asks everything of the solver: every weight and exponent counts.
SETTINGS = AlsSettings(
    factors=8,
    iterations=8,
    warm_iterations=2,
    alpha=2.0,
    regularization=0.1,
    regularization_exponent=0.5,
    unobserved_weight=0.4,
)


def matrix_of(
    strength: npt.ArrayLike,
    *,
    excluded: npt.ArrayLike | None = None,
    users: list[str] | None = None,
    songs: list[str] | None = None,
) -> TasteMatrix:
    """A matrix of one track per song; what is held to is excluded, and more by ``excluded``."""
    values = csr_matrix(np.asarray(strength, np.float32))
    values.sort_indices()
    out = csr_matrix((values.toarray() > 0) | (False if excluded is None else np.asarray(excluded)))
    n_users, n_songs = values.shape
    user_ids = users or [f"user{u:05}" for u in range(n_users)]
    keys = songs or [f"song{s:05}" for s in range(n_songs)]
    return TasteMatrix(
        users=pa.table(
            {
                "user_id": pa.array(user_ids, pa.string()),
                "last_heard": pa.array([dt.date(2026, 11, 1)] * n_users, pa.date32()),
                "eligible": pa.array([True] * n_users, pa.bool_()),
            }
        ),
        songs=pa.table(
            {
                "song_key": pa.array(keys, pa.string()),
                "track_id": pa.array([f"track-{key}" for key in keys], pa.string()),
                "listeners": np.bincount(values.indices, minlength=n_songs),
                "popularity": np.bincount(
                    values.indices, values.data.astype(np.float64), minlength=n_songs
                ),
            }
        ),
        tracks=pa.table(
            {
                "track_id": pa.array([f"track-{key}" for key in keys], pa.string()),
                "song": pa.array(range(n_songs), pa.int32()),
            }
        ),
        strength=values,
        played_track=values.indices.astype(np.int32),
        excluded=out,
    )


def sparse_strength(
    seed: int, users: int, songs: int, share: float = 0.2
) -> npt.NDArray[np.float32]:
    """Random strengths without any structure."""
    rng = np.random.default_rng(seed)
    values = rng.gamma(2.0, 0.5, (users, songs)).astype(np.float32) + np.float32(0.05)
    return np.where(rng.random((users, songs)) < share, values, np.float32(0))


@dataclass(frozen=True)
class World:
    """Two weeks of listeners who each keep to one of a few groups of songs."""

    base: TasteMatrix
    plays: pa.Table
    group_of_user: npt.NDArray[np.int64]
    group_of_song: npt.NDArray[np.int64]


def world(seed: int = 1, users: int = 240, songs: int = 200, groups: int = 8) -> World:
    """A world of clear taste: nine plays in ten are of songs of the listener's own group."""
    rng = np.random.default_rng(seed)
    group_of_user, group_of_song = np.arange(users) % groups, np.arange(songs) % groups
    fame = rng.pareto(1.5, songs) + 0.2
    odds = fame * np.where(group_of_song == group_of_user[:, None], 9.0 * groups, 1.0)
    odds /= odds.sum(axis=1, keepdims=True)
    heard = np.zeros((users, songs), np.float32)
    rows, tracks = [], []
    for user in range(users):
        chosen = rng.choice(songs, 18, replace=False, p=odds[user])
        heard[user, chosen[:12]] = rng.gamma(2.0, 0.5, 12) + 0.1
        rows += [f"user{user:05}"] * 6
        tracks += [f"track-song{song:05}" for song in chosen[12:]]
    plays = pa.table({"user_id": rows, "track_id": tracks})
    return World(matrix_of(heard), plays, group_of_user, group_of_song)


def as_format_1(folder: Path) -> None:
    """Make a saved model look like one from before the objective had settings of its own."""
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    for name in ("unobserved_weight", "regularization_exponent"):
        del about["settings"][name]
    (folder / "model.json").write_text(json.dumps(about | {"format": 1}), encoding="utf-8")
