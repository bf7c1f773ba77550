"""The ledger on Redis: what was staged, what is served, who is forgotten, which tracks are blocked.

=====================  ======  ====================================================================
key                    type    holds
=====================  ======  ====================================================================
NAMESPACE:store        hash    ``format``; ``served``, a digest; ``version``, new after each change
NAMESPACE:editions     hash    by digest: an edition, a JSON object
NAMESPACE:ledger       list    entries, JSON objects, oldest first
NAMESPACE:tombstones   hash    by user: when the user was forgotten
NAMESPACE:blocks       hash    by track: when it was blocked
NAMESPACE:rows:NAME:…          the rows of one staging, see :mod:`recsys.store._redis_reader`
=====================  ======  ====================================================================

Every change watches ``NAMESPACE:store`` and gives it another version: of two at once, one starts
over. A reader compares the version with that of the catalogue it holds, at every playlist.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from recsys.errors import StoreError
from recsys.store._asking import Which
from recsys.store._contract import Action, Edition, History, LedgerEntry, State
from recsys.store._redis_reader import Rows
from recsys.store._redis_server import Command, Server
from recsys.store._rules import Entry, Moves
from recsys.weeks import Week

FORMAT: Final = 1


class Record(NamedTuple):
    """An edition, and where its rows are; None where they were lost or pruned."""

    edition: Edition
    rows: Rows | None


class Catalogue(NamedTuple):
    """All that a reader needs to know but the playlists: true as long as ``version`` is.

    ``present`` of its editions says no more than that their rows were once stored.
    """

    version: bytes | None
    records: tuple[Record, ...]
    blocked: frozenset[str]

    @property
    def editions(self) -> tuple[Edition, ...]:
        """Newest (week, revision) first."""
        return tuple(record.edition for record in self.records)

    def find(self, asked: Which) -> Record | None:
        """The edition that a reader asks for."""
        if asked.edition is None and asked.on is None:
            return next((one for one in self.records if one.edition.served), None)
        for record in self.records:
            week = record.edition.edition
            wanted = week == asked.edition if asked.on is None else _monday(week) <= asked.on
            if wanted and record.edition.readable:
                return record
        return None


class Change(NamedTuple):
    """What is to be changed at one instant: moves, new places of rows, and other commands.

    The rows of an edition whose place is None are let go of.
    """

    moves: Moves = Moves()
    places: Mapping[str, Rows | None] = {}
    commands: tuple[Command, ...] = ()


class Ledger:
    """The ledger under a server's namespace; there need not be one yet."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.store = f"{server.namespace}:store"
        self.tombstones = f"{server.namespace}:tombstones"
        self.blocks = f"{server.namespace}:blocks"
        self._editions = f"{server.namespace}:editions"
        self._entries = f"{server.namespace}:ledger"

    def catalogue(self) -> Catalogue:
        """What readers need, seen at one instant."""
        version, served, (editions, blocked) = self._at_once(
            ("HGETALL", self._editions), ("HKEYS", self.blocks)
        )
        return Catalogue(
            version,
            _records(editions, served),
            frozenset(track.decode() for track in blocked),
        )

    def history(self) -> History:
        """Everything, seen at one instant."""
        return self._seen()[0]

    def record(self, digest: str) -> Record | None:
        """The edition staged under a digest."""
        records = self.catalogue().records
        return next((one for one in records if one.edition.digest == digest), None)

    def change(self, decide: Callable[[History], Change]) -> tuple[LedgerEntry, ...]:
        """Change the ledger at one instant, as ``decide`` says of the history that it is shown.

        Where somebody else changes it meanwhile, ``decide`` is asked again.

        Returns:
            The new entries of the ledger.
        """
        added: list[LedgerEntry] = []

        def commands() -> list[Command]:
            history, records = self._seen()
            change = decide(history)
            added[:] = _numbered(history.ledger, change.moves.entries)
            wanted = [
                *self._written(change, {one.edition.digest: one.rows for one in records}),
                *(("RPUSH", self._entries, _json(_plain_entry(entry))) for entry in added),
                *change.commands,
            ]
            if not wanted:
                return []
            stamp = ("HSET", self.store, "format", FORMAT, "version", uuid.uuid4().hex)
            return [stamp, *wanted]

        self._server.change(self.store, commands)
        return tuple(added)

    def restored(self, history: History) -> Change:
        """All of another store's history, as one change; its rows are nowhere."""
        return Change(
            Moves(tuple(replace(edition, present=False) for edition in history.editions)),
            commands=(
                *(("RPUSH", self._entries, _json(_plain_entry(e))) for e in history.ledger),
                *(
                    ("HSET", key, name, at.isoformat())
                    for key, marks in (
                        (self.tombstones, history.tombstones),
                        (self.blocks, history.blocks),
                    )
                    for name, at in marks.items()
                ),
            ),
        )

    def unstaged(self, digest: str, rows: Rows, added: Iterable[LedgerEntry]) -> Change:
        """As if a digest had never been staged; ``added`` is all that the ledger says of it."""
        entries = (("LREM", self._entries, -1, _json(_plain_entry(entry))) for entry in added)
        commands = (("HDEL", self._editions, digest), *entries, ("UNLINK", *rows.keys))
        return Change(commands=commands)

    def _written(self, change: Change, before: Mapping[str, Rows | None]) -> Iterable[Command]:
        """The commands that write the editions, and let go of rows that nobody needs any more."""
        for edition in change.moves.editions:
            old = before.get(edition.digest)
            rows = None if edition.pruned else change.places.get(edition.digest, old)
            text = _json(_plain(Record(edition, rows)))
            yield ("HSET", self._editions, edition.digest, text)
            if edition.served:
                yield ("HSET", self.store, "served", edition.digest)
            if old is not None and old != rows:
                yield ("UNLINK", *old.keys)

    def _seen(self) -> tuple[History, tuple[Record, ...]]:
        while True:
            version, served, (editions, entries, tombstones, blocks) = self._at_once(
                ("HGETALL", self._editions),
                ("LRANGE", self._entries, 0, -1),
                ("HGETALL", self.tombstones),
                ("HGETALL", self.blocks),
            )
            records = tuple(self._looked_for(one) for one in _records(editions, served))
            if self._server.ask(("HGET", self.store, "version")) == [version]:
                break  # else rows may have come or gone since
        history = History(
            editions=tuple(record.edition for record in records),
            ledger=tuple(_entry(json.loads(text)) for text in entries),
            tombstones=_times(tombstones),
            blocks=_times(blocks),
        )
        return history, records

    def is_whole(self, rows: Rows, playlists: int) -> bool:
        """Whether a staging's keys are all there, with as many playlists and tracks as it says."""
        *counts, default = self._server.ask(
            *(("HLEN", key) for key in rows.keys[:-1]), ("EXISTS", rows.default_key)
        )
        return [sum(counts[:-1]), counts[-1], default] == [playlists, rows.tracks, 1]

    def _looked_for(self, record: Record) -> Record:
        edition, rows = record
        if rows is None:
            return record
        return Record(replace(edition, present=self.is_whole(rows, edition.rows)), rows)

    def _at_once(self, *commands: Command) -> tuple[bytes | None, bytes | None, list[Any]]:
        """The version, the digest served, and the replies, all of one instant.

        That is when the version is the same before and after. A transaction would do, but a server
        without memory refuses those, even to read.
        """
        facts: Command = ("HMGET", self.store, "format", "version", "served")
        while True:
            before, *replies, after = self._server.ask(facts, *commands, facts)
            self.check_format(before[0])
            if before == after:
                return before[1], before[2], replies

    def check_format(self, number: bytes | None) -> None:
        """Refuse a store of a format to come.

        Raises:
            StoreError: it is of another format.
        """
        if number not in (None, str(FORMAT).encode()):
            raise StoreError(
                f"The store in {self._server.name} has format {number.decode(errors='replace')}, "
                f"and this recsys knows format {FORMAT}. Install the recsys that wrote it, or a "
                "newer one."
            )


