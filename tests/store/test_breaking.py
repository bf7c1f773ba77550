"""Contract: a store that was lost, or is damaged, down, full, slow, or of another version."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recsys.errors import NoEditionError, NoSuchUserError, RecsysError, StoreError
from recsys.publishing import is_published, serves_rows
from recsys.store import Store, copy_of, open_store, seed
from tests.store.deployment import Deployment
from tests.store.making import Made, make, stored_rows


@pytest.fixture
def week_before(store: Store) -> Made:
    made = make("2026-W46")
    made.publish(store)
    return made


def writes(store: Store) -> list[Callable[[], object]]:
    made = make("2026-W47", [f"{n:05d}" * 20 for n in range(500)])
    return [
        lambda: made.publish(store),
        lambda: store.forget("ada"),
        lambda: store.block("2026-W46/ada/1"),
        store.rollback,
        lambda: store.pin("2026-W46"),
    ]


def read_anew(deployment: Deployment) -> None:
    with open_store(deployment.url) as opened:
        opened.playlist("ada")


def assert_untouched(store: Store, made: Made) -> None:
    """Nothing was lost, and nothing half done: a write works."""
    assert [edition.digest for edition in store.editions() if edition.present] == [made.digest]
    assert stored_rows(store, made.digest) == made.batches[0].to_pylist()
    assert store.playlist("ada").edition == made.edition
    assert (store.tombstones(), store.blocks()) == (frozenset(), frozenset())
    make("2026-W48").publish(store)
    assert store.playlist("ada").edition == "2026-W48"


def test_a_lost_store_is_found_missing_and_gets_everything_back(
    store: Store, deployment: Deployment, week_before: Made
) -> None:
    made = make("2026-W47")
    made.publish(store)
    store.forget("bob")
    store.block("2026-W47/ada/1")
    store.pin("2026-W46")
    copy = copy_of(store)
    shown = store.playlist("ada")
    deployment.wipe()
    assert not is_published(store, made.digest)
    with pytest.raises(NoEditionError):
        store.playlist("ada")
    assert seed(store, copy)
    assert copy_of(store) == copy
    assert not is_published(store, made.digest)
    assert not serves_rows(store)
    made.stage(store)
    assert is_published(store, made.digest)
    assert store.playlist("ada") == shown
    with pytest.raises(NoSuchUserError):
        store.playlist("bob")
    assert not is_published(store, week_before.digest)


def test_lost_rows_are_told_and_staged_again(
    store: Store, deployment: Deployment, week_before: Made
) -> None:
    deployment.lose_rows(week_before.digest)
    with open_store(deployment.url) as fresh:
        state = fresh.state(week_before.digest)
        assert state is not None
        assert not state.present
        with pytest.raises(StoreError, match=r"[Rr]un"):
            fresh.playlist("ada")
        make("2026-W47").publish(fresh)
        with pytest.raises(StoreError, match="missing"):
            fresh.rollback()
        make("2026-W45").publish(fresh, backfill=True)
        week_before.stage(fresh)
        assert stored_rows(fresh, week_before.digest) == week_before.batches[0].to_pylist()
        assert fresh.rollback().edition == "2026-W46"
    assert deployment.leftovers() == []


def test_a_damaged_row_is_told_and_a_revision_repairs_it(
    store: Store, deployment: Deployment, week_before: Made
) -> None:
    deployment.damage(week_before.digest, "bob")
    with open_store(deployment.url) as fresh:
        with pytest.raises(StoreError, match="damaged") as told:
            fresh.playlist("bob")
        assert "bob" not in str(told.value)
        assert fresh.playlist("ada").user_id == "ada"
        repaired = make("2026-W46", revision=2, salt="anew")
        assert repaired.digest != week_before.digest
        repaired.publish(fresh)
        assert fresh.playlist("bob").tracks[0].track_id == "2026-W46anew/bob/1"


@pytest.mark.parametrize("harm", ["misplace", "lose_one"])
def test_rows_that_do_not_read_back_are_never_staged(
    store: Store,
    deployment: Deployment,
    week_before: Made,
    monkeypatch: pytest.MonkeyPatch,
    harm: str,
) -> None:
    made = make("2026-W47", [f"user {n:03d}" for n in range(50)])
    with monkeypatch.context() as patch:
        getattr(deployment, harm)(patch)
        with pytest.raises(StoreError, match="not those that were written"):
            made.stage(store)
    assert [edition.edition for edition in store.editions()] == ["2026-W46"]
    assert deployment.leftovers() == []
    assert made.stage(store) == 50


def test_a_store_that_is_down_says_so(
    store: Store, deployment: Deployment, week_before: Made
) -> None:
    with deployment.down():
        for call in (*writes(store), store.editions, lambda: store.playlist("ada")):
            with pytest.raises(StoreError, match="Check"):
                call()
        with pytest.raises(StoreError, match="Check"):
            read_anew(deployment)
    assert_untouched(store, week_before)


def test_a_full_store_says_so(store: Store, deployment: Deployment, week_before: Made) -> None:
    with deployment.full():
        with pytest.raises(RecsysError, match=r"full|room|space|memory|too large"):
            writes(store)[0]()
        assert store.playlist("ada").edition == "2026-W46"
    assert deployment.leftovers() == []
    assert_untouched(store, week_before)


def test_a_slow_store_says_so(store: Store, deployment: Deployment, week_before: Made) -> None:
    with deployment.slow():
        for write in writes(store):
            with pytest.raises(StoreError, match=r"writing|wait|slow|time"):
                write()
    assert_untouched(store, week_before)


def test_a_store_of_a_newer_version_is_refused(
    store: Store, deployment: Deployment, week_before: Made
) -> None:
    deployment.set_version(99)
    for call in (*writes(store), lambda: read_anew(deployment)):
        with pytest.raises(StoreError, match=r"format 99.*Install the recsys"):
            call()
    deployment.set_version(0)
    assert_untouched(store, week_before)
