from __future__ import annotations

import json

from recsys.artefact import Artefact
from recsys.home import Home
from recsys.weeks import Week
from tests.workflows.conftest import BEFORE, NOW, WEEK, Deployment


def test_a_week_runs_from_the_log_to_the_store(tribes: Deployment) -> None:
    assert tribes.run()
    with tribes.store() as store:
        playlist = store.playlist("t0m00")
        assert (playlist.edition, len(playlist.tracks)) == (WEEK, 30)
        assert all(track.track_id.startswith("track 0") for track in playlist.tracks)


def test_the_record_counts_the_states_that_were_made_for_the_week(served: Deployment) -> None:
    assert served.run(NOW)
    home = Home.of(served.load())

    def made(*weeks: str) -> float:
        return round(sum(Artefact.open(home.taste(Week.parse(one))).seconds for one in weeks), 3)

    def recorded(week: str) -> float:
        record = served.edition(week) / "record" / "record.json"
        return float(json.loads(record.read_text("utf-8"))["seconds"]["taste"])

    assert recorded(BEFORE) == made("2026-W45", BEFORE)
    assert recorded(NOW) == made(NOW)
