"""What every playlist store promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING

from recsys.store._playlist import Playlist

if TYPE_CHECKING:
    from typing import Self

    import pyarrow as pa


class State(StrEnum):
    """What has become of an edition."""

    STAGED = "staged"
    ACTIVATED = "activated"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"


class Action(StrEnum):
    """What the ledger records."""

    STAGED = "staged"
    ACTIVATED = "activated"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"
    RELEASED = "released"
    PINNED = "pinned"
    PRUNED = "pruned"
    ERASED = "erased"


@dataclass(frozen=True)
class Edition:
    """One staged content of one week.

    Attributes:
        edition: the week, such as ``2026-W47``.
        revision: counts from 1.
        digest: ``playlists_digest`` of everything that was handed to ``stage``.
        state: the newest thing that happened to it.
        staged_at: when (UTC).
        activated_at: when readers could first see it (UTC).
        rows: playlists stored, the default playlist not counted.
        left_out: playlists not stored, because their users were forgotten before.
        replaced: digest of the edition that was served before this one.
        served: whether readers who name no edition get this one.
        pinned: whether it is kept for good.
        pruned: whether its rows were removed on purpose.
        present: whether its rows are in the store, whole.
    """

    edition: str
    revision: int
    digest: str
    state: State
    staged_at: datetime
    activated_at: datetime | None
    rows: int
    left_out: int
    replaced: str | None
    served: bool
    pinned: bool
    pruned: bool
    present: bool

    @property
    def readable(self) -> bool:
        """Whether a reader who names this edition may see it."""
        return self.state in (State.ACTIVATED, State.SUPERSEDED) and not self.pruned

    @property
    def name(self) -> str:
        """What people call it, such as ``2026-W47 r1 (0123456789ab)``."""
        return f"{self.edition} r{self.revision} ({self.digest[:12]})"

    @property
    def order(self) -> tuple[str, int]:
        """What is newer sorts higher."""
        return (self.edition, self.revision)


@dataclass(frozen=True)
class LedgerEntry:
    """One thing that happened to an edition; ``seq`` grows by time, ``at`` is UTC."""

    seq: int
    at: datetime
    action: Action
    edition: str
    revision: int
    digest: str
    note: str


@dataclass(frozen=True)
class History:
    """All that a store knows besides its playlists."""

    editions: tuple[Edition, ...]
    ledger: tuple[LedgerEntry, ...]
    tombstones: Mapping[str, datetime]
    blocks: Mapping[str, datetime]


class Store(ABC):
    """A playlist store. One object serves any number of threads.

    It also serves a child that is forked while no other thread uses it; where one may, the child
    opens its own.

    Every method raises :class:`~recsys.errors.StoreError` when the store is closed, damaged, of
    a newer version, or cannot be reached, and says what to do about it.
    """

    @abstractmethod
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
        """Write an edition's playlists, invisible until it is activated.

        Staging the same digest again writes no rows; under a later revision, it counts as that one
        from its activation on. Forgotten users are left out.

        Args:
            edition: the week, such as ``2026-W47``.
            revision: counts from 1.
            digest: ``playlists_digest(batches, default)``.
            batches: ``schemas.PLAYLISTS``, by ``user_id`` in the order of its UTF-8 bytes.
            default: the edition's default playlist, one row whose ``user_id`` is empty.
            remaining: where forgotten users were erased from the rows since ``digest`` was taken,
                the digest of those that are left.

        Returns:
            How many playlists are stored.

        Raises:
            StoreError: the rows are not what their digest says, not in order, not of this edition,
                or did not read back as they were written. Nothing is staged then.
        """

    @abstractmethod
    def activate(self, edition: str, digest: str, *, backfill: bool = False) -> None:
        """Serve a staged edition, in one step for every reader.

        Activating what is served already does nothing.

        Args:
            edition: the week that was staged.
            digest: the content that was staged.
            backfill: make an edition older than the one served readable by its name and by date,
                and leave the newer one served.

        Raises:
            StoreError: it is not staged, it was rolled back, it is not newer by (week, revision)
                than the edition served, or its rows are missing.
        """

    @abstractmethod
    def rollback(self) -> LedgerEntry:
        """Serve what was served before; returns the entry that says so.

        Raises:
            StoreError: nothing was served before, or its rows are missing.
        """

    @abstractmethod
    def release(self, edition: str, revision: int, digest: str, note: str) -> LedgerEntry:
        """Record that an operator lets an edition go on that a gate refused.

        Releasing the same refusal again changes nothing and returns the entry that is there.

        Args:
            edition: the week that was refused.
            revision: its revision.
            digest: of the verdict that refused it, so that another refusal is not released too.
            note: the gate, and why it is released.
        """

    @abstractmethod
    def playlist(
        self, user_id: str, edition: str | None = None, on: date | None = None
    ) -> Playlist:
        """One listener's playlist, from the edition served unless another is asked for.

        Args:
            user_id: the listener.
            edition: a week: its newest revision that was activated and not rolled back.
            on: a local date: the newest edition whose week has begun on it, not rolled back.

        Raises:
            NoSuchUserError: the edition has no playlist for this user.
            NoEditionError: there is no such edition.
        """

    @abstractmethod
    def default_playlist(self, edition: str | None = None) -> Playlist:
        """The edition's popular playlist, for listeners it does not know.

        Raises:
            NoEditionError: there is no such edition.
        """

    @abstractmethod
    def forget(self, user_id: str) -> None:
        """Hide a user from every reader at once, in every edition, past and to come."""

    @abstractmethod
    def tombstones(self) -> frozenset[str]:
        """The forgotten users."""

    @abstractmethod
    def erase(self) -> int:
        """Rewrite every stored edition that still holds a forgotten user, without them.

        Readers notice nothing; an edition keeps its digest as its name, and the ledger says how
        many playlists were taken out. Returns that number over all editions.
        """

    @abstractmethod
    def block(self, track_id: str) -> None:
        """Take a track out of every playlist at once, in every edition, past and to come.

        The first of a playlist's spares that is not blocked and keeps the rules takes its place;
        where there is none the list closes up (:func:`recsys.store._playlist.without_blocked`).
        """

    @abstractmethod
    def blocks(self) -> frozenset[str]:
        """The blocked tracks."""

    @abstractmethod
    def pin(self, edition: str) -> None:
        """Keep an edition's newest readable revision for good.

        Raises:
            NoEditionError: there is no such edition.
        """

    @abstractmethod
    def prune(self, keep: int) -> tuple[Edition, ...]:
        """Remove the rows of all but the newest ``keep`` weeks; the ledger keeps their names.

        Never removed: what is served, what was served before it, and what is pinned.

        Args:
            keep: weeks to keep, at least 2.

        Returns:
            The editions whose rows were removed.
        """

    @abstractmethod
    def editions(self) -> tuple[Edition, ...]:
        """Every edition ever staged, newest (week, revision) first."""

    @abstractmethod
    def ledger(self) -> tuple[LedgerEntry, ...]:
        """All that ever happened, oldest first."""

    @abstractmethod
    def rows(self, digest: str) -> Iterator[pa.RecordBatch]:
        """Every stored playlist of one staging in user order, as ``schemas.PLAYLISTS``.

        For verification: it hides neither what was rolled back nor who was forgotten since. The
        default playlist is not among them; where there is no playlist there is no batch.

        Raises:
            NoEditionError: nothing was staged under this digest.
        """

    @abstractmethod
    def history(self) -> History:
        """Editions, ledger, tombstones and blocks, seen at one instant."""

    @abstractmethod
    def restore(self, history: History) -> bool:
        """Take over another store's history; its rows count as missing until staged again.

        Returns:
            False, and nothing is changed, when this store has a history of its own.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; the store cannot be used afterwards."""

    def current(self) -> Edition | None:
        """The edition that is served, if any."""
        return next((edition for edition in self.editions() if edition.served), None)

    def state(self, digest: str) -> Edition | None:
        """What has become of a digest, and whether its rows are present; None if never staged."""
        return next((edition for edition in self.editions() if edition.digest == digest), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
