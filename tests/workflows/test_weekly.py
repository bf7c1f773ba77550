from __future__ import annotations

from tests.workflows.conftest import WEEK, Deployment


def test_a_week_runs_from_the_log_to_the_store(tribes: Deployment) -> None:
    assert tribes.run()
    with tribes.store() as store:
        playlist = store.playlist("t0m00")
        assert (playlist.edition, len(playlist.tracks)) == (WEEK, 30)
        assert all(track.track_id.startswith("track 0") for track in playlist.tracks)
