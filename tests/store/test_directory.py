"""The SQLite store's directory: damaged, foreign, removed, read-only, full."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.errors import NoEditionError, RecsysError, StoreError
from recsys.store import _stage, open_store
from tests.store.making import make


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
    set_version(directory / "ledger.db", 2)
    with pytest.raises(StoreError, match=r"format 2.*Install the recsys"):
        open_store(sqlite_url)


def test_an_edition_of_a_newer_version_is_refused(sqlite_url: str, directory: Path) -> None:
    with open_store(sqlite_url) as store:
        make("2026-W47").publish(store)
        set_version(next(directory.glob("editions/*/edition.db")), 2)
        with pytest.raises(StoreError, match=r"format 2.*Install the recsys"):
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
        assert edition_folder(directory) == folder


@pytest.mark.parametrize("column", ["tracks", "relaxed"])
def test_a_row_that_cannot_be_read_is_a_damaged_store(
    sqlite_url: str, directory: Path, column: str
) -> None:
    with open_store(sqlite_url) as store:
        make("2026-W47").publish(store)
    connection = sqlite3.connect(edition_folder(directory) / "shard-0.db")
    connection.execute(f"UPDATE playlist SET {column} = x'00ff00' WHERE user_id = 'bob'")
    connection.commit()
    connection.close()
    with open_store(sqlite_url) as store:
        with pytest.raises(StoreError, match="is damaged"):
            store.playlist("bob")
        assert store.playlist("ada").user_id == "ada"


def test_rows_damaged_before_they_were_entered_are_written_again(
    sqlite_url: str, directory: Path
) -> None:
    made = make("2026-W47")
    with open_store(sqlite_url) as store:
        made.stage(store)
        (directory / "ledger.db").unlink()
        shard = edition_folder(directory) / "shard-0.db"
        connection = sqlite3.connect(shard)
        connection.execute("UPDATE playlist SET kind = 'popular' WHERE user_id = 'bob'")
        connection.commit()
        connection.close()
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


def test_playlists_packed_under_the_wrong_user_are_never_staged(
    sqlite_url: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = _stage._Writer._insert

    def shifted(shard, rows):  # type: ignore[no-untyped-def]
        rows = list(rows)
        insert(shard, [(a[0], *b[1:]) for a, b in zip(rows, rows[1:] + rows[:1], strict=True)])

    def one_short(shard, rows):  # type: ignore[no-untyped-def]
        insert(shard, list(rows)[:-1])

    with open_store(sqlite_url) as store:
        for harm in (shifted, one_short):
            monkeypatch.setattr(_stage._Writer, "_insert", staticmethod(harm))
            with pytest.raises(StoreError, match="not those that were written"):
                make("2026-W47").stage(store)
        assert store.editions() == ()
        assert list((directory / "editions").iterdir()) == []


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


def test_a_full_disk_leaves_what_was_served(sqlite_url: str, directory: Path) -> None:
    made = make("2026-W47", [f"{n:05d}" * 20 for n in range(500)])
    with open_store(sqlite_url) as store:
        make("2026-W46").publish(store)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
        try:
            with pytest.raises(RecsysError):
                made.stage(store)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        assert store.playlist("ada").edition == "2026-W46"
        assert len(list((directory / "editions").iterdir())) == 1
        made.publish(store)
        assert store.playlist("00001" * 20).edition == "2026-W47"


def test_reading_loads_no_heavy_package() -> None:
    heavy = "numpy scipy pyarrow duckdb implicit"
    script = (
        "import sys, recsys.store, tempfile\n"
        "recsys.store.open_store('sqlite:///' + tempfile.mkdtemp()).close()\n"
        f"print([name for name in {heavy.split()} if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
