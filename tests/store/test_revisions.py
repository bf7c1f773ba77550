"""Contract: a later revision of a week that comes out as an earlier one did."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from recsys.errors import StoreError
from recsys.store import Store
from tests.store.deployment import Deployment
from tests.store.making import Made, make

FIRST = make("2026-W47", salt="D")
SECOND = make("2026-W47", salt="E", revision=2)
THIRD = replace(FIRST, revision=3)


@pytest.fixture
def published(store: Store) -> Store:
    """Serves the second revision, in place of the first."""
    FIRST.publish(store)
    SECOND.publish(store)
    return store


def seen(store: Store) -> set[str]:
    """What readers get, however they ask."""
    asked = (
        store.playlist("ada"),
        store.playlist("ada", edition="2026-W47"),
        store.playlist("ada", on=datetime(2026, 11, 17, tzinfo=UTC).date()),
    )
    return {playlist.tracks[0].track_id for playlist in asked}


def served(store: Store) -> tuple[str, int]:
    current = store.current()
    assert current is not None
    return current.digest, current.revision


def tracks_of(made: Made) -> set[str]:
    return {made.batches[0].to_pylist()[0]["tracks"][0]["track_id"]}


def test_it_is_invisible_until_it_is_activated(published: Store) -> None:
    THIRD.stage(published)
    assert seen(published) == tracks_of(SECOND)
    assert served(published) == (SECOND.digest, 2)
    published.activate(THIRD.edition, THIRD.digest)
    assert seen(published) == tracks_of(FIRST)
    assert served(published) == (FIRST.digest, 3)


def test_what_is_served_becomes_it_on_activation(store: Store) -> None:
    FIRST.publish(store)
    same = replace(FIRST, revision=2)
    same.stage(store)
    assert served(store) == (FIRST.digest, 1)
    for _ in range(2):
        store.activate(same.edition, same.digest)
        assert served(store) == (FIRST.digest, 2)
    make("2026-W46").publish(store, backfill=True)
    with pytest.raises(StoreError, match="No edition was served before"):
        store.rollback()


def test_a_backfilled_week_becomes_it_on_activation(store: Store) -> None:
    for made in (FIRST, SECOND):
        made.publish(store, backfill=True)
    make("2026-W48").publish(store)
    THIRD.stage(store)
    assert store.playlist("ada", edition="2026-W47").tracks[0].track_id in tracks_of(SECOND)
    store.activate(THIRD.edition, THIRD.digest, backfill=True)
    assert store.playlist("ada", edition="2026-W47").tracks[0].track_id in tracks_of(FIRST)
    assert store.playlist("ada").edition == "2026-W48"


def test_rollback_goes_through_all_that_was_served_and_ends(published: Store) -> None:
    THIRD.publish(published)
    published.rollback()
    assert (served(published), seen(published)) == ((SECOND.digest, 2), tracks_of(SECOND))
    published.rollback()
    assert (served(published), seen(published)) == ((FIRST.digest, 1), tracks_of(FIRST))
    with pytest.raises(StoreError, match="No edition was served before 2026-W47 r1"):
        published.rollback()
    assert served(published) == (FIRST.digest, 1)


def test_what_was_rolled_back_is_not_served_by_staging_it_as_it_was_before(
    published: Store,
) -> None:
    THIRD.publish(published)
    published.rollback()
    with pytest.raises(StoreError, match=r"rolled back.*--revision 4"):
        FIRST.publish(published)
    published.rollback()
    FIRST.publish(published)  # it is served, as what it was first
    assert served(published) == (FIRST.digest, 1)


def test_prune_keeps_what_a_rollback_would_serve(published: Store) -> None:
    THIRD.publish(published)
    published.rollback()
    for week in (48, 49):
        make(f"2026-W{week}").stage(published)
    assert published.prune(2) == ()
    assert published.rollback().digest == FIRST.digest


def test_lost_rows_that_come_back_as_it_can_be_activated(
    published: Store, deployment: Deployment
) -> None:
    deployment.lose_rows(FIRST.digest)
    for _ in range(2):
        THIRD.stage(published)
        assert served(published) == (SECOND.digest, 2)
    published.activate(THIRD.edition, THIRD.digest)
    assert (served(published), seen(published)) == ((FIRST.digest, 3), tracks_of(FIRST))


def test_what_a_rollback_may_go_back_to_keeps_its_number(store: Store) -> None:
    """Served as the first revision, and backfilled as the third: it may be the first again."""
    FIRST.publish(store)
    make("2026-W48").publish(store)
    THIRD.publish(store, backfill=True)
    twin = replace(SECOND, revision=1)
    twin.stage(store)
    with pytest.raises(StoreError, match=r"Readers know 2026-W47 r1 with other content"):
        store.activate(twin.edition, twin.digest, backfill=True)
    store.rollback()
    assert (served(store), seen(store)) == ((FIRST.digest, 1), tracks_of(FIRST))
