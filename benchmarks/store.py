"""How fast a week is published and a playlist is read, beside the bare work of the same server.

``python -m benchmarks.store`` prints a JSON line a measurement, then a table. It starts the servers
itself; a store whose server is not installed is left out, and said so.

What stands beside each store does nothing but move the same bytes, which lie ready in memory: it
packs and checks nothing, and neither reads back nor flips a pointer. Publishing is held against

- SQLite: all bytes of the edition in one write to a new file, and fsync of file and folder;
- PostgreSQL: in one transaction, two new tables, a binary COPY of the same rows into each, and the
  same primary keys; both sides with ``fsync = on``;
- Redis: redis-py's pipeline, one SET a playlist and 10,000 at a time, and the table of tracks.

The rows handed over lie in memory, too, their strings by dictionaries, as the artefact's Parquet
is read; that reading is no part of either side. Reading playlists is held against a SELECT of the
packed playlist (on SQLite of its bundle) by primary key, or a GET.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks._playlists import Playlists
from recsys.store import Store, open_store, playlists_digest
from recsys.store._files import sync
from recsys.weeks import Week

FIRST_WEEK: Final = Week.parse("2026-W40")
WARM_UP: Final = 10_000  # playlists that a client reads before: their tracks' names are kept
Lookup = Callable[[str], object]


class Sqlite:
    """A directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"sqlite:///{folder / 'store'}"

    def bare_publish(self, store: Store) -> Callable[[], None]:
        """What writes the bytes of the edition served, over and over."""
        files = sorted(self._edition(store).iterdir())
        data = b"".join(file.read_bytes() for file in files)

        def write() -> None:
            with (self._folder / "bare").open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            sync(self._folder)

        return write

    def tidy(self) -> None:
        """Remove what was written."""
        (self._folder / "bare").unlink()

    def bare_lookup(self, store: Store) -> tuple[str, str]:
        """What :func:`lookup` needs to find the bytes of the edition served."""
        return "sqlite", str(self._edition(store) / "shard-0.db")

    def _edition(self, store: Store) -> Path:
        current = store.current()
        assert current is not None
        (found,) = (self._folder / "store/editions").glob(f"*{current.digest[:12]}*")
        return found


class Postgresql:
    """A schema of a server with ``fsync = on``."""

    def __init__(self, folder: Path) -> None:
        from tests.store.postgres import PostgresDeployment, PostgresServer

        self._deployed = PostgresDeployment(folder, PostgresServer(fsync=True))
        self.url = self._deployed.url
        self._tables: list[str] = []

    def bare_publish(self, store: Store) -> Callable[[], None]:
        """What writes the bytes of the edition served, over and over."""
        bare = (
            ("playlist", "user_id", "user_id bytea NOT NULL, playlist bytea NOT NULL"),
            ("track", "code", "code bigint NOT NULL, names json NOT NULL"),
        )
        copied = []
        with self._deployed.server.admin() as admin:
            for kind, key, columns in bare:
                table = self._table(store, kind)
                query = f"COPY (SELECT * FROM {table} ORDER BY {key}) TO STDOUT (FORMAT binary)"
                with admin.cursor().copy(query.encode()) as copy:
                    copied.append((f"{table}_bare", key, columns, b"".join(copy)))
        self._tables = [table for table, *_ in copied]

        def load() -> None:
            with self._deployed.server.admin() as admin, admin.transaction():
                for table, key, columns, data in copied:
                    admin.execute(f"CREATE TABLE {table} ({columns})".encode())
                    query = f"COPY {table} FROM STDIN (FORMAT binary, FREEZE)"
                    with admin.cursor().copy(query.encode()) as copy:
                        copy.write(data)
                    admin.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({key})".encode())

        return load

    def tidy(self) -> None:
        """Remove what was written."""
        self._deployed.run(f"DROP TABLE {', '.join(self._tables)}")

    def bare_lookup(self, store: Store) -> tuple[str, str]:
        """What :func:`lookup` needs to find the bytes of the edition served."""
        return "postgresql", f"{self.url} {self._table(store, 'playlist')}"

    def _table(self, store: Store, kind: str) -> str:
        current = store.current()
        assert current is not None
        return f"{self._deployed.schema}.{kind}_{self._deployed.tables(current.digest)}"


