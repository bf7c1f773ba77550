"""What is special to the store on PostgreSQL: round trips, plain SQL, accounts, and its errors."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from recsys.errors import NoEditionError, NoSuchUserError, StoreError
from recsys.store import Store, _postgres_load, _postgres_server, _rows, open_store
from recsys.store._frames import Frames
from recsys.store._postgres_server import Connection, Server
from recsys.store._postgres_sql import SHOWN
from tests.store.deployment import UnavailableError
from tests.store.making import Made, batch, make, make_default, playlist_row
from tests.store.postgres import PASSWORD, PostgresDeployment


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[PostgresDeployment]:
    try:
        deployed = PostgresDeployment(tmp_path)
    except UnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield deployed
    deployed.remove()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that readers send from now on."""
    fetch, told = Server.fetch, []

    def noted(server: Server, query: str, parameters: Any) -> Any:
        told.append(query)
        return fetch(server, query, parameters)

    monkeypatch.setattr(Server, "fetch", noted)
    return told


def test_a_read_is_one_statement(store: Store, asked: list[str]) -> None:
    make("2026-W46").publish(store)
    make("2026-W47").publish(store)
    for on in (None, date(2026, 11, 10)):
        store.playlist("ada", on=on)
        asked.clear()
        assert store.playlist("ada", on=on).user_id == "ada"
        assert len(asked) == 1


def a_row_more(frames: Frames) -> memoryview:
    keys, values = frames.keys(), frames.values()
    return Frames.of([*keys, b"zoe"], [*values, values[0]]).data if keys != [b""] else frames.data


def other_names(connection: Connection, table: str, data: Iterable[memoryview]) -> None:
    sent = b"".join(data)
    copy_in(connection, table, [sent.replace(b"/bob/2", b"/bob/9") if ".track_" in table else sent])


copy_in = _postgres_load.copy_in


@pytest.mark.parametrize("harm", [("written", a_row_more), ("copy_in", other_names)])
def test_what_nobody_handed_over_is_never_staged(
    store: Store, monkeypatch: pytest.MonkeyPatch, harm: tuple[str, Any]
) -> None:
    monkeypatch.setattr(_postgres_load, *harm)
    with pytest.raises(StoreError, match="not those that were written"):
        make("2026-W47").stage(store)
    assert store.editions() == ()
    monkeypatch.undo()
    assert make("2026-W47").stage(store) == 3


