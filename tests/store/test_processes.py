"""Contract: several processes at once, and processes that are killed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from recsys.errors import StoreError
from recsys.store import State, Store, open_store
from recsys.weeks import Week
from tests.store.making import make

ROOT = Path(__file__).parents[2]


def child(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.children", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def listen(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("publishes", [20, pytest.param(400, marks=pytest.mark.soak)])
def test_readers_see_one_whole_edition_while_others_land(
    store: Store, url: str, publishes: int
) -> None:
    week = Week.parse("2026-W47")
    make(str(week)).publish(store)
    with ExitStack() as stack:
        readers = [stack.enter_context(child("read", url)) for _ in range(2)]
        assert [listen(reader) for reader in readers] == ["ready"] * 2
        for n in range(1, publishes + 1):
            make(str(week + n)).publish(store)
        for reader in readers:
            tell(reader)
            result = json.loads(listen(reader))
            assert result["seen"] == sorted(result["seen"])
            assert result["seen"][-1] == str(week + publishes)
            assert len(set(result["seen"])) > publishes // 4
            assert result["reads"] > publishes


@pytest.mark.parametrize("salts", [("", ""), ("one", "other")], ids=["same", "rivals"])
def test_two_publishers_at_once(store: Store, url: str, salts: tuple[str, str]) -> None:
    make("2026-W46").publish(store)
    with ExitStack() as stack:
        publishers = [stack.enter_context(child("publish", url, "2026-W47", s)) for s in salts]
        assert [listen(publisher) for publisher in publishers] == ["ready"] * 2
        for publisher in publishers:
            tell(publisher)
        told = sorted(listen(publisher) for publisher in publishers)
    entries = [entry.action for entry in store.ledger() if entry.edition == "2026-W47"]
    assert entries.count(State.ACTIVATED) == 1
    assert store.playlist("ada").edition == "2026-W47"
    if salts[0] == salts[1]:
        assert told == ["published"] * 2
        assert entries.count(State.STAGED) == 1
    else:
        assert told[0] == "published"
        assert told[1].startswith("refused: 2026-W47 r1")
        assert len(store.editions()) == 3


@pytest.mark.parametrize("points", [12, pytest.param(100_000, marks=pytest.mark.soak)])
def test_a_publisher_killed_anywhere_leaves_an_edition_whole(
    sqlite_url: str, directory: Path, points: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.children", "die", sqlite_url, directory, str(points)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["lines"] > 300
    assert told["outcomes"][0] == "2026-W46"


@pytest.fixture
def torn(sqlite_url: str, directory: Path) -> str:
    """The store of a publisher that was killed while SQLite wrote the ledger's pages."""
    with open_store(sqlite_url) as store:
        make("2026-W47").publish(store)
    torn = directory.with_name("torn")
    ledger = sqlite3.connect(directory / "ledger.db", isolation_level=None)
    ledger.execute("PRAGMA cache_size = 1")
    ledger.execute("BEGIN IMMEDIATE")
    ledger.execute("DELETE FROM served")
    ledger.executemany(
        "INSERT INTO tombstone VALUES (?, '2026-11-16')", [(f"{n:0100d}",) for n in range(1000)]
    )
    before = (directory / "ledger.db").stat().st_size
    shutil.copytree(directory, torn)
    ledger.close()
    assert before > 50_000
    assert (torn / "ledger.db-journal").stat().st_size > 0
    return f"sqlite:///{torn}"


def test_a_reader_undoes_a_half_written_ledger(torn: str) -> None:
    with open_store(torn) as store:
        assert store.playlist("ada").edition == "2026-W47"
        assert store.tombstones() == frozenset()


def test_a_reader_that_may_not_write_says_who_can_undo_it(
    torn: str, request: pytest.FixtureRequest
) -> None:
    folder = Path(torn.removeprefix("sqlite:///"))
    for path in (folder.parent, folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    request.getfixturevalue("unprivileged")
    with pytest.raises(StoreError, match=r"publisher was killed.*account that publishes"):
        open_store(torn)
