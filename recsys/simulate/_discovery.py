"""How listeners come upon tracks: around their taste, by artists they know, and by what is popular.

Each discovery looks at a few tracks drawn by popularity from those three sources and takes one by
its fit to the taste of the moment (sampling, importance resampling: Rubin 1987).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from recsys.simulate._catalogue import Catalogue, Float32s, Ints
from recsys.simulate._library import Library
from recsys.simulate._listeners import Listeners

_BY_ARTIST: Final = 3
_BY_GENRE: Final = 8
_BY_CHART: Final = 3
_FIT: Final = 8.0
#: The share of discoveries that are heard wherever music plays, whatever one's taste.
_ON_AIR: Final = 0.12
_NEW_FOR_DAYS: Final = 21
_NEW_BONUS: Final = 1.0
_NEVER: Final = -1e6
_BLOCK: Final = 32_768


class Discovery:
    """Draws tracks that listeners might come upon."""

    def __init__(self, catalogue: Catalogue, listeners: Listeners) -> None:
        self._catalogue = catalogue
        self._share_bounds = np.cumsum(listeners.taste_shares, axis=1)[:, :-1]
        self._popularity_bounds = np.concatenate([[0.0], np.cumsum(catalogue.popularity)])

    def tracks(
        self, random: np.random.Generator, users: Ints, library: Library, tastes: Float32s, day: int
    ) -> Ints:
        """One track for each of ``users``; ``tastes`` are all listeners' of that day."""
        genre = np.einsum("nkd,gd->nkg", tastes, self._catalogue.genre_vectors).argmax(axis=2)
        found = np.empty(len(users), np.int64)
        for at in range(0, len(users), _BLOCK):
            block = slice(at, at + _BLOCK)
            found[block] = self._block(random, users[block], library, tastes, genre, day)
        return found

    def _block(
        self,
        random: np.random.Generator,
        users: Ints,
        library: Library,
        tastes: Float32s,
        genres: Ints,
        day: int,
    ) -> Ints:
        catalogue = self._catalogue
        taste = (random.random((len(users), 1)) > self._share_bounds[users]).sum(axis=1)
        genre = genres[users, taste]
        around = catalogue.genre_bounds[genre], catalogue.genre_bounds[genre + 1]
        known = library.size[users] > 0
        artist = np.zeros(len(users), np.int64)
        artist[known] = catalogue.artist[library.pick(random, users[known])]
        bounds = catalogue.artist_bounds
        by_artist = tuple(np.where(known, bounds[artist + step], around[step]) for step in (0, 1))
        everywhere = np.zeros_like(genre), np.full_like(genre, len(catalogue.song))
        low, high = (
            np.stack(
                [by_artist[end]] * _BY_ARTIST
                + [around[end]] * _BY_GENRE
                + [everywhere[end]] * _BY_CHART,
                axis=1,
            )
            for end in (0, 1)
        )
        tracks = self._by_popularity(random, low, high)
        songs = catalogue.song[tracks]
        released = catalogue.song_released[songs]
        cosine = np.einsum("nd,nmd->nm", tastes[users, taste], catalogue.song_vectors[songs])
        on_air = random.random((len(users), 1)) < _ON_AIR
        from_chart = np.arange(cosine.shape[1]) >= _BY_ARTIST + _BY_GENRE
        score = np.where(on_air, np.where(from_chart, 0.0, _NEVER), _FIT * cosine)
        score += random.gumbel(size=cosine.shape)
        score += _NEW_BONUS * (released > day - _NEW_FOR_DAYS)
        score += _NEVER * (released > day)
        best: Ints = np.take_along_axis(tracks, score.argmax(axis=1)[:, None], axis=1)[:, 0]
        return best

    def _by_popularity(self, random: np.random.Generator, low: Ints, high: Ints) -> Ints:
        """For each pair of bounds a row in ``low:high``, by popularity."""
        start, end = self._popularity_bounds[low], self._popularity_bounds[high]
        drawn = start + (end - start) * random.random(low.shape)
        row = np.searchsorted(self._popularity_bounds, drawn, side="right") - 1
        rows: Ints = np.clip(row, low, high - 1)
        return rows
