"""Arrow schemas of the tables that pass between stages and out to readers."""

from __future__ import annotations

import pyarrow as pa

from recsys import columns as c

#: A cleaned listen: what every reader's output becomes. Sorted by user, track, time, event.
LISTENS = pa.schema(
    [
        pa.field(c.USER_ID, pa.string(), nullable=False),
        pa.field(c.TRACK_ID, pa.string(), nullable=False),
        pa.field(c.LISTENED_AT, pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field(c.EVENT, pa.string(), nullable=False),
        pa.field(c.ARTIST_IDS, pa.list_(pa.string())),
        pa.field(c.MS_PLAYED, pa.int64()),
        pa.field(c.DURATION_MS, pa.int64()),
        pa.field(c.SKIPPED, pa.bool_()),
        pa.field(c.TRACK_NAME, pa.string()),
        pa.field(c.ARTIST_NAME, pa.string()),
        pa.field(c.ALBUM_NAME, pa.string()),
    ]
)

#: A row that was refused: where it stands in the log, and why. ``row`` counts from 1.
QUARANTINE = pa.schema(
    [
        pa.field(c.ORIGIN_FILE, pa.string(), nullable=False),
        pa.field(c.ORIGIN_ROW, pa.int64(), nullable=False),
        pa.field(c.REASON, pa.string(), nullable=False),
        pa.field(c.DETAIL, pa.string()),
    ]
)

#: One (user, track) pair of the taste state. Counts are decayed to the state's cutoff.
TASTE = pa.schema(
    [
        pa.field(c.USER_ID, pa.string(), nullable=False),
        pa.field(c.TRACK_ID, pa.string(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in c.COUNTS),
        pa.field(c.HEARD, pa.bool_(), nullable=False),
        pa.field(c.DISLIKED, pa.bool_(), nullable=False),
        pa.field(c.LAST_HEARD, pa.date32()),
    ]
)

CATALOGUE = pa.schema(
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
        pa.field(c.SONG_KEY, pa.string(), nullable=False),
    ]
)

PLAYLIST_TRACK = pa.struct(
    [
        pa.field(c.POSITION, pa.int32(), nullable=False),
        pa.field(c.TRACK_ID, pa.string(), nullable=False),
        pa.field(c.TRACK_NAME, pa.string()),
        pa.field(c.ARTIST_NAMES, pa.list_(pa.string()), nullable=False),
        pa.field(c.SCORE, pa.float64(), nullable=False),
        pa.field(c.SOURCE, pa.string(), nullable=False),
        pa.field(c.BECAUSE_TRACK_ID, pa.string()),
    ]
)

#: A hidden spare: it takes the place of a track that is blocked after the edition was made. The
#: spares of a playlist share no credited artist, so that any of them may enter together.
SPARE = pa.struct(
    [
        pa.field(c.TRACK_ID, pa.string(), nullable=False),
        pa.field(c.TRACK_NAME, pa.string()),
        pa.field(c.ARTIST_NAMES, pa.list_(pa.string()), nullable=False),
        pa.field(c.SCORE, pa.float64(), nullable=False),
        pa.field(c.SOURCE, pa.string(), nullable=False),
        pa.field(c.BECAUSE_TRACK_ID, pa.string()),
        # Positions where it would break an artist rule, the other tracks staying; usually none.
        pa.field(c.NOT_AT, pa.list_(pa.int32()), nullable=False),
    ]
)

#: One playlist: one row per user and edition (a contract). Sorted by user.
PLAYLISTS = pa.schema(
    [
        pa.field(c.EDITION, pa.string(), nullable=False),
        pa.field(c.USER_ID, pa.string(), nullable=False),
        pa.field(c.KIND, pa.string(), nullable=False),
        pa.field(c.TRACKS, pa.list_(PLAYLIST_TRACK), nullable=False),
        pa.field(c.SPARES, pa.list_(SPARE), nullable=False),
        pa.field(c.RELAXED, pa.list_(pa.string()), nullable=False),
        pa.field(c.VALID_FROM, pa.date32(), nullable=False),
        pa.field(c.VALID_UNTIL, pa.date32(), nullable=False),
    ]
)


def _coded(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_coded(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_coded(field.type)) for field in kind])
    return pa.dictionary(pa.int32(), kind) if kind == pa.string() else kind


#: The same, the strings of tracks and spares by dictionaries: so playlists are made, and read.
CODED_PLAYLISTS = pa.schema(
    [
        field.with_type(_coded(field.type)) if field.name in (c.TRACKS, c.SPARES) else field
        for field in PLAYLISTS
    ]
)
