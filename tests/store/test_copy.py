"""Contract: the copy of a store's history, and a store that was lost."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from recsys.errors import NoSuchUserError, StoreError
from recsys.store import State, Store, copy_of, open_store, seed
from tests.store.deployment import Deployment
from tests.store.making import make


@pytest.fixture
def lost(deployment: Deployment) -> Iterator[Store]:
    """An empty store, to be seeded from the full one."""
    other = deployment.another()
    with open_store(other.url) as opened:
        yield opened
    other.remove()


@pytest.fixture
def copy(store: Store) -> dict[str, object]:
    make("2026-W45").publish(store)
    make("2026-W46").publish(store)
    make("2026-W47").publish(store)
    store.rollback()
    store.forget("ada")
    return dict(json.loads(json.dumps(copy_of(store))))


def test_a_seeded_store_has_the_history_and_misses_the_rows(
    store: Store, lost: Store, copy: dict[str, object]
) -> None:
    with lost:
        assert seed(lost, copy)
        assert copy_of(lost) == copy
        assert lost.ledger() == store.ledger()
        assert lost.tombstones() == {"ada"}
        assert [(e.edition, e.state, e.present) for e in lost.editions()] == [
            ("2026-W47", State.ROLLED_BACK, False),
            ("2026-W46", State.ACTIVATED, False),
            ("2026-W45", State.SUPERSEDED, False),
        ]
        with pytest.raises(StoreError, match=r"lost.*again"):
            lost.playlist("bob")


def test_staging_again_brings_the_edition_back(lost: Store, copy: dict[str, object]) -> None:
    with lost:
        seed(lost, copy)
        with pytest.raises(StoreError, match="missing"):
            lost.rollback()
        make("2026-W46").publish(lost)
        assert lost.playlist("bob").edition == "2026-W46"
        current = lost.current()
        assert current is not None
        assert (current.present, current.rows, current.left_out) == (True, 2, 1)
        with pytest.raises(NoSuchUserError):
            lost.playlist("ada")
        with pytest.raises(StoreError, match="rolled back"):
            make("2026-W47").publish(lost)
        make("2026-W45").stage(lost)
        assert lost.rollback().edition == "2026-W45"
        assert lost.playlist("bob").edition == "2026-W45"


def test_a_seeded_store_goes_forward(lost: Store, copy: dict[str, object]) -> None:
    with lost:
        seed(lost, copy)
        make("2026-W48").publish(lost)
        assert lost.playlist("bob").edition == "2026-W48"


def test_only_an_empty_store_is_seeded(store: Store, lost: Store, copy: dict[str, object]) -> None:
    before = store.history()
    assert not seed(store, copy)
    assert store.history() == before
    with lost:
        lost.forget("zoe")
        assert not seed(lost, copy)
        assert lost.tombstones() == {"zoe"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "version 3"),
        ({"editions": [{}]}, "damaged"),
        ({"tombstones": {"ada": "yesterday"}}, "damaged"),
        ({"ledger": None}, "damaged"),
    ],
)
def test_a_copy_that_is_not_one_is_refused(
    lost: Store, copy: dict[str, object], change: dict[str, object], message: str
) -> None:
    with lost:
        with pytest.raises(StoreError, match=message):
            seed(lost, {**copy, **change})
        assert lost.tombstones() == frozenset()