class Redis:
    """A namespace of a server that keeps everything in memory alone."""

    def __init__(self, folder: Path) -> None:
        from tests.store.redis_server import RedisDeployment

        self._deployed = RedisDeployment(folder)
        self.url = self._deployed.url

    def bare_publish(self, store: Store) -> Callable[[], None]:
        """What writes the bytes of the edition served, over and over."""
        import redis

        client = redis.Redis(port=self._deployed.server.port)
        values: dict[bytes, bytes] = {}
        for key in self._rows(store).keys[:-2]:
            values.update(client.hgetall(key))
        tracks = list(client.hgetall(self._rows(store).tracks_key).items())
        self._report_memory(store)

        def fill() -> None:
            pipeline = client.pipeline(transaction=False)
            for n, (user, value) in enumerate(values.items(), start=1):
                pipeline.set(b"bare:%b" % user, value)
                if n % 10_000 == 0 or n == len(values):
                    pipeline.execute()
            for start in range(0, len(tracks), 10_000):
                pipeline.hset("bare:tracks", mapping=dict(tracks[start : start + 10_000]))
                pipeline.execute()

        return fill

    def tidy(self) -> None:
        """Remove what was written, but for what is looked up."""
        self._deployed.admin.delete("bare:tracks")

    def bare_lookup(self, store: Store) -> tuple[str, str]:
        """What :func:`lookup` needs; the keys are there since ``bare_publish``."""
        del store
        return "redis", str(self._deployed.server.port)

    def _report_memory(self, store: Store) -> None:
        rows, current = self._rows(store), store.current()
        assert current is not None
        used = [self._deployed.admin.memory_usage(key, samples=0) for key in rows.keys]
        say(
            store="redis",
            measure="memory",
            bytes_per_playlist=round(sum(used[:-2]) / current.rows),
            bytes_per_track=round(used[-2] / rows.tracks),
        )

    def _rows(self, store: Store) -> Any:
        current = store.current()
        assert current is not None
        return self._deployed.rows(current.digest)


STORES = {"sqlite": Sqlite, "postgresql": Postgresql, "redis": Redis}


def lookup(kind: str, address: str) -> Lookup:
    """The shortest way from a user to some bytes."""
    if kind == "sqlite":
        file = sqlite3.connect(f"file:{address}?immutable=1", uri=True, isolation_level=None)
        query = (
            "SELECT playlists FROM bundle WHERE first_user <= ? ORDER BY first_user DESC LIMIT 1"
        )
        return lambda user: file.execute(query, (user,)).fetchone()
    if kind == "redis":
        import redis

        client = redis.Redis(port=int(address))
        return lambda user: client.get(f"bare:{user}")
    import psycopg

    url, table = address.split()
    connection = psycopg.connect(url.partition("?")[0], autocommit=True)
    select = f"SELECT playlist FROM {table} WHERE user_id = %s".encode()
    return lambda user: connection.execute(select, (user.encode(),)).fetchone()


def client(task: tuple[str, tuple[str, str], list[str], int, int]) -> tuple[list[float], ...]:
    """One client: read playlists and do bare lookups in turns; seconds of each."""
    url, bare, users, reads, seed = task
    pick = random.Random(seed)
    with open_store(url) as store:
        ways: tuple[Lookup, Lookup] = (store.playlist, lookup(*bare))
        for user in pick.choices(users, k=WARM_UP):
            for way in ways:
                way(user)
        taken: tuple[list[float], ...] = ([], [])
        for user in pick.choices(users, k=reads):
            for way, seconds in zip(ways, taken, strict=True):
                start = time.perf_counter()
                way(user)
                seconds.append(time.perf_counter() - start)
    return taken


