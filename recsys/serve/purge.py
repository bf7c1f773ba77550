"""Telling a shared cache that what is served has changed."""

from __future__ import annotations

import http.client
import logging
import queue
import threading
import urllib.request
from typing import Final

from recsys.store._url import redacted

_SECONDS_TO_WAIT: Final = 5
_LOG: Final = logging.getLogger("recsys.serve")


def purge(url: str) -> None:
    """Have a shared cache let go of every playlist, if ``[serve] purge_url`` names one.

    The request is ``BAN`` of that URL, and any 2xx will do for an answer. A cache that does not
    give one is told of by a warning within 5 s, and never stops what it follows: what it has grows
    old by itself within ``[serve] shared_max_age``.

    Args:
        url: ``[serve] purge_url``; empty for none.
    """
    if not url:
        return
    outcome: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
    # In a thread: the time limit of a socket is for each of its operations, and not for all.
    threading.Thread(target=lambda: outcome.put(_ban(url)), daemon=True).start()
    try:
        error = outcome.get(timeout=_SECONDS_TO_WAIT)
    except queue.Empty:
        error = TimeoutError(f"no answer within {_SECONDS_TO_WAIT} s")
    if error is not None:
        _LOG.warning(
            "The cache at %s was not emptied (%s): it may give out what it has for [serve] "
            "shared_max_age seconds more. Empty it by hand, and correct [serve] purge_url.",
            redacted(url),
            error,
        )


def _ban(url: str) -> Exception | None:
    """Send the request; returns what went wrong."""
    request = urllib.request.Request(url, method="BAN")  # noqa: S310 (the setting admits http alone)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the cache is near
    try:
        with opener.open(request, timeout=_SECONDS_TO_WAIT):
            return None
    except (OSError, http.client.HTTPException, ValueError) as error:
        return error
