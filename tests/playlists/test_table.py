"""The table of playlists: every list under its own user, in the schema that readers rely on."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_matrix

from recsys import schemas
from recsys.matrix import TasteMatrix
from recsys.playlists import (
    REFUSED,
    Lists,
    Spares,
    _table,
    artist_codes,
    default_list,
    playlist_batches,
    popular_songs,
    refused_users,
)
from recsys.playlists.making import written
from recsys.settings import PlaylistsSettings
from recsys.store import playlists_digest
from recsys.weeks import Week

WEEK = Week.parse("2026-W53")


def taste_matrix(users: int, songs: int) -> TasteMatrix:
    codes = [f"{song:04d}" for song in range(songs)]
    nothing = csr_matrix((users, songs), dtype=bool)
    return TasteMatrix(
        users=pa.table({"user_id": [f"user {user:04d}" for user in range(users)]}),
        songs=pa.table(
            {
                "song_key": [f"key {code}" for code in codes],
                "track_id": [f"track {code}" for code in codes],
                "track_name": pa.array([None, *codes[1:]], pa.string()),
                "artist_ids": [[f"artist {song % 7}"] for song in range(songs)],
                "artist_names": [["Björk", f"No. {song % 7}"] for song in range(songs)],
                "available": [song != 1 for song in range(songs)],
                "popularity": [float(song // 2) for song in range(songs)],
            }
        ),
        tracks=pa.table({"track_id": [f"track {code}" for code in codes]}),
        strength=nothing.astype(np.float32),
        played_track=np.empty(0, np.int32),
        excluded=nothing,
    )


PerUser = dict[int, list[tuple[int, bool]]]


def picks_of(per_user: PerUser) -> dict[str, Any]:
    entries = [entry for songs in per_user.values() for entry in songs]
    return {
        "users": np.array(list(per_user), np.int32),
        "offsets": np.cumsum([0, *(len(songs) for songs in per_user.values())]),
        "songs": np.array([song for song, _ in entries], np.int32),
        "scores": np.array([song / 10 for song, _ in entries]),
        "personal": np.array([mine for _, mine in entries], bool),
    }


def lists_of(
    per_user: PerUser,
    relaxed: list[int],
    spares: PerUser | None = None,
    not_at: list[list[int]] | None = None,
) -> Lists:
    standing_by = picks_of({user: (spares or {}).get(user, []) for user in per_user})
    places = not_at or [[] for _ in standing_by["songs"]]
    return Lists(
        **picks_of(per_user),
        relaxed=np.array(relaxed, np.uint8),
        spares=Spares(
            **standing_by,
            not_at_offsets=np.cumsum([0, *map(len, places)]),
            not_at=np.array([place for one in places for place in one], np.int32),
        ),
    )


def because(lists: Lists) -> tuple[np.ndarray[Any, np.dtype[np.int32]], ...]:
    return tuple(
        np.where(picks.personal, 9, -1).astype(np.int32) for picks in (lists, lists.spares)
    )


def tables(lists: Lists, matrix: TasteMatrix) -> tuple[pa.Table, pa.Table]:
    """The playlists as readers get them, and the users who are refused."""
    batches = playlist_batches(lists, matrix, *because(lists), WEEK)
    made = pa.Table.from_batches(batches, schemas.CODED_PLAYLISTS)
    made.validate(full=True)
    return made.cast(schemas.PLAYLISTS), refused_users(lists, matrix)


def test_a_row_says_who_gets_what_and_why() -> None:
    lists = lists_of(
        {1: [(4, True), (0, False)], 2: [], 5: [(3, True)], 7: [(2, False)]},
        [5, 0, 2, 0],
        {1: [(7, True), (0, False)], 7: [(6, False)]},
        [[2], [], [1]],
    )
    table, refused = tables(lists, taste_matrix(8, 10))
    first, second, third = table.to_pylist()
    assert first == {
        "edition": "2026-W53",
        "user_id": "user 0001",
        "kind": "blended",
        "tracks": [
            {
                "position": 1,
                "track_id": "track 0004",
                "track_name": "0004",
                "artist_names": ["Björk", "No. 4"],
                "score": 0.4,
                "source": "als",
                "because_track_id": "track 0009",
            },
            {
                "position": 2,
                "track_id": "track 0000",
                "track_name": None,
                "artist_names": ["Björk", "No. 0"],
                "score": 0.0,
                "source": "popular",
                "because_track_id": None,
            },
        ],
        "spares": [
            {
                "track_id": "track 0007",
                "track_name": "0007",
                "artist_names": ["Björk", "No. 0"],
                "score": 0.7,
                "source": "als",
                "because_track_id": "track 0009",
                "not_at": [2],
            },
            {
                "track_id": "track 0000",
                "track_name": None,
                "artist_names": ["Björk", "No. 0"],
                "score": 0.0,
                "source": "popular",
                "because_track_id": None,
                "not_at": [],
            },
        ],
        "relaxed": ["neighbours", "per_artist"],
        "valid_from": date(2026, 12, 28),
        "valid_until": date(2027, 1, 3),
    }
    assert (second["user_id"], second["kind"], second["relaxed"]) == (
        "user 0005",
        "personal",
        ["cooldown"],
    )
    assert second["spares"] == []
    assert (third["user_id"], third["kind"]) == ("user 0007", "popular")
    assert [(one["track_id"], one["not_at"]) for one in third["spares"]] == [("track 0006", [1])]
    assert refused.to_pylist() == [{"user_id": "user 0002", "reason": "nothing_left"}]


@pytest.mark.parametrize("block", [1, 3, 64])
def test_every_list_lies_under_its_own_user(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    rng = np.random.default_rng(3)
    per_user = {
        int(user): [(int(song), True) for song in rng.choice(40, rng.integers(0, 6), replace=False)]
        for user in np.flatnonzero(rng.random(50) < 0.7)
    }
    spares = {user: songs[::-1][:5] for user, songs in per_user.items()}
    places = [[song, 77] for songs in spares.values() for song, _ in songs]
    lists = lists_of(per_user, [0] * len(per_user), spares, places)
    monkeypatch.setattr(_table, "ROW_GROUP", block)
    table, refused = tables(lists, taste_matrix(50, 40))
    got = {
        row["user_id"]: [track["track_id"] for track in row["tracks"]] for row in table.to_pylist()
    }
    assert got == {
        f"user {user:04d}": [f"track {song:04d}" for song, _ in songs]
        for user, songs in per_user.items()
        if songs
    }
    for row in table.to_pylist():
        stored = [(spare["track_id"], spare["not_at"]) for spare in row["spares"]]
        mine = [track["track_id"] for track in row["tracks"]][::-1][:5]
        assert stored == [(track, [int(track[-4:]), 77]) for track in mine]
    assert list(got) == sorted(got)
    assert refused["user_id"].to_pylist() == [
        f"user {user:04d}" for user, songs in per_user.items() if not songs
    ]


def test_the_file_holds_plain_text_and_the_digest_is_that_of_its_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_table, "ROW_GROUP", 2)
    mine = {user: [(song % 9, song % 2 == 0) for song in range(user)] for user in range(1, 6)}
    lists, matrix = lists_of(mine, [0, 1, 2, 3, 4], {2: [(8, True)]}, [[1]]), taste_matrix(6, 10)
    default = default_list(
        matrix,
        popular=popular_songs(matrix.songs),
        popularity=matrix.songs["popularity"].to_numpy(),
        artists=artist_codes(matrix.songs),
        barred=np.zeros(10, bool),
        settings=PlaylistsSettings(length=3),
        week=WEEK,
    )
    file = tmp_path / "playlists.parquet"
    made = written(playlist_batches(lists, matrix, *because(lists), WEEK), file)
    digest = playlists_digest(made, default)
    stored = pq.read_table(file)
    assert stored.schema == schemas.PLAYLISTS
    assert stored.to_pylist() == tables(lists, matrix)[0].to_pylist()
    assert digest == playlists_digest(stored.to_batches(), default)
    assert pq.read_metadata(file).num_row_groups == 3


def test_nobody_makes_empty_tables() -> None:
    lists = lists_of({}, [])
    table, refused = tables(lists, taste_matrix(0, 1))
    assert (len(table), len(refused), refused.schema) == (0, 0, REFUSED)


def test_reasons_must_lie_beside_the_songs() -> None:
    lists = lists_of({0: [(1, True)]}, [0])
    none, two = np.zeros(0, np.int32), np.zeros(2, np.int32)
    with pytest.raises(ValueError, match="because has 2 entries: expected one for each of the 1"):
        playlist_batches(lists, taste_matrix(1, 2), two, none, WEEK)
    with pytest.raises(ValueError, match=r"spares_because has 2 entries: expected .* 0 songs"):
        playlist_batches(lists, taste_matrix(1, 2), because(lists)[0], two, WEEK)


def test_users_out_of_order_are_an_error() -> None:
    lists = lists_of({1: [(1, True)], 0: [(1, True)]}, [0, 0])
    with pytest.raises(ValueError, match="must ascend"):
        playlist_batches(lists, taste_matrix(2, 2), *because(lists), WEEK)


def test_the_default_list_is_popular_under_all_rules() -> None:
    matrix = taste_matrix(1, 30)
    songs = matrix.songs
    (row,) = default_list(
        matrix,
        popular=popular_songs(songs),
        popularity=songs["popularity"].to_numpy(),
        artists=artist_codes(songs),
        barred=np.arange(30) == 29,
        settings=PlaylistsSettings(length=14, per_artist=2),
        week=WEEK,
    ).to_pylist()
    assert (row["user_id"], row["kind"], row["relaxed"]) == ("", "popular", [])
    # Ties by song; number 29 is barred; two of each of the seven artists.
    assert [int(track["track_id"][-2:]) for track in row["tracks"]] == [
        28, 26, 27, 24, 25, 22, 23, 20, 21, 18, 19, 16, 17, 15,
    ]  # fmt: skip
    assert {track["because_track_id"] for track in row["tracks"]} == {None}
    # Each artist is full: a third song may only stand in for one of the two.
    assert [int(one["track_id"][-2:]) for one in row["spares"]] == [14, 12, 13, 10, 11]
    assert row["spares"][0]["not_at"] == [at for at in range(1, 15) if at not in (1, 9)]


def test_no_default_list_where_every_song_is_barred() -> None:
    matrix = taste_matrix(1, 3)
    table = default_list(
        matrix,
        popular=popular_songs(matrix.songs),
        popularity=matrix.songs["popularity"].to_numpy(),
        artists=artist_codes(matrix.songs),
        barred=np.ones(3, bool),
        settings=PlaylistsSettings(),
        week=WEEK,
    )
    assert (len(table), table.schema) == (0, schemas.PLAYLISTS)


def test_artists_of_songs_that_name_none_or_null() -> None:
    songs = pa.table({"artist_ids": pa.array([[None, "x"], [], ["y", "x"]], pa.list_(pa.string()))})
    starts, codes = artist_codes(songs)
    assert starts.tolist() == [0, 1, 1, 3]
    assert codes[0] in codes[1:]
    assert len(set(codes.tolist())) == 2
    starts, codes = artist_codes(songs.slice(0, 0))
    assert (starts.tolist(), codes.tolist()) == ([0], [])
