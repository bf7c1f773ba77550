"""Whole weeks with the store on a server: what is promised of the embedded one holds there, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from recsys.cli import main
from recsys.errors import NoSuchUserError
from recsys.simulate import World, simulate
from tests.store.deployment import started
from tests.store.making import stored_rows
from tests.workflows.conftest import Deployment, tribe_log

WEEKS = ("2026-W44", "2026-W45", "2026-W46", "2026-W47")


@dataclass
class Served:
    """A deployment, and the server's part of it."""

    home: Deployment
    server: Any


@pytest.fixture(params=["postgresql", "redis"])
def served(
    request: pytest.FixtureRequest, deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with started(request.param, tmp_path_factory.mktemp("server")) as server:
        deployment.configure(
            als={"factors": 8, "iterations": 3},
            playlists={"cooldown_editions": 1, "length": 10},
            store={"url": server.url.replace("%", "%%"), "keep_weeks": 2},
        )
        yield Served(deployment, server)


def keep_promises(served: Served, weeks: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Publish weeks; before the last forget a listener and block a track; then lose the store."""
    home, last = served.home, weeks[-1]
    for week in weeks[:-1]:
        assert home.run(week, backfill=True)
    with home.store() as store:
        before = store.current()
        assert before is not None
        rows = stored_rows(store, before.digest)
        gone, stays = rows[0]["user_id"], rows[1]["user_id"]
        blocked = store.playlist(stays).tracks[0].track_id
        store.forget(gone)
    assert main(["block-track", blocked]) == 0
    assert home.run(last)

    def check() -> None:
        with home.store() as store:
            assert store.playlist(stays).edition == last
            with pytest.raises(NoSuchUserError):
                store.playlist(gone)
            for edition in store.editions():
                assert edition.present != edition.pruned
                if edition.present:
                    stored = stored_rows(store, edition.digest)
                    assert stays in {row["user_id"] for row in stored}
                    assert gone not in {row["user_id"] for row in stored}
                    shown = store.playlist(stays, edition=edition.edition)
                    assert blocked not in [track.track_id for track in shown.tracks]
            current = store.current()
            assert current is not None
            listed = [t for row in stored_rows(store, current.digest) for t in row["tracks"]]
            assert blocked not in {track["track_id"] for track in listed}
            pruned = {one.edition for one in store.editions() if one.pruned}
            assert pruned == set(weeks[:-2])

    check()
    assert main(["verify"]) == 0
    assert main(["clean"]) == 0
    capsys.readouterr()
    assert main(["clean", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("0 folders")
    check()

    served.server.wipe()
    assert main(["verify"]) != 0
    assert home.run(last)
    with home.store() as store:
        assert store.playlist(stays).edition == last
        assert store.blocks() == {blocked}
        with pytest.raises(NoSuchUserError):
            store.playlist(gone)


def test_two_weeks_keep_their_promises(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    tribe_log(served.home, members=6, songs=60, days=20)
    keep_promises(served, WEEKS[-2:], capsys)


@pytest.mark.soak
def test_a_month_keeps_its_promises(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(listeners=250, artists=60, tracks=900, days=42)
    simulate(world).write(served.home.folder / "world")
    served.home.configure(listens={"source": served.home.folder / "world" / "log"})
    keep_promises(served, WEEKS, capsys)
