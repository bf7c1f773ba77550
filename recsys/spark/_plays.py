"""What a day's listens come to, on Spark: :func:`recsys.plays.daily_plays` to the last row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pyspark.sql import SparkSession

from recsys import columns as c
from recsys import plays as on_one_machine
from recsys import schemas
from recsys._tables import rows_of
from recsys.plays import DAILY_PLAYS, DAILY_TRACKS
from recsys.spark import _one_task
from recsys.spark._datasets import PART, in_parts, ranges, read, write

_COMPLETE: Final = """
    CASE WHEN ms_played IS NULL THEN NOT coalesce(skipped, false)
         ELSE ms_played >= least(coalesce(duration_ms / 2, 30000D), 240000D) END
"""

_PLAYS: Final = f"""
    WITH listen AS (
        SELECT *, {_COMPLETE} AS complete, coalesce(skipped, false) AS left_early
        FROM {{listens}}
    ), judged AS (
        SELECT *, CAST(listened_at AS DATE) AS listened_on,
            event = 'play' AND complete AND NOT left_early AS play,
            event = 'play' AND NOT complete
                AND (left_early OR coalesce(ms_played, 0) < 30000) AS skip
        FROM listen
    )
    SELECT part, user_id, track_id, listened_on,
        count_if(play) AS plays,
        count_if(event = 'play' AND NOT play AND NOT skip) AS part_plays,
        count_if(skip) AS skips,
        count_if(event = 'save') AS saves,
        count_if(event = 'like') AS likes,
        count_if(event = 'dislike') AS dislikes,
        coalesce(sum(ms_played), 0) AS ms_played
    FROM judged
    GROUP BY part, user_id, track_id, listened_on
"""

#: What is told of each track, and how often.
_TOLD: Final = """
    SELECT track_id, track_name, artist_name, album_name, artist_ids, duration_ms,
        count(*) AS times
    FROM {listens}
    GROUP BY ALL
"""

_TRACKS: Final = """
    SELECT * FROM {told}
    QUALIFY row_number() OVER (
        PARTITION BY part, track_id
        ORDER BY track_name IS NULL, times DESC, track_name ASC NULLS LAST,
            artist_name ASC NULLS LAST, album_name ASC NULLS LAST, artist_ids ASC NULLS LAST,
            duration_ms ASC NULLS LAST
    ) = 1
"""


def daily_plays(session: SparkSession, listens: Path, out: Path) -> Mapping[str, int]:
    """As :func:`recsys.plays.daily_plays`; the tables of a large day are folders of parts."""
    if _one_task.stored_bytes([listens]) <= _one_task.TASK_BYTES:
        return _one_task.in_one_task(
            session,
            out,
            lambda folder: on_one_machine.daily_plays(listens, folder),
        )
    rows = read(session, [listens], schemas.LISTENS)
    count = rows_of(listens)
    by_user = in_parts(
        rows, ranges(rows, c.USER_ID, count=count, apart=[c.LISTENED_AT, c.TRACK_ID])
    )
    plays = session.sql(_PLAYS, listens=by_user)
    told = session.sql(_TOLD, listens=rows)
    by_track = in_parts(told, ranges(rows, c.TRACK_ID, count=count, distinct=True))
    tracks = session.sql(_TRACKS, told=by_track)
    return {
        "plays": write(
            plays.sortWithinPartitions(PART, c.USER_ID, c.TRACK_ID, c.LISTENED_ON),
            out / "plays.parquet",
            DAILY_PLAYS,
        ),
        "tracks": write(
            tracks.sortWithinPartitions(PART, c.TRACK_ID), out / "tracks.parquet", DAILY_TRACKS
        ),
    }
