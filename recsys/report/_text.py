"""What is put into the page: numbers for people, and text that nobody vouches for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from markupsafe import Markup

from recsys.untrusted import harmless_name

NONE: Final = "–"
_SPELT: Final = {
    "als_defaults": "implicit ALS, defaults",
    "item_knn": "item kNN",
    "ndcg_at_": "nDCG@",
    "map_at_": "MAP@",
}


def harmless(value: Any) -> Any:
    """Text without control characters, without those that turn its direction, and not endless.

    Markup of the page's own passes as it is. Jinja2 escapes what this returns.

    >>> harmless("a" + chr(0x202E) + "b" + chr(27) + "[31m" + chr(0xD800))
    'a�b�[31m�'
    >>> len(harmless("x" * 1000))
    200
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return harmless_name(value)


def count(value: float | None) -> str:
    """A whole number.

    >>> count(1234567), count(None)
    ('1,234,567', '–')
    """
    return NONE if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """A share as per cent, with as many decimals as any other.

    >>> share(0.3), share(0.0123), share(None)
    ('30.00%', '1.23%', '–')
    """
    return NONE if value is None else f"{value:.2%}"


def number(value: Any) -> str:
    """A number with four digits; anything else as it is.

    >>> number(0.123456), number(1234567), number("12 x 3"), number(None)
    ('0.1235', '1,234,567', '12 x 3', '–')
    """
    if value is None:
        return NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def fixed(value: float | None) -> str:
    """A metric or a score, with as many decimals as any other.

    >>> fixed(0.01)
    '0.0100'
    """
    return NONE if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    """A difference.

    >>> signed(0.01234), signed(-1.0)
    ('+0.0123', '-1.0000')
    """
    return NONE if value is None else f"{value:+.4f}"


def words(name: str) -> str:
    """A name from code, for people: the same wherever it stands.

    >>> words("ndcg_at_30"), words("recent_popularity"), words("parent_over_item_knn")
    ('nDCG@30', 'recent popularity', 'parent over item kNN')
    """
    for code, spelt in _SPELT.items():
        name = name.replace(code, spelt)
    return name.replace("_at_", "@").replace("_", " ")


def kept_share(counts: Mapping[str, int]) -> float:
    """The share of the tracks of a row of hindsight that were kept.

    >>> kept_share({"kept": 1, "tracks": 4})
    0.25
    """
    return ratio(counts["kept"], counts["tracks"]) or 0.0


def count_of(name: str, counts: Mapping[str, int]) -> int:
    """What is counted under a name.

    >>> count_of("no_user", {"no_user": 3}), count_of("private", {"no_user": 3})
    (3, 0)
    """
    return counts.get(name, 0)


def ratio(part: float | None, whole: float | None) -> float | None:
    """``part / whole``, or None where there is nothing to divide by.

    >>> ratio(1, 4), ratio(1, 0), ratio(None, 4)
    (0.25, None, None)
    """
    return None if part is None or not whole else part / whole
