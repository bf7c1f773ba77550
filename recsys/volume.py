"""Days of unusual size."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

_TRAILING_DAYS: Final = 28
_LEAST_DAYS: Final = 7
#: Below so many rows a day, a household's log goes up and down as it likes.
_LEAST_MEDIAN: Final = 1000
_TIMES: Final = 10


def odd_days(rows: Mapping[date, int], days: Sequence[date]) -> list[str]:
    """Say which of ``days`` are under a tenth of, or over ten times, their usual size.

    The usual size is the median of the 28 days before, where at least seven of them have rows and
    the median is at least 1,000 rows.

    Args:
        rows: rows read, by day.
        days: the days to judge.

    Returns:
        One sentence per odd day.

    >>> log = {date(2026, 11, day): 5000 for day in range(1, 15)} | {date(2026, 11, 15): 20}
    >>> odd_days(log, [date(2026, 11, 14), date(2026, 11, 15)])
    ['2026-11-15 has 20 rows where 5000 are usual']
    """
    said = []
    for day in days:
        trailing = [
            rows[before]
            for before in (day - timedelta(days=n) for n in range(1, _TRAILING_DAYS + 1))
            if before in rows
        ]
        if len(trailing) < _LEAST_DAYS:
            continue
        usual = statistics.median(trailing)
        if usual >= _LEAST_MEDIAN and not usual / _TIMES <= rows[day] <= usual * _TIMES:
            said.append(f"{day} has {rows[day]} rows where {usual:.0f} are usual")
    return said


def empty_days(rows: Mapping[date, int], days: Sequence[date]) -> list[date]:
    """Those of ``days`` that were delivered without a single row."""
    return [day for day in days if rows[day] == 0]
