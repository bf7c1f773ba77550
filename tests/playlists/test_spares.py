"""Spares: what stands behind a list, and what a list is once tracks of it are blocked."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from recsys.playlists import Lists
from recsys.store._playlist import Playlist, PlaylistTrack, Spare, without_blocked
from tests.playlists.worlds import (
    Listener,
    World,
    make,
    one_listener,
    songs_of,
    worlds,
)


def spares_of(lists: Lists, user: int = 0) -> list[int]:
    spares = lists.spares
    return [int(song) for song in spares.songs[spares.offsets[user] : spares.offsets[user + 1]]]


def not_at(lists: Lists, user: int = 0) -> list[set[int]]:
    spares = lists.spares
    return [
        set(spares.not_at[spares.not_at_offsets[k] : spares.not_at_offsets[k + 1]].tolist())
        for k in range(spares.offsets[user], spares.offsets[user + 1])
    ]


def most_credits(world: World, songs: list[int]) -> dict[int, int]:
    credited = [artist for song in songs for artist in world.artists[song]]
    return {artist: credited.count(artist) for artist in credited}


def breaches(world: World, songs: list[int]) -> set[tuple[str, int, int]]:
    """Each artist over the cap with how often, each pair of neighbours that shares one."""
    cap = world.rules.per_artist
    return {("per_artist", a, n) for a, n in most_credits(world, songs).items() if n > cap} | {
        ("neighbours", at, 0)
        for at, (one, other) in enumerate(pairwise(songs))
        if world.artists[one] & world.artists[other]
    }


def misfits(world: World, songs: list[int], spare: int) -> set[int]:
    """The positions where the spare would add a breach, one list at a time."""
    before = breaches(world, songs)
    return {
        at + 1
        for at in range(len(songs))
        if breaches(world, [*songs[:at], spare, *songs[at + 1 :]]) - before
        and not only_fewer(world, songs, [*songs[:at], spare, *songs[at + 1 :]])
    }


def only_fewer(world: World, before: list[int], after: list[int]) -> bool:
    """Whether what is new in the breaches is an artist that is over the cap less often."""
    counts = most_credits(world, before)
    return all(
        rule == "per_artist" and n <= counts.get(artist, 0)
        for rule, artist, n in breaches(world, after) - breaches(world, before)
    )


def expected_spares(world: World, listener: Listener, songs: list[int]) -> list[int]:
    found: list[int] = []
    counts = most_credits(world, songs)
    out = {*songs, *listener.excluded, *listener.cooling, *world.barred}
    for room in (True, False):
        for song in (*listener.candidates, *world.popular):
            full = any(counts.get(a, 0) >= world.rules.per_artist for a in world.artists[song])
            if (
                len(found) < 5
                and song not in {*out, *found}
                and not (room and full)
                and not any(world.artists[song] & world.artists[other] for other in found)
                and len(misfits(world, songs, song)) < len(songs)
            ):
                found.append(song)
    return found


@given(worlds())
def test_spares_are_the_next_best_that_fit_somewhere(world: World) -> None:
    lists = make(world)
    for user, listener in enumerate(world.listeners):
        songs, spares = songs_of(lists, user), spares_of(lists, user)
        assert spares == expected_spares(world, listener, songs)
        assert not_at(lists, user) == [misfits(world, songs, spare) for spare in spares]


def row_of(lists: Lists, user: int) -> tuple[Playlist, list[Spare]]:
    def track(song: int, position: int) -> PlaylistTrack:
        return PlaylistTrack(position, str(song), None, (), 0.0, "als", None)

    playlist = Playlist(
        edition="2026-W47",
        user_id=str(user),
        kind="personal",
        tracks=tuple(track(song, at) for at, song in enumerate(songs_of(lists, user), start=1)),
        relaxed=(),
        valid_from=date(2026, 11, 16),
        valid_until=date(2026, 11, 22),
    )
    spares = zip(spares_of(lists, user), not_at(lists, user), strict=True)
    return playlist, [Spare(track(song, 0), tuple(sorted(places))) for song, places in spares]


@given(world=worlds(), data=st.data())
def test_whatever_is_blocked_a_list_keeps_the_rules_that_it_kept(
    world: World, data: st.DataObject
) -> None:
    lists = make(world)
    for user, listener in enumerate(world.listeners):
        songs = songs_of(lists, user)
        blocked = data.draw(st.frozensets(st.sampled_from(range(len(world.artists)))))
        playlist, spares = row_of(lists, user)
        if not songs:
            continue
        shown = without_blocked(playlist, spares, {str(song) for song in blocked})
        got = [] if shown is None else [int(track.track_id) for track in shown.tracks]

        assert not blocked & set(got)
        assert len(set(got)) == len(got)
        assert [song for song in got if song in songs] == [s for s in songs if s not in blocked]
        entered = set(got) - set(songs)
        assert not entered & {*listener.excluded, *listener.cooling, *world.barred}
        before = most_credits(world, songs)
        for artist, count in most_credits(world, got).items():
            assert count <= max(world.rules.per_artist, before.get(artist, 0))
        if len(got) == len(songs):  # nothing closed up: each song has the neighbours it had
            for at, (one, other) in enumerate(pairwise(got)):
                if {one, other} & entered and world.artists[one] & world.artists[other]:
                    assert world.artists[songs[at]] & world.artists[songs[at + 1]]


@given(world=worlds(), data=st.data())
def test_the_first_spare_that_fits_is_the_one_that_enters(
    world: World, data: st.DataObject
) -> None:
    lists = make(world)
    songs = songs_of(lists)
    if not songs:
        return
    place = data.draw(st.integers(0, len(songs) - 1))
    playlist, spares = row_of(lists, 0)
    shown = without_blocked(playlist, spares, {str(songs[place])})
    got = [] if shown is None else [int(track.track_id) for track in shown.tracks]
    fitting = [spare for spare in spares_of(lists) if place + 1 not in misfits(world, songs, spare)]
    assert got == [*songs[:place], *fitting[:1], *songs[place + 1 :]]


@given(worlds())
def test_lists_and_spares_in_one(world: World) -> None:
    lists = make(world)
    both, of_lists, of_spares = lists.with_spares()
    for user in range(len(world.listeners)):
        together = both.songs[both.offsets[user] : both.offsets[user + 1]].tolist()
        assert together == [*songs_of(lists, user), *spares_of(lists, user)]
    for name in ("songs", "scores", "personal"):
        assert (getattr(both, name)[of_lists] == getattr(lists, name)).all()
        assert (getattr(both, name)[of_spares] == getattr(lists.spares, name)).all()


def test_five_stand_by_best_first() -> None:
    lists = make(one_listener([{song} for song in range(12)], Listener((3, 1, 4)), length=5))
    assert songs_of(lists) == [3, 1, 4, 0, 2]
    assert spares_of(lists) == [5, 6, 7, 8, 9]
    assert not_at(lists) == [set()] * 5
    lists = make(one_listener([{s} for s in range(12)], Listener((3, 1, 4, 9, 8)), length=3))
    assert spares_of(lists) == [9, 8, 0, 2, 5]
    assert lists.spares.personal.tolist() == [True, True, False, False, False]
    assert lists.spares.scores.tolist() == [1003, 1004, 0, 2, 5]


def test_what_is_heard_barred_or_cooling_does_not_stand_by() -> None:
    listener = Listener((0, 1), frozenset({2}), frozenset({3}))
    world = one_listener([{song} for song in range(6)], listener, length=2)
    world = World(world.artists, world.popular, world.listeners, frozenset({4}), world.rules)
    assert spares_of(make(world)) == [5]


def test_spares_share_no_artist_with_each_other() -> None:
    artists: list[set[int]] = [{0}, {1}, {2, 3}, {3}, {4}, {2}, set(), set()]
    lists = make(one_listener(artists, Listener((0, 1)), length=2))
    assert spares_of(lists) == [2, 4, 6, 7]


def test_beside_its_own_artist_a_spare_does_not_fit() -> None:
    lists = make(one_listener([{0}, {1}, {2}, {3}, {1}], Listener((0, 1, 2, 3)), length=4))
    assert spares_of(lists) == [4]
    assert not_at(lists) == [{1, 3}]


def test_a_song_by_a_full_artist_stands_by_last_and_for_its_own_artist_only() -> None:
    lists = make(one_listener([{0}, {0}, {1}, {2}], Listener((0, 1, 2)), length=2, per_artist=1))
    assert songs_of(lists) == [0, 2]
    assert spares_of(lists) == [3, 1]
    assert not_at(lists) == [set(), {2}]


def test_a_list_that_breaks_a_rule_is_not_made_worse() -> None:
    lists = make(one_listener([{0}] * 4, Listener((0, 1, 2)), length=3))
    assert spares_of(lists) == [3]
    assert not_at(lists) == [set()]