def measure_reads(name: str, url: str, bare: tuple[str, str], users: list[str], reads: int) -> None:
    """Latency with one client, and with eight at once."""
    for clients in (1, 8):
        tasks = [(url, bare, users, reads, seed) for seed in range(clients)]
        with multiprocessing.get_context("spawn").Pool(clients) as pool:
            told = pool.map(client, tasks, chunksize=1)
        figures = {}
        for n, what in enumerate(("playlist", "bare")):
            cuts = statistics.quantiles([s for taken in told for s in taken[n]], n=100)
            figures |= {
                f"{what}_p50_us": round(cuts[49] * 1e6),
                f"{what}_p99_us": round(cuts[98] * 1e6),
            }
        say(store=name, measure="read", clients=clients, reads=reads * clients, **figures)


def measure_publishing(
    name: str, store: Store, candidate: Any, made: Playlists, rounds: int
) -> None:
    """Publish and do the bare work in turns."""
    taken: list[float] = []
    bare_taken: list[float] = []
    own: list[float] = []
    for n in range(rounds + 1):
        week = FIRST_WEEK + n
        batches, default = made.week(week)
        digest = playlists_digest(batches, default)
        start, processor = time.perf_counter(), time.process_time()
        store.stage(str(week), 1, digest, batches, default)
        store.activate(str(week), digest)
        taken.append(time.perf_counter() - start)
        own.append(time.process_time() - processor)
        if n == 0:
            bare = candidate.bare_publish(store)
        store.prune(2)
        start = time.perf_counter()
        bare()
        bare_taken.append(time.perf_counter() - start)
        candidate.tidy()
    ratios = [a / b for a, b in zip(taken[1:], bare_taken[1:], strict=True)]  # the first warms up
    say(
        store=name,
        measure="publish",
        playlists=len(made.users),
        seconds=round(statistics.median(taken[1:]), 2),
        processor_seconds=round(statistics.median(own[1:]), 2),
        bare_seconds=round(statistics.median(bare_taken[1:]), 2),
        ratio=round(statistics.median(ratios), 2),
        lowest=round(min(ratios), 2),
        highest=round(max(ratios), 2),
    )


SAID: list[dict[str, Any]] = []


def say(**measurement: Any) -> None:
    """Print a measurement, and keep it for the table."""
    SAID.append(measurement)
    print(json.dumps(measurement), flush=True)


def table() -> str:
    """All measurements as Markdown."""
    lines = ["", "| store | | seconds or µs | bare | ratio |", "|---|---|---|---|---|"]
    for one in SAID:
        if one["measure"] == "publish":
            what = f"publish {one['playlists']:,}"
            ratio = f"{one['ratio']} ({one['lowest']} to {one['highest']})"
            seconds = f"{one['seconds']} s | {one['bare_seconds']} s"
            lines.append(f"| {one['store']} | {what} | {seconds} | {ratio} |")
        elif one["measure"] == "read":
            for cut in ("p50", "p99"):
                mine, bare = one[f"playlist_{cut}_us"], one[f"bare_{cut}_us"]
                what = f"read, {one['clients']} at once, {cut}"
                lines.append(
                    f"| {one['store']} | {what} | {mine} µs | {bare} µs | {mine / bare:.1f} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Measure the stores that this machine has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=200_000, help="playlists (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="publishings (%(default)s)")
    parser.add_argument("--reads", type=int, default=5_000, help="a client (%(default)s)")
    parser.add_argument("--store", choices=STORES, action="append", help="only this one")
    options = parser.parse_args()
    made = Playlists(options.size)
    for name in options.store or STORES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                candidate = STORES[name](Path(folder))
            except Exception as error:  # noqa: BLE001 (whatever the reason, the others go on)
                print(f"{name} is left out: {error}", flush=True)
                continue
            with open_store(candidate.url) as store:
                measure_publishing(name, store, candidate, made, options.rounds)
                bare = candidate.bare_lookup(store)
                measure_reads(name, candidate.url, bare, made.users, options.reads)
    print(table())


if __name__ == "__main__":
    main()
