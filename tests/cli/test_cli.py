"""The command line `recsys`, as operators, services and monitors use it."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys import artefact
from recsys.artefact import Artefact
from recsys.cli import _commands, main
from recsys.home import record_run
from recsys.verdict import DOUBT, Check, Verdict
from tests.store.deployment import change_stored, stored_values
from tests.workflows.conftest import Deployment, listen, tribe_log

BEFORE, NOW = "2026-W46", "2026-W47"
MONDAY = date(2026, 11, 16)

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a deployment that published two weeks."""
    made = Deployment(tmp_path_factory.mktemp("published"))
    made.configure(
        recsys={"home": made.home, "seed": 1},
        listens={"source": "log", "format": "jsonl"},
        als={"factors": 4, "iterations": 2},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
    )
    tribe_log(made, days=9, members=4)
    # Heard five weeks ago and not since, in a log that began then.
    made.write_day(date(2026, 10, 9), [listen("sleeper", "track 0001", date(2026, 10, 9))])
    made.configure(listens={"missing_day": "continue"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setenv("LUIGI_CONFIG_PATH", str(made.config))
        assert made.run(BEFORE)
        assert made.run(NOW)
    return made.folder


@pytest.fixture
def deployment(tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment of one's own that published two weeks."""
    made = Deployment(tmp_path)
    shutil.copytree(published / "home", made.home)
    made.configure(
        recsys={"home": made.home, "seed": 1},
        listens={"source": "log", "format": "jsonl", "missing_day": "continue"},
        als={"factors": 4, "iterations": 2},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
    )
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(made.config))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def recsys(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command: its exit code, what it printed, what it printed to standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        return code, *capsys.readouterr()

    return call


# --- show, editions, summary -----------------------------------------------------------------


def test_show_prints_every_track_with_its_reason(deployment: Deployment, recsys: Call) -> None:
    code, said, _ = recsys("show", "t0m00")
    assert code == 0
    with deployment.store() as store:
        playlist = store.playlist("t0m00")
    assert f"Playlist {NOW} for t0m00" in said
    assert "2026-11-16 to 2026-11-22" in said
    for track in playlist.tracks:
        assert f"Song {track.track_id}" in said
    assert any(f"Song {track.because_track_id} – Artist" in said for track in playlist.tracks)


def test_show_as_json_is_the_contract_row(recsys: Call) -> None:
    code, said, _ = recsys("show", "t1m02", "--edition", BEFORE, "--json")
    assert code == 0
    row = json.loads(said)
    assert (row["edition"], row["user_id"]) == (BEFORE, "t1m02")
    assert set(row) == {
        *("edition", "user_id", "kind", "tracks", "relaxed", "valid_from", "valid_until"),
    }
    assert [track["position"] for track in row["tracks"]] == list(range(1, 31))
    assert set(row["tracks"][0]) == {
        *("position", "track_id", "track_name", "artist_names"),
        *("score", "source", "because_track_id"),
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), "The log knows no such listener"),
        (("sleeper",), "last listened on 2026-10-09; eligible are those with a listen in the 28"),
        (("t0m00", "--edition", "2026-W30"), f"has no edition 2026-W30 .* it has {BEFORE}, {NOW}"),
        (("",), "no playlist for this listener"),
    ],
)
def test_show_says_why_there_is_none(recsys: Call, arguments: tuple[str, ...], said: str) -> None:
    code, out, error = recsys("show", *arguments)
    assert (code, out) == (30, "")
    assert re.search(said, error), error


def test_names_from_the_log_cannot_steer_the_terminal(deployment: Deployment, recsys: Call) -> None:
    shard = next((deployment.home / "store" / "editions").glob(f"{NOW}*")) / "edition.db"
    with closing(sqlite3.connect(shard)) as database, database:
        database.execute(
            "UPDATE track SET names = json_set(names, '$[1]', "
            "char(27, 155, 8238) || '[2J[red]' || json_extract(names, '$[1]'))"
        )
    code, said, _ = recsys("show", "t0m00")
    assert code == 0
    assert not re.search("[\x1b\x9b\u202e]", said)
    assert "[2J[red]Song" in said
    code, said, _ = recsys("show", "t0m00", "--json")
    assert code == 0
    assert said.isascii()
    assert set(said) - set("\n") == {mark for mark in said if mark.isprintable()}
    assert json.loads(said)["tracks"][0]["track_name"].startswith("\x1b\x9b\u202e[2J[red]Song")


