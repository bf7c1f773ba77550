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
import pyarrow.parquet as pq

from recsys import columns as c
from recsys import schemas
from recsys._codes import SideBySide, number_of, places
from recsys._pipelined import ahead
from recsys._tables import part_files
from recsys.plays import DAILY_PLAYS

#: Outcomes of a song, as bits. What was only begun is played.
PLAYED, FINISHED, SAVED, KEPT, SKIPPED = 1, 2, 4, 8, 16

_EVENTS: Final = pa.schema([DAILY_PLAYS.field(name) for name in (c.LISTENED_ON, *c.COUNTS)])
_HEARD: Final = pa.schema([schemas.TASTE.field(c.HEARD)])


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
        texts = [f"tracks.list.element.{name}" for name in (c.TRACK_ID, c.SOURCE)]
        columns = [c.USER_ID, c.KIND, "tracks.list.element.position", *texts]
        rows = pa.concat_tables(
            pq.ParquetFile(file, read_dictionary=[c.KIND, *texts]).read(columns)
            for file in part_files(playlists)
        )
        gone = pc.is_in(rows[c.USER_ID], pa.array(sorted(forgotten), pa.string()))
        here = ~gone.to_numpy(zero_copy_only=False).astype(bool)
        lengths = pc.list_value_length(rows[c.TRACKS]).to_numpy()
        slots = pa.Table.from_batches(
            [pa.RecordBatch.from_struct_array(chunk.flatten()) for chunk in rows[c.TRACKS].chunks],
            pa.schema(rows.schema.field(c.TRACKS).type.value_type.fields),
        )
        of_here = np.repeat(here, lengths)
        return cls(
            users=_one(rows[c.USER_ID]).filter(pa.array(here)),
            kind=_one(rows[c.KIND]).filter(pa.array(here)),
            offsets=np.cumsum(np.concatenate([[0], lengths[here]]), dtype=np.int64),
            position=slots[c.POSITION].to_numpy()[of_here],
            track_id=_one(slots[c.TRACK_ID]).filter(pa.array(of_here)),
            source=_one(slots[c.SOURCE]).filter(pa.array(of_here)),
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
    slot_songs = song_of[_places(lists.track_id.dictionary, songs)][lists.track_id.indices]
    found = Outcomes(
        active=np.zeros(len(lists.users), np.bool_),
        bits=np.zeros(len(slot_songs), np.uint8),
        discoveries=np.zeros((2, 5), np.int64),
    )
    flags = np.zeros(len(song_of), np.uint16)
    tables = SideBySide((arrivals, _EVENTS), ([taste] if taste else [], _HEARD))
    for stretch in ahead(iter(tables)):
        events, before = stretch.groups
        song = song_of[places(stretch.tracks, songs[c.TRACK_ID])]
        outcomes(
            (events.user, song[events.track], events.columns[0], events.columns[1:]),
            events.starts,
            (before.user, song[before.track], before.columns[0]),
            places(stretch.users, pa.chunked_array([lists.users])),
            (lists.offsets, slot_songs),
            (number_of(monday), number_of(end)),
            flags,
            (found.active, found.bits, found.discoveries),
        )
    return found


def _places(texts: pa.StringArray, songs: pa.Table) -> npt.NDArray[np.int32]:
    return np.asarray(pc.fill_null(pc.index_in(texts, songs[c.TRACK_ID]), -1), np.int32)


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column in one chunk, with one dictionary."""
    return column.unify_dictionaries().combine_chunks()
