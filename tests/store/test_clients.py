"""Contract: what a service may do with an open store."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recsys.errors import NoEditionError
from recsys.store import Store, open_store
from tests.store.making import make

HEAVY = ("numpy", "scipy", "pyarrow", "pandas", "duckdb", "implicit", "numba", "mlflow", "luigi")
READER = f"""
import sys
from recsys.store import open_store
with open_store(sys.argv[1]) as store:
    print(store.playlist("ada").tracks[0].track_id, store.default_playlist().kind)
    print(len(store.editions()), store.current().edition)
print([name for name in {HEAVY} if name in sys.modules])
"""


def test_reading_loads_no_heavy_package(store: Store, url: str) -> None:
    make("2026-W47").publish(store)
    store.block("2026-W47/ada/1")
    done = subprocess.run(
        [sys.executable, "-c", READER, url],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["2026-W47/ada/spare 2 popular", "1 2026-W47", "[]"]


def test_an_open_reader_notices_whatever_happens(store: Store, url: str) -> None:
    with open_store(url) as reader:
        with pytest.raises(NoEditionError):
            reader.playlist("ada")
        for edition in ("2026-W46", "2026-W47"):
            make(edition).publish(store)
            assert reader.playlist("ada").edition == edition
        store.rollback()
        assert reader.playlist("ada").edition == "2026-W46"
        store.block("2026-W46/ada/2")
        assert reader.playlist("ada").tracks[1].track_id == "2026-W46/ada/spare 1"


def test_many_threads_read_one_store_and_each_gets_its_own(store: Store) -> None:
    users = [f"user {n}" for n in range(40)]
    make("2026-W47", users).publish(store)
    store.block("2026-W47/user 7/3")

    def read(user: str) -> bool:
        return all(
            track.track_id.split("/")[1] == user
            for _ in range(10)
            for track in store.playlist(user).tracks
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, users * 5))


def test_threads_read_while_others_land(store: Store, url: str) -> None:
    make("2026-W40").publish(store)
    with open_store(url) as writer, ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(_editions_seen, store) for _ in range(4)]
        for week in range(41, 46):
            make(f"2026-W{week}", ["ada", f"leaving {week}"]).publish(writer)
            writer.forget(f"leaving {week}")
            writer.erase()
            writer.prune(2)
        for seen in [future.result() for future in reading]:
            assert seen == sorted(seen)


def _editions_seen(store: Store) -> list[str]:
    seen = []
    while "2026-W45" not in seen:
        playlist = store.playlist("ada")
        assert [track.track_id for track in playlist.tracks] == [
            f"{playlist.edition}/ada/{n}" for n in (1, 2, 3)
        ]
        seen.append(playlist.edition)
    return seen


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_store_opened_before_a_fork_reads_after_it(store: Store) -> None:
    make("2026-W46").publish(store)
    store.block("2026-W46/ada/1")
    assert store.playlist("ada").edition == "2026-W46"
    made = make("2026-W47")
    made.stage(store)
    answer, question = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            seen = [store.playlist("ada").edition for _ in range(3)]
            os.write(question, ",".join(seen).encode())
        finally:
            os._exit(0)
    os.close(question)
    with os.fdopen(answer) as pipe:
        assert pipe.read() == "2026-W46,2026-W46,2026-W46"
    os.waitpid(child, 0)
    store.activate("2026-W47", made.digest)
    assert store.playlist("bob").edition == "2026-W47"
