"""Work on one thing while the one before is in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def pipelined(make: Callable[[_Given], _Made], given: Iterable[_Given]) -> Iterator[_Made]:
    """What ``map`` gives, in order; the next is made in another thread meanwhile.

    ``given`` is iterated over in the thread that iterates over this.
    """
    with ThreadPoolExecutor(1) as worker:
        making: Future[_Made] | None = None
        for thing in given:
            following = worker.submit(make, thing)
            if making is not None:
                yield making.result()
            making = following
        if making is not None:
            yield making.result()
