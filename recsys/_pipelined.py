"""Work on one thing while the one before is in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_Item = TypeVar("_Item")
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def pipelined(make: Callable[[_Given], _Made], given: Iterable[_Given]) -> Iterator[_Made]:
    """What ``map`` gives, in order; the next is made in another thread meanwhile.

    ``given`` is iterated over in the thread that iterates over this.
    """
    with ThreadPoolExecutor(1) as worker:
        making: Future[_Made] | None = None
        for thing in given:
            following = worker.submit(copy_context().run, make, thing)
            if making is not None:
                yield making.result()
            making = following
        if making is not None:
            yield making.result()


def ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items, of which the next is made in another thread while one is in use."""

    def following() -> _Item | None:
        return next(items, None)

    context = copy_context()
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(context.run, following)
        while (item := coming.result()) is not None:
            coming = worker.submit(context.run, following)
            yield item
