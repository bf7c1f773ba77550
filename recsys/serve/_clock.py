"""Where it is Monday: weeks begin at midnight in each listener's own time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, tzinfo
from typing import Final

from recsys.weeks import Week

#: Moments whose week, and the one after it, have dates in every zone.
_FIRST: Final = datetime(2, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9998, 12, 31, tzinfo=UTC)


def within(now: datetime) -> datetime:
    """What a clock says, or the nearest moment that can be reckoned with.

    >>> within(datetime.max.replace(tzinfo=UTC)).year
    9998
    """
    return min(max(now, _FIRST), _LAST)


def today(now: datetime, zone: tzinfo) -> date:
    """The date of a moment (timezone-aware) in a zone."""
    return now.astimezone(zone).date()


def begins(week: Week, zone: tzinfo) -> datetime:
    """The moment at which a week begins in a zone, in that zone.

    Where clocks go forward at midnight, that is the moment at which they do.

    >>> from zoneinfo import ZoneInfo
    >>> begins(Week.parse("2026-W47"), ZoneInfo("Asia/Kolkata")).isoformat()
    '2026-11-16T00:00:00+05:30'
    """
    return datetime.combine(week.monday, time(), zone).astimezone(UTC).astimezone(zone)


def seconds_to_monday(now: datetime, zone: tzinfo) -> int:
    """Whole seconds until the next Monday begins in a zone; rounded down, so never past it."""
    return int((begins(Week.of(today(now, zone)) + 1, zone) - now).total_seconds())