def test_editions_lists_what_became_of_each(recsys: Call) -> None:
    code, said, _ = recsys("editions")
    assert code == 0
    newest, older = (line for line in said.splitlines() if line.startswith("2026-"))
    assert newest.startswith(NOW)
    assert "activated, served" in newest
    assert older.startswith(BEFORE)
    assert "superseded" in older


def test_summary_sums_an_edition_up(recsys: Call) -> None:
    code, said, _ = recsys("summary")
    assert code == 0
    assert f"{NOW} revision 1" in said
    assert "of 12 eligible listeners" in said
    assert "2026-10-09 to 2026-11-14" in said
    assert f"Playlist {NOW} for" in said
    assert f"{BEFORE} revision 1" in recsys("summary", "--edition", BEFORE)[1]
    code, _, error = recsys("summary", "--edition", "2026-W53")
    assert code == 30
    assert "No edition is recorded" in error


# --- status ----------------------------------------------------------------------------------


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> Callable[[date], None]:
    def set_to(day: date) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)

        monkeypatch.setattr(_commands, "datetime", Clock)

    return set_to


def ended(deployment: Deployment, **facts: Any) -> None:
    record_run(deployment.home, command="WeeklyPlaylists", edition=NOW, revision=1, **facts)


@pytest.mark.parametrize("days", [-1, 0, 6])
def test_status_is_0_while_the_week_is_served(
    deployment: Deployment, recsys: Call, today: Callable[[date], None], days: int
) -> None:
    ended(deployment, outcome="succeeded", verdict="passed", exit_code=0)
    today(MONDAY + timedelta(days=days))
    code, said, _ = recsys("status")
    assert code == 0
    assert said.startswith(f"OK: edition {NOW} revision 1 is served to 12 listeners")
    assert "succeeded" in said


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"outcome": "failed", "exit_code": 20, "why": "No 2026-11-14."}, "No 2026-11-14."),
        ({"outcome": "succeeded", "verdict": "unproven"}, "Its model is unproven"),
        ({"outcome": "running", "process": 2**22 + 1}, "was killed before it ended"),
    ],
)
def test_status_is_1_where_someone_should_look(
    deployment: Deployment,
    recsys: Call,
    today: Callable[[date], None],
    facts: dict[str, Any],
    said: str,
) -> None:
    ended(deployment, **facts)
    today(MONDAY)
    code, out, _ = recsys("status")
    assert code == 1
    assert out.startswith("WARNING: ")
    assert said in out


@pytest.mark.parametrize(
    ("doubt", "said"),
    [
        (None, "Too few listeners to tell it from the charts. enough_listeners: found 12, "),
        (
            Check("parent_over_popularity", False, "+0.0010 (-0.0020 to +0.0040)", "0", (), DOUBT),
            "It is not shown to be better than the charts. parent_over_popularity: found +0.0010",
        ),
        (
            Check("not_popularity", False, 0.976, "at most 0.9 of popularity's lists", (), DOUBT),
            "not_popularity: found 0.976, wanted at most 0.9 of popularity's lists",
        ),
    ],
)
def test_status_says_what_a_model_is_in_doubt_for(
    deployment: Deployment,
    recsys: Call,
    today: Callable[[date], None],
    doubt: Check | None,
    said: str,
) -> None:
    ended(deployment, outcome="succeeded", verdict="unproven")
    today(MONDAY)
    if doubt is not None:
        choice = Artefact.open(deployment.edition(NOW) / "model_choice")
        with artefact.rewrite(choice) as draft:
            artefact.write_json(draft.path / "verdict.json", Verdict.of([doubt]).to_dict())
    out = recsys("status")[1]
    assert said in out
    assert ("Too few listeners" in out) == (doubt is None)


