"""The SQLite store's directory: damaged, foreign, removed, read-only, full."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import NoEditionError, StoreError
from recsys.store import Action, _erase, _sqlite, _stage, open_store
from recsys.store._edition import EditionReader
from tests.store.deployment import change_stored
from tests.store.making import make, stored_rows


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://store",
        "sqlite:///",
        "/srv/store",
        "mysql:///store",
        "sqlite:///store?shards=9",
        "sqlite:///store?shards=",
        "sqlite:///store?shard=2",
        "",
    ],
)
def test_a_bad_url_is_told_what_is_expected(url: str) -> None:
    with pytest.raises(StoreError, match="expected sqlite:///DIR"):
        open_store(url)


def test_a_relative_directory_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///a b/c%20#?shards=2") as store:
        monkeypatch.chdir("/")
        make("2026-W47").publish(store)
        assert store.playlist("ada").user_id == "ada"
    assert (tmp_path / "a b" / "c%20#" / "ledger.db").is_file()


def test_reading_creates_nothing(sqlite_url: str, directory: Path) -> None:
    with open_store(sqlite_url) as store:
        assert (store.editions(), store.ledger(), store.tombstones()) == ((), (), frozenset())
        with pytest.raises(NoEditionError, match="publish a week first"):
            store.default_playlist()
    assert not directory.exists()


def test_a_directory_of_other_things_is_left_alone(sqlite_url: str, directory: Path) -> None:
    directory.mkdir()
    (directory / "letters.txt").write_text("dear")
    with pytest.raises(StoreError, match=r"not a playlist store: it holds 'letters.txt'"):
        open_store(sqlite_url)
    assert [file.name for file in directory.iterdir()] == ["letters.txt"]


def test_a_file_in_place_of_the_directory(sqlite_url: str, directory: Path) -> None:
    directory.write_text("a file")
    with pytest.raises(StoreError, match="Check"):
        open_store(sqlite_url)


def test_some_other_database_is_left_alone(sqlite_url: str, directory: Path) -> None:
    directory.mkdir()
    other = sqlite3.connect(directory / "ledger.db")
    other.execute("CREATE TABLE money (euros)")
    other.close()
    with pytest.raises(StoreError, match="some other database"):
        open_store(sqlite_url)


def test_a_damaged_ledger_says_what_to_do(sqlite_url: str, directory: Path) -> None:
    directory.mkdir()
    (directory / "ledger.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match=r"remove it and run the week again"):
        open_store(sqlite_url)


def test_a_store_of_a_newer_version_is_refused(sqlite_url: str, directory: Path) -> None:
    with open_store(sqlite_url) as store:
        store.forget("ada")
    set_version(directory / "ledger.db", 3)
    with pytest.raises(StoreError, match=r"format 3.*Install the recsys"):
        open_store(sqlite_url)


def test_an_edition_of_a_newer_version_is_refused(sqlite_url: str, directory: Path) -> None:
    with open_store(sqlite_url) as store:
        make("2026-W47").publish(store)
        set_version(next(directory.glob("editions/*/edition.db")), 5)
        with pytest.raises(StoreError, match=r"format 5.*Install the recsys"):
            store.playlist("ada")


def set_version(path: Path, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def edition_folder(directory: Path) -> Path:
    (folder,) = (directory / "editions").iterdir()
    return folder


@pytest.mark.parametrize("harm", ["folder", "shard", "cut"])
def test_lost_rows_are_told_and_staged_again(sqlite_url: str, directory: Path, harm: str) -> None:
    made = make("2026-W47")
    with open_store(sqlite_url) as store:
        made.publish(store)
    folder = edition_folder(directory)
    if harm == "folder":
        shutil.rmtree(folder)
    elif harm == "shard":
        (folder / "shard-0.db").unlink()
    else:
        os.truncate(folder / "shard-0.db", 8192)
    with open_store(sqlite_url) as store:
        with pytest.raises(StoreError, match=r"[Rr]un"):
            store.playlist("ada")
        lost = store.state(made.digest)
        assert lost is not None
        assert not lost.present
        made.publish(store)
        assert store.playlist("ada").user_id == "ada"
        assert len(store.editions()) == 1
        assert edition_folder(directory) != folder


@pytest.mark.parametrize("value", [b"", b"\0\xff\0", b"\xff" * 6, bytes(2) + b"\3" + bytes(12)])
def test_a_row_that_cannot_be_read_is_a_damaged_store(
    sqlite_url: str, directory: Path, value: bytes
) -> None:
    with open_store(sqlite_url) as store:
        make("2026-W47").publish(store)
    change_stored(edition_folder(directory) / "shard-0.db", {"bob": value})
    with open_store(sqlite_url) as store:
        with pytest.raises(StoreError, match="is damaged"):
            store.playlist("bob")
        assert store.playlist("ada").user_id == "ada"


@pytest.mark.parametrize("length", [0, 5, 20, -1])
def test_a_bundle_that_is_cut_short_is_a_damaged_store(
    sqlite_url: str, directory: Path, length: int
) -> None:
    made = make("2026-W47")
    with open_store(sqlite_url) as store:
        made.publish(store)
        with closing(sqlite3.connect(edition_folder(directory) / "shard-0.db")) as shard, shard:
            query = "SELECT playlists FROM bundle WHERE first_user = 'ada'"
            (bundle,) = shard.execute(query).fetchone()
            query = "UPDATE bundle SET playlists = ? WHERE first_user = 'ada'"
            shard.execute(query, (bundle[:length],))
        with pytest.raises(StoreError, match="damaged"):
            list(store.rows(made.digest))
        assert store.default_playlist().kind == "popular"


def test_names_that_are_missing_are_a_damaged_store(sqlite_url: str, directory: Path) -> None:
    made = make("2026-W47")
    with open_store(sqlite_url) as store:
        made.publish(store)
        with closing(sqlite3.connect(edition_folder(directory) / "edition.db")) as edition, edition:
            edition.execute("DELETE FROM track WHERE first_code = 1")
        with pytest.raises(StoreError, match="codes of tracks are missing"):
            list(store.rows(made.digest))
        with pytest.raises(StoreError, match="damaged"):
            store.playlist("ada")


def test_a_bundle_under_another_user_is_never_staged(
    sqlite_url: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are right, and nobody would find them."""
    bundles = _stage._bundles
    monkeypatch.setattr(
        _stage,
        "_bundles",
        lambda frames: [(f"{user}+", bundle) for user, bundle in bundles(frames)],
    )
    with open_store(sqlite_url) as store:
        with pytest.raises(StoreError, match="under another user"):
            make("2026-W47").stage(store)
        assert store.editions() == ()
    assert list((directory / "editions").iterdir()) == []


