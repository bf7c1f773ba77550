"""PostgreSQL over TLS: spoken, and the server's certificate checked."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("psycopg")

from recsys.errors import StoreError
from recsys.store import open_store
from tests.store.certificate import NEEDS_OPENSSL, self_signed
from tests.store.deployment import started
from tests.store.making import make
from tests.store.postgres import PostgresServer


@NEEDS_OPENSSL
def test_tls_is_spoken_and_certificates_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started("postgresql", tmp_path):  # skipped where there is no server
        server = PostgresServer()
    (tmp_path / "other").mkdir()
    _, stranger = self_signed(tmp_path / "other")
    key, certificate = self_signed(tmp_path)
    server.stop()
    server.speak_tls(key, certificate)
    server.start()
    by_name = server.url("music").replace("127.0.0.1", "localhost") + "&sslmode=verify-full"
    with (
        open_store(f"{by_name}&sslrootcert={stranger}") as store,
        pytest.raises(StoreError, match="certificate verify failed") as refused,
    ):
        store.forget("ada")
    assert "s3cret" not in str(refused.value)
    monkeypatch.setenv("PGSSLROOTCERT", str(certificate))
    with open_store(by_name) as store, server.admin() as admin:
        make("2026-W47").publish(store)
        assert store.playlist("ada").edition == "2026-W47"
        query = (
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
            "WHERE application_name = 'recsys'"
        )
        assert admin.execute(query).fetchone() == (True,)
    with (
        open_store(by_name.replace("localhost", "127.0.0.1")) as store,
        pytest.raises(StoreError, match="does not match host name"),
    ):
        store.editions()
