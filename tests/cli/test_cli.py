"""The command line `recsys`, as operators, services and monitors use it."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from recsys import artefact
from recsys.artefact import Artefact
from recsys.cli import main
from tests.cli.conftest import BEFORE, NOW, Call
from tests.store.deployment import change_stored, stored_values
from tests.workflows.conftest import Deployment

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
        for first, lines in database.execute("SELECT first_code, names FROM track").fetchall():
            tracks = [json.loads(line) for line in lines.split("\n")]
            steering = [
                json.dumps([track, f"\x1b\x9b\u202e[2J[red]{name}", artists])
                for track, name, artists in tracks
            ]
            changed = ("\n".join(steering), first)
            database.execute("UPDATE track SET names = ? WHERE first_code = ?", changed)
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