def _records(editions: list[bytes], served: bytes | None) -> tuple[Record, ...]:
    found = [_record(json.loads(text), (served or b"").decode()) for text in editions[1::2]]
    return tuple(sorted(found, key=lambda one: (one.edition.order, one.edition.staged_at)))[::-1]


def _plain(record: Record) -> dict[str, Any]:
    """An edition as JSON: its fields, the first and last day of its week, and its rows."""
    edition = asdict(record.edition)
    del edition["served"], edition["present"]
    week = Week.parse(record.edition.edition)
    days = {"valid_from": week.monday, "valid_until": week.sunday}
    return {**edition, **days, "stored": record.rows and record.rows.plain()}


def _record(plain: dict[str, Any], served: str) -> Record:
    stored = plain.pop("stored")
    del plain["valid_from"], plain["valid_until"]
    activated_at = plain.pop("activated_at")
    edition = Edition(
        **{**plain, "state": State(plain["state"])},
        activated_at=None if activated_at is None else datetime.fromisoformat(activated_at),
        served=plain["digest"] == served,
        present=stored is not None,
    )
    staged_at = datetime.fromisoformat(plain["staged_at"])
    return Record(replace(edition, staged_at=staged_at), Rows.parse(stored) if stored else None)


def _numbered(ledger: tuple[LedgerEntry, ...], entries: Iterable[Entry]) -> list[LedgerEntry]:
    last = ledger[-1].seq if ledger else 0
    now = datetime.now(UTC)
    return [LedgerEntry(n, now, *entry) for n, entry in enumerate(entries, start=last + 1)]


def _plain_entry(entry: LedgerEntry) -> dict[str, Any]:
    return asdict(entry)


def _entry(plain: dict[str, Any]) -> LedgerEntry:
    at, action = datetime.fromisoformat(plain["at"]), Action(plain["action"])
    return LedgerEntry(**{**plain, "at": at, "action": action})


def _times(pairs: list[bytes]) -> dict[str, datetime]:
    names, times = pairs[::2], pairs[1::2]
    return {
        name.decode(): datetime.fromisoformat(at.decode())
        for name, at in sorted(zip(names, times, strict=True))
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda day: day.isoformat())


def _monday(week: str) -> Any:
    return Week.parse(week).monday
