"""When things break: last week's edition stays, the reason is told, the same command goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import luigi
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import artefact, models
from recsys.cli import main
from recsys.errors import BadLogError, MissingDataError, NoSuchUserError, PlanError, StoreError
from recsys.store._sqlite import SqliteStore
from recsys.weeks import Week
from tests.workflows.conftest import (
    BEFORE,
    LAST_DAYS,
    NEXT,
    NOW,
    Deployment,
    build,
    listen,
    serves,
    tribe_log,
)
from workflows import BackfillPlaylists, WeeklyPlaylists


def digest(deployment: Deployment, week: str = NOW) -> str:
    with deployment.store() as store:
        return next(one.digest for one in store.editions() if one.edition == week)


# --- the log ---------------------------------------------------------------------------------


def remove_day(deployment: Deployment, day: date) -> None:
    shutil.rmtree(deployment.log / f"date={day}")


def test_a_missing_day_stops_the_run_or_is_said(served: Deployment) -> None:
    gap = LAST_DAYS[NOW] - timedelta(days=2)
    remove_day(served, gap)
    with pytest.raises(MissingDataError, match=f"no partition for {gap}") as refused:
        WeeklyPlaylists(week=NOW).complete()
    assert refused.value.exit_code == 20
    assert "missing_day = continue" in str(refused.value)
    assert served.last_run()["exit_code"] == 20
    assert str(gap) in served.last_run()["why"]
    assert serves(served) == BEFORE

    served.configure(listens={"missing_day": "continue"})
    assert served.run(NOW)
    assert record(served)["log"]["missing"] == [str(gap)]
    # The week after does not stumble over the gap that was accepted.
    served.configure(listens={"missing_day": "stop"})
    assert served.run(NEXT)


def record(deployment: Deployment, week: str = NOW, revision: int = 1) -> dict[str, Any]:
    path = deployment.edition(week, revision) / "record" / "record.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_an_empty_day_stops_the_run_or_is_said(served: Deployment) -> None:
    day = LAST_DAYS[NOW]
    served.write_day(day, [])
    assert not served.run(NOW)
    last = served.last_run()
    assert (last["error"], last["stage"]) == ("MissingDataError", "plan")
    assert f"no rows on {day}" in last["why"]
    assert serves(served) == BEFORE
    served.configure(listens={"missing_day": "continue"})
    assert served.run(NOW)
    assert record(served)["log"]["empty"] == [str(day)]


def test_a_day_a_tenth_of_its_usual_size_stops_the_run_or_is_said(deployment: Deployment) -> None:
    day = LAST_DAYS[NOW]
    for n in range(9):
        at = day - timedelta(days=8 - n)
        rows = [
            listen(f"u{m:03d}", f"track {m % 2 * 500 + (m * 3 + n * 5 + k) % 60}", at, m * 60 + k)
            for m in range(202)
            for k in range(5)
        ]
        deployment.write_day(at, rows[:9] if at == day else rows)
    assert not deployment.run(NOW)
    last = deployment.last_run()
    assert (last["error"], last["stage"]) == ("MissingDataError", "plan")
    assert f"{day} has 9 rows where 1010 are usual" in last["why"]
    deployment.configure(listens={"odd_day": "continue"})
    assert deployment.run(NOW)
    assert record(deployment)["log"]["odd"] == [f"{day} has 9 rows where 1010 are usual"]


def test_a_log_that_ended_long_before_names_the_week_it_can_make(served: Deployment) -> None:
    for n in range(14):
        remove_day(served, LAST_DAYS[NEXT] - timedelta(days=n))
    with pytest.raises(MissingDataError, match=f"--week {BEFORE}$") as refused:
        WeeklyPlaylists(week=NEXT).complete()
    assert refused.value.exit_code == 20
    assert f"ends on {LAST_DAYS[BEFORE]}" in str(refused.value)
    assert WeeklyPlaylists(week=BEFORE).complete()


@pytest.mark.parametrize(("late", "missing_day"), [(0, "stop"), (6, "stop"), (6, "continue")])
def test_the_week_named_for_a_log_of_the_past_can_be_made(
    deployment: Deployment, late: int, missing_day: str
) -> None:
    deployment.configure(listens={"missing_day": missing_day})
    last_day = LAST_DAYS[BEFORE] - timedelta(days=late)
    tribe_log(deployment, last_day=last_day, days=9, members=4)
    with pytest.raises(MissingDataError) as refused:
        WeeklyPlaylists(week=NEXT).complete()
    named = Week.parse(str(refused.value)[-8:])
    assert named == Week.parse(BEFORE) - (missing_day == "stop" and late > 0)
    assert deployment.run(str(named))
    assert serves(deployment) == str(named)


def test_a_log_of_less_than_a_week_is_named_the_week_it_falls_in(deployment: Deployment) -> None:
    tribe_log(deployment, last_day=LAST_DAYS[BEFORE] - timedelta(days=2), days=3, members=4)
    with pytest.raises(MissingDataError, match=f"--week {BEFORE}$"):
        WeeklyPlaylists(week=NEXT).complete()
    with pytest.raises(MissingDataError, match="missing_day = continue"):
        WeeklyPlaylists(week=BEFORE).complete()
    deployment.configure(listens={"missing_day": "continue"})
    assert deployment.run(BEFORE)
    assert serves(deployment) == BEFORE


def test_a_week_without_a_listen_ships_from_what_was_heard_before(served: Deployment) -> None:
    for n in range(7):
        served.write_day(LAST_DAYS[NOW] - timedelta(days=n), [])
    served.configure(listens={"missing_day": "continue"})
    assert served.run(NOW)
    assert serves(served) == NOW
    assert record(served)["verdict"] == "unproven"
    assert len(record(served)["log"]["empty"]) == 7


def test_a_changed_file_of_the_log_is_named_and_not_reused(served: Deployment) -> None:
    day = LAST_DAYS[BEFORE]
    path = served.log / f"date={day}" / "listens.jsonl"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"t0m00", b"t0m99"))  # of the same size
    with pytest.raises(BadLogError, match=f"date={day}/listens.jsonl"):
        WeeklyPlaylists(week=NOW).complete()
    assert f"date={day}/listens.jsonl" in served.last_run()["why"]
    path.write_bytes(before)
    extra = served.write_day(day, [listen("t0m00", "track 0001", day)], "extra")
    with pytest.raises(BadLogError, match=f"date={day}/extra.jsonl"):
        WeeklyPlaylists(week=NOW).complete()
    extra.unlink()
    assert served.run(NOW)
    assert serves(served) == NOW


def test_a_late_event_counts_in_the_next_edition(served: Deployment) -> None:
    heard = LAST_DAYS[BEFORE] - timedelta(days=3)
    arrived = LAST_DAYS[NOW]
    served.write_day(arrived, [listen("latecomer", "track 0003", heard)], "late")
    assert served.run(NOW)
    with served.store() as store:
        with pytest.raises(NoSuchUserError):
            store.playlist("latecomer", edition=BEFORE)
        assert "track 0003" not in {
            track.track_id for track in store.playlist("latecomer", edition=NOW).tracks
        }


def test_what_is_delivered_again_days_later_counts_once(served: Deployment) -> None:
    day = LAST_DAYS[NOW]
    again = (served.log / f"date={day - timedelta(days=3)}" / "listens.jsonl").read_bytes()
    (served.log / f"date={day}" / "again.jsonl").write_bytes(again)
    assert served.run(NOW)
    cleaned = next((served.home / "days").glob(f"*/clean/date={day}"))
    rows = artefact.Artefact.open(cleaned).manifest["rows"]
    assert rows == {"read": 216, "kept": 108, "duplicates": 108, "quarantined": 0}


def test_two_logs_under_one_home_never_mix(served: Deployment) -> None:
    other = served.folder / "other"
    first_of_theirs = Deployment(other)
    tribe_log(first_of_theirs, last_day=LAST_DAYS[NOW], days=15, tribes=1, members=5)
    for path in other.rglob("*.jsonl"):
        path.write_text(path.read_text("utf-8").replace("t0m", "stranger"), encoding="utf-8")
    served.configure(listens={"source": "other/log"})
    assert served.run(NOW)
    playlists = served.playlists(NOW)
    assert {row["user_id"][:8] for row in playlists} == {"stranger"}
    assert len(playlists) == 5
    served.configure(listens={"source": "log"})
    with pytest.raises(PlanError, match=r"\[listens\] source was 'other/log', is 'log'"):
        WeeklyPlaylists(week=NOW).complete()
    assert served.run(NOW, revision=2)
    assert {row["user_id"][:2] for row in served.playlists(NOW, 2)} == {"t0", "t1", "t2"}


# --- the store, the disk, the tracking server ------------------------------------------------


def test_a_store_that_was_deleted_is_published_again(served: Deployment) -> None:
    with served.store() as store:
        store.forget("t1m01")
    assert served.run(NOW)
    before = digest(served)
    shutil.rmtree(served.home / "store")
    assert not WeeklyPlaylists(week=NOW).published()
    assert served.run(NOW)
    assert (serves(served), digest(served)) == (NOW, before)
    with served.store() as store:
        assert store.tombstones() == {"t1m01"}
        with pytest.raises(NoSuchUserError):
            store.playlist("t1m01")
        # The week before is known, and comes back when it is run again.
        with pytest.raises(StoreError, match="Run the week again"):
            store.playlist("t0m00", edition=BEFORE)
    assert served.run(BEFORE, backfill=True)
    with served.store() as store:
        assert store.playlist("t0m00", edition=BEFORE).edition == BEFORE
    assert serves(served) == NOW


def test_forgetting_someone_in_a_lost_store_forgets_nobody_else(served: Deployment) -> None:
    with served.store() as store:
        store.forget("t1m01")
    assert served.run(NOW)
    shutil.rmtree(served.home / "store")
    assert main(["forget", "t2m02"]) == 0
    assert served.run(NOW)
    with served.store() as store:
        assert store.tombstones() == {"t1m01", "t2m02"}


@pytest.mark.parametrize("call", ["stage", "activate"])
def test_a_store_that_is_down_fails_the_run_and_a_rerun_goes_on(
    served: Deployment, call: str
) -> None:
    def down(*arguments: Any, **named: Any) -> None:
        raise StoreError("The store is down.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteStore, call, down)
        assert not served.run(NOW)
    assert served.last_run()["why"] == "The store is down."
    assert served.last_run()["stage"] == "published"
    assert serves(served) == BEFORE
    assert served.run(NOW)
    assert serves(served) == NOW


def test_a_store_that_cannot_be_reached_fails_the_run(served: Deployment) -> None:
    (served.folder / "file").touch()
    served.configure(store={"url": f"sqlite:///{served.folder}/file/store"})
    assert not served.run(NOW)
    last = served.last_run()
    assert (last["outcome"], last["error"]) == ("failed", "StoreError")
    assert str(served.folder / "file") in last["why"]
    served.configure(store={"url": ""})
    assert serves(served) == BEFORE
    assert served.run(NOW)


def test_a_damaged_store_is_told_what_to_do_about(served: Deployment) -> None:
    (served.home / "store" / "ledger.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"remove it and run the week again"):
        WeeklyPlaylists(week=BEFORE).complete()
    shutil.rmtree(served.home / "store")
    assert served.run(BEFORE)
    assert serves(served) == BEFORE


@pytest.fixture
def retrying(served: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment whose failed stages are tried again, at once."""
    config = luigi.configuration.get_config()
    for section, key, value in (
        ("worker", "keep_alive", "true"),
        ("worker", "wait_interval", "0.05"),
        ("worker", "wait_jitter", "0"),
        ("scheduler", "retry_count", "1"),
        ("scheduler", "retry_delay", "0.1"),
    ):
        if not config.has_section(section):
            config.add_section(section)
        monkeypatch.setitem(config[section], key, value)
    return served


