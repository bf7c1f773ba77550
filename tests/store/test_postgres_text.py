"""PostgreSQL and text: encodings of clients and databases, what it cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psycopg")

from recsys.errors import StoreError
from recsys.store import open_store
from tests.store.deployment import started
from tests.store.making import Made, batch, make, make_default, playlist_row
from tests.store.postgres import PostgresDeployment


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[PostgresDeployment]:
    with started("postgresql", tmp_path) as deployed:
        yield deployed


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_the_encoding_of_the_environment_does_not_matter(
    deployment: PostgresDeployment, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    made = make("2026-W47")
    for url in (deployment.url, f"{deployment.url}&client_encoding={encoding}"):
        with open_store(url) as store:
            made.publish(store)
            assert store.playlist("ada").tracks[1].track_name == "Número 2 🎵"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_is_refused(
    deployment: PostgresDeployment, encoding: str
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


def test_an_id_that_is_too_long_to_be_found_is_refused(
    deployment: PostgresDeployment,
) -> None:
    letters = np.random.default_rng(0).integers(0x4E00, 0x9FFF, size=5_000)
    long = "".join(map(chr, letters.tolist()))
    with open_store(deployment.url) as store:
        make("2026-W46").publish(store)
        for call in (
            make("2026-W47", ["ada", long]).stage,
            lambda opened: opened.forget(long),
            lambda opened: opened.block(long),
        ):
            with pytest.raises(
                StoreError, match=r"so long an id.* 2,600 bytes.*index row"
            ) as refused:
                call(store)
            assert long[:10] not in f"{refused.value} {refused.value.__cause__}"
        assert [edition.edition for edition in store.editions()] == ["2026-W46"]
        assert (store.tombstones(), store.blocks()) == (frozenset(), frozenset())


def test_plain_sql_answers_with_characters_that_its_text_cannot_hold(
    deployment: PostgresDeployment,
) -> None:
    row = playlist_row("2026-W47", "ada", "nul\0", spares=1)
    row["relaxed"] = ["nul\0"]
    row["tracks"][1] |= {"track_name": "\0", "artist_names": ["a\0", "\\u0000"], "source": "\0"}
    row["spares"][0]["not_at"] = [1]
    made = Made("2026-W47", 1, [batch([row])], make_default("2026-W47"))
    query = f"SELECT {deployment.schema}.playlist('ada')"
    with open_store(deployment.url) as store:
        made.publish(store)
        assert deployment.run(query) == [(store.playlist("ada").to_dict(),)]
        store.block("nul\0/ada/2")
        shown = store.playlist("ada")
        assert [track.track_id for track in shown.tracks] == [
            f"nul\0/ada/{name}" for name in ("1", "spare 1", "3")
        ]
        assert deployment.run(query) == [(shown.to_dict(),)]
