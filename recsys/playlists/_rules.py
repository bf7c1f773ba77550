"""The rules of a playlist: which candidates get in, and where each one stands.

A list grows from the listener's candidates, best first, then from the popular songs, under all
rules. Only when that leaves it short does a rule give way, on top of the list that is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from recsys._threads import over_blocks
from recsys.playlists import _kernel
from recsys.settings import PlaylistsSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from recsys.candidates import Candidates

#: The rules that may give way, in that order: name in the playlist -> bit in `Lists.relaxed`.
RULES: Final = {
    "neighbours": _kernel.NEIGHBOURS,
    "cooldown": _kernel.COOLDOWN,
    "per_artist": _kernel.PER_ARTIST,
}

#: Credited artists of all songs: offsets (int64 [songs + 1]) and artist codes (int32), no code
#: twice in one song.
Artists = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]

_USERS_A_BLOCK: Final = 4096


@dataclass(frozen=True)
class Lists:
    """The playlists of ``n`` users, one after the other.

    Attributes:
        users: int32 [n], rows of the taste matrix, as in the candidates.
        offsets: int64 [n + 1]; user ``i`` has the entries ``offsets[i]:offsets[i + 1]``.
        songs: int32, columns of the taste matrix, in playlist order.
        scores: float64, the model's score, or the song's popularity where it is popular fill.
        personal: bool, whether it came from the candidates.
        relaxed: uint8 [n], the rules that are broken in the list, as bits of `RULES`.
    """

    users: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    songs: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]
    personal: npt.NDArray[np.bool_]
    relaxed: npt.NDArray[np.uint8]


def make_lists(
    candidates: Candidates,
    *,
    popular: npt.NDArray[np.int32],
    popularity: npt.NDArray[np.float64],
    artists: Artists,
    excluded: csr_matrix,
    barred: npt.NDArray[np.bool_],
    cooling: csr_matrix,
    settings: PlaylistsSettings,
) -> Lists:
    """Make one playlist for each user of ``candidates``.

    A list is shorter than ``settings.length`` only where fewer songs of the candidates and
    ``popular`` are neither barred nor excluded; it may be empty. The result is the same for any
    number of threads.

    Args:
        candidates: the best songs of each user, best first.
        popular: int32, the songs that may fill a list up, best first.
        popularity: float64 [songs], the score of a song that fills up.
        artists: the credited artists of each song. No artist rule applies to a song without any.
        excluded: users x songs, one row for each of ``candidates.users``: each stored entry is a
            song that the user heard or disliked.
        barred: bool [songs], blocked or unavailable.
        cooling: users x songs, as ``excluded``: the songs of the user's last editions.
        settings: length, and songs per artist.

    Raises:
        ValueError: the arrays do not fit each other.
    """
    users, songs, length = len(candidates.users), len(barred), settings.length
    for name, rows in (("excluded", excluded), ("cooling", cooling)):
        if rows.shape != (users, songs):
            raise ValueError(
                f"{name} is {rows.shape[0]} x {rows.shape[1]}: expected one row for each of the "
                f"{users} users with candidates, and {songs} songs as in barred"
            )
    if len(popularity) != songs or len(artists[0]) != songs + 1:
        raise ValueError(f"popularity and artists must cover the {songs} songs of barred")

    codes = np.ascontiguousarray(artists[1], np.int32)
    inputs = (
        np.ascontiguousarray(candidates.offsets, np.int64),
        np.ascontiguousarray(candidates.songs, np.int32),
        np.ascontiguousarray(candidates.scores, np.float64),
        np.ascontiguousarray(popularity, np.float64),
        _kernel.Songs(
            np.ascontiguousarray(popular, np.int32),
            np.ascontiguousarray(artists[0], np.int64),
            codes,
        ),
        int(codes.max(initial=-1)) + 1,
        (excluded.indptr.astype(np.int64), excluded.indices.astype(np.int32)),
        (cooling.indptr.astype(np.int64), cooling.indices.astype(np.int32)),
        np.ascontiguousarray(barred, np.bool_),
        length,
        settings.per_artist,
    )

    def block(start: int, stop: int) -> tuple[npt.NDArray[Any], ...]:
        counts, relaxed, *rows = _kernel.make_block(start, stop, *inputs)
        filled = np.arange(length) < counts[:, None]
        return (counts, relaxed, *(values[filled] for values in rows))

    blocks = list(over_blocks(block, users, _USERS_A_BLOCK)) or [block(0, 0)]
    counts, relaxed, picked, scores, personal = map(np.concatenate, zip(*blocks, strict=True))
    return Lists(
        users=candidates.users,
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
        songs=picked,
        scores=scores,
        personal=personal,
        relaxed=relaxed,
    )
