"""A Spotify export lies in a folder called by its listener; forgetting removes that, too."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recsys.cli import main
from tests.workflows.conftest import LAST_DAY, Deployment, at

ANN = "ann.smith.1979"
#: Where the ids of the forgotten stay, to keep them out.
KEPT = {"erased.json", "store_copy.json"}


def export(deployment: Deployment, listener: str) -> None:
    draw = random.Random(listener)
    rows = [
        {
            "ts": at(LAST_DAY - timedelta(days=day), 1000 + 300 * n),
            "ms_played": 200_000,
            "spotify_track_uri": f"spotify:track:{(song := draw.randrange(90))}",
            "master_metadata_track_name": f"Song {song}",
            "master_metadata_album_artist_name": f"Artist {song // 2}",
            "reason_end": "trackdone",
            "ip_addr": "203.0.113.7",
        }
        for day in range(20)
        for n in range(4)
    ]
    rows += [{"ts": "soon", "spotify_track_uri": "spotify:track:1"}, {"ts": rows[0]["ts"]}]
    folder = deployment.log / listener / "Spotify Extended Streaming History"
    folder.mkdir(parents=True)
    (folder / "Streaming_History_Audio_2026_0.json").write_text(json.dumps(rows))


def naming(home: Path, listener: str) -> set[str]:
    """The files under home that name a listener, in their path, their bytes or their rows."""
    found = set()
    for path in (path for path in home.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += repr(pq.read_table(path, partitioning=None).to_pylist()).encode()
        if listener.encode() in str(path.relative_to(home)).encode() + content:
            found.add(path.name)
    return found


def test_a_listener_who_was_forgotten_is_nowhere(
    deployment: Deployment, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    deployment.configure(listens={"format": "spotify"})
    for listener in (ANN, "bob", "cleo", "dan"):
        export(deployment, listener)
    assert deployment.run()
    manifests = naming(deployment.home, ANN)
    assert "manifest.json" not in manifests
    assert "quarantine.parquet" not in manifests
    assert {"listens.parquet", "taste.parquet"} <= manifests
    with deployment.store() as store:
        store.forget(ANN)
    assert main(["clean"]) == 0
    left = naming(deployment.home, ANN)
    assert {name for name in left if not name.startswith("ledger")} <= KEPT
    assert ANN not in caplog.text + "".join(capfd.readouterr())
