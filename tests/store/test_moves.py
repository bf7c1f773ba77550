"""Contract: activation, backfill, rollback and the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from recsys.errors import NoEditionError, NoSuchUserError, StoreError
from recsys.store import Action, State, Store
from tests.store.making import make


def served(store: Store) -> str | None:
    current = store.current()
    return None if current is None else f"{current.edition} r{current.revision}"


def test_a_newer_week_or_revision_takes_over(store: Store) -> None:
    for edition, revision in (("2026-W46", 1), ("2026-W47", 1), ("2026-W47", 2), ("2027-W01", 1)):
        make(edition, revision=revision, salt=str(revision)).publish(store)
        assert served(store) == f"{edition} r{revision}"
        assert store.playlist("ada").edition == edition
    assert [edition.state for edition in store.editions()] == [
        State.ACTIVATED,
        *[State.SUPERSEDED] * 3,
    ]


def test_activating_what_is_served_changes_nothing(store: Store) -> None:
    made = make("2026-W47")
    made.publish(store)
    before = store.ledger()
    store.activate("2026-W47", made.digest)
    store.activate("2026-W47", made.digest, backfill=True)
    assert store.ledger() == before


def test_an_older_week_or_revision_is_refused(store: Store) -> None:
    make("2026-W47", revision=2, salt="2").publish(store)
    for older in (make("2026-W46"), make("2026-W47")):
        older.stage(store)
        with pytest.raises(StoreError, match=r"not newer than 2026-W47 r2.*--revision"):
            store.activate(older.edition, older.digest)
    assert served(store) == "2026-W47 r2"


def test_a_revision_that_readers_know_cannot_be_another_content(store: Store) -> None:
    make("2026-W46").publish(store)
    make("2026-W47").publish(store)
    for edition in ("2026-W46", "2026-W47"):
        twin = make(edition, salt="twin")
        twin.stage(store)
        with pytest.raises(StoreError, match="--revision"):
            store.activate(edition, twin.digest, backfill=True)


def test_only_what_is_staged_for_that_week_can_be_activated(store: Store) -> None:
    made = make("2026-W47")
    with pytest.raises(StoreError, match="stage it before"):
        store.activate("2026-W47", made.digest)
    made.stage(store)
    with pytest.raises(StoreError, match="staged for 2026-W47, not for 2026-W48"):
        store.activate("2026-W48", made.digest)


def test_a_backfill_is_readable_and_never_moves_the_pointer_back(store: Store) -> None:
    make("2026-W47").publish(store)
    older = make("2026-W45")
    older.publish(store, backfill=True)
    assert served(store) == "2026-W47 r1"
    assert store.playlist("ada", edition="2026-W45").edition == "2026-W45"
    assert store.playlist("ada", on=datetime(2026, 11, 9, tzinfo=UTC).date()).edition == "2026-W45"
    older.publish(store, backfill=True)
    assert [entry.action for entry in store.ledger()] == [State.STAGED, State.ACTIVATED] * 2
    make("2026-W48").publish(store, backfill=True)
    assert served(store) == "2026-W48 r1"


def test_rollback_serves_what_was_served_before(store: Store) -> None:
    for edition in ("2026-W45", "2026-W46", "2026-W47"):
        make(edition).publish(store)
    entry = store.rollback()
    assert (entry.edition, entry.action, served(store)) == (
        "2026-W46",
        State.ACTIVATED,
        "2026-W46 r1",
    )
    assert store.ledger()[-1] == entry
    assert store.playlist("ada").tracks[0].track_id == "2026-W46/ada/1"
    make("2026-W48").publish(store)
    assert store.rollback().edition == "2026-W46"
    assert store.rollback().edition == "2026-W45"
    with pytest.raises(StoreError, match="No edition was served before"):
        store.rollback()
    assert served(store) == "2026-W45 r1"


def test_rollback_restores_what_was_served_but_for_the_forgotten(store: Store) -> None:
    first, second = make("2026-W46"), make("2026-W47")
    first.publish(store)
    before = {user: store.playlist(user) for user in ("ada", "bob", "cleo")}
    default = store.default_playlist()
    second.publish(store)
    store.forget("bob")
    store.rollback()
    assert {user: store.playlist(user) for user in ("ada", "cleo")} == {
        user: before[user] for user in ("ada", "cleo")
    }
    assert store.default_playlist() == default
    with pytest.raises(NoSuchUserError):
        store.playlist("bob")
    staged = [entry.edition for entry in store.ledger() if entry.action is Action.STAGED]
    assert staged == ["2026-W46", "2026-W47"]
    with pytest.raises(StoreError, match="not served again by itself"):  # a scheduled rerun
        second.publish(store)
    assert served(store) == "2026-W46 r1"


def test_rollback_of_nothing_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no edition is served yet"):
        store.rollback()
    make("2026-W47").stage(store)
    with pytest.raises(StoreError, match="no edition is served yet"):
        store.rollback()


def test_what_was_rolled_back_stays_away(store: Store) -> None:
    make("2026-W46").publish(store)
    bad = make("2026-W47")
    bad.publish(store)
    store.rollback()
    for backfill in (False, True):
        with pytest.raises(StoreError, match=r"rolled back.*--revision 2"):
            bad.publish(store, backfill=backfill)
    with pytest.raises(NoEditionError):
        store.playlist("ada", edition="2026-W47")
    assert store.playlist("ada", on=datetime(2026, 11, 17, tzinfo=UTC).date()).edition == "2026-W46"
    make("2026-W47", revision=2, salt="better").publish(store)
    assert store.playlist("ada", edition="2026-W47").tracks[0].track_id == "2026-W47better/ada/1"


def test_the_ledger_tells_what_happened_in_order(store: Store) -> None:
    start = datetime.now(UTC)
    first, second = make("2026-W46"), make("2026-W47")
    first.publish(store)
    second.publish(store)
    store.rollback()
    assert [(entry.action, entry.edition) for entry in store.ledger()] == [
        (State.STAGED, "2026-W46"),
        (State.ACTIVATED, "2026-W46"),
        (State.STAGED, "2026-W47"),
        (State.SUPERSEDED, "2026-W46"),
        (State.ACTIVATED, "2026-W47"),
        (State.ROLLED_BACK, "2026-W47"),
        (State.ACTIVATED, "2026-W46"),
    ]
    assert [entry.seq for entry in store.ledger()] == list(range(1, 8))
    times = [entry.at for entry in store.ledger()]
    assert times == sorted(times)
    assert start <= times[0] <= times[-1] <= datetime.now(UTC)


def test_editions_come_newest_first_with_their_facts(store: Store) -> None:
    made = {edition: make(edition) for edition in ("2026-W47", "2026-W46", "2026-W48")}
    made["2026-W46"].publish(store)
    made["2026-W47"].publish(store)
    made["2026-W48"].stage(store)
    assert [edition.edition for edition in store.editions()] == ["2026-W48", "2026-W47", "2026-W46"]
    staged, current, old = store.editions()
    assert (staged.state, staged.activated_at, staged.served) == (State.STAGED, None, False)
    assert (current.state, current.rows, current.served) == (State.ACTIVATED, 3, True)
    assert current.replaced == old.digest == made["2026-W46"].digest
    assert all(edition.present for edition in store.editions())
    assert store.state("0" * 64) is None


def test_a_release_is_recorded_once(store: Store) -> None:
    entry = store.release("2026-W47", 1, "d1", "model_choice: too few listeners in August")
    assert store.release("2026-W47", 1, "d1", "again") == entry
    assert store.release("2026-W47", 1, "d2", "another refusal") != entry
    assert [(e.action, e.digest) for e in store.ledger()] == [
        (Action.RELEASED, "d1"),
        (Action.RELEASED, "d2"),
    ]
    assert store.editions() == ()
