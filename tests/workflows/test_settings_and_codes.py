"""What ends a run before its work, by the real command line, and what its exit code says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recsys import home
from recsys.errors import (
    AlreadyRunningError,
    MissingDataError,
    PlanError,
    ResourceError,
    SettingsError,
)
from tests.workflows.conftest import LAST_DAY, ROOT, WEEK, Deployment, tribe_log
from workflows import BackfillPlaylists, WeeklyPlaylists, _run


@pytest.fixture
def small(deployment: Deployment) -> Deployment:
    """A deployment with the log of two weeks of a few listeners."""
    tribe_log(deployment, days=14, members=4)
    return deployment


def plain(output: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in output.stderr, "a stack trace is no explanation"
    return output.stdout + output.stderr


# --- the codes, as an operator gets them -----------------------------------------------------


def test_a_week_is_made_and_made_again_with_code_0(small: Deployment) -> None:
    first = small.weekly("--week", WEEK)
    assert first.returncode == 0, first.stderr
    assert small.last_run()["exit_code"] == 0
    again = small.weekly("--week", WEEK)
    assert again.returncode == 0
    assert "Luigi Execution Summary" in again.stderr
    assert "ran successfully" not in again.stderr, "a second run of the same week runs no task"


def test_a_wrong_setting_ends_with_50_and_nothing_is_made(small: Deployment) -> None:
    small.configure(als={"factors": "many"}, playlists={"lenght": 30})
    ended = small.weekly("--week", WEEK)
    assert ended.returncode == 50
    said = plain(ended)
    assert "[als] factors = 'many': expected a whole number from 1 to 4096" in said
    assert "[playlists] lenght is not a setting. Did you mean 'length'?" in said
    assert not small.home.exists()


def test_a_missing_overlay_ends_with_50(small: Deployment) -> None:
    small.config.unlink()
    ended = small.weekly("--week", WEEK)
    assert ended.returncode == 50
    assert "LUIGI_CONFIG_PATH" in plain(ended)


@pytest.mark.parametrize("week", ["2025-W53", "last week", "2026-w47"])
def test_what_is_no_week_ends_with_50(small: Deployment, week: str) -> None:
    ended = small.weekly("--week", week)
    assert ended.returncode == 50
    assert f"'{week}' is not a week" in plain(ended)
    assert not small.home.exists()


def test_an_empty_directory_ends_with_20(deployment: Deployment) -> None:
    deployment.log.mkdir()
    ended = deployment.weekly("--week", WEEK)
    assert ended.returncode == 20
    assert f"{deployment.log} holds no file" in plain(ended)
    assert deployment.last_run()["exit_code"] == 20


def test_a_home_that_cannot_be_written_ends_with_60(small: Deployment) -> None:
    (small.folder / "file").touch()
    small.configure(recsys={"home": small.folder / "file" / "home"})
    ended = small.weekly("--week", WEEK)
    assert ended.returncode == 60
    assert "cannot be written (Not a directory)" in plain(ended)


def test_a_second_run_beside_the_first_ends_with_10(small: Deployment, holder: int) -> None:
    ended = small.weekly("--week", WEEK)
    assert ended.returncode == 10
    assert f"Another run (process {holder}) is working under {small.home}" in plain(ended)
    assert not (small.home / "editions").exists()


def test_a_failed_stage_ends_with_30(small: Deployment) -> None:
    (small.log / f"date={LAST_DAY}" / "listens.jsonl").write_bytes(b"")
    ended = small.weekly("--week", WEEK)
    assert ended.returncode == 30
    assert f"The log has no rows on {LAST_DAY}" in ended.stderr
    last = small.last_run()
    assert (last["outcome"], last["stage"], last["error"]) == ("failed", "plan", "MissingDataError")
    assert str(LAST_DAY) in last["why"]


def test_a_backfill_by_two_workers(deployment: Deployment) -> None:
    """Each week is asked for by a process of its own; the home is held by the one above them."""
    tribe_log(deployment, days=1, members=4)
    ended = deployment.command(
        *("--module", "workflows", "BackfillPlaylists", "--local-scheduler"),
        *("--first", WEEK, "--last", WEEK, "--workers", "2"),
    )
    assert ended.returncode == 0, ended.stderr
    with deployment.store() as store:
        assert store.playlist("t0m00").edition == WEEK
    assert "als_model: not tracked in MLflow, and going on" in ended.stderr


@pytest.fixture
def holder(small: Deployment) -> Iterator[int]:
    """The id of another process that holds the home."""
    code = (
        "import sys; from pathlib import Path; from recsys import home;"
        "home.lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    small.home.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(small.home)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


# --- the same, without a process each --------------------------------------------------------


def test_the_lock_goes_with_the_process_that_held_it(small: Deployment, holder: int) -> None:
    with pytest.raises(AlreadyRunningError, match=str(holder)) as refused:
        WeeklyPlaylists(week=WEEK).complete()
    assert refused.value.exit_code == 10
    subprocess.run(["kill", "-9", str(holder)], check=True)
    while Path(f"/proc/{holder}").exists() and "Z" not in _state(holder):
        pass
    assert not WeeklyPlaylists(week=WEEK).complete()
    assert home.holds(small.home)


def _state(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("als", "factors", "0", r"\[als\] factors = '0': expected a whole number"),
        ("edition", "lead_hours", "25", r"\[edition\] lead_hours = '25': expected a multiple"),
        ("listens", "source", "", r"\[listens\] source = '': expected a value"),
        ("listens", "format", "csv", r"\[listens\] format = 'csv': expected one of"),
        ("listens", "columns", "{", r"\[listens\] columns = '{': expected a JSON object"),
        ("store", "url", "mysql://x", r"\[store\] url = 'mysql://x': expected sqlite:///DIR"),
        ("listens", "surce", "x", r"\[listens\] surce is not a setting\. Did you mean 'source'"),
        ("lisens", "source", "x", r"\[lisens\] is not a section.*Did you mean 'listens'"),
    ],
)
def test_a_setting_that_is_not_usable_fails_before_any_work(
    small: Deployment, section: str, key: str, value: str, said: str
) -> None:
    small.configure(**{section: {key: value}})
    with pytest.raises(SettingsError, match=said) as refused:
        WeeklyPlaylists(week=WEEK).complete()
    assert refused.value.exit_code == 50
    assert not small.home.exists()


def test_a_log_that_is_not_named_fails_before_any_work(small: Deployment) -> None:
    del small.settings["listens"]["source"]
    small.configure()
    with pytest.raises(SettingsError, match=r"\[listens\] source is missing"):
        WeeklyPlaylists(week=WEEK).complete()
    assert not small.home.exists()


def test_a_source_that_is_not_there_is_missing_data(small: Deployment) -> None:
    small.configure(listens={"source": small.folder / "nowhere"})
    with pytest.raises(MissingDataError, match="nowhere does not exist") as refused:
        WeeklyPlaylists(week=WEEK).complete()
    assert refused.value.exit_code == 20
    assert "nowhere does not exist" in small.last_run()["why"]


def test_too_little_disk_is_seen_before_the_work(
    small: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 100 * 2**20

    monkeypatch.setattr(home.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(ResourceError, match="Only 100 MiB are free") as refused:
        WeeklyPlaylists(week=WEEK).complete()
    assert refused.value.exit_code == 60
    assert not (small.home / "days").exists()


def test_too_little_memory_is_seen_before_the_work(
    small: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "available_memory", lambda: 100 * 2**20)
    with pytest.raises(ResourceError, match="Only 100 MiB of memory") as refused:
        WeeklyPlaylists(week=WEEK).complete()
    assert refused.value.exit_code == 60


def test_a_setting_changed_after_the_plan_names_what_differs(small: Deployment) -> None:
    assert small.run()
    small.configure(als={"factors": 4}, playlists={"per_artist": 1})
    with pytest.raises(PlanError) as refused:
        WeeklyPlaylists(week=WEEK).complete()
    assert refused.value.exit_code == 50
    said = str(refused.value)
    assert "[als] factors was 8, is 4" in said
    assert "[playlists] per_artist was 2, is 1" in said
    assert "--revision 2" in said
    # Where things are is not what they are made from.
    small.configure(als={"factors": 8}, playlists={"per_artist": 2}, mlflow={"tracking_uri": "x"})
    assert WeeklyPlaylists(week=WEEK).complete()


@pytest.mark.parametrize("revision", [-1, 3])
def test_revisions_are_made_one_after_another(small: Deployment, revision: int) -> None:
    assert small.run()
    with pytest.raises(SettingsError, match="expected at most 2"):
        WeeklyPlaylists(week=WEEK, revision=revision).complete()


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2026-W47", "2026-W46", "--first 2026-W47 is later than --last 2026-W46"),
        ("2026-47", "2026-W47", "'2026-47' is not a week"),
    ],
)
def test_a_backfill_of_what_is_no_range(
    small: Deployment, first: str, last: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        BackfillPlaylists(first=first, last=last).complete()


# --- the week --------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the time of day that runs see."""

    def set_to(now: datetime) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return now.astimezone(tz)

        monkeypatch.setattr(_run, "datetime", Clock)

    return set_to


def test_by_default_the_newest_week_whose_books_are_closed(small: Deployment, clock: Any) -> None:
    clock(datetime(2026, 11, 15, 6, tzinfo=UTC))  # Sunday morning
    assert small.run("")
    with small.store() as store:
        current = store.current()
        assert current is not None
        assert current.edition == "2026-W47"
    # Decided anew at each run of a process that lives on, not when it began.
    clock(datetime(2026, 11, 22, 6, tzinfo=UTC))
    with pytest.raises(MissingDataError, match=r"ends on 2026-11-14.*--week 2026-W47"):
        WeeklyPlaylists().complete()
    assert small.last_run()["edition"] == "2026-W48"


def test_a_week_whose_books_are_open_is_refused(small: Deployment, clock: Any) -> None:
    clock(datetime(2026, 11, 14, 23, 59, tzinfo=UTC))
    with pytest.raises(MissingDataError) as refused:
        WeeklyPlaylists(week="2026-W47").complete()
    assert refused.value.exit_code == 20
    assert "2026-11-15 00:00 UTC" in str(refused.value)
    assert "The newest edition that can be made is 2026-W46" in str(refused.value)
    with pytest.raises(MissingDataError):
        BackfillPlaylists(first="2026-W46", last="2026-W47").complete()