def test_status_is_2_when_a_newer_edition_is_due(
    recsys: Call, today: Callable[[date], None]
) -> None:
    today(MONDAY + timedelta(days=7))
    code, said, _ = recsys("status")
    assert code == 2
    assert said.startswith("CRITICAL: ")
    assert "Its week ended on 2026-11-22: a newer edition is due." in said


def test_status_is_2_when_nothing_is_served(deployment: Deployment, recsys: Call) -> None:
    shutil.rmtree(deployment.home)
    code, said, _ = recsys("status")
    assert code == 2
    assert said.startswith("CRITICAL: no edition is served")
    assert "No run has left word here." in said
    assert not deployment.home.exists(), "looking makes nothing"


def test_status_is_2_when_the_rows_are_lost(
    deployment: Deployment, recsys: Call, today: Callable[[date], None]
) -> None:
    today(MONDAY)
    shutil.rmtree(next((deployment.home / "store" / "editions").glob(f"{NOW}*")))
    code, said, _ = recsys("status")
    assert code == 2
    assert "Its rows are missing from the store: run the week again." in said


@pytest.mark.parametrize(
    "damage",
    [
        lambda deployment: deployment.configure(als={"factors": "many"}),
        lambda deployment: deployment.config.unlink(),
        lambda deployment: (deployment.home / "store" / "ledger.db").write_bytes(b"x" * 5000),
        lambda deployment: (deployment.home / "last_run.json").write_text("{", encoding="utf-8"),
    ],
)
def test_status_is_3_when_it_cannot_be_told(
    deployment: Deployment, recsys: Call, damage: Callable[[Deployment], Any]
) -> None:
    damage(deployment)
    code, _, error = recsys("status")
    assert code == 3
    assert error.startswith("recsys: ")


# --- verify ----------------------------------------------------------------------------------


@pytest.mark.parametrize("edition", [None, BEFORE])
def test_verify_holds_the_store_against_the_files(recsys: Call, edition: str | None) -> None:
    code, said, _ = recsys("verify", *(("--edition", edition) if edition else ()))
    assert code == 0
    assert f"Edition {edition or NOW} revision 1" in said
    assert "12 stored, 12 expected, 0 left out when staged, 0 different" in said
    assert "checks passed" in said


def served_shard(deployment: Deployment) -> Path:
    return next((deployment.home / "store" / "editions").glob(f"{NOW}*")) / "shard-0.db"


def test_verify_finds_a_playlist_under_another_user(deployment: Deployment, recsys: Call) -> None:
    shard = served_shard(deployment)
    change_stored(shard, {"t0m00": stored_values(shard)["t1m00"]})
    code, said, error = recsys("verify")
    assert code == 30
    assert "12 stored, 12 expected" in said
    assert "1 different" in said
    assert "recsys rollback" in error


def test_verify_finds_a_missing_row(deployment: Deployment, recsys: Call) -> None:
    change_stored(served_shard(deployment), {"t2m01": None})
    code, said, _ = recsys("verify")
    assert code == 30
    assert "11 stored, 12 expected" in said


def test_verify_finds_a_changed_file(deployment: Deployment, recsys: Call) -> None:
    path = deployment.edition(NOW) / "playlists" / "playlists.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, _, error = recsys("verify")
    assert code == 30
    assert f"{path} differs from its manifest" in error


def test_verify_of_scores_that_the_model_does_not_give(
    deployment: Deployment, recsys: Call
) -> None:
    model = Artefact.open(deployment.edition(NOW) / "als_model")
    users = np.load(model.file("user_factors.npy"))
    with artefact.rewrite(model) as draft:
        np.save(draft.path / "user_factors.npy", users[::-1])
    code, said, _ = recsys("verify")
    assert code == 30
    assert "scores_given" in said


def test_verify_of_someone_forgotten_since(recsys: Call) -> None:
    assert recsys("forget", "t0m01")[0] == 0
    code, said, _ = recsys("verify")
    assert code == 0
    assert "11 stored, 11 expected" in said


# --- stepping in -----------------------------------------------------------------------------


