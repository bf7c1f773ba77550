"""Contract: staging."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.errors import NoEditionError, StoreError
from recsys.store import Action, Store, open_store, playlists_digest
from tests.store.making import Made, batch, make, make_default, playlist_row, stored_rows

WEIRD_USERS = (
    "'; DROP TABLE playlist; --",
    '"quoted"',
    "line\nbreak\ttab",
    "nul\0inside",
    "nul\0other",
    " spaces ",
    "🎧 émoji",
    "z" * 10_000,
    "%s ? :x",
    "\U0010ffff",
)


def test_a_staged_edition_is_invisible_until_it_is_activated(store: Store) -> None:
    made = make("2026-W47")
    assert made.stage(store) == 3
    assert store.current() is None
    for read in (store.default_playlist, lambda: store.playlist("ada")):
        with pytest.raises(NoEditionError, match="no edition yet"):
            read()
    with pytest.raises(NoEditionError):
        store.playlist("ada", edition="2026-W47")
    store.activate("2026-W47", made.digest)
    assert store.playlist("ada").edition == "2026-W47"


def test_rows_read_back_exactly_as_they_were_handed_over(store: Store) -> None:
    made = make("2026-W47", WEIRD_USERS, batch_rows=4)
    made.publish(store)
    wanted = [row for part in made.batches for row in part.to_pylist()]
    assert stored_rows(store, made.digest) == wanted
    for row in wanted:
        read = store.playlist(row["user_id"]).to_dict()
        hidden = row.pop("spares")
        assert len(hidden) == 2
        assert read == {
            **row,
            "valid_from": row["valid_from"].isoformat(),
            "valid_until": row["valid_until"].isoformat(),
        }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(users=st.sets(st.text(min_size=1, max_size=20), max_size=12), rows=st.integers(1, 5))
def test_every_user_gets_the_own_playlist(
    tmp_path_factory: pytest.TempPathFactory, users: set[str], rows: int
) -> None:
    made = make("2026-W47", sorted(users), batch_rows=rows)
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('own')}/s?shards=2") as store:
        made.publish(store)
        for user in users:
            tracks = store.playlist(user).tracks
            assert [track.track_id for track in tracks] == [
                f"2026-W47/{user}/{n}" for n in (1, 2, 3)
            ]


def test_the_same_digest_twice_is_one_staging(store: Store) -> None:
    made = make("2026-W47")
    assert made.stage(store) == made.stage(store) == 3
    assert len(store.editions()) == 1
    assert [entry.action for entry in store.ledger()] == [Action.STAGED]


def test_other_rows_under_a_staged_digest_are_refused(store: Store) -> None:
    made, other = make("2026-W47"), make("2026-W47", salt="other")
    made.publish(store)
    with pytest.raises(StoreError, match="other rows"):
        store.stage("2026-W47", 1, made.digest, other.batches, other.default)
    assert store.playlist("ada").tracks[0].track_id == "2026-W47/ada/1"


@pytest.mark.parametrize("swapped", ["rows", "default"])
def test_rows_that_are_not_those_of_the_digest_are_refused(store: Store, swapped: str) -> None:
    made, other = make("2026-W47"), make("2026-W47", salt="other")
    batches = other.batches if swapped == "rows" else made.batches
    default = other.default if swapped == "default" else made.default
    with pytest.raises(StoreError, match="not those of digest"):
        store.stage("2026-W47", 1, made.digest, batches, default)
    assert store.editions() == ()
    assert made.stage(store) == 3


def test_a_revision_that_comes_out_the_same_counts_as_the_new_revision(store: Store) -> None:
    first, second = make("2026-W47"), make("2026-W47", revision=2, salt="b")
    first.publish(store)
    second.publish(store)
    again = make("2026-W47", revision=3)
    assert again.digest == first.digest
    again.publish(store)
    current = store.current()
    assert current is not None
    assert (current.revision, current.digest) == (3, first.digest)
    assert len(store.editions()) == 2


def test_forgotten_users_are_left_out_and_counted(store: Store) -> None:
    store.forget("bob")
    made = make("2026-W47")
    assert made.stage(store) == 2
    stored = store.state(made.digest)
    assert stored is not None
    assert (stored.rows, stored.left_out, stored.present) == (2, 1, True)
    assert [row["user_id"] for row in stored_rows(store, made.digest)] == ["ada", "cleo"]


def test_an_edition_may_have_a_default_playlist_alone(store: Store) -> None:
    made = Made("2026-W47", 1, [], make_default("2026-W47"))
    made.publish(store)
    assert store.default_playlist().kind == "popular"


def test_a_failing_source_of_rows_leaves_nothing(store: Store) -> None:
    made = make("2026-W47")

    def broken():  # type: ignore[no-untyped-def]
        yield made.batches[0]
        raise OSError("the artefact is gone")

    with pytest.raises(StoreError, match="the artefact is gone"):
        store.stage("2026-W47", 1, made.digest, broken(), made.default)
    assert store.editions() == ()
    assert made.stage(store) == 3


GOOD = playlist_row("2026-W47", "ada", "x")
BAD_ROWS = {
    "another week": ([{**GOOD, "edition": "2026-W46"}], "Row 1 is of another week"),
    "another Monday": (
        [{**GOOD, "valid_from": GOOD["valid_until"]}],
        "its valid_from is not 2026-11-16",
    ),
    "empty playlist": ([GOOD, {**GOOD, "user_id": "bob", "tracks": []}], "Row 2 has an empty"),
    "twice": ([GOOD, GOOD], "Row 2 is out of order"),
    "unsorted": ([{**GOOD, "user_id": "b"}, {**GOOD, "user_id": "a"}], "Row 2 is out of order"),
    "a spare that is listed": (
        [{**GOOD, "spares": [{**GOOD["spares"][0], "track_id": "x/ada/2"}]}],
        "Row 1 has a spare that is in it already",
    ),
    "a spare twice": (
        [GOOD, {**GOOD, "user_id": "bob", "spares": GOOD["spares"][:1] * 2}],
        "Row 2 has a spare that is in it already",
    ),
    "a spare nowhere": (
        [GOOD, {**GOOD, "user_id": "bob", "spares": [{**GOOD["spares"][0], "not_at": [1, 4]}]}],
        "Row 2 has a spare with a position",
    ),
    "positions": ([{**GOOD, "tracks": GOOD["tracks"][1:]}], "Row 1 has positions"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_refused_by_number(store: Store, case: str) -> None:
    rows, message = BAD_ROWS[case]
    made = Made("2026-W47", 1, [batch([row]) for row in rows], make_default("2026-W47"))
    with pytest.raises(StoreError, match=message) as refused:
        made.stage(store)
    assert "ada" not in str(refused.value)
    assert store.editions() == ()


IDS = st.lists(st.sampled_from("abcdef"), max_size=4)


@given(rows=st.lists(st.tuples(IDS.filter(bool), IDS), min_size=1, max_size=5))
def test_spares_are_told_from_tracks_row_by_row(rows: list[tuple[list[str], list[str]]]) -> None:
    made = []
    tag = {"track_name": "n", "artist_names": []}
    for n, (tracks, spares) in enumerate(rows):
        row = playlist_row("2026-W47", str(n), "x", tracks=len(tracks), spares=len(spares))
        for name, ids in (("tracks", tracks), ("spares", spares)):
            for entry, track_id in zip(row[name], ids, strict=True):
                entry.update(track_id=track_id, **tag)
        made.append({**row, "spares": [{**spare, "not_at": [1]} for spare in row["spares"]]})
    bad = [
        n
        for n, (tracks, spares) in enumerate(rows, start=1)
        if len(set(spares)) < len(spares) or set(spares) & set(tracks)
    ]
    message = f"Row {bad[0]} has a spare that is in it already" if bad else ""
    with pytest.raises(StoreError, match=message) if bad else nullcontext():
        playlists_digest([batch(made)], make_default("2026-W47"))


def test_rows_of_other_columns_are_refused(store: Store) -> None:
    made = make("2026-W47")
    with pytest.raises(StoreError, match=r"recsys\.schemas\.PLAYLISTS"):
        store.stage("2026-W47", 1, "0" * 64, [made.batches[0].drop_columns(["kind"])], made.default)


def test_a_default_playlist_for_somebody_is_refused(store: Store) -> None:
    made = make("2026-W47", ["ada"])
    with pytest.raises(StoreError, match="user_id is empty"):
        store.stage("2026-W47", 1, "0" * 64, made.batches, made.batches[0])


def test_one_track_under_two_names_is_refused(store: Store) -> None:
    rows = [playlist_row("2026-W47", user, "x") for user in ("a", "b")]
    rows[1]["tracks"][1] = {**rows[0]["tracks"][1], "track_name": "Another"}
    made = Made("2026-W47", 1, [batch(rows)], make_default("2026-W47"))
    with pytest.raises(StoreError, match="one track has two names"):
        made.stage(store)
    assert store.editions() == ()


@pytest.mark.parametrize(("edition", "revision"), [("2025-W53", 1), ("47", 1), ("2026-W47", 0)])
def test_only_weeks_and_revisions_can_be_staged(store: Store, edition: str, revision: int) -> None:
    made = make("2026-W47")
    with pytest.raises(StoreError, match=edition):
        store.stage(edition, revision, made.digest, made.batches, made.default)
