from __future__ import annotations

import math
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import schemas
from recsys._entries import entries
from recsys.columns import COUNTS
from recsys.eligibility import barred_songs, cooling_songs, eligible_users
from recsys.matrix import TasteMatrix, build_matrix
from recsys.settings import ListensSettings
from tests.sorted_tables import (
    CATALOGUES,
    CUTOFF,
    IDS,
    TASTES,
    Row,
    read_by,
    write_catalogue,
    write_taste,
)

NO_COUNTS = dict.fromkeys(COUNTS, 0.0)


def pair(user: str, track: str, **fields: Any) -> dict[str, Any]:
    row = {"user_id": user, "track_id": track, "heard": True, "disliked": False}
    return row | NO_COUNTS | {"last_heard": date(2026, 11, 14)} | fields


def entry(track: str, song: str, **fields: Any) -> dict[str, Any]:
    row = {"track_id": track, "track_name": track, "artist_ids": ["a"], "artist_names": ["A"]}
    return row | {"available": True, "song_key": song} | fields


def build(
    folder: Path,
    taste: list[dict[str, Any]],
    catalogue: list[dict[str, Any]],
    forgotten: frozenset[str] = frozenset(),
    **weights: float,
) -> TasteMatrix:
    pq.write_table(pa.Table.from_pylist(taste, schema=schemas.TASTE), folder / "taste.parquet")
    pq.write_table(
        pa.Table.from_pylist(catalogue, schema=schemas.CATALOGUE), folder / "catalogue.parquet"
    )
    return build_matrix(
        folder / "taste.parquet",
        folder / "catalogue.parquet",
        cutoff=CUTOFF,
        active_days=28,
        weights=ListensSettings(source="log", **weights),
        forgotten=forgotten,
        spill=folder,
    )


def test_every_event_weighs_what_its_setting_says(tmp_path: Path) -> None:
    taste = [
        pair("u", name, **{name: 2.0}, disliked=name == "dislikes") for name in sorted(NO_COUNTS)
    ]
    matrix = build(tmp_path, taste, [entry(name, name) for name in sorted(NO_COUNTS)])
    found = dict(
        zip(matrix.songs["song_key"].to_pylist(), matrix.strength.toarray()[0], strict=True)
    )
    assert found["plays"] == pytest.approx(np.log1p(2 * 1.0))
    assert found["part_plays"] == pytest.approx(np.log1p(2 * 0.3))
    assert found["saves"] == found["likes"] == pytest.approx(np.log1p(2 * 3.0))
    assert found["skips"] == found["dislikes"] == 0


def test_tracks_of_one_song_share_a_column(tmp_path: Path) -> None:
    taste = [
        pair("u", "first", plays=1.0),
        pair("u", "remaster", plays=3.0),
        pair("v", "first", plays=9.0),
    ]
    matrix = build(tmp_path, taste, [entry("first", "s"), entry("remaster", "s")])
    assert matrix.songs["track_id"].to_pylist() == ["first"]
    assert matrix.strength.toarray()[0, 0] == pytest.approx(np.log1p(4.0))
    assert matrix.tracks["track_id"].take(pa.array(matrix.played_track)).to_pylist() == [
        "remaster",
        "first",
    ]


def test_a_song_is_shown_as_a_track_that_is_available(tmp_path: Path) -> None:
    taste = [pair("u", "gone", plays=9.0), pair("u", "there", plays=1.0)]
    matrix = build(tmp_path, taste, [entry("gone", "s", available=False), entry("there", "s")])
    assert matrix.songs["track_id"].to_pylist() == ["there"]
    assert not barred_songs(matrix, ()).any()
    assert barred_songs(matrix, {"gone"}).all()


def test_heard_and_disliked_songs_are_excluded(tmp_path: Path) -> None:
    taste = [
        pair("u", "disliked", dislikes=1.0, heard=False, disliked=True, last_heard=None),
        pair("u", "saved", saves=1.0, heard=False, last_heard=None),
        pair("u", "skipped", skips=1.0),
    ]
    matrix = build(tmp_path, taste, [entry(row["track_id"], row["track_id"]) for row in taste])
    assert matrix.songs["song_key"].to_pylist() == ["disliked", "saved", "skipped"]
    assert matrix.excluded.toarray()[0].tolist() == [True, False, True]
    assert matrix.strength.indices.tolist() == [1]


def test_a_song_that_was_never_played_has_no_track_that_is_played_most(tmp_path: Path) -> None:
    taste = [
        pair("u", "a saved", saves=9.0, plays=0.0, heard=False, last_heard=None),
        pair("u", "a played", skips=1.0),
        pair("u", "b", saves=1.0, heard=False, last_heard=None),
    ]
    catalogue = [entry("a saved", "a"), entry("a played", "a"), entry("b", "b")]
    matrix = build(tmp_path, taste, catalogue)
    played = [
        matrix.tracks["track_id"][row].as_py() if row >= 0 else None
        for row in matrix.played_track.tolist()
    ]
    assert played == ["a played", None]


def test_a_dislike_outweighs_any_number_of_plays(tmp_path: Path) -> None:
    taste = [pair("u", "t", plays=50.0, dislikes=0.001, disliked=True)]
    assert build(tmp_path, taste, [entry("t", "t")]).strength.nnz == 0


def test_eligible_is_who_listened_in_the_last_28_days(tmp_path: Path) -> None:
    taste = [
        pair("away", "t", last_heard=date(2026, 10, 17)),
        pair("back", "t", last_heard=date(2026, 10, 18)),
        pair("saver", "t", heard=False, last_heard=None),
    ]
    matrix = build(tmp_path, taste, [entry("t", "t")])
    users = matrix.users["user_id"].take(pa.array(eligible_users(matrix))).to_pylist()
    assert users == ["back"]


