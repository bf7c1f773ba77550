"""What every store does alike: the moves of its editions, over one transaction of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence, Set
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from recsys.store import _asking as asking
from recsys.store import _rules as rules
from recsys.store._contract import Action, Edition, History, LedgerEntry, Store
from recsys.store._rules import Moves

if TYPE_CHECKING:
    import pyarrow as pa

    from recsys.store._handed import Handed


class Staging(NamedTuple):
    """What is being staged.

    Attributes:
        edition: the week.
        revision: counts from 1.
        digest: what it will be known by.
        expected: digest of the rows that are handed over.
    """

    edition: str
    revision: int
    digest: str
    expected: str

    def register(self, history: History, handed: Handed) -> Moves:
        """Its rows are in their place."""
        return rules.register(
            history,
            self.edition,
            self.revision,
            self.digest,
            rows=handed.rows,
            left_out=handed.left_out,
            now=datetime.now(UTC),
        )


class MovingStore(Store):
    """A store that asks the rules what a move changes, and writes it at one instant."""

    _closed = False

    @abstractmethod
    def _move(self, decide: Callable[[History], Moves]) -> Sequence[LedgerEntry]:
        """Write what ``decide`` says of the history as it is, with nobody writing in between."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make the store if there is none, or refuse before the long work."""

    @abstractmethod
    def _stage(self, staging: Staging, handed: Handed) -> int:
        """Write rows, read them back, and enter them; returns how many are stored."""

    @abstractmethod
    def _stored_default(self, known: Edition) -> pa.RecordBatch:
        """The default playlist of an edition that is present, as it is stored."""

    @abstractmethod
    def _forget(self, user_id: str) -> None:
        """Set a tombstone; the first one stays."""

    @abstractmethod
    def _block(self, track_id: str) -> None:
        """Block a track; the first time stays."""

    def stage(
        self,
        edition: str,
        revision: int,
        digest: str,
        batches: Iterable[pa.RecordBatch],
        default: pa.RecordBatch | pa.Table,
        *,
        remaining: str | None = None,
    ) -> int:
        return self._stage_once(edition, revision, digest, batches, default, remaining, self._stage)

    def _stage_once(
        self,
        edition: str,
        revision: int,
        digest: str,
        batches: Iterable[pa.RecordBatch],
        default: pa.RecordBatch | pa.Table,
        remaining: str | None,
        stage: Callable[[Staging, Handed], int],
    ) -> int:
        """:meth:`stage`, by ``stage`` where the rows are not there already."""
        from recsys.store._handed import Handed

        self._check_open()
        week = asking.check_staged(edition, revision)
        self._prepare()
        known, hidden = self.state(digest), self.tombstones()
        if known is not None and known.present:
            if known.edition != edition or not self._holds(
                known, batches, default, hidden, remaining
            ):
                raise asking.other_rows(known)
            self._move(lambda history: rules.renumber(history, digest, revision))
            return known.rows
        handed = Handed(batches, default, week=week, hidden=hidden)
        return stage(Staging(edition, revision, digest, remaining or digest), handed)

    def activate(self, edition: str, digest: str, *, backfill: bool = False) -> None:
        now = datetime.now(UTC)
        self._move(
            lambda history: rules.activate(history, edition, digest, backfill=backfill, now=now)
        )

    def rollback(self) -> LedgerEntry:
        now = datetime.now(UTC)
        return self._move(lambda history: rules.rollback(history, now))[-1]

    def release(self, edition: str, revision: int, digest: str, note: str) -> LedgerEntry:
        wanted = (Action.RELEASED, edition, revision, digest)
        there: list[LedgerEntry] = []

        def decide(history: History) -> Moves:
            there[:] = [
                entry
                for entry in history.ledger
                if (entry.action, entry.edition, entry.revision, entry.digest) == wanted
            ]
            return Moves() if there else Moves(entries=(rules.Entry(*wanted, note),))

        added = self._move(decide)
        return [*there, *added][0]

    def forget(self, user_id: str) -> None:
        self._check_open()
        asking.check_id(user_id)
        self._forget(user_id)

    def tombstones(self) -> frozenset[str]:
        return frozenset(self.history().tombstones)

    def block(self, track_id: str) -> None:
        self._check_open()
        asking.check_id(track_id, "track_id")
        self._block(track_id)

    def blocks(self) -> frozenset[str]:
        return frozenset(self.history().blocks)

    def pin(self, edition: str) -> None:
        self._move(lambda history: rules.pin(history.editions, edition))

    def prune(self, keep: int) -> tuple[Edition, ...]:
        pruned: tuple[Edition, ...] = ()

        def decide(history: History) -> Moves:
            nonlocal pruned
            moves = rules.prune(history.editions, keep)
            pruned = moves.editions
            return moves

        self._move(decide)
        return pruned

    def editions(self) -> tuple[Edition, ...]:
        return self.history().editions

    def ledger(self) -> tuple[LedgerEntry, ...]:
        return self.history().ledger

    def _holds(
        self,
        known: Edition,
        batches: Iterable[pa.RecordBatch],
        default: pa.RecordBatch | pa.Table,
        hidden: Set[str],
        remaining: str | None,
    ) -> bool:
        """Whether the rows of an edition that is present are these, but for forgotten users."""
        from recsys.store._handed import playlists_digest, remaining_digest

        if remaining is None:
            return playlists_digest(batches, default) == known.digest
        stored = remaining_digest(self.rows(known.digest), self._stored_default(known), hidden)
        return remaining_digest(batches, default, hidden, remaining) == stored

    def _check_open(self) -> None:
        if self._closed:
            raise asking.closed()
