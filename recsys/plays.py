"""Daily plays: what a day's listens come to, per user, track and listening day."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa

from recsys import columns as c
from recsys._tables import database, read_parquet, write_query

#: Sorted by user, track and listening day (UTC). Counts are integers, so sums are exact.
DAILY_PLAYS: Final = pa.schema(
    [
        pa.field(c.USER_ID, pa.string(), nullable=False),
        pa.field(c.TRACK_ID, pa.string(), nullable=False),
        pa.field(c.LISTENED_ON, pa.date32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in c.COUNTS),
        pa.field(c.MS_PLAYED, pa.int64(), nullable=False),
    ]
)

#: What the day says of each track, sorted by track.
DAILY_TRACKS: Final = pa.schema(
    [
        pa.field(c.TRACK_ID, pa.string(), nullable=False),
        pa.field(c.TRACK_NAME, pa.string()),
        pa.field(c.ARTIST_NAME, pa.string()),
        pa.field(c.ALBUM_NAME, pa.string()),
        pa.field(c.ARTIST_IDS, pa.list_(pa.string())),
        pa.field(c.DURATION_MS, pa.int64()),
    ]
)

# Half of a track or four minutes is a play: Last.fm's rule for a scrobble
# (https://www.last.fm/api/scrobbling). Where the length is unknown, 30 seconds are.
_COMPLETE = """
    CASE WHEN ms_played IS NULL THEN NOT coalesce(skipped, false)
         ELSE ms_played >= least(coalesce(duration_ms / 2, 30000), 240000) END
"""

_PLAYS = f"""
    WITH listen AS (
        SELECT *, {_COMPLETE} AS complete, coalesce(skipped, false) AS left_early
        FROM {{listens}}
    ), judged AS (
        SELECT *,
            event = 'play' AND complete AND NOT left_early AS play,
            event = 'play' AND NOT complete
                AND (left_early OR coalesce(ms_played, 0) < 30000) AS skip
        FROM listen
    )
    SELECT user_id, track_id, CAST(listened_at AT TIME ZONE 'UTC' AS DATE) AS listened_on,
        count(*) FILTER (play) AS plays,
        count(*) FILTER (event = 'play' AND NOT play AND NOT skip) AS part_plays,
        count(*) FILTER (skip) AS skips,
        count(*) FILTER (event = 'save') AS saves,
        count(*) FILTER (event = 'like') AS likes,
        count(*) FILTER (event = 'dislike') AS dislikes,
        CAST(coalesce(sum(ms_played), 0) AS BIGINT) AS ms_played
    FROM judged
    GROUP BY ALL
    ORDER BY user_id, track_id, listened_on
"""

_TRACKS = """
    WITH told AS (
        SELECT track_id, track_name, artist_name, album_name, artist_ids, duration_ms,
            count(*) AS times
        FROM {listens}
        GROUP BY ALL
    )
    SELECT * EXCLUDE (times) FROM told
    QUALIFY row_number() OVER (
        PARTITION BY track_id
        ORDER BY track_name IS NULL, times DESC, track_name, artist_name, album_name,
            artist_ids, duration_ms
    ) = 1
    ORDER BY track_id
"""


def daily_plays(listens: Path, out: Path, memory: str | None = None) -> dict[str, int]:
    """Count a day's cleaned listens into ``plays.parquet`` and ``tracks.parquet`` under ``out``.

    A *play* reached half of the track or four minutes; a *skip* was left before that on purpose or
    within 30 seconds; any other listen is a *part play*.

    Args:
        listens: a table of :data:`recsys.schemas.LISTENS`.
        out: the folder to write into.
        memory: how much DuckDB may use, as of :func:`recsys._tables.database`.

    Returns:
        Rows written, by table.
    """
    with database(out, memory) as connection:
        source = read_parquet([listens])
        return {
            "plays": write_query(
                connection, _PLAYS.format(listens=source), out / "plays.parquet", DAILY_PLAYS
            ),
            "tracks": write_query(
                connection, _TRACKS.format(listens=source), out / "tracks.parquet", DAILY_TRACKS
            ),
        }