def test_rows_damaged_before_they_were_entered_are_written_again(
    sqlite_url: str, directory: Path
) -> None:
    made = make("2026-W47")
    with open_store(sqlite_url) as store:
        made.stage(store)
        (directory / "ledger.db").unlink()
        change_stored(edition_folder(directory) / "shard-0.db", {"bob": b"\0"})
        made.publish(store)
        assert store.playlist("bob").kind == "personal"


def test_a_reader_follows_a_store_that_was_removed_and_made_anew(
    sqlite_url: str, directory: Path
) -> None:
    with open_store(sqlite_url) as reader, open_store(sqlite_url) as store:
        make("2026-W46").publish(store)
        assert reader.playlist("ada").edition == "2026-W46"
        shutil.rmtree(directory)
        with pytest.raises(NoEditionError):
            reader.playlist("ada")
        make("2026-W47").publish(store)
        assert reader.playlist("ada").edition == "2026-W47"


def test_a_store_that_cannot_be_written_can_be_read(
    sqlite_url: str, directory: Path, request: pytest.FixtureRequest
) -> None:
    staged, later = make("2026-W47"), make("2026-W48")
    with open_store(sqlite_url) as store:
        make("2026-W46").publish(store)
        staged.stage(store)
    folders = [directory.parent, directory, *directory.rglob("*")]
    for path in folders:
        path.chmod(0o555 if path.is_dir() else 0o444)
    request.getfixturevalue("unprivileged")
    with open_store(sqlite_url) as store:
        assert store.playlist("ada").edition == "2026-W46"
        for write in (
            lambda: store.forget("ada"),
            lambda: store.activate("2026-W47", staged.digest),
            lambda: later.stage(store),
        ):
            with pytest.raises(StoreError, match=r"cannot be written.*owner and permissions"):
                write()
        assert store.playlist("ada").edition == "2026-W46"


def test_a_reader_finds_the_new_folder_when_the_old_one_goes_before_it_is_open(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(sqlite_url) as reader, open_store(sqlite_url) as store:
        make("2026-W47").publish(store)
        store.forget("bob")
        removed = []

        def late(folder: Path) -> EditionReader:
            removed.append(store.erase())
            return EditionReader(folder)

        monkeypatch.setattr(_sqlite, "EditionReader", late)
        assert reader.playlist("ada").user_id == "ada"
        assert removed == [1, 0]


def test_two_erasures_at_once_count_once(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = _erase.placed
    removed = []
    with open_store(sqlite_url) as store, open_store(sqlite_url) as faster:
        make("2026-W47").publish(store)
        store.forget("bob")

        @contextmanager
        def late(*args: Any, **options: Any) -> Iterator[Any]:
            with placed(*args, **options) as folder:
                monkeypatch.undo()
                removed.append(faster.erase())
                yield folder

        monkeypatch.setattr(_erase, "placed", late)
        removed.append(store.erase())
        assert removed == [1, 0]
        (edition,) = store.editions()
        assert (edition.rows, edition.left_out, edition.present) == (2, 1, True)
        assert [entry.action for entry in store.ledger()].count(Action.ERASED) == 1


def test_one_damaged_edition_does_not_keep_others_from_being_erased(
    sqlite_url: str, directory: Path
) -> None:
    made = [make("2026-W46"), make("2026-W47")]
    with open_store(sqlite_url) as store:
        for edition in made:
            edition.publish(store)
        store.forget("bob")
        (newest,) = directory.glob("editions/2026-W47-*/shard-0.db")
        newest.write_bytes(b"x" * newest.stat().st_size)
        with pytest.raises(StoreError, match=r"2026-W47.* damaged"):
            store.erase()
        assert [row["user_id"] for row in stored_rows(store, made[0].digest)] == ["ada", "cleo"]
