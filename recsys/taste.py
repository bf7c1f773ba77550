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

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys import columns as c
from recsys import schemas
from recsys._coded_writer import CodedWriter
from recsys._codes import number_of, to_dates
from recsys._pipelined import ahead
from recsys._side_by_side import Rows, SideBySide
from recsys._tables import running_out
from recsys.plays import DAILY_PLAYS

#: One listen, undecayed.
FIXED_POINT: Final = 2**32
_FRESH: Final = pa.schema([DAILY_PLAYS.field(name) for name in (c.LISTENED_ON, *c.COUNTS)])
_BEFORE: Final = pa.schema(list(schemas.TASTE)[2:])
_EPOCH: Final = date(1970, 1, 1)


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
    factor = aged(previous[1], cutoff, half_life_days) if previous else 0.0
    tables = SideBySide((days, _FRESH), ([previous[0]] if previous else [], _BEFORE))
    with running_out(out.parent), CodedWriter(out, schemas.TASTE) as writer:
        for stretch in ahead(iter(tables)):
            fresh, before = stretch.groups
            user, track, columns = _rolled(fresh, before, factor, cutoff, half_life_days)
            writer.write(stretch, user, track, columns)
    return writer.rows


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


def _rolled(
    fresh: Rows, before: Rows, factor: float, cutoff: date, half_life_days: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], list[pa.Array]]:
    """The state of some users: ranks of users and tracks, and the other columns of it."""
    from recsys._rolling import roll

    days, *counts = fresh.columns
    *old_counts, old_heard, old_disliked, old_last = before.columns
    first, newest = (int(bound(days)) if len(days) else 0 for bound in (np.min, np.max))
    between = [_EPOCH + timedelta(day) for day in range(first, newest + 1)]
    weights = weights_of(between, cutoff, half_life_days)["weight"].to_numpy()
    most = len(fresh.user) + len(before.user)
    user, track, last_heard = (np.empty(most, np.int32) for _ in range(3))
    heard, disliked = np.empty(most, np.bool_), np.empty(most, np.bool_)
    totals = np.empty((len(c.COUNTS), most), np.float64)
    made = roll(
        (fresh.user, fresh.track, days, tuple(counts), fresh.starts),
        np.array(weights),
        first,
        number_of(cutoff) - 1,
        (before.user, before.track, tuple(old_counts), old_heard, old_disliked, old_last),
        factor,
        (user, track, totals, heard, disliked, last_heard),
    )
    return (
        user[:made],
        track[:made],
        [
            *(pa.array(total[:made]) for total in totals),
            pa.array(heard[:made]),
            pa.array(disliked[:made]),
            to_dates(last_heard[:made]),
        ],
    )
