"""Who listens: what each listener likes, how that drifts, and how much and when they listen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
import pyarrow as pa

from recsys import columns as c
from recsys.simulate._catalogue import Catalogue, Float32s, Floats, Ints, directions, unit
from recsys.simulate._world import Stream, World

TASTES: Final = 4  # at most, for one listener
_TASTES_SHARES = (0.25, 0.40, 0.25, 0.10)
_TASTE_SPREAD = 0.5
_ACTIVITY_SIGMA = 1.0
_DRIFT_MEDIAN = 0.004  # radians a day: 13 degrees in eight weeks
_DRIFT_SIGMA = 0.7
_TIME_ZONES = (-8, -5, -3, 0, 1, 2, 3, 5.5, 9)

_BLOCK = 65_536

#: Affinity is a logistic curve over the song's appeal plus the cosine of taste and song.
_AFFINITY_SLOPE = 8.0
_AFFINITY_MIDDLE = 0.7

Bools = np.ndarray[Any, np.dtype[np.bool_]]


class Kind(IntEnum):
    """How a listener comes and goes."""

    REGULAR = 0
    NEWCOMER = 1
    VISITOR = 2
    LAPSED = 3
    ROBOT = 4


@dataclass(frozen=True)
class Listeners:
    """The listeners, as arrays over [N]; tastes are [N, TASTES, d]."""

    ids: pa.Array  # string
    kind: Ints
    joined: Ints  # first day, counted from the log's first; regulars came before
    left: Ints  # first day without them
    tastes: Float32s  # unit length; a listener of fewer tastes has the first one repeated
    drift: Float32s  # unit length, at a right angle to the taste: where it is going
    drift_speed: Floats  # radians a day
    taste_shares: Floats  # [N, TASTES], rows sum to 1, repeated tastes have 0
    activity: Floats  # listens a day
    regularity: Floats  # share of days with any listening
    exploration: Floats  # share of plays that are not repeats
    impatience: Floats  # factor on the chance of a skip
    time_zone: Floats  # hours ahead of UTC
    visits: Ints  # tracks a visitor hears; 0 for all others
    only_skips: Bools

    def tastes_on(self, day: int) -> Float32s:
        """The tastes on a day, float32 [N, TASTES, d]: turned from where they were at the start."""
        angle = (self.drift_speed * day)[:, None, None]
        turned: Float32s = (np.cos(angle) * self.tastes + np.sin(angle) * self.drift).astype(
            np.float32
        )
        return turned

    def table(self, world: World) -> pa.Table:
        """One row per listener, for people: id, kind, days of joining and leaving, activity."""
        first = np.datetime64(world.first_day)
        return pa.table(
            {
                c.USER_ID: self.ids,
                c.KIND: [Kind(kind).name.lower() for kind in self.kind.tolist()],
                "joined_on": pa.array(first + self.joined).cast(pa.date32()),
                "left_on": pa.array(first + self.left).cast(pa.date32()),
                "listens_per_day": self.activity,
                "exploration": self.exploration,
                "only_skips": self.only_skips,
            }
        )


def make_listeners(world: World, catalogue: Catalogue) -> Listeners:
    """Draw the listeners of a world."""
    random = world.random(Stream.LISTENERS)
    count = world.listeners
    kind = _kinds(random, world)

    tastes = np.arange(TASTES) < 1 + random.choice(TASTES, count, p=_TASTES_SHARES)[:, None]
    genre_size = np.diff(catalogue.genre_bounds) ** 0.7
    genre = random.choice(len(genre_size), (count, TASTES), p=genre_size / genre_size.sum())
    spread = directions(random, count * TASTES, world.dimensions).reshape(count, TASTES, -1)
    vectors = unit(catalogue.genre_vectors[genre] + _TASTE_SPREAD * spread)
    vectors = np.where(tastes[:, :, None], vectors, vectors[:, :1])
    towards = directions(random, count * TASTES, world.dimensions).reshape(count, TASTES, -1)
    towards = np.where(tastes[:, :, None], towards, towards[:, :1])
    along = np.einsum("nkd,nkd->nk", towards, vectors)[:, :, None]
    shares = random.gamma(1.5, size=(count, TASTES)) * tastes

    joined = np.full(count, -1)
    joined[kind == Kind.NEWCOMER] = random.integers(
        world.days // 2, world.days, np.count_nonzero(kind == Kind.NEWCOMER)
    )
    visitors = kind == Kind.VISITOR
    week = min(7, world.days)
    joined[visitors] = world.days - random.integers(1, week + 1, np.count_nonzero(visitors))
    left = np.full(count, world.days)
    left[visitors] = joined[visitors] + 1
    lapsed = kind == Kind.LAPSED
    left[lapsed] = random.integers(1, world.days + 1, np.count_nonzero(lapsed))

    activity = random.lognormal(-(_ACTIVITY_SIGMA**2) / 2, _ACTIVITY_SIGMA, count)
    return Listeners(
        ids=pa.array(f"u_{number:06d}" for number in random.permutation(count).tolist()),
        kind=kind,
        joined=joined,
        left=left,
        tastes=vectors,
        drift=unit(towards - along * vectors),
        drift_speed=random.lognormal(np.log(_DRIFT_MEDIAN), _DRIFT_SIGMA, count),
        taste_shares=shares / shares.sum(axis=1, keepdims=True),
        activity=world.listens_per_day * activity,
        regularity=random.beta(4, 2, count),
        exploration=random.beta(4, 5, count),
        impatience=random.lognormal(0, 0.3, count),
        time_zone=random.choice(_TIME_ZONES, count),
        visits=random.integers(1, 4, count) * visitors,
        only_skips=visitors & (np.cumsum(visitors) % 3 == 0),
    )


def affinity(catalogue: Catalogue, tastes: Float32s, users: Ints, songs: Ints) -> Floats:
    """The chance that listeners would really like songs.

    Args:
        catalogue: the songs.
        tastes: float32 [N, TASTES, d], all listeners' on the day.
        users: int [n], the listener of each pair.
        songs: int [n], its song.

    Returns:
        float64 [n] in 0 to 1.
    """
    chance = np.empty(len(songs))
    for at in range(0, len(songs), _BLOCK):
        block = slice(at, at + _BLOCK)
        vectors = catalogue.song_vectors[songs[block]]
        cosine = np.einsum("nkd,nd->nk", tastes[users[block]], vectors).max(axis=1)
        chance[block] = chance_of_liking(cosine + catalogue.song_appeal[songs[block]])
    return chance


def chance_of_liking(fit: Floats) -> Floats:
    """The chance of liking a song, given its appeal plus its cosine with the nearest taste."""
    chance: Floats = 1 / (1 + np.exp(_AFFINITY_SLOPE * (_AFFINITY_MIDDLE - fit)))
    return chance


def _kinds(random: np.random.Generator, world: World) -> Ints:
    kind = np.zeros(world.listeners, np.int64)
    counts = {
        Kind.NEWCOMER: world.newcomers,
        Kind.VISITOR: world.visitors,
        Kind.LAPSED: world.lapsed,
        Kind.ROBOT: world.robots,
    }
    at = 0
    for name, share in counts.items():
        step = round(share * world.listeners)
        kind[at : at + step] = name
        at += step
    return random.permutation(kind)
