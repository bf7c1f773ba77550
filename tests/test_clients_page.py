"""The code on docs/clients.md does what the page says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import NoSuchUserError
from recsys.store import Store, open_store
from recsys.store._playlist import Playlist
from tests.store.deployment import started
from tests.store.making import make

PAGE = Path(__file__).parents[1] / "docs" / "clients.md"
USERS = ("ada", "bob", "naïve 🎧 \0", "user-1")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'store'}"
    with open_store(url) as store:
        make("2026-W47", USERS).publish(store)
    return url


def run_python(block: str, url: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(block.replace("sqlite:////srv/recsys/store", url), names)
    return names


def test_the_python_service(sqlite_url: str) -> None:
    names = run_python(blocks("python")[0], sqlite_url)
    playlist_of, monday = names["playlist_of"], date(2026, 11, 16)
    assert playlist_of("user-1", monday)["user_id"] == "user-1"
    assert playlist_of("stranger", monday)["kind"] == "popular"
    assert playlist_of("user-1", date(2026, 11, 15)) is None
    names["STORE"].close()


def test_what_the_batch_reader_asks_the_store(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        store.forget("ada")
        store.block("x")
    names = run_python(blocks("python")[1], sqlite_url)
    assert (names["current"].edition, names["hidden"], names["blocked"]) == (
        "2026-W47",
        {"ada"},
        {"x"},
    )


def test_the_batch_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("2026-W47", USERS)
    folder = tmp_path / "data/editions/2026-W47/r1/playlists"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_batches(made.batches), folder / "playlists.parquet")
    monkeypatch.chdir(tmp_path)
    rows = duckdb.sql(blocks("sql")[1]).fetchall()
    assert len(rows) == 3 * len(USERS)
    assert rows[-1][:3] == ("user-1", 3, "2026-W47/user-1/3")


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on PATH")
def test_a_packed_playlist_in_javascript(sqlite_url: str) -> None:
    (shard,) = Path(sqlite_url.removeprefix("sqlite:///")).glob("editions/*/shard-0.db")
    connection = sqlite3.connect(shard)
    query = (
        "SELECT hex(playlists) FROM bundle WHERE first_user <= 'user-1' "
        "ORDER BY first_user DESC LIMIT 1"
    )
    (bundle,) = connection.execute(query).fetchone()
    connection.close()
    call = f"unpack(find(Buffer.from('{bundle}', 'hex'), 'user-1'))"
    program = f"{blocks('js')[0]}\nconsole.log(JSON.stringify({call}))"
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    entries = json.loads(done.stdout)["tracks"]
    assert [entry["score"] for entry in entries] == [1.0, 0.5, 1 / 3]
    assert entries[2]["because"] == 0


@pytest.fixture
def on_postgresql(tmp_path: Path) -> Iterator[Any]:
    with started("postgresql", tmp_path) as deployed:
        yield deployed


@pytest.fixture
def on_redis(tmp_path: Path) -> Iterator[Any]:
    with started("redis", tmp_path) as deployed:
        yield deployed


def test_the_functions_in_postgresql(on_postgresql: Any) -> None:
    with open_store(on_postgresql.url) as store:
        make("2026-W47", USERS).publish(store)
        wanted = [store.playlist("user-1").to_dict()] * 2 + [store.default_playlist().to_dict()]
    statements = blocks("sql")[0].replace("recsys.", f"{on_postgresql.schema}.").split(";\n")
    told = [on_postgresql.run(statement)[0][0] for statement in statements if statement]
    assert told == wanted


def shown(store: Store, user: str) -> Playlist | None:
    try:
        return store.playlist(user)
    except NoSuchUserError:
        return None


def test_the_script_on_redis_answers_as_python_does(on_redis: Any) -> None:
    script = blocks("lua")[0]
    with open_store(on_redis.url) as store:
        assert on_redis.admin.eval(script, 0, on_redis.namespace, "user-1") is None
        make("2026-W46", USERS).publish(store)
        make("2026-W47", USERS).publish(store)
        for change in (
            lambda: None,
            lambda: store.block("2026-W47/bob/1"),
            lambda: store.block("2026-W47/bob/2"),
            lambda: store.block("2026-W47/bob/spare 1"),
            lambda: [
                store.block(f"2026-W47/ada/{n}") for n in ("1", "2", "3", "spare 1", "spare 2")
            ],
            lambda: store.forget("user-1"),
            store.rollback,
        ):
            change()
            for user in (*USERS, "stranger"):
                told = on_redis.admin.eval(script, 0, on_redis.namespace, user)
                playlist = shown(store, user)
                assert (told is None) == (playlist is None)
                if told is None or playlist is None:
                    continue
                answer = json.loads(told)
                assert (answer["edition"], answer["kind"]) == (playlist.edition, playlist.kind)
                assert answer["tracks"] == [
                    {
                        "track": [track.track_id, track.track_name, list(track.artist_names)],
                        "score": track.score,
                        "source": track.source,
                        "because_track_id": track.because_track_id,
                    }
                    for track in playlist.tracks
                ]


def test_the_commands_on_redis(on_redis: Any) -> None:
    made = make("2026-W47", USERS)
    with open_store(on_redis.url) as store:
        made.publish(store)
    rows = on_redis.rows(made.digest)
    known = {
        "SERVED": made.digest,
        "PREFIX": rows.prefix,
        "BUCKET": rows.bucket(b"user-1").rpartition(":")[2],
        "TRACK": "2026-W47/user-1/1",
    }
    answers = []
    for line in blocks("sh")[0].replace("recsys:", f"{on_redis.namespace}:").splitlines():
        words = shlex.split(line, comments=True)[1:]
        filled = [re.sub(r"\$(\w+)", lambda name: known[name[1]], word) for word in words]
        answers.append(on_redis.admin.execute_command(*filled))
    facts, forgotten, edition, value, names, blocked = answers
    assert facts[:2] == [b"1", made.digest.encode()]
    assert json.loads(edition)["stored"]["prefix"] == rows.prefix
    assert (forgotten, len(value) > 6, all(names), blocked) == (False, True, True, False)


def test_a_reader_needs_no_more_than_to_read(on_redis: Any) -> None:
    rights = re.search(r"`(\+@read [^`]*)`", PAGE.read_text())
    assert rights is not None
    with open_store(on_redis.url) as store:
        make("2026-W47", USERS).publish(store)
    on_redis.admin.acl_setuser(
        "reader", enabled=True, passwords="+pw", keys=["*"], categories=rights[1].split()
    )
    with open_store(on_redis.url.replace("redis://", "redis://reader:pw@")) as store:
        assert store.playlist("user-1").edition == "2026-W47"
    on_redis.admin.acl_deluser("reader")


def test_the_versions_on_the_page(on_redis: Any, on_postgresql: Any) -> None:
    from recsys.store import _postgres_ledger, _redis_ledger

    page = PAGE.read_text()
    assert f"| Redis | field `format` of hash `NAMESPACE:store` | {_redis_ledger.FORMAT} |" in page
    assert f"| PostgreSQL | column `format` of table `store` | {_postgres_ledger.FORMAT} |" in page
