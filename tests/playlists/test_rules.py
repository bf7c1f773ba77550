"""The rules, against a slow reading of them in plain Python, and the cases that are known hard."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

from recsys import _threads
from recsys.candidates import Candidates
from recsys.playlists import _rules, make_lists
from recsys.settings import PlaylistsSettings
from tests.playlists.worlds import (
    Listener,
    Reference,
    World,
    broken,
    make,
    one_listener,
    relaxed_of,
    rows,
    songs_of,
    worlds,
)


@given(worlds())
def test_each_list_is_what_the_rules_say(world: World) -> None:
    lists = make(world)
    for user, listener in enumerate(world.listeners):
        assert songs_of(lists, user) == Reference(world, listener).run()


@given(worlds())
def test_what_no_rule_may_cost(world: World) -> None:
    lists = make(world)
    for user, listener in enumerate(world.listeners):
        got = songs_of(lists, user)
        eligible = set(range(len(world.artists))) - listener.excluded - world.barred
        assert set(got) <= eligible
        assert len(set(got)) == len(got) == min(world.rules.length, len(eligible))
        assert relaxed_of(lists, user) == broken(world, listener, got)


@given(worlds())
def test_sources_and_scores_belong_to_their_songs(world: World) -> None:
    lists = make(world)
    score = iter(range(1000, 2000))
    for user, listener in enumerate(world.listeners):
        model = dict(zip(listener.candidates, score, strict=False))
        span = slice(lists.offsets[user], lists.offsets[user + 1])
        for song, mine, value in zip(
            lists.songs[span].tolist(), lists.personal[span], lists.scores[span], strict=True
        ):
            assert mine == (song in model)
            assert value == (model[song] if mine else song)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_and_blocks_leave_the_bytes_alone(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    rng = np.random.default_rng(5)

    def pick(count: int) -> frozenset[int]:
        return frozenset(int(song) for song in rng.choice(60, count, replace=False))

    world = World(
        artists=tuple(frozenset(rng.integers(0, 12, 2).tolist()) for _ in range(60)),
        popular=tuple(rng.permutation(60).tolist()),
        listeners=tuple(
            Listener(tuple(rng.permutation(60)[: user % 40].tolist()), pick(user % 50), pick(20))
            for user in range(200)
        ),
        rules=PlaylistsSettings(length=20),
    )
    whole = make(world)
    monkeypatch.setattr(_threads, "cores", lambda: threads)
    monkeypatch.setattr(_rules, "_USERS_A_BLOCK", 13)
    blocks = make(world)
    for name in ("users", "offsets", "songs", "scores", "personal", "relaxed"):
        assert_same(getattr(whole, name), getattr(blocks, name))
    for name in ("offsets", "songs", "scores", "personal", "not_at_offsets", "not_at"):
        assert_same(getattr(whole.spares, name), getattr(blocks.spares, name))


def assert_same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> None:
    assert one.dtype == other.dtype
    assert one.tobytes() == other.tobytes()


def test_one_track() -> None:
    lists = make(one_listener([{0}], Listener((0,))))
    assert songs_of(lists) == [0]
    assert relaxed_of(lists) == set()


def test_one_artist_fills_the_list_by_giving_way() -> None:
    lists = make(one_listener([{0}] * 40, Listener(tuple(range(5)))))
    assert songs_of(lists) == list(range(30))
    assert relaxed_of(lists) == {"neighbours", "per_artist"}


def test_five_artists_give_way_in_the_cap_only() -> None:
    lists = make(one_listener([{song % 5} for song in range(50)], Listener()))
    assert len(songs_of(lists)) == 30
    assert relaxed_of(lists) == {"per_artist"}


def test_everything_heard_leaves_an_empty_list() -> None:
    lists = make(one_listener([{song} for song in range(9)], Listener((), frozenset(range(9)))))
    assert lists.offsets.tolist() == [0, 0]
    assert relaxed_of(lists) == set()


def test_everything_cooling_is_repeated() -> None:
    lists = make(
        one_listener([{s} for s in range(9)], Listener((), frozenset(), frozenset(range(9))))
    )
    assert songs_of(lists) == list(range(9))
    assert relaxed_of(lists) == {"cooldown"}


def test_a_full_list_under_all_rules_goes_before_better_songs_that_break_one() -> None:
    world = one_listener([{0}, {0}, {0}, {1}, {2}], Listener((0, 1, 2)), length=4)
    lists = make(world)
    assert songs_of(lists) == [0, 3, 1, 4]
    assert relaxed_of(lists) == set()
    assert lists.personal.tolist() == [True, False, True, False]


def test_a_rule_gives_way_for_the_missing_tracks_only() -> None:
    cooling = frozenset({0, 1})
    world = one_listener(
        [{s} for s in range(4)], Listener((0, 1, 2), frozenset(), cooling), length=3
    )
    lists = make(world)
    assert songs_of(lists) == [2, 3, 0]
    assert relaxed_of(lists) == {"cooldown"}


def test_a_song_that_no_single_rule_lets_in() -> None:
    # Song 1 is by the artist of song 0 and cooling: neighbours and cooldown must both give way.
    world = one_listener([{0}, {0}], Listener((0, 1), frozenset(), frozenset({1})))
    lists = make(world)
    assert songs_of(lists) == [0, 1]
    assert relaxed_of(lists) == {"neighbours", "cooldown"}


def test_collaborations_count_for_each_artist() -> None:
    world = one_listener([{0, 1}, {2}, {0}, {3}, {1}, {4}, {0, 5}, {6}], Listener(), length=7)
    assert songs_of(make(world)) == [0, 1, 2, 3, 4, 5, 7]


def test_songs_without_an_artist_stand_anywhere() -> None:
    lists = make(one_listener([set()] * 6, Listener()))
    assert songs_of(lists) == list(range(6))
    assert relaxed_of(lists) == set()


def test_nobody_and_nothing() -> None:
    nobody = World((frozenset({0}),), (0,), ())
    assert make(nobody).offsets.tolist() == [0]
    nothing = World((), (), (Listener(),))
    assert make(nothing).offsets.tolist() == [0, 0]


def test_rows_of_other_users_are_an_error() -> None:
    with pytest.raises(ValueError, match="excluded is 1 x 0: expected one row for each of the 2"):
        make_lists(
            Candidates(np.arange(2, dtype=np.int32), np.zeros(3, np.int64), *[np.empty(0)] * 2),
            popular=np.empty(0, np.int32),
            popularity=np.empty(0),
            artists=(np.zeros(1, np.int64), np.empty(0, np.int32)),
            excluded=rows([frozenset()], 0),
            barred=np.empty(0, bool),
            cooling=rows([frozenset()] * 2, 0),
            settings=PlaylistsSettings(),
        )
