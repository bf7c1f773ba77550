"""Writing an edition to Redis by several processes. Needs NumPy and Arrow.

Parts go under keys of the staging, which expire; when all are there, those keys are renamed in the
transaction that enters the edition. An attempt that comes late writes what nobody reads.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from recsys.errors import StoreError
from recsys.store import _redis_stage as stage
from recsys.store._handed import Handed
from recsys.store._parted import PartWriter, check_parts
from recsys.store._parts import Noted, PartPacker
from recsys.store._redis_reader import Rows
from recsys.store._redis_server import Command, Server
from recsys.weeks import Week

_ASIDE: Final = ":aside"


def aside(server: Server, week: Week, revision: int, digest: str) -> Rows:
    """The keys of a new staging, while its parts are written."""
    rows = stage.new_rows(server, week, revision, digest)
    return replace(rows, prefix=rows.prefix + _ASIDE)


@dataclass(frozen=True, repr=False)
class Writer(PartWriter):
    """Writes parts under the keys of a staging, and reads them back."""

    url: str
    week: Week
    rows: Rows
    packed: PartPacker

    def write(self, part: int, batches: Iterable[pa.RecordBatch]) -> None:
        server, sha256 = Server(self.url), hashlib.sha256()
        with contextlib.closing(server):
            for frames in self.packed(batches):
                stage.write_playlists(server, self.rows, frames)
                sha256.update(stage.read_again(server, self.week, self.rows, frames))
            said: Command = ("HSET", _parts_key(self.rows), part, sha256.hexdigest())
            server.ask(*stage.expiring(_parts_key(self.rows), said))


def write_parts(
    server: Server, rows: Rows, handed: Handed, noted: Noted, send: Callable[[], None]
) -> Rows:
    """Have parts written, and write what they share beside them, under the keys of a staging.

    Args:
        server: where to.
        rows: of the staging.
        handed: the rows.
        noted: what must be found.
        send: has every part written.

    Raises:
        StoreError: parts are missing, were other rows, or what they share reads back otherwise
            than it was written. Nothing is left of them then.
    """
    try:
        send()
        found = server.ask(("HGETALL", _parts_key(rows)))[0]
        said = dict(zip(map(int, found[::2]), map(bytes.decode, found[1::2]), strict=True))
        check_parts(handed.week, noted.parts, said)
        return stage.write_shared(server, rows, handed, noted.default)
    except BaseException:
        discard(server, rows)
        raise


def discard(server: Server, rows: Rows) -> None:
    """Let go of a staging; where that fails it expires."""
    stage.discard(server, rows)
    with contextlib.suppress(StoreError):
        server.ask(("UNLINK", _parts_key(rows)))


def moved(server: Server, rows: Rows) -> tuple[Rows, tuple[Command, ...]]:
    """Where rows are from now on, and the commands that put them there; none for rows not aside."""
    place = replace(rows, prefix=rows.prefix.removesuffix(_ASIDE))
    if place == rows:
        return rows, ()
    there = server.ask(*(("EXISTS", key) for key in rows.keys))
    keys = zip(rows.keys, place.keys, there, strict=True)
    return place, tuple(("RENAME", old, new) for old, new, is_there in keys if is_there)


def _parts_key(rows: Rows) -> str:
    """The key of what is said of the parts."""
    return f"{rows.prefix}:parts"
