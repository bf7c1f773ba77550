"""Playlists as the table that readers get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys._coded import by_codes, in_order_met
from recsys._tables import ROW_GROUP
from recsys.candidates import Candidates
from recsys.matrix import TasteMatrix
from recsys.playlists._rules import RULES, Artists, Lists, Picks, Spares, make_lists
from recsys.schemas import CODED_PLAYLISTS, PLAYLISTS
from recsys.settings import PlaylistsSettings
from recsys.weeks import Week

#: Eligible users without a playlist, and why. Sorted by user.
REFUSED: Final = pa.schema(
    [
        pa.field(c.USER_ID, pa.string(), nullable=False),
        pa.field(c.REASON, pa.string(), nullable=False),
    ]
)
#: There is no song that the user may get: all are heard, disliked, blocked or unavailable.
NOTHING_LEFT: Final = "nothing_left"

_KINDS: Final = pa.array(["popular", "blended", "personal"])
_SOURCES: Final = pa.array(["popular", "als"])
_TRACK: Final = CODED_PLAYLISTS.field(c.TRACKS).type.value_type
_SPARE: Final = CODED_PLAYLISTS.field(c.SPARES).type.value_type
_RELAXED: Final = pa.array(
    [[name for name, bit in RULES.items() if bits & bit] for bits in range(8)],
    pa.list_(pa.string()),
)


def artist_codes(songs: pa.Table) -> Artists:
    """The credited artists of each song as codes, for `make_lists`.

    Args:
        songs: ``TasteMatrix.songs``.

    >>> starts, codes = artist_codes(pa.table({"artist_ids": [["a", "b", "a"], [], ["b"]]}))
    >>> starts.tolist(), codes.tolist()
    ([0, 2, 2, 3], [0, 1, 1])
    """
    credited = songs[c.ARTIST_IDS].combine_chunks()
    song = pc.list_parent_indices(credited).to_numpy().astype(np.int64)
    artist = credited.flatten().dictionary_encode()
    known = artist.is_valid().to_numpy(zero_copy_only=False)
    code = artist.indices.fill_null(0).to_numpy().astype(np.int64)
    pairs = np.unique(np.stack([song[known], code[known]]), axis=1)
    per_song = np.bincount(pairs[0], minlength=len(songs))
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(per_song)]), pairs[1].astype(np.int32)


def popular_songs(songs: pa.Table) -> npt.NDArray[np.int32]:
    """The available songs, most popular first, ties in the order of the table.

    Args:
        songs: ``TasteMatrix.songs``.

    >>> table = pa.table({"available": [True, False, True], "popularity": [1.0, 9.0, 2.0]})
    >>> popular_songs(table).tolist()
    [2, 0]
    """
    order = np.argsort(-songs["popularity"].to_numpy(), kind="stable")
    available: npt.NDArray[np.bool_] = songs[c.AVAILABLE].to_numpy()
    return order[available[order]].astype(np.int32)


def playlist_batches(
    lists: Lists,
    matrix: TasteMatrix,
    because: npt.NDArray[np.int32],
    spares_because: npt.NDArray[np.int32],
    week: Week,
) -> Iterator[pa.RecordBatch]:
    """The playlists of an edition, sorted by user; who gets none is in :func:`refused_users`.

    Args:
        lists: the lists, their users ascending.
        matrix: what the rows and columns of ``lists`` stand for.
        because: int32, beside ``lists.songs``: the row in ``matrix.tracks`` of the heard track
            that speaks most for the song; -1 for none.
        spares_because: the same beside ``lists.spares.songs``.
        week: the edition.

    Returns:
        Row groups of `recsys.schemas.CODED_PLAYLISTS`, each made when it is asked for.

    Raises:
        ValueError: the arrays do not fit each other, or the users do not ascend.
    """
    for name, given, picks in (
        ("because", because, lists),
        ("spares_because", spares_because, lists.spares),
    ):
        if len(given) != len(picks.songs):
            raise ValueError(
                f"{name} has {len(given)} entries: expected one for each of the "
                f"{len(picks.songs)} songs"
            )
    if np.any(np.diff(lists.users) <= 0):
        raise ValueError("the users of the lists must ascend, each there once")
    user_ids = matrix.users[c.USER_ID].take(pa.array(lists.users))
    return _batches(lists, user_ids, matrix, (because, spares_because), week)


def refused_users(lists: Lists, matrix: TasteMatrix) -> pa.Table:
    """The users of ``lists`` who get no playlist, in `REFUSED`."""
    none_left = lists.users[np.diff(lists.offsets) == 0]
    users = matrix.users[c.USER_ID].take(pa.array(none_left))
    return pa.table([users, _repeat(NOTHING_LEFT, len(none_left))], REFUSED)


def count_kinds(lists: Lists) -> Counter[str]:
    """How many playlists there are of each kind."""
    of_each = np.bincount(_kinds(lists)[np.diff(lists.offsets) > 0], minlength=len(_KINDS))
    return Counter(dict(zip(_KINDS.to_pylist(), of_each.tolist(), strict=True)))


def default_list(
    matrix: TasteMatrix,
    *,
    popular: npt.NDArray[np.int32],
    popularity: npt.NDArray[np.float64],
    artists: Artists,
    barred: npt.NDArray[np.bool_],
    settings: PlaylistsSettings,
    week: Week,
) -> pa.Table:
    """The edition's playlist for listeners it does not know: popular songs under all rules.

    The arguments are those of `make_lists` and `playlist_table`.

    Returns:
        One row of `recsys.schemas.PLAYLISTS` with the ``user_id`` ``""``; no row where every song
        is barred.
    """
    nobody = Candidates(
        users=np.zeros(1, np.int32),
        offsets=np.zeros(2, np.int64),
        songs=np.empty(0, np.int32),
        scores=np.empty(0, np.float64),
    )
    nothing = csr_matrix((1, len(barred)), dtype=bool)
    lists = make_lists(
        nobody,
        popular=popular,
        popularity=popularity,
        artists=artists,
        excluded=nothing,
        barred=barred,
        cooling=nothing,
        settings=settings,
    )
    no_reasons = (
        np.full(len(lists.songs), -1, np.int32),
        np.full(len(lists.spares.songs), -1, np.int32),
    )
    batches = _batches(lists, pa.chunked_array([[""]]), matrix, no_reasons, week)
    return pa.Table.from_batches(batches, CODED_PLAYLISTS).cast(PLAYLISTS)


def _batches(
    lists: Lists,
    user_ids: pa.ChunkedArray,
    matrix: TasteMatrix,
    because: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]],
    week: Week,
) -> Iterator[pa.RecordBatch]:
    names = (c.TRACK_ID, c.TRACK_NAME, c.ARTIST_NAMES)
    songs = {name: by_codes(_one_chunk(matrix.songs[name])) for name in names}
    track_ids = _one_chunk(matrix.tracks[c.TRACK_ID])
    kind = _kinds(lists)
    there = np.flatnonzero(np.diff(lists.offsets) > 0)
    for start in range(0, len(there), ROW_GROUP):
        users = there[start : start + ROW_GROUP]
        offsets, rows = _rows_of(lists, users)
        positions = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets)) + 1
        spare_offsets, spare_rows = _rows_of(lists.spares, users)
        yield pa.record_batch(
            [
                _repeat(str(week), len(users)),
                _one_chunk(user_ids.take(pa.array(users))),
                _KINDS.take(pa.array(kind[users])),
                _lists_of(
                    _TRACK,
                    offsets,
                    pa.array(positions, pa.int32()),
                    *_picked(lists, rows, songs, track_ids, because[0]),
                ),
                _lists_of(
                    _SPARE,
                    spare_offsets,
                    *_picked(lists.spares, spare_rows, songs, track_ids, because[1]),
                    _not_at(lists.spares, spare_rows),
                ),
                _RELAXED.take(pa.array(lists.relaxed[users])),
                _repeat(week.monday, len(users)),
                _repeat(week.sunday, len(users)),
            ],
            CODED_PLAYLISTS,
        )


def _kinds(lists: Lists) -> npt.NDArray[np.int8]:
    """The place of each list's kind among those there are; any, where there is no list."""
    personal_before = np.concatenate([[0], np.cumsum(lists.personal)])
    personal = np.diff(personal_before[lists.offsets])
    length = np.diff(lists.offsets)
    kinds: npt.NDArray[np.int8] = (personal > 0).astype(np.int8) + (personal == length)
    return kinds


