"""Contract: several processes at once, and processes that are killed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from recsys.errors import StoreError
from recsys.store import Action, State, Store, open_store
from recsys.weeks import Week
from tests.store.children import MOVES, check_whole
from tests.store.deployment import Deployment
from tests.store.making import USERS, make, stored_rows

ROOT = Path(__file__).parents[2]


def child(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.children", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def listen(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], line: str = "") -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


@pytest.mark.parametrize("publishes", [8, pytest.param(100, marks=pytest.mark.soak)])
def test_readers_see_one_whole_edition_while_others_land(
    store: Store, url: str, publishes: int
) -> None:
    """And while what is behind them is rewritten and removed."""
    week = Week.parse("2026-W47")
    make(str(week)).publish(store)
    with ExitStack() as stack:
        readers = [stack.enter_context(child("read", url)) for _ in range(2)]
        assert [listen(reader) for reader in readers] == ["ready"] * 2
        for n in range(1, publishes + 1):
            make(str(week + n), [*USERS, f"leaving {n}"]).publish(store)
            store.forget(f"leaving {n}")
            assert store.erase() == 1
            store.prune(2)
        for reader in readers:
            tell(reader)
            result = json.loads(listen(reader))
            assert result["seen"] == sorted(result["seen"])
            assert result["seen"][-1] == str(week + publishes)
            assert len(set(result["seen"])) > 2
    assert sum(edition.present for edition in store.editions()) == 2


@pytest.mark.parametrize("salts", [("", ""), ("one", "other")], ids=["same", "rivals"])
def test_two_publishers_at_once(
    store: Store, deployment: Deployment, salts: tuple[str, str]
) -> None:
    make("2026-W46").publish(store)
    with ExitStack() as stack:
        publishers = [
            stack.enter_context(child("publish", deployment.url, "2026-W47", salt))
            for salt in salts
        ]
        assert [listen(publisher) for publisher in publishers] == ["ready"] * 2
        for publisher in publishers:
            tell(publisher)
        told = sorted(listen(publisher) for publisher in publishers)
    entries = [entry.action for entry in store.ledger() if entry.edition == "2026-W47"]
    assert entries.count(Action.ACTIVATED) == 1
    assert store.playlist("ada").edition == "2026-W47"
    assert deployment.leftovers() == []
    if salts[0] == salts[1]:
        assert told == ["published"] * 2
        assert entries.count(Action.STAGED) == 1
    else:
        assert told[0] == "published"
        assert told[1].startswith("refused: 2026-W47 r1")
        assert len(store.editions()) == 3


class Victim:
    """A process whose children make a move and are killed on their way."""

    def __init__(self, deployment: Deployment, move: str, process: subprocess.Popen[str]) -> None:
        self._deployment = deployment
        self._move = move
        self._process = process
        assert listen(process) == "ready"

    def deaths(self, points: int) -> Iterator[Store]:
        """The store after each kill, at that many lines of the package, one after another."""
        self._prepare()
        lines = int(self._act(0))
        assert lines > 20
        killed = 0
        for kill_at in range(1, lines + 1, max(1, lines // points)):
            self._prepare()
            killed += self._act(kill_at) == "killed"
            with open_store(self._deployment.url) as store:
                yield store
            assert self._deployment.leftovers() == [], f"after a kill at line event {kill_at}"
        assert killed > points // 2

    def _act(self, kill_at: int) -> str:
        tell(self._process, f"{self._move} {kill_at}")
        told = listen(self._process)
        assert told != "failed"
        return told

    def _prepare(self) -> None:
        self._deployment.wipe()
        with open_store(self._deployment.url) as store:
            for week in (44, 45, 46):
                make(f"2026-W{week}", [*USERS, "zoe"]).publish(store)
            if self._move == "erase":
                store.forget("zoe")


@pytest.fixture
def victim(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[Victim]:
    with child("victim", deployment.url) as process:
        yield Victim(deployment, request.param, process)
        assert process.stdin is not None
        process.stdin.close()


kill = pytest.mark.parametrize("points", [2, pytest.param(150, marks=pytest.mark.soak)])


@kill
@pytest.mark.parametrize("victim", ["publish"], indirect=True)
def test_a_publisher_killed_anywhere_leaves_an_edition_whole(victim: Victim, points: int) -> None:
    seen = set()
    for store in victim.deaths(points):
        seen.add(check_whole(store))
        MOVES["publish"](store)
        assert check_whole(store) == "2026-W47"
        assert len(store.editions()) == 4
        assert store.rollback().edition == "2026-W46"
    assert "2026-W46" in seen


@kill
@pytest.mark.parametrize("victim", ["rollback"], indirect=True)
def test_a_rollback_killed_anywhere_was_one_or_none(victim: Victim, points: int) -> None:
    for store in victim.deaths(points):
        served = check_whole(store)
        undone = served == "2026-W45"
        assert undone or served == "2026-W46"
        newest = store.editions()[0]
        assert newest.state == (State.ROLLED_BACK if undone else State.ACTIVATED)


@kill
@pytest.mark.parametrize("victim", ["erase"], indirect=True)
def test_an_erasure_killed_anywhere_loses_nothing_and_is_finished(
    victim: Victim, points: int
) -> None:
    for store in victim.deaths(points):
        assert check_whole(store) == "2026-W46"
        store.erase()
        assert check_whole(store) == "2026-W46"
        for edition in store.editions():
            users = [row["user_id"] for row in stored_rows(store, edition.digest)]
            assert users == list(USERS)
            assert (edition.rows, edition.left_out, edition.present) == (3, 1, True)
        erased = [entry for entry in store.ledger() if entry.action == Action.ERASED]
        assert len(erased) == 3


@kill
@pytest.mark.parametrize("victim", ["prune"], indirect=True)
def test_pruning_killed_anywhere_keeps_what_is_to_be_kept(victim: Victim, points: int) -> None:
    for store in victim.deaths(points):
        assert check_whole(store) == "2026-W46"
        store.prune(2)
        assert [(one.present, one.pruned) for one in store.editions()] == [
            (True, False),
            (True, False),
            (False, True),
        ]
        assert store.rollback().edition == "2026-W45"


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
