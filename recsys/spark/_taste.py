"""The taste state on Spark: :func:`recsys.taste.roll_taste` to the last bit.

Sums of the new days run over the same integers in fixed point; a sum that does not fit into 64 bits
stops the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import SparkSession

from recsys import columns as c
from recsys import schemas
from recsys._tables import rows_of
from recsys.plays import DAILY_PLAYS
from recsys.spark._datasets import PART, in_parts, ranges, read, write
from recsys.taste import FIXED_POINT, aged, weights_of


def roll_taste(
    session: SparkSession,
    previous: tuple[Path, date] | None,
    days: Sequence[Path],
    cutoff: date,
    half_life_days: float,
    out: Path,
) -> int:
    """As :func:`recsys.taste.roll_taste`; ``out`` becomes a folder of parts."""
    fresh = read(session, days, DAILY_PLAYS)
    before = read(session, [previous[0]] if previous else [], schemas.TASTE)
    factor = aged(previous[1], cutoff, half_life_days) if previous else 0.0
    found = fresh.select(c.LISTENED_ON).distinct().orderBy(c.LISTENED_ON).collect()
    weights = weights_of([row[0] for row in found], cutoff, half_life_days)
    rows = session.sql(
        _rows(cutoff),
        fresh=fresh,
        day_weight=session.createDataFrame(weights),
        before=before,
    )
    count = sum(map(rows_of, [*days, *([previous[0]] if previous else [])]))
    pairs = [one.select(c.USER_ID, c.TRACK_ID) for one in (fresh, before)]
    by_user = ranges(pairs[0].unionAll(pairs[1]), c.USER_ID, count=count, apart=[c.TRACK_ID])
    rows = in_parts(rows, by_user)
    state = session.sql(_state(factor), rows=rows)
    return write(state.sortWithinPartitions(PART, c.USER_ID, c.TRACK_ID), out, schemas.TASTE)


def _rows(cutoff: date) -> str:
    """What adds up to the state: counts of the new days in fixed point, and those of before."""
    newest = (cutoff - timedelta(days=1)).isoformat()
    weighed = ", ".join(f"{name} * weight AS {name}" for name in c.COUNTS)
    none = ", ".join(f"CAST(NULL AS BIGINT) AS {name}" for name in c.COUNTS)
    before = ", ".join(f"{name} AS before_{name}" for name in c.COUNTS)
    none_before = ", ".join(f"CAST(NULL AS DOUBLE) AS before_{name}" for name in c.COUNTS)
    return f"""
        SELECT user_id, track_id, {weighed}, {none_before},
            plays + part_plays + skips > 0 AS heard, dislikes > 0 AS disliked,
            CASE WHEN plays + part_plays + skips > 0
                THEN least(listened_on, DATE '{newest}') END AS last_heard
        FROM {{fresh}} JOIN {{day_weight}} USING (listened_on)
        UNION ALL
        SELECT user_id, track_id, {none}, {before}, heard, disliked, last_heard
        FROM {{before}}
    """


def _state(factor: float) -> str:
    totals = ", ".join(
        f"coalesce(max(before_{name}), 0D) * {factor!r}D "
        f"+ CAST(coalesce(sum({name}), 0L) AS DOUBLE) / {FIXED_POINT}D AS {name}"
        for name in c.COUNTS
    )
    return f"""
        SELECT part, user_id, track_id, {totals},
            bool_or(heard) AS heard, bool_or(disliked) AS disliked, max(last_heard) AS last_heard
        FROM {{rows}}
        GROUP BY part, user_id, track_id
    """
