"""Songs of earlier editions, read as dictionaries, are those that a look at each row finds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recsys import schemas
from recsys.eligibility import cooling_songs
from recsys.matrix import TasteMatrix

USERS = ["", "a\x00", "a\x00b", "é", "u", "🎵"]
TRACKS = {"": 0, "t": 1, "t\x00": 1, "remaster": 2, "🎵": 3}
Lists = list[tuple[str, list[str]]]

lists = st.lists(
    st.tuples(
        st.sampled_from([*USERS, "stranger"]),
        st.lists(st.sampled_from([*TRACKS, "left"]), max_size=4),
    ),
    max_size=5,
)


def matrix() -> TasteMatrix:
    nothing = csr_matrix((len(USERS), 4), dtype=np.float32)
    return TasteMatrix(
        users=pa.table({"user_id": USERS}),
        songs=pa.table({"song_key": ["a", "b", "c", "d"]}),
        tracks=pa.table({"track_id": list(TRACKS), "song": pa.array(TRACKS.values(), pa.int32())}),
        strength=nothing,
        played_track=np.empty(0, np.int32),
        excluded=nothing.astype(bool),
    )


def write(path: Path, rows: Lists, group: int) -> Path:
    day = date(2026, 11, 9)
    edition = [
        {
            "edition": "2026-W46", "user_id": user, "kind": "popular", "spares": [], "relaxed": [],
            "valid_from": day, "valid_until": day,
            "tracks": [
                {"position": 1, "track_id": track, "artist_names": [], "score": 1.0, "source": "x"}
                for track in tracks
            ],
        }
        for user, tracks in rows
    ]  # fmt: skip
    table = pa.Table.from_pylist(edition, schemas.PLAYLISTS)
    pq.write_table(table, path, row_group_size=group)
    return path


def expected(editions: Sequence[Lists], users: Sequence[int]) -> list[set[int]]:
    return [
        {
            TRACKS[track]
            for rows in editions
            for user, tracks in rows
            for track in tracks
            if user == USERS[n] and track in TRACKS
        }
        for n in users
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    editions=st.lists(lists, max_size=3),
    users=st.sets(st.integers(0, len(USERS) - 1)),
    group=st.integers(1, 5),
)
def test_songs_of_earlier_editions_rest(
    tmp_path: Path, editions: list[Lists], users: set[int], group: int
) -> None:
    files = [write(tmp_path / f"{n}.parquet", rows, group) for n, rows in enumerate(editions)]
    rows = np.array(sorted(users), np.int32)
    found = cooling_songs(matrix(), rows, files)
    assert found.shape == (len(users), 4)
    assert [set(row.indices.tolist()) for row in found] == expected(editions, sorted(users))
    assert found.has_canonical_format
    assert found.dtype == bool
