"""ISO weeks: the editions that listeners see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

_PATTERN = re.compile(r"([0-9]{4})-W([0-9]{2})")


@dataclass(frozen=True, order=True)
class Week:
    """One ISO 8601 week, the name of an edition.

    >>> week = Week.parse("2026-W47")
    >>> week.monday
    datetime.date(2026, 11, 16)
    >>> str(week - 1), str(Week.parse("2026-W53") + 1)
    ('2026-W46', '2027-W01')
    >>> week.cutoff(lead_hours=24).isoformat()
    '2026-11-15T00:00:00+00:00'
    """

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Week:
        """Read ``YYYY-Www``.

        Raises:
            ValueError: the text has another form, or the year has no such week.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a week: expected YYYY-Www, such as 2026-W47")
        year, number = int(match[1]), int(match[2])
        try:
            date.fromisocalendar(year, number, 1)
        except ValueError:
            raise ValueError(f"{text!r} is not a week: {year} has no week {number}") from None
        return cls(year, number)

    @classmethod
    def of(cls, day: date) -> Week:
        """The week that a calendar day falls in."""
        year, number, _ = day.isocalendar()
        return cls(year, number)

    @classmethod
    def newest(cls, now: datetime, lead_hours: int) -> Week:
        """The newest week whose cutoff has passed at ``now`` (timezone-aware).

        >>> str(Week.newest(datetime(2026, 11, 14, 23, 59, tzinfo=UTC), 24))
        '2026-W46'
        >>> str(Week.newest(datetime(2026, 11, 15, tzinfo=UTC), 24))
        '2026-W47'
        """
        return cls.of((now.astimezone(UTC) + timedelta(hours=lead_hours)).date())

    @property
    def monday(self) -> date:
        """The first day on which the edition is valid, in each listener's own time zone."""
        return date.fromisocalendar(self.year, self.number, 1)

    @property
    def sunday(self) -> date:
        """The last day on which the edition is valid."""
        return self.monday + timedelta(days=6)

    def cutoff(self, lead_hours: int) -> datetime:
        """Only what arrived before this instant (UTC) counts."""
        return datetime.combine(self.monday, time(), UTC) - timedelta(hours=lead_hours)

    def last_day(self, lead_hours: int) -> date:
        """The last arrival day that counts (``lead_hours`` is a multiple of 24)."""
        return (self.cutoff(lead_hours) - timedelta(days=1)).date()

    def __add__(self, weeks: int) -> Week:
        return Week.of(self.monday + timedelta(weeks=weeks))

    def __sub__(self, weeks: int) -> Week:
        return self + -weeks

    def __str__(self) -> str:
        return f"{self.year:04d}-W{self.number:02d}"
