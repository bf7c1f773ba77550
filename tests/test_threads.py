"""One thread a core, whoever works: DuckDB, BLAS and our own blocks never fight."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from recsys import _tables, _threads
from recsys._pipelined import ahead, pipelined


def blas_threads() -> set[int]:
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_our_threads_are_as_many_as_cores_and_blas_has_one_in_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_threads, "cores", lambda: 3)
    together = threading.Barrier(3)

    def block(start: int, stop: int) -> tuple[str, set[int]]:
        together.wait(timeout=30)  # passes only where three work at once
        np.ones((stop - start, 8)) @ np.ones((8, 8))
        return threading.current_thread().name, blas_threads()

    found = list(_threads.over_blocks(block, 30, 10))
    assert len({name for name, _ in found}) == 3
    assert [blas for _, blas in found] == [{1}] * 3


def test_blas_gets_its_threads_back() -> None:
    before = blas_threads()
    with _threads.one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_blas_that_was_loaded_after_the_first_use_is_held_too() -> None:
    code = """
import numpy as np
from threadpoolctl import threadpool_info
from recsys._threads import one_blas_thread

def blas():
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

with one_blas_thread():
    first = blas()
import scipy.linalg
with one_blas_thread():
    print(len(blas()) > len(first), set(blas()))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "True {1}\n"


def test_duckdb_has_a_thread_a_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that the process may use: in a container the machine has more."""
    monkeypatch.setattr(_tables, "cores", lambda: 3)
    with _tables.database(tmp_path) as connection:
        assert connection.execute("SELECT current_setting('threads')").fetchall() == [(3,)]


def test_who_works_in_another_thread_has_the_same_share() -> None:
    def shares() -> list[int]:
        with _threads.beside(_threads.cores) as beside:
            return [
                *ahead(_threads.cores() for _ in range(2)),
                *pipelined(lambda _: _threads.cores(), range(2)),
                beside.result(),
            ]

    with _threads.share_of(3):
        assert shares() == [3] * 5


def test_what_fails_on_one_thread_fails_for_all() -> None:
    with pytest.raises(ZeroDivisionError):
        _threads.on_each(lambda number: 1 // number, [1, 0, 2])
    assert _threads.on_each(str, range(5)) == list("01234")
