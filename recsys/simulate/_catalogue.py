"""Artists, the songs they own, and the tracks those songs are sold as.

Everything lies ordered by genre, then artist, then song, so that "a track of this genre" and "a
track by this artist" are both a range of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa

from recsys import columns as c
from recsys.simulate._names import Names, without_accents
from recsys.simulate._world import Stream, World

SONG_ID: Final = "song_id"
RELEASED_ON: Final = "released_on"

#: One row per track: the columns of ``recsys.schemas.CATALOGUE`` that a label would deliver,
#: and the true song behind each track, which the product has to find out by itself.
SCHEMA: Final = pa.schema(
    [
        pa.field(c.TRACK_ID, pa.string(), nullable=False),
        pa.field(c.TRACK_NAME, pa.string()),
        pa.field(c.ARTIST_NAME, pa.string()),
        pa.field(c.ALBUM_NAME, pa.string()),
        pa.field(c.ARTIST_IDS, pa.list_(pa.string()), nullable=False),
        pa.field(c.ARTIST_NAMES, pa.list_(pa.string()), nullable=False),
        pa.field(c.DURATION_MS, pa.int64()),
        pa.field(c.AVAILABLE, pa.bool_(), nullable=False),
        pa.field(c.EXPLICIT, pa.bool_()),
        pa.field(SONG_ID, pa.string(), nullable=False),
        pa.field(RELEASED_ON, pa.date32(), nullable=False),
    ]
)

_ARTIST_SPREAD = 0.6
_SONG_SPREAD = 0.35
_ARTIST_ZIPF = 0.9
_SONG_ZIPF = 0.8
_APPEAL_SIGMA = 0.1
_APPEAL_PULL = 7.0
_VERSION_POPULARITY = 0.35
_UNAVAILABLE = 0.01
_EXPLICIT = 0.08
_SONGS_PER_ALBUM = 10
_YEARS_BACK = 30

Floats = np.ndarray[Any, np.dtype[np.float64]]
Float32s = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Catalogue:
    """What there is to hear, as arrays over tracks [T], songs [S], artists [A] and genres [G]."""

    table: pa.Table  # SCHEMA, one row per track
    song: Ints  # [T] the song of each track
    artist: Ints  # [T] its main artist
    popularity: Floats  # [T] > 0, sums to 1
    duration_ms: Ints  # [T]
    song_vectors: Float32s  # [S, d] unit length
    song_appeal: Floats  # [S] how much better than its kind a song is, in units of the cosine
    song_released: Ints  # [S] day of release, counted from the first day; often negative
    artist_bounds: Ints  # [A + 1] the tracks of artist a are rows bounds[a]:bounds[a + 1]
    genre_bounds: Ints  # [G + 1] likewise
    genre_vectors: Float32s  # [G, d] unit length


def make_catalogue(world: World) -> Catalogue:
    """Draw the catalogue of a world."""
    random = world.random(Stream.CATALOGUE)
    shares = random.dirichlet(np.full(min(world.genres, world.artists), 2.0))
    used, artist_genre = np.unique(
        random.choice(len(shares), world.artists, p=shares), return_inverse=True
    )
    artist_genre = np.sort(artist_genre)
    genre_vectors = directions(random, len(used), world.dimensions)
    artist_vectors = unit(
        genre_vectors[artist_genre]
        + _ARTIST_SPREAD * directions(random, world.artists, world.dimensions)
    )
    artist_popularity = (random.permutation(world.artists) + 1.0) ** -_ARTIST_ZIPF

    versions = min(round(world.versions * world.tracks), world.tracks - world.artists)
    songs = world.tracks - versions
    extra = random.multinomial(songs - world.artists, _shares(artist_popularity**0.4))
    song_artist = np.repeat(np.arange(world.artists), 1 + extra)
    credits_ = _credits(random, song_artist, artist_genre, world.collaborations)
    song_vectors = unit(
        artist_vectors[song_artist] + _SONG_SPREAD * directions(random, songs, world.dimensions)
    )
    rank = np.empty(songs)
    rank[np.lexsort((random.random(songs), song_artist))] = _place_in_group(song_artist) + 1
    within = rank**-_SONG_ZIPF
    song_popularity = artist_popularity[song_artist] * (
        within / np.bincount(song_artist, within)[song_artist]
    )
    song_appeal = random.normal(0, _APPEAL_SIGMA, songs)
    song_popularity *= np.exp(_APPEAL_PULL * song_appeal)
    song_released = np.where(
        random.random(songs) < world.releases,
        random.integers(0, world.days, songs),
        -random.integers(1, 365 * _YEARS_BACK, songs),
    )

    twice = random.choice(2 * songs, min(versions, 2 * songs), replace=False) // 2
    more = random.integers(0, songs, versions - len(twice))
    song = np.sort(np.concatenate([np.arange(songs), twice, more]))
    version = _place_in_group(song)
    popularity = song_popularity[song] * np.where(version > 0, _VERSION_POPULARITY, 1.0)
    song_duration = np.clip(random.lognormal(np.log(215_000), 0.28, songs), 45_000, 900_000)
    duration_ms = (song_duration[song] + 900 * version).astype(np.int64)
    flags = random.random((2, world.tracks)) < [[_UNAVAILABLE], [_EXPLICIT]]
    numbers = random.permutation(world.tracks)
    names = _Naming(world, song_artist, credits_)
    artist = song_artist[song]
    table = pa.table(
        {
            c.TRACK_ID: [f"t_{number:06d}" for number in numbers.tolist()],
            **names.columns(song, version),
            c.DURATION_MS: duration_ms,
            c.AVAILABLE: ~flags[0],
            c.EXPLICIT: flags[1],
            SONG_ID: [f"s_{number:06d}" for number in song.tolist()],
            RELEASED_ON: [
                world.first_day + timedelta(days=day) for day in song_released[song].tolist()
            ],
        },
        schema=SCHEMA,
    )
    return Catalogue(
        table=table,
        song=song,
        artist=artist,
        popularity=popularity / popularity.sum(),
        duration_ms=duration_ms,
        song_vectors=song_vectors,
        song_appeal=song_appeal,
        song_released=song_released,
        artist_bounds=_bounds(artist, world.artists),
        genre_bounds=_bounds(artist_genre[artist], len(used)),
        genre_vectors=genre_vectors,
    )


class _Naming:
    """The names in the catalogue, and who is credited."""

    def __init__(self, world: World, song_artist: Ints, credits_: Sequence[list[int]]) -> None:
        random = world.random(Stream.NAMES)
        names = Names(random)
        languages = names.languages(world.artists)
        self._artists = [names.artist(language) for language in languages]
        self._artist_ids = [f"ar_{row:05d}" for row in random.permutation(world.artists).tolist()]
        self._credits = credits_
        self._titles = []
        self._albums = []
        place = _place_in_group(song_artist)
        for artist, at in zip(song_artist.tolist(), place.tolist(), strict=True):
            if at % _SONGS_PER_ALBUM == 0:
                album = names.song(languages[artist], artist)
            self._albums.append(album)
            self._titles.append(names.song(languages[artist], artist))
        self._kinds = random.integers(0, len(_VERSIONS), len(song_artist) * 3).tolist()
        self._years = random.integers(1999, 2025, len(song_artist) * 3).tolist()

    def columns(self, song: Ints, version: Ints) -> dict[str, list[Any]]:
        """The columns that hold names and ids of artists, by track."""
        names, albums, credited = [], [], []
        for row, number in zip(song.tolist(), version.tolist(), strict=True):
            rows = self._credits[row]
            credited.append(rows)
            others = " & ".join(self._artists[other] for other in rows[1:])
            name = self._titles[row] + (f" (feat. {others})" if others else "")
            album = self._albums[row]
            if number:
                at = (row * 3 + number) % len(self._kinds)
                name = _VERSIONS[self._kinds[at]](name, self._years[at])
                album = f"{album} (Deluxe Edition)"
            names.append(name)
            albums.append(album)
        return {
            c.TRACK_NAME: names,
            c.ARTIST_NAME: [self._artists[rows[0]] for rows in credited],
            c.ALBUM_NAME: albums,
            c.ARTIST_IDS: [[self._artist_ids[row] for row in rows] for rows in credited],
            c.ARTIST_NAMES: [[self._artists[row] for row in rows] for rows in credited],
        }


_VERSIONS = (
    lambda name, year: f"{name} - Remastered {year}",
    lambda name, year: f"{name} - {year} Remaster",
    lambda name, _: f"{name} (Bonus Track)",
    lambda name, _: name.upper(),
    lambda name, _: without_accents(name).lower(),
)


def _credits(
    random: np.random.Generator, song_artist: Ints, artist_genre: Ints, share: float
) -> list[list[int]]:
    """For each song the credited artists, main first; guests come from near in the catalogue."""
    guests = random.integers(1, 3, len(song_artist)) * (random.random(len(song_artist)) < share)
    credited = [[artist] for artist in song_artist.tolist()]
    bounds = _bounds(artist_genre, int(artist_genre[-1]) + 1)
    for row in np.flatnonzero(guests).tolist():
        genre = artist_genre[song_artist[row]]
        drawn = random.integers(bounds[genre], bounds[genre + 1], guests[row]).tolist()
        credited[row] += [guest for guest in dict.fromkeys(drawn) if guest != song_artist[row]]
    return credited


def directions(random: np.random.Generator, rows: int, dimensions: int) -> Float32s:
    """Directions drawn evenly from the sphere, float32 [rows, dimensions]."""
    return unit(random.standard_normal((rows, dimensions)).astype(np.float32))


def unit(vectors: Any) -> Float32s:
    """``vectors`` at length 1 along the last axis."""
    scaled: Float32s = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


def _shares(weights: np.ndarray[Any, Any]) -> Floats:
    shares: Floats = weights / weights.sum()
    return shares


def _bounds(groups: Ints, count: int) -> Ints:
    return np.searchsorted(groups, np.arange(count + 1)).astype(np.int64)


def _place_in_group(groups: Ints) -> Ints:
    """How many rows of the same group stand before each row of the sorted ``groups``."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