@pytest.mark.parametrize(("failures", "succeeds"), [(2, True), (3, False)])
def test_a_store_that_comes_back_is_tried_again(
    retrying: Deployment, monkeypatch: pytest.MonkeyPatch, failures: int, succeeds: bool
) -> None:
    right, calls = SqliteStore.activate, 0

    def flaky(*arguments: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        if calls <= failures:
            raise StoreError("The store is down.")
        right(*arguments, **named)

    monkeypatch.setattr(SqliteStore, "activate", flaky)
    retrying.run(NOW)
    assert calls == 3
    assert serves(retrying) == (NOW if succeeds else BEFORE)
    assert retrying.last_run()["outcome"] == ("succeeded" if succeeds else "failed")


def test_a_disk_that_fills_up_leaves_what_is_complete(
    served: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = artefact._seal

    def full(path: Path) -> str:
        if path.name == "playlists.parquet":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return right(path)

    monkeypatch.setattr(artefact, "_seal", full)
    assert not served.run(NOW)
    last = served.last_run()
    assert (last["error"], last["stage"]) == ("ResourceError", "playlists")
    assert "The disk is full" in last["why"]
    assert serves(served) == BEFORE
    assert not list(served.edition(NOW).glob(".*")), "a half-written folder was left behind"
    model = (served.edition(NOW) / "als_model" / "manifest.json").read_bytes()
    monkeypatch.setattr(artefact, "_seal", right)
    assert served.run(NOW)
    assert serves(served) == NOW
    assert (served.edition(NOW) / "als_model" / "manifest.json").read_bytes() == model


def test_a_training_can_be_read_back_from_mlflow(served: Deployment) -> None:
    served.configure(mlflow={"tracking_uri": f"sqlite:///{served.home}/mlflow.db"})
    assert served.run(NOW)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=served.load().tracking_uri)
    (experiment,) = client.search_experiments(filter_string="name = 'weekly-playlists'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"{NOW} r1"
    assert run.data.params["als.factors"] == "8"
    assert run.data.params["listens.half_life_days"] == "90.0"
    assert run.data.tags["edition"] == NOW
    assert run.data.tags["way"] == "continue"
    plan = artefact.Artefact.open(served.edition(NOW) / "plan")
    assert run.data.tags["plan"] == plan.digest
    assert {"parent_ndcg_at_30", "popularity_recall_at_30", "seconds_als_model"} <= set(
        run.data.metrics
    )
    model = artefact.Artefact.open(served.edition(NOW) / "als_model")
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [(one.step, one.value) for one in losses] == list(
        enumerate(model.facts["losses"], start=1)
    )
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == {"model", "plan.json"}
    copy = Path(client.download_artifacts(run.info.run_id, "model"))
    for path in copy.iterdir():
        assert path.read_bytes() == (model.path / path.name).read_bytes()
        assert b"t0m0" not in path.read_bytes(), "MLflow learns of no listener"
    assert (copy / "item_factors.npy").exists()


def test_a_tracking_server_that_is_down_stops_nothing(
    served: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "luigi-interface"):
        assert served.run(NOW)
    assert "not tracked in MLflow, and going on" in caplog.text
    assert serves(served) == NOW


# --- editions beside and after one another ----------------------------------------------------


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
        rolled_back = store.state(digest(served))
    assert rolled_back is not None
    assert not rolled_back.readable


def test_playlists_that_were_removed_are_made_again(served: Deployment) -> None:
    assert served.run(NOW)
    before = digest(served)
    shutil.rmtree(served.edition(NOW) / "playlists")
    assert served.run(NOW)
    assert digest(served) == before
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteStore, "stage", _down)
        assert not served.run(NOW)
    assert main(["forget", "t0m03"]) == 0
    assert served.run(NOW)
    with served.store() as store:
        with pytest.raises(NoSuchUserError):
            store.playlist("t0m03")
        assert (
            "t0m03" not in pa.Table.from_batches(store.rows(digest(served)))["user_id"].to_pylist()
        )
    assert main(["verify"]) == 0


def _down(*arguments: Any, **named: Any) -> None:
    raise StoreError("The store is down.")


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
    remove_day(served, gap)
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


@pytest.fixture(autouse=True)
def _nothing_is_left_aside(tmp_path: Path) -> Iterator[None]:
    """Whatever a test broke, no run that ended by itself leaves a half-written folder."""
    yield
    aside = [path for path in tmp_path.rglob(".*.????????????") if path.is_dir()]
    assert not aside
