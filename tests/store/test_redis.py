"""What is special to the store on Redis: expiry, memory, round trips, and what its errors say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("redis")

import redis
from redis import exceptions

from recsys.errors import StoreError
from recsys.store import Store, open_store
from recsys.store._redis_reader import Rows
from recsys.store._redis_server import Server
from recsys.store._redis_stage import SECONDS_UNREGISTERED
from tests.store.certificate import NEEDS_OPENSSL, self_signed
from tests.store.deployment import UnavailableError
from tests.store.making import make
from tests.store.redis_server import RedisDeployment, RedisServer, free_port


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[RedisDeployment]:
    try:
        deployed = RedisDeployment(tmp_path)
    except UnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield deployed
    deployed.remove()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What goes to the server from now on, one entry a round trip."""
    ask, told = Server.ask, []

    def noted(server: Server, *commands: Any) -> list[Any]:
        told.append(commands)
        return ask(server, *commands)

    monkeypatch.setattr(Server, "ask", noted)
    return told


def test_a_read_is_one_round_trip(store: Store, asked: list[tuple[Any, ...]]) -> None:
    make("2026-W47").publish(store)
    store.playlist("ada")
    asked.clear()
    store.playlist("ada")
    store.playlist("ada", edition="2026-W47")
    store.default_playlist()
    assert len(asked) == 4  # and one for the names of the default playlist, seen the first time


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_a_killed_publisher_leaves_expires(
    deployment: RedisDeployment, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("2026-W46").publish(store)
    made = make("2026-W47")
    ask, change = Server.ask, Server.change
    for kill_at in range(1, 40):
        child = os.fork()
        if child == 0:
            left = kill_at

            def one_fewer() -> None:
                nonlocal left
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

            def asks(server: Server, *commands: Any) -> list[Any]:
                one_fewer()
                return ask(server, *commands)

            def changes(*arguments: Any) -> None:
                one_fewer()
                change(*arguments)
                one_fewer()

            monkeypatch.setattr(Server, "ask", asks)
            monkeypatch.setattr(Server, "change", changes)
            made.publish(store)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert store.playlist("ada").edition in ("2026-W46", "2026-W47")
        assert deployment.leftovers() == []
        expiring = [ttl for key in deployment.names() if (ttl := deployment.admin.ttl(key)) != -1]
        assert all(0 < ttl <= SECONDS_UNREGISTERED for ttl in expiring)
        if not os.WIFSIGNALED(status):
            break
    assert not os.WIFSIGNALED(status)
    assert kill_at > 8
    made.publish(store)
    assert store.playlist("ada").edition == "2026-W47"
    assert all(edition.present for edition in store.editions())


def test_a_refused_staging_leaves_nothing(deployment: RedisDeployment, store: Store) -> None:
    made = make("2026-W47")
    with pytest.raises(StoreError, match="not those of digest"):
        store.stage("2026-W47", 1, "0" * 64, made.batches, made.default)
    assert deployment.names() == []


def test_codes_that_would_mean_something_else_are_not_kept(
    deployment: RedisDeployment, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("2026-W47")
    plain = Rows.plain
    monkeypatch.setattr(Rows, "plain", lambda rows: plain(rows) | {"sources": ["a", "b"]})
    for _ in range(2):
        with pytest.raises(StoreError, match="otherwise than it was written"):
            made.stage(store)
        assert not any(":rows:" in key for key in deployment.names())
        assert (store.editions(), store.ledger()) == ((), ())
    monkeypatch.undo()
    made.publish(store)
    assert store.playlist("ada").tracks[0].source == "personal"
    deployment.lose_rows(made.digest)
    monkeypatch.setattr(Rows, "plain", lambda rows: plain(rows) | {"sources": ["a", "b"]})
    with pytest.raises(StoreError, match="otherwise than it was written"):
        made.stage(store)
    current = store.current()
    assert current is not None
    assert (current.digest, current.present) == (made.digest, False)


def test_pruned_rows_are_gone_at_once(deployment: RedisDeployment, store: Store) -> None:
    for week in (44, 45, 46, 47):
        make(f"2026-W{week}").publish(store)
    store.prune(2)
    assert not any("W44" in key or "W45" in key for key in deployment.names())


@pytest.mark.parametrize("bucket_only", [True, False])
def test_rows_that_the_server_dropped_are_missed(
    deployment: RedisDeployment, store: Store, bucket_only: bool
) -> None:
    made = make("2026-W47")
    made.publish(store)
    rows = deployment.rows(made.digest)
    dropped = (rows.bucket(b"ada"),) if bucket_only else rows.keys
    deployment.admin.delete(*dropped)
    with pytest.raises(StoreError, match=r"lost.*again"):
        store.playlist("ada")
    current = store.current()
    assert current is not None
    assert not current.present
    made.stage(store)
    assert store.playlist("ada").edition == "2026-W47"


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_server_that_drops_keys_is_refused(
    deployment: RedisDeployment, store: Store, policy: str
) -> None:
    deployment.admin.config_set("maxmemory", "8gb")
    deployment.admin.config_set("maxmemory-policy", policy)
    try:
        with pytest.raises(StoreError, match=rf"{policy}.*noeviction"):
            make("2026-W47").stage(store)
        deployment.admin.config_set("maxmemory-policy", "volatile-lru")
        assert make("2026-W47").stage(store) == 3
    finally:
        deployment.admin.config_set("maxmemory-policy", "noeviction")
        deployment.admin.config_set("maxmemory", 0)


def test_a_full_server_keeps_what_is_served(deployment: RedisDeployment, store: Store) -> None:
    make("2026-W46").publish(store)
    before = set(deployment.names())
    with deployment.full(), pytest.raises(StoreError, match=r"no memory left.*run the same"):
        make("2026-W47").stage(store)
    assert store.playlist("ada").edition == "2026-W46"
    assert set(deployment.names()) == before


def test_readers_use_a_replica_and_publishers_are_told(
    deployment: RedisDeployment, store: Store
) -> None:
    make("2026-W46").publish(store)
    deployment.admin.replicaof("127.0.0.1", free_port())
    try:
        assert store.playlist("ada").edition == "2026-W46"
        with pytest.raises(StoreError, match=r"read-only replica.*primary"):
            make("2026-W47").stage(store)
        with pytest.raises(StoreError, match=r"read-only replica.*primary"):
            store.forget("ada")
    finally:
        deployment.admin.replicaof("NO", "ONE")


def test_wrong_credentials_are_told_and_never_repeated(
    deployment: RedisDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.admin.acl_setuser(
        "svc", enabled=True, passwords="+s3:cr@t", keys=["test-*"], categories=["+@all"]
    )
    address = deployment.url.removeprefix("redis://")
    make("2026-W47").publish(open_store(f"redis://svc:s3%3Acr%40t@{address}"))
    for user in ("svc:hunter2", "nobody:hunter2"):
        with pytest.raises(StoreError, match="wants another user or password") as refused:
            open_store(f"redis://{user}@{address}")
        assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("REDISCLI_AUTH", "s3:cr@t")
    with open_store(f"redis://svc@{address}") as store:
        assert store.playlist("ada").edition == "2026-W47"
    deployment.admin.acl_setuser("svc", enabled=True, keys=["other:*"], reset_keys=True)
    with pytest.raises(StoreError, match="Grant the user"):
        open_store(f"redis://svc@{address}")
    deployment.admin.acl_deluser("svc")


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///0",
        "redis://host:port/0",
        "redis://:hunter2@host/music",
        "redis://:hunter2@host/0?namespace=a:b",
        "redis://:hunter2@host/0?ns=a",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(StoreError, match="not the URL of a store") as refused:
        open_store(url)
    assert "hunter2" not in str(refused.value)


def test_a_namespace_of_somebody_else_is_refused(deployment: RedisDeployment) -> None:
    deployment.admin.set(f"{deployment.namespace}:store", "theirs")
    with pytest.raises(StoreError, match=r"something else.*namespace="):
        open_store(deployment.url)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "still loading"),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB"), "cannot save"),
        (exceptions.ResponseError("MOVED 3999 127.0.0.1:6381"), "Cluster.*not supported"),
        (exceptions.ResponseError("EXECABORT Transaction discarded"), "nothing is changed"),
        (exceptions.TimeoutError("Timeout reading from socket"), "did not answer in time"),
        (exceptions.ResponseError("ERR of a new kind"), "of a new kind"),
    ],
)
def test_errors_are_explained(
    deployment: RedisDeployment, error: redis.RedisError, message: str
) -> None:
    with pytest.raises(StoreError, match=f"Redis at 127.*{message}"):
        raise Server(deployment.url)._explain(error)


def test_reading_needs_neither_numpy_nor_arrow(deployment: RedisDeployment, store: Store) -> None:
    make("2026-W47").publish(store)
    program = (
        "import sys; from recsys.store import open_store\n"
        f"store = open_store({deployment.url!r})\n"
        "assert store.playlist('ada').tracks and store.default_playlist().tracks\n"
        "print([name for name in ('numpy', 'pyarrow', 'scipy', 'duckdb') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_a_store_of_an_older_version_is_refused(deployment: RedisDeployment, store: Store) -> None:
    make("2026-W47").publish(store)
    deployment.set_version(-1)
    for call in (lambda: store.playlist("ada"), lambda: store.forget("ada")):
        with pytest.raises(StoreError, match=r"has format 0.*Install the recsys that wrote it"):
            call()


@NEEDS_OPENSSL
def test_tls_is_spoken_and_certificates_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = self_signed(tmp_path)
    port = free_port()
    server = RedisServer(
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
    )
    url = f"rediss://localhost:{port}/0"
    with pytest.raises(StoreError, match="cannot be reached"):
        open_store(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with open_store(url) as store:
        make("2026-W47").publish(store)
        assert store.playlist("ada").edition == "2026-W47"
    server.admin.flushall()
