"""The new edition comes on the listener's own Monday at 00:00, wherever that is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys.serve._asked import zones
from recsys.serve._clock import begins, seconds_to_monday, today
from recsys.store import open_store
from recsys.weeks import Week
from tests.serve.asking import Client
from tests.store.making import make

ZONES = sorted(zones())
WEEKS = st.dates(date(2020, 1, 6), date(2037, 12, 28)).map(Week.of)
SECOND = timedelta(seconds=1)


def test_every_zone_begins_every_week_on_its_monday_and_not_before() -> None:
    for name in ZONES:
        zone = ZoneInfo(name)
        for number in range(0, 52 * 12, 3):  # a prime to 52, so that every time of the year comes
            week = Week.parse("2024-W01") + number
            start = begins(week, zone)
            assert today(start, zone) == week.monday, name
            assert today(start.astimezone(UTC) - SECOND, zone) < week.monday, name


@given(st.sampled_from(ZONES), WEEKS, st.timedeltas(timedelta(), timedelta(days=7)))
@example("America/Santiago", Week.parse("2026-W14"), timedelta())  # Sunday's 24th hour comes twice
@example("Africa/Cairo", Week.parse("2026-W17"), timedelta(days=6))  # a midnight that there is not
def test_nothing_is_kept_past_the_next_monday(zone: str, week: Week, after: timedelta) -> None:
    here = ZoneInfo(zone)
    now = begins(week, here).astimezone(UTC) + after
    left = seconds_to_monday(now, here)
    assert left >= 0
    assert (
        today(now + timedelta(seconds=max(left - 1, 0)), here) <= Week.of(today(now, here)).sunday
    )
    assert today(now + timedelta(seconds=left + 1), here) > Week.of(today(now, here)).sunday


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Editions of the weeks in which clocks change, in both halves of the world."""
    folder: Path = tmp_path_factory.mktemp("mondays")
    with open_store(f"sqlite:///{folder / 'store'}") as store:
        first = Week.parse("2026-W10")
        for number in range(9):
            make(str(first + number), ["ada"]).publish(store)
        made = Client(store)
        yield made
        made.close()


@given(st.sampled_from(ZONES), st.integers(1, 8))
def test_a_client_sees_the_new_edition_from_its_own_midnight(
    client: Client, zone: str, number: int
) -> None:
    week = Week.parse("2026-W10") + number
    start = begins(week, ZoneInfo(zone)).astimezone(UTC)
    escaped = zone.replace("+", "%2B")
    for path in ("", f"/{week}"):
        client.now = start - SECOND
        before = client.weekly("ada", f"{path}?tz={escaped}")
        client.now = start
        after = client.weekly("ada", f"{path}?tz={escaped}")
        assert (after.status, after.json["edition"]) == (200, str(week))
        if path:
            assert before.json["edition"] == str(week)
            assert before.problem == "not-yet"
            assert datetime.fromisoformat(before.json["available_from"]) == start
            assert before.headers["retry-after"] == "1"
        else:
            assert (before.status, before.json["edition"]) == (200, str(week - 1))
            assert "max-age=1, s-maxage=1," in before.headers["cache-control"]


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "", "../../etc/passwd", "posix", "europe/berlin", "localtime", "Factory"]
)
def test_a_zone_that_there_is_not(client: Client, zone: str) -> None:
    assert client.weekly("ada", f"?tz={zone}").problem == "bad-request"


def test_a_plus_in_a_zone_need_not_be_escaped(client: Client) -> None:
    assert client.weekly("ada", "?tz=Etc/GMT+5").status == 200
