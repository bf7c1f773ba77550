"""What listeners did with the songs of their playlists: a listener after the other, by numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys import schemas
from recsys._codes import number_of
from recsys._pipelined import ahead
from recsys._side_by_side import SideBySide
from recsys._tables import encoded_batches_of
from recsys.plays import DAILY_PLAYS

#: Outcomes of a song, as bits. What was only begun is played.
PLAYED, FINISHED, SAVED, KEPT, SKIPPED = 1, 2, 4, 8, 16

_EVENTS: Final = pa.schema([DAILY_PLAYS.field(name) for name in (c.LISTENED_ON, *c.COUNTS)])
_HEARD: Final = pa.schema([schemas.TASTE.field(c.HEARD)])
_CODED: Final = pa.dictionary(pa.int32(), pa.string())
_LIST: Final = pa.schema([(c.USER_ID, pa.string()), (c.KIND, _CODED), ("slots", pa.int32())])
_SLOT: Final = pa.schema([(c.POSITION, pa.int32()), (c.TRACK_ID, _CODED), (c.SOURCE, _CODED)])


@dataclass(frozen=True)
class Lists:
    """Playlists, and their slots one after the other; of each text a number and what it stands for.

    Attributes:
        users: string, whose each is.
        kind: dictionary, beside them.
        offsets: int64, where the slots of each begin, and where the last ones end.
        position: int32, of each slot.
        track_id: dictionary, of each slot.
        source: dictionary, of each slot.
    """

    users: pa.StringArray
    kind: pa.DictionaryArray
    offsets: npt.NDArray[np.int64]
    position: npt.NDArray[np.int32]
    track_id: pa.DictionaryArray
    source: pa.DictionaryArray

    @classmethod
    def read(cls, playlists: Path, forgotten: Collection[str]) -> Lists:
        """Read all but those of the forgotten; names and scores, which take longest, are not."""
        nested = [f"{c.TRACKS}.list.element.{name}" for name in _SLOT.names]
        columns, coded = [c.USER_ID, c.KIND, *nested], [c.KIND, *nested[1:]]
        gone = pa.array(sorted(forgotten), pa.string())
        lists, slots = [_LIST.empty_table()], [_SLOT.empty_table()]
        for batch in ahead(encoded_batches_of(playlists, columns, coded)):
            here = batch.filter(pc.invert(pc.is_in(batch.column(c.USER_ID), gone)))
            tracks = here.column(c.TRACKS)
            about = [*here.select([c.USER_ID, c.KIND]).columns, tracks.value_lengths()]
            lists.append(_encoded(about, _LIST))
            slots.append(_encoded(tracks.flatten().flatten(), _SLOT))
        who, what = (pa.concat_tables(some).unify_dictionaries() for some in (lists, slots))
        user, kind, lengths = who.combine_chunks().columns
        position, track_id, source = what.combine_chunks().columns
        return cls(
            users=user.combine_chunks(),
            kind=kind.combine_chunks(),
            offsets=np.cumsum(np.concatenate([[0], lengths.to_numpy()]), dtype=np.int64),
            position=position.to_numpy(),
            track_id=track_id.combine_chunks(),
            source=source.combine_chunks(),
        )


def _encoded(columns: Sequence[pa.Array], schema: pa.Schema) -> pa.Table:
    """Columns of a batch, text by number where the schema wants it."""
    wanted = zip(columns, schema.types, strict=True)
    return pa.table(
        [one.dictionary_encode() if kind == _CODED else one for one, kind in wanted], schema
    )


@dataclass(frozen=True)
class Outcomes:
    """What listeners did in a week.

    Attributes:
        active: bool, of each list: its listener did something in the week.
        bits: uint8, of each slot its outcomes.
        discoveries: int64 ``[2, 5]``: songs that active listeners began for the first time, from
            their playlist and elsewhere: all, and those finished, saved, kept and skipped.
    """

    active: npt.NDArray[np.bool_]
    bits: npt.NDArray[np.uint8]
    discoveries: npt.NDArray[np.int64]


def outcomes_of(
    lists: Lists,
    songs: pa.Table,
    arrivals: Sequence[Path],
    taste: Path | None,
    monday: date,
    end: date,
) -> Outcomes:
    """Hold playlists against the plays of their week.

    Args:
        lists: the playlists.
        songs: ``track_id`` of every known track, and ``song`` (int32, from 0).
        arrivals: ``plays.parquet`` of each day that may hold plays of the week, or of the days
            between the playlists' cutoff and it.
        taste: the state that the playlists were made from; None, and the discoveries mean nothing.
        monday: the week's first day.
        end: the day after its last.
    """
    from recsys._outcome_loops import outcomes

    song_of = np.append(songs["song"].to_numpy(), np.int32(-1))  # the last is of no track
    known = pc.fill_null(pc.index_in(lists.track_id.dictionary, songs[c.TRACK_ID]), -1)
    slot_songs = song_of[known.to_numpy()][lists.track_id.indices]
    found = Outcomes(
        active=np.zeros(len(lists.users), np.bool_),
        bits=np.zeros(len(slot_songs), np.uint8),
        discoveries=np.zeros((2, 5), np.int64),
    )
    flags = np.zeros(len(song_of), np.uint16)
    tables = SideBySide(
        (arrivals, _EVENTS),
        ([taste] if taste else [], _HEARD),
        users=pa.chunked_array([lists.users]),
        tracks=songs[c.TRACK_ID],
    )
    for stretch in ahead(iter(tables)):
        events, before = stretch.groups
        song = song_of[stretch.tracks.places(len(songs))]
        outcomes(
            (events.user, song[events.track], events.columns[0], events.columns[1:]),
            events.starts,
            (before.user, song[before.track], before.columns[0]),
            stretch.users.places(len(lists.users)),
            (lists.offsets, slot_songs),
            (number_of(monday), number_of(end)),
            flags,
            (found.active, found.bits, found.discoveries),
        )
    return found