def test_every_part_is_read_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default playlist and four others alone, two parts a statement."""
    monkeypatch.setattr(_rows, "CHUNK_ROWS", 1)
    monkeypatch.setattr(_postgres_load, "_PARTS_AT_ONCE", 2)
    made = make("2026-W47", ["ada", "bob", "cleo", "dora"])
    for harmed in range(5):
        parts = count()

        def written(frames: Frames, harmed: int = harmed, parts: Iterator[int] = parts) -> bytes:
            data = bytearray(frames.data)
            data[-1] ^= next(parts) == harmed
            return bytes(data)

        monkeypatch.setattr(_postgres_load, "written", written)
        with pytest.raises(StoreError, match="not those that were written"):
            made.stage(store)
        assert next(parts) == 5
    assert store.editions() == ()
    monkeypatch.undo()
    made.publish(store)
    assert store.playlist("dora").tracks[0].track_id == "2026-W47/dora/1"


@pytest.mark.parametrize("codes", ["forms", "sources"])
def test_codes_that_would_mean_something_else_are_never_staged(
    store: Store, deployment: PostgresDeployment, codes: str
) -> None:
    made, schema = make("2026-W47"), deployment.schema
    store.forget("bob")  # makes the store
    deployment.run(
        f"CREATE FUNCTION {schema}.harm() RETURNS trigger LANGUAGE plpgsql AS "
        f'$$ BEGIN NEW.{codes} := \'[["a", []], ["b", []]]\'; RETURN NEW; END $$'
    )
    deployment.run(
        f"CREATE TRIGGER harm BEFORE UPDATE ON {schema}.edition "
        f"FOR EACH ROW EXECUTE FUNCTION {schema}.harm()"
    )
    with pytest.raises(StoreError, match="otherwise than it was written: nothing is changed"):
        made.stage(store)
    assert store.editions() == ()
    assert deployment.leftovers() == []


@pytest.mark.parametrize("blocked", [(), (1,), (2, 3), (1, 2, 3)])
def test_plain_sql_answers_what_python_answers(
    store: Store, deployment: PostgresDeployment, blocked: tuple[int, ...]
) -> None:
    rows = [playlist_row("2026-W47", user, "x") for user in ("ada", "bob")]
    rows[1]["spares"][0]["not_at"] = [1, 3]
    made = Made("2026-W47", 1, [batch(rows)], make_default("2026-W47"))
    made.publish(store)
    for n in blocked:
        for user in ("ada", "bob"):
            store.block(f"x/{user}/{n}")
    store.forget("ada")
    (answer,) = deployment.run(
        f"SELECT {deployment.schema}.playlist('bob'), {deployment.schema}.playlist('ada'), "
        f"{deployment.schema}.playlist('bob', '2026-W47'), "
        f"{deployment.schema}.playlist('bob', day => '2026-11-15'), "
        f"{deployment.schema}.default_playlist()"
    )[0:1]
    bob = store.playlist("bob").to_dict()
    assert answer == (bob, None, bob, None, store.default_playlist().to_dict())


def test_functions_of_an_older_recsys_are_replaced_by_a_staging(
    store: Store, deployment: PostgresDeployment
) -> None:
    make("2026-W46").publish(store)
    asks = f"SELECT {deployment.schema}.playlist('ada')"
    older = "shown(listener bytea, week text, day date)"
    deployment.run(
        f"CREATE OR REPLACE FUNCTION {deployment.schema}.{older} RETURNS json LANGUAGE sql AS "
        "$$ SELECT '\"from before\"'::json $$"
    )
    deployment.run(f"COMMENT ON FUNCTION {deployment.schema}.{SHOWN} IS NULL")
    assert deployment.run(asks) == [("from before",)]
    make("2026-W47").publish(store)
    assert deployment.run(asks) == [(store.playlist("ada").to_dict(),)]


def test_a_playlist_of_nothing_but_blocked_tracks_is_null_in_sql(
    store: Store, deployment: PostgresDeployment
) -> None:
    make("2026-W47").publish(store)
    for n in ("1", "2", "3", "spare 1", "spare 2"):
        store.block(f"2026-W47/bob/{n}")
    with pytest.raises(NoSuchUserError):
        store.playlist("bob")
    assert deployment.run(f"SELECT {deployment.schema}.playlist('bob')") == [(None,)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(score=st.floats(allow_nan=False, allow_infinity=False))
@example(score=5e-324)
@example(score=-2.2250738585072014e-308)
@example(score=sys.float_info.max)
def test_scores_are_exact_in_sql(
    store: Store, deployment: PostgresDeployment, score: float
) -> None:
    store.forget("nobody")  # makes the store
    bits = int.from_bytes(_packed(score)[8:16], "little", signed=True)
    assert deployment.run(f"SELECT {deployment.schema}.float64(%s)", bits) == [(score,)]
    query = f"SELECT * FROM {deployment.schema}.unpacked(%s)"
    assert deployment.run(query, _packed(score) * 2)[1] == (2, 7, 4_000_000_000, score, 200)


def _packed(score: float) -> bytes:
    from recsys.store._value import TRACK

    return TRACK.pack(7, 4_000_000_000, score, 200)


def test_a_reader_needs_no_more_than_to_read(store: Store, deployment: PostgresDeployment) -> None:
    role = f"reader_{deployment.schema}"
    deployment.run(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    try:
        with open_store(deployment.server.url(deployment.schema, role)) as reader:
            store.forget("zoe")
            with pytest.raises(StoreError, match=r"does not let this account.*USAGE"):
                reader.playlist("ada")
            deployment.run(f"GRANT USAGE ON SCHEMA {deployment.schema} TO {role}")
            deployment.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {deployment.schema} TO {role}")
            deployment.run(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE publisher IN SCHEMA {deployment.schema} "
                f"GRANT SELECT ON TABLES TO {role}"
            )
            made = make("2026-W47")
            made.publish(store)
            assert reader.playlist("ada").edition == "2026-W47"
            assert reader.current() == store.current()
            for write in (lambda: reader.forget("ada"), reader.rollback, lambda: reader.prune(2)):
                with pytest.raises(StoreError, match="does not let this account"):
                    write()
    finally:
        deployment.wipe()
        deployment.run(f"DROP OWNED BY {role}")
        deployment.run(f"DROP ROLE {role}")


def test_a_read_only_server_can_be_read(store: Store, deployment: PostgresDeployment) -> None:
    made, later = make("2026-W47"), make("2026-W48")
    made.publish(store)
    options = "options=-c%20default_transaction_read_only%3Don"
    with open_store(f"{deployment.url}&{options}") as standby:
        assert standby.playlist("ada").edition == "2026-W47"
        for write in (lambda: standby.forget("ada"), lambda: later.stage(standby)):
            with pytest.raises(StoreError, match=r"read-only.*primary"):
                write()


def test_a_server_that_hangs_is_told_in_time(
    store: Store, deployment: PostgresDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = _backend(store, deployment)
    monkeypatch.setattr(_postgres_server, "_SECONDS_OF_SILENCE", 0.2)
    with open_store(deployment.url) as other:
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(StoreError, match=r"did not answer within.*unchanged"):
                store.playlist("ada")
        finally:
            os.kill(backend, signal.SIGCONT)
        assert other.playlist("ada").user_id == "ada"
    assert store.playlist("ada").user_id == "ada"


def test_a_reader_outlives_a_restart_of_the_server(
    store: Store, deployment: PostgresDeployment
) -> None:
    deployment.run("SELECT pg_terminate_backend(%s)", _backend(store, deployment))
    assert store.playlist("ada").user_id == "ada"


def test_names_that_a_killed_publisher_left_are_dropped(
    store: Store, deployment: PostgresDeployment
) -> None:
    make("2026-W46").publish(store)
    left = f"{deployment.schema}.track_0123456789abcdef"
    deployment.run(f"CREATE TABLE {left} (code bigint)")
    deployment.run(f"ALTER TABLE {left} OWNER TO publisher")
    assert deployment.leftovers() == ["track_0123456789abcdef"]
    make("2026-W47").publish(store)
    assert deployment.leftovers() == []
    assert store.playlist("ada", edition="2026-W46").tracks[0].track_id == "2026-W46/ada/1"


def _backend(store: Store, deployment: PostgresDeployment) -> int:
    """The server process that serves a reader, once an edition is published."""
    with open_store(deployment.url) as publisher:
        make("2026-W47").publish(publisher)
    assert store.playlist("ada").user_id == "ada"
    ((backend,),) = deployment.run(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'recsys' "
        "ORDER BY backend_start DESC LIMIT 1"
    )
    return int(backend)


def test_two_processes_may_make_the_store_at_once(deployment: PostgresDeployment) -> None:
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(deployment.url)) for _ in range(6)]
        with ThreadPoolExecutor(len(stores)) as pool:
            list(pool.map(lambda store: store.forget("ada"), stores))
        assert [store.tombstones() for store in stores] == [{"ada"}] * len(stores)


def test_pruning_waits_for_who_reads_for_long_and_lets_others_read(
    store: Store, deployment: PostgresDeployment
) -> None:
    for week in (45, 46, 47, 48):
        make(f"2026-W{week}").publish(store)
    tables = deployment.tables(make("2026-W45").digest)
    with deployment.server.admin() as admin, ThreadPoolExecutor(1) as pool:
        with admin.transaction():
            admin.execute(f"SELECT FROM {deployment.schema}.playlist_{tables}".encode())
            pruning = pool.submit(store.prune, 3)
            assert store.playlist("ada", edition="2026-W45").edition == "2026-W45"
            assert not pruning.done()
        assert [edition.edition for edition in pruning.result()] == ["2026-W45"]
    with pytest.raises(NoEditionError):
        store.playlist("ada", edition="2026-W45")


def test_a_store_of_an_older_version_is_refused(
    store: Store, deployment: PostgresDeployment
) -> None:
    make("2026-W47").publish(store)
    deployment.set_version(-1)
    for call in (lambda: store.playlist("ada"), lambda: store.forget("ada")):
        with pytest.raises(StoreError, match=r"has format 0.*Install the recsys that wrote it"):
            call()


def test_tables_of_others_are_left_alone(store: Store, deployment: PostgresDeployment) -> None:
    deployment.run(f"CREATE SCHEMA {deployment.schema}")
    deployment.run(f"CREATE TABLE {deployment.schema}.store (goods text)")
    deployment.run(f"GRANT ALL ON SCHEMA {deployment.schema} TO publisher")
    deployment.run(f"GRANT ALL ON TABLE {deployment.schema}.store TO publisher")
    for call in (lambda: store.playlist("ada"), lambda: store.forget("ada"), store.editions):
        with pytest.raises(StoreError, match=r"somebody else's.*\?schema="):
            call()


def test_a_user_without_an_id_is_refused(store: Store) -> None:
    made = make("2026-W47", ["", "ada"])
    with pytest.raises(StoreError, match="empty user_id"):
        made.stage(store)
    assert store.editions() == ()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://publisher:{PASSWORD}%zz@127.0.0.1/music",
        "postgresql://publisher:s3cret@127.0.0.1/music?colour=s3cret",
        "postgresql://publisher:s3cret@127.0.0.1/music?schema=Robert';--",
        "postgres://publisher:s3cret@127.0.0.1/music",
        "postgresql:publisher:s3cret@127.0.0.1/music",
    ],
)
def test_a_bad_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreError, match="expected") as refused:
        open_store(url)
    assert "s3cret" not in str(refused.value)


def test_no_message_has_the_password(deployment: PostgresDeployment) -> None:
    wrong = deployment.url.replace("s3cret", "s3cret-and-wrong")
    nowhere = deployment.url.replace(f":{deployment.server.port}/", ":1/")
    for url in (wrong, nowhere, wrong.replace("/music", "/another")):
        with open_store(url) as store, pytest.raises(StoreError) as refused:
            store.editions()
        assert refused.match("cannot be reached, or does not let this account in")
        assert "s3cret" not in f"{refused.value} {refused.value.__cause__} {store!r}"


def test_credentials_come_from_the_environment(
    deployment: PostgresDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = f"postgresql://127.0.0.1/music?schema={deployment.schema}"
    with open_store(deployment.url) as store:
        make("2026-W47").publish(store)
    for name, value in (
        ("PGUSER", "publisher"),
        ("PGPASSWORD", PASSWORD),
        ("PGPORT", str(deployment.server.port)),
    ):
        monkeypatch.setenv(name, value)
    with open_store(bare) as store:
        assert store.playlist("ada").user_id == "ada"
    with (
        open_store(f"{bare}&sslmode=require") as store,
        pytest.raises(StoreError, match="does not support SSL"),
    ):
        store.playlist("ada")


def test_the_driver_is_asked_for_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("recsys.store._postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'recsys-weekly\[postgresql\]'"):
        open_store("postgresql://127.0.0.1/music")
