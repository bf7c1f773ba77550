"""Two weeks: the second looks back at the first, and every edition has its page."""

from __future__ import annotations

import json
import sqlite3
from datetime import date, timedelta
from typing import Any

from recsys.errors import BadLogError
from tests.workflows.conftest import LAST_DAY, WEEK, Deployment, listen

BEFORE = "2026-W46"
MONDAY = date(2026, 11, 9)


def hindsight(deployment: Deployment) -> dict[str, Any]:
    text = (deployment.edition() / "hindsight" / "hindsight.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_week_after_counts_what_was_kept(tribes: Deployment) -> None:
    tribes.configure(evaluation={"baselines": "popularity"})
    assert tribes.run(BEFORE)
    (playlist,) = (row for row in tribes.playlists(BEFORE) if row["user_id"] == "t0m00")
    first, second = (track["track_id"] for track in playlist["tracks"][:2])
    # In the week of that edition the listener plays nothing but its first two tracks.
    for n in range(7):
        path = tribes.log / f"date={MONDAY + timedelta(days=n - 1)}" / "listens.jsonl"
        rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(row for row in rows if "t0m00" not in row), encoding="utf-8")
    tribes.write_day(
        MONDAY,
        [
            listen("t0m00", first, MONDAY, 60),
            listen("t0m00", second, MONDAY, 400, ms_played=5_000, skipped=True),
        ],
        "planted",
    )
    # What the log does not say: that the playlist was there in its week.
    ledger = sqlite3.connect(tribes.home / "store" / "ledger.db")
    with ledger:
        ledger.execute("UPDATE edition SET activated_at = '2026-11-08T01:00:00+00:00'")
    ledger.close()
    shown = tribes.folder / "shown.jsonl"
    row = {"user": "t0m00", "edition": BEFORE, "track": first, "shown_at": "2026-11-09T00:00:50Z"}
    shown.write_text(json.dumps(row) + "\n")
    tribes.configure(exposures={"source": shown})
    assert tribes.run(WEEK)

    (one,) = hindsight(tribes)["editions"]
    assert (one["edition"], one["in_time"], one["days"]) == (BEFORE, True, 6)
    opened = one["audiences"]["opened"]
    assert (opened["listeners"], opened["total"]["tracks"]) == (1, len(playlist["tracks"]))
    assert (opened["total"]["kept"], opened["total"]["skipped"]) == (1, 1)
    assert [row["kept"] for row in opened["by_position"][:3]] == [1, 0, 0]
    page = (tribes.edition() / "report.html").read_text(encoding="utf-8")
    assert "2026-W46</span> opened" in page
    assert "PUBLISHED" in page
    summary = tribes.recsys("summary")
    assert "report.html" in summary.stdout


def test_a_bad_exposure_log_ends_the_run_before_any_work(tribes: Deployment) -> None:
    bad = tribes.folder / "shown.jsonl"
    bad.write_text('{"user": "ann"}\n')
    tribes.configure(exposures={"source": bad})
    ended = tribes.weekly("--week", WEEK)
    assert ended.returncode == BadLogError.exit_code
    assert "shown.jsonl has no column edition" in ended.stderr
    assert not tribes.edition().exists()


def test_a_refused_edition_has_a_page(tribes: Deployment) -> None:
    # Nobody is left who could get a playlist: they have heard every song there is.
    tribes.configure(edition={"active_days": 1}, evaluation={"baselines": "popularity"})
    for tribe in range(3):
        tribes.write_day(
            LAST_DAY,
            [
                listen(f"t{n}m{m:02d}", f"track {tribe * 1000 + song:04d}", LAST_DAY, song)
                for n in range(3)
                for m in range(14)
                for song in range(80)
            ],
            f"everything {tribe}",
        )
    assert not tribes.run()
    refused = next((tribes.edition() / "refused").glob("*.json")).stem
    page = (tribes.edition() / "report.html").read_text(encoding="utf-8")
    assert "REFUSED</strong> by <code>" + refused in page
