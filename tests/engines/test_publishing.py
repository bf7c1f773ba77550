"""From the executors to a server: the same edition is staged as from one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet as pq
import pytest

from recsys import artefact
from recsys.artefact import Artefact
from recsys.errors import StoreError
from recsys.publishing import stage_edition
from recsys.spark import SparkEngine, _publish
from recsys.store import open_store
from recsys.store._postgres_parts import Writer as PostgresWriter
from recsys.store._redis_parts import Writer as RedisWriter
from tests.engines.conftest import MadeEdition
from tests.store.deployment import Deployment, started
from tests.store.making import stored_rows

PARTS = 3


@pytest.fixture(params=["postgresql", "redis", "sqlite"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    with started(request.param, tmp_path) as deployed:
        yield deployed


@pytest.fixture
def playlists(edition: MadeEdition, tmp_path: Path) -> Artefact:
    """The playlists of the edition, in parts."""
    made = Artefact.open(edition.folder / "playlists")
    rows = pq.read_table(made.file("playlists.parquet"))
    with artefact.write(tmp_path / "playlists", stage="playlists", version=1) as draft:
        parts = draft.path / "playlists.parquet"
        parts.mkdir()
        size = -(-len(rows) // PARTS)
        for n in range(PARTS):
            pq.write_table(rows.slice(n * size, size), parts / f"part-{n:05}.parquet")
        pq.write_table(pq.read_table(made.file("default.parquet")), draft.path / "default.parquet")
        draft.facts["digest"] = made.facts["digest"]
    return Artefact.open(tmp_path / "playlists")


def test_the_same_edition_is_staged(
    spark_engine: SparkEngine,
    edition: MadeEdition,
    playlists: Artefact,
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> NoReturn:
        pytest.fail("the driver wrote a part itself")

    for writer in (PostgresWriter, RedisWriter):  # here, not in the executors
        monkeypatch.setattr(writer, "write", never)
    week, digest = str(edition.plan.week), playlists.facts["digest"]
    with open_store(deployment.url) as ours, open_store(deployment.another().url) as theirs:
        for store in (ours, theirs):
            store.forget(pq.read_table(playlists.file("playlists.parquet"))["user_id"][0].as_py())
        spark_engine.stage_edition(ours, week, 1, playlists)
        stage_edition(theirs, week, 1, Artefact.open(edition.folder / "playlists"))
        rows = stored_rows(ours, digest)
        assert rows == stored_rows(theirs, digest)
        assert len(rows) > 100
        one, other = ours.state(digest), theirs.state(digest)
        assert one is not None
        assert other is not None
        assert (one.rows, one.left_out, one.present) == (other.rows, other.left_out, True)
        assert deployment.leftovers() == []


def test_a_server_that_is_gone_is_named(
    spark_engine: SparkEngine,
    edition: MadeEdition,
    playlists: Artefact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with started("redis", tmp_path) as deployment, open_store(deployment.url) as store:
        work = _publish.for_each_part

        def while_down(spark: Any, parts: int, write: Callable[[int], Any]) -> Any:
            with deployment.down():
                return work(spark, parts, write)

        monkeypatch.setattr(_publish, "for_each_part", while_down)
        with pytest.raises(StoreError, match="cannot be reached"):
            spark_engine.stage_edition(store, str(edition.plan.week), 1, playlists)
        assert store.editions() == ()
        monkeypatch.undo()
        spark_engine.stage_edition(store, str(edition.plan.week), 1, playlists)
        assert len(store.editions()) == 1
