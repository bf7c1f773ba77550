"""When the store, the disk or the tracking server breaks: nothing is lost, a rerun goes on."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import luigi
import pytest

from recsys import artefact
from recsys.cli import main
from recsys.errors import NoSuchUserError, StoreError
from recsys.store._sqlite import SqliteStore
from tests.workflows.conftest import (
    BEFORE,
    NOW,
    Deployment,
    serves,
)
from workflows import WeeklyPlaylists

pytestmark = pytest.mark.usefixtures("whole_when_over")


def test_a_store_that_was_deleted_is_published_again(served: Deployment) -> None:
    with served.store() as store:
        store.forget("t1m01")
    assert served.run(NOW)
    before = served.digest()
    shutil.rmtree(served.home / "store")
    assert not WeeklyPlaylists(week=NOW).published()
    assert served.run(NOW)
    assert (serves(served), served.digest()) == (NOW, before)
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
    right = artefact._sync_file

    def full(path: Path) -> None:
        if path.name == "playlists.parquet":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        right(path)

    monkeypatch.setattr(artefact, "_sync_file", full)
    assert not served.run(NOW)
    last = served.last_run()
    assert (last["error"], last["stage"]) == ("ResourceError", "playlists")
    assert "The disk is full" in last["why"]
    assert serves(served) == BEFORE
    assert not list(served.edition(NOW).glob(".*")), "a half-written folder was left behind"
    model = (served.edition(NOW) / "als_model" / "manifest.json").read_bytes()
    monkeypatch.setattr(artefact, "_sync_file", right)
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
