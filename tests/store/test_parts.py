"""Contract of stores on servers: the parts of an edition are written by several processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from recsys.errors import StoreError
from recsys.store import Action, PartedStore, PartWriter, open_store
from tests.store.deployment import Deployment, started
from tests.store.making import Made, make, stored_rows

#: Forked from a process that has imported this module and done nothing.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])

USERS = [f"user {n:02}" for n in range(20)]


@pytest.fixture(params=["postgresql", "redis"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    with started(request.param, tmp_path) as deployed:
        yield deployed


@pytest.fixture
def parted(deployment: Deployment) -> Iterator[PartedStore]:
    with open_store(deployment.url) as store:
        assert isinstance(store, PartedStore)
        yield store


Parts = Sequence[Sequence[pa.RecordBatch]]


def parts_of(made: Made, *sizes: int) -> Parts:
    """The rows of an edition in parts of so many rows, each in batches of two."""
    rows = pa.concat_batches(made.batches)
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    return [
        [rows.slice(at, min(2, start + size - at)) for at in range(start, start + size, 2)]
        for start, size in zip(starts, sizes, strict=True)
    ]


def stage(store: PartedStore, made: Made, parts: Parts, send: Callable[[PartWriter], None]) -> int:
    return store.stage_parts(made.edition, made.revision, made.digest, parts, made.default, send)


def write_all(parts: Parts, *order: int) -> Callable[[PartWriter], None]:
    """Writes parts one after another, each as another process would: by a copy of the writer."""

    def send(writer: PartWriter) -> None:
        for part in order or range(len(parts)):
            pickle.loads(pickle.dumps(writer)).write(part, parts[part])

    return send


def check(deployment: Deployment, store: PartedStore, made: Made) -> None:
    """The edition can be served, row for row, and nothing else is in the store."""
    wanted = [row for part in made.batches for row in part.to_pylist()]
    assert stored_rows(store, made.digest) == wanted
    staged = store.state(made.digest)
    assert staged is not None
    assert (staged.rows, staged.present) == (len(wanted), True)
    assert deployment.leftovers() == []
    store.activate(made.edition, made.digest)
    for row in wanted:
        assert store.playlist(row["user_id"]).tracks[0].track_id == row["tracks"][0]["track_id"]
    assert store.default_playlist().kind == "popular"


def write_in_a_process(writer: PartWriter, part: int, batches: Sequence[pa.RecordBatch]) -> int:
    writer.write(part, batches)
    return os.getpid()


def die_while_writing(writer: PartWriter, part: int, batches: Sequence[pa.RecordBatch]) -> None:
    def deadly() -> Iterator[pa.RecordBatch]:
        yield from batches[:-1]
        os.kill(os.getpid(), signal.SIGKILL)

    writer.write(part, deadly())


def test_parts_are_written_by_several_processes_one_of_which_dies(
    deployment: Deployment, parted: PartedStore
) -> None:
    made = make("2026-W47", USERS)
    parts = parts_of(made, 7, 0, 12, 1)

    def send(writer: PartWriter) -> None:
        victim = PROCESSES.Process(target=die_while_writing, args=(writer, 2, parts[2]))
        victim.start()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL
        writer.write(0, parts[0])
        with ProcessPoolExecutor(1, PROCESSES) as pool:
            every = [*enumerate(parts), (2, parts[2])]
            done = [pool.submit(write_in_a_process, writer, *part) for part in every]
            assert os.getpid() not in {one.result() for one in done}

    assert stage(parted, made, parts, send) == len(USERS)
    check(deployment, parted, made)


@pytest.mark.parametrize("sizes", [(20,), (1, 19), (0, 20, 0), (5, 5, 5, 5)])
def test_wherever_the_rows_are_cut_it_is_the_same_edition(
    deployment: Deployment, parted: PartedStore, sizes: tuple[int, ...]
) -> None:
    made = make("2026-W47", USERS)
    parts = parts_of(made, *sizes)
    stage(parted, made, parts, write_all(parts))
    check(deployment, parted, made)
    with open_store(deployment.another().url) as other:
        assert made.stage(other) == len(USERS)


def test_attempts_at_one_part_at_the_same_time(deployment: Deployment, parted: PartedStore) -> None:
    made = make("2026-W47", USERS)
    parts = parts_of(made, 12, 8)

    def send(writer: PartWriter) -> None:
        with ThreadPoolExecutor(6) as pool:
            for written in [pool.submit(writer.write, n % 2, parts[n % 2]) for n in range(6)]:
                written.result()

    stage(parted, made, parts, send)
    check(deployment, parted, made)


def test_an_edition_without_listeners(parted: PartedStore) -> None:
    made = make("2026-W47", [])
    assert stage(parted, made, [], lambda _: None) == 0
    parted.activate(made.edition, made.digest)
    assert parted.default_playlist().kind == "popular"


def test_forgotten_users_are_left_out(deployment: Deployment, parted: PartedStore) -> None:
    parted.forget("user 03")
    parted.forget("user 09")
    made = make("2026-W47", USERS)
    parts = parts_of(made, 3, 1, 16)  # of the second nothing is left
    assert stage(parted, made, parts, write_all(parts)) == len(USERS) - 2
    users = [row["user_id"] for row in stored_rows(parted, made.digest)]
    assert users == [user for user in USERS if user not in ("user 03", "user 09")]
    with open_store(deployment.another().url) as other:
        for user in ("user 03", "user 09"):
            other.forget(user)
        made.stage(other)
        assert stored_rows(other, made.digest) == stored_rows(parted, made.digest)


def refused(parted: PartedStore, deployment: Deployment, why: str, parts: Parts, *order: int,
            written: Parts | None = None) -> None:  # fmt: skip
    """It is refused; nothing is there then, and what was served is; then it can be staged."""
    old, made = make("2026-W46"), make("2026-W47", USERS)
    old.publish(parted)
    with pytest.raises(StoreError, match=why):
        stage(parted, made, parts, write_all(written or parts, *order))
    assert [edition.edition for edition in parted.editions()] == ["2026-W46"]
    assert deployment.leftovers() == []
    assert parted.playlist("ada").edition == "2026-W46"
    whole = parts_of(made, 10, 10)
    stage(parted, made, whole, write_all(whole))
    check(deployment, parted, made)


def test_a_part_that_is_missing(deployment: Deployment, parted: PartedStore) -> None:
    parts = parts_of(make("2026-W47", USERS), 5, 10, 5)
    refused(parted, deployment, "1 of the 3 parts .* the first of them part 1", parts, 0, 2)


def test_a_part_of_other_rows(deployment: Deployment, parted: PartedStore) -> None:
    parts = parts_of(make("2026-W47", USERS), 5, 10, 5)
    fewer = [*parts[:1], parts[1][:-1], *parts[2:]]
    refused(parted, deployment, "Part 1 .* other rows", parts, written=fewer)


def test_a_part_with_tracks_that_nobody_named(deployment: Deployment, parted: PartedStore) -> None:
    parts = parts_of(make("2026-W47", USERS), 5, 10, 5)
    others = parts_of(make("2026-W47", USERS, salt="other"), 5, 10, 5)
    refused(parted, deployment, "Part 2 .* other rows", parts, written=[*parts[:2], others[2]])


def test_what_is_not_an_edition_is_refused_before_it_is_written(
    deployment: Deployment, parted: PartedStore
) -> None:
    made, other = make("2026-W47", USERS), make("2026-W47", USERS, salt="other")

    def send(_: PartWriter) -> None:
        pytest.fail("nothing is to be written")

    for parts, why in (
        (parts_of(other, 10, 10), "not those of digest"),
        (parts_of(made, 10, 9), "not those of digest"),
        (parts_of(made, 10, 10)[::-1], "Row 11 is out of order"),
        ([*parts_of(made, 20), *parts_of(made, 20)], "Row 21 is out of order"),
    ):
        with pytest.raises(StoreError, match=why):
            stage(parted, made, parts, send)
    assert (parted.editions(), deployment.leftovers()) == ((), [])


def test_what_is_there_is_not_written_again(deployment: Deployment, parted: PartedStore) -> None:
    made = make("2026-W47", USERS)
    parts = parts_of(made, 10, 10)

    def send(writer: PartWriter) -> None:
        made.stage(parted)  # another publisher is faster
        write_all(parts)(writer)

    assert stage(parted, made, parts, send) == len(USERS)
    assert stage(parted, made, parts, lambda _: pytest.fail("it is there")) == len(USERS)
    assert [entry.action for entry in parted.ledger()] == [Action.STAGED]
    check(deployment, parted, made)


def test_an_attempt_that_comes_late_changes_nothing(
    deployment: Deployment, parted: PartedStore
) -> None:
    made = make("2026-W47", USERS)
    parts = parts_of(made, 10, 10)
    kept: list[PartWriter] = []

    def send(writer: PartWriter) -> None:
        write_all(parts)(writer)
        kept.append(writer)

    stage(parted, made, parts, send)
    parted.forget("user 03")
    assert parted.erase() == 1
    with contextlib.suppress(StoreError):  # as the server likes
        kept[0].write(0, parts[0])
    assert len(stored_rows(parted, made.digest)) == len(USERS) - 1
    assert deployment.leftovers() == []


def test_a_publisher_that_was_killed_leaves_what_is_served_and_no_rubbish(
    deployment: Deployment, parted: PartedStore
) -> None:
    make("2026-W46").publish(parted)
    made = make("2026-W47", USERS)
    parts = parts_of(made, 10, 10)
    victim = PROCESSES.Process(target=die_while_staging, args=(deployment.url, made, parts))
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert parted.playlist("ada").edition == "2026-W46"
    stage(parted, made, parts, write_all(parts))
    check(deployment, parted, made)


def die_while_staging(url: str, made: Made, parts: Parts) -> None:
    def send(writer: PartWriter) -> None:
        writer.write(0, parts[0])
        os.kill(os.getpid(), signal.SIGKILL)

    with open_store(url) as store:
        assert isinstance(store, PartedStore)
        stage(store, made, parts, send)
