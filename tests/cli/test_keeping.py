"""Blocking, pinning, cleaning and erasing from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import BEFORE, NOW, Call
from tests.workflows.conftest import Deployment


def test_a_blocked_track_is_gone_at_once_in_every_edition(
    deployment: Deployment, recsys: Call
) -> None:
    shown = json.loads(recsys("show", "t0m00", "--json")[1])
    blocked = shown["tracks"][0]
    code, said, _ = recsys("block-track", blocked["track_id"])
    assert code == 0
    assert f"{blocked['track_id']}  {blocked['track_name']}" in said
    for edition in (BEFORE, NOW):
        after = json.loads(recsys("show", "t0m00", "--json", "--edition", edition)[1])
        assert blocked["track_id"] not in [track["track_id"] for track in after["tracks"]]
    copy = json.loads((deployment.home / "store_copy.json").read_text(encoding="utf-8"))
    assert list(copy["blocks"]) == [blocked["track_id"]]


def test_an_unknown_track_is_blocked_and_said_to_be_unknown(
    deployment: Deployment, recsys: Call
) -> None:
    code, said, _ = recsys("block-track", "no such \x1b[31m track")
    assert code == 0
    assert "No catalogue here knows a track with this id: check its spelling." in said
    assert "\x1b" not in said
    with deployment.store() as store:
        assert store.blocks() == {"no such \x1b[31m track"}


def test_pin_is_seen_in_the_list_of_editions(recsys: Call) -> None:
    code, said, _ = recsys("pin", BEFORE)
    assert (code, said) == (
        0,
        f"Edition {BEFORE} is kept for good, in the store and at home.\n",
    )
    assert "superseded, pinned" in recsys("editions")[1]


@pytest.mark.parametrize(("week", "code"), [("2026-W01", 30), ("2025-W53", 50)])
def test_pin_of_no_edition(recsys: Call, week: str, code: int) -> None:
    ended, _, error = recsys("pin", week)
    assert ended == code
    assert week in error


def test_status_warns_of_who_is_not_erased_in_time(
    deployment: Deployment, recsys: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys import erasure

    assert recsys("forget", "t0m00")[0] == 0
    assert "forgotten more than" not in recsys("status")[1]

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + timedelta(days=31)

    monkeypatch.setattr(erasure, "datetime", Later)
    code, said, _ = recsys("status")
    assert code >= 1
    assert "1 listeners were forgotten more than 30 days ago" in said
    assert "t0m00" not in said
    code, said, _ = recsys("clean")
    assert code == 0
    assert "t0m00" not in said
    assert "forgotten more than" not in recsys("status")[1]


def test_clean_waits_for_no_other_run(deployment: Deployment) -> None:
    holder = (
        "import sys; from pathlib import Path; from recsys import home;"
        "home.lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(deployment.home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=deployment.folder,
    ) as held:
        assert held.stdout is not None
        assert held.stdout.readline() == b"held\n"
        ended = deployment.recsys("clean")
        held.kill()
    assert ended.returncode == 10
    assert "one run per home at a time" in ended.stderr


def test_clean_removes_what_killed_runs_left(deployment: Deployment, recsys: Call) -> None:
    leftover = deployment.edition(NOW) / ".candidates.0123456789ab"
    leftover.mkdir()
    assert recsys("clean", "--dry-run")[0] == 0
    assert leftover.exists()
    code, said, _ = recsys("clean")
    assert (code, leftover.exists()) == (0, False)
    assert said.endswith("0 folders, 0 bytes, removed.\n")
