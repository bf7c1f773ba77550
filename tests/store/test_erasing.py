"""Contract: the stored copies of forgotten users go, and nobody else notices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recsys.errors import NoSuchUserError, StoreError
from recsys.store import Action, Store, open_store, playlists_digest
from tests.store.deployment import Deployment
from tests.store.making import Made, make, make_default, stored_rows


def users(store: Store, made: Made) -> list[str]:
    return [row["user_id"] for row in stored_rows(store, made.digest)]


def test_every_stored_edition_is_rewritten(store: Store, deployment: Deployment) -> None:
    made = [make(f"2026-W{week}") for week in (45, 46, 47)]
    for edition in made:
        edition.publish(store)
    with open_store(deployment.url) as reader:
        before = {user: reader.playlist(user) for user in ("ada", "cleo")}
        default = reader.default_playlist()
        store.forget("bob")
        assert users(store, made[0]) == ["ada", "bob", "cleo"]
        assert store.erase() == 3
        assert {user: reader.playlist(user) for user in before} == before
        assert reader.default_playlist() == default
        with pytest.raises(NoSuchUserError):
            reader.playlist("bob")
    for edition in made:
        assert users(store, edition) == ["ada", "cleo"]
        state = store.state(edition.digest)
        assert state is not None
        assert (state.rows, state.left_out, state.present) == (2, 1, True)
    assert deployment.leftovers() == []
    erased = store.ledger()[-3:]
    assert {entry.action for entry in erased} == {Action.ERASED}
    assert {entry.digest for entry in erased} == {edition.digest for edition in made}
    assert not any("bob" in entry.note for entry in erased)


def test_what_is_rewritten_is_otherwise_the_same(store: Store) -> None:
    made = make("2026-W47")
    made.publish(store)
    store.forget("bob")
    store.erase()
    wanted = [row for row in made.batches[0].to_pylist() if row["user_id"] != "bob"]
    assert stored_rows(store, made.digest) == wanted


def test_erasing_again_does_nothing(store: Store) -> None:
    make("2026-W47").publish(store)
    assert store.erase() == 0
    store.forget("bob")
    store.forget("a stranger")
    assert store.erase() == 1
    before = store.history()
    assert store.erase() == 0
    assert store.history() == before
    store.forget("ada")
    assert store.erase() == 1
    assert [edition.left_out for edition in store.editions()] == [2]


def test_an_edition_may_lose_everybody(store: Store) -> None:
    made = make("2026-W47", ["ada"])
    made.publish(store)
    store.forget("ada")
    assert store.erase() == 1
    assert users(store, made) == []
    assert store.default_playlist().kind == "popular"


def test_what_is_only_staged_and_what_was_rolled_back_is_rewritten_too(store: Store) -> None:
    made = [make(f"2026-W{week}") for week in (46, 47, 48)]
    made[0].publish(store)
    made[1].publish(store)
    store.rollback()
    made[2].stage(store)
    store.forget("ada")
    assert store.erase() == 3
    assert [users(store, edition) for edition in made] == [["bob", "cleo"]] * 3


def test_moves_go_on_after_an_erasure(store: Store) -> None:
    first, second = make("2026-W46"), make("2026-W47")
    first.publish(store)
    second.publish(store)
    store.forget("bob")
    store.erase()
    second.publish(store)  # a rerun: nothing to be done
    assert users(store, second) == ["ada", "cleo"]
    assert store.rollback().edition == "2026-W46"
    assert store.playlist("ada").edition == "2026-W46"
    with pytest.raises(NoSuchUserError):
        store.playlist("bob")


def test_the_tombstone_outlives_the_erasure(store: Store) -> None:
    make("2026-W46").publish(store)
    store.forget("bob")
    store.erase()
    assert store.tombstones() == {"bob"}
    make("2026-W47").publish(store)
    with pytest.raises(NoSuchUserError):
        store.playlist("bob")


def test_rows_of_an_artefact_that_was_erased_can_be_staged(
    store: Store, deployment: Deployment
) -> None:
    """A store that was lost gets back what home has, which is less than the digest says."""
    whole, left = make("2026-W47"), make("2026-W47", ["ada", "cleo"])
    whole.publish(store)
    store.forget("bob")
    store.erase()
    known = store.history()
    other = deployment.another()
    with open_store(other.url) as lost:
        lost.restore(known)
        remaining = playlists_digest(left.batches, left.default)
        rows = (left.edition, 1, whole.digest, left.batches, left.default)
        with pytest.raises(StoreError, match="not those of digest"):
            lost.stage(*rows)
        assert lost.stage(*rows, remaining=remaining) == 2
        assert lost.stage(*rows, remaining=remaining) == 2
        (edition,) = lost.editions()
        assert (edition.rows, edition.left_out, edition.served) == (2, 1, True)
        assert lost.playlist("ada") == store.playlist("ada")
    other.remove()


def test_what_is_left_of_an_artefact_is_compared_with_what_is_stored(store: Store) -> None:
    whole, left = make("2026-W47"), make("2026-W47", ["ada", "cleo"])
    other, without_ada = make("2026-W47", ["ada", "cleo"], salt="E"), make("2026-W47", ["cleo"])
    other_default = replace(left, default=make_default("2026-W47", "E"))
    whole.publish(store)
    store.forget("bob")

    def stage(handed: Made, remaining: str) -> int:
        rows = (handed.edition, 1, whole.digest, handed.batches, handed.default)
        return store.stage(*rows, remaining=remaining)

    for stored in (3, 2):
        assert stage(left, left.digest) == stored
        for wrong in (other, without_ada, other_default):
            with pytest.raises(StoreError, match="other rows than these"):
                stage(wrong, wrong.digest)
        with pytest.raises(StoreError, match="not those of digest"):
            stage(other, left.digest)
        store.erase()
    assert store.playlist("ada").tracks[0].track_id == "2026-W47/ada/1"


def test_erasing_an_empty_store_does_nothing(store: Store) -> None:
    assert store.erase() == 0
    store.forget("bob")
    assert store.erase() == 0
