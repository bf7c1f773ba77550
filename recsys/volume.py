"""Days and weeks of unusual size."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from recsys._tables import database, read_parquet
from recsys.settings import GatesSettings
from recsys.verdict import ENOUGH_LISTENERS, SOFT, Check, Verdict

_TRAILING_DAYS: Final = 28
_LEAST_DAYS: Final = 7
#: Below so many rows a day, a household's log goes up and down as it likes.
_LEAST_MEDIAN: Final = 1000
_TIMES: Final = 10
#: The newest week is held against so many weeks before it.
_TRAILING_WEEKS: Final = 4
_WEEK: Final = timedelta(weeks=1)


@dataclass(frozen=True)
class WeekVolume:
    """What arrived in one week: listens, and listeners who had any."""

    listens: int
    listeners: int


def weekly_volumes(days: Mapping[date, Path], end: date, spill: Path) -> list[WeekVolume]:
    """Listens and listeners by week of arrival, the newest first.

    Args:
        days: ``plays.parquet`` of each arrival day (:mod:`recsys.plays`).
        end: the day after the newest week's last.
        spill: a folder for what does not fit into memory.

    Returns:
        The week before ``end``, and up to four before it that the log holds from its first day on.
    """
    with database(spill) as connection:

        def volume(files: Sequence[Path]) -> WeekVolume:
            row = (
                files
                and connection.execute(
                    "SELECT coalesce(sum(plays + part_plays + skips), 0)::BIGINT, "
                    f"count(DISTINCT user_id) FROM {read_parquet(files)} "
                    "WHERE plays + part_plays + skips > 0"
                ).fetchone()
            )
            return WeekVolume(*map(int, row or (0, 0)))

        return [volume(files) for files in weeks_of(days, end)]


def weeks_of(days: Mapping[date, Path], end: date) -> list[list[Path]]:
    """The days of the week before ``end``, and of those before it that the log holds whole."""
    weeks = []
    for back in range(_TRAILING_WEEKS + 1):
        begin = end - (back + 1) * _WEEK
        if back and (not days or begin < min(days)):
            break
        weeks.append([days[day] for day in sorted(days) if begin <= day < begin + _WEEK])
    return weeks


def check_volume(volumes: Sequence[WeekVolume], gates: GatesSettings) -> Verdict:
    """Hold the newest week against the median of those before it.

    Args:
        volumes: from :func:`weekly_volumes`, the newest first.
        gates: the band.

    >>> weeks = [WeekVolume(900, 40), WeekVolume(1000, 100), WeekVolume(1100, 104)]
    >>> check_volume(weeks, GatesSettings()).summary()
    'Refused: 1 of 2 checks failed. listeners_of_the_week: found 0.392, allowed 0.7 to 4 times the \
median of the 2 weeks before (102).'
    """
    rules = ("listens_of_the_week", "listeners_of_the_week")
    newest, before = volumes[0], volumes[1:]
    usual = {
        "listens": statistics.median([week.listens for week in before] or [0]),
        "listeners": statistics.median([week.listeners for week in before] or [0]),
    }
    why = None
    if not before:
        why = "the log holds no whole week before"
    elif usual["listeners"] < ENOUGH_LISTENERS:
        why = f"fewer than {ENOUGH_LISTENERS} listeners a week are usual"
    elif not newest.listens:
        why = "the week is empty, which [listens] missing_day = continue accepts"
    if why:
        return Verdict.of([], dict.fromkeys(rules, why))
    band = f"{gates.least_volume:g} to {gates.most_volume:g} times the median of the "
    weeks = tuple({"weeks_back": back, **asdict(week)} for back, week in enumerate(volumes))
    checks = []
    for rule, (name, median) in zip(rules, usual.items(), strict=True):
        ratio = getattr(newest, name) / median
        usual_size = gates.least_volume <= ratio <= gates.most_volume
        checks.append(
            Check(
                rule, usual_size, round(ratio, 3),
                f"{band}{len(before)} weeks before ({median:g})", () if usual_size else weeks, SOFT,
            )
        )  # fmt: skip
    return Verdict.of(checks)


def odd_days(rows: Mapping[date, int], days: Sequence[date]) -> list[str]:
    """Say which of ``days`` are under a tenth of, or over ten times, their usual size.

    The usual size is the median of the 28 days before, where at least seven of them have rows and
    the median is at least 1,000 rows.

    Args:
        rows: rows read, by day.
        days: the days to judge.

    Returns:
        One sentence per odd day.

    >>> log = {date(2026, 11, day): 5000 for day in range(1, 15)} | {date(2026, 11, 15): 20}
    >>> odd_days(log, [date(2026, 11, 14), date(2026, 11, 15)])
    ['2026-11-15 has 20 rows where 5000 are usual']
    """
    said = []
    for day in days:
        trailing = [
            rows[before]
            for before in (day - timedelta(days=n) for n in range(1, _TRAILING_DAYS + 1))
            if before in rows
        ]
        if len(trailing) < _LEAST_DAYS:
            continue
        usual = statistics.median(trailing)
        if usual >= _LEAST_MEDIAN and not usual / _TIMES <= rows[day] <= usual * _TIMES:
            said.append(f"{day} has {rows[day]} rows where {usual:.0f} are usual")
    return said


def empty_days(rows: Mapping[date, int], days: Sequence[date]) -> list[date]:
    """Those of ``days`` that were delivered without a single row."""
    return [day for day in days if rows[day] == 0]
