"""Telling a shared cache that what is served has changed."""

from __future__ import annotations

import http.client
import logging
import urllib.error
import urllib.request
from typing import Final

from recsys.store._url import redacted

_SECONDS_TO_WAIT: Final = 5
_LOG: Final = logging.getLogger("recsys.serve")


def purge(url: str) -> str | None:
    """Have a shared cache let go of every playlist, if ``[serve] purge_url`` names one.

    The request is ``BAN`` of that URL; any 2xx is an answer. It never stops what it follows: until
    the cache hears of it, answers grow old by themselves within ``[serve] shared_max_age``.

    Args:
        url: ``[serve] purge_url``; empty for none.

    Returns:
        Why the cache was not emptied, or None.
    """
    if not url:
        return None
    request = urllib.request.Request(url, method="BAN")  # noqa: S310 (the setting admits http alone)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS_TO_WAIT):  # noqa: S310 (likewise)
            return None
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = (
            f"The cache at {redacted(url)} was not emptied ({error}). It may give out what it has "
            "for [serve] shared_max_age seconds more."
        )
        _LOG.warning(why)
        return why
