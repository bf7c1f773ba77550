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
class Picks:
    """The songs picked for ``n`` users, one user after the other.

    Attributes:
        users: int32 [n], rows of the taste matrix, as in the candidates.
        offsets: int64 [n + 1]; user ``i`` has the entries ``offsets[i]:offsets[i + 1]``.
        songs: int32, columns of the taste matrix.
        scores: float64, the model's score, or the song's popularity where it is popular fill.
        personal: bool, whether it came from the candidates.
    """

    users: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    songs: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]
    personal: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Spares(Picks):
    """The songs that stand by for each list, best first.

    Attributes:
        not_at_offsets: int64 [spares + 1]; spare ``k`` has the entries
            ``not_at_offsets[k]:not_at_offsets[k + 1]``.
        not_at: int32, the positions (from 1) of the list where the spare would break an artist
            rule that the list keeps, the other songs staying.
    """

    not_at_offsets: npt.NDArray[np.int64]
    not_at: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Lists(Picks):
    """The playlists, their songs in playlist order.

    Attributes:
        relaxed: uint8 [n], the rules that are broken in the list, as bits of `RULES`.
        spares: what stands by for each list.
    """

    relaxed: npt.NDArray[np.uint8]
    spares: Spares

    def with_spares(self) -> tuple[Picks, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Lists and spares in one, and the places in it of the songs of each."""
        spares = self.spares
        lengths, standing_by = np.diff(self.offsets), np.diff(spares.offsets)
        of_lists = np.arange(len(self.songs)) + np.repeat(spares.offsets[:-1], lengths)
        of_spares = np.arange(len(spares.songs)) + np.repeat(self.offsets[1:], standing_by)

        def joined(name: str) -> npt.NDArray[Any]:
            mine, others = getattr(self, name), getattr(spares, name)
            both = np.empty(len(mine) + len(others), mine.dtype)
            both[of_lists], both[of_spares] = mine, others
            return both

        songs, scores, personal = map(joined, ("songs", "scores", "personal"))
        both = Picks(self.users, self.offsets + spares.offsets, songs, scores, personal)
        return both, of_lists, of_spares


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

    Behind each list stand up to five spares: the next songs of the same walk which break no rule
    but the artist rules anywhere, and those not everywhere. They share no artist with each other.

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
        np.array(popularity, np.float64),  # its own: Arrow's may not be written to
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
        (counts, relaxed, *rows), (spare_counts, *spare_rows), not_at = _kernel.make_block(
            start, stop, *inputs
        )
        filled = np.arange(length) < counts[:, None]
        standing_by = np.arange(_kernel.SPARES) < spare_counts[:, None]
        return (
            counts,
            *(values[filled] for values in rows),
            relaxed,
            spare_counts,
            *(values[standing_by] for values in spare_rows),
            not_at,
        )

    blocks = list(over_blocks(block, users, _USERS_A_BLOCK)) or [block(0, 0)]
    (
        counts, picked, scores, personal, relaxed,
        spare_counts, spare_songs, spare_scores, spare_personal, misfits, not_at,
    ) = map(np.concatenate, zip(*blocks, strict=True))  # fmt: skip
    return Lists(
        users=candidates.users,
        offsets=_offsets(counts),
        songs=picked,
        scores=scores,
        personal=personal,
        relaxed=relaxed,
        spares=Spares(
            users=candidates.users,
            offsets=_offsets(spare_counts),
            songs=spare_songs,
            scores=spare_scores,
            personal=spare_personal,
            not_at_offsets=_offsets(misfits),
            not_at=not_at,
        ),
    )


def _offsets(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
