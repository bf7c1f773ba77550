"""The playlist store on a Redis server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

from recsys.errors import StoreError
from recsys.store import _asking as asking
from recsys.store import _rules as rules
from recsys.store._asking import Which
from recsys.store._contract import Edition, History, LedgerEntry
from recsys.store._moving import Staging
from recsys.store._parted import PartedStore, PartWriter
from recsys.store._playlist import Playlist
from recsys.store._redis_ledger import Change, Ledger, Record
from recsys.store._redis_reader import Rows
from recsys.store._redis_server import Command, Server
from recsys.store._rules import Moves
from recsys.store._value import DAMAGED, Values
from recsys.weeks import Week

if TYPE_CHECKING:
    import pyarrow as pa

    from recsys.store._handed import Handed
    from recsys.store._parts import Noted

_READERS_KEPT: Final = 4


class RedisStore(PartedStore):
    """Each staging has keys of its own, and the ledger says which are served.

    Rows expire until they are entered in the ledger: whenever a publisher is killed, what is served
    stays served, and what it left behind goes by itself.
    """

    def __init__(self, url: str) -> None:
        """Open the store at ``redis://HOST:PORT/DB?namespace=recsys``; it need not be there yet.

        Raises:
            StoreError: the URL has another form, or the server cannot be used.
        """
        self._url = url
        self._server = Server(url)
        self._ledger = Ledger(self._server)
        self._readers: dict[str, Values] = {}
        self._catalogue = self._ledger.catalogue()

    def playlist(
        self, user_id: str, edition: str | None = None, on: date | None = None
    ) -> Playlist:
        self._check_open()
        asking.check_id(user_id)
        return self._read(asking.which(edition, on), user_id)

    def default_playlist(self, edition: str | None = None) -> Playlist:
        self._check_open()
        return self._read(asking.which(edition, None), None)

    def erase(self) -> int:
        self._check_open()
        removed = 0

        def without(history: History) -> Change:
            nonlocal removed
            removed = 0
            forgotten = [user.encode() for user in history.tombstones]
            changes: list[Moves] = []
            commands: list[Command] = []
            for record in self._ledger.catalogue().records:
                rows, digest = record.rows, record.edition.digest
                if rows is None or not forgotten:
                    continue
                held = self._server.ask(*(("HEXISTS", rows.bucket(u), u) for u in forgotten))
                gone = [user for user, there in zip(forgotten, held, strict=True) if there]
                if gone:
                    commands += [("HDEL", rows.bucket(user), user) for user in gone]
                    changes.append(rules.erased(history.editions, digest, len(gone)))
                    removed += len(gone)
            moves = Moves(
                tuple(edition for change in changes for edition in change.editions),
                tuple(entry for change in changes for entry in change.entries),
            )
            return Change(moves, commands=tuple(commands))

        self._ledger.change(without)
        return removed

    def rows(self, digest: str) -> Iterator[pa.RecordBatch]:
        from recsys.store._redis_stage import read_rows

        self._check_open()
        record = self._ledger.record(digest)
        if record is None:
            raise asking.not_staged(digest)
        week = record.edition.edition
        if record.rows is None:
            raise asking.lost(week)
        return read_rows(self._server, Week.parse(week), record.rows)

    def history(self) -> History:
        self._check_open()
        return self._ledger.history()

    def restore(self, history: History) -> bool:
        self._check_open()
        restored = False

        def fill(mine: History) -> Change:
            nonlocal restored
            restored = not any((mine.editions, mine.ledger, mine.tombstones, mine.blocks))
            return self._ledger.restored(history) if restored else Change()

        self._ledger.change(fill)
        return restored

    def close(self) -> None:
        self._closed = True
        self._server.close()

    def _move(self, decide: Callable[[History], Moves]) -> Sequence[LedgerEntry]:
        self._check_open()
        return self._ledger.change(lambda history: Change(decide(history)))

    def _prepare(self) -> None:
        self._server.check_keeps()

    def _stage(self, staging: Staging, handed: Handed) -> int:
        from recsys.store._redis_stage import write_rows

        rows = write_rows(
            self._server,
            handed,
            revision=staging.revision,
            digest=staging.digest,
            expected=staging.expected,
        )
        return self._enter(staging, handed, rows)

    def _stage_parts(
        self, staging: Staging, handed: Handed, noted: Noted, send: Callable[[PartWriter], None]
    ) -> int:
        from recsys.store._parts import PartPacker
        from recsys.store._redis_parts import Writer, aside, write_parts

        begun = aside(self._server, handed.week, staging.revision, staging.digest)
        packed = PartPacker(handed.packer(), handed.hidden)
        writer = Writer(self._url, handed.week, begun, packed)
        rows = write_parts(self._server, begun, handed, noted, lambda: send(writer))
        return self._enter(staging, handed, rows)

    def _enter(self, staging: Staging, handed: Handed, written: Rows) -> int:
        """Enter rows that are written; returns how many are stored."""
        from recsys.store._redis_parts import discard, moved
        from recsys.store._redis_stage import keep_alive

        digest, rows = staging.digest, written

        def register(history: History) -> Change:
            nonlocal rows
            there = next((one for one in history.editions if one.digest == digest), None)
            if there is not None and there.present:  # another publisher was faster
                return Change(rules.renumber(history, digest, staging.revision))
            keep_alive(self._server, written)
            if not self._ledger.is_whole(written, handed.rows):
                raise StoreError(
                    f"{self._server.name} dropped playlists while they were staged: check its "
                    "memory and its eviction policy, and stage them again."
                )
            rows, moves = moved(self._server, written)
            kept: tuple[Command, ...] = tuple(("PERSIST", key) for key in rows.keys)
            return Change(staging.register(history, handed), {digest: rows}, (*moves, *kept))

        added = self._ledger.change(register)
        record = self._ledger.record(digest)
        stored = record.rows if record is not None else None
        if stored is not None and stored != rows and stored.prefix == rows.prefix:
            self._take_back(digest, rows, added)
        if stored != written:
            discard(self._server, written)
        return handed.rows if record is None else record.edition.rows

    def _take_back(self, digest: str, rows: Rows, added: Sequence[LedgerEntry]) -> None:
        """Let go of rows that are entered in the ledger otherwise than they were written.

        Raises:
            StoreError: always.
        """

        def without(history: History) -> Change:
            if [entry for entry in history.ledger if entry.digest == digest] == list(added):
                return self._ledger.unstaged(digest, rows, added)
            editions = tuple(one for one in history.editions if one.digest == digest)
            return Change(Moves(editions), {digest: None})

        self._ledger.change(without)
        raise StoreError(
            f"What codes in the playlists of {digest[:12]} mean reads back from "
            f"{self._server.name} otherwise than it was written: nothing is staged. The server may "
            "be failing."
        )

    def _stored_default(self, known: Edition) -> pa.RecordBatch:
        from recsys.store._redis_stage import read_default

        record = self._ledger.record(known.digest)
        if record is None or record.rows is None:
            raise asking.lost(known.edition)
        return read_default(self._server, Week.parse(known.edition), record.rows)

    def _forget(self, user_id: str) -> None:
        self._mark(self._ledger.tombstones, user_id)

    def _block(self, track_id: str) -> None:
        self._mark(self._ledger.blocks, track_id)

    def _read(self, asked: Which, user_id: str | None) -> Playlist:
        """A user's playlist, or the default playlist for None, in one round trip.

        The catalogue's version is asked for last: where it is still that of the catalogue held,
        the answers before it were of the edition asked for.
        """
        while True:
            catalogue = self._catalogue
            record = catalogue.find(asked)
            rows = record.rows if record is not None else None
            version, value, forgotten = self._ask(rows, user_id)
            if version != catalogue.version:
                self._catalogue = self._ledger.catalogue()
                continue
            if record is None:
                raise asking.no_edition(asked, catalogue.editions)
            if rows is None:
                raise asking.lost(record.edition.edition)
            if forgotten:
                raise asking.no_user(record.edition.edition)
            if value is None:
                self._check_whole(record, user_id)
                raise asking.no_user(record.edition.edition)
            try:
                playlist = self._unpacked(record, rows, user_id or "", value, catalogue.blocked)
            except StoreError:
                raise
            except DAMAGED as error:
                if self._ask(None, None)[0] == version:
                    raise self._damaged(record, repr(error)) from error
                continue  # its table of tracks was pruned meanwhile
            return playlist

    def _ask(
        self, rows: Rows | None, user_id: str | None
    ) -> tuple[bytes | None, bytes | None, bool]:
        """The catalogue's version, a packed playlist, and whether the user was forgotten."""
        commands: list[Command] = []
        if rows is not None and user_id is None:
            commands = [("GET", rows.default_key)]
        elif rows is not None and user_id is not None:
            user = user_id.encode()
            commands = [
                ("HEXISTS", self._ledger.tombstones, user),
                ("HGET", rows.bucket(user), user),
            ]
        *replies, facts = self._server.ask(
            *commands, ("HMGET", self._ledger.store, "format", "version")
        )
        self._ledger.check_format(facts[0])
        value = replies[-1] if replies else None
        return facts[1], value, len(replies) > 1 and bool(replies[0])

    def _unpacked(
        self, record: Record, rows: Rows, user_id: str, value: bytes, blocked: frozenset[str]
    ) -> Playlist:
        reader = self._readers.get(rows.prefix)
        if reader is None:
            reader = Values(record.edition.edition, rows.names)
            self._readers[rows.prefix] = reader
            for old in list(self._readers)[:-_READERS_KEPT]:
                self._readers.pop(old, None)

        def look_up(codes: list[int]) -> list[bytes]:
            found: list[bytes] = self._server.ask(("HMGET", rows.tracks_key, *codes))[0]
            return found

        playlist = reader.playlist(user_id, value, look_up)
        return asking.shown(playlist, lambda: reader.spares(value, look_up), blocked)

    def _check_whole(self, record: Record, user_id: str | None) -> None:
        """A playlist was not found: make sure that its edition is there."""
        rows = record.rows
        assert rows is not None
        if user_id is not None and self._server.ask(("EXISTS", rows.bucket(user_id.encode())))[0]:
            return
        state = self.state(record.edition.digest)
        if state is not None and not state.present:
            raise asking.lost(record.edition.edition)

    def _mark(self, key: str, name: str) -> None:
        now = datetime.now(UTC).isoformat()
        self._ledger.change(lambda _: Change(commands=(("HSETNX", key, name, now),)))

    def _damaged(self, record: Record, what: str) -> StoreError:
        return StoreError(
            f"The playlists of {record.edition.name} in {self._server.name} are damaged ({what}). "
            "Run its week again: the same command writes the same playlists."
        )
