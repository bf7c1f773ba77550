"""Progress of long steps: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import track

Item = TypeVar("Item")

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 5.0


def progress(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield ``items`` and show how far along it is; a single item is not worth showing.

    Args:
        items: what to go through.
        what: what is being done, for people.
        total: how many items there are.
    """
    if total > 1 and sys.stderr.isatty():
        from rich.console import Console

        yield from track(items, what, total=total, console=Console(stderr=True), transient=True)
        return
    spoke = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - spoke > _SECONDS_BETWEEN_LINES:
            spoke = time.monotonic()
            _LOG.info("%s: %d of %d", what, done, total)
