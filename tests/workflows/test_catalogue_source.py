"""A week made with the service's own catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsys.artefact import Artefact
from tests.workflows.conftest import WEEK, Deployment

TRACKS = [f"track {tribe * 1000 + song:04d}" for tribe in range(3) for song in range(80)]


def offer(folder: Path, **changes: dict[str, Any] | None) -> None:
    """Write a catalogue that offers every track, but for the changes; None leaves one out."""
    folder.mkdir(exist_ok=True)
    rows = [{"track_id": track, "available": True} | (changes.get(track) or {}) for track in TRACKS]
    left_out = {track for track, change in changes.items() if change is None}
    lines = [json.dumps(row) + "\n" for row in rows if row["track_id"] not in left_out]
    (folder / "tracks.jsonl").write_text("".join(lines), encoding="utf-8")


def listed(deployment: Deployment, revision: int = 1) -> set[str]:
    rows = deployment.playlists(revision=revision)
    return {track["track_id"] for row in rows for track in (*row["tracks"], *row["spares"])}


def test_only_what_the_service_offers_is_recommended_and_the_rest_is_counted(
    tribes: Deployment,
) -> None:
    gone, missing, explicit = TRACKS[0:20], TRACKS[20:30], TRACKS[30:40]
    offer(
        tribes.folder / "catalogue",
        **{track: {"available": False} for track in gone},
        **dict.fromkeys(missing),
        **{track: {"explicit": True} for track in explicit},
    )
    tribes.configure(catalogue={"source": tribes.folder / "catalogue", "explicit": "bar"})
    assert tribes.run()
    assert not listed(tribes) & {*gone, *missing, *explicit}
    assert listed(tribes) & set(TRACKS[40:80])
    rows = Artefact.open(tribes.edition() / "catalogue").manifest["rows"]
    assert (rows["unavailable"], rows["missing"], rows["barred"]) == (20, 10, 10)


def test_a_catalogue_that_changed_after_the_plan_is_a_new_revision(tribes: Deployment) -> None:
    offer(tribes.folder / "catalogue")
    tribes.configure(catalogue={"source": tribes.folder / "catalogue"})
    assert tribes.run()
    assert TRACKS[0] in listed(tribes)
    offer(tribes.folder / "catalogue", **{TRACKS[0]: {"available": False}})
    assert tribes.run()  # it is published: nothing is made again
    assert tribes.run(revision=2)
    assert TRACKS[0] not in listed(tribes, revision=2)
    assert TRACKS[0] in listed(tribes, revision=1)


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (None, 20, "[catalogue] source"),
        (b'{"track_id": "t", "available": "maybe"}\n', 30, "tracks.jsonl"),
    ],
)
def test_a_catalogue_that_is_missing_or_damaged_stops_the_run(
    tribes: Deployment, content: bytes | None, code: int, said: str
) -> None:
    folder = tribes.folder / "catalogue"
    if content is not None:
        folder.mkdir()
        (folder / "tracks.jsonl").write_bytes(content)
    tribes.configure(catalogue={"source": folder})
    tribes.configure(worker={"keep_alive": "false"})
    ended = tribes.weekly("--week", WEEK)
    assert ended.returncode == code
    assert said in tribes.last_run()["why"] if content else said in ended.stderr
    with tribes.store() as store:
        assert store.current() is None