def test_rollback_serves_what_was_served_before(deployment: Deployment, recsys: Call) -> None:
    code, said, _ = recsys("rollback")
    assert (code, said) == (0, f"Edition {BEFORE} revision 1 is served again.\n")
    assert json.loads(recsys("show", "t0m00", "--json")[1])["edition"] == BEFORE
    copy = json.loads((deployment.home / "store_copy.json").read_text(encoding="utf-8"))
    assert copy["ledger"][-1]["edition"] == BEFORE
    code, _, error = recsys("rollback")
    assert code == 30
    assert f"No edition was served before {BEFORE}" in error


def test_forget_hides_at_once_and_names_nobody(deployment: Deployment, recsys: Call) -> None:
    code, said, error = recsys("forget", "t0m00")
    assert code == 0
    assert "t0m00" not in said + error
    for edition in (BEFORE, NOW):
        assert recsys("show", "t0m00", "--edition", edition)[0] == 30
    assert recsys("show", "t0m01")[0] == 0
    copy = json.loads((deployment.home / "store_copy.json").read_text(encoding="utf-8"))
    assert list(copy["tombstones"]) == ["t0m00"]


@pytest.mark.parametrize("command", ["forget", "rollback"])
def test_a_lost_store_remembers_before_it_is_changed(
    deployment: Deployment, recsys: Call, command: str
) -> None:
    assert recsys("forget", "t0m00")[0] == 0
    shutil.rmtree(deployment.home / "store")
    recsys(*(("forget", "t0m01") if command == "forget" else ("rollback",)))
    copy = json.loads((deployment.home / "store_copy.json").read_text(encoding="utf-8"))
    assert "t0m00" in copy["tombstones"]
    assert len(copy["editions"]) == 2
    with deployment.store() as store:
        assert "t0m00" in store.tombstones()


# --- the command line itself -----------------------------------------------------------------


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    commands = ("show", "editions", "status", "summary", "verify", "rollback", "forget")
    for command in (*commands, "block-track", "pin", "clean"):
        assert re.search(rf"^    {command}\s", said, flags=re.MULTILINE)
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert len(capsys.readouterr().out.splitlines()) > 4
    assert "WeeklyPlaylists --local-scheduler" in said
    assert "LUIGI_CONFIG_PATH" in said


def test_bad_settings_end_with_50(deployment: Deployment, recsys: Call) -> None:
    deployment.configure(als={"factors": "many"})
    for command in (("show", "t0m00"), ("editions",), ("verify",), ("rollback",), ("forget", "x")):
        code, _, error = recsys(*command)
        assert code == 50
        assert "[als] factors = 'many'" in error


@pytest.mark.parametrize("command", ["summary", "verify"])
def test_what_is_no_week_ends_with_50(recsys: Call, command: str) -> None:
    code, _, error = recsys(command, "--edition", "2025-W53")
    assert code == 50
    assert "'2025-W53' is not a week" in error


@pytest.mark.parametrize("command", [("editions",), ("show", "ann"), ("verify",), ("rollback",)])
def test_before_the_first_edition_it_says_what_to_do(
    deployment: Deployment, recsys: Call, command: tuple[str, ...]
) -> None:
    shutil.rmtree(deployment.home)
    deployment.home.mkdir()
    code, _, error = recsys(*command)
    assert code == 30
    assert "no edition" in error


def test_as_a_process_it_ends_with_the_same_codes(deployment: Deployment) -> None:
    assert deployment.recsys("show", "t0m00", "--json").returncode == 0
    ended = deployment.recsys("show", "nobody")
    assert ended.returncode == 30
    assert ended.stderr.startswith("recsys: ")
    assert "Traceback" not in ended.stderr


def test_reading_needs_none_of_the_heavy_packages(deployment: Deployment) -> None:
    """`show` and `status` are asked often; they start in a fraction of a second."""
    code = (
        "import sys; from recsys.cli import main; main(['status']);"
        "print(sorted({'numpy', 'duckdb', 'implicit', 'scipy', 'mlflow'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=deployment.environment(),
        cwd=deployment.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.splitlines()[-1] == "[]"
