"""Contract: a blocked track is gone at once, and the first spare that keeps the rules enters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import NoSuchUserError, StoreError
from recsys.store import Playlist, PlaylistTrack, Store, open_store
from recsys.store._playlist import Spare, without_blocked
from recsys.weeks import Week
from tests.store.making import Made, batch, make, make_default, playlist_row


def ids(playlist: Playlist) -> list[str]:
    return [track.track_id.rpartition("/")[2] for track in playlist.tracks]


def block(store: Store, *names: str, user: str = "ada", edition: str = "2026-W47") -> None:
    for name in names:
        store.block(f"{edition}/{user}/{name}")


def test_a_blocked_track_gives_way_to_the_first_spare_that_fits(store: Store, url: str) -> None:
    make("2026-W47").publish(store)
    with open_store(url) as reader:
        before = reader.playlist("ada")
        assert ids(before) == ["1", "2", "3"]
        block(store, "2")
        after = reader.playlist("ada")
        assert ids(after) == ["1", "spare 1", "3"]
        assert [track.position for track in after.tracks] == [1, 2, 3]
        assert after.tracks[1] == PlaylistTrack(
            2, "2026-W47/ada/spare 1", "Ersatz", ("Spare 1",), 0.1, "personal", "heard/ada"
        )
        block(store, "3")  # spare 1 would fit neither here nor twice
        assert ids(reader.playlist("ada")) == ["1", "spare 1", "spare 2"]
        assert ids(reader.playlist("bob")) == ["1", "2", "3"]
        assert reader.blocks() == {"2026-W47/ada/2", "2026-W47/ada/3"}


def test_a_spare_does_not_enter_where_it_breaks_a_rule(store: Store) -> None:
    make("2026-W47").publish(store)
    block(store, "1")
    assert ids(store.playlist("ada")) == ["spare 2", "2", "3"]


def test_a_blocked_spare_does_not_enter_and_the_list_closes_up(store: Store) -> None:
    make("2026-W47").publish(store)
    block(store, "spare 1", "spare 2", "2")
    playlist = store.playlist("ada")
    assert ids(playlist) == ["1", "3"]
    assert [track.position for track in playlist.tracks] == [1, 2]


def test_spares_are_hidden_where_nothing_is_blocked(store: Store) -> None:
    make("2026-W47").publish(store)
    block(store, "nobody has it", "spare 1")
    playlist = store.playlist("ada")
    assert ids(playlist) == ["1", "2", "3"]
    assert "spare" not in str(playlist.to_dict())


def test_a_playlist_of_which_nothing_is_left_is_told(store: Store) -> None:
    make("2026-W47").publish(store)
    block(store, "1", "2", "3", "spare 1", "spare 2")
    with pytest.raises(NoSuchUserError, match="Nothing is left of this playlist") as told:
        store.playlist("ada")
    assert "ada" not in str(told.value)
    assert ids(store.playlist("bob")) == ["1", "2", "3"]


def test_the_default_playlist_has_spares_too(store: Store) -> None:
    make("2026-W47").publish(store)
    block(store, "3", user="")
    assert ids(store.default_playlist()) == ["1", "2", "spare 2"]
    block(store, "1", "2", "spare 1", "spare 2", user="")
    with pytest.raises(NoSuchUserError, match="Nothing is left"):
        store.default_playlist()


def test_a_block_holds_in_every_edition(store: Store) -> None:
    for week in ("2026-W46", "2026-W47"):
        made = make(week)
        made.stage(store)
        block(store, "2", edition=week)
        store.activate(week, made.digest)
    monday = Week.parse("2026-W46").monday
    for playlist in (
        store.playlist("ada"),
        store.playlist("ada", edition="2026-W46"),
        store.playlist("ada", on=monday),
    ):
        assert ids(playlist) == ["1", "spare 1", "3"]
    store.rollback()
    assert ids(store.playlist("ada")) == ["1", "spare 1", "3"]


def test_blocking_twice_is_blocking_once_and_no_track_is_needed(store: Store) -> None:
    store.block("anything")
    first = store.history().blocks
    store.block("anything")
    assert store.history().blocks == first
    assert store.blocks() == {"anything"}
    assert store.ledger() == ()


def test_stored_rows_stay_as_they_were_made(store: Store) -> None:
    made = make("2026-W47")
    made.publish(store)
    block(store, "1", "2")
    stored = [row for part in store.rows(made.digest) for row in part.to_pylist()]
    assert stored == made.batches[0].to_pylist()


def test_without_spares_the_list_closes_up(store: Store) -> None:
    rows = [playlist_row("2026-W47", "ada", "2026-W47", spares=0)]
    Made("2026-W47", 1, [batch(rows)], make_default("2026-W47")).publish(store)
    block(store, "1")
    assert ids(store.playlist("ada")) == ["2", "3"]


@pytest.mark.parametrize("track", [None, 7, b"x", "\ud800"])
def test_track_ids_of_other_types_are_refused(store: Store, track: object) -> None:
    with pytest.raises(StoreError, match="A track_id is"):
        store.block(track)  # type: ignore[arg-type]


TRACKS = st.integers(1, 6)


@given(
    tracks=TRACKS,
    not_at=st.lists(st.sets(TRACKS), max_size=4),
    blocked=st.sets(st.one_of(st.integers(1, 6).map(str), st.integers(1, 4).map("s{}".format))),
)
def test_what_is_shown_keeps_order_and_rules(
    tracks: int, not_at: list[set[int]], blocked: set[str]
) -> None:
    listed = tuple(
        PlaylistTrack(n, str(n), None, (), 1.0, "als", None) for n in range(1, tracks + 1)
    )
    spares = [
        Spare(PlaylistTrack(0, f"s{n}", None, (), 1.0, "als", None), tuple(positions))
        for n, positions in enumerate(not_at, start=1)
    ]
    week = Week.parse("2026-W47")
    made = Playlist("2026-W47", "ada", "personal", listed, (), week.monday, week.sunday)
    shown = without_blocked(made, spares, blocked)
    if shown is None:
        assert {track.track_id for track in listed} <= blocked
        return
    names = [track.track_id for track in shown.tracks]
    assert len(set(names)) == len(names)
    assert not blocked.intersection(names)
    assert [track.position for track in shown.tracks] == list(range(1, len(names) + 1))
    kept = [name for name in names if not name.startswith("s")]
    assert kept == [track.track_id for track in listed if track.track_id not in blocked]
    entered = [name for name in names if name.startswith("s")]
    gone = [track.position for track in listed if track.track_id in blocked]
    assert len(entered) <= len(gone)
    if len(entered) < len(gone):  # then none of those that wait fits every gap
        waiting = [
            set(spare.not_at)
            for spare in spares
            if spare.track.track_id not in blocked | set(entered)
        ]
        assert all(positions.intersection(gone) for positions in waiting)
