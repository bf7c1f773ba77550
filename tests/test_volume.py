"""A week's volume against the weeks before."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.plays import DAILY_PLAYS
from recsys.settings import GatesSettings
from recsys.volume import WeekVolume, check_volume, weekly_volumes

END = date(2026, 11, 15)
WEEK = timedelta(weeks=1)


def days_of(folder: Path, days: dict[date, list[str]]) -> dict[date, Path]:
    """A file of plays a day: one play, one part play and one save of each user."""
    paths = {}
    for day, users in days.items():
        paths[day] = folder / f"{day}.parquet"
        rows = [
            {
                **dict.fromkeys(DAILY_PLAYS.names, 0),
                "user_id": user, "track_id": "t", "listened_on": day,
                "plays": 1, "part_plays": 1, "saves": 1,
            }
            for user in users
        ]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows, DAILY_PLAYS), paths[day])
    return paths


def test_weeks_are_counted_back_from_the_cutoff_while_they_are_whole(tmp_path: Path) -> None:
    days = days_of(
        tmp_path,
        {
            END - timedelta(days=1): ["ann", "bob"],
            END - WEEK: ["ann"],
            END - WEEK - timedelta(days=1): ["cat"],
            END - 2 * WEEK - timedelta(days=3): ["dan"],  # before a whole week
        },
    )
    assert weekly_volumes(days, END, tmp_path) == [WeekVolume(6, 2), WeekVolume(2, 1)]


def test_at_most_four_weeks_before_are_looked_at(tmp_path: Path) -> None:
    days = days_of(tmp_path, {END - n * WEEK: ["ann"] * n for n in range(1, 8)})
    assert [one.listens for one in weekly_volumes(days, END, tmp_path)] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    ("listens", "listeners", "refused"),
    [
        (1000, 100, []),
        (700, 70, []),
        (699, 100, ["listens_of_the_week"]),
        (1000, 50, ["listeners_of_the_week"]),
        (4001, 100, ["listens_of_the_week"]),
        (500, 401, ["listens_of_the_week", "listeners_of_the_week"]),
    ],
)
def test_a_week_out_of_its_band_is_refused(
    listens: int, listeners: int, refused: list[str]
) -> None:
    # The one odd week moves the median little.
    before = [WeekVolume(1000, 100), WeekVolume(9000, 900), WeekVolume(1000, 100)]
    verdict = check_volume([WeekVolume(listens, listeners), *before], GatesSettings())
    assert [check.name for check in verdict.refusing] == refused
    assert not verdict.final
    for check in verdict.refusing:
        assert check.samples[0] == {"weeks_back": 0, "listens": listens, "listeners": listeners}
        assert [week["listens"] for week in check.samples[1:]] == [1000, 9000, 1000]


@pytest.mark.parametrize(
    ("weeks", "why"),
    [
        ([WeekVolume(9, 40)], "no whole week before"),
        ([WeekVolume(9, 1), WeekVolume(90, 29)], "fewer than 30 listeners"),
        ([WeekVolume(0, 0), WeekVolume(900, 90)], "the week is empty"),
    ],
)
def test_what_cannot_be_told_is_skipped_with_the_reason(weeks: list[WeekVolume], why: str) -> None:
    verdict = check_volume(weeks, GatesSettings())
    assert verdict.passed
    assert not verdict.checks
    assert all(why in said for said in verdict.skipped.values())
    assert list(verdict.skipped) == ["listens_of_the_week", "listeners_of_the_week"]
