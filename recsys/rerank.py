"""Rules that can be argued about: which of the candidates come first.

Reranking happens between the candidates, which stay in the order of the model's score, and the
rules of a playlist, which are never argued about. It changes the order in which the rules meet the
candidates and nothing else: a song keeps the model's score, none is added and none is lost.

1. *Relevance* is the score times ``listeners ** popularity_exponent``, and times ``1 + freshness``
   for a new song (popularity-weighted relevance: Steck 2011, "Item popularity and recommendation
   accuracy"). A score that is not positive stays as it is.
2. As many songs as a playlist holds are picked one by one, each the best that its artist's cap and
   the shares of familiar artists leave, by *maximal marginal relevance* (Carbonell and Goldstein
   1998): ``(1 - diversity) * relevance / best relevance - diversity * similarity``, similarity
   being the largest cosine of its item factors with those of a song picked before. Where
   ``diversity`` is on, the songs to pick from are first the best three times as many.
3. All others follow by relevance. So a share gives way where the candidates cannot keep it, and a
   list is never shorter for it.

What is switched off costs nothing. Why the defaults are what they are: docs/rules.md.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from recsys._threads import over_blocks
from recsys.candidates import Candidates
from recsys.matrix import TasteMatrix
from recsys.playlists import Artists
from recsys.settings import PlaylistsSettings

_USERS_A_BLOCK: Final = 256
#: Diversity is looked for among so many times the songs of a playlist.
_POOL: Final = 3

Array = npt.NDArray[Any]


class _Songs(NamedTuple):
    """What is known of the songs; `directions` has no rows where similarity plays no part."""

    weights: Array
    directions: Array
    starts: Array
    artists: Array


class _Listeners(NamedTuple):
    """Candidates, and the songs heard or disliked: rows of the taste matrix."""

    rows: Array
    offsets: Array
    songs: Array
    scores: Array
    heard_starts: Array
    heard: Array


class _Picking(NamedTuple):
    """How many are picked, of which groups, and how; nothing is picked where `length` is 0."""

    length: int
    per_artist: int
    unfamiliar_at_most: int
    familiar_at_most: int
    diversity: float


def is_on(settings: PlaylistsSettings) -> bool:
    """Whether any of the rules that can be argued about is on."""
    weighted = settings.freshness > 0 or settings.popularity_exponent != 0
    return weighted or _picks(settings)


def rerank(
    candidates: Candidates,
    matrix: TasteMatrix,
    item_factors: npt.NDArray[np.float32],
    *,
    artists: Artists,
    new: npt.NDArray[np.bool_] | None,
    settings: PlaylistsSettings,
) -> Candidates:
    """Order each listener's candidates by the rules that can be argued about.

    The result is the same for any number of threads; with all of these rules off it is
    ``candidates`` itself. Memory: 8 bytes a candidate, and the item factors once more where
    ``diversity`` is on.

    Args:
        candidates: the best songs of each user, best first.
        matrix: what the users have heard, and how many listeners a song has.
        item_factors: float32 ``[songs, factors]``, for the similarity of songs.
        artists: the credited artists of each song.
        new: bool ``[songs]``: what ``freshness`` favours; None for nothing.
        settings: the rules.

    Returns:
        The same users, songs and scores, each user's entries in another order.
    """
    if not is_on(settings):
        return candidates
    songs = _Songs(
        song_weights(matrix.songs, new, settings),
        _directions(item_factors if settings.diversity else item_factors[:0]),
        np.ascontiguousarray(artists[0], np.int64),
        np.ascontiguousarray(artists[1], np.int32),
    )
    listeners = _Listeners(
        np.ascontiguousarray(candidates.users, np.int64),
        np.ascontiguousarray(candidates.offsets, np.int64),
        np.ascontiguousarray(candidates.songs, np.int32),
        np.ascontiguousarray(candidates.scores, np.float64),
        matrix.excluded.indptr.astype(np.int64, copy=False),
        matrix.excluded.indices.astype(np.int32, copy=False),
    )
    picking = _picking(settings)
    n_artists = int(songs.artists.max(initial=-1)) + 1
    order = np.empty(len(candidates.songs), np.int64)

    def block(start: int, stop: int) -> None:
        _order_block(start, stop, listeners, songs, n_artists, picking, order)

    for _ in over_blocks(block, len(candidates.users), _USERS_A_BLOCK):
        pass
    return Candidates(
        candidates.users, candidates.offsets, candidates.songs[order], candidates.scores[order]
    )


def song_weights(
    songs: pa.Table, new: npt.NDArray[np.bool_] | None, settings: PlaylistsSettings
) -> npt.NDArray[np.float64]:
    """What a positive score is multiplied with, float64 ``[songs]``.

    Args:
        songs: ``TasteMatrix.songs``.
        new: bool ``[songs]``, or None for nothing.
        settings: the rules.

    >>> rules = PlaylistsSettings(popularity_exponent=-0.5, freshness=1.0)
    >>> song_weights(pa.table({"listeners": [0, 1, 4]}), np.array([True, False, True]), rules)
    array([2., 1., 1.])
    """
    listeners = np.maximum(songs["listeners"].to_numpy(), 1).astype(np.float64)
    weights: npt.NDArray[np.float64] = listeners**settings.popularity_exponent
    return weights if new is None else weights * np.where(new, 1 + settings.freshness, 1.0)


def _picks(settings: PlaylistsSettings) -> bool:
    shares = settings.familiar_at_least > 0 or settings.familiar_at_most < 1
    return shares or settings.diversity > 0


def _picking(settings: PlaylistsSettings) -> _Picking:
    # Shares are of the list's length; what is lost to rounding is not held against a song.
    least = int(np.ceil(settings.familiar_at_least * settings.length - 1e-9))
    most = int(np.floor(settings.familiar_at_most * settings.length + 1e-9))
    return _Picking(
        length=settings.length if _picks(settings) else 0,
        per_artist=settings.per_artist,
        unfamiliar_at_most=settings.length - least,
        familiar_at_most=most,
        diversity=settings.diversity,
    )


def _directions(item_factors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Item factors of length 1, or 0."""
    lengths = np.sqrt(np.einsum("ij,ij->i", item_factors, item_factors, dtype=np.float64))
    lengths[lengths == 0] = 1
    directions: npt.NDArray[np.float32] = (item_factors / lengths[:, None]).astype(np.float32)
    return directions


