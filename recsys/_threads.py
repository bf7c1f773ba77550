"""How many threads the numerical work uses, and how it is shared out among them."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


_share: ContextVar[int | None] = ContextVar("share", default=None)


def cores() -> int:
    """The cores that the work in hand may use, at least 1."""
    return _share.get() or machine_cores()


def machine_cores() -> int:
    """The cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS knows no affinity


@contextlib.contextmanager
def share_of(count: int) -> Iterator[None]:
    """Use so many cores, and no more, in this context: others work on the machine beside it."""
    token = _share.set(count)
    try:
        yield
    finally:
        _share.reset(token)


@contextlib.contextmanager
def beside(work: Callable[[], Result]) -> Iterator[Future[Result]]:
    """Work in another thread, which is waited for at the end."""
    with ThreadPoolExecutor(1) as worker:
        yield worker.submit(copy_context().run, work)


def on_each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """What ``map`` gives, made by a thread a core."""
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(work, items))


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the BLAS libraries that are loaded to one thread, so that they do not fight with ours.

    It also keeps their sums in one order, whatever the number of cores.
    """
    with _libraries(len(sys.modules)).limit(limits=1, user_api="blas"):
        yield


@functools.lru_cache(maxsize=1)
def _libraries(_imported: int) -> ThreadpoolController:
    """The libraries that are loaded, looked for again when a module was imported since."""
    return ThreadpoolController()


@dataclass(frozen=True)
class Workers:
    """Threads that share out blocks of rows among them; from :func:`workers`."""

    pool: ThreadPoolExecutor

    def over_blocks(
        self, work: Callable[[int, int], Result], rows: int, height: int
    ) -> Iterator[Result]:
        """Call ``work(start, stop)`` on blocks of rows, and yield in row order.

        The blocks are ``height`` rows high (the last may be shorter) however many threads there
        are; so each row meets the same arithmetic on one core and on many. ``work`` should spend
        its time where the GIL is free.
        """
        starts = range(0, rows, height)
        return self.pool.map(lambda start: work(start, min(start + height, rows)), starts)


@contextlib.contextmanager
def workers(threads: int = 0) -> Iterator[Workers]:
    """So many threads, 0 for one a core, each with one BLAS thread."""
    with one_blas_thread(), ThreadPoolExecutor(threads or cores()) as pool:
        yield Workers(pool)


def over_blocks(work: Callable[[int, int], Result], rows: int, height: int) -> Iterator[Result]:
    """:meth:`Workers.over_blocks` on one thread a core."""
    with workers() as threads:
        yield from threads.over_blocks(work, rows, height)
