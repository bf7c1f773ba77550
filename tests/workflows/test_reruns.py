"""Editions beside and after one another: reruns, revisions, rollbacks, the forgotten, backfills."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import models
from recsys.cli import main
from recsys.errors import NoSuchUserError, PlanError, StoreError
from recsys.store._sqlite import SqliteStore
from recsys.weeks import Week
from tests.workflows.conftest import (
    BEFORE,
    LAST_DAYS,
    NEXT,
    NOW,
    Deployment,
    build,
    serves,
)
from workflows import BackfillPlaylists, WeeklyPlaylists

pytestmark = pytest.mark.usefixtures("whole_when_over")


def test_a_second_run_runs_nothing(served: Deployment) -> None:
    assert served.run(NOW)
    before = {path: path.stat().st_mtime_ns for path in served.home.rglob("*") if path.is_file()}
    assert served.run(NOW)
    after = {path: path.stat().st_mtime_ns for path in served.home.rglob("*") if path.is_file()}
    assert after == before


def test_states_that_are_there_are_gone_on_from_and_left_alone(served: Deployment) -> None:
    def states() -> dict[Path, int]:
        return {
            path: path.stat().st_mtime_ns
            for path in (served.home / "states").rglob("*")
            if path.is_file()
        }

    before = states()
    assert served.run(NOW)
    after = states()
    assert {path: after[path] for path in before} == before
    assert served.run(NOW, revision=2)
    assert states() == after


def test_a_revision_is_made_beside_the_first(served: Deployment) -> None:
    first = {path: path.read_bytes() for path in served.edition(BEFORE).rglob("*.parquet")}
    served.configure(playlists={"length": 20})
    assert served.run(BEFORE, revision=2)
    assert {path: path.read_bytes() for path in first} == first
    with served.store() as store:
        assert len(store.playlist("t0m00").tracks) == 20
        assert [(one.edition, one.revision) for one in store.editions()] == [
            (BEFORE, 2),
            (BEFORE, 1),
        ]
    # Without a revision the newest is meant: it is done. The first one has other settings.
    assert WeeklyPlaylists(week=BEFORE).complete()
    with pytest.raises(PlanError, match=r"\[playlists\] length was 30, is 20"):
        WeeklyPlaylists(week=BEFORE, revision=1).complete()


def test_a_rollback_outlives_a_scheduled_rerun_and_makes_no_parent(served: Deployment) -> None:
    assert served.run(NOW)
    with served.store() as store:
        store.rollback()
    assert served.run(NOW)
    assert serves(served) == BEFORE
    assert served.run(NEXT)
    assert serves(served) == NEXT
    plan = json.loads((served.edition(NEXT) / "plan" / "plan.json").read_text(encoding="utf-8"))
    assert plan["parent"]["edition"] == BEFORE
    # Listeners had seen it, so its tracks rest all the same.
    assert [one["edition"] for one in plan["cooling"]] == [BEFORE, NOW]


def test_a_rolled_back_edition_of_a_lost_store_stays_rolled_back(served: Deployment) -> None:
    assert served.run(NOW)
    assert main(["rollback"]) == 0
    shutil.rmtree(served.home / "store")
    assert served.run(NOW)
    assert serves(served) == BEFORE
    with served.store() as store:
        rolled_back = store.state(served.digest())
    assert rolled_back is not None
    assert not rolled_back.readable


def test_playlists_that_were_removed_are_made_again(served: Deployment) -> None:
    assert served.run(NOW)
    before = served.digest()
    shutil.rmtree(served.edition(NOW) / "playlists")
    assert served.run(NOW)
    assert served.digest() == before
    assert main(["verify"]) == 0


def test_who_is_forgotten_is_in_nothing_that_is_made_after(served: Deployment) -> None:
    assert main(["forget", "t0m03"]) == 0
    with served.store() as store, pytest.raises(NoSuchUserError):
        store.playlist("t0m03")
    assert served.run(NOW)
    edition = served.edition(NOW)
    for name in ("matrix/users.parquet", "matrix/eligible.parquet", "playlists/playlists.parquet"):
        assert "t0m03" not in pq.read_table(edition / name)["user_id"].to_pylist()
        assert "t0m04" in pq.read_table(edition / name)["user_id"].to_pylist()
    assert "t0m03" not in models.load(edition / "als_model").user_ids.to_pylist()
    assert not any(
        b"t0m03" in path.read_bytes()
        for path in edition.rglob("*")
        if path.is_file() and path.name != "plan.json"
    )


def test_who_is_forgotten_while_the_edition_is_made_is_hidden_in_it(served: Deployment) -> None:
    def down(*arguments: Any, **named: Any) -> None:
        raise StoreError("The store is down.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteStore, "stage", down)
        assert not served.run(NOW)
    assert main(["forget", "t0m03"]) == 0
    assert served.run(NOW)
    with served.store() as store:
        with pytest.raises(NoSuchUserError):
            store.playlist("t0m03")
        assert (
            "t0m03" not in pa.Table.from_batches(store.rows(served.digest()))["user_id"].to_pylist()
        )
    assert main(["verify"]) == 0


def backfill(first: str, last: str) -> bool:
    return build(BackfillPlaylists(first=first, last=last))


def test_a_backfill_makes_the_weeks_in_order(served: Deployment) -> None:
    shutil.rmtree(served.home)
    assert backfill(BEFORE, NEXT)
    assert serves(served) == NEXT
    with served.store() as store:
        assert [one.edition for one in store.ledger() if one.action == "activated"] == [
            BEFORE,
            NOW,
            NEXT,
        ]
    for week, parent in ((NOW, BEFORE), (NEXT, NOW)):
        path = served.edition(week) / "plan" / "plan.json"
        assert json.loads(path.read_text(encoding="utf-8"))["parent"]["edition"] == parent


def test_a_backfill_stops_at_the_first_failure(served: Deployment) -> None:
    gap = LAST_DAYS[NOW] - timedelta(days=2)
    served.remove_day(gap)
    assert not backfill(BEFORE, NEXT)
    assert serves(served) == BEFORE
    assert not served.edition(NEXT).exists()
    last = served.last_run()
    assert (last["edition"], last["error"]) == (NOW, "MissingDataError")
    assert str(gap) in last["why"]


def test_a_backfill_of_older_weeks_leaves_the_newest_served(served: Deployment) -> None:
    shutil.rmtree(served.home)
    assert served.run(NEXT)
    with pytest.raises(PlanError, match=f"{NEXT} is planned already.*BackfillPlaylists"):
        WeeklyPlaylists(week=NOW).complete()
    assert backfill(BEFORE, NOW)
    assert serves(served) == NEXT
    with served.store() as store:
        for week in (BEFORE, NOW):
            assert store.playlist("t0m00", edition=week).edition == week
            assert store.playlist("t0m00", on=Week.parse(week).sunday).edition == week