@njit(nogil=True, cache=True)
def _order_block(start, stop, listeners, songs, n_artists, picking, order):  # type: ignore[no-untyped-def]  # pragma: no cover
    held = np.zeros(n_artists, np.int32)
    known_to = np.full(n_artists, -1, np.int64)
    for user in range(start, stop):
        first, end = listeners.offsets[user], listeners.offsets[user + 1]
        relevance = listeners.scores[first:end].copy()
        for k in range(end - first):
            if relevance[k] > 0:
                relevance[k] *= songs.weights[listeners.songs[first + k]]
        best_first = _best_first(relevance)
        left = np.ones(end - first, np.bool_)
        n = 0
        if picking.length > 0:
            mine = listeners.songs[first:end][best_first]
            familiar = _familiar(mine, user, listeners, songs, known_to)
            picked = _pick(mine, relevance[best_first], familiar, songs, held, picking)
            for k in picked:
                order[first + n] = first + best_first[k]
                left[k] = False
                n += 1
        for k in range(end - first):
            if left[k]:
                order[first + n] = first + best_first[k]
                n += 1


@njit(nogil=True, cache=True)
def _best_first(relevance):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Places by descending relevance, equals in order: by insertion, as little is out of order."""
    places = np.arange(len(relevance))
    for k in range(1, len(places)):
        at = k
        while at > 0 and relevance[places[at - 1]] < relevance[k]:
            places[at] = places[at - 1]
            at -= 1
        places[at] = k
    return places


@njit(nogil=True, cache=True)
def _familiar(mine, user, listeners, songs, known_to):  # type: ignore[no-untyped-def]  # pragma: no cover
    """1 for each song of an artist of whom the user has heard a song, else 0."""
    row = listeners.rows[user]
    for song in listeners.heard[listeners.heard_starts[row] : listeners.heard_starts[row + 1]]:
        for j in range(songs.starts[song], songs.starts[song + 1]):
            known_to[songs.artists[j]] = user
    familiar = np.zeros(len(mine), np.int64)
    for k in range(len(mine)):
        for j in range(songs.starts[mine[k]], songs.starts[mine[k] + 1]):
            if known_to[songs.artists[j]] == user:
                familiar[k] = 1
    return familiar


@njit(nogil=True, cache=True)
def _pick(mine, relevance, familiar, songs, held, picking):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Places in ``mine``, best first, as many as the cap and the shares allow.

    ``held`` is scratch memory: zero on entry and on return.
    """
    diversity = picking.diversity
    pool = min(_POOL * picking.length, len(mine)) if diversity > 0 else len(mine)
    cosines = _cosines(mine[:pool], songs.directions)
    similarity = np.full(len(mine), np.float32(-1))
    scale = (1 - diversity) / relevance[0] if len(mine) and relevance[0] > 0 else 1 - diversity
    room = np.array([picking.unfamiliar_at_most, picking.familiar_at_most])
    left = np.ones(len(mine), np.bool_)
    picked = np.empty(min(picking.length, len(mine)), np.int64)
    n = 0
    while n < len(picked):
        best, most = -1, -np.inf
        for k in range(pool):
            if not left[k] or room[familiar[k]] == 0:
                continue
            value = scale * relevance[k] - diversity * similarity[k]
            if value > most and _fullest(mine[k], held, songs) < picking.per_artist:
                best, most = k, value
                if diversity == 0:
                    break
        if best < 0 and pool == len(mine):
            break
        if best < 0:
            pool = len(mine)
            continue
        left[best] = False
        room[familiar[best]] -= 1
        _hold(held, mine[best], songs, 1)
        if best < len(cosines):
            similarity[: len(cosines)] = np.maximum(similarity[: len(cosines)], cosines[best])
        picked[n] = best
        n += 1
    for k in picked[:n]:
        _hold(held, mine[k], songs, -1)
    return picked[:n]


@njit(nogil=True, cache=True)
def _cosines(mine, directions):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Between any two of ``mine``; nothing where similarity plays no part."""
    if len(directions) == 0:
        return np.empty((0, 0), np.float32)
    rows = np.empty((len(mine), directions.shape[1]), np.float32)
    for k in range(len(mine)):
        rows[k] = directions[mine[k]]
    return np.dot(rows, rows.T)


@njit(nogil=True, cache=True)
def _hold(held, song, songs, more):  # type: ignore[no-untyped-def]  # pragma: no cover
    for j in range(songs.starts[song], songs.starts[song + 1]):
        held[songs.artists[j]] += more


@njit(nogil=True, cache=True)
def _fullest(song, held, songs):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The most songs picked of any artist of this song."""
    most = 0
    for j in range(songs.starts[song], songs.starts[song + 1]):
        most = max(most, held[songs.artists[j]])
    return most
