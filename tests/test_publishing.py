from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import artefact
from recsys.artefact import Artefact
from recsys.errors import NoEditionError, NoSuchUserError, StoreError
from recsys.publishing import edition_digest, is_published, publish, refresh_copy
from recsys.store import Edition, Store, open_store
from recsys.verification import compare_stored
from recsys.weeks import Week
from tests.store.making import make

W46, W47, W48 = (Week.parse(f"2026-W{n}") for n in (46, 47, 48))


class Desk:
    """A home's artefacts, its copy of the store's history, and the store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copy = folder / "store_copy.json"

    def store(self) -> Store:
        return open_store(f"sqlite:///{self.folder / 'store'}")

    def lose_the_store(self) -> None:
        shutil.rmtree(self.folder / "store")

    def playlists(self, week: Week, revision: int = 1, salt: str = "") -> Artefact:
        edition = make(str(week), salt=salt)
        path = self.folder / f"{week}-{revision}"
        if not artefact.exists(path):
            with artefact.write(path, stage="playlists", version=1) as draft:
                pq.write_table(
                    pa.Table.from_batches(edition.batches), draft.path / "playlists.parquet"
                )
                pq.write_table(
                    pa.Table.from_batches([edition.default]), draft.path / "default.parquet"
                )
                draft.facts["digest"] = edition_digest(draft.path)
        return Artefact.open(path)

    def publish(self, week: Week, revision: int = 1, salt: str = "", **how: Any) -> Edition:
        made = self.playlists(week, revision, salt)
        with self.store() as store:
            return publish(store, self.copy, week, revision, made, **{"backfill": False, **how})

    def is_published(self, week: Week, revision: int = 1) -> bool:
        with self.store() as store:
            return is_published(store, self.playlists(week, revision).facts["digest"])

    def served(self) -> tuple[str, int] | None:
        with self.store() as store:
            current = store.current()
            return current and (current.edition, current.revision)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_it_is_served_and_the_copy_knows(desk: Desk) -> None:
    assert not desk.is_published(W46)
    published = desk.publish(W46)
    assert (published.rows, published.served, published.present) == (3, True, True)
    assert desk.is_published(W46)
    copy = json.loads(desk.copy.read_text(encoding="utf-8"))
    assert [entry["action"] for entry in copy["ledger"]] == ["staged", "activated"]


def test_publishing_twice_is_publishing_once(desk: Desk) -> None:
    desk.publish(W46)
    before = desk.copy.read_bytes()
    desk.publish(W46)
    assert desk.copy.read_bytes() == before


def test_staged_is_not_published(desk: Desk) -> None:
    made = desk.playlists(W46)
    with desk.store() as store:
        edition = make(str(W46))
        assert edition.digest == made.facts["digest"]
        edition.stage(store)
        assert not is_published(store, edition.digest)
        with pytest.raises(NoEditionError):
            store.playlist("ada")
    assert desk.publish(W46).served


def test_superseded_and_rolled_back_editions_are_published_ones(desk: Desk) -> None:
    desk.publish(W46)
    desk.publish(W47)
    assert desk.is_published(W46)
    with desk.store() as store:
        store.rollback()
    assert desk.is_published(W47)
    with pytest.raises(StoreError, match="was rolled back, and is not served again by itself"):
        desk.publish(W47)
    assert desk.served() == (str(W46), 1)


def test_a_lost_store_is_not_published_and_gets_everything_back(desk: Desk) -> None:
    desk.publish(W46)
    desk.publish(W47)
    with desk.store() as store:
        store.forget("bob")
        refresh_copy(store, desk.copy)
    desk.lose_the_store()
    assert not desk.is_published(W46)
    assert not desk.is_published(W47)
    assert desk.publish(W47).left_out == 1
    assert desk.served() == (str(W47), 1)
    assert not desk.is_published(W46)
    desk.publish(W46)  # an older week needs no backfill to get its rows back
    assert desk.is_published(W46)
    assert desk.served() == (str(W47), 1)
    with desk.store() as store:
        assert store.playlist("ada", edition=str(W46)).edition == str(W46)
        for week in (None, str(W46)):
            with pytest.raises(NoSuchUserError):
                store.playlist("bob", edition=week)


def test_what_was_rolled_back_stays_so_when_the_store_is_lost(desk: Desk) -> None:
    desk.publish(W46)
    desk.publish(W47)
    with desk.store() as store:
        store.rollback()
        refresh_copy(store, desk.copy)
    desk.lose_the_store()
    desk.publish(W46)
    desk.publish(W47)
    assert desk.is_published(W47)
    assert desk.served() == (str(W46), 1)


def test_a_lost_store_gets_what_was_only_staged_published(desk: Desk) -> None:
    desk.publish(W46)
    desk.playlists(W47)
    with desk.store() as store:
        make(str(W47)).stage(store)
        refresh_copy(store, desk.copy)
    desk.lose_the_store()
    desk.publish(W47)
    assert desk.served() == (str(W47), 1)


def test_a_lost_revision_that_comes_out_again_is_served(desk: Desk) -> None:
    desk.publish(W46, salt="first")
    desk.publish(W46, 2, salt="second")
    desk.lose_the_store()
    for _ in range(2):
        published = desk.publish(W46, 3, salt="first")
        assert (published.revision, published.served) == (3, True)
        assert desk.served() == (str(W46), 3)


def test_a_pruned_edition_is_not_a_lost_one(desk: Desk) -> None:
    for week in (W46, W47, W48):
        desk.publish(week)
    with desk.store() as store:
        store.prune(2)
        refresh_copy(store, desk.copy)
    assert desk.is_published(W46)
    desk.lose_the_store()
    with desk.store() as store:
        refresh_copy(store, desk.copy)
    assert desk.is_published(W46)
    assert not desk.is_published(W47)
    with desk.store() as store, pytest.raises(StoreError, match="were removed on purpose"):
        compare_stored(store, desk.playlists(W46))


def test_a_lost_store_keeps_blocks_and_pins(desk: Desk) -> None:
    desk.publish(W46)
    with desk.store() as store:
        store.block("2026-W46/ada/1")
        store.pin(str(W46))
        refresh_copy(store, desk.copy)
    desk.lose_the_store()
    desk.publish(W46)
    with desk.store() as store:
        assert store.playlist("ada").tracks[0].track_id == "2026-W46/ada/spare 2"
        assert [one.pinned for one in store.editions()] == [True]


def test_stored_rows_are_compared_with_the_artefact(desk: Desk) -> None:
    desk.publish(W46)
    made = desk.playlists(W46)
    with desk.store() as store:
        assert compare_stored(store, made).agree
        store.forget("bob")
        assert compare_stored(store, made).agree
        store.erase()
        erased = compare_stored(store, made)
        assert (erased.stored, erased.expected, erased.left_out, erased.agree) == (2, 2, 1, True)


def test_a_revision_replaces_the_one_before(desk: Desk) -> None:
    desk.publish(W46)
    desk.publish(W46, 2, salt="anew")
    assert desk.served() == (str(W46), 2)
    assert desk.is_published(W46, 1)


def test_a_week_that_comes_too_late_needs_a_backfill(desk: Desk) -> None:
    desk.publish(W48)
    with pytest.raises(StoreError, match="run a backfill"):
        desk.publish(W47)
    assert not desk.is_published(W47)
    assert desk.publish(W47, backfill=True).activated_at is not None
    assert desk.is_published(W47)
    assert desk.served() == (str(W48), 1)


def test_rows_that_are_not_what_their_digest_says_are_refused(desk: Desk) -> None:
    desk.publish(W46)
    made = desk.playlists(W47)
    shutil.copy(desk.playlists(W48).file("playlists.parquet"), made.path / "playlists.parquet")
    with pytest.raises(StoreError):
        desk.publish(W47)
    assert desk.served() == (str(W46), 1)


def test_a_copy_that_is_damaged_is_not_written_over(desk: Desk) -> None:
    desk.publish(W46)
    desk.copy.write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match="keeps the forgotten users"):
        desk.publish(W47)
    assert desk.copy.read_text(encoding="utf-8") == "{"
    assert desk.served() == (str(W46), 1)


def test_an_empty_store_is_filled_from_the_copy_before_anything_is_staged(desk: Desk) -> None:
    desk.publish(W46)
    with desk.store() as store:
        store.forget("ada")
        refresh_copy(store, desk.copy)
    desk.lose_the_store()
    with desk.store() as store:
        refresh_copy(store, desk.copy)
        assert store.tombstones() == {"ada"}
        assert [one.present for one in store.editions()] == [False]
    desk.publish(W47)
    with desk.store() as store, pytest.raises(NoSuchUserError):
        store.playlist("ada")
