"""Contract: rows are removed on purpose, and never those that may be needed."""

from __future__ import annotations

import pytest

from recsys.errors import NoEditionError, StoreError
from recsys.store import Action, Store, open_store
from tests.store.deployment import Deployment
from tests.store.making import make


def publish(store: Store, *weeks: int) -> None:
    for week in weeks:
        make(f"2026-W{week}").publish(store)


def present(store: Store) -> list[str]:
    return [edition.edition[-2:] for edition in store.editions() if edition.present]


def test_only_the_newest_weeks_keep_their_rows(store: Store, deployment: Deployment) -> None:
    publish(store, 43, 44, 45, 46, 47)
    with open_store(deployment.url) as reader:
        assert reader.playlist("ada", edition="2026-W44").edition == "2026-W44"
        pruned = store.prune(3)
        assert [edition.edition for edition in pruned] == ["2026-W44", "2026-W43"]
        assert present(store) == ["47", "46", "45"]
        with pytest.raises(NoEditionError, match="has no edition 2026-W44"):
            reader.playlist("ada", edition="2026-W44")
        assert reader.playlist("ada", edition="2026-W45").edition == "2026-W45"
    assert [(one.edition, one.pruned, one.readable) for one in store.editions()][2:4] == [
        ("2026-W45", False, True),
        ("2026-W44", True, False),
    ]
    assert deployment.leftovers() == []
    assert [entry.action for entry in store.ledger()[-2:]] == [Action.PRUNED] * 2


def test_pruning_again_does_nothing(store: Store) -> None:
    publish(store, 45, 46, 47)
    assert len(store.prune(2)) == 1
    before = store.history()
    assert store.prune(2) == ()
    assert store.history() == before


def test_what_is_served_and_what_was_before_are_kept(store: Store) -> None:
    publish(store, 44, 45)
    for week in (46, 47, 48):
        make(f"2026-W{week}").stage(store)
    store.prune(2)
    assert present(store) == ["48", "47", "45", "44"]
    assert store.rollback().edition == "2026-W44"
    assert store.playlist("ada").edition == "2026-W44"


def test_what_is_pinned_is_kept_for_good(store: Store) -> None:
    publish(store, 43, 44)
    store.pin("2026-W43")
    store.pin("2026-W43")
    publish(store, 45, 46, 47)
    store.prune(2)
    assert present(store) == ["47", "46", "43"]
    assert store.playlist("ada", edition="2026-W43").edition == "2026-W43"
    actions = [entry.action for entry in store.ledger()]
    assert actions.count(Action.PINNED) == 1


def test_the_newest_revision_is_pinned(store: Store) -> None:
    for revision in (1, 2):
        make("2026-W44", revision=revision, salt=str(revision)).publish(store)
    store.pin("2026-W44")
    assert [(one.revision, one.pinned) for one in store.editions()] == [(2, True), (1, False)]


def test_only_what_readers_may_see_is_pinned(store: Store) -> None:
    make("2026-W47").stage(store)
    for week in ("2026-W46", "2026-W47"):
        with pytest.raises(NoEditionError, match=week):
            store.pin(week)


def test_at_least_two_weeks_are_kept(store: Store) -> None:
    publish(store, 46, 47)
    for keep in (1, 0, -3):
        with pytest.raises(StoreError, match="at least 2 weeks"):
            store.prune(keep)
    assert present(store) == ["47", "46"]


def test_all_revisions_of_a_week_go_together(store: Store) -> None:
    for revision in (1, 2):
        make("2026-W44", revision=revision, salt=str(revision)).publish(store)
    publish(store, 45, 46)
    assert {(one.edition, one.revision) for one in store.prune(2)} == {
        ("2026-W44", 1),
        ("2026-W44", 2),
    }


def test_pruned_rows_can_be_staged_again(store: Store) -> None:
    publish(store, 44, 45, 46)
    store.prune(2)
    make("2026-W44").stage(store)
    assert store.playlist("ada", edition="2026-W44").edition == "2026-W44"
    assert store.playlist("ada").edition == "2026-W46"


def test_rolling_back_to_pruned_rows_is_refused(store: Store) -> None:
    publish(store, 44, 45, 46)
    store.prune(2)
    assert store.rollback().edition == "2026-W45"
    with pytest.raises(StoreError, match=r"2026-W44 r1 .* were removed on purpose"):
        store.rollback()
    assert store.playlist("ada").edition == "2026-W45"


def test_pruning_an_empty_store_does_nothing(store: Store) -> None:
    assert store.prune(2) == ()
