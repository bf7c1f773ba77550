"""When the log breaks: last week's edition stays, the reason is told, the same command goes on."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from recsys import artefact
from recsys.errors import BadLogError, MissingDataError, NoSuchUserError, PlanError
from recsys.weeks import Week
from tests.workflows.conftest import (
    BEFORE,
    LAST_DAYS,
    NEXT,
    NOW,
    Deployment,
    listen,
    serves,
    tribe_log,
)
from workflows import WeeklyPlaylists

pytestmark = pytest.mark.usefixtures("whole_when_over")


def test_a_missing_day_stops_the_run_or_is_said(
    served: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    gap = LAST_DAYS[NOW] - timedelta(days=2)
    served.remove_day(gap)
    with pytest.raises(MissingDataError, match=f"no partition for {gap}") as refused:
        WeeklyPlaylists(week=NOW).complete()
    assert refused.value.exit_code == 20
    assert "missing_day = continue" in str(refused.value)
    assert served.last_run()["exit_code"] == 20
    assert str(gap) in served.last_run()["why"]
    assert serves(served) == BEFORE

    served.configure(listens={"missing_day": "continue"})
    with caplog.at_level("WARNING", "luigi-interface"):
        assert served.run(NOW)
    assert f"plan: accepted: {gap} is missing" in caplog.messages
    assert record(served)["log"]["missing"] == [str(gap)]
    # The week after does not stumble over the gap that was accepted.
    served.configure(listens={"missing_day": "stop"})
    assert served.run(NEXT)


def record(deployment: Deployment, week: str = NOW, revision: int = 1) -> dict[str, Any]:
    path = deployment.edition(week, revision) / "record" / "record.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_an_empty_day_stops_the_run_or_is_said(served: Deployment) -> None:
    day = LAST_DAYS[NOW]
    served.write_day(day, [])
    assert not served.run(NOW)
    last = served.last_run()
    assert (last["error"], last["stage"]) == ("MissingDataError", "plan")
    assert f"no rows on {day}" in last["why"]
    assert serves(served) == BEFORE
    served.configure(listens={"missing_day": "continue"})
    assert served.run(NOW)
    assert record(served)["log"]["empty"] == [str(day)]


def test_a_day_whose_rows_are_all_refused_is_as_good_as_empty(served: Deployment) -> None:
    day = LAST_DAYS[NOW]
    served.write_day(day, [{"user": "x", "listened": 1}] * 72)
    assert not served.run(NOW)
    last = served.last_run()
    assert (last["error"], last["stage"]) == ("MissingDataError", "plan")
    assert f"no rows on {day} that can be used" in last["why"]
    assert f"on {day} 72 of 72 rows are in quarantine (72 no_user)" in last["why"]
    assert serves(served) == BEFORE
    served.configure(listens={"missing_day": "continue"})
    assert served.run(NOW)
    assert record(served)["log"]["empty"] == [str(day)]


def test_a_day_a_tenth_of_its_usual_size_stops_the_run_or_is_said(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    day = LAST_DAYS[NOW]
    for n in range(9):
        at = day - timedelta(days=8 - n)
        rows = [
            listen(f"u{m:03d}", f"track {m % 2 * 500 + (m * 3 + n * 5 + k) % 60}", at, m * 60 + k)
            for m in range(202)
            for k in range(5)
        ]
        deployment.write_day(at, rows[:9] if at == day else rows)
    assert not deployment.run(NOW)
    last = deployment.last_run()
    assert (last["error"], last["stage"]) == ("MissingDataError", "plan")
    assert f"{day} has 9 rows where 1010 are usual" in last["why"]
    deployment.configure(listens={"odd_day": "continue"})
    with caplog.at_level("WARNING", "luigi-interface"):
        assert deployment.run(NOW)
    odd = f"{day} has 9 rows where 1010 are usual"
    assert f"plan: accepted: {odd}" in caplog.messages
    assert record(deployment)["log"]["odd"] == [odd]
    assert odd in " ".join(deployment.recsys("summary").stdout.split())


def test_a_log_that_ended_long_before_names_the_week_it_can_make(served: Deployment) -> None:
    for n in range(14):
        served.remove_day(LAST_DAYS[NEXT] - timedelta(days=n))
    with pytest.raises(MissingDataError, match=f"--week {BEFORE}$") as refused:
        WeeklyPlaylists(week=NEXT).complete()
    assert refused.value.exit_code == 20
    assert f"ends on {LAST_DAYS[BEFORE]}" in str(refused.value)
    assert WeeklyPlaylists(week=BEFORE).complete()


@pytest.mark.parametrize(("late", "missing_day"), [(0, "stop"), (6, "stop"), (6, "continue")])
def test_the_week_named_for_a_log_of_the_past_can_be_made(
    deployment: Deployment, late: int, missing_day: str
) -> None:
    deployment.configure(listens={"missing_day": missing_day})
    last_day = LAST_DAYS[BEFORE] - timedelta(days=late)
    tribe_log(deployment, last_day=last_day, days=9, members=4)
    with pytest.raises(MissingDataError) as refused:
        WeeklyPlaylists(week=NEXT).complete()
    named = Week.parse(str(refused.value)[-8:])
    assert named == Week.parse(BEFORE) - (missing_day == "stop" and late > 0)
    assert deployment.run(str(named))
    assert serves(deployment) == str(named)


def test_a_log_of_less_than_a_week_is_named_the_week_it_falls_in(deployment: Deployment) -> None:
    tribe_log(deployment, last_day=LAST_DAYS[BEFORE] - timedelta(days=2), days=3, members=4)
    with pytest.raises(MissingDataError, match=f"--week {BEFORE}$"):
        WeeklyPlaylists(week=NEXT).complete()
    with pytest.raises(MissingDataError, match="missing_day = continue"):
        WeeklyPlaylists(week=BEFORE).complete()
    deployment.configure(listens={"missing_day": "continue"})
    assert deployment.run(BEFORE)
    assert serves(deployment) == BEFORE


def test_a_week_without_a_listen_ships_from_what_was_heard_before(served: Deployment) -> None:
    for n in range(7):
        served.write_day(LAST_DAYS[NOW] - timedelta(days=n), [])
    served.configure(listens={"missing_day": "continue"})
    assert served.run(NOW)
    assert serves(served) == NOW
    assert record(served)["verdict"] == "unproven"
    assert len(record(served)["log"]["empty"]) == 7


def test_a_changed_file_of_the_log_is_named_and_not_reused(served: Deployment) -> None:
    day = LAST_DAYS[BEFORE]
    path = served.log / f"date={day}" / "listens.jsonl"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"t0m00", b"t0m99"))  # of the same size
    with pytest.raises(BadLogError, match=f"date={day}/listens.jsonl"):
        WeeklyPlaylists(week=NOW).complete()
    assert f"date={day}/listens.jsonl" in served.last_run()["why"]
    path.write_bytes(before)
    extra = served.write_day(day, [listen("t0m00", "track 0001", day)], "extra")
    with pytest.raises(BadLogError, match=f"date={day}/extra.jsonl"):
        WeeklyPlaylists(week=NOW).complete()
    extra.unlink()
    assert served.run(NOW)
    assert serves(served) == NOW


def test_a_late_event_counts_in_the_next_edition(served: Deployment) -> None:
    heard = LAST_DAYS[BEFORE] - timedelta(days=3)
    arrived = LAST_DAYS[NOW]
    served.write_day(arrived, [listen("latecomer", "track 0003", heard)], "late")
    assert served.run(NOW)
    with served.store() as store:
        with pytest.raises(NoSuchUserError):
            store.playlist("latecomer", edition=BEFORE)
        assert "track 0003" not in {
            track.track_id for track in store.playlist("latecomer", edition=NOW).tracks
        }


def test_what_is_delivered_again_days_later_counts_once(served: Deployment) -> None:
    day = LAST_DAYS[NOW]
    again = (served.log / f"date={day - timedelta(days=3)}" / "listens.jsonl").read_bytes()
    (served.log / f"date={day}" / "again.jsonl").write_bytes(again)
    assert served.run(NOW)
    cleaned = next((served.home / "days").glob(f"*/clean/date={day}"))
    rows = artefact.Artefact.open(cleaned).manifest["rows"]
    assert rows == {"read": 216, "requeued": 0, "kept": 108, "duplicates": 108, "quarantined": 0}


def test_two_logs_under_one_home_never_mix(served: Deployment) -> None:
    other = served.folder / "other"
    first_of_theirs = Deployment(other)
    tribe_log(first_of_theirs, last_day=LAST_DAYS[NOW], days=15, tribes=1, members=5)
    for path in other.rglob("*.jsonl"):
        path.write_text(path.read_text("utf-8").replace("t0m", "stranger"), encoding="utf-8")
    served.configure(listens={"source": "other/log"})
    assert served.run(NOW)
    playlists = served.playlists(NOW)
    assert {row["user_id"][:8] for row in playlists} == {"stranger"}
    assert len(playlists) == 5
    served.configure(listens={"source": "log"})
    with pytest.raises(PlanError, match=r"\[listens\] source was 'other/log', is 'log'"):
        WeeklyPlaylists(week=NOW).complete()
    assert served.run(NOW, revision=2)
    assert {row["user_id"][:2] for row in served.playlists(NOW, 2)} == {"t0", "t1", "t2"}