def test_the_forgotten_are_in_no_matrix(tmp_path: Path) -> None:
    taste = [pair("gone", "t", plays=1.0), pair("here", "t", plays=1.0)]
    matrix = build(tmp_path, taste, [entry("t", "t")], forgotten=frozenset({"gone"}))
    assert matrix.users["user_id"].to_pylist() == ["here"]
    assert matrix.songs["listeners"].to_pylist() == [1]


def test_it_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    taste = [pair("u", f"t{n}", plays=float(n)) for n in range(5)]
    matrix = build(tmp_path, taste, [entry(f"t{n}", f"s{n // 2}") for n in range(5)])
    matrix.save(tmp_path)
    again = TasteMatrix.load(tmp_path)
    assert again.users.equals(matrix.users)
    assert again.songs.equals(matrix.songs)
    assert (again.strength != matrix.strength).nnz == 0
    assert (again.excluded != matrix.excluded).nnz == 0
    assert np.array_equal(again.played_track, matrix.played_track)


def test_an_empty_state_makes_an_empty_matrix(tmp_path: Path) -> None:
    matrix = build(tmp_path, [], [])
    assert matrix.strength.shape == (0, 0)


def test_what_was_recommended_before_is_cooling_by_song(tmp_path: Path) -> None:
    taste = [pair(user, "heard", plays=1.0) for user in ("u", "v", "w")]
    catalogue = [entry("heard", "h"), entry("old", "s"), entry("old remaster", "s")]
    matrix = build(tmp_path, taste, catalogue)
    tracks = [
        {
            "position": 1,
            "track_id": "old remaster",
            "artist_names": [],
            "score": 1.0,
            "source": "als",
        }
    ]
    day = date(2026, 11, 9)
    rows = [
        {"edition": "2026-W46", "user_id": "v", "kind": "personal", "tracks": tracks}
        | {"relaxed": [], "valid_from": day, "valid_until": day}
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.PLAYLISTS), tmp_path / "old.parquet")
    users = np.array([1, 2], np.int32)
    cooling = cooling_songs(matrix, users, [tmp_path / "old.parquet"])
    song = matrix.songs["song_key"].to_pylist().index("s")
    assert cooling.toarray()[:, song].tolist() == [True, False]
    assert cooling.nnz == 1


@given(TASTES, CATALOGUES, st.integers(1, 40), st.sets(IDS, max_size=2))
def test_it_is_what_adding_up_pair_by_pair_gives(
    taste: list[Row], catalogue: list[Row], rows: int, forgotten: set[str]
) -> None:
    with tempfile.TemporaryDirectory() as name, read_by(rows):
        matrix = build_matrix(
            write_taste(taste, Path(name) / "taste.parquet"),
            write_catalogue(catalogue, Path(name) / "catalogue.parquet"),
            cutoff=CUTOFF,
            active_days=28,
            weights=ListensSettings(source="log"),
            forgotten=forgotten,
            spill=Path(name),
        )
    here = [row for row in taste if row["user_id"] not in forgotten]
    users = sorted({row["user_id"] for row in here})
    last = [
        max(
            (row["last_heard"] for row in here if row["user_id"] == user and row["last_heard"]),
            default=None,
        )
        for user in users
    ]
    since = CUTOFF - timedelta(28)
    assert matrix.users.to_pylist() == [
        {"user_id": user, "last_heard": day, "eligible": day is not None and day >= since}
        for user, day in zip(users, last, strict=True)
    ]
    keys = sorted({row["song_key"] for row in catalogue})
    song = {row["track_id"]: keys.index(row["song_key"]) for row in catalogue}
    tracks = sorted(song)
    assert matrix.tracks.to_pylist() == [{"track_id": one, "song": song[one]} for one in tracks]

    times = dict.fromkeys(tracks, 0)
    for row in here:
        if row["track_id"] in song:
            times[row["track_id"]] += math.floor(row["plays"] * 2**20 + 0.5)
    shown = sorted(catalogue, key=lambda row: (not row["available"], -times[row["track_id"]]))
    assert matrix.songs["track_id"].to_pylist() == [
        next(row["track_id"] for row in shown if row["song_key"] == key) for key in keys
    ]
    pairs = sorted(
        (users.index(row["user_id"]), song[row["track_id"]], not row["heard"], -row["plays"],
         tracks.index(row["track_id"]), _weight(row), row["disliked"])
        for row in here if row["track_id"] in song
    )  # fmt: skip
    user, of, unheard, _, track, weight, disliked = np.array(pairs, float).reshape(-1, 7).T
    made = entries(
        {
            "user": user.astype(np.int32),
            "song": of.astype(np.int32),
            "track": track.astype(np.int32),
            "weight": weight,
            "heard": unheard == 0,
            "disliked": disliked == 1,
        }
    )
    strength, excluded = matrix.strength.tocoo(), matrix.excluded.tocoo()
    assert strength.row.tolist() == made.users.tolist()
    assert strength.col.tolist() == made.songs.tolist()
    assert strength.data.tolist() == made.strength.tolist()
    assert matrix.played_track.tolist() == made.played_track.tolist()
    assert excluded.row.tolist() == made.excluded_users.tolist()
    assert excluded.col.tolist() == made.excluded.tolist()


def _weight(row: Row) -> float:
    weights = (1.0, 0.3, -0.5, 3.0, 3.0, -5.0)
    first, *others = (row[name] * weight for name, weight in zip(COUNTS, weights, strict=True))
    total: float = first
    for each in others:
        total += each
    return total