def _rows_of(picks: Picks, users: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], slice]:
    """Where these users' entries are, and each one's offset among them.

    Users that are left out have no entries: what these have lies in one piece.
    """
    first, end = picks.offsets[users], picks.offsets[users + 1]
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(end - first)]), slice(first[0], end[-1])


def _picked(
    picks: Picks,
    rows: slice,
    songs: Mapping[str, pa.Array],
    track_ids: pa.Array,
    because: npt.NDArray[np.int32],
) -> list[pa.Array]:
    """The fields that tracks and spares have in common, from the track's id to its reason."""
    song, reason = pa.array(picks.songs[rows]), because[rows]
    return [
        *(in_order_met(told.take(song)) for told in songs.values()),
        pa.array(picks.scores[rows]),
        _coded(picks.personal[rows].astype(np.int32), _SOURCES),
        _coded(pa.array(reason, mask=reason < 0), track_ids),
    ]


def _coded(codes: Any, texts: pa.Array) -> pa.DictionaryArray:
    return in_order_met(pa.DictionaryArray.from_arrays(codes, texts))


def _not_at(spares: Spares, rows: slice) -> pa.ListArray:
    offsets = spares.not_at_offsets[rows.start : rows.stop + 1]
    values = spares.not_at[offsets[0] : offsets[-1]]
    return pa.ListArray.from_arrays(pa.array(offsets - offsets[0], pa.int32()), pa.array(values))


def _lists_of(struct: pa.StructType, offsets: npt.NDArray[np.int64], *fields: Any) -> pa.ListArray:
    entries = pa.StructArray.from_arrays(list(fields), fields=list(struct))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), entries)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.combine_chunks() if isinstance(combined, pa.ChunkedArray) else combined


def _repeat(value: Any, times: int) -> pa.Array:
    return pa.array([value]).take(pa.array(np.zeros(times, np.int64)))
