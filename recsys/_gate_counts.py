"""What the playlist gate counts in an edition as a whole, in numbers for ids."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pyarrow.compute as pc

from recsys import _gate_codes as codes
from recsys import columns as c
from recsys._tables import rows_of


class Counts(NamedTuple):
    """What shares are made of.

    Attributes:
        listeners: who are eligible.
        songs: how many can be recommended.
        lists: the playlists.
        gave_way: those in which a rule gave way.
        filled: those that are not personal.
        own: those with a song that are not popular.
        entries: the songs in these, each once in a list.
        pairs: the pairs of two of these and a song that is in both, each pair both ways.
        tracks: the songs, each once in a list, of those who had an earlier playlist.
        repeated: those of them that were in the earlier one.
    """

    listeners: int
    songs: int
    lists: int
    gave_way: int
    filled: int
    own: int
    entries: int
    pairs: int
    tracks: int
    repeated: int


def count_shares(playlists: Path, eligible: Path, catalogue: Path, previous: Path | None) -> Counts:
    """Count in files, as :func:`recsys.shares.count_in_sql` does.

    Args:
        playlists: of :data:`recsys.schemas.PLAYLISTS`, sorted by user.
        eligible: with everyone who must get a playlist.
        catalogue: of :data:`recsys.schemas.CATALOGUE`.
        previous: the playlists of the edition before, where there is one.

    Raises:
        IrregularError: they are not as the stages write them.
    """
    ids, keys, song, available = codes.read_songs(catalogue)
    users = codes.column([playlists], c.USER_ID)
    if pc.count_distinct(users).as_py() != len(users):
        raise codes.IrregularError
    kind = codes.column([playlists], c.KIND)
    relaxed = codes.read([playlists], [c.RELAXED])[c.RELAXED]
    popular = codes.bools(pc.equal(kind, "popular"))
    personal = pc.sum(pc.equal(kind, "personal")).as_py() or 0
    gave_way = pc.sum(pc.greater(pc.list_value_length(relaxed), 0)).as_py() or 0
    held = codes.read_resting([playlists], users, ids)
    before = codes.read_resting([previous] if previous else [], users, ids)
    in_lists = np.zeros(len(keys), np.int64)
    own, tracks, repeated = _count(held, before, song, ~popular, in_lists)
    return Counts(
        listeners=rows_of(eligible),
        songs=len(np.unique(song[available])),
        lists=len(users),
        gave_way=gave_way,
        filled=len(users) - personal,
        own=own,
        entries=int(in_lists.sum()),
        pairs=int((in_lists * (in_lists - 1)).sum()),
        tracks=tracks,
        repeated=repeated,
    )


@numba.njit(cache=True, nogil=True)
def _count(held, before, song, own, in_lists):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Count each song of a list once, and in how many lists it is, of those that are ``own``."""
    seen, earlier = np.full(len(in_lists), -1), np.full(len(in_lists), -1)
    with_songs = tracks = repeated = 0
    for no in range(len(own)):
        had = 0
        for file in range(len(before.starts)):
            for track in before.track[before.starts[file, no] : before.stops[file, no]]:
                if track >= 0:
                    earlier[song[track]] = no
                    had = 1
        some = 0
        for file in range(len(held.starts)):
            for track in held.track[held.starts[file, no] : held.stops[file, no]]:
                if track >= 0 and seen[song[track]] != no:
                    seen[song[track]] = no
                    some = 1
                    in_lists[song[track]] += own[no]
                    tracks += had
                    repeated += earlier[song[track]] == no
        with_songs += own[no] and some
    return with_songs, tracks, repeated
