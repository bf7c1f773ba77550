"""Contract: reading, and being forgotten."""

from __future__ import annotations

import dataclasses
import json
from datetime import date, timedelta

import pytest

from recsys.errors import NoEditionError, NoSuchUserError, StoreError
from recsys.store import Playlist, PlaylistTrack, Store, open_store
from tests.store.making import make


def test_a_playlist_is_the_row_of_the_contract(store: Store) -> None:
    make("2026-W47").publish(store)
    assert store.playlist("bob") == Playlist(
        edition="2026-W47",
        user_id="bob",
        kind="personal",
        tracks=(
            PlaylistTrack(1, "2026-W47/bob/1", None, (), 1.0, "personal", "heard/bob"),
            PlaylistTrack(
                2, "2026-W47/bob/2", "Número 2 🎵", ("Ana",), 0.5, "personal", "heard/bob"
            ),
            PlaylistTrack(
                3, "2026-W47/bob/3", "Número 3 🎵", ("Ana", '"B", 3'), 1 / 3, "popular", None
            ),
        ),
        relaxed=("cooldown", "artist cap"),
        valid_from=date(2026, 11, 16),
        valid_until=date(2026, 11, 22),
    )


def test_a_playlist_is_frozen_and_goes_into_json(store: Store) -> None:
    make("2026-W47").publish(store)
    playlist = store.playlist("bob")
    for record in (playlist, playlist.tracks[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.edition = "2026-W48"  # type: ignore[misc, union-attr]
    value = json.loads(json.dumps(playlist.to_dict()))
    assert list(value) == [field.name for field in dataclasses.fields(Playlist)]
    assert value["tracks"][2]["artist_names"] == ["Ana", '"B", 3']
    assert (value["valid_from"], value["relaxed"]) == ("2026-11-16", ["cooldown", "artist cap"])


def test_a_stranger_is_told_so(store: Store) -> None:
    make("2026-W47").publish(store)
    for user in ("", "ADA", "ada ", "ad", "nobody", "ada\0"):
        with pytest.raises(NoSuchUserError, match="2026-W47 has no playlist for this user"):
            store.playlist(user)


@pytest.mark.parametrize("user", [None, 7, b"ada", ["ada"], "\ud800"])
def test_user_ids_of_other_types_are_refused(store: Store, user: object) -> None:
    make("2026-W47").publish(store)
    for call in (store.playlist, store.forget):
        with pytest.raises(StoreError, match="A user_id is"):
            call(user)  # type: ignore[arg-type]


def test_an_edition_that_is_not_there_is_told_with_those_that_are(store: Store) -> None:
    make("2026-W46").publish(store)
    make("2026-W47").publish(store)
    for edition in ("2026-W45", "yesterday", ""):
        with pytest.raises(NoEditionError, match="2026-W46, 2026-W47"):
            store.playlist("ada", edition=edition)
        with pytest.raises(NoEditionError, match="2026-W46, 2026-W47"):
            store.default_playlist(edition=edition)


def test_superseded_editions_stay_readable_by_name(store: Store) -> None:
    for edition, revision in (("2026-W46", 1), ("2026-W46", 2), ("2026-W47", 1)):
        make(edition, revision=revision, salt=f"r{revision}").publish(store)
    assert store.playlist("ada", "2026-W46").tracks[0].track_id == "2026-W46r2/ada/1"
    assert store.default_playlist("2026-W46").tracks[0].track_id == "2026-W46r2//1"


def test_on_a_date_the_week_that_has_begun_counts(store: Store) -> None:
    mondays = {"2026-W46": date(2026, 11, 9), "2026-W47": date(2026, 11, 16)}
    for edition in mondays:
        make(edition).publish(store)
    day = timedelta(days=1)
    assert store.playlist("ada", on=mondays["2026-W46"]).edition == "2026-W46"
    assert store.playlist("ada", on=mondays["2026-W47"] - day).edition == "2026-W46"
    assert store.playlist("ada", on=mondays["2026-W47"]).edition == "2026-W47"
    assert store.playlist("ada", on=mondays["2026-W47"] + 90 * day).edition == "2026-W47"
    with pytest.raises(NoEditionError, match="begun on 2026-11-08"):
        store.playlist("ada", on=mondays["2026-W46"] - day)
    with pytest.raises(StoreError, match="not by both"):
        store.playlist("ada", edition="2026-W46", on=mondays["2026-W46"])


def test_the_default_playlist_is_the_edition_own(store: Store) -> None:
    make("2026-W47").publish(store)
    default = store.default_playlist()
    assert (default.user_id, default.kind) == ("", "popular")
    assert [track.track_id for track in default.tracks] == [f"2026-W47//{n}" for n in (1, 2, 3)]
    store.forget("")
    assert store.default_playlist() == default


def test_a_forgotten_user_is_hidden_at_once_everywhere(store: Store, url: str) -> None:
    make("2026-W46").publish(store)
    make("2026-W47").publish(store)
    with open_store(url) as reader:
        assert reader.playlist("ada").user_id == "ada"
        store.forget("ada")
        store.forget("ada")
        for asked in ({}, {"edition": "2026-W46"}, {"on": date(2026, 11, 17)}):
            with pytest.raises(NoSuchUserError) as hidden:
                reader.playlist("ada", **asked)  # type: ignore[arg-type]
            assert "ada" not in str(hidden.value)
        assert reader.playlist("bob").user_id == "bob"
        assert reader.tombstones() == {"ada"}
    make("2026-W48").publish(store)
    with pytest.raises(NoSuchUserError):
        store.playlist("ada")


def test_a_closed_store_says_so(url: str) -> None:
    store = open_store(url)
    made = make("2026-W47")
    made.publish(store)
    store.close()
    store.close()
    for call in (
        lambda: store.playlist("ada"),
        store.default_playlist,
        store.rollback,
        store.editions,
        store.ledger,
        store.tombstones,
        lambda: store.forget("ada"),
        lambda: made.stage(store),
        lambda: store.activate("2026-W47", made.digest),
        lambda: store.rows(made.digest),
    ):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_rows_of_an_unknown_digest_are_refused(store: Store) -> None:
    with pytest.raises(NoEditionError, match="Nothing is staged"):
        store.rows("0" * 64)
