"""Which lists the playlist gate has to ask about: all but those that numbers clear.

One compiled pass (:mod:`recsys._gate_kernel`) holds each list, in the order of the files, against
what its listener heard. A list in which it finds nothing keeps every rule of :mod:`recsys.gate`,
and no question is asked about it. Of all others the gate asks in SQL, which counts, and names; so
it does no harm to suspect a list that is sound, and much to clear one that is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys import _gate_codes as codes
from recsys import columns as c
from recsys._gate_codes import IrregularError
from recsys._gate_kernel import KINDS, RULES, Lists, Rules, Songs, look, look_left_out
from recsys._gate_scores import Factors
from recsys._pipelined import ahead
from recsys._slices import UserRange
from recsys._threads import Workers, workers
from recsys.settings import PlaylistsSettings
from recsys.weeks import Week

_NOTHING_LEFT: Final = "nothing_left"
_LISTS_A_BLOCK: Final = 4096


def suspects(
    *,
    playlists: Sequence[Path],
    default: Path | None,
    refused: Sequence[Path],
    taste: Sequence[Path],
    catalogue: Path,
    eligible: Path,
    users: UserRange,
    factors: Factors,
    cooling: Sequence[Path],
    blocked: Sequence[str],
    week: Week,
    settings: PlaylistsSettings,
) -> npt.NDArray[np.int64] | None:
    """The numbers of the lists that may break a rule, ascending.

    A list's number is its row in the files, end to end: the default playlist, ``playlists``,
    ``refused``.

    Args:
        playlists: files of :data:`recsys.schemas.PLAYLISTS`, as ``default``.
        default: with the default playlist; None where it is not asked about.
        refused: files with ``user_id`` and ``reason``.
        taste: files of :data:`recsys.schemas.TASTE` with the users, sorted by user.
        catalogue: a file of :data:`recsys.schemas.CATALOGUE`.
        eligible: a file with the ``user_id`` of everyone who must get a playlist.
        users: who of them.
        factors: what gave the scores.
        cooling: playlist files of the editions that must not be repeated.
        blocked: track ids that are blocked.
        week: the edition.
        settings: length, and songs per artist.

    Returns:
        None where everything is to be asked about: users are not in order, not those who are
        eligible, or there is something that no stage writes.
    """
    try:
        ids, keys, music = codes.read_music(catalogue, blocked)
        listed, left_out = (codes.column(files, c.USER_ID) for files in (playlists, refused))
        theirs = pa.concat_arrays([listed, left_out])
        _account(listed, theirs, eligible, users)
        front = _default_lists(default, bool(music.open.any()))
        everyone = pa.concat_arrays([pa.array([""] * front, pa.string()), theirs])
        judge = _Judge(
            ids,
            music,
            codes.read_known(taste, everyone, ids),
            codes.read_resting(cooling, everyone, ids),
            Rules(settings.length, settings.per_artist, int(np.count_nonzero(music.open))),
            week,
            factors,
        )
        judge.score(keys, everyone)
        first = front + len(listed)
        found = judge.files([*([default] if default and front else []), *playlists])
        left = judge.left_out(first, codes.column(refused, c.REASON))
    except IrregularError:
        return None
    return np.concatenate([found, left])


def _default_lists(default: Path | None, wanted: bool) -> int:
    """How many default playlists there are: one, of nobody, where there is a song for it."""
    if default is None:
        return 0
    stored = codes.read([default], [c.USER_ID, c.KIND])
    if stored.to_pylist() != [{c.USER_ID: "", c.KIND: "popular"}] * wanted:
        raise IrregularError
    return len(stored)


def _account(listed: pa.Array, theirs: pa.Array, eligible: Path, users: UserRange) -> None:
    """See that users ascend, somebody is served, and everyone eligible is there once."""
    expected = pc.unique(codes.column([eligible], c.USER_ID))
    if users.begin is not None:
        expected = expected.filter(pc.greater_equal(expected, users.begin))
    if users.end is not None:
        expected = expected.filter(pc.less(expected, users.end))
    if (
        not len(listed)
        or len(expected) != len(theirs)
        or not pc.all(pc.less(listed[:-1], listed[1:]), min_count=0).as_py()
        or not np.array_equal(np.sort(codes.places(theirs, expected)), np.arange(len(theirs)))
    ):
        raise IrregularError


class _Judge:
    """Holds lists against what is known."""

    def __init__(
        self,
        tracks: pa.Array,
        music: codes.Music,
        known: codes.Known,
        resting: codes.Resting,
        rules: Rules,
        week: Week,
        factors: Factors,
    ) -> None:
        self._tracks, self._music, self._rules, self._week = tracks, music, rules, week
        self._known, self._resting, self._factors = known, resting, factors

    def score(self, keys: pa.Array, everyone: pa.Array) -> None:
        """Find the factors of songs, by their keys, and of the users of all lists."""
        ids = [codes.strings(some) for some in (self._factors.user_ids, self._factors.song_keys)]
        if any(pc.count_distinct(some).as_py() != len(some) for some in ids):
            raise IrregularError
        self._user_row = codes.places(everyone, ids[0])
        self._songs = Songs(codes.places(keys, ids[1]), np.array(self._factors.songs))

    def files(self, files: Sequence[Path]) -> codes.Array:
        """The suspects in some files, whose lists are numbered from 0."""
        first, found = 0, [np.empty(0, np.int64)]
        with workers() as threads:
            for file in files:
                for batch in ahead(codes.list_batches(file)):
                    found.append(first + np.flatnonzero(self._suspect(first, batch, threads)))
                    first += len(batch)
        return np.concatenate(found)

    def _suspect(self, first: int, batch: pa.RecordBatch, threads: Workers) -> codes.Array:
        row = self._user_row[first : first + len(batch)]
        users = np.zeros((len(batch), self._songs.factors.shape[1]))
        users[row >= 0] = self._factors.users[row[row >= 0]]
        lists = Lists(
            first,
            codes.places(batch[c.KIND], pa.array(KINDS)),
            codes.said(batch[c.RELAXED], RULES),
            users,
            row >= 0,
        )
        tracks, spares = (codes.entries(batch[name], self._tracks) for name in (c.TRACKS, c.SPARES))
        suspect = ~self._dated(batch)

        def block(start: int, stop: int) -> None:
            look(
                start, stop, lists, tracks, spares, self._known, self._resting, self._music,
                self._songs, self._rules, suspect,
            )  # fmt: skip

        for _ in threads.over_blocks(block, len(batch), _LISTS_A_BLOCK):
            pass
        return suspect

    def _dated(self, batch: pa.RecordBatch) -> codes.Array:
        """Whether each list is of the edition, and has its dates."""
        dates = {
            c.EDITION: str(self._week),
            c.VALID_FROM: self._week.monday,
            c.VALID_UNTIL: self._week.sunday,
        }
        right = [codes.bools(pc.equal(batch[name], date)) for name, date in dates.items()]
        return right[0] & right[1] & right[2]

    def left_out(self, first: int, reasons: pa.Array) -> codes.Array:
        """The suspects among the refused, whose lists are numbered from ``first``."""
        suspect = codes.bools(pc.not_equal(reasons, _NOTHING_LEFT))
        look_left_out(first, self._known, self._music, self._rules, suspect)
        return first + np.flatnonzero(suspect)
