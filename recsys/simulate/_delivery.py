"""How events reach the log: at once, days late, or twice."""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np

from recsys.simulate._catalogue import Ints
from recsys.simulate._listening import DAY_MS, EVENT, Events
from recsys.simulate._world import Stream, World

_LATE_SHARES: Final = (0.45, 0.25, 0.15, 0.10, 0.05)  # 1 to 5 days
_AGAIN_DAYS: Final = 7
_AGAIN_SAME_DAY: Final = 0.5


class Delivery:
    """Takes in what was heard on a day and hands out what arrives on it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._first = world.first_day.toordinal() - date(1970, 1, 1).toordinal()
        self._pending = np.zeros(0, EVENT)

    def day(self, day: int, events: Events) -> Events:
        """What arrives on a day, in order of arrival; the rest waits for its own day."""
        random = self._world.random(Stream.DELIVERY, day)
        events = events.copy()
        late = np.flatnonzero(random.random(len(events)) < self._world.late)
        delay = random.choice(np.arange(1, 6), len(late), p=_LATE_SHARES)
        events["late"][late] = True
        events["arrived"][late] = self._some_time(
            random, self._day_of(events["arrived"][late]) + delay
        )

        again = events[random.random(len(events)) < self._world.duplicates]
        again["duplicate"] = True
        same_day = random.random(len(again)) < _AGAIN_SAME_DAY
        after = np.where(same_day, 0, random.integers(1, _AGAIN_DAYS + 1, len(again)))
        arrived = self._some_time(random, self._day_of(again["arrived"]) + after)
        again["arrived"] = np.maximum(arrived, again["arrived"])

        waiting = np.concatenate([self._pending, events, again])
        today = self._day_of(waiting["arrived"]) <= day
        self._pending = waiting[~today]
        arrived_today = waiting[today]
        order = np.lexsort(
            tuple(arrived_today[key] for key in ("duplicate", "track", "user", "arrived"))
        )
        return arrived_today[order]

    def _day_of(self, ms: Ints) -> Ints:
        return ms // DAY_MS - self._first

    def _some_time(self, random: np.random.Generator, day: Ints) -> Ints:
        return (day + self._first) * DAY_MS + random.integers(0, DAY_MS, len(day))
