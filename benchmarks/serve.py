"""The read service under load: latency at a rate, what it sheds above it, and behind Varnish.

    python -m benchmarks.serve [--listeners 20000] [--rate 300] [--seconds 20]

Requests come at a fixed rate, whether or not those before are answered, and latency counts from
the moment at which a request was due: a service that falls behind cannot hide it. At ten times the
rate this client falls behind itself, so there it counts from the moment of sending. Listeners are
drawn by Zipf's law. Service, Varnish and this client share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.store import Playlists
from recsys.store import open_store, playlists_digest
from recsys.weeks import Week
from tests.serve.process import serving
from tests.serve.varnish import varnish

_CONCURRENCY = 64
#: Connections of the client; more than the service lets in at once.
_CONNECTIONS = 256


@dataclass
class Load:
    """What came of some requests.

    Attributes:
        statuses: how often each status was answered; 0 is none.
        hits: answers that a cache had.
        seconds: latency of each answer that was not shed.
        took: how long all of it took.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    hits: int = 0
    seconds: list[float] = field(default_factory=list)
    took: float = 0.0

    def line(self, name: str) -> str:
        """One row of the table."""
        total = sum(self.statuses.values())
        p50, p90, p99 = np.percentile(self.seconds or [float("nan")], [50, 90, 99]) * 1000
        others = {one: n for one, n in sorted(self.statuses.items()) if one not in (200, 503)}
        return (
            f"{name:<34}{total / self.took:>8.0f}{self.statuses[200] / self.took:>10.0f}"
            f"{p50:>9.1f}{p90:>8.1f}{p99:>8.1f}{self.statuses[503] / total:>9.1%}"
            f"{self.hits / total:>8.1%}  {others or ''}"
        )


class Client:
    """Sends GET requests over connections that are kept."""

    def __init__(self, url: str, users: list[str]) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._address = (host, int(port))
        self._users = users
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def run(self, rate: float, seconds: float, *, late: bool) -> Load:
        """Send requests at a rate, each when it is due.

        Args:
            rate: requests a second.
            seconds: for so long.
            late: count latency from the moment of sending, not from when it was due.
        """
        load, due = Load(), 1 / rate
        free = asyncio.Semaphore(_CONNECTIONS)
        started = time.perf_counter()
        tasks = set()
        for number in range(int(rate * seconds)):
            at = started + number * due
            if (wait := at - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(
                self._send(self._users[number], None if late else at, free, load)
            )
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        load.took = time.perf_counter() - started
        for _, writer in self._idle:
            writer.close()
        return load

    async def _send(
        self, user: str, due: float | None, free: asyncio.Semaphore, load: Load
    ) -> None:
        async with free:
            began = time.perf_counter() if due is None else due
            try:
                status, hit = await self._get(user)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                status, hit = 0, False
        load.statuses[status] += 1
        load.hits += hit
        if status == 200:
            load.seconds.append(time.perf_counter() - began)

    async def _get(self, user: str) -> tuple[int, bool]:
        while self._idle:  # the server may have closed it meanwhile
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                break
            writer.close()
        else:
            reader, writer = await asyncio.open_connection(*self._address)
        writer.write(f"GET /v1/users/{user}/playlists/weekly HTTP/1.1\r\nHost: b\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
        await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head.split(" ", 2)[1]), " " in headers.get("x-varnish", "")


def drawn(listeners: list[str], number: int, exponent: float) -> list[str]:
    """Listeners by Zipf's law: some ask often, most seldom."""
    weights = 1 / np.arange(1, len(listeners) + 1) ** exponent
    generator = np.random.default_rng(1)
    return [
        listeners[at] for at in generator.choice(len(listeners), number, p=weights / weights.sum())
    ]


@contextmanager
def published(listeners: int) -> Iterator[tuple[Path, str, list[str]]]:
    """A store that serves this week."""
    with tempfile.TemporaryDirectory(prefix="serve-") as folder:
        made = Playlists(listeners)
        week = Week.of(datetime.now(UTC).date())
        batches, default = made.week(week)
        url = f"sqlite:///{folder}/store"
        with open_store(url) as store:
            digest = playlists_digest(batches, default)
            store.stage(str(week), 1, digest, batches, default)
            store.activate(str(week), digest)
        yield Path(folder), url, made.users


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--listeners", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    rate, seconds = options.rate, options.seconds
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load average {load:.1f} before; {options.listeners} listeners")
    print(
        f"{'':<34}{'asked/s':>8}{'200/s':>10}{'p50 ms':>9}{'p90':>8}{'p99':>8}"
        f"{'shed':>9}{'hits':>8}"
    )
    with published(options.listeners) as (folder, store_url, users), ExitStack() as stack:
        service, process = stack.enter_context(serving(folder, store_url, concurrency=_CONCURRENCY))
        _drain(process)

        def run(name: str, url: str, times: int = 1) -> None:
            asked = drawn(users, int(times * rate * seconds), 1.0)
            client = Client(url, asked)
            load = asyncio.run(client.run(times * rate, seconds, late=times > 1))
            print(load.line(name), flush=True)

        run("warm-up", service)
        run("the service at the stated rate", service)
        run("the service at ten times that", service, 10)
        run("and at the stated rate again", service)
        cache = stack.enter_context(varnish(int(service.rpartition(":")[2])))
        run("behind Varnish, cold", cache)
        run("behind Varnish, warm", cache)
        run("behind Varnish, at ten times that", cache, 10)
        process.terminate()
        process.wait()
        run("behind Varnish, the service down", cache)


def _drain(process: subprocess.Popen[str]) -> None:
    """Read the log of a process, which would else wait for somebody to do so."""
    stream = process.stderr or ()
    threading.Thread(target=lambda: deque(stream, maxlen=0), daemon=True).start()


if __name__ == "__main__":
    main()
