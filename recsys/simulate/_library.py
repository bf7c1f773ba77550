"""What listeners come back to: the tracks each has taken to, the newest first."""

from __future__ import annotations

from typing import Final

import numpy as np

from recsys.simulate._catalogue import Ints

_SLOTS: Final = 64
_RECENCY: Final = 1.5


class Library:
    """For each listener the last tracks they liked; older ones are forgotten.

    >>> library = Library(listeners=2)
    >>> library.add(np.array([1, 1]), np.array([30, 31]))
    >>> library.size.tolist()
    [0, 2]
    >>> set(library.pick(np.random.default_rng(0), np.array([1] * 50)).tolist()) == {30, 31}
    True
    """

    def __init__(self, listeners: int) -> None:
        self.size = np.zeros(listeners, np.int64)  # ever added
        self._tracks = np.zeros((listeners, _SLOTS), np.int32)

    def add(self, users: Ints, tracks: Ints) -> None:
        """Take up tracks, in order; ``users`` is sorted."""
        rank = np.arange(len(users)) - np.searchsorted(users, users)
        added = np.bincount(users, minlength=len(self.size))
        kept = added[users] - rank <= _SLOTS
        slot = (self.size[users] + rank) % _SLOTS
        self._tracks[users[kept], slot[kept]] = tracks[kept]
        self.size += added

    def pick(self, random: np.random.Generator, users: Ints) -> Ints:
        """For each of ``users`` a track of theirs, newer ones more often; all must have one."""
        filled = np.minimum(self.size[users], _SLOTS)
        back = (filled * random.random(len(users)) ** _RECENCY).astype(np.int64)
        tracks: Ints = self._tracks[users, (self.size[users] - 1 - back) % _SLOTS].astype(np.int64)
        return tracks
