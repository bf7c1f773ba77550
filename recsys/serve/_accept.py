"""Which of the types on offer a client likes best: RFC 9110, 12.5.1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_NAME: Final = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_RANGE: Final = re.compile(rf"\s*({_NAME}/{_NAME})\s*(;.*)?", re.DOTALL)
_WEIGHT: Final = re.compile(r";\s*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?=;|$)", re.IGNORECASE)


def best(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offer with the highest weight, the first of equals; None where none is accepted.

    The most specific range decides on each offer. A range that cannot be read is passed over.

    >>> offers = ("application/json", "application/jspf+json")
    >>> best(None, offers), best("*/*;q=0.1, application/jspf+json", offers)
    ('application/json', 'application/jspf+json')
    >>> best("application/*;q=0.5, application/json;q=0", offers)
    'application/jspf+json'
    >>> best("text/html", offers) is None
    True
    """
    if accept is None or not accept.strip():
        return offered[0]
    weights = {}
    for part in accept.split(","):
        found = _RANGE.fullmatch(part)
        if found:
            weight = _WEIGHT.search(found[2] or "")
            weights[found[1].lower()] = float(weight[1]) if weight else 1.0

    def liked(offer: str) -> float:
        for one in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
            if one in weights:
                return weights[one]
        return 0.0

    chosen = max(offered, key=liked)
    return chosen if liked(chosen) else None
