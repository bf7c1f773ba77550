"""PostgreSQL and text: encodings of clients and databases, what it cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.errors import StoreError
from recsys.store import open_store
from tests.store.deployment import started
from tests.store.making import make

postgres = pytest.importorskip("tests.store.postgres")


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[postgres.PostgresDeployment]:
    with started("postgresql", tmp_path) as deployed:
        yield deployed


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_the_encoding_of_the_environment_does_not_matter(
    deployment: postgres.PostgresDeployment, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    made = make("2026-W47")
    for url in (deployment.url, f"{deployment.url}&client_encoding={encoding}"):
        with open_store(url) as store:
            made.publish(store)
            assert store.playlist("ada").tracks[1].track_name == "Número 2 🎵"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_is_refused(
    deployment: postgres.PostgresDeployment, encoding: str
) -> None:
    name = f"{deployment.schema}_{encoding.lower()}"
    with deployment.server.admin("postgres") as admin:
        admin.execute(
            f"CREATE DATABASE {name} OWNER publisher ENCODING '{encoding}' LOCALE 'C' "
            "TEMPLATE template0"
        )
        try:
            with open_store(deployment.url.replace("/music", f"/{name}")) as store:
                for call in (lambda: make("2026-W47").stage(store), store.editions):
                    with pytest.raises(StoreError, match=rf"{encoding}.*ENCODING 'UTF8'"):
                        call()
        finally:
            admin.execute(f"DROP DATABASE {name}")
