"""Taste state: what each user has heard, with every count decayed to one moment.

A week's state is the state before, aged, plus the new days. A count halves every ``half_life_days``
(exponential decay: ``0.5 ** (age / half_life)``). Sums run over integers in fixed point, so they
are the same for any order of rows and any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa

from recsys import columns as c
from recsys import schemas
from recsys._tables import arrow, database, read_parquet, write_query
from recsys.plays import DAILY_PLAYS

#: One listen, undecayed.
FIXED_POINT: Final = 2**32


def roll_taste(
    previous: tuple[Path, date] | None,
    days: Sequence[Path],
    cutoff: date,
    half_life_days: float,
    out: Path,
) -> int:
    """Write the taste state at ``cutoff`` to ``out``.

    Args:
        previous: an older state (:data:`recsys.schemas.TASTE`) and its cutoff, or None to begin.
        days: ``plays.parquet`` of each day since (all days, to begin).
        cutoff: the day the counts are decayed to; a listen of the day before is one day old.
        half_life_days: the age in days at which a listen counts half.
        out: the file to write.

    Returns:
        The number of (user, track) pairs.
    """
    with database(out.parent) as connection:
        if days:
            connection.execute(f"CREATE VIEW day_plays AS SELECT * FROM {read_parquet(days)}")
        else:
            connection.register("day_plays", DAILY_PLAYS.empty_table())
        found = arrow(connection, "SELECT DISTINCT listened_on FROM day_plays ORDER BY 1")
        weights = weights_of(found[c.LISTENED_ON].to_pylist(), cutoff, half_life_days)
        connection.register("day_weight", weights)
        factor = 0.0
        if previous is None:
            connection.register("previous", schemas.TASTE.empty_table())
        else:
            path, then = previous
            connection.execute(f"CREATE VIEW previous AS SELECT * FROM {read_parquet([path])}")
            factor = aged(then, cutoff, half_life_days)
        return write_query(connection, _roll(factor, cutoff), out, schemas.TASTE)


def aged(then: date, cutoff: date, half_life_days: float) -> float:
    """What is left at ``cutoff`` of a state of ``then``."""
    return float(0.5 ** ((cutoff - then).days / half_life_days))


def weights_of(listened_on: Sequence[date], cutoff: date, half_life_days: float) -> pa.Table:
    """``listened_on`` and what a listen of that day weighs, in fixed point (int64)."""
    ages = [max((cutoff - day).days, 1) for day in listened_on]
    return pa.table(
        {
            c.LISTENED_ON: pa.array(listened_on, pa.date32()),
            "weight": pa.array(
                [round(FIXED_POINT * 0.5 ** (age / half_life_days)) for age in ages], pa.int64()
            ),
        }
    )


def _roll(factor: float, cutoff: date) -> str:
    sums = ", ".join(f"sum({name} * weight) AS {name}" for name in c.COUNTS)
    totals = ", ".join(
        f"coalesce(p.{name}, 0) * {factor!r} + coalesce(f.{name}, 0)::DOUBLE / {FIXED_POINT} "
        f"AS {name}"
        for name in c.COUNTS
    )
    newest = (cutoff - timedelta(days=1)).isoformat()
    return f"""
        WITH fresh AS (
            SELECT user_id, track_id, {sums},
                bool_or(plays + part_plays + skips > 0) AS heard,
                bool_or(dislikes > 0) AS disliked,
                max(least(listened_on, DATE '{newest}'))
                    FILTER (plays + part_plays + skips > 0) AS last_heard
            FROM day_plays JOIN day_weight USING (listened_on)
            GROUP BY user_id, track_id
        )
        SELECT user_id, track_id, {totals},
            coalesce(p.heard, false) OR coalesce(f.heard, false) AS heard,
            coalesce(p.disliked, false) OR coalesce(f.disliked, false) AS disliked,
            greatest(p.last_heard, f.last_heard) AS last_heard
        FROM previous p FULL JOIN fresh f USING (user_id, track_id)
        ORDER BY user_id, track_id
    """
