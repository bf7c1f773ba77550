"""A day of listening: who plays what, when, for how long, and what they make of it."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import numpy as np

from recsys.simulate._catalogue import Catalogue, Floats, Ints
from recsys.simulate._discovery import Discovery
from recsys.simulate._library import Library
from recsys.simulate._listeners import Bools, Kind, Listeners, affinity
from recsys.simulate._world import Stream, World

PLAY, SAVE, LIKE, DISLIKE = range(4)
EVENT_NAMES: Final = ("play", "save", "like", "dislike")

#: An event on its way to the log; times in ms since 1970, ``played`` -1 where there is none.
EVENT: Final = np.dtype(
    [
        ("user", np.int32),
        ("track", np.int32),
        ("started", np.int64),
        ("arrived", np.int64),
        ("played", np.int64),
        ("event", np.int8),
        ("skipped", np.bool_),
        ("private", np.bool_),
        ("robot", np.bool_),
        ("late", np.bool_),
        ("duplicate", np.bool_),
    ]
)
Events = np.ndarray[Any, np.dtype[np.void]]

DAY_MS: Final = 86_400_000
_SESSION = 10  # tracks, on average
_DAY_LIMIT = 250  # tracks a listener hears in one day
_HOURS = (8.0, 13.0, 18.5, 21.5)  # when sessions begin, local time
_HOUR_SHARES = (0.25, 0.15, 0.30, 0.30)
_WEEKEND = 1.25
_FAVOURITES = 12  # what a regular knows when the log begins
_ROBOT_PLAYS = 400  # a day
_ROBOT_TRACKS = 5
_ROBOT_MS = 31_000  # just long enough to be paid


class Listening:
    """The listening of all days, made in order: each day adds to what listeners come back to."""

    def __init__(self, world: World, catalogue: Catalogue, listeners: Listeners) -> None:
        self._world = world
        self._catalogue = catalogue
        self._listeners = listeners
        self._discovery = Discovery(catalogue, listeners)
        self._library = Library(world.listeners)
        self._busy_until = np.zeros(world.listeners, np.int64)
        random = world.random(Stream.LISTENING)
        regulars = np.flatnonzero(np.isin(listeners.kind, (Kind.REGULAR, Kind.LAPSED)))
        users = np.repeat(regulars, _FAVOURITES)
        tastes = listeners.tastes_on(0)
        tracks = self._discovery.tracks(random, users, self._library, tastes, day=0)
        released = self._released(tracks, -1)
        self._library.add(users[released], tracks[released])
        robots = np.flatnonzero(listeners.kind == Kind.ROBOT)
        self._robots = np.repeat(robots, _ROBOT_PLAYS)
        self._robot_tracks = random.integers(
            0, len(catalogue.song), (world.listeners if len(robots) else 0, _ROBOT_TRACKS)
        )

    def day(self, day: int) -> Events:
        """Everything that begins on one day, counted from the log's first."""
        random = self._world.random(Stream.LISTENING, day)
        return np.concatenate([*self._people(random, day), self._machines(random, day)])

    def _people(self, random: np.random.Generator, day: int) -> tuple[Events, Events]:
        listeners, library = self._listeners, self._library
        tastes = listeners.tastes_on(day)
        users = np.repeat(np.arange(self._world.listeners), self._counts(random, day))
        explores = random.random(len(users)) < listeners.exploration[users]
        explores |= library.size[users] == 0
        tracks = np.empty(len(users), np.int64)
        tracks[~explores] = library.pick(random, users[~explores])
        tracks[explores] = self._discovery.tracks(random, users[explores], library, tastes, day)
        out = self._released(tracks, day)
        users, tracks, explores = users[out], tracks[out], explores[out]

        liking = affinity(self._catalogue, tastes, users, self._catalogue.song[tracks])
        begins = (random.random(len(users)) < 1 / _SESSION) | (np.diff(users, prepend=-1) > 0)
        session = np.cumsum(begins) - 1
        private = (random.random(np.count_nonzero(begins)) < self._world.private)[session]
        annoyance = 0.04 + 0.9 * (1 - liking) ** 1.5 * np.where(explores, 1.0, 0.5)
        skipped = random.random(len(users)) < annoyance * listeners.impatience[users]
        skipped |= listeners.only_skips[users]
        played = self._played(random, tracks, skipped)

        events = np.zeros(len(users), EVENT)
        events["user"], events["track"] = users, tracks
        events["played"], events["skipped"], events["private"] = played, skipped, private
        events["started"] = self._times(random, day, users, begins, played)
        events["arrived"] = events["started"] + played
        kept = ~skipped & ~private & (random.random(len(users)) < 0.7 * liking)
        library.add(users[kept & explores], tracks[kept & explores])
        return events, _reactions(random, events, liking, explores)

    def _counts(self, random: np.random.Generator, day: int) -> Ints:
        who = self._listeners
        weekend = self._weekday(day) >= 5
        here = (who.joined <= day) & (day < who.left) & (who.kind != Kind.ROBOT)
        active = here & (random.random(len(here)) < who.regularity)
        mean = who.activity / who.regularity * (_WEEKEND if weekend else 1.0)
        counts: Ints = np.where(active, np.minimum(random.poisson(mean), _DAY_LIMIT), 0)
        counts = np.maximum(counts, who.joined == day)
        visitors = who.kind == Kind.VISITOR
        counts[visitors] = (who.visits * (who.joined == day))[visitors]
        return counts

    def _weekday(self, day: int) -> int:
        return date.fromordinal(self._world.first_day.toordinal() + day).weekday()

    def _released(self, tracks: Ints, day: int) -> Bools:
        released: Bools = self._catalogue.song_released[self._catalogue.song[tracks]] <= day
        return released

    def _played(self, random: np.random.Generator, tracks: Ints, skipped: Bools) -> Ints:
        share = np.where(random.random(len(tracks)) < 0.92, 1.0, random.beta(3, 2, len(tracks)))
        share = np.where(skipped, random.beta(1, 5, len(tracks)), share)
        played: Ints = np.maximum((self._catalogue.duration_ms[tracks] * share).astype(np.int64), 2)
        return played

    def _times(
        self, random: np.random.Generator, day: int, users: Ints, begins: Bools, played: Ints
    ) -> Ints:
        """When each play starts: sessions at their hours, one track after the other, no overlap."""
        owner = users[begins]
        hour = random.choice(_HOURS, len(owner), p=_HOUR_SHARES)
        hour += random.normal(0, 1.5, len(owner)) - self._listeners.time_zone[owner]
        wanted = (hour % 24 / 24 * DAY_MS).astype(np.int64) + self._midnight(day)
        wanted = wanted[np.lexsort((wanted, owner))]
        length = played + random.integers(300, 2500, len(users))
        first = np.flatnonzero(np.diff(users, prepend=-1) > 0)
        rank = np.repeat(np.arange(len(first)), np.diff(first, append=len(users)))
        before = np.cumsum(length) - length
        before -= before[first][rank]
        # A play starts when it is wanted or when the one before has ended: a running maximum,
        # made to start afresh at each listener by a step that no day can bridge.
        step = 10 * DAY_MS
        earliest = np.full(len(users), np.iinfo(np.int64).min // 2)
        earliest[begins] = wanted - before[begins]
        earliest[first] = np.maximum(earliest[first], self._busy_until[users[first]])
        earliest += rank * step
        started: Ints = np.maximum.accumulate(earliest) - rank * step + before
        last = np.append(first[1:], len(users))[: len(first)] - 1
        self._busy_until[users[last]] = started[last] + length[last]
        return started

    def _midnight(self, day: int) -> int:
        return (self._world.first_day.toordinal() + day - date(1970, 1, 1).toordinal()) * DAY_MS

    def _machines(self, random: np.random.Generator, day: int) -> Events:
        users = self._robots
        events = np.zeros(len(users), EVENT)
        tracks = self._robot_tracks[users, random.integers(0, _ROBOT_TRACKS, len(users))]
        place = np.arange(len(users)) % _ROBOT_PLAYS + random.random(len(users)) * 0.8
        events["user"], events["track"], events["robot"] = users, tracks, True
        events["started"] = self._midnight(day) + (place / _ROBOT_PLAYS * DAY_MS).astype(np.int64)
        events["played"] = np.minimum(_ROBOT_MS, self._catalogue.duration_ms[tracks])
        events["arrived"] = events["started"] + events["played"]
        return events[self._released(tracks, day)]


def _reactions(
    random: np.random.Generator, plays: Events, liking: Floats, explores: Bools
) -> Events:
    """Saves, likes and dislikes: each a row of its own, while its track plays."""
    fond = liking**2 * ~plays["skipped"] * np.where(explores, 1.0, 0.2)
    chances = np.stack([0.06 * fond, 0.03 * fond, 0.06 * (1 - liking) ** 2 * plays["skipped"]])
    drawn = random.random(len(plays))
    event = np.select(list(drawn < np.cumsum(chances, axis=0)), (SAVE, LIKE, DISLIKE), PLAY)
    at = np.flatnonzero(event != PLAY)
    reactions = plays[at]
    within = 1 + (random.random(len(at)) * (reactions["played"] - 1)).astype(np.int64)
    reactions["started"] += within
    reactions["arrived"] = reactions["started"]
    reactions["event"] = event[at]
    reactions["played"] = -1
    reactions["skipped"] = False
    return reactions
